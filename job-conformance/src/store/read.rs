//! Reading jobs and statuses.

use job_core::JobStatus;
use job_core::query::Selection;
use job_core::store::{Action, JobStore, Settled};

use super::fixture::{
    ANNE, apply, at, bring_to, claim, claim_one, complete, create, create_plain, dispatch, failed, finish,
    job, job_after, key, partition, path, progress, read, record, settle, sorted_by,
};

/// One answer per key, in order, and none for what is not there.
pub async fn answers_come_in_the_order_of_the_keys(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    let keys = [key("b"), key("missing"), key("a"), key("b")];
    let jobs = store.get(&keys).await.unwrap();
    let found: Vec<_> = jobs.into_iter().map(|job| job.map(|job| job.key)).collect();
    assert_eq!(found, [Some(key("b")), None, Some(key("a")), Some(key("b"))]);
}

/// No keys, no answers.
pub async fn reading_nothing_answers_nothing(store: &dyn JobStore) {
    assert_eq!(store.get(&[]).await.unwrap(), []);
    assert_eq!(store.statuses(&[]).await.unwrap(), []);
}

/// What workers poll agrees with the job.
pub async fn statuses_agree_with_jobs(store: &dyn JobStore) {
    let mut keys = vec![key("missing")];
    for status in JobStatus::ALL {
        create_plain(store, &[status.as_str()], 1).await;
        bring_to(store, status.as_str(), status, 2).await;
        keys.extend([key(status.as_str()), key(status.as_str())]);
    }
    let jobs = store.get(&keys).await.unwrap();
    let expected: Vec<_> = jobs.iter().map(|job| job.as_ref().map(|job| job.status)).collect();
    assert_eq!(store.statuses(&keys).await.unwrap(), expected);
}

/// Reading never writes.
pub async fn reading_changes_nothing(store: &dyn JobStore) {
    create(store, [job("j"), job_after("k", &["j"])], 1).await;
    record(store, &[progress("j", ".1.2", 30.0), failed("j", ".2", "boom")], 2).await;
    let keys = [key("j"), key("k")];
    let before = store.get(&keys).await.unwrap();
    for _ in 0..2 {
        store.list(&sorted_by("name:asc")).await.unwrap();
        store.count(&partition("p"), &Selection::default()).await.unwrap();
        store.tasks(&key("j"), &path(""), 0, 10).await.unwrap();
        store.failures(&key("j"), 0, 10).await.unwrap();
        store.ping().await.unwrap();
        assert_eq!(store.get(&keys).await.unwrap(), before);
    }
}

/// A job tells when it was put on its queue.
pub async fn the_start_time_is_when_the_first_message_was_published(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 2).await;
    assert_eq!(read(store, "j").await.start_time, None);
    settle(store, ANNE, entry.id, Settled::Published, 3).await;
    assert_eq!(read(store, "j").await.start_time, Some(at(3)));
}

/// A job tells when it finished, whichever way.
pub async fn the_finish_time_is_when_the_job_finished(store: &dyn JobStore) {
    for status in JobStatus::ALL {
        let name = status.as_str();
        create_plain(store, &[name], 1).await;
        bring_to(store, name, status, 5).await;
        assert_eq!(read(store, name).await.finish_time, status.is_finished().then_some(at(5)), "{status}");
    }
}

/// A failed job that completes after all finished when it completed.
pub async fn a_recovery_moves_the_finish_time(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[failed("j", ".1*", "boom")], 2).await;
    assert_eq!(read(store, "j").await.finish_time, Some(at(2)));
    record(store, &[complete("j", ".1*")], 7).await;
    assert_eq!(read(store, "j").await.finish_time, Some(at(7)));
}

/// The time of the last change is that of the last report or action that changed something.
pub async fn the_last_update_is_the_last_change(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[complete("j", ".1")], 2).await;
    assert_eq!(read(store, "j").await.last_update_time, at(2));
    record(store, &[complete("j", ".1")], 3).await;
    assert_eq!(read(store, "j").await.last_update_time, at(2), "a duplicate changes nothing");
    apply(store, "j", Action::Pause, 4).await;
    super::fixture::act(store, "j", Action::Pause, 5).await;
    assert_eq!(read(store, "j").await.last_update_time, at(4), "it was paused already");
    finish(store, "j", 6).await;
    finish(store, "j", 7).await;
    assert_eq!(read(store, "j").await.last_update_time, at(6));
}

/// A dispatched job does not wait in the outbox any more, and nothing else about it changed.
pub async fn dispatching_changes_only_the_start_time(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let mut expected = read(store, "j").await;
    dispatch(store, 4).await;
    expected.start_time = Some(at(4));
    assert_eq!(read(store, "j").await, expected);
    assert_eq!(claim(store, 9_999_999).await, []);
}

/// A healthy store says so.
pub async fn a_store_that_can_be_reached_says_so(store: &dyn JobStore) {
    store.ping().await.unwrap();
}
