//! Functions on objects.

use crate::error::{Outcome, fail};
use crate::eval::Evaluator;
use crate::json::excerpt;
use crate::value::Val;

use super::text_of;

/// Looks up a key that is computed.
pub(super) fn get_key<'a>(
    evaluator: &mut Evaluator<'a>,
    object: &Val<'a>,
    key: &Val<'a>,
    fallback: Option<&Val<'a>>,
) -> Outcome<Val<'a>> {
    if key.is_null() || object.is_null() {
        return Ok(Val::Null);
    }
    if !object.is_object() {
        return fail(format!("get-key: can't look up keys in {}", excerpt(object)));
    }
    let key = text_of(key, &mut evaluator.budget)?;
    Ok(object.member(&key).or_else(|| fallback.cloned()).unwrap_or(Val::Null))
}
