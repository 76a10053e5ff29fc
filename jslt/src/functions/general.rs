//! Functions on values of several kinds.

use crate::error::{EvalError, Fault, Outcome, fail};
use crate::eval::Evaluator;
use crate::json::excerpt;
use crate::value::{Val, text_length};

use super::text_of;

/// Whether a value is an element of an array, a key of an object or a part of a string.
pub(super) fn contains<'a>(
    evaluator: &mut Evaluator<'a>,
    element: &Val<'a>,
    sequence: &Val<'a>,
) -> Outcome<Val<'a>> {
    if sequence.is_null() {
        return Ok(Val::Bool(false));
    }
    if sequence.is_array() {
        for other in sequence.elements() {
            if evaluator.same(&other, element)? {
                return Ok(Val::Bool(true));
            }
        }
        return Ok(Val::Bool(false));
    }
    if !sequence.is_object() && sequence.as_str().is_none() {
        return fail(format!("Contains cannot operate on {}", excerpt(sequence)));
    }
    if element.is_null() {
        return Ok(Val::Bool(false));
    }
    let part = text_of(element, &mut evaluator.budget)?;
    Ok(Val::Bool(match sequence.as_str() {
        Some(text) => {
            evaluator.budget.scan(text.len())?;
            text.contains(part.as_ref())
        }
        None => sequence.member(&part).is_some(),
    }))
}

pub(super) fn size<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    if let Some(text) = value.as_str() {
        evaluator.budget.scan(text.len())?;
        Ok(Val::count(text_length(text)))
    } else if value.is_array() || value.is_object() {
        Ok(Val::count(value.len()))
    } else if value.is_null() {
        Ok(Val::Null)
    } else {
        fail(format!("Function size() cannot work on {}", excerpt(value)))
    }
}

/// Ends the evaluation with the script's own message.
pub(super) fn error<'a>(evaluator: &mut Evaluator<'a>, message: &Val<'a>) -> Outcome<Val<'a>> {
    let message = format!("error: {}", text_of(message, &mut evaluator.budget)?);
    Err(Box::new(Fault::Done(EvalError::Raised { message })))
}

/// The larger or the smaller of two values; `null` if one is `null`.
pub(super) fn extreme<'a>(
    evaluator: &mut Evaluator<'a>,
    left: &Val<'a>,
    right: &Val<'a>,
    largest: bool,
) -> Outcome<Val<'a>> {
    if left.is_null() || right.is_null() {
        return Ok(Val::Null);
    }
    let order = evaluator.order(left, right)?;
    let take_left = if largest { order.is_gt() } else { order.is_lt() };
    Ok(if take_left { left.clone() } else { right.clone() })
}
