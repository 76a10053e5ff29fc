//! The suites that every store and queue of Job Service passes, wrappers that inject faults, and a model comparison.
//!
//! A case is an async function named after the law it checks. A backend's test file names its harness and gets one
//! `#[test]` per case.

pub mod faults;
pub mod model;
pub mod queue;
pub mod store;
