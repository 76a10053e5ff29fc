//! Which variable a name means, and where the variable lives.

use std::collections::HashMap;

use crate::program::Slot;

/// A name that is declared twice in one scope.
#[derive(Debug)]
pub(crate) struct Duplicate;

/// The scopes that are open while a script is compiled, innermost last.
///
/// Scopes nest but frames do not: each declaration gets a slot of its own in the frame of the
/// function, or of the script outside of functions.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    open: Vec<HashMap<String, Slot>>,
    globals: u32,
    /// The slots used so far by the function that is being compiled, if one is.
    locals: Option<u32>,
}

impl Scopes {
    pub(crate) fn enter(&mut self) {
        self.open.push(HashMap::new());
    }

    pub(crate) fn leave(&mut self) {
        self.open.pop();
    }

    pub(crate) fn enter_function(&mut self) {
        self.locals = Some(0);
        self.enter();
    }

    /// Closes the function; returns the size of its frame.
    pub(crate) fn leave_function(&mut self) -> usize {
        self.leave();
        self.locals.take().unwrap_or(0) as usize
    }

    /// Gives a name a new slot in the innermost scope.
    pub(crate) fn declare(&mut self, name: &str) -> Result<Slot, Duplicate> {
        let counter = self.locals.as_mut().unwrap_or(&mut self.globals);
        let index = *counter;
        *counter += 1;
        let slot = if self.locals.is_some() { Slot::Local(index) } else { Slot::Global(index) };
        let Some(scope) = self.open.last_mut() else {
            return Err(Duplicate);
        };
        match scope.insert(name.to_owned(), slot) {
            None => Ok(slot),
            Some(_) => Err(Duplicate),
        }
    }

    pub(crate) fn resolve(&self, name: &str) -> Option<Slot> {
        self.open.iter().rev().find_map(|scope| scope.get(name).copied())
    }

    pub(crate) fn global_slots(&self) -> usize {
        self.globals as usize
    }
}
