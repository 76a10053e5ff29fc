//! A [`TaskQueue`](job_core::queue::TaskQueue) on RabbitMQ, beside Java workers on the same queues.
//!
//! It knows the protocol and the broker, and nothing of jobs.
//!
//! - *Published* means acked by the broker and not returned; everything is persistent and mandatory.
//! - A delivery is settled over the channel it came over or not at all.
//! - A queue's trouble is its own: messages that are refused, returned or not answered are told apart one by one, a queue
//!   that does not answer rests, and what makes the broker close a channel is alone on it.
//! - Connections are restored for ever; consumers go on by themselves.
//!
//! The driver, lapin, logs with the target `lapin`: as errors what is handled here and logged where it matters, and as
//! warnings whole messages that were returned. An application's log filter should switch that target off.

mod circuit;
mod consumer;
mod control;
mod error;
mod flight;
mod headers;
mod lane;
mod link;
mod live;
mod options;
mod publisher;
mod queue;
mod session;
mod unsettled;
mod uri;
mod window;

pub use options::{AmqpOptions, QueueType};
pub use queue::AmqpQueue;
