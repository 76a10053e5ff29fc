//! Reading the fields of a time.

use crate::calendar::{Civil, MILLIS_PER_DAY, days_of_date, days_of_week_date, days_of_year_date};

use super::{MONTHS, WEEKDAYS};

/// Abbreviations of time zones and their minutes from UTC, for reading.
const ZONES: [(&str, i64); 32] = [
    ("UTC", 0),
    ("GMT", 0),
    ("UT", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("MET", 60),
    ("MEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("SAST", 120),
    ("MSK", 180),
    ("IST", 330),
    ("HKT", 480),
    ("SGT", 480),
    ("JST", 540),
    ("KST", 540),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("HST", -600),
];

/// What was read so far.
#[derive(Debug, Default)]
struct Fields {
    before_christ: bool,
    year: Option<i64>,
    week_year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    weekday: Option<i64>,
    afternoon: Option<bool>,
    hour: i64,
    hour_of_half: Option<i64>,
    minute: i64,
    second: i64,
    milli: i64,
    offset_minutes: i64,
}

impl Fields {
    /// The time that the fields add up to. Fields may be out of range: the 32nd of a month is the
    /// first or second of the next.
    fn resolve(self) -> Option<i64> {
        let year = match self.year {
            Some(year) if self.before_christ => 1_i64.checked_sub(year)?,
            Some(year) => year,
            None => 1970,
        };
        let days = if let (Some(week), None, None) = (self.week, self.month, self.day) {
            days_of_week_date(self.week_year.unwrap_or(year), week, self.weekday.unwrap_or(0))
        } else if let (Some(day), None) = (self.day_of_year, self.day) {
            days_of_year_date(year, day)
        } else {
            days_of_date(year, self.month.unwrap_or(1), self.day.unwrap_or(1))
        }?;
        let hour = match (self.hour_of_half, self.afternoon) {
            (Some(hour), Some(true)) => hour.checked_add(12)?,
            (Some(hour), _) => hour,
            (None, Some(true)) if self.hour == 0 => 12,
            (None, _) => self.hour,
        };
        let minutes = hour.checked_mul(60)?.checked_add(self.minute)?.checked_sub(self.offset_minutes)?;
        let millis = minutes.checked_mul(60)?.checked_add(self.second)?.checked_mul(1000)?;
        days.checked_mul(MILLIS_PER_DAY)?.checked_add(millis)?.checked_add(self.milli)
    }
}

/// Reads fields from a text, one after the other.
pub(super) struct Reader<'t> {
    text: &'t str,
    at: usize,
    fields: Fields,
    now: i64,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, now: i64) -> Self {
        Self { text, at: 0, fields: Fields::default(), now }
    }

    /// Steps over text that has to be there.
    pub(super) fn literal(&mut self, literal: &str) -> Option<()> {
        self.at += self.rest().starts_with(literal).then_some(literal.len())?;
        Some(())
    }

    /// The time that was read.
    pub(super) fn resolve(self) -> Option<i64> {
        self.fields.resolve()
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    pub(super) fn field(&mut self, letter: char, count: usize, fixed: bool) -> Option<()> {
        let end = self.at + count;
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
        match letter {
            'G' => self.fields.before_christ = self.name(&["AD", "BC"])? == 1,
            'M' | 'L' if count >= 3 => {
                let month = self.long_or_short(&MONTHS)?;
                self.fields.month = Some(month + 1);
            }
            'E' => self.fields.weekday = Some(self.long_or_short(&WEEKDAYS)?),
            'a' => self.fields.afternoon = Some(self.name(&["AM", "PM"])? == 1),
            'z' | 'Z' => self.fields.offset_minutes = self.zone()?,
            'X' => self.fields.offset_minutes = self.iso_zone(count)?,
            _ => {
                let start = self.at;
                let value = self.number(fixed.then_some(end))?;
                let two_digits = count <= 2 && self.text[start..self.at].len() == 2 && value >= 0;
                self.number_field(letter, value, two_digits);
            }
        }
        Some(())
    }

    fn number_field(&mut self, letter: char, value: i64, two_digits: bool) {
        let full_year = if two_digits { self.century(value) } else { value };
        let fields = &mut self.fields;
        match letter {
            'y' => fields.year = Some(full_year),
            'Y' => fields.week_year = Some(full_year),
            'M' | 'L' => fields.month = Some(value),
            'w' => fields.week = Some(value),
            'D' => fields.day_of_year = Some(value),
            'd' => fields.day = Some(value),
            'u' => fields.weekday = Some(value.rem_euclid(7)),
            'H' => fields.hour = value,
            'k' => fields.hour = if value == 24 { 0 } else { value },
            'K' => fields.hour_of_half = Some(value),
            'h' => fields.hour_of_half = Some(if value == 12 { 0 } else { value }),
            'm' => fields.minute = value,
            's' => fields.second = value,
            'S' => fields.milli = value,
            // Weeks and weekdays of a month are written but, without a day, not resolved.
            _ => {}
        }
    }

    /// Two digits mean a year between 80 years ago and 20 years ahead.
    fn century(&self, year: i64) -> i64 {
        let first = Civil::new(self.now).year - 80;
        let century = first - first.rem_euclid(100);
        century + year + if year < first.rem_euclid(100) { 100 } else { 0 }
    }

    /// An integer, up to `end` if that is given.
    fn number(&mut self, end: Option<usize>) -> Option<i64> {
        let text = match end {
            Some(end) => self.text.get(self.at..end)?,
            None => self.rest(),
        };
        let sign = usize::from(text.starts_with('-'));
        let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        let number = &text[..sign + digits];
        self.at += number.len();
        number.parse().ok()
    }

    /// The index of the name that the text begins with, in whatever case.
    fn name(&mut self, names: &[&str]) -> Option<i64> {
        let rest = self.rest();
        let starts = |name: &str| rest.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name));
        let (index, length) = names
            .iter()
            .zip(0..)
            .filter(|(name, _)| starts(name))
            .map(|(name, index)| (index, name.len()))
            .max_by_key(|found| found.1)?;
        self.at += length;
        Some(index)
    }

    fn long_or_short(&mut self, names: &[&str]) -> Option<i64> {
        self.name(names).or_else(|| {
            let short: Vec<&str> = names.iter().map(|name| &name[..3]).collect();
            self.name(&short)
        })
    }

    /// `+hhmm`, `GMT+hh:mm` or an abbreviation.
    fn zone(&mut self) -> Option<i64> {
        if self.rest().starts_with(['+', '-']) {
            return self.offset(true, false, false);
        }
        let names: Vec<&str> = ZONES.iter().map(|(name, _)| *name).collect();
        let index = usize::try_from(self.name(&names)?).ok()?;
        let (name, minutes) = ZONES.get(index)?;
        if *name == "GMT" && self.rest().starts_with(['+', '-']) {
            return self.offset(true, true, true);
        }
        Some(*minutes)
    }

    fn iso_zone(&mut self, count: usize) -> Option<i64> {
        if self.rest().starts_with('Z') {
            self.at += 1;
            return Some(0);
        }
        self.offset(count > 1, count == 3, false)
    }

    /// A sign, hours, and minutes if they are asked for.
    fn offset(&mut self, minutes: bool, colon: bool, short_hours: bool) -> Option<i64> {
        let sign = match self.rest().bytes().next()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.at += 1;
        let digits = self.rest().bytes().take(2).take_while(u8::is_ascii_digit).count();
        if digits == 0 || (digits == 1 && !short_hours) {
            return None;
        }
        let hours: i64 = self.rest()[..digits].parse().ok()?;
        self.at += digits;
        let mut total = hours * 60;
        if minutes {
            if colon {
                self.at += self.rest().starts_with(':').then_some(1)?;
            }
            let text = self.rest().get(..2).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
            let minutes: i64 = text.parse().ok()?;
            if minutes > 59 {
                return None;
            }
            self.at += 2;
            total += minutes;
        }
        if hours > 23 { None } else { Some(sign * total) }
    }
}
