//! What this process tells whoever watches it, in Prometheus' text format.
//!
//! The engine and the wrappers here count as they go, through the `metrics` facade; what can be looked up is looked up when
//! somebody asks. [`catalogue`] lists every metric there is.

mod catalogue;
mod glance;
mod observed_queue;
mod observed_store;
mod recorder;
mod request;
mod timed;

pub(crate) use glance::Glance;
pub(crate) use observed_queue::ObservedQueue;
pub(crate) use observed_store::ObservedStore;
pub(crate) use recorder::{keep_up, render, start};
pub(crate) use request::RequestMetrics;
