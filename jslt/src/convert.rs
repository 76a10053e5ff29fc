//! The ways into the evaluation and out of it: values of `serde_json`.

use std::rc::Rc;

use serde_json::{Map, Value};

use crate::error::{LimitKind, Outcome, fail, over};
use crate::eval::{ELEMENT_BYTES, MEMBER_BYTES, array, object};
use crate::limits::{Budget, VALUE_NESTING};
use crate::value::{Name, Object, Val};

/// The result of an evaluation, on its way out of it.
pub(crate) fn into_value(value: Val<'_>, budget: &mut Budget) -> Outcome<Value> {
    let left = budget.output_bytes();
    Output { budget, left }.value(value, 0)
}

struct Output<'b> {
    budget: &'b mut Budget,
    left: usize,
}

impl Output<'_> {
    fn pay(&mut self, bytes: usize) -> Outcome<()> {
        self.budget.step(1)?;
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => over(LimitKind::Output),
        }
    }

    fn name(&mut self, name: Name<'_>) -> Outcome<String> {
        self.pay(name.as_str().len() + 4)?;
        Ok(match name {
            Name::Str(text) => text.to_owned(),
            Name::Text(text) => Rc::unwrap_or_clone(text),
        })
    }

    fn value(&mut self, value: Val<'_>, depth: u32) -> Outcome<Value> {
        if depth > VALUE_NESTING {
            return over(LimitKind::Nesting);
        }
        match value {
            Val::BorrowedArray(_) | Val::Array(_) => self.array(value, depth),
            Val::BorrowedObject(_) | Val::Object(_) => self.object(value, depth),
            Val::Str(text) => {
                self.pay(text.len() + 3)?;
                Ok(Value::String(text.to_owned()))
            }
            Val::Text(text) => {
                self.pay(text.len() + 3)?;
                Ok(Value::String(Rc::unwrap_or_clone(text)))
            }
            Val::Null | Val::Bool(_) | Val::Int(_) | Val::Huge(_) | Val::Double(_) => {
                self.pay(6)?;
                Ok(match value {
                    Val::Bool(value) => Value::Bool(value),
                    Val::Int(value) => Value::from(value),
                    Val::Huge(value) => Value::from(value),
                    Val::Double(value) => Value::from(value),
                    _ => Value::Null,
                })
            }
        }
    }

    fn array(&mut self, value: Val<'_>, depth: u32) -> Outcome<Value> {
        self.pay(2)?;
        let mut elements = Vec::with_capacity(value.len());
        match value {
            Val::Array(array) => match Rc::try_unwrap(array) {
                Ok(array) => {
                    for element in array.elements {
                        elements.push(self.value(element, depth + 1)?);
                    }
                }
                Err(array) => {
                    for element in &array.elements {
                        elements.push(self.value(element.clone(), depth + 1)?);
                    }
                }
            },
            other => {
                for element in other.elements() {
                    elements.push(self.value(element, depth + 1)?);
                }
            }
        }
        Ok(Value::Array(elements))
    }

    fn object(&mut self, value: Val<'_>, depth: u32) -> Outcome<Value> {
        self.pay(2)?;
        let mut members = Map::with_capacity(value.len());
        match value {
            Val::Object(object) => {
                let entries = match Rc::try_unwrap(object) {
                    Ok(object) => object.into_entries(),
                    Err(object) => object.iter().cloned().collect(),
                };
                for (name, value) in entries {
                    let value = self.value(value, depth + 1)?;
                    members.insert(self.name(name)?, value);
                }
            }
            Val::BorrowedObject(object) => {
                for (name, value) in object {
                    let value = self.value(Val::from(value), depth + 1)?;
                    members.insert(self.name(Name::Str(name))?, value);
                }
            }
            _ => {}
        }
        Ok(Value::Object(members))
    }
}

/// Takes over a value that was read from JSON text.
pub(crate) fn from_value<'a>(value: Value, budget: &mut Budget, depth: u32) -> Outcome<Val<'a>> {
    if depth > VALUE_NESTING {
        return over(LimitKind::Nesting);
    }
    budget.step(1)?;
    Ok(match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(value),
        Value::Number(number) => match Val::from(&number) {
            Val::Null => return fail(format!("The number {number} is out of range")),
            Val::Int(value) => Val::Int(value),
            Val::Huge(value) => Val::Huge(value),
            other => Val::Double(other.double()),
        },
        Value::String(text) => text.into(),
        Value::Array(elements) => {
            budget.allocate(elements.len() * ELEMENT_BYTES)?;
            let elements = elements
                .into_iter()
                .map(|element| from_value(element, budget, depth + 1))
                .collect::<Outcome<Vec<_>>>()?;
            array(elements)?
        }
        Value::Object(members) => {
            budget.allocate(members.len() * MEMBER_BYTES)?;
            let mut owned = Object::with_capacity(members.len());
            for (name, value) in members {
                let value = from_value(value, budget, depth + 1)?;
                owned.push(Name::Text(Rc::new(name)), value);
            }
            object(owned)?
        }
    })
}
