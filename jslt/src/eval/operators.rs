//! Operators: logic, comparison, arithmetic and the pipe.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::error::{Outcome, fail, located};
use crate::functions::number::to_number;
use crate::functions::text_of;
use crate::json::excerpt;
use crate::program::{Arithmetic, ArithmeticOperator, CompareOperator, Comparison, Expr};
use crate::value::{Object, Val, compare_text};

use super::{ELEMENT_BYTES, Evaluator, MEMBER_BYTES, array, object};

impl<'a> Evaluator<'a> {
    #[inline(never)]
    pub(super) fn pipe(&mut self, stages: &'a [Expr], input: &Val<'a>) -> Outcome<Val<'a>> {
        let mut value = input.clone();
        for stage in stages {
            value = self.eval(stage, &value)?;
        }
        Ok(value)
    }

    /// `or` and `and`: the first operand with the truth value `decisive` settles it.
    #[inline(never)]
    pub(super) fn connect(
        &mut self,
        operands: &'a [Expr],
        input: &Val<'a>,
        decisive: bool,
    ) -> Outcome<Val<'a>> {
        for operand in operands {
            if self.eval(operand, input)?.is_true() == decisive {
                return Ok(Val::Bool(decisive));
            }
        }
        Ok(Val::Bool(!decisive))
    }

    #[inline(never)]
    pub(super) fn compare(&mut self, comparison: &'a Comparison, input: &Val<'a>) -> Outcome<Val<'a>> {
        let left = self.eval(&comparison.left, input)?;
        let right = self.eval(&comparison.right, input)?;
        let result = match comparison.operator {
            CompareOperator::Equal => self.equal(&left, &right)?,
            CompareOperator::NotEqual => !self.equal(&left, &right)?,
            operator => {
                let order = located(self.order(&left, &right), comparison.position)?;
                match operator {
                    CompareOperator::Less => order.is_lt(),
                    CompareOperator::LessOrEqual => order.is_le(),
                    CompareOperator::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
        };
        Ok(Val::Bool(result))
    }

    /// Equality as `==` has it: numbers are compared by value, whatever their kind.
    pub(crate) fn equal(&mut self, left: &Val<'a>, right: &Val<'a>) -> Outcome<bool> {
        match (left, right) {
            (Val::Double(_), Val::Int(_) | Val::Huge(_)) | (Val::Int(_) | Val::Huge(_), Val::Double(_)) => {
                Ok(left.double() == right.double())
            }
            _ => self.same(left, right),
        }
    }

    /// Equality as Jackson has it: `1` and `1.0` differ. It rules inside arrays and objects.
    pub(crate) fn same(&mut self, left: &Val<'a>, right: &Val<'a>) -> Outcome<bool> {
        self.budget.step(1)?;
        if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
            self.budget.scan(left.len())?;
            return Ok(left == right);
        }
        Ok(match (left, right) {
            (Val::Null, Val::Null) => true,
            (Val::Bool(left), Val::Bool(right)) => left == right,
            (Val::Int(left), Val::Int(right)) => left == right,
            (Val::Huge(left), Val::Huge(right)) => left == right,
            (Val::Double(left), Val::Double(right)) => left == right,
            _ if left.is_array() && right.is_array() => return self.same_arrays(left, right),
            _ if left.is_object() && right.is_object() => return self.same_objects(left, right),
            _ => false,
        })
    }

    fn same_arrays(&mut self, left: &Val<'a>, right: &Val<'a>) -> Outcome<bool> {
        if left.len() != right.len() {
            return Ok(false);
        }
        for (left, right) in left.elements().zip(right.elements()) {
            if !self.same(&left, &right)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn same_objects(&mut self, left: &Val<'a>, right: &Val<'a>) -> Outcome<bool> {
        if left.len() != right.len() {
            return Ok(false);
        }
        self.budget.scan(left.len())?;
        for (name, value) in left.members() {
            match right.member(name.as_str()) {
                Some(other) if self.same(&value, &other)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The order of two values. `null` comes before everything; otherwise both must be numbers or
    /// both strings.
    pub(crate) fn order(&mut self, left: &Val<'a>, right: &Val<'a>) -> Outcome<Ordering> {
        if left.is_number() && right.is_number() {
            if let (Val::Int(left), Val::Int(right)) = (left, right) {
                return Ok(left.cmp(right));
            }
            return Ok(left.double().partial_cmp(&right.double()).unwrap_or(Ordering::Equal));
        }
        if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
            self.budget.scan(left.len().min(right.len()))?;
            return Ok(compare_text(left, right));
        }
        match (left.is_null(), right.is_null()) {
            (true, true) => Ok(Ordering::Equal),
            (true, false) => Ok(Ordering::Less),
            (false, true) => Ok(Ordering::Greater),
            (false, false) => fail(format!("Can't compare {} and {}", excerpt(left), excerpt(right))),
        }
    }

    #[inline(never)]
    pub(super) fn arithmetic(&mut self, arithmetic: &'a Arithmetic, input: &Val<'a>) -> Outcome<Val<'a>> {
        let mut value = self.eval(&arithmetic.first, input)?;
        for (operator, position, operand) in &arithmetic.rest {
            let operand = self.eval(operand, input)?;
            let result = match operator {
                ArithmeticOperator::Add => self.add(value, &operand),
                ArithmeticOperator::Subtract => self.calculate(*operator, &value, &operand),
                ArithmeticOperator::Multiply => self.multiply(&value, &operand),
                ArithmeticOperator::Divide => self.calculate(*operator, &value, &operand),
            };
            value = located(result, *position)?;
        }
        Ok(value)
    }

    #[inline(never)]
    fn add(&mut self, left: Val<'a>, right: &Val<'a>) -> Outcome<Val<'a>> {
        if left.as_str().is_some() || right.as_str().is_some() {
            return self.concatenate(left, right);
        }
        let structured = |value: &Val<'_>| value.is_array() || value.is_object();
        if left.is_array() && right.is_array() {
            self.budget.allocate((left.len() + right.len()) * ELEMENT_BYTES)?;
            return array(left.elements().chain(right.elements()).collect());
        }
        if left.is_object() && right.is_object() {
            return self.unite(&left, right);
        }
        match (&left, right) {
            (left, Val::Null) if structured(left) => Ok(left.clone()),
            (Val::Null, right) if structured(right) => Ok(right.clone()),
            (left, right) => self.calculate(ArithmeticOperator::Add, left, right),
        }
    }

    fn concatenate(&mut self, left: Val<'a>, right: &Val<'a>) -> Outcome<Val<'a>> {
        let right = text_of(right, &mut self.budget)?;
        // In a chain of additions the left operand is nobody else's: it can grow in place.
        let mut text = match left {
            Val::Text(text) => match Rc::try_unwrap(text) {
                Ok(text) => {
                    self.budget.allocate(text.len() + right.len())?;
                    text
                }
                Err(text) => self.copy_with_room(&text, right.len())?,
            },
            other => {
                let left = text_of(&other, &mut self.budget)?;
                self.copy_with_room(&left, right.len())?
            }
        };
        text.push_str(&right);
        Ok(text.into())
    }

    fn copy_with_room(&mut self, text: &str, room: usize) -> Outcome<String> {
        self.budget.allocate(text.len() + room)?;
        let mut copy = String::with_capacity(text.len() + room);
        copy.push_str(text);
        Ok(copy)
    }

    /// The members of both objects; where both have one, the left one's value counts.
    fn unite(&mut self, left: &Val<'a>, right: &Val<'a>) -> Outcome<Val<'a>> {
        let count = left.len() + right.len();
        self.budget.allocate(count * MEMBER_BYTES)?;
        let mut union = Object::with_capacity(count);
        for (name, value) in right.members() {
            union.push(name, value);
        }
        for (name, value) in left.members() {
            union.insert(name, value);
        }
        object(union)
    }

    #[inline(never)]
    fn multiply(&mut self, left: &Val<'a>, right: &Val<'a>) -> Outcome<Val<'a>> {
        let (text, count) = match (left.as_str(), right.as_str()) {
            (None, None) => return self.calculate(ArithmeticOperator::Multiply, left, right),
            (Some(text), None) => (text, right),
            (_, Some(text)) => (text, left),
        };
        let count = usize::try_from(count.long()).unwrap_or(0);
        self.budget.allocate(text.len().saturating_mul(count))?;
        // The number of repetitions of nothing is not bounded by the length of the result.
        Ok(if text.is_empty() { String::new() } else { text.repeat(count) }.into())
    }

    /// Arithmetic on numbers, and on strings that hold numbers. With `null` the result is `null`.
    #[inline(never)]
    fn calculate(
        &mut self,
        operator: ArithmeticOperator,
        left: &Val<'a>,
        right: &Val<'a>,
    ) -> Outcome<Val<'a>> {
        if left.is_null() || right.is_null() {
            return Ok(Val::Null);
        }
        let (left, right) = (to_number(left)?, to_number(right)?);
        if left.is_integral() && right.is_integral() {
            // Integers wrap around, as Java's do.
            let (a, b) = (left.long(), right.long());
            return match operator {
                ArithmeticOperator::Add => Ok(Val::Int(a.wrapping_add(b))),
                ArithmeticOperator::Subtract => Ok(Val::Int(a.wrapping_sub(b))),
                ArithmeticOperator::Multiply => Ok(Val::Int(a.wrapping_mul(b))),
                ArithmeticOperator::Divide if b == 0 => fail("Division by zero"),
                ArithmeticOperator::Divide if a.wrapping_rem(b) == 0 => Ok(Val::Int(a.wrapping_div(b))),
                ArithmeticOperator::Divide => Ok(Val::Double(left.double() / right.double())),
            };
        }
        let (a, b) = (left.double(), right.double());
        let result = match operator {
            ArithmeticOperator::Add => a + b,
            ArithmeticOperator::Subtract => a - b,
            ArithmeticOperator::Multiply => a * b,
            ArithmeticOperator::Divide if b == 0.0 => return fail("Division by zero"),
            ArithmeticOperator::Divide => a / b,
        };
        if result.is_finite() { Ok(Val::Double(result)) } else { fail("The result is too large a number") }
    }
}
