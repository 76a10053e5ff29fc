//! Nothing crosses a partition.

use job_core::query::JobQuery;
use job_core::store::{Action, JobStore, StowedMessage, TaskReport, VerifyRequest};
use job_core::{JobStatus, Prerequisite};

use super::fixture::{
    at, claim, complete, create, failed, find, id, ids, job_in, key_in, message, partition, path, status,
};

fn elsewhere(mut report: TaskReport) -> TaskReport {
    report.job.partition = partition("q");
    report
}

async fn twins(store: &dyn JobStore) {
    create(store, [job_in("p", "j").with_name("p's"), job_in("q", "j").with_name("q's")], 1).await;
}

/// Reports concern the job of their partition alone.
pub async fn reports_do_not_cross(store: &dyn JobStore) {
    twins(store).await;
    let before = find(store, &key_in("p", "j")).await;
    store
        .record(&[elsewhere(complete("j", ".1")), elsewhere(failed("j", ".2", "boom"))], at(2))
        .await
        .unwrap();
    assert_eq!(find(store, &key_in("p", "j")).await, before);
    assert_eq!(store.failures(&key_in("p", "j"), 0, 9).await.unwrap(), []);
    assert_eq!(store.tasks(&key_in("p", "j"), &path(""), 0, 9).await.unwrap(), Some(vec![]));
    assert_eq!(find(store, &key_in("q", "j")).await.unwrap().failure_count, 1);
}

/// Actions concern the job of their partition alone.
pub async fn actions_do_not_cross(store: &dyn JobStore) {
    for action in [Action::Pause, Action::Cancel, Action::Delete] {
        twins(store).await;
        let before = find(store, &key_in("p", "j")).await;
        store.act(&key_in("q", "j"), action, at(2)).await.unwrap();
        assert_eq!(find(store, &key_in("p", "j")).await, before, "{action:?}");
        let claimed = claim(store, 9).await;
        assert_eq!(claimed.iter().map(|entry| entry.job.clone()).collect::<Vec<_>>(), [key_in("p", "j")]);
        for partition in ["p", "q"] {
            store.act(&key_in(partition, "j"), Action::Delete, at(3)).await.unwrap();
        }
    }
}

/// Listings show one partition.
pub async fn listings_do_not_cross(store: &dyn JobStore) {
    twins(store).await;
    create(store, [job_in("q", "only")], 2).await;
    store.act(&key_in("q", "j"), Action::Cancel, at(3)).await.unwrap();
    let page = store.list(&JobQuery::new(partition("p"))).await.unwrap();
    assert_eq!((ids(&page.jobs), page.jobs[0].status), (vec!["j".to_owned()], JobStatus::Waiting));
    assert_eq!(page.jobs[0].name.as_deref(), Some("p's"));
    assert_eq!(ids(&store.list(&JobQuery::new(partition("q"))).await.unwrap().jobs), ["only", "j"]);
}

/// A failure does not reach a dependent of the same name elsewhere.
pub async fn failures_do_not_cross(store: &dyn JobStore) {
    for partition in ["p", "q"] {
        let mut dependent = job_in(partition, "dependent");
        dependent.prerequisites = vec![Prerequisite::new(id("j"))];
        create(store, [job_in(partition, "j"), dependent], 1).await;
    }
    let recorded = store.record(&[elsewhere(failed("j", "", "boom"))], at(2)).await.unwrap();
    assert_eq!(recorded.failed, [key_in("q", "j"), key_in("q", "dependent")]);
    assert_eq!(status(store, "dependent").await, JobStatus::Waiting);
}

/// A prerequisite of the same name elsewhere closes no circle.
pub async fn circles_do_not_cross(store: &dyn JobStore) {
    let after = |partition: &str, job: &str, prerequisite: &str| {
        let mut new = job_in(partition, job);
        new.prerequisites = vec![Prerequisite::new(id(prerequisite))];
        new
    };
    create(store, [after("p", "a", "b"), after("q", "b", "a")], 1).await;
}

/// Kept messages go back to their own job.
pub async fn kept_messages_do_not_cross(store: &dyn JobStore) {
    twins(store).await;
    store.act(&key_in("p", "j"), Action::Pause, at(2)).await.unwrap();
    let other = StowedMessage { job: key_in("q", "j"), ..message("j", "m") };
    store.stow(vec![other], at(3)).await.unwrap();
    let claimed = claim(store, 3).await;
    assert_eq!(claimed.len(), 2, "the first message and the kept one of q");
    assert!(claimed.iter().all(|entry| entry.job == key_in("q", "j")));
}

/// A check of one partition says nothing about others, and a deleted partition leaves nothing.
pub async fn checks_do_not_cross(store: &dyn JobStore) {
    twins(store).await;
    for id in ["p", "q", "r"] {
        let request = VerifyRequest { partition: partition(id), job: None, repair: true };
        assert_eq!(store.verify(&request).await.unwrap(), []);
    }
    assert_eq!(claim(store, 9).await.len(), 2);
}
