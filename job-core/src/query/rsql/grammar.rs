//! The grammar: a function for each rule, which is its first line.
//!
//! What follows is always decided by what stands next: the only rule that is tried and left again is a separator, and
//! everything else that fails ends the reading ([`needed`]). So a text is read once, but for its blanks, and the stack
//! is bounded by the depth of its parentheses.

use winnow::ascii::{space0, space1};
use winnow::combinator::{alt, cut_err, delimited, eof, opt, peek, preceded, repeat, separated, terminated};
use winnow::error::{ErrMode, ModalResult};
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location as _, Stateful};
use winnow::token::{one_of, take, take_till};

use super::fault::Fault;
use super::meaning::{self, Operator, Placed};
use super::{FILTER_DEPTH_MAX, FILTER_TERMS_MAX, FILTER_VALUES_MAX};
use crate::query::filter::{Comparison, Filter};

type Input<'a> = Stateful<LocatingSlice<&'a str>, Seen>;
type Read<T> = ModalResult<T, Fault>;

/// What reads a `T`.
trait Rule<'a, T>: Parser<Input<'a>, T, ErrMode<Fault>> {}
impl<'a, T, R: Parser<Input<'a>, T, ErrMode<Fault>>> Rule<'a, T> for R {}

/// What is bounded across rules.
#[derive(Debug, Default)]
struct Seen {
    /// Parentheses that are open.
    depth: usize,
    comparisons: usize,
}

/// Reads the whole of `text`.
pub(super) fn read(text: &str) -> Result<Filter, Fault> {
    let input = Stateful { input: LocatingSlice::new(text), state: Seen::default() };
    filter.parse(input).map_err(|error| error.into_inner())
}

/// `filter = blanks or blanks`; those before it belong to its first constraint.
fn filter(input: &mut Input<'_>) -> Read<Filter> {
    let end = needed(eof, "the end, \",\", \";\", \" or \" or \" and \"");
    terminated(or, (space0, end)).parse_next(input)
}

/// `or = and *( separator<",", "or"> and )`
fn or(input: &mut Input<'_>) -> Read<Filter> {
    separated(1.., and, separator(',', "or")).map(|parts| single_or(parts, Filter::Or)).parse_next(input)
}

/// `and = constraint *( separator<";", "and"> constraint )`
fn and(input: &mut Input<'_>) -> Read<Filter> {
    separated(1.., constraint, separator(';', "and"))
        .map(|parts| single_or(parts, Filter::And))
        .parse_next(input)
}

/// `constraint = blanks ( group / comparison )`
fn constraint(input: &mut Input<'_>) -> Read<Filter> {
    preceded(space0, alt((group, comparison))).parse_next(input)
}

/// `group = "(" or blanks ")"`
fn group(input: &mut Input<'_>) -> Read<Filter> {
    let at = input.current_token_start();
    '('.parse_next(input)?;
    if input.state.depth == FILTER_DEPTH_MAX {
        return refused(at, format!("parentheses are nested deeper than {FILTER_DEPTH_MAX}"));
    }
    input.state.depth += 1;
    let end = needed(')', "\")\", \",\", \";\", \" or \" or \" and \"");
    let inner = terminated(or, (space0, end)).parse_next(input)?;
    input.state.depth -= 1;
    Ok(inner)
}

/// `comparison = key blanks operator blanks arguments`
fn comparison(input: &mut Input<'_>) -> Read<Filter> {
    let key = key(input)?;
    if input.state.comparisons == FILTER_TERMS_MAX {
        return refused(key.at, format!("there are more than {FILTER_TERMS_MAX} comparisons"));
    }
    input.state.comparisons += 1;
    let operator = delimited(space0, operator, space0).parse_next(input)?;
    let at = input.current_token_start();
    let values = arguments(input)?;
    if values.len() > 1 && !operator.takes_many() {
        return refused(at, "several values are only allowed behind =in= and =out=");
    }
    meaning::filter(&key, operator, values).map_err(ErrMode::Cut)
}

/// `key = 1*unreserved`
fn key<'a>(input: &mut Input<'a>) -> Read<Placed<&'a str>> {
    let key = needed(unreserved, "\"(\", id, name, status, percentageComplete or labels.KEY");
    placed(key).parse_next(input)
}

/// `operator = "==" / "!=" / "=in=" / "=out=" / order`
fn operator(input: &mut Input<'_>) -> Read<Operator> {
    let known = alt((
        "==".value(Operator::Equal),
        "!=".value(Operator::NotEqual),
        "=in=".value(Operator::In),
        "=out=".value(Operator::Out),
        order.map(Operator::Compare),
    ));
    needed(known, "an operator: ==, !=, >, >=, <, <=, =in= or =out=").parse_next(input)
}

/// `order = "=gt=" / ">" / "=ge=" / ">=" / "=lt=" / "<" / "=le=" / "<="`; one that begins another is tried after it.
fn order(input: &mut Input<'_>) -> Read<Comparison> {
    alt((
        alt(("=ge=", ">=")).value(Comparison::GreaterOrEqual),
        alt(("=gt=", ">")).value(Comparison::Greater),
        alt(("=le=", "<=")).value(Comparison::LessOrEqual),
        alt(("=lt=", "<")).value(Comparison::Less),
    ))
    .parse_next(input)
}

/// `arguments = "(" listed *( "," listed ) ")" / value`
fn arguments(input: &mut Input<'_>) -> Read<Vec<Placed<String>>> {
    if opt('(').parse_next(input)?.is_none() {
        return value.map(|value| vec![value]).parse_next(input);
    }
    let values: Vec<_> = separated(1..=FILTER_VALUES_MAX, listed, ',').parse_next(input)?;
    if values.len() == FILTER_VALUES_MAX && opt(peek(',')).parse_next(input)?.is_some() {
        let at = input.current_token_start();
        return refused(at, format!("a list has more than {FILTER_VALUES_MAX} values"));
    }
    needed(')', "\",\" or \")\"").parse_next(input)?;
    Ok(values)
}

/// `listed = blanks value blanks`
fn listed(input: &mut Input<'_>) -> Read<Placed<String>> {
    delimited(space0, value, space0).parse_next(input)
}

/// `value = quoted / 1*unreserved`
fn value(input: &mut Input<'_>) -> Read<Placed<String>> {
    let plain = unreserved.map(str::to_owned);
    let value =
        needed(alt((quoted, plain)), "a value; one with spaces or reserved characters has to be quoted");
    let value = placed(value).parse_next(input)?;
    // No column of a database can be compared with it.
    if value.what.contains('\0') {
        return refused(value.at, "a value contains the character U+0000");
    }
    Ok(value)
}

/// `quoted = quote *( "\" any / any but quote and "\" ) quote, with the same " or ' as quote`
fn quoted(input: &mut Input<'_>) -> Read<String> {
    let at = input.current_token_start();
    let quote = one_of(['"', '\'']).parse_next(input)?;
    let piece = alt((take_till(1.., [quote, '\\']), preceded('\\', take(1_usize))));
    let text = repeat(0.., piece).fold(String::new, |text, piece| text + piece).parse_next(input)?;
    if opt(quote).parse_next(input)?.is_none() {
        return refused(at, format!("the text that begins here has no closing {quote}"));
    }
    Ok(text)
}

/// `unreserved = any but "'();,=<>!~, space and tab`, as many as there are and at least one.
fn unreserved<'a>(input: &mut Input<'a>) -> Read<&'a str> {
    const RESERVED: [char; 13] = ['"', '\'', '(', ')', ';', ',', '=', '<', '>', '!', '~', ' ', '\t'];
    take_till(1.., RESERVED).parse_next(input)
}

/// `separator<sign, word> = blanks sign / 1*blank word, before a blank`
fn separator<'a>(sign: char, word: &'static str) -> impl Rule<'a, ()> {
    let sign = (space0, sign).void();
    let word = (space1, word, peek(one_of([' ', '\t']))).void();
    alt((sign, word))
}

/// Nothing else can stand here.
fn needed<'a, T>(rule: impl Rule<'a, T>, expected: &'static str) -> impl Rule<'a, T> {
    cut_err(rule.context(expected))
}

/// With the place where it begins.
fn placed<'a, T>(rule: impl Rule<'a, T>) -> impl Rule<'a, Placed<T>> {
    rule.with_span().map(|(what, place)| Placed { what, at: place.start })
}

/// The text breaks a rule that is not one of grammar.
fn refused<T>(at: usize, what: impl Into<String>) -> Read<T> {
    Err(ErrMode::Cut(Fault::refused(at, what)))
}

fn single_or(mut parts: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}
