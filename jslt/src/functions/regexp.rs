//! Functions that match regular expressions.

use std::rc::Rc;

use crate::error::{Outcome, fail};
use crate::eval::{self, ELEMENT_BYTES, Evaluator, MEMBER_BYTES};
use crate::json::excerpt;
use crate::pattern::Pattern;
use crate::program::Prepared;
use crate::value::{Name, Object, Val};

use super::{Arguments, text_of};

/// A pattern that was compiled with the script, or one from this evaluation.
enum Found<'a> {
    Prepared(&'a Pattern),
    Kept(Rc<Pattern>),
}

impl std::ops::Deref for Found<'_> {
    type Target = Pattern;

    fn deref(&self) -> &Pattern {
        match self {
            Self::Prepared(pattern) => pattern,
            Self::Kept(pattern) => pattern,
        }
    }
}

/// The pattern in the second argument; `name` says for whom.
fn pattern<'a>(
    evaluator: &mut Evaluator<'a>,
    arguments: &Arguments<'_, 'a>,
    name: &str,
) -> Outcome<Found<'a>> {
    if let Prepared::Pattern(pattern) = arguments.prepared {
        return Ok(Found::Prepared(pattern));
    }
    let text = arguments.second();
    if text.is_null() {
        return fail(format!("{name}() can't match against null regexp"));
    }
    let text = text_of(text, &mut evaluator.budget)?;
    evaluator.pattern(&text).map(Found::Kept)
}

pub(super) fn test<'a>(evaluator: &mut Evaluator<'a>, arguments: &Arguments<'_, 'a>) -> Outcome<Val<'a>> {
    if arguments.first().is_null() {
        return Ok(Val::Bool(false));
    }
    let pattern = pattern(evaluator, arguments, "test")?;
    let text = text_of(arguments.first(), &mut evaluator.budget)?;
    evaluator.budget.step(pattern.search_steps(text.len()))?;
    Ok(pattern.is_match(&text).into())
}

/// An object with what the named groups matched.
pub(super) fn capture<'a>(evaluator: &mut Evaluator<'a>, arguments: &Arguments<'_, 'a>) -> Outcome<Val<'a>> {
    if arguments.first().is_null() {
        return Ok(Val::Null);
    }
    let pattern = pattern(evaluator, arguments, "capture")?;
    let text = text_of(arguments.first(), &mut evaluator.budget)?;
    evaluator.budget.step(pattern.search_steps(text.len()))?;
    let mut object = Object::with_capacity(4);
    if let Some(groups) = pattern.capture(&text) {
        for (name, matched) in groups {
            evaluator.budget.allocate(MEMBER_BYTES + name.len() + matched.map_or(0, str::len))?;
            let value = matched.map_or(Val::Null, |matched| matched.to_owned().into());
            object.push(Name::Text(Rc::new(name.to_owned())), value);
        }
    }
    eval::object(object)
}

/// The next match, paid for.
fn search(
    evaluator: &mut Evaluator<'_>,
    pattern: &Pattern,
    text: &str,
    from: usize,
) -> Outcome<Option<(usize, usize)>> {
    let left = text.len().saturating_sub(from);
    // The search that was done is paid afterwards, so there must be something to pay with before.
    evaluator.budget.step(1)?;
    let found = pattern.find_at(text, from);
    let near = found.map_or(left, |(_, end)| end - from);
    evaluator.budget.step(pattern.repeated_search_steps(near, left))?;
    Ok(found)
}

/// The text between matches. Empty parts at the end are left out, and so is an empty match at the
/// start.
pub(super) fn split<'a>(evaluator: &mut Evaluator<'a>, arguments: &Arguments<'_, 'a>) -> Outcome<Val<'a>> {
    if arguments.first().is_null() {
        return Ok(Val::Null);
    }
    let pattern = pattern(evaluator, arguments, "split")?;
    let text = text_of(arguments.first(), &mut evaluator.budget)?;
    evaluator.budget.allocate(text.len())?;
    let mut parts: Vec<&str> = Vec::new();
    let mut part_start = 0;
    let mut from = 0;
    while let Some((start, end)) = search(evaluator, &pattern, &text, from)? {
        from = end;
        if start == end {
            // Step over a character, or the search would stay where it is.
            from += text[end..].chars().next().map_or(1, char::len_utf8);
            if start == 0 {
                continue;
            }
        }
        evaluator.budget.allocate(2 * ELEMENT_BYTES)?;
        parts.push(&text[part_start..start]);
        part_start = end;
    }
    if part_start == 0 && parts.is_empty() {
        return eval::array(vec![text.into_owned().into()]);
    }
    parts.push(&text[part_start..]);
    let kept = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
    eval::array(parts[..kept].iter().map(|part| (*part).to_owned().into()).collect())
}

/// Puts `out`, taken literally, in place of every match.
pub(super) fn replace<'a>(evaluator: &mut Evaluator<'a>, arguments: &Arguments<'_, 'a>) -> Outcome<Val<'a>> {
    let value = arguments.first();
    if value.is_null() {
        return Ok(Val::Null);
    }
    let pattern = pattern(evaluator, arguments, "replace")?;
    let text = text_of(value, &mut evaluator.budget)?;
    let replacement = text_of(arguments.at(2), &mut evaluator.budget)?;
    let mut out = String::new();
    let mut at = 0;
    while let Some((start, end)) = search(evaluator, &pattern, &text, at)? {
        if start == end {
            let message = format!(
                "Regexp {} in replace() matched empty string in '{}'",
                pattern.text(),
                excerpt(value)
            );
            return fail(message);
        }
        let growth = start - at + replacement.len();
        if out.len() + growth > evaluator.budget.output_bytes() {
            evaluator.budget.allocate(out.len() + growth)?;
        }
        evaluator.budget.allocate(growth)?;
        out.push_str(&text[at..start]);
        out.push_str(&replacement);
        at = end;
    }
    if at == 0 && value.as_str().is_some() {
        return Ok(value.clone());
    }
    evaluator.budget.allocate(out.len() + text.len() - at)?;
    out.push_str(&text[at..]);
    Ok(out.into())
}
