//! Actions on all jobs that match.

use job_core::JobStatus;
use job_core::query::{Selection, StatusType};
use job_core::store::{Action, BulkOutcome, JobStore};

use super::fixture::{
    apply, at, bring_to, claim, claim_ids, create, create_plain, find, id, job, job_in, key, key_in,
    partition, read, status,
};

async fn step(
    store: &dyn JobStore,
    selection: &Selection,
    action: Action,
    after: Option<&str>,
    limit: u32,
) -> BulkOutcome {
    let after = after.map(id);
    store.act_on_selected(&partition("p"), selection, action, after.as_ref(), limit, at(5)).await.unwrap()
}

/// Steps go in id order, each as far as its limit, and end when every job has been visited.
pub async fn steps_go_in_id_order(store: &dyn JobStore) {
    create_plain(store, &["b", "A", "c", "a"], 1).await;
    let all = Selection::default();
    let first = step(store, &all, Action::Pause, None, 3).await;
    assert_eq!(first, BulkOutcome { changed: 3, next: Some(id("b")) });
    assert_eq!(status(store, "c").await, JobStatus::Waiting);
    let last = step(store, &all, Action::Pause, Some("b"), 3).await;
    assert_eq!(last, BulkOutcome { changed: 1, next: None });
}

/// The last step says so, also when it is full.
pub async fn a_full_last_step_is_the_last(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "other"], 1).await;
    let selection = Selection { id_prefix: "".into(), ..Selection::default() };
    assert_eq!(step(store, &selection, Action::Pause, Some("a"), 2).await.next, None);
}

/// Jobs that are not selected are not visited.
pub async fn jobs_that_are_not_selected_are_left_alone(store: &dyn JobStore) {
    create(store, [job("xa"), job("xb").with_label("l", "1"), job("y").with_label("l", "1")], 1).await;
    let selection =
        Selection { id_prefix: "x".into(), labels_exist: vec!["l".into()], ..Selection::default() };
    let outcome = step(store, &selection, Action::Cancel, None, 1).await;
    assert_eq!(outcome, BulkOutcome { changed: 1, next: None });
    assert_eq!(status(store, "xa").await, JobStatus::Waiting);
    assert_eq!(status(store, "xb").await, JobStatus::Cancelled);
    assert_eq!(status(store, "y").await, JobStatus::Waiting);
}

/// A job that does not allow the action is passed over; one that changes nothing is not counted.
pub async fn only_jobs_that_change_are_counted(store: &dyn JobStore) {
    for status in JobStatus::ALL {
        create_plain(store, &[status.as_str()], 1).await;
        bring_to(store, status.as_str(), status, 2).await;
    }
    let outcome = step(store, &Selection::default(), Action::Cancel, None, 10).await;
    assert_eq!(outcome, BulkOutcome { changed: 3, next: None });
    assert_eq!(status(store, "Completed").await, JobStatus::Completed);
    assert_eq!(status(store, "Failed").await, JobStatus::Failed);
}

/// Visited jobs fill a step whether they change or not.
pub async fn refused_jobs_fill_a_step(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    bring_to(store, "a", JobStatus::Completed, 2).await;
    bring_to(store, "b", JobStatus::Completed, 2).await;
    let first = step(store, &Selection::default(), Action::Cancel, None, 2).await;
    assert_eq!(first, BulkOutcome { changed: 0, next: Some(id("b")) });
    let second = step(store, &Selection::default(), Action::Cancel, Some("b"), 2).await;
    assert_eq!(second, BulkOutcome { changed: 1, next: None });
}

/// An action that takes jobs out of the selection misses none.
pub async fn following_next_visits_every_selected_job(store: &dyn JobStore) {
    let names: Vec<String> = (0..25).map(|n| format!("j{n}")).collect();
    create(store, names.iter().map(|name| job(name)).collect::<Vec<_>>(), 1).await;
    let selection = Selection { status_type: StatusType::NotFinished, ..Selection::default() };
    let (mut after, mut changed, mut steps) = (None, 0, 0);
    loop {
        let outcome = step(store, &selection, Action::Cancel, after.as_deref(), 7).await;
        (changed, steps) = (changed + outcome.changed, steps + 1);
        after = outcome.next.map(|id| id.to_string());
        if after.is_none() {
            break;
        }
    }
    assert_eq!((changed, steps), (25, 4));
    for name in &names {
        assert_eq!(status(store, name).await, JobStatus::Cancelled);
    }
}

/// Each job goes through what the action does to one.
pub async fn each_job_is_treated_as_by_itself(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    let all = Selection::default();
    step(store, &all, Action::Pause, None, 10).await;
    assert_eq!(claim(store, 9).await, []);
    step(store, &all, Action::Resume, None, 10).await;
    assert_eq!(claim_ids(store, 9).await, ["a", "b"]);
    step(store, &all, Action::Cancel, None, 10).await;
    assert_eq!(read(store, "a").await.finish_time, Some(at(5)));
    assert_eq!(claim(store, 9_999_999).await, []);
}

/// Deleting many.
pub async fn selected_jobs_are_deleted(store: &dyn JobStore) {
    create(store, [job("xa"), job("xb"), job("y")], 1).await;
    apply(store, "xa", Action::Cancel, 2).await;
    let selection = Selection { id_prefix: "x".into(), ..Selection::default() };
    assert_eq!(
        step(store, &selection, Action::Delete, None, 10).await,
        BulkOutcome { changed: 2, next: None }
    );
    assert_eq!(find(store, &key("xa")).await, None);
    assert_eq!(claim_ids(store, 9).await, ["y"]);
}

/// Nothing selected, nothing done.
pub async fn an_empty_selection_is_done_at_once(store: &dyn JobStore) {
    let nothing = BulkOutcome { changed: 0, next: None };
    assert_eq!(step(store, &Selection::default(), Action::Cancel, None, 10).await, nothing);
    create_plain(store, &["a"], 1).await;
    assert_eq!(step(store, &Selection::default(), Action::Cancel, Some("a"), 10).await, nothing);
    let none = Selection { id_prefix: "x".into(), ..Selection::default() };
    assert_eq!(step(store, &none, Action::Cancel, None, 10).await, nothing);
}

/// Other partitions are not touched.
pub async fn other_partitions_are_not_acted_on(store: &dyn JobStore) {
    create(store, [job("j"), job_in("q", "j"), job_in("q", "k")], 1).await;
    let outcome = step(store, &Selection::default(), Action::Delete, None, 10).await;
    assert_eq!(outcome, BulkOutcome { changed: 1, next: None });
    assert!(find(store, &key_in("q", "j")).await.is_some());
}
