//! What is accepted and what is refused; that what is printed is read back.

use proptest::collection::vec;
use proptest::prelude::*;

use super::print::print;
use super::*;
use crate::lifecycle::JobStatus;
use crate::query::filter::{Comparison, PercentageTest, StatusTest, TextKey, TextTest};

fn text(key: TextKey, test: TextTest) -> Filter {
    Filter::Text(key, test)
}

fn equal(value: &str) -> TextTest {
    TextTest::In(vec![value.to_owned()])
}

fn message(text: &str) -> String {
    parse_filter(text).unwrap_err().message().to_owned()
}

#[test]
fn and_binds_tighter_than_or() {
    let name = |value: &str| text(TextKey::Name, equal(value));
    let expected = Filter::Or(vec![name("a"), Filter::And(vec![name("b"), name("c")])]);
    for same in
        ["name==a,name==b;name==c", "name==a or name==b and name==c", " name == a , ( name==b ; name==c ) "]
    {
        assert_eq!(parse_filter(same).unwrap(), expected, "{same}");
    }
    let expected = Filter::And(vec![Filter::Or(vec![name("a"), name("b")]), name("c")]);
    assert_eq!(parse_filter("(name==a,name==b);name==c").unwrap(), expected);
}

#[test]
fn values_are_bare_or_quoted() {
    for (written, value) in [
        ("a@b.c:1{}[]\\n+-/é", "a@b.c:1{}[]\\n+-/é"),
        ("'it is'", "it is"),
        ("'O\\'Brien'", "O'Brien"),
        ("\"x') OR ('1'='1\"", "x') OR ('1'='1"),
        ("'a\\\\b'", "a\\b"),
        ("''", ""),
        ("or", "or"),
    ] {
        let filter = format!("id=={written}");
        assert_eq!(parse_filter(&filter).unwrap(), text(TextKey::Id, equal(value)), "{filter}");
    }
}

#[test]
fn stars_are_wildcards_only_behind_equal_and_not_equal() {
    let name = |test| text(TextKey::Name, test);
    assert_eq!(parse_filter("name=='a*'").unwrap(), name(TextTest::Like("a*".into())));
    assert_eq!(parse_filter("name!=a*").unwrap(), name(TextTest::NotLike("a*".into())));
    assert_eq!(parse_filter("name=in=a*").unwrap(), name(TextTest::In(vec!["a*".into()])));
    let greater = TextTest::Compare(Comparison::Greater, "a*".into());
    assert_eq!(parse_filter("name>a*").unwrap(), name(greater));
}

#[test]
fn errors_say_where_and_what_was_expected() {
    for (filter, expected) in [
        (
            "",
            "character 1: expected \"(\", id, name, status, percentageComplete or labels.KEY, found the end",
        ),
        ("  ", "found the end"),
        ("name", "character 5: expected an operator"),
        ("name=like=x", "character 5: expected an operator"),
        ("name~x", "expected an operator"),
        ("é==x", "Unsupported filter key specified: é (character 1;"),
        ("createTime==1", "Unsupported filter key specified: createTime"),
        ("labels.==1", "Unsupported filter key specified: labels."),
        ("Name==x", "Unsupported filter key specified: Name"),
        ("name==", "character 7: expected a value"),
        ("name==a b", "character 9: expected the end, \",\", \";\", \" or \" or \" and \", found \"b\""),
        ("name==a orname==b", "character 9: expected the end"),
        ("name==a OR name==b", "character 9: expected the end"),
        ("name==(a,b)", "character 7: several values"),
        ("name=in=(a,b", "expected \",\" or \")\", found the end"),
        ("name=in=()", "expected a value"),
        ("name=in=(a,)", "expected a value"),
        ("(name==a", "expected \")\""),
        ("name==a)", "expected the end"),
        ("name=='a", "character 7: the text that begins here has no closing '"),
        ("name==a;", "found the end"),
        ("name==a,,name==b", "expected \"(\""),
        ("status==Foo", "unknown status: expected one of Active"),
        ("status==Act*", "a wildcard has no meaning for a status"),
        ("status=in=(Active,Foo)", "\"Foo\""),
        ("status == Foo", "character 11: \"Foo\""),
        ("é==é,status=in=( Active , 'F' )", "Unsupported filter key specified: é (character 1;"),
        ("id==é;status=in=( Active , 'F' )", "character 28: \"F\""),
        ("percentageComplete==abc", "\"abc\" is not a number"),
        ("percentageComplete==1*", "is not a number"),
        ("percentageComplete==NaN", "is not a number"),
        ("percentageComplete>inf", "is not a number"),
        ("name==\"\0\"", "U+0000"),
        ("name=in=(a, b\0)", "character 13: a value contains the character U+0000"),
    ] {
        let message = message(filter);
        assert!(message.contains(expected), "{filter:?}: {message}");
    }
}

#[test]
fn everything_is_bounded() {
    let nested = |depth: usize| format!("{}id==a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse_filter(&nested(FILTER_DEPTH_MAX)).is_ok());
    assert!(
        message(&nested(FILTER_DEPTH_MAX + 1))
            .contains("character 33: parentheses are nested deeper than 32")
    );
    assert!(message(&"(".repeat(FILTER_BYTES_MAX)).contains("nested deeper"));
    let terms = |count: usize| vec!["id==a"; count].join(",");
    assert!(parse_filter(&terms(FILTER_TERMS_MAX)).is_ok());
    assert!(
        message(&terms(FILTER_TERMS_MAX + 1)).contains("character 1537: there are more than 256 comparisons")
    );
    let list = |count: usize| format!("id=in=({})", vec!["a"; count].join(","));
    assert!(parse_filter(&list(FILTER_VALUES_MAX)).is_ok());
    assert!(
        message(&list(FILTER_VALUES_MAX + 1)).contains("character 2007: a list has more than 1000 values")
    );
    assert!(message(&format!("id=={}", "a".repeat(FILTER_BYTES_MAX))).contains("at most 16384"));
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop_oneof![
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
    ]
}

fn tree() -> impl Strategy<Value = Filter> {
    let value = || "[^\0]{0,6}";
    let key =
        prop_oneof![Just(TextKey::Id), Just(TextKey::Name), "[a-zA-Z0-9_:.-]{1,6}".prop_map(TextKey::Label)];
    let pattern = || "[^\0*]{0,3}\\*[^\0]{0,3}";
    let text_test = prop_oneof![
        vec(value(), 1..4).prop_map(TextTest::In),
        vec(value(), 1..4).prop_map(TextTest::NotIn),
        pattern().prop_map(TextTest::Like),
        pattern().prop_map(TextTest::NotLike),
        (comparison(), value()).prop_map(|(comparison, value)| TextTest::Compare(comparison, value)),
    ];
    let status = || proptest::sample::select(JobStatus::ALL.to_vec());
    let status_test = prop_oneof![
        vec(status(), 1..4).prop_map(StatusTest::In),
        vec(status(), 1..4).prop_map(StatusTest::NotIn),
        (comparison(), status()).prop_map(|(comparison, status)| StatusTest::Compare(comparison, status)),
    ];
    let number = || proptest::num::f64::NORMAL | proptest::num::f64::ZERO;
    let percentage_test = prop_oneof![
        vec(number(), 1..4).prop_map(PercentageTest::In),
        vec(number(), 1..4).prop_map(PercentageTest::NotIn),
        (comparison(), number()).prop_map(|(comparison, number)| PercentageTest::Compare(comparison, number)),
    ];
    let leaf = prop_oneof![
        3 => (key, text_test).prop_map(|(key, test)| Filter::Text(key, test)),
        1 => status_test.prop_map(Filter::Status),
        1 => percentage_test.prop_map(Filter::Percentage),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![vec(inner.clone(), 2..4).prop_map(Filter::And), vec(inner, 2..4).prop_map(Filter::Or),]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(filter in tree()) {
        let text = print(&filter);
        prop_assert_eq!(parse_filter(&text).unwrap(), filter, "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[a-z=!<>~();,'\"\\\\* .é]{0,60}") {
        let _ = parse_filter(&text);
    }
}
