//! Functions on arrays.

use crate::error::{LimitKind, Outcome, fail, over};
use crate::eval::{self, ELEMENT_BYTES, Evaluator, MEMBER_BYTES};
use crate::json::excerpt;
use crate::limits::VALUE_NESTING;
use crate::value::{Name, Object, Val};

pub(super) fn array<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    if value.is_null() || value.is_array() {
        Ok(value.clone())
    } else if value.is_object() {
        evaluator.pairs(value)
    } else {
        fail(format!("array() cannot convert {}", excerpt(value)))
    }
}

/// The elements of an array and of all arrays inside it, in one array.
pub(super) fn flatten<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    if value.is_null() {
        return Ok(Val::Null);
    }
    if !value.is_array() {
        return fail(format!("flatten() cannot operate on {}", excerpt(value)));
    }
    let mut flat = Vec::new();
    collect(evaluator, value, &mut flat, 0)?;
    eval::array(flat)
}

fn collect<'a>(
    evaluator: &mut Evaluator<'a>,
    value: &Val<'a>,
    flat: &mut Vec<Val<'a>>,
    depth: u32,
) -> Outcome<()> {
    if depth > VALUE_NESTING {
        return over(LimitKind::Nesting);
    }
    for element in value.elements() {
        evaluator.budget.step(1)?;
        if element.is_array() {
            collect(evaluator, &element, flat, depth + 1)?;
        } else {
            evaluator.budget.allocate(ELEMENT_BYTES)?;
            flat.push(element);
        }
    }
    Ok(())
}

/// Whether some element has the truth value `wanted`; `None` for `null`.
fn some<'a>(
    evaluator: &mut Evaluator<'a>,
    value: &Val<'a>,
    wanted: bool,
    name: &str,
) -> Outcome<Option<bool>> {
    if value.is_null() {
        return Ok(None);
    }
    if !value.is_array() {
        return fail(format!("{name}() requires an array, not {}", excerpt(value)));
    }
    evaluator.budget.scan(value.len())?;
    Ok(Some(value.elements().any(|element| element.is_true() == wanted)))
}

pub(super) fn all<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    Ok(some(evaluator, value, false, "all")?.map_or(Val::Null, |some_false| Val::Bool(!some_false)))
}

pub(super) fn any<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    Ok(some(evaluator, value, true, "any")?.map_or(Val::Null, Val::Bool))
}

/// Pairs of elements that stand at the same place.
pub(super) fn zip<'a>(evaluator: &mut Evaluator<'a>, left: &Val<'a>, right: &Val<'a>) -> Outcome<Val<'a>> {
    if left.is_null() || right.is_null() {
        return Ok(Val::Null);
    }
    if !left.is_array() || !right.is_array() {
        return fail("zip() requires arrays");
    }
    if left.len() != right.len() {
        return fail("zip() arrays were of unequal size");
    }
    evaluator.budget.allocate(left.len() * 4 * ELEMENT_BYTES)?;
    let pairs = left.elements().zip(right.elements()).map(|(left, right)| eval::array(vec![left, right]));
    eval::array(pairs.collect::<Outcome<_>>()?)
}

pub(super) fn zip_with_index<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    if value.is_null() {
        return Ok(Val::Null);
    }
    if !value.is_array() {
        return fail("zip-with-index() argument must be an array");
    }
    evaluator.budget.allocate(value.len() * (ELEMENT_BYTES + 2 * MEMBER_BYTES))?;
    let pairs = value.elements().enumerate().map(|(index, element)| {
        let mut pair = Object::with_capacity(2);
        pair.push(Name::Str("index"), Val::count(index));
        pair.push(Name::Str("value"), element);
        eval::object(pair)
    });
    eval::array(pairs.collect::<Outcome<_>>()?)
}

pub(super) fn index_of<'a>(
    evaluator: &mut Evaluator<'a>,
    array: &Val<'a>,
    value: &Val<'a>,
) -> Outcome<Val<'a>> {
    if array.is_null() {
        return Ok(Val::Null);
    }
    if !array.is_array() {
        return fail("index-of() first argument must be an array");
    }
    for (index, element) in array.elements().enumerate() {
        if evaluator.equal(&element, value)? {
            return Ok(Val::count(index));
        }
    }
    Ok(Val::Int(-1))
}
