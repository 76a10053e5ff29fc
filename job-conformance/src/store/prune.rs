//! Removing finished jobs.

use job_core::JobStatus;
use job_core::store::{JobStore, PruneRequest};

use super::fixture::{
    apply, at, bring_to, claim, claim_ids, complete, create, create_plain, failed, find, finish, id, job,
    job_after, job_in, key, key_in, list_ids, partition, path, read, record, sorted_by,
};
use job_core::store::Action;

fn everything(finished_before: i64) -> PruneRequest {
    PruneRequest {
        partition: Some(partition("p")),
        statuses: JobStatus::ALL.into(),
        finished_before: at(finished_before),
        label: None,
        limit: 1_000,
    }
}

async fn left(store: &dyn JobStore) -> Vec<String> {
    list_ids(store, &sorted_by("jobId:asc")).await
}

/// Finished jobs go; what is not finished never does, whatever the statuses named.
pub async fn only_finished_jobs_are_removed(store: &dyn JobStore) {
    for status in JobStatus::ALL {
        create_plain(store, &[status.as_str()], 1).await;
        bring_to(store, status.as_str(), status, 2).await;
    }
    assert_eq!(store.prune(&everything(i64::MAX)).await.unwrap(), 3);
    assert_eq!(left(store).await, ["Active", "Paused", "Waiting"]);
}

/// Only those that finished before the given time.
pub async fn only_old_jobs_are_removed(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    for (name, time) in [("a", 10), ("b", 20), ("c", 30)] {
        finish(store, name, time).await;
    }
    assert_eq!(store.prune(&everything(20)).await.unwrap(), 1);
    assert_eq!(left(store).await, ["b", "c"]);
}

/// The oldest go first, as many as one step may remove.
pub async fn the_oldest_go_first(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c", "d", "e"], 1).await;
    for (name, time) in [("a", 50), ("b", 20), ("c", 40), ("d", 10), ("e", 30)] {
        finish(store, name, time).await;
    }
    let step = PruneRequest { limit: 2, ..everything(100) };
    assert_eq!(store.prune(&step).await.unwrap(), 2);
    assert_eq!(left(store).await, ["a", "c", "e"]);
    assert_eq!(store.prune(&step).await.unwrap(), 2);
    assert_eq!(left(store).await, ["a"]);
    assert_eq!(store.prune(&step).await.unwrap(), 1, "fewer than the limit: none is left");
    assert_eq!(store.prune(&step).await.unwrap(), 0);
}

/// Only the statuses named.
pub async fn only_the_named_statuses_are_removed(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    bring_to(store, "a", JobStatus::Completed, 2).await;
    bring_to(store, "b", JobStatus::Failed, 2).await;
    bring_to(store, "c", JobStatus::Cancelled, 2).await;
    let request = PruneRequest { statuses: vec![JobStatus::Failed, JobStatus::Cancelled], ..everything(9) };
    assert_eq!(store.prune(&request).await.unwrap(), 2);
    assert_eq!(left(store).await, ["a"]);
    assert_eq!(store.prune(&PruneRequest { statuses: vec![], ..everything(9) }).await.unwrap(), 0);
}

/// Only jobs with the label.
pub async fn only_jobs_with_the_label_are_removed(store: &dyn JobStore) {
    let mut null = job("null");
    null.labels.insert("l".into(), None);
    create(store, [job("a").with_label("l", "1"), job("b").with_label("m", "1"), null], 1).await;
    for name in ["a", "b", "null"] {
        finish(store, name, 2).await;
    }
    let request = PruneRequest { label: Some("l".into()), ..everything(9) };
    assert_eq!(store.prune(&request).await.unwrap(), 2);
    assert_eq!(left(store).await, ["b"]);
}

/// One partition, or all.
pub async fn one_partition_or_all(store: &dyn JobStore) {
    create(store, [job("a"), job_in("q", "a"), job_in("r", "a"), job_in("r", "b")], 1).await;
    for (partition, time) in [("p", 2), ("q", 4), ("r", 3)] {
        let mut report = complete("a", "");
        report.job = key_in(partition, "a");
        store.record(&[report], at(time)).await.unwrap();
    }
    assert_eq!(store.prune(&everything(9)).await.unwrap(), 1);
    assert!(find(store, &key_in("q", "a")).await.is_some());
    let all = PruneRequest { partition: None, limit: 1, ..everything(9) };
    assert_eq!(store.prune(&all).await.unwrap(), 1);
    assert_eq!(find(store, &key_in("r", "a")).await, None, "it finished first");
    assert_eq!(store.prune(&all).await.unwrap(), 1);
    assert_eq!(find(store, &key_in("q", "a")).await, None);
    assert_eq!(store.prune(&all).await.unwrap(), 0);
    assert!(find(store, &key_in("r", "b")).await.is_some());
}

/// A removed job leaves nothing, as if it were deleted.
pub async fn a_removed_job_leaves_nothing(store: &dyn JobStore) {
    create(store, [job("j").with_label("l", "1")], 1).await;
    record(store, &[complete("j", ".1"), failed("j", ".2", "boom")], 2).await;
    assert_eq!(store.prune(&everything(9)).await.unwrap(), 1);
    assert_eq!(find(store, &key("j")).await, None);
    assert_eq!(store.failures(&key("j"), 0, 9).await.unwrap(), []);
    assert_eq!(store.tasks(&key("j"), &path(""), 0, 9).await.unwrap(), None);
    create_plain(store, &["j"], 10).await;
    let fresh = read(store, "j").await;
    assert!(fresh.failures.is_empty() && fresh.labels.is_empty());
    assert_eq!(claim_ids(store, 10).await, ["j"]);
}

/// Jobs that wait for a removed job go on waiting for one of its id.
pub async fn dependents_of_a_removed_job_go_on_waiting(store: &dyn JobStore) {
    create(store, [job("a"), job_after("j", &["a"])], 1).await;
    apply(store, "a", Action::Cancel, 2).await;
    assert_eq!(store.prune(&everything(9)).await.unwrap(), 1);
    let blockers = read(store, "j").await.blocked_by;
    assert_eq!((blockers[0].job.clone(), blockers[0].status), (id("a"), None));
    assert_eq!(claim(store, 9).await, []);
}

/// A job that recovered is as old as its completion.
pub async fn a_recovery_makes_a_job_young_again(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[failed("j", ".1*", "boom")], 10).await;
    record(store, &[complete("j", ".1")], 30).await;
    assert_eq!(store.prune(&everything(20)).await.unwrap(), 0);
    assert_eq!(store.prune(&everything(31)).await.unwrap(), 1);
}
