//! Functions on numbers.

use crate::error::{Outcome, fail};
use crate::eval::Evaluator;
use crate::json::{excerpt, to_sorted_json};
use crate::value::Val;

/// Reads a number from a string; `None` if it is none.
///
/// The syntax is JSON's, except that leading zeros are allowed. An integer that 64 bits cannot hold
/// becomes a double.
fn parse_number(text: &str) -> Option<Val<'static>> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned);
    if whole == 0 {
        return None;
    }
    let mut rest = &unsigned[whole..];
    if rest.is_empty()
        && let Ok(value) = text.parse()
    {
        return Some(Val::Int(value));
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = digits(fraction);
        if length == 0 {
            return None;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = digits(exponent);
        if length == 0 {
            return None;
        }
        rest = &exponent[length..];
    }
    if !rest.is_empty() {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Val::Double)
}

/// The number that a number or a string is; an error for anything else but `null`.
pub(crate) fn to_number<'a>(value: &Val<'a>) -> Outcome<Val<'a>> {
    if value.is_number() || value.is_null() {
        return Ok(value.clone());
    }
    match value.as_str() {
        Some(text) => match parse_number(text) {
            Some(number) => Ok(number),
            None => {
                let text = excerpt(value);
                fail(format!("number({}) failed: not a number", text.trim_matches('"')))
            }
        },
        None => fail(format!("Can't convert {} to number", excerpt(value))),
    }
}

pub(super) fn number<'a>(value: &Val<'a>, fallback: Option<&Val<'a>>) -> Outcome<Val<'a>> {
    let Some(fallback) = fallback else {
        return to_number(value);
    };
    Ok(match value.as_str() {
        _ if value.is_number() => value.clone(),
        Some(text) => parse_number(text).unwrap_or_else(|| fallback.clone()),
        None => fallback.clone(),
    })
}

/// Rounds a double to an integer; integers stay as they are.
pub(super) fn to_integer<'a>(value: &Val<'a>, name: &str, rounding: fn(f64) -> f64) -> Outcome<Val<'a>> {
    match value {
        Val::Null | Val::Int(_) | Val::Huge(_) => Ok(value.clone()),
        // Beyond the range of 64 bits the conversion stops at its end, as Java's does.
        Val::Double(number) => Ok(Val::Int(rounding(*number) as i64)),
        _ => fail(format!("{name}() cannot round a non-number: {}", excerpt(value))),
    }
}

/// A number between 0 and 1, with the 53 bits of chance that a double can hold.
pub(super) fn random<'a>(evaluator: &mut Evaluator<'a>) -> Outcome<Val<'a>> {
    match evaluator.random {
        Some(random) => Ok(Val::Double((random() >> 11) as f64 / (1_u64 << 53) as f64)),
        None => fail("random() needs a source of randomness, and this evaluation has none"),
    }
}

pub(super) fn sum<'a>(evaluator: &mut Evaluator<'a>, array: &Val<'a>) -> Outcome<Val<'a>> {
    if array.is_null() {
        return Ok(Val::Null);
    }
    if !array.is_array() {
        return fail(format!("sum(): argument must be array, was {}", excerpt(array)));
    }
    let mut integral = true;
    let mut whole = 0_i128;
    let mut sum = 0.0;
    for value in array.elements() {
        evaluator.budget.step(1)?;
        if !value.is_number() {
            return fail(format!("sum(): array must contain numbers, found {}", excerpt(&value)));
        }
        match value {
            Val::Int(value) => whole += i128::from(value),
            Val::Huge(value) => whole += i128::from(value),
            _ => integral = false,
        }
        sum += value.double();
    }
    if integral {
        let limit = if whole < 0 { i64::MIN } else { i64::MAX };
        Ok(Val::Int(i64::try_from(whole).unwrap_or(limit)))
    } else if sum.is_finite() {
        Ok(Val::Double(sum))
    } else {
        fail("sum(): the result is too large a number")
    }
}

/// The remainder of Euclidean division: never negative.
pub(super) fn modulo<'a>(dividend: &Val<'a>, divisor: &Val<'a>) -> Outcome<Val<'a>> {
    for (value, role) in [(dividend, "dividend"), (divisor, "divisor")] {
        if value.is_null() {
            return Ok(Val::Null);
        }
        if !value.is_number() {
            return fail(format!("mod(): {role} cannot be a non-number: {}", excerpt(value)));
        }
    }
    if !dividend.is_integral() || !divisor.is_integral() {
        return fail("mod(): operands must be integral types");
    }
    match divisor.long() {
        0 => fail("mod(): cannot divide by zero"),
        divisor => Ok(Val::Int(dividend.long().wrapping_rem_euclid(divisor))),
    }
}

/// Java's hash of a value's JSON text with sorted keys.
pub(super) fn hash_int<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    if value.is_null() {
        return Ok(Val::Null);
    }
    let text = to_sorted_json(value, &mut evaluator.budget)?;
    let hash =
        text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    Ok(Val::Int(i64::from(hash)))
}
