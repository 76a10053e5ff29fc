//! Whatever a script says, it compiles or fails, and ends.

use jslt::{Context, Limits, Script};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::Dice;

/// Words of the language, and some that are not.
const WORDS: &[&str] = &[
    ".",
    ".a",
    ".\"b c\"",
    "$x",
    "$y",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "|",
    "+",
    "-",
    "*",
    "/",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "=",
    "and",
    "or",
    "if",
    "else",
    "let",
    "for",
    "def",
    "import",
    "as",
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "2.5",
    "1e3",
    "9223372036854775807",
    "\"\"",
    "\"a\"",
    "\"\\\\d+\"",
    "\"é😀\"",
    "x",
    "y",
    "f",
    "size",
    "not",
    "string",
    "number",
    "error",
    "fallback",
    "test",
    "capture",
    "split",
    "replace",
    "join",
    "min",
    "max",
    "round",
    "mod",
    "sum",
    "contains",
    "get-key",
    "array",
    "flatten",
    "zip",
    "index-of",
    "parse-time",
    "format-time",
    "parse-url",
    "uuid",
    "random",
    "now",
    "from-json",
    "to-json",
    "hash-int",
    "trim",
    "\"yyyy-MM-dd\"",
    "//x\n",
    "\n",
    "[for (",
    "{for (",
    "* : .",
    "* - a : .",
    "let x = ",
    "let y = ",
    "def f(x) ",
    "f(",
    "size(",
    "if (",
    ") else ",
];

/// Compiles and, if that works, runs a script on inputs of several kinds.
fn survives(text: &str) {
    let Ok(script) = Script::compile(text) else {
        return;
    };
    let dice = Dice::new(1);
    let random = || dice.roll();
    let clock = || 1_700_000_000_000;
    let limits = Limits { steps: 20_000, output_bytes: 1 << 16, memory_bytes: 1 << 20, ..Limits::default() };
    let context = Context::default().with_limits(limits).with_clock(&clock).with_random(&random);
    for input in [
        Value::Null,
        json!({"a": [1, 2.5, "x", null], "b c": {"d": true}}),
        json!("2024-01-01"),
        json!([[3, 4]]),
    ] {
        if let Ok(value) = script.evaluate(&input, &context) {
            // What comes out is JSON that can be read again.
            assert_eq!(serde_json::from_str::<Value>(&value.to_string()).unwrap(), value);
        }
    }
}

/// A well-formed expression, so that evaluation is reached more often than by chance.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(".".to_owned()),
        Just(".a".to_owned()),
        Just("$x".to_owned()),
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<i8>().prop_map(|n| n.to_string()),
        (-1e9..1e9).prop_map(|n: f64| format!("{n:?}")),
        "[a-z0-9 é😀.,:-]{0,6}".prop_map(|s| format!("\"{s}\"")),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(&["+", "-", "*", "/", "==", "<", ">=", "and", "or", "|"][..]),
                inner.clone()
            )
                .prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            pair.clone().prop_map(|(a, b)| format!("{{\"k\" : {a}, \"l\" : {b}}}")),
            pair.clone().prop_map(|(a, b)| format!("[for ({a}) {b}]")),
            pair.clone().prop_map(|(a, b)| format!("{{for ({a}) string({b}) : {b}}}")),
            pair.clone().prop_map(|(a, b)| format!("(if ({a}) {b} else {a})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("fallback({a}, {b}, {c})")),
            (
                prop::sample::select(
                    &[
                        "size",
                        "string",
                        "number",
                        "round",
                        "floor",
                        "not",
                        "trim",
                        "sum",
                        "array",
                        "flatten",
                        "all",
                        "any",
                        "to-json",
                        "from-json",
                        "hash-int",
                        "lowercase",
                        "uppercase",
                        "sha256-hex",
                        "parse-url",
                        "zip-with-index",
                        "is-decimal",
                        "g",
                    ][..]
                ),
                inner.clone()
            )
                .prop_map(|(f, a)| format!("{f}({a})")),
            (
                prop::sample::select(
                    &[
                        "contains",
                        "min",
                        "max",
                        "mod",
                        "test",
                        "capture",
                        "split",
                        "join",
                        "starts-with",
                        "ends-with",
                        "get-key",
                        "zip",
                        "index-of",
                        "uuid",
                        "parse-time",
                        "format-time",
                        "number",
                        "from-json",
                    ][..]
                ),
                pair.clone()
            )
                .prop_map(|(f, (a, b))| format!("{f}({a}, {b})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("string({a})[{b} : {c}]")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_survives(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn any_bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_ascii_survives(text in "[ -~\n]{0,80}") {
        survives(&text);
    }

    #[test]
    fn any_words_survive(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        survives(&words.join(" "));
        survives(&words.concat());
    }

    #[test]
    fn any_expression_survives(a in expression(), b in expression()) {
        survives(&format!("let x = {a} def g(x) {b} {a}"));
    }

    #[test]
    fn any_pattern_survives(pattern in "[a-c\\\\\\[\\]\\(\\)\\?\\*\\+\\{\\}\\^$.|&~0-3<>:=!dwsQEpPuxkR -]{0,24}", text in "[a-c0-3 -]{0,10}") {
        let quoted = json!(pattern).to_string();
        survives(&format!("[test({0}, {1}), split({0}, {1}), capture({0}, {1}), replace({0}, {1}, \"-\")]", json!(text), quoted));
    }

    #[test]
    fn any_time_survives(millis in any::<i64>(), seconds in -1e13..1e13_f64, format in "[GyYMLwWDdFEuaHkKhmsSzZX' :/-]{0,12}", text in "[0-9A-Za-z +:-]{0,20}") {
        let quoted = json!(format).to_string();
        survives(&format!("[format-time({millis}, {quoted}), format-time({seconds:?}, {quoted}, \"Europe/Oslo\")]"));
        survives(&format!("parse-time({}, {quoted}, 0)", json!(text)));
    }

    /// A time that is written in full reads back as the same.
    #[test]
    fn times_read_back(seconds in -60_000_000_000_i64..250_000_000_000) {
        let script = Script::compile("parse-time(format-time(., \"yyyy-MM-dd HH:mm:ss\"), \"yyyy-MM-dd HH:mm:ss\")").unwrap();
        let value = script.evaluate(&json!(seconds), &Context::default()).unwrap();
        prop_assert_eq!(value, json!(seconds as f64));
    }

    /// The text of a double reads back as the same.
    #[test]
    fn doubles_read_back(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
        let script = Script::compile("number(string(.))").unwrap();
        let value = script.evaluate(&json!(number), &Context::default()).unwrap();
        prop_assert_eq!(value.as_f64(), Some(number));
    }

    /// JSON is a script that gives itself.
    #[test]
    fn json_gives_itself(text in "[a-zé\"\\\\\n]{0,10}", number in any::<i64>(), flag in any::<bool>()) {
        let value = json!({"a": [text, number, flag, null], "b": {"c": text, "": [[]]}});
        let script = Script::compile_with_options(&value.to_string(), &crate::support::keep_all()).unwrap();
        prop_assert_eq!(script.evaluate(&Value::Null, &Context::default()).unwrap(), value);
    }
}
