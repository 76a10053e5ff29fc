//! Reading and writing of times. What is expected here was taken down from Java 17.

use jslt::{Context, Script};
use serde_json::{Value, json};

use crate::support::{check, check_failures};

#[test]
fn writing() {
    check(&[
        ("format-time(0, \"yyyy-MM-dd\")", "null", "\"1970-01-01\""),
        (
            "format-time(1529677391.123, \"yyyy-MM-dd'T'HH:mm:ss.SSSX\")",
            "null",
            "\"2018-06-22T14:23:11.123Z\"",
        ),
        (
            "format-time(1529677391.123, \"yyyy-MM-dd'T'HH:mm:ssX\", \"Europe/Oslo\")",
            "null",
            "\"2018-06-22T16:23:11+02\"",
        ),
        (
            "format-time(1529677391, \"EEE, d MMM yyyy HH:mm:ss Z\")",
            "null",
            "\"Fri, 22 Jun 2018 14:23:11 +0000\"",
        ),
        (
            "format-time(1529677391, \"EEEE MMMM dd, yy G hh:mm a\", \"Europe/Oslo\")",
            "null",
            "\"Friday June 22, 18 AD 04:23 PM\"",
        ),
        (
            "format-time(1529677391.123, \"DDD ww W F u k K S SSS XXX XX z Y\")",
            "null",
            "\"173 25 4 4 5 14 2 123 123 Z Z UTC 2018\"",
        ),
        (
            "format-time(1529677391.123, \"k K XXX XX z Z\", \"Europe/Oslo\")",
            "null",
            "\"16 4 +02:00 +0200 CEST +0200\"",
        ),
        (
            "format-time(1529677391, \"yyy y M MM MMM MMMMM L LLL\")",
            "null",
            "\"2018 2018 6 06 Jun June 6 Jun\"",
        ),
        ("format-time(1546214400, \"YYYY ww\")", "null", "\"2019 01\""),
        ("format-time(0, \"h k\")", "null", "\"12 24\""),
        ("format-time(-1, \"yyyy-MM-dd HH:mm:ss\")", "null", "\"1969-12-31 23:59:59\""),
        ("format-time(951782400, \"yyyy-MM-dd\")", "null", "\"2000-02-29\""),
        ("format-time(0, \"yyyy\", \"America/New_York\")", "null", "\"1969\""),
        ("format-time(0, \"HH z X\", \"America/New_York\")", "null", "\"19 EST -05\""),
        ("format-time(0, \"HH:mm XXX\", \"Asia/Kolkata\")", "null", "\"05:30 +05:30\""),
        ("format-time(0, \"HH z\", \"CET\")", "null", "\"01 CET\""),
        ("format-time(0, \"''yy''\")", "null", "\"'70'\""),
        ("format-time(0, \"'o''clock' H\")", "null", "\"o'clock 0\""),
        ("format-time(\"0\", \"yyyy\")", "null", "\"1970\""),
        ("format-time(null, \"yyyy\")", "null", "null"),
        ("format-time(true, \"yyyy\")", "null", "null"),
        ("format-time(0, \"yy\" + \"yy\")", "null", "\"1970\""),
        ("format-time(253402300800, \"yyyyy\")", "null", "\"10000\""),
    ]);
    check_failures(&[
        (
            "format-time(0, \"yyyy\", \"Nowhere\")",
            "format-time: Unknown timezone Nowhere at line 1, column 1",
        ),
        ("format-time(0, \"yyyy\", \"europe/oslo\")", "format-time: Unknown timezone europe/oslo..."),
        ("format-time(\"x\", \"yyyy\")", "number(x) failed: not a number..."),
        (
            "format-time(0, \"b\" + \"\")",
            "format-time: Couldn't parse format 'b': Illegal pattern character 'b'...",
        ),
        ("format-time(1e300, \"yyyy\")", "format-time: the time 1.0E300 is out of range..."),
    ]);
}

#[test]
fn reading() {
    check(&[
        ("parse-time(\"2018-05-30T11:46:37Z\", \"yyyy-MM-dd'T'HH:mm:ssX\")", "null", "1527680797.0"),
        ("parse-time(\"2018-05-30T11:46:37\", \"yyyy-MM-dd'T'HH:mm:ss\")", "null", "1527680797.0"),
        ("parse-time(\"2018-05-30 1:2:3.5\", \"yyyy-MM-dd HH:mm:ss.SSS\")", "null", "1527642123.005"),
        ("parse-time(\"20180530\", \"yyyyMMdd\")", "null", "1527638400.0"),
        ("parse-time(\"2018-13-40\", \"yyyy-MM-dd\")", "null", "1549670400.0"),
        ("parse-time(\"2018-05-30xx\", \"yyyy-MM-dd\")", "null", "1527638400.0"),
        ("parse-time(\" 2018-05-30\", \"yyyy-MM-dd\")", "null", "1527638400.0"),
        ("parse-time(\"2018-05-30T10:00:00+0200\", \"yyyy-MM-dd'T'HH:mm:ssX\")", "null", "1527667200.0"),
        ("parse-time(\"2018-05-30T10:00:00+02:00\", \"yyyy-MM-dd'T'HH:mm:ssX\")", "null", "1527667200.0"),
        ("parse-time(\"2018-05-30T10:00:00+02\", \"yyyy-MM-dd'T'HH:mm:ssX\")", "null", "1527667200.0"),
        ("parse-time(\"2018-05-30T10:00:00+02:00\", \"yyyy-MM-dd'T'HH:mm:ssXXX\")", "null", "1527667200.0"),
        ("parse-time(\"2018-05-30T10:00:00+0200\", \"yyyy-MM-dd'T'HH:mm:ssZ\")", "null", "1527667200.0"),
        ("parse-time(\"2018-05-30T10:00:00GMT+02:00\", \"yyyy-MM-dd'T'HH:mm:ssz\")", "null", "1527667200.0"),
        (
            "parse-time(\"Wed, 30 May 2018 12:00:00 GMT\", \"EEE, d MMM yyyy HH:mm:ss z\")",
            "null",
            "1527681600.0",
        ),
        ("parse-time(\"12:30 PM\", \"hh:mm a\")", "null", "45000.0"),
        ("parse-time(\"10:5 am\", \"hh:mm a\")", "null", "36300.0"),
        ("parse-time(\"May 2018\", \"MMMM yyyy\")", "null", "1525132800.0"),
        ("parse-time(\"2018 150\", \"yyyy DDD\")", "null", "1527638400.0"),
        ("parse-time(\"-5\", \"dd\")", "null", "-518400.0"),
        ("parse-time(\"2018-05-30 CEST\", \"yyyy-MM-dd z\")", "null", "1527631200.0"),
        ("parse-time(\"2018-05-30\", \"y-M-d\")", "null", "1527638400.0"),
        ("parse-time(\"2018  05\", \"yyyy MM\")", "null", "1525132800.0"),
        ("parse-time(\"2018-W22-3\", \"YYYY-'W'ww-u\")", "null", "1527638400.0"),
        ("parse-time(null, \"yyyy\")", "null", "null"),
        ("parse-time(2018, \"yyyy\")", "null", "1514764800.0"),
        ("parse-time(\"x\", \"yyyy\", 7)", "null", "7"),
        ("parse-time(\"x\", \"yyyy\", null)", "null", "null"),
        ("parse-time(\"2018-05-30T11:46:37\", \"yyyy-MM-dd'T'HH:mm:ssX\", null)", "null", "null"),
        ("format-time(parse-time(., \"yyyy-MM-dd\"), \"yyyy-MM-dd\")", "\"2024-02-29\"", "\"2024-02-29\""),
        ("parse-time(\"5 BC\", \"y G\") < 0", "null", "true"),
        ("parse-time(\"9223372036854775807 PM\", \"h a\", 0)", "null", "0"),
        ("parse-time(\"9223372036854775807\", \"D\", 0)", "null", "0"),
        ("parse-time(\"9223372036854775807\", \"w\", 0)", "null", "0"),
        ("parse-time(\"-9223372036854775808\", \"M\", 0)", "null", "0"),
        ("parse-time(\"-9223372036854775808 BC\", \"y G\", 0)", "null", "0"),
        ("parse-time(\"1 am\", \"\")", "null", "0.0"),
    ]);
    check_failures(&[
        (
            "parse-time(\"2018-05-30T10:00:00+02:00\", \"yyyy-MM-dd'T'HH:mm:ssZ\")",
            "parse-time: Unparseable date: \"2018-05-30T10:00:00+02:00\" at line 1, column 1",
        ),
        ("parse-time(\"May\", \"yyyy\")", "parse-time: Unparseable date: \"May\"..."),
        ("parse-time(\"99999999999999999999\", \"yyyy\")", "parse-time: Unparseable date..."),
        ("parse-time(\"2018\", \"yyyyMM\")", "parse-time: Unparseable date..."),
        ("now()", "now() needs a clock..."),
    ]);
}

#[test]
fn the_clock_comes_from_the_context() {
    let clock = || 1_529_677_371_698;
    let context = Context::default().with_clock(&clock);
    let run = |text: &str| Script::compile(text).unwrap().evaluate(&Value::Null, &context).unwrap();
    assert_eq!(run("now()"), json!(1_529_677_371.698));
    assert_eq!(run("round(now() * 1000)"), json!(1_529_677_371_698_i64));
    // Two digits: from 80 years ago on.
    assert_eq!(run("parse-time(\"18-5-3\", \"yy-MM-dd\")"), json!(1_525_305_600.0));
    assert_eq!(run("parse-time(\"99-01-01\", \"yy-MM-dd\")"), json!(915_148_800.0));
    assert_eq!(run("format-time(parse-time(\"37\", \"yy\"), \"yyyy\")"), json!("2037"));
    assert_eq!(run("format-time(parse-time(\"39\", \"yy\"), \"yyyy\")"), json!("1939"));
}
