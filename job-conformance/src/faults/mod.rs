//! Wrappers that make a healthy backend behave like a troubled one, by seed.

pub mod queue;
pub mod store;
