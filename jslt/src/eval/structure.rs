//! Arrays, objects, comprehensions and matchers.

use crate::error::{Outcome, fail, located};
use crate::json::excerpt;
use crate::program::{Expr, For, Key, Matcher, Object as ObjectExpr};
use crate::value::{Name, Object, Val};

use super::{ELEMENT_BYTES, Evaluator, MEMBER_BYTES, array, object};

impl<'a> Evaluator<'a> {
    #[inline(never)]
    pub(super) fn array(&mut self, elements: &'a [Expr], input: &Val<'a>) -> Outcome<Val<'a>> {
        self.budget.allocate(elements.len() * ELEMENT_BYTES)?;
        let mut values = Vec::with_capacity(elements.len());
        for element in elements {
            values.push(self.eval(element, input)?);
        }
        array(values)
    }

    /// The elements that a comprehension goes over; `None` for `null`.
    fn source(&mut self, comprehension: &'a For, input: &Val<'a>, kind: &str) -> Outcome<Option<Val<'a>>> {
        let source = self.eval(&comprehension.source, input)?;
        if source.is_null() {
            Ok(None)
        } else if source.is_object() {
            self.pairs(&source).map(Some)
        } else if source.is_array() {
            Ok(Some(source))
        } else {
            let message = format!("{kind} over {}", excerpt(&source));
            located(fail(message), comprehension.position)
        }
    }

    /// An object as an array of objects with a `key` and a `value` each.
    pub(crate) fn pairs(&mut self, value: &Val<'a>) -> Outcome<Val<'a>> {
        self.budget.allocate(value.len() * (ELEMENT_BYTES + 2 * MEMBER_BYTES))?;
        let mut elements = Vec::with_capacity(value.len());
        for (name, value) in value.members() {
            let mut pair = Object::with_capacity(2);
            pair.push(Name::Str("key"), name.into());
            pair.push(Name::Str("value"), value);
            elements.push(object(pair)?);
        }
        array(elements)
    }

    #[inline(never)]
    pub(super) fn array_for(&mut self, comprehension: &'a For, input: &Val<'a>) -> Outcome<Val<'a>> {
        let Some(source) = self.source(comprehension, input, "For loop can't iterate")? else {
            return Ok(Val::Null);
        };
        let mut values = Vec::new();
        for index in 0..source.len() {
            let element = source.element(index).unwrap_or(Val::Null);
            if self.selects(comprehension, &element)? {
                let value = self.eval(&comprehension.value, &element)?;
                self.budget.allocate(ELEMENT_BYTES)?;
                values.push(value);
            }
        }
        array(values)
    }

    /// Evaluates what stands before the value: variables and the filter.
    fn selects(&mut self, comprehension: &'a For, element: &Val<'a>) -> Outcome<bool> {
        self.lets(&comprehension.lets, element)?;
        match &comprehension.condition {
            Some(condition) => Ok(self.eval(condition, element)?.is_true()),
            None => Ok(true),
        }
    }

    #[inline(never)]
    pub(super) fn object_for(&mut self, comprehension: &'a For, input: &Val<'a>) -> Outcome<Val<'a>> {
        let Some(source) = self.source(comprehension, input, "Object comprehension can't loop")? else {
            return Ok(Val::Null);
        };
        let mut members = Object::default();
        for index in 0..source.len() {
            let element = source.element(index).unwrap_or(Val::Null);
            if !self.selects(comprehension, &element)? {
                continue;
            }
            let value = self.eval(&comprehension.value, &element)?;
            if !self.keeps(&value) {
                continue;
            }
            if let Some(key) = &comprehension.key {
                let key = self.eval(key, &element)?;
                let Some(name) = key.to_name() else {
                    let message =
                        format!("Object comprehension must have string as key, not {}", excerpt(&key));
                    return located(fail(message), comprehension.position);
                };
                self.budget.allocate(MEMBER_BYTES)?;
                members.insert(name, value);
            }
        }
        object(members)
    }

    /// Whether the object filter lets a member with this value in.
    fn keeps(&self, value: &Val<'_>) -> bool {
        self.program.keep_all || value.is_substantial()
    }

    #[inline(never)]
    pub(super) fn object(&mut self, expression: &'a ObjectExpr, input: &Val<'a>) -> Outcome<Val<'a>> {
        self.lets(&expression.lets, input)?;
        self.budget.allocate(expression.pairs.len() * MEMBER_BYTES)?;
        let mut members = Object::with_capacity(expression.pairs.len());
        for pair in &expression.pairs {
            let value = self.eval(&pair.value, input)?;
            if !self.keeps(&value) {
                continue;
            }
            let name = match &pair.key {
                Key::Static(key) => Name::Str(key),
                Key::Dynamic(key) => match self.eval(key, input)?.to_name() {
                    Some(name) => name,
                    None => return located(fail("Object key must be string"), pair.position),
                },
            };
            if expression.dynamic && members.contains(name.as_str()) {
                let message = format!("Duplicate key '{}' in object", name.as_str());
                return located(fail(message), pair.position);
            }
            members.push(name, value);
        }
        if let Some(matcher) = &expression.matcher {
            self.match_members(matcher, input, &mut members)?;
        }
        object(members)
    }

    /// Copies the members that the expression does not mention.
    fn match_members(
        &mut self,
        matcher: &'a Matcher,
        input: &Val<'a>,
        members: &mut Object<'a>,
    ) -> Outcome<()> {
        let mut source = input.clone();
        for key in &matcher.source {
            source = source.member(key).unwrap_or(Val::Null);
        }
        self.budget.allocate(source.len() * MEMBER_BYTES)?;
        for (name, value) in source.members() {
            if matcher.excluded.binary_search_by(|key| key.as_str().cmp(name.as_str())).is_err() {
                let value = self.eval(&matcher.value, &value)?;
                members.push(name, value);
            }
        }
        Ok(())
    }
}
