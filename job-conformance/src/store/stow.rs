//! Keeping the messages of paused jobs.

use bytes::Bytes;
use job_core::JobStatus;
use job_core::queue::Headers;
use job_core::store::{Action, JobStore, OutboxContent, OutboxEntry, Settled, StowOutcome, StowedMessage};

use super::fixture::{
    ANNE, apply, at, bring_to, claim, claim_one, create_plain, dispatch, finish, key, key_in, message, read,
    settle,
};

async fn stow(store: &dyn JobStore, messages: &[StowedMessage], now: i64) -> Vec<StowOutcome> {
    store.stow(messages.to_vec(), at(now)).await.unwrap()
}

async fn paused(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
}

fn body(entry: &OutboxEntry) -> String {
    match &entry.content {
        OutboxContent::Stowed { body, .. } => String::from_utf8_lossy(body).into_owned(),
        OutboxContent::Start { .. } => "the first message".to_owned(),
    }
}

/// A kept message is held while the job is paused and published when it is resumed.
pub async fn a_kept_message_waits_for_the_resume(store: &dyn JobStore) {
    paused(store).await;
    assert_eq!(stow(store, &[message("j", "m")], 3).await, [StowOutcome::Stowed]);
    assert_eq!(claim(store, 9_999).await, []);
    apply(store, "j", Action::Resume, 10_000).await;
    assert_eq!(body(&claim_one(store, 10_000).await), "m");
}

/// It is published as it was, byte for byte, with its headers, on its queue.
pub async fn a_kept_message_is_not_changed(store: &dyn JobStore) {
    paused(store).await;
    let headers: Headers = [("x-caf-worker-retry", "2"), ("traceparent", "ü\"'\\"), ("empty", "")]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
    let body = Bytes::from((0..=255).rev().cycle().take(5_000).collect::<Vec<u8>>());
    let kept = StowedMessage {
        job: key("j"),
        queue: "other-in".into(),
        body: body.clone(),
        headers: headers.clone(),
    };
    stow(store, &[kept], 3).await;
    apply(store, "j", Action::Resume, 4).await;
    let entry = claim_one(store, 4).await;
    assert_eq!((entry.job, entry.attempts), (key("j"), 0));
    assert_eq!(entry.content, OutboxContent::Stowed { queue: "other-in".into(), body, headers });
}

/// What is kept after the resume is published at once.
pub async fn a_message_that_comes_too_late_is_published_at_once(store: &dyn JobStore) {
    paused(store).await;
    apply(store, "j", Action::Resume, 3).await;
    assert_eq!(stow(store, &[message("j", "m")], 5).await, [StowOutcome::Stowed]);
    assert_eq!(body(&claim_one(store, 5).await), "m");
}

/// A message of a job that is gone or finished is of no more use.
pub async fn a_message_of_a_finished_job_is_dropped(store: &dyn JobStore) {
    let finished = [JobStatus::Completed, JobStatus::Failed, JobStatus::Cancelled];
    for status in finished {
        create_plain(store, &[status.as_str()], 1).await;
        bring_to(store, status.as_str(), status, 2).await;
    }
    let mut messages: Vec<_> = finished.iter().map(|status| message(status.as_str(), "m")).collect();
    messages.push(message("missing", "m"));
    messages.push(StowedMessage { job: key_in("nowhere", "j"), ..message("j", "m") });
    assert_eq!(stow(store, &messages, 3).await, vec![StowOutcome::Dropped; 5]);
    assert_eq!(claim(store, 9_999).await, []);
}

/// One outcome per message, in order.
pub async fn outcomes_come_in_order(store: &dyn JobStore) {
    paused(store).await;
    let messages = [message("j", "1"), message("missing", "2"), message("j", "3")];
    let expected = [StowOutcome::Stowed, StowOutcome::Dropped, StowOutcome::Stowed];
    assert_eq!(stow(store, &messages, 3).await, expected);
    assert_eq!(stow(store, &[], 3).await, []);
}

/// All messages come back, the first ones first.
pub async fn kept_messages_come_back_in_order(store: &dyn JobStore) {
    paused(store).await;
    for n in 0..30i64 {
        stow(store, &[message("j", &n.to_string())], 3 + n).await;
    }
    apply(store, "j", Action::Resume, 50).await;
    let bodies: Vec<_> = claim(store, 50).await.iter().map(body).collect();
    assert_eq!(bodies, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// The same message may be kept twice: losing one would be worse.
pub async fn the_same_message_may_be_kept_twice(store: &dyn JobStore) {
    paused(store).await;
    stow(store, &[message("j", "m")], 3).await;
    stow(store, &[message("j", "m")], 3).await;
    apply(store, "j", Action::Resume, 4).await;
    assert!((1..=2).contains(&claim(store, 4).await.len()));
}

/// A job that is cancelled or completes while it is paused needs its messages no more.
pub async fn finishing_drops_kept_messages(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    dispatch(store, 1).await;
    for name in ["a", "b"] {
        apply(store, name, Action::Pause, 2).await;
        stow(store, &[message(name, "m")], 3).await;
    }
    apply(store, "a", Action::Cancel, 4).await;
    finish(store, "b", 4).await;
    assert_eq!(claim(store, 9_999).await, []);
}

/// A kept message that cannot be published is tried again.
pub async fn a_kept_message_is_retried(store: &dyn JobStore) {
    paused(store).await;
    stow(store, &[message("j", "m")], 3).await;
    apply(store, "j", Action::Resume, 4).await;
    let entry = claim_one(store, 4).await;
    let failed = Settled::Failed { retry_at: at(100), reason: "no".into() };
    assert!(settle(store, ANNE, entry.id, failed, 5).await);
    assert_eq!(claim(store, 99).await, []);
    let again = claim_one(store, 100).await;
    assert_eq!((again.id, again.attempts), (entry.id, 1));
    assert!(settle(store, ANNE, again.id, Settled::Published, 101).await);
    assert_eq!(claim(store, 9_999).await, []);
}

/// A second pause holds what has not been published yet.
pub async fn a_second_pause_holds_again(store: &dyn JobStore) {
    paused(store).await;
    stow(store, &[message("j", "m")], 3).await;
    apply(store, "j", Action::Resume, 4).await;
    apply(store, "j", Action::Pause, 5).await;
    assert_eq!(claim(store, 9_999).await, []);
    apply(store, "j", Action::Resume, 10_000).await;
    assert_eq!(body(&claim_one(store, 10_000).await), "m");
}

/// A kept message does not stand for the first one.
pub async fn publishing_a_kept_message_is_not_a_dispatch(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    apply(store, "j", Action::Pause, 2).await;
    stow(store, &[message("j", "m")], 3).await;
    apply(store, "j", Action::Resume, 4).await;
    let entries = claim(store, 4).await;
    let kept = entries.iter().find(|entry| body(entry) == "m").unwrap();
    assert!(settle(store, ANNE, kept.id, Settled::Published, 5).await);
    assert_eq!(read(store, "j").await.start_time, None);
    let first = entries.iter().find(|entry| entry.id != kept.id).unwrap();
    assert!(settle(store, ANNE, first.id, Settled::Published, 6).await);
    assert_eq!(read(store, "j").await.start_time, Some(at(6)));
}
