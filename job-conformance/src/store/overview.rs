//! The whole store at a glance.

use std::collections::BTreeMap;

use job_core::JobStatus;
use job_core::store::{Action, JobStore, Overview, Settled, Suspension};

use super::fixture::{
    ANNE, accept, apply, at, bring_to, claim_as, create, create_plain, job, job_after, job_in, partition,
    settle,
};

async fn look(store: &dyn JobStore, now: i64) -> Overview {
    store.overview(at(now)).await.unwrap()
}

/// Nothing is made up.
pub async fn an_empty_store_shows_nothing(store: &dyn JobStore) {
    let overview = look(store, 1).await;
    assert_eq!(Overview { connections: None, ..overview }, Overview::default());
}

/// Whatever their partition.
pub async fn all_partitions_are_counted_together(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    create(store, [job_in("q", "a"), job_in("r", "a")], 1).await;
    bring_to(store, "b", JobStatus::Completed, 2).await;
    let expected = BTreeMap::from([(JobStatus::Completed, 1), (JobStatus::Waiting, 3)]);
    assert_eq!(look(store, 3).await.jobs, expected);
    apply(store, "b", Action::Delete, 4).await;
    assert_eq!(look(store, 5).await.jobs, BTreeMap::from([(JobStatus::Waiting, 3)]));
}

/// Not what is delayed, held, or waits for another job.
pub async fn only_what_is_due_and_free_waits(store: &dyn JobStore) {
    create_plain(store, &["free"], 10).await;
    create_plain(store, &["paused", "later"], 20).await;
    create(store, [job_after("dependent", &["free"])], 20).await;
    let mut delayed = job("delayed");
    delayed.delay = std::time::Duration::from_millis(100);
    create(store, [delayed], 20).await;
    apply(store, "paused", Action::Pause, 21).await;
    let overview = look(store, 30).await;
    assert_eq!((overview.due, overview.failing, overview.oldest_due), (2, 0, Some(at(10))));
    assert_eq!(look(store, 200).await.due, 3);
}

/// Until the queue has confirmed it.
pub async fn what_is_on_lease_or_failing_still_waits(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    let claimed = claim_as(store, ANNE, 2, 10).await;
    let overview = look(store, 3).await;
    assert_eq!((overview.due, overview.failing, overview.oldest_due), (2, 0, Some(at(1))));
    let (first, second) = (claimed.entries[0].id, claimed.entries[1].id);
    settle(store, ANNE, first, Settled::Failed { retry_at: at(500), reason: "why".into() }, 4).await;
    settle(store, ANNE, second, Settled::Published, 4).await;
    let overview = look(store, 5).await;
    assert_eq!((overview.due, overview.failing, overview.oldest_due), (1, 1, Some(at(1))));
}

/// On lease, failing or neither, in a suspended partition or accepted as suspended.
pub async fn what_is_suspended_does_not_wait(store: &dyn JobStore) {
    create_plain(store, &["leased", "failing"], 1).await;
    let claimed = claim_as(store, ANNE, 2, 10).await;
    let failing = claimed.entries.iter().find(|entry| entry.job.job.as_str() == "failing").unwrap();
    settle(store, ANNE, failing.id, Settled::Failed { retry_at: at(500), reason: "why".into() }, 3).await;
    create_plain(store, &["free"], 3).await;
    create(store, [job_in("a", "a"), job_in("q", "a"), job_in("z", "a")], 4).await;
    let accepted = job_core::AcceptedJob { suspended: true, ..accept(job_in("q", "b")) };
    store.create(vec![accepted], at(2)).await.unwrap();
    let overview = look(store, 5).await;
    assert_eq!((overview.due, overview.failing, overview.oldest_due), (6, 1, Some(at(1))));
    store.suspend(&partition("p"), Suspension::Hold).await.unwrap();
    let overview = look(store, 5).await;
    assert_eq!((overview.due, overview.failing, overview.oldest_due), (3, 0, Some(at(4))));
    for id in ["p", "q"] {
        store.suspend(&partition(id), Suspension::Release).await.unwrap();
    }
    let overview = look(store, 5).await;
    assert_eq!((overview.due, overview.failing, overview.oldest_due), (7, 1, Some(at(1))));
}
