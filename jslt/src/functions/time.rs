//! Functions on times. A time is a number: seconds since 1970, with a fraction.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Outcome, fail};
use crate::eval::Evaluator;
use crate::json::excerpt;
use crate::program::Prepared;
use crate::time_format::{TimeFormat, Zone};
use crate::value::Val;

use super::number::to_number;
use super::{Arguments, text_of};

/// 2000-01-01: what two-digit years are read by when there is no clock.
const YEAR_2000: i64 = 946_684_800_000;

/// Names of time zones that Java has beside those of the IANA database.
const ALIASES: [(&str, &str); 28] = [
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PRT", "America/Puerto_Rico"),
    ("PST", "America/Los_Angeles"),
    ("SST", "Pacific/Guadalcanal"),
    ("VST", "Asia/Ho_Chi_Minh"),
    ("EST", "America/Panama"),
    ("MST", "America/Phoenix"),
    ("HST", "Pacific/Honolulu"),
];

/// The format in the second argument; `name` says for whom.
fn format<'a>(
    evaluator: &mut Evaluator<'a>,
    arguments: &Arguments<'_, 'a>,
    name: &str,
) -> Outcome<Cow<'a, TimeFormat>> {
    if let Prepared::TimeFormat(format) = arguments.prepared {
        return Ok(Cow::Borrowed(format));
    }
    let text = text_of(arguments.second(), &mut evaluator.budget)?;
    match TimeFormat::new(&text) {
        Ok(format) => Ok(Cow::Owned(format)),
        Err(message) => fail(format!("{name}: {message}")),
    }
}

pub(super) fn now<'a>(evaluator: &mut Evaluator<'a>) -> Outcome<Val<'a>> {
    match evaluator.clock {
        Some(clock) => Ok(Val::Double(clock() as f64 / 1000.0)),
        None => fail("now() needs a clock, and this evaluation has none"),
    }
}

pub(super) fn parse_time<'a>(
    evaluator: &mut Evaluator<'a>,
    arguments: &Arguments<'_, 'a>,
) -> Outcome<Val<'a>> {
    let value = arguments.first();
    if value.is_null() {
        return Ok(Val::Null);
    }
    let text = text_of(value, &mut evaluator.budget)?;
    let format = format(evaluator, arguments, "parse-time")?;
    let now = evaluator.clock.map_or(YEAR_2000, |clock| clock());
    match (format.parse(&text, now), arguments.optional(2)) {
        (Some(millis), _) => Ok(Val::Double(millis as f64 / 1000.0)),
        (None, Some(fallback)) => Ok(fallback.clone()),
        (None, None) => fail(format!("parse-time: Unparseable date: {}", excerpt(value))),
    }
}

pub(super) fn format_time<'a>(
    evaluator: &mut Evaluator<'a>,
    arguments: &Arguments<'_, 'a>,
) -> Outcome<Val<'a>> {
    let value = arguments.first();
    let seconds = match (value.is_number(), value.as_str()) {
        (true, _) | (_, Some(_)) => to_number(value)?,
        // What is neither a number nor a string is no time at all.
        _ => return Ok(Val::Null),
    };
    let format = format(evaluator, arguments, "format-time")?;
    let millis = (seconds.double() * 1000.0 + 0.5).floor();
    if millis.abs() > 9e15 {
        return fail(format!("format-time: the time {} is out of range", excerpt(value)));
    }
    let millis = millis as i64;
    let zone = match arguments.optional(2) {
        Some(name) => zone(evaluator, name, millis)?,
        None => Zone { offset_seconds: 0, name: "UTC".to_owned() },
    };
    let text = format.format(millis, &zone);
    evaluator.budget.allocate(text.len())?;
    Ok(text.into())
}

/// What the clocks of a time zone show at a time.
fn zone<'a>(evaluator: &mut Evaluator<'a>, name: &Val<'a>, millis: i64) -> Outcome<Zone> {
    let name = text_of(name, &mut evaluator.budget)?;
    let iana = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name.as_ref(), |(_, iana)| iana);
    // The database ignores case, Java does not.
    let zone = TimeZone::get(iana).ok().filter(|zone| zone.iana_name() == Some(iana));
    let (Some(zone), Ok(time)) = (zone, clamp(millis)) else {
        return fail(format!("format-time: Unknown timezone {name}"));
    };
    let info = zone.to_offset_info(time);
    let offset_seconds = i64::from(info.offset().seconds());
    Ok(Zone { offset_seconds, name: info.abbreviation().to_owned() })
}

/// The nearest time for which the database has rules.
fn clamp(millis: i64) -> Result<Timestamp, jiff::Error> {
    let (first, last) = (Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
    Timestamp::from_millisecond(millis.clamp(first, last))
}
