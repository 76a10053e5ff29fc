//! Counting.

use std::collections::BTreeMap;

use job_core::JobStatus;
use job_core::query::{Filter, Selection, StatusType, TextKey, TextTest};
use job_core::store::{Action, JobStore};

use super::fixture::{apply, bring_to, create, create_plain, job, job_in, partition};

async fn count(store: &dyn JobStore, selection: &Selection) -> BTreeMap<JobStatus, u64> {
    store.count(&partition("p"), selection).await.unwrap()
}

async fn two_of_each(store: &dyn JobStore) {
    for status in JobStatus::ALL {
        for n in ["1", "2"] {
            let id = format!("{n}{status}");
            create(store, [job(&id).with_label("n", n)], 1).await;
            bring_to(store, &id, status, 2).await;
        }
    }
}

/// By status.
pub async fn jobs_are_counted_by_status(store: &dyn JobStore) {
    two_of_each(store).await;
    let expected = JobStatus::ALL.into_iter().map(|status| (status, 2)).collect();
    assert_eq!(count(store, &Selection::default()).await, expected);
}

/// Statuses without jobs are left out.
pub async fn statuses_without_jobs_are_left_out(store: &dyn JobStore) {
    assert_eq!(count(store, &Selection::default()).await, BTreeMap::new());
    create_plain(store, &["a", "b"], 1).await;
    bring_to(store, "a", JobStatus::Completed, 2).await;
    bring_to(store, "b", JobStatus::Completed, 2).await;
    assert_eq!(count(store, &Selection::default()).await, BTreeMap::from([(JobStatus::Completed, 2)]));
    apply(store, "a", Action::Delete, 3).await;
    apply(store, "b", Action::Delete, 3).await;
    assert_eq!(count(store, &Selection::default()).await, BTreeMap::new());
}

/// Only what is selected counts.
pub async fn only_selected_jobs_are_counted(store: &dyn JobStore) {
    two_of_each(store).await;
    let inactive = Selection { status_type: StatusType::Inactive, ..Selection::default() };
    let finished = [JobStatus::Cancelled, JobStatus::Completed, JobStatus::Failed];
    assert_eq!(count(store, &inactive).await, finished.map(|status| (status, 2)).into());
    let prefix = Selection { id_prefix: "1".into(), ..Selection::default() };
    assert_eq!(count(store, &prefix).await, JobStatus::ALL.map(|status| (status, 1)).into());
    let filter = Filter::Text(TextKey::Label("n".into()), TextTest::In(vec!["2".into()]));
    let labelled = Selection { filter: Some(filter), ..inactive };
    assert_eq!(count(store, &labelled).await, finished.map(|status| (status, 1)).into());
}

/// Other partitions do not count.
pub async fn other_partitions_do_not_count(store: &dyn JobStore) {
    create(store, [job("a"), job_in("q", "a"), job_in("q", "b")], 1).await;
    assert_eq!(count(store, &Selection::default()).await, BTreeMap::from([(JobStatus::Waiting, 1)]));
    assert_eq!(store.count(&partition("r"), &Selection::default()).await.unwrap(), BTreeMap::new());
}
