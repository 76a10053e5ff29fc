//! Reading a filter from its text form, RSQL (REST contract §2.3).
//!
//! ```text
//! or         = and *( ( "," / " or " ) and )
//! and        = constraint *( ( ";" / " and " ) constraint )
//! constraint = "(" or ")" / key operator arguments
//! operator   = "==" / "!=" / "=gt=" / ">" / "=ge=" / ">=" / "=lt=" / "<" / "=le=" / "<=" / "=in=" / "=out="
//! arguments  = value / "(" value *( "," value ) ")"
//! value      = 1*( any but "'();,=<>!~ or white space ) / 'quoted' / "quoted", with \ before any character
//! ```
//!
//! The parser descends recursively, so the text is bounded in length, in depth and in what it holds. What a filter
//! means is not decided here, but by [`Filter::matches`].

use super::filter::{Comparison, Filter, PercentageTest, StatusTest, TextKey, TextTest};
use crate::error::Error;
use crate::lifecycle::JobStatus;

/// Longest text of a filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of parentheses.
pub const FILTER_DEPTH_MAX: usize = 32;
/// Most comparisons in a filter.
pub const FILTER_TERMS_MAX: usize = 256;
/// Most values of one comparison.
pub const FILTER_VALUES_MAX: usize = 1_000;

/// Reads a filter.
///
/// ```
/// use job_core::query::{Filter, TextKey, TextTest, parse_filter};
/// let filter = parse_filter("name==report*;labels.tag:1=in=(red,'dark blue')")?;
/// assert_eq!(
///     filter,
///     Filter::And(vec![
///         Filter::Text(TextKey::Name, TextTest::Like("report*".into())),
///         Filter::Text(TextKey::Label("tag:1".into()), TextTest::In(vec!["red".into(), "dark blue".into()])),
///     ])
/// );
/// let error = parse_filter("name=").unwrap_err();
/// assert!(error.message().starts_with("Unable to parse filter: character 5: expected an operator"));
/// # Ok::<(), job_core::Error>(())
/// ```
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid), saying where the text is wrong and what was expected there.
pub fn parse_filter(text: &str) -> Result<Filter, Error> {
    let mut parser = Parser { text, at: 0, depth: 0, terms: 0 };
    if text.len() > FILTER_BYTES_MAX {
        return Err(Error::invalid(format!(
            "Unable to parse filter: it is {} bytes long, at most {FILTER_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    let filter = parser.disjunction()?;
    parser.skip_blanks();
    match parser.peek() {
        None => Ok(filter),
        Some(_) => Err(parser.expected("the end, \",\", \";\", \" or \" or \" and \"")),
    }
}

/// How a comparison's key and values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    In,
    Out,
    Compare(Comparison),
}

impl Operator {
    /// By their spelling; a spelling that begins another comes after it.
    const ALL: [(&'static str, Self); 12] = [
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("=in=", Self::In),
        ("=out=", Self::Out),
        ("=gt=", Self::Compare(Comparison::Greater)),
        ("=ge=", Self::Compare(Comparison::GreaterOrEqual)),
        ("=lt=", Self::Compare(Comparison::Less)),
        ("=le=", Self::Compare(Comparison::LessOrEqual)),
        (">=", Self::Compare(Comparison::GreaterOrEqual)),
        (">", Self::Compare(Comparison::Greater)),
        ("<=", Self::Compare(Comparison::LessOrEqual)),
        ("<", Self::Compare(Comparison::Less)),
    ];

    const fn takes_many(self) -> bool {
        matches!(self, Self::In | Self::Out)
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Always at a character boundary.
    at: usize,
    depth: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn disjunction(&mut self) -> Result<Filter, Error> {
        let mut parts = vec![self.conjunction()?];
        while self.separator(',', "or") {
            parts.push(self.conjunction()?);
        }
        Ok(single_or(parts, Filter::Or))
    }

    fn conjunction(&mut self) -> Result<Filter, Error> {
        let mut parts = vec![self.constraint()?];
        while self.separator(';', "and") {
            parts.push(self.constraint()?);
        }
        Ok(single_or(parts, Filter::And))
    }

    fn constraint(&mut self) -> Result<Filter, Error> {
        self.skip_blanks();
        if !self.eat('(') {
            return self.comparison();
        }
        if self.depth == FILTER_DEPTH_MAX {
            return Err(self.wrong(format!("parentheses are nested deeper than {FILTER_DEPTH_MAX}")));
        }
        self.depth += 1;
        let inner = self.disjunction()?;
        self.depth -= 1;
        self.skip_blanks();
        if self.eat(')') {
            Ok(inner)
        } else {
            Err(self.expected("\")\", \",\", \";\", \" or \" or \" and \""))
        }
    }

    fn comparison(&mut self) -> Result<Filter, Error> {
        let key_at = self.at;
        let key = self.bare_word();
        if key.is_empty() {
            return Err(self.expected("\"(\", id, name, status, percentageComplete or labels.KEY"));
        }
        if self.terms == FILTER_TERMS_MAX {
            return Err(self.wrong(format!("there are more than {FILTER_TERMS_MAX} comparisons")));
        }
        self.terms += 1;
        self.skip_blanks();
        let operator = self.operator()?;
        let values_at = self.at;
        let values = self.arguments(operator)?;
        let wrong_value = |what: String| Self { at: values_at, ..*self }.wrong(what);
        match key {
            "id" => Ok(Filter::Text(TextKey::Id, text_test(operator, values))),
            "name" => Ok(Filter::Text(TextKey::Name, text_test(operator, values))),
            "status" => status_test(operator, &values).map(Filter::Status).map_err(wrong_value),
            "percentageComplete" => {
                percentage_test(operator, &values).map(Filter::Percentage).map_err(wrong_value)
            }
            _ => match key.strip_prefix("labels.") {
                Some(label) if !label.is_empty() => {
                    Ok(Filter::Text(TextKey::Label(label.to_owned()), text_test(operator, values)))
                }
                _ => Err(Error::invalid(format!(
                    "Unsupported filter key specified: {} (character {}; expected id, name, status, \
                     percentageComplete or labels.KEY)",
                    shown(key),
                    self.character(key_at)
                ))),
            },
        }
    }

    fn operator(&mut self) -> Result<Operator, Error> {
        let rest = &self.text[self.at..];
        let known = Operator::ALL.into_iter().find(|(spelling, _)| rest.starts_with(spelling));
        let (spelling, operator) =
            known.ok_or_else(|| self.expected("an operator: ==, !=, >, >=, <, <=, =in= or =out="))?;
        self.at += spelling.len();
        Ok(operator)
    }

    fn arguments(&mut self, operator: Operator) -> Result<Vec<String>, Error> {
        self.skip_blanks();
        let begin = self.at;
        if !self.eat('(') {
            return Ok(vec![self.value()?]);
        }
        let mut values = Vec::new();
        loop {
            if values.len() == FILTER_VALUES_MAX {
                return Err(self.wrong(format!("a list has more than {FILTER_VALUES_MAX} values")));
            }
            self.skip_blanks();
            values.push(self.value()?);
            self.skip_blanks();
            if self.eat(')') {
                break;
            }
            if !self.eat(',') {
                return Err(self.expected("\",\" or \")\""));
            }
        }
        if values.len() > 1 && !operator.takes_many() {
            self.at = begin;
            return Err(self.wrong("several values are only allowed behind =in= and =out="));
        }
        Ok(values)
    }

    fn value(&mut self) -> Result<String, Error> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => match self.bare_word() {
                "" => Err(self.expected("a value; one with spaces or reserved characters has to be quoted")),
                word => Ok(word.to_owned()),
            },
        }
        .and_then(|value| {
            // No column of a database can be compared with it.
            if value.contains('\0') {
                Err(self.wrong("a value contains the character U+0000"))
            } else {
                Ok(value)
            }
        })
    }

    fn quoted(&mut self, quote: char) -> Result<String, Error> {
        let begin = self.at;
        self.eat(quote);
        let mut value = String::new();
        while let Some(c) = self.next() {
            match c {
                '\\' => value.extend(self.next()),
                _ if c == quote => return Ok(value),
                _ => value.push(c),
            }
        }
        self.at = begin;
        Err(self.wrong(format!("the text that begins here has no closing {quote}")))
    }

    /// A separator as a sign, or as a word with blanks on both sides.
    fn separator(&mut self, sign: char, word: &str) -> bool {
        let begin = self.at;
        self.skip_blanks();
        if self.eat(sign) {
            return true;
        }
        let behind = self.text[self.at..].strip_prefix(word);
        if self.at > begin && behind.is_some_and(|behind| behind.starts_with([' ', '\t'])) {
            self.at += word.len();
            return true;
        }
        self.at = begin;
        false
    }

    fn bare_word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find(is_reserved).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    /// The place as a client counts it, from 1.
    fn character(&self, at: usize) -> usize {
        self.text[..at].chars().count() + 1
    }

    fn expected(&self, what: &str) -> Error {
        let found = match self.text[self.at..].trim_end() {
            "" => "the end".to_owned(),
            rest => format!("{:?}", rest.chars().take(20).collect::<String>()),
        };
        self.wrong(format!("expected {what}, found {found}"))
    }

    fn wrong(&self, what: impl AsRef<str>) -> Error {
        let what = what.as_ref();
        Error::invalid(format!("Unable to parse filter: character {}: {what}", self.character(self.at)))
    }
}

fn is_reserved(c: char) -> bool {
    matches!(c, '"' | '\'' | '(' | ')' | ';' | ',' | '=' | '<' | '>' | '!' | '~' | ' ' | '\t')
}

fn single_or(mut parts: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

fn text_test(operator: Operator, mut values: Vec<String>) -> TextTest {
    let has_wildcard = values[0].contains('*');
    match operator {
        Operator::Equal if has_wildcard => TextTest::Like(values.remove(0)),
        Operator::NotEqual if has_wildcard => TextTest::NotLike(values.remove(0)),
        Operator::Equal | Operator::In => TextTest::In(values),
        Operator::NotEqual | Operator::Out => TextTest::NotIn(values),
        Operator::Compare(comparison) => TextTest::Compare(comparison, values.remove(0)),
    }
}

fn status_test(operator: Operator, values: &[String]) -> Result<StatusTest, String> {
    let status = |text: &String| {
        text.parse::<JobStatus>().map_err(|error| match text.contains('*') {
            true => format!("{:?}: a wildcard has no meaning for a status", shown(text)),
            false => format!("{:?}: {error}", shown(text)),
        })
    };
    let mut statuses = values.iter().map(status).collect::<Result<Vec<_>, _>>()?;
    Ok(match operator {
        Operator::Equal | Operator::In => StatusTest::In(statuses),
        Operator::NotEqual | Operator::Out => StatusTest::NotIn(statuses),
        Operator::Compare(comparison) => StatusTest::Compare(comparison, statuses.remove(0)),
    })
}

fn percentage_test(operator: Operator, values: &[String]) -> Result<PercentageTest, String> {
    let number = |text: &String| {
        let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("{:?} is not a number, as percentageComplete is", shown(text)))
    };
    let mut numbers = values.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    Ok(match operator {
        Operator::Equal | Operator::In => PercentageTest::In(numbers),
        Operator::NotEqual | Operator::Out => PercentageTest::NotIn(numbers),
        Operator::Compare(comparison) => PercentageTest::Compare(comparison, numbers.remove(0)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

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
        for same in [
            "name==a,name==b;name==c",
            "name==a or name==b and name==c",
            " name == a , ( name==b ; name==c ) ",
        ] {
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
            ("percentageComplete==abc", "\"abc\" is not a number"),
            ("percentageComplete==1*", "is not a number"),
            ("percentageComplete==NaN", "is not a number"),
            ("percentageComplete>inf", "is not a number"),
            ("name==\"\0\"", "U+0000"),
        ] {
            let message = message(filter);
            assert!(message.contains(expected), "{filter:?}: {message}");
        }
    }

    #[test]
    fn everything_is_bounded() {
        let nested = |depth: usize| format!("{}id==a{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse_filter(&nested(FILTER_DEPTH_MAX)).is_ok());
        assert!(message(&nested(FILTER_DEPTH_MAX + 1)).contains("nested deeper than 32"));
        assert!(message(&"(".repeat(FILTER_BYTES_MAX)).contains("nested deeper"));
        let terms = |count: usize| vec!["id==a"; count].join(",");
        assert!(parse_filter(&terms(FILTER_TERMS_MAX)).is_ok());
        assert!(message(&terms(FILTER_TERMS_MAX + 1)).contains("more than 256 comparisons"));
        let list = |count: usize| format!("id=in=({})", vec!["a"; count].join(","));
        assert!(parse_filter(&list(FILTER_VALUES_MAX)).is_ok());
        assert!(message(&list(FILTER_VALUES_MAX + 1)).contains("more than 1000 values"));
        assert!(message(&format!("id=={}", "a".repeat(FILTER_BYTES_MAX))).contains("at most 16384"));
    }

    fn quoted(value: &str) -> String {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    }

    fn listed<T>(values: &[T], one: &str, many: &str, show: impl Fn(&T) -> String, plain: bool) -> String {
        match values {
            [value] if plain => format!("{one}{}", show(value)),
            _ => format!("{many}({})", values.iter().map(show).collect::<Vec<_>>().join(" , ")),
        }
    }

    fn sign(comparison: Comparison) -> &'static str {
        match comparison {
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => "=ge=",
            Comparison::Less => "=lt=",
            Comparison::LessOrEqual => "<=",
        }
    }

    fn print(filter: &Filter) -> String {
        let nested = |part: &Filter| match part {
            Filter::And(_) | Filter::Or(_) => format!("({})", print(part)),
            _ => print(part),
        };
        let join = |parts: &[Filter], with: &str| parts.iter().map(nested).collect::<Vec<_>>().join(with);
        match filter {
            Filter::And(parts) => join(parts, ";"),
            Filter::Or(parts) => join(parts, " or "),
            Filter::Text(key, test) => {
                let key = match key {
                    TextKey::Id => "id".to_owned(),
                    TextKey::Name => "name".to_owned(),
                    TextKey::Label(label) => format!("labels.{label}"),
                };
                let plain = |values: &[String]| !values[0].contains('*');
                key + &match test {
                    TextTest::In(values) => listed(values, "==", "=in=", |v| quoted(v), plain(values)),
                    TextTest::NotIn(values) => listed(values, "!=", "=out=", |v| quoted(v), plain(values)),
                    TextTest::Like(pattern) => format!("=={}", quoted(pattern)),
                    TextTest::NotLike(pattern) => format!("!={}", quoted(pattern)),
                    TextTest::Compare(comparison, value) => format!("{}{}", sign(*comparison), quoted(value)),
                }
            }
            Filter::Status(test) => {
                "status".to_owned()
                    + &match test {
                        StatusTest::In(statuses) => listed(statuses, "==", "=in=", ToString::to_string, true),
                        StatusTest::NotIn(statuses) => {
                            listed(statuses, "!=", "=out=", ToString::to_string, true)
                        }
                        StatusTest::Compare(comparison, status) => format!("{}{status}", sign(*comparison)),
                    }
            }
            Filter::Percentage(test) => {
                "percentageComplete".to_owned()
                    + &match test {
                        PercentageTest::In(numbers) => {
                            listed(numbers, "==", "=in=", ToString::to_string, true)
                        }
                        PercentageTest::NotIn(numbers) => {
                            listed(numbers, "!=", "=out=", ToString::to_string, true)
                        }
                        PercentageTest::Compare(comparison, number) => {
                            format!("{}{number}", sign(*comparison))
                        }
                    }
            }
        }
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
        let key = prop_oneof![
            Just(TextKey::Id),
            Just(TextKey::Name),
            "[a-zA-Z0-9_:.-]{1,6}".prop_map(TextKey::Label)
        ];
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
            (comparison(), number())
                .prop_map(|(comparison, number)| PercentageTest::Compare(comparison, number)),
        ];
        let leaf = prop_oneof![
            3 => (key, text_test).prop_map(|(key, test)| Filter::Text(key, test)),
            1 => status_test.prop_map(Filter::Status),
            1 => percentage_test.prop_map(Filter::Percentage),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 2..4).prop_map(Filter::And),
                vec(inner, 2..4).prop_map(Filter::Or),
            ]
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
}
