//! When a second request is a repeat, and when a conflict.

use job_core::JobStatus;
use job_core::store::{CreateOutcome, JobStore};

use super::fixture::{
    bring_to, claim, create, create_plain, dispatch, failed, find, job, job_after, job_in, key_in, read,
    record, try_create,
};

/// The same request again is a repeat.
pub async fn the_same_request_again_changes_nothing(store: &dyn JobStore) {
    create(store, [job("j").with_name("n")], 1).await;
    let before = read(store, "j").await;
    assert_eq!(try_create(store, job("j").with_name("n"), 2).await, CreateOutcome::Unchanged);
    assert_eq!(read(store, "j").await, before);
}

/// Another request for the same id is a conflict.
pub async fn another_request_for_the_same_id_is_a_conflict(store: &dyn JobStore) {
    create(store, [job("j").with_name("n").with_label("k", "1")], 1).await;
    let before = read(store, "j").await;
    assert_eq!(try_create(store, job("j").with_name("m"), 2).await, CreateOutcome::Conflict);
    assert_eq!(read(store, "j").await, before);
}

/// The status of the stored job does not matter.
pub async fn a_repeat_is_one_in_every_status(store: &dyn JobStore) {
    for status in JobStatus::ALL {
        let name = status.as_str();
        create_plain(store, &[name], 1).await;
        bring_to(store, name, status, 2).await;
        let before = read(store, name).await;
        assert_eq!(try_create(store, job(name), 3).await, CreateOutcome::Unchanged, "{status}");
        assert_eq!(try_create(store, job(name).with_name("n"), 3).await, CreateOutcome::Conflict, "{status}");
        assert_eq!(read(store, name).await, before);
    }
}

/// A repeat puts no second message into the outbox.
pub async fn a_repeat_is_not_published_again(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    try_create(store, job("j"), 2).await;
    assert_eq!(dispatch(store, 3).await, ["j"]);
    try_create(store, job("j"), 4).await;
    assert_eq!(claim(store, 9_999).await, []);
}

/// Identity comes before everything else: a repeat whose prerequisite failed meanwhile is still a repeat.
pub async fn a_repeat_is_recognised_before_its_prerequisites_are_looked_at(store: &dyn JobStore) {
    create(store, [job("first"), job_after("second", &["first"])], 1).await;
    record(store, &[failed("first", "", "boom")], 2).await;
    assert_eq!(try_create(store, job_after("second", &["first"]), 3).await, CreateOutcome::Unchanged);
    assert_eq!(try_create(store, job("second"), 3).await, CreateOutcome::Conflict);
}

/// The same id in another partition is another job.
pub async fn identity_is_a_matter_of_one_partition(store: &dyn JobStore) {
    create(store, [job_in("p", "j"), job_in("q", "j").with_name("n")], 1).await;
    assert_eq!(find(store, &key_in("q", "j")).await.unwrap().name.as_deref(), Some("n"));
    assert_eq!(read(store, "j").await.name, None);
}

/// Upper and lower case make different jobs and partitions.
pub async fn ids_are_case_sensitive(store: &dyn JobStore) {
    create(store, [job_in("p", "j"), job_in("p", "J"), job_in("P", "j")], 1).await;
    assert_eq!(claim(store, 1).await.len(), 3);
    assert_eq!(find(store, &key_in("P", "J")).await, None);
}
