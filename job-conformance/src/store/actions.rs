//! What clients do to one job.

use job_core::store::{Action, ActionOutcome, JobStore, Settled};
use job_core::{Event, JobStatus, Transition, transition};

use super::fixture::{
    ANNE, act, apply, at, bring_to, claim, claim_ids, claim_one, complete, create, create_plain, dispatch,
    failed, find, finish, id, job, job_after, key, message, path, progress, read, record, settle, status,
};

/// Every status answers every action as the lifecycle says.
pub async fn actions_follow_the_lifecycle(store: &dyn JobStore) {
    for from in JobStatus::ALL {
        for (action, event) in [
            (Action::Cancel, Event::Cancel),
            (Action::Pause, Event::Pause),
            (Action::Resume, Event::Resume { dispatched: false }),
        ] {
            let name = format!("{from} {action:?}");
            create_plain(store, &[&name], 1).await;
            bring_to(store, &name, from, 2).await;
            let (expected, to) = match transition(from, event) {
                Transition::To(to) => (ActionOutcome::Applied, to),
                Transition::Stay | Transition::Ignore => (ActionOutcome::Unchanged, from),
                Transition::Refuse(refusal) => (ActionOutcome::Refused(refusal), from),
            };
            let before = read(store, &name).await;
            assert_eq!(act(store, &name, action, 3).await, expected, "{name}");
            let after = read(store, &name).await;
            assert_eq!(after.status, to, "{name}");
            if expected != ActionOutcome::Applied {
                assert_eq!(after, before, "{name}");
            }
        }
    }
}

/// There is nothing to do to a job that is not there.
pub async fn an_unknown_job_is_not_found(store: &dyn JobStore) {
    create_plain(store, &["other"], 1).await;
    for action in [Action::Cancel, Action::Pause, Action::Resume, Action::Redispatch, Action::Delete] {
        assert_eq!(act(store, "j", action, 1).await, ActionOutcome::NotFound, "{action:?}");
    }
}

/// A cancelled job's messages are gone, the kept ones too.
pub async fn a_cancelled_job_is_never_published(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    store.stow(vec![message("j", "m")], at(1)).await.unwrap();
    apply(store, "j", Action::Cancel, 2).await;
    assert_eq!(claim(store, 9_999_999).await, []);
}

/// Cancelling keeps the percentage and the failures and drops the tree.
pub async fn a_cancelled_job_shows_how_far_it_came(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[complete("j", ".1"), progress("j", ".2.1", 10.0)], 2).await;
    let before = read(store, "j").await;
    apply(store, "j", Action::Cancel, 3).await;
    let after = read(store, "j").await;
    assert_eq!((after.percentage, after.subtasks), (before.percentage, before.subtasks));
    assert_eq!(
        (after.status, after.finish_time, after.last_update_time),
        (JobStatus::Cancelled, Some(at(3)), at(3))
    );
    assert_eq!(store.tasks(&key("j"), &path(""), 0, 10).await.unwrap(), Some(vec![]));
}

/// A cancelled job waits for nobody: what its prerequisites do concerns it no more.
pub async fn a_cancelled_job_waits_for_nobody(store: &dyn JobStore) {
    create(store, [job("a"), job("b"), job_after("j", &["a"]), job_after("k", &["b"])], 1).await;
    apply(store, "j", Action::Cancel, 2).await;
    apply(store, "k", Action::Cancel, 2).await;
    let before = [read(store, "j").await, read(store, "k").await];
    assert_eq!(before[0].blocked_by, []);
    finish(store, "a", 3).await;
    record(store, &[failed("b", "", "boom")], 3).await;
    assert_eq!([read(store, "j").await, read(store, "k").await], before);
    assert_eq!(claim(store, 9).await, []);
}

/// A paused job is not published until it is resumed.
pub async fn a_paused_job_is_held(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    apply(store, "j", Action::Pause, 2).await;
    assert_eq!(claim(store, 9_999_999).await, []);
    apply(store, "j", Action::Resume, 3).await;
    assert_eq!(claim_ids(store, 3).await, ["j"]);
}

/// A resumed job that was never dispatched is Waiting again.
pub async fn an_undispatched_job_resumes_to_waiting(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    apply(store, "j", Action::Pause, 2).await;
    apply(store, "j", Action::Resume, 3).await;
    assert_eq!(status(store, "j").await, JobStatus::Waiting);
}

/// A resumed job that was dispatched is Active.
pub async fn a_dispatched_job_resumes_to_active(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 2).await;
    apply(store, "j", Action::Pause, 3).await;
    apply(store, "j", Action::Resume, 4).await;
    assert_eq!(status(store, "j").await, JobStatus::Active);
    assert_eq!(claim(store, 9_999_999).await, [], "it is not published twice");
}

/// Pausing and resuming a job that waits for others changes nothing about that.
pub async fn a_paused_job_goes_on_waiting_for_others(store: &dyn JobStore) {
    create(store, [job("a"), job_after("j", &["a"])], 1).await;
    apply(store, "j", Action::Pause, 2).await;
    assert_eq!(read(store, "j").await.blocked_by.len(), 1);
    apply(store, "j", Action::Resume, 3).await;
    assert_eq!(claim_ids(store, 3).await, ["a"]);
    finish(store, "a", 4).await;
    assert_eq!(claim_ids(store, 4).await, ["j"]);
}

/// A job whose prerequisite completes while it is paused is due once it is resumed.
pub async fn a_release_during_a_pause_takes_effect_on_resume(store: &dyn JobStore) {
    create(store, [job("a"), job_after("j", &["a"])], 1).await;
    dispatch(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
    finish(store, "a", 3).await;
    assert_eq!(claim(store, 9).await, []);
    apply(store, "j", Action::Resume, 10).await;
    assert_eq!(claim_ids(store, 10).await, ["j"]);
}

/// A paused job may be cancelled.
pub async fn a_paused_job_may_be_cancelled(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    apply(store, "j", Action::Pause, 2).await;
    apply(store, "j", Action::Cancel, 3).await;
    assert_eq!(status(store, "j").await, JobStatus::Cancelled);
    assert_eq!(claim(store, 9).await, []);
}

/// A job may be deleted in any status, once.
pub async fn a_job_may_be_deleted_in_any_status(store: &dyn JobStore) {
    for from in JobStatus::ALL {
        let name = from.as_str();
        create_plain(store, &[name], 1).await;
        bring_to(store, name, from, 2).await;
        apply(store, name, Action::Delete, 3).await;
        assert_eq!(find(store, &key(name)).await, None);
        assert_eq!(act(store, name, Action::Delete, 4).await, ActionOutcome::NotFound);
    }
    assert_eq!(claim(store, 9).await, []);
}

/// Deleting removes everything about a job.
pub async fn a_deleted_job_leaves_nothing(store: &dyn JobStore) {
    create(store, [job_after("j", &["a"]).with_label("k", "v")], 1).await;
    record(store, &[failed("j", ".1", "boom"), complete("j", ".2")], 2).await;
    apply(store, "j", Action::Delete, 3).await;
    assert_eq!(store.failures(&key("j"), 0, 10).await.unwrap(), []);
    assert_eq!(store.tasks(&key("j"), &path(""), 0, 10).await.unwrap(), None);
    create_plain(store, &["a"], 4).await;
    assert_eq!(finish(store, "a", 5).await.released_due, None, "its wait for others is gone too");
    create_plain(store, &["j"], 6).await;
    let fresh = read(store, "j").await;
    assert!(fresh.labels.is_empty() && fresh.failures.is_empty() && fresh.blocked_by.is_empty());
}

/// A deleted job with kept messages takes them along.
pub async fn deleting_removes_kept_messages(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
    store.stow(vec![message("j", "1"), message("j", "2")], at(3)).await.unwrap();
    apply(store, "j", Action::Delete, 4).await;
    assert_eq!(claim(store, 9).await, []);
}

/// Jobs that wait for a deleted job go on waiting for one of its id.
pub async fn dependents_of_a_deleted_job_go_on_waiting(store: &dyn JobStore) {
    create(store, [job("a"), job_after("j", &["a"])], 1).await;
    apply(store, "a", Action::Delete, 2).await;
    let blockers = read(store, "j").await.blocked_by;
    assert_eq!((blockers[0].job.clone(), blockers[0].status), (id("a"), None));
    assert_eq!(claim(store, 9).await, []);
    create_plain(store, &["a"], 10).await;
    finish(store, "a", 11).await;
    assert_eq!(claim_ids(store, 11).await, ["j"]);
}

/// Jobs that wait for a cancelled job go on waiting, and say so.
pub async fn dependents_of_a_cancelled_job_go_on_waiting(store: &dyn JobStore) {
    create(store, [job("a"), job_after("j", &["a"])], 1).await;
    apply(store, "a", Action::Cancel, 2).await;
    let waiting = read(store, "j").await;
    assert_eq!(waiting.status, JobStatus::Waiting);
    assert_eq!(waiting.blocked_by[0].status, Some(JobStatus::Cancelled));
    apply(store, "a", Action::Delete, 3).await;
    create_plain(store, &["a"], 4).await;
    finish(store, "a", 5).await;
    assert_eq!(claim_ids(store, 5).await, ["j"]);
}

/// Pausing while a message is being published holds it only if publishing fails.
pub async fn a_pause_during_publication_counts_for_the_next_try(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
    let failed = Settled::Failed { retry_at: at(3), reason: "no".into() };
    assert!(settle(store, ANNE, entry.id, failed, 2).await);
    assert_eq!(claim(store, 9_999_999).await, []);
    apply(store, "j", Action::Resume, 4).await;
    assert_eq!(status(store, "j").await, JobStatus::Waiting);
    assert_eq!(claim_ids(store, 4).await, ["j"]);
}

/// Resume again changes nothing once the job is Active.
pub async fn a_second_resume_of_a_dispatched_job_is_unchanged(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
    apply(store, "j", Action::Resume, 3).await;
    let before = read(store, "j").await;
    assert_eq!(act(store, "j", Action::Resume, 4).await, ActionOutcome::Unchanged);
    assert_eq!(read(store, "j").await, before);
}
