//! Paths: `.key`, `[index]` and `[from : to]`.

use crate::error::{Outcome, Position, fail, located};
use crate::json::excerpt;
use crate::program::{Expr, Path, Step};
use crate::value::{Val, text_length};

use super::{ELEMENT_BYTES, Evaluator, array};

/// The UTF-16 units of a string from one position to another. Half of a pair becomes a
/// replacement character, since UTF-8 cannot hold it.
fn text_slice(text: &str, from: usize, to: usize) -> String {
    if text.is_ascii() {
        return text.get(from..to).unwrap_or_default().to_owned();
    }
    let units = text.encode_utf16().skip(from).take(to.saturating_sub(from));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

impl<'a> Evaluator<'a> {
    #[inline(never)]
    pub(super) fn path(&mut self, path: &'a Path, input: &Val<'a>) -> Outcome<Val<'a>> {
        let mut value = self.eval(&path.base, input)?;
        for step in &path.steps {
            value = match step {
                Step::Key(key) => value.member(key).unwrap_or(Val::Null),
                Step::Index(index, position) => {
                    let item = self.index(&value, index, input);
                    located(item, *position)?
                }
                Step::Slice(from, to, position) => {
                    self.slice(&value, from.as_ref(), to.as_ref(), *position, input)?
                }
            };
        }
        Ok(value)
    }

    /// The length of an array or a string; nothing else can be indexed.
    fn sequence_length(&mut self, value: &Val<'a>) -> Outcome<Option<i64>> {
        let length = if let Some(text) = value.as_str() {
            self.budget.scan(text.len())?;
            text_length(text)
        } else if value.is_array() {
            value.len()
        } else {
            return Ok(None);
        };
        Ok(i64::try_from(length).ok())
    }

    /// A position in a sequence; negative ones count from the end.
    fn position(&mut self, index: &'a Expr, length: i64, input: &Val<'a>) -> Outcome<i64> {
        let index = self.eval(index, input)?;
        if !index.is_number() {
            return fail(format!("Can't index array/string with {}", excerpt(&index)));
        }
        let index = index.long();
        Ok(if index < 0 { length.saturating_add(index) } else { index })
    }

    #[inline(never)]
    fn index(&mut self, value: &Val<'a>, index: &'a Expr, input: &Val<'a>) -> Outcome<Val<'a>> {
        let Some(length) = self.sequence_length(value)? else {
            return Ok(Val::Null);
        };
        let index = self.position(index, length, input)?;
        let at = usize::try_from(index).ok().filter(|_| index < length);
        match (value.as_str(), at) {
            (None, Some(at)) => Ok(value.element(at).unwrap_or(Val::Null)),
            (None, None) => Ok(Val::Null),
            (Some(text), Some(at)) => Ok(text_slice(text, at, at + 1).into()),
            (Some(_), None) => fail(format!("String index out of range: {index}")),
        }
    }

    #[inline(never)]
    fn slice(
        &mut self,
        value: &Val<'a>,
        from: Option<&'a Expr>,
        to: Option<&'a Expr>,
        place: Position,
        input: &Val<'a>,
    ) -> Outcome<Val<'a>> {
        let Some(length) = self.sequence_length(value)? else {
            return Ok(Val::Null);
        };
        let mut bound = |index: Option<&'a Expr>, default: i64| match index {
            Some(index) => located(self.position(index, length, input), place),
            None => Ok(default),
        };
        // A slice takes what there is: bounds beyond an end mean that end.
        let from = bound(from, 0)?.clamp(0, length);
        let to = bound(to, length)?.clamp(from, length);
        let (from, to) = (usize::try_from(from).unwrap_or(0), usize::try_from(to).unwrap_or(0));
        if let Some(text) = value.as_str() {
            // A UTF-16 unit takes at most three bytes.
            self.budget.allocate(if text.is_ascii() {
                to - from
            } else {
                text.len().min(3 * (to - from))
            })?;
            return Ok(text_slice(text, from, to).into());
        }
        if let Val::BorrowedArray(elements) = value {
            return Ok(Val::BorrowedArray(elements.get(from..to).unwrap_or_default()));
        }
        self.budget.allocate((to - from) * ELEMENT_BYTES)?;
        array((from..to).filter_map(|at| value.element(at)).collect())
    }
}
