//! The Gregorian calendar, extended to all years: dates as days since 1970.
//!
//! Weeks begin on Sunday and the first week of a year is the one with its first day, as in the
//! United States: that is what Java's default locale on a server has.

pub(crate) const MILLIS_PER_DAY: i64 = 86_400_000;

/// Years beyond these are refused, so that no sum of days can overflow.
const MOST_YEARS: i64 = 100_000_000;

/// A date and the time of day.
#[derive(Debug)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    days: i64,
    millis: i64,
}

/// Days from 1970-01-01 to a date that exists.
///
/// Counts in years that begin in March, so that the leap day is the last of its year.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Days from 1970-01-01 to a date whose month and day may lie beyond their ranges.
pub(crate) fn days_of_date(year: i64, month: i64, day: i64) -> Option<i64> {
    let months = year.checked_mul(12)?.checked_add(month)?.checked_sub(1)?;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    if year.abs() > MOST_YEARS {
        return None;
    }
    days_of(year, month, 1).checked_add(day)?.checked_sub(1)
}

/// Days from 1970-01-01 to a day of a year.
pub(crate) fn days_of_year_date(year: i64, day: i64) -> Option<i64> {
    days_of_date(year, 1, day)
}

/// Days from 1970-01-01 to a weekday, Sunday being 0, of a week.
pub(crate) fn days_of_week_date(year: i64, week: i64, weekday: i64) -> Option<i64> {
    let first = days_of_date(year, 1, 1)?;
    let first_sunday = first - weekday_of(first);
    first_sunday.checked_add(week.checked_sub(1)?.checked_mul(7)?)?.checked_add(weekday)
}

/// 1970-01-01 was a Thursday.
fn weekday_of(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

impl Civil {
    pub(crate) fn new(millis: i64) -> Self {
        let days = millis.div_euclid(MILLIS_PER_DAY);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self { year, month, day, days, millis: millis.rem_euclid(MILLIS_PER_DAY) }
    }

    /// The month as an index from 0.
    pub(crate) fn month_index(&self) -> usize {
        usize::try_from(self.month - 1).unwrap_or(0).min(11)
    }

    /// The day of the week, Sunday being 0.
    pub(crate) fn weekday(&self) -> i64 {
        weekday_of(self.days)
    }

    pub(crate) fn weekday_index(&self) -> usize {
        usize::try_from(self.weekday()).unwrap_or(0)
    }

    pub(crate) fn day_of_year(&self) -> i64 {
        self.days - days_of(self.year, 1, 1) + 1
    }

    /// The year that the week belongs to: the next one if the week has its first day.
    pub(crate) fn week_year(&self) -> i64 {
        let saturday = self.days - self.weekday() + 6;
        self.year + i64::from(saturday >= days_of(self.year + 1, 1, 1))
    }

    pub(crate) fn week_of_year(&self) -> i64 {
        let first = days_of(self.week_year(), 1, 1);
        (self.days - (first - weekday_of(first))) / 7 + 1
    }

    pub(crate) fn week_of_month(&self) -> i64 {
        let first = self.days - self.day + 1;
        (self.day - 1 + weekday_of(first)) / 7 + 1
    }

    pub(crate) fn hour(&self) -> i64 {
        self.millis / 3_600_000
    }

    pub(crate) fn minute(&self) -> i64 {
        self.millis / 60_000 % 60
    }

    pub(crate) fn second(&self) -> i64 {
        self.millis / 1_000 % 60
    }

    pub(crate) fn millisecond(&self) -> i64 {
        self.millis % 1_000
    }
}
