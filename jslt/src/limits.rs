//! The bounds of one evaluation and the account that is kept against them.

use crate::error::{LimitKind, Outcome, over};

/// How deep arrays and objects may nest in a value that a script builds.
///
/// Values are read, written and freed by recursion, so this is a bound on the thread's stack.
pub(crate) const VALUE_NESTING: u32 = 256;

/// How deep evaluated expressions may nest, through calls and within them.
///
/// Chosen so that the deepest evaluation fits a 2 MiB stack even without optimisation; the test
/// `deepest_evaluation_fits_a_small_stack` holds it to that.
pub(crate) const EXPRESSION_NESTING: u32 = 1024;

/// Bounds on what one evaluation may spend.
///
/// ```
/// use jslt::Limits;
///
/// let limits = Limits { steps: 10_000, ..Limits::default() };
/// assert_eq!(limits.recursion, 256);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Expressions evaluated, and the work that functions do on large values. Default 1,000,000.
    pub steps: u64,
    /// Calls of the script's own functions that are open at once. Default 256.
    pub recursion: u32,
    /// The size of the result, and of any one string or array on the way, counted roughly as the
    /// length of its JSON text. Default 4 MiB.
    pub output_bytes: usize,
    /// The size of all the values built on the way, whether still needed or not. Default 64 MiB.
    pub memory_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 1_000_000, recursion: 256, output_bytes: 4 << 20, memory_bytes: 64 << 20 }
    }
}

/// What is left of the limits while an evaluation runs.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: u64,
    memory: usize,
    output: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { steps: limits.steps, memory: limits.memory_bytes, output: limits.output_bytes }
    }

    /// Pays for `count` steps.
    #[inline]
    pub(crate) fn step(&mut self, count: u64) -> Outcome<()> {
        match self.steps.checked_sub(count) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => over(LimitKind::Steps),
        }
    }

    /// Pays for a pass over `bytes` of text or that many elements.
    pub(crate) fn scan(&mut self, bytes: usize) -> Outcome<()> {
        self.step(bytes as u64 / 16)
    }

    /// Pays for a new value of `bytes`, before it is built.
    pub(crate) fn allocate(&mut self, bytes: usize) -> Outcome<()> {
        if bytes > self.output {
            return over(LimitKind::Output);
        }
        match self.memory.checked_sub(bytes) {
            Some(left) => {
                self.memory = left;
                self.scan(bytes / 16)
            }
            None => over(LimitKind::Memory),
        }
    }

    /// The bytes that the result may have.
    pub(crate) fn output_bytes(&self) -> usize {
        self.output
    }
}
