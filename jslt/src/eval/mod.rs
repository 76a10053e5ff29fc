//! Runs a program.
//!
//! Every kind of expression has a function of its own that is kept out of line: the function that
//! recurses stays small, and with it the stack that a deep evaluation needs.

mod operators;
mod path;
mod structure;

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value;

use crate::context::Context;
use crate::convert::into_value;
use crate::error::{EvalError, Fault, LimitKind, Outcome, Position, fail, located, over};
use crate::functions;
use crate::limits::{Budget, EXPRESSION_NESTING, VALUE_NESTING};
use crate::pattern::Pattern;
use crate::program::{Call, Expr, Global, If, Let, Program, Slot};
use crate::value::{Array, Object, Val};

/// What an element of an array and a member of an object cost in memory, roughly.
pub(crate) const ELEMENT_BYTES: usize = 24;
pub(crate) const MEMBER_BYTES: usize = 40;

/// Patterns that are compiled at run time and kept for the rest of the evaluation.
const KEPT_PATTERNS: usize = 64;

/// What the compilation of a pattern at run time costs in steps.
const PATTERN_STEPS: u64 = 2_000;

/// An array of our own, if it does not nest too deeply.
pub(crate) fn array<'a>(elements: Vec<Val<'a>>) -> Outcome<Val<'a>> {
    let nesting = 1 + elements.iter().map(Val::nesting).max().unwrap_or(0);
    if nesting > VALUE_NESTING {
        return over(LimitKind::Nesting);
    }
    Ok(Val::Array(Rc::new(Array { elements, nesting })))
}

/// An object of our own, if it does not nest too deeply.
pub(crate) fn object<'a>(mut object: Object<'a>) -> Outcome<Val<'a>> {
    object.nesting = 1 + object.iter().map(|(_, value)| value.nesting()).max().unwrap_or(0);
    if object.nesting > VALUE_NESTING {
        return over(LimitKind::Nesting);
    }
    Ok(Val::Object(Rc::new(object)))
}

/// The state of one evaluation.
pub(crate) struct Evaluator<'a> {
    program: &'a Program,
    /// Variables outside of functions; empty until their `let` was evaluated.
    globals: Vec<Option<Val<'a>>>,
    /// The frames of the open calls, one after the other.
    locals: Vec<Val<'a>>,
    /// Where the current frame begins.
    frame: usize,
    calls: u32,
    most_calls: u32,
    nesting: u32,
    patterns: HashMap<String, Rc<Pattern>>,
    pub(crate) budget: Budget,
    pub(crate) clock: Option<&'a dyn Fn() -> i64>,
    pub(crate) random: Option<&'a dyn Fn() -> u64>,
}

impl<'a> Evaluator<'a> {
    /// Runs a program on an input.
    pub(crate) fn run(
        program: &'a Program,
        input: &'a Value,
        context: &'a Context<'_>,
    ) -> Result<Value, EvalError> {
        let mut globals = vec![None; program.global_slots];
        for (name, slot) in &program.external {
            if let (Some(value), Some(global)) =
                (context.variables.get(name.as_str()), globals.get_mut(*slot as usize))
            {
                *global = Some(Val::from(*value));
            }
        }
        let mut evaluator = Self {
            program,
            globals,
            locals: Vec::new(),
            frame: 0,
            calls: 0,
            most_calls: context.limits.recursion,
            nesting: 0,
            patterns: HashMap::new(),
            budget: Budget::new(&context.limits),
            clock: context.clock,
            random: context.random,
        };
        evaluator.whole(&Val::from(input)).map_err(|fault| match *fault {
            Fault::Done(error) => error,
            // Every operation knows its place; this is for one that forgot to say so.
            Fault::Message(message) => {
                EvalError::Runtime { message, position: Position { line: 1, column: 1 } }
            }
        })
    }

    fn whole(&mut self, input: &Val<'a>) -> Outcome<Value> {
        let program = self.program;
        self.lets(&program.lets, input)?;
        let value = self.eval(&program.body, input)?;
        // Only the result's own references count from here on: unshared parts can be moved.
        self.globals.clear();
        into_value(value, &mut self.budget)
    }

    /// Evaluates an expression with `input` for its context.
    pub(crate) fn eval(&mut self, expression: &'a Expr, input: &Val<'a>) -> Outcome<Val<'a>> {
        self.budget.step(1)?;
        match expression {
            Expr::Constant(value) => return Ok(Val::from(value)),
            Expr::Context => return Ok(input.clone()),
            Expr::Local(slot) => return Ok(self.local(*slot)),
            Expr::Global(global) => return self.global(global),
            _ => {}
        }
        if self.nesting >= EXPRESSION_NESTING {
            return over(LimitKind::Recursion);
        }
        self.nesting += 1;
        let value = self.eval_compound(expression, input);
        self.nesting -= 1;
        value
    }

    fn eval_compound(&mut self, expression: &'a Expr, input: &Val<'a>) -> Outcome<Val<'a>> {
        match expression {
            Expr::Path(path) => self.path(path, input),
            Expr::Array(elements) => self.array(elements, input),
            Expr::ArrayFor(comprehension) => self.array_for(comprehension, input),
            Expr::Object(object) => self.object(object, input),
            Expr::ObjectFor(comprehension) => self.object_for(comprehension, input),
            Expr::If(conditional) => self.conditional(conditional, input),
            Expr::Pipe(stages) => self.pipe(stages, input),
            Expr::Or(operands) => self.connect(operands, input, true),
            Expr::And(operands) => self.connect(operands, input, false),
            Expr::Compare(comparison) => self.compare(comparison, input),
            Expr::Arithmetic(arithmetic) => self.arithmetic(arithmetic, input),
            Expr::Call(call) => self.call(call, input),
            Expr::Builtin(call) => functions::call(self, call, input),
            Expr::Constant(_) | Expr::Context | Expr::Local(_) | Expr::Global(_) => Ok(Val::Null),
        }
    }

    fn local(&self, slot: u32) -> Val<'a> {
        self.locals.get(self.frame + slot as usize).cloned().unwrap_or(Val::Null)
    }

    #[inline(never)]
    fn global(&self, global: &Global) -> Outcome<Val<'a>> {
        match self.globals.get(global.slot as usize) {
            Some(Some(value)) => Ok(value.clone()),
            _ => located(fail(format!("No such variable '{}'", global.name)), global.position),
        }
    }

    pub(crate) fn lets(&mut self, lets: &'a [Let], input: &Val<'a>) -> Outcome<()> {
        for declaration in lets {
            let value = self.eval(&declaration.value, input)?;
            match declaration.slot {
                Slot::Global(slot) => {
                    if let Some(global) = self.globals.get_mut(slot as usize) {
                        *global = Some(value);
                    }
                }
                Slot::Local(slot) => {
                    if let Some(local) = self.locals.get_mut(self.frame + slot as usize) {
                        *local = value;
                    }
                }
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn conditional(&mut self, conditional: &'a If, input: &Val<'a>) -> Outcome<Val<'a>> {
        for branch in &conditional.branches {
            if self.eval(&branch.condition, input)?.is_true() {
                self.lets(&branch.lets, input)?;
                return self.eval(&branch.value, input);
            }
        }
        match &conditional.otherwise {
            Some((lets, value)) => {
                self.lets(lets, input)?;
                self.eval(value, input)
            }
            None => Ok(Val::Null),
        }
    }

    /// Calls a function of the script. Its context is the caller's.
    #[inline(never)]
    fn call(&mut self, call: &'a Call, input: &Val<'a>) -> Outcome<Val<'a>> {
        let program = self.program;
        let Some(function) = program.functions.get(call.function as usize) else {
            return Ok(Val::Null);
        };
        if self.calls >= self.most_calls {
            return over(LimitKind::Recursion);
        }
        let frame = self.locals.len();
        for argument in &call.arguments {
            let value = self.eval(argument, input)?;
            self.locals.push(value);
        }
        self.locals.resize(frame + function.slots, Val::Null);
        let caller = std::mem::replace(&mut self.frame, frame);
        self.calls += 1;
        self.lets(&function.lets, input)?;
        let value = self.eval(&function.body, input)?;
        // A failure ends the evaluation, so only success needs to clean up.
        self.calls -= 1;
        self.frame = caller;
        self.locals.truncate(frame);
        Ok(value)
    }

    /// The pattern with this text, compiled now if it was not before.
    pub(crate) fn pattern(&mut self, text: &str) -> Outcome<Rc<Pattern>> {
        if let Some(pattern) = self.patterns.get(text) {
            return Ok(Rc::clone(pattern));
        }
        self.budget.step(PATTERN_STEPS)?;
        match Pattern::new(text) {
            Ok(pattern) => {
                self.budget.step(pattern.compilation_steps())?;
                let pattern = Rc::new(pattern);
                if self.patterns.len() < KEPT_PATTERNS {
                    self.patterns.insert(text.to_owned(), Rc::clone(&pattern));
                }
                Ok(pattern)
            }
            Err(message) => fail(message),
        }
    }
}
