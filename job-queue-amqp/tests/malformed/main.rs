//! Messages that are not what they should be, on every queue of a real broker that we consume: each is set aside once, with
//! its reason, and counted; the ones next to it are not harmed; nothing comes back, and nothing is lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures that a test cannot judge")]
#![allow(unreachable_pub, clippy::allow_attributes, reason = "modules of one test binary")]

#[path = "../broker/mod.rs"]
mod broker;
mod corpus;
#[path = "../java/mod.rs"]
mod java;
mod stower;
mod tracker;
mod waker;
mod worker;

use std::collections::BTreeSet;

use futures::StreamExt;
use job_core::message::{HEADER_REJECTED, TaskMessage};
use job_core::queue::{ConsumeOptions, Delivery, TaskQueue};

use broker::within;

/// Everything on a queue.
async fn drain(queue: &dyn TaskQueue, name: &str, count: usize) -> Vec<Delivery> {
    let prefetch = u16::try_from(count + 10).unwrap();
    let mut consumer = queue.consume(name, ConsumeOptions { prefetch }).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(within(&format!("{count} messages on {name}"), consumer.next()).await.unwrap());
    }
    // All of them are in hand: what else there is would be counted as waiting, or be here.
    assert_eq!(queue.depth(name).await.unwrap(), Some(0));
    assert!(futures::FutureExt::now_or_never(consumer.next()).is_none(), "more than {count} on {name}");
    taken
}

/// Its bytes are marked as invalid, with a reason that contains `text`.
fn is_set_aside(delivery: &Delivery, name: &str, text: &str) {
    assert_eq!(delivery.headers[HEADER_REJECTED], "TASKMESSAGE_INVALID", "{name}");
    let reason = &delivery.headers["x-job-service-reason"];
    assert!(!reason.is_empty() && reason.contains(text), "{name}: {reason}");
}

#[test]
fn the_corpus_is_large_without_repeats_and_nobody_can_read_it() {
    let bodies = corpus::unreadable("q");
    let names: BTreeSet<&str> = bodies.iter().map(|body| body.name.as_str()).collect();
    let contents: BTreeSet<&[u8]> = bodies.iter().map(|body| &body.bytes[..]).collect();
    assert_eq!((names.len(), contents.len()), (bodies.len(), bodies.len()));
    assert!(bodies.len() >= 200, "{}", bodies.len());
    for body in &bodies {
        let error = TaskMessage::decode(&body.bytes).expect_err(&body.name).to_string();
        assert!(error.contains(body.reason), "{}: {error}", body.name);
    }
    assert!(TaskMessage::decode(corpus::message("good", "q", &[]).as_bytes()).is_ok());
}
