//! Examples of Job Service, one idea per file under `examples/`. Run one with
//! `cargo run -p job-examples --example embed`.

/// The README's example, compiled and run as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
