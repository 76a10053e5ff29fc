//! Writing the fields of a time.

use crate::calendar::Civil;

use super::{MONTHS, WEEKDAYS, Zone};

fn write_number(out: &mut String, value: i64, width: usize) {
    out.push_str(&format!("{value:0width$}"));
}

fn write_name(out: &mut String, name: &str, count: usize) {
    out.push_str(if count >= 4 { name } else { &name[..3] });
}

fn write_offset(out: &mut String, seconds: i64, colon: bool, minutes: bool) {
    let total = seconds.abs() / 60;
    out.push(if seconds < 0 { '-' } else { '+' });
    write_number(out, total / 60, 2);
    if minutes {
        if colon {
            out.push(':');
        }
        write_number(out, total % 60, 2);
    }
}

/// Writes one field.
pub(super) fn write_field(out: &mut String, letter: char, count: usize, civil: &Civil, zone: &Zone) {
    let year = |out: &mut String, year: i64| {
        let year = if year <= 0 { 1 - year } else { year };
        if count == 2 { write_number(out, year % 100, 2) } else { write_number(out, year, count) }
    };
    let hour = civil.hour();
    match letter {
        'G' => out.push_str(if civil.year > 0 { "AD" } else { "BC" }),
        'y' => year(out, civil.year),
        'Y' => year(out, civil.week_year()),
        'M' | 'L' if count >= 3 => write_name(out, MONTHS[civil.month_index()], count),
        'M' | 'L' => write_number(out, civil.month, count),
        'w' => write_number(out, civil.week_of_year(), count),
        'W' => write_number(out, civil.week_of_month(), count),
        'D' => write_number(out, civil.day_of_year(), count),
        'd' => write_number(out, civil.day, count),
        'F' => write_number(out, (civil.day - 1) / 7 + 1, count),
        'E' => write_name(out, WEEKDAYS[civil.weekday_index()], count),
        'u' => write_number(out, if civil.weekday() == 0 { 7 } else { civil.weekday() }, count),
        'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'H' => write_number(out, hour, count),
        'k' => write_number(out, if hour == 0 { 24 } else { hour }, count),
        'K' => write_number(out, hour % 12, count),
        'h' => write_number(out, if hour % 12 == 0 { 12 } else { hour % 12 }, count),
        'm' => write_number(out, civil.minute(), count),
        's' => write_number(out, civil.second(), count),
        'S' => write_number(out, civil.millisecond(), count),
        'z' => out.push_str(&zone.name),
        'Z' => write_offset(out, zone.offset_seconds, false, true),
        'X' if zone.offset_seconds == 0 => out.push('Z'),
        _ => write_offset(out, zone.offset_seconds, count == 3, count > 1),
    }
}
