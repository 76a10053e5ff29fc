//! The JSON of the contract, and what it means in the engine's terms.

pub(crate) mod graph;
pub(crate) mod job;
mod lenient;
pub(crate) mod new_job;
mod raw_json;
