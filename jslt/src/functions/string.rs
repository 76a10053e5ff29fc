//! Functions on strings.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::convert::from_value;
use crate::error::{Outcome, fail};
use crate::eval::Evaluator;
use crate::json::{excerpt, to_json};
use crate::value::Val;

use super::number::to_number;
use super::text_of;

pub(super) fn string<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    match value.as_str() {
        Some(_) => Ok(value.clone()),
        None => to_json(value, &mut evaluator.budget).map(Val::from),
    }
}

pub(super) fn join<'a>(
    evaluator: &mut Evaluator<'a>,
    array: &Val<'a>,
    separator: &Val<'a>,
) -> Outcome<Val<'a>> {
    if array.is_null() {
        return Ok(Val::Null);
    }
    if !array.is_array() {
        return fail(format!("Cannot convert {} to array", excerpt(array)));
    }
    let separator = text_of(separator, &mut evaluator.budget)?;
    let mut joined = String::new();
    for (index, element) in array.elements().enumerate() {
        let part = text_of(&element, &mut evaluator.budget)?;
        // The whole may not grow too large, and the part has to be paid for.
        if joined.len() + separator.len() + part.len() > evaluator.budget.output_bytes() {
            evaluator.budget.allocate(joined.len() + separator.len() + part.len())?;
        }
        evaluator.budget.allocate(separator.len() + part.len())?;
        if index > 0 {
            joined.push_str(&separator);
        }
        joined.push_str(&part);
    }
    Ok(joined.into())
}

/// Applies a function to the text of anything but `null`.
fn map_text<'a>(
    evaluator: &mut Evaluator<'a>,
    value: &Val<'a>,
    function: impl FnOnce(&str) -> String,
) -> Outcome<Val<'a>> {
    if value.is_null() {
        return Ok(Val::Null);
    }
    let text = text_of(value, &mut evaluator.budget)?;
    evaluator.budget.allocate(text.len())?;
    Ok(function(&text).into())
}

pub(super) fn lowercase<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    map_text(evaluator, value, str::to_lowercase)
}

pub(super) fn uppercase<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    map_text(evaluator, value, str::to_uppercase)
}

/// Removes spaces and control characters at both ends, as Java's `trim` does.
pub(super) fn trim<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    map_text(evaluator, value, |text| text.trim_matches(|c| c <= ' ').to_owned())
}

pub(super) fn sha256_hex<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    map_text(evaluator, value, |text| {
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
        Sha256::digest(text.as_bytes()).iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
    })
}

pub(super) fn starts_with<'a>(
    evaluator: &mut Evaluator<'a>,
    text: &Val<'a>,
    prefix: &Val<'a>,
) -> Outcome<Val<'a>> {
    let text = text_of(text, &mut evaluator.budget)?;
    Ok(text.starts_with(text_of(prefix, &mut evaluator.budget)?.as_ref()).into())
}

pub(super) fn ends_with<'a>(
    evaluator: &mut Evaluator<'a>,
    text: &Val<'a>,
    suffix: &Val<'a>,
) -> Outcome<Val<'a>> {
    let text = text_of(text, &mut evaluator.budget)?;
    Ok(text.ends_with(text_of(suffix, &mut evaluator.budget)?.as_ref()).into())
}

/// Reads JSON text. As with Jackson, empty text is `null` and what follows the first value is not
/// looked at.
pub(super) fn from_json<'a>(
    evaluator: &mut Evaluator<'a>,
    value: &Val<'a>,
    fallback: Option<&Val<'a>>,
) -> Outcome<Val<'a>> {
    if value.is_null() {
        return Ok(Val::Null);
    }
    let text: Cow<'_, str> = text_of(value, &mut evaluator.budget)?;
    evaluator.budget.allocate(text.len())?;
    match serde_json::Deserializer::from_str(&text).into_iter::<Value>().next() {
        None => Ok(Val::Null),
        Some(Ok(value)) => from_value(value, &mut evaluator.budget, 0),
        Some(Err(error)) => match fallback {
            Some(fallback) => Ok(fallback.clone()),
            None => fail(format!("from-json can't parse {}: {error}", excerpt(value))),
        },
    }
}

/// A random UUID, or one of version 1 with the bits of two integers.
pub(super) fn uuid<'a>(evaluator: &mut Evaluator<'a>, arguments: &[Val<'a>]) -> Outcome<Val<'a>> {
    let [high, low] = arguments else {
        let Some(random) = evaluator.random else {
            return fail("uuid() needs a source of randomness, and this evaluation has none");
        };
        let bits = (u128::from(random()) << 64) | u128::from(random());
        return Ok(Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string().into());
    };
    if high.is_null() && low.is_null() {
        return Ok(Uuid::nil().to_string().into());
    }
    let (high, low) = (to_number(high)?.long().cast_unsigned(), to_number(low)?.long().cast_unsigned());
    // The version pushes the lowest four bits out; the variant covers the highest two.
    let high = (high & !0xFFFF) | 0x1000 | ((high & 0xFFFF) >> 4);
    let low = (low & (u64::MAX >> 2)) | (1 << 63);
    Ok(Uuid::from_u64_pair(high, low).to_string().into())
}
