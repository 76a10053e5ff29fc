//! What this process tells whoever watches it: numbers in Prometheus' text format, and spans to a collector of traces.
//!
//! The engine and the wrappers here count as they go, through the `metrics` facade; what can be looked up is looked up when
//! somebody asks. [`catalogue`] lists every metric there is,
//! [`spans`] every span but those of the engine's batches, and [`export`] sends them.

mod catalogue;
mod collector;
mod export;
mod glance;
mod observed_queue;
mod observed_store;
mod recorder;
mod request;
pub(crate) mod spans;
mod timed;

pub use collector::CollectorUrl;
pub(crate) use export::Export;
pub(crate) use glance::Glance;
pub(crate) use observed_queue::ObservedQueue;
pub(crate) use observed_store::ObservedStore;
pub(crate) use recorder::{keep_up, render, start};
pub(crate) use request::RequestMetrics;
