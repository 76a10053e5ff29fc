//! Publishing first messages once more, after a queue has lost them.

use bytes::Bytes;
use job_core::query::Selection;
use job_core::recording::RecordOutcome;
use job_core::store::{Action, ActionOutcome, JobStore, OutboxContent, RedispatchStep, Settled, Suspension};
use job_core::{JobStatus, Refusal};

use super::fixture::{
    ANNE, BERT, LEASE, accept, act, apply, assert_sound, at, bring_to, claim, claim_as, claim_ids, claim_one,
    complete, create, create_plain, dispatch, finish, job, job_after, job_in, key, key_in, message,
    partition, read, record, settle, status,
};

async fn step(store: &dyn JobStore, after: Option<(&str, &str)>, limit: u32, now: i64) -> RedispatchStep {
    let after = after.map(|(partition, id)| key_in(partition, id));
    store.redispatch(after.as_ref(), limit, at(now)).await.unwrap()
}

fn done(redispatched: u64) -> RedispatchStep {
    RedispatchStep { redispatched, next: None }
}

/// What is published once more is what was published, under the same id.
pub async fn the_first_message_is_published_once_more(store: &dyn JobStore) {
    let mut new = job("j");
    new.correlation_id = Some("corr".into());
    create(store, [new], 1).await;
    let first = claim_one(store, 1).await;
    assert!(settle(store, ANNE, first.id, Settled::Published, 2).await);
    apply(store, "j", Action::Redispatch, 3).await;
    assert_sound(store).await;
    assert_eq!(claim_one(store, 3).await, first);
    assert!(settle(store, ANNE, first.id, Settled::Published, 4).await);
    assert_eq!(claim(store, 9_999_999).await, []);
    assert_sound(store).await;
}

/// A task is kept whatever its size and however far the job has come.
pub async fn a_task_is_kept_while_its_job_counts(store: &dyn JobStore) {
    let mut new = job("j");
    new.task.data = Bytes::from(vec![7; 100_000]);
    let expected = new.task.clone();
    create(store, [new], 1).await;
    dispatch(store, 1).await;
    record(store, &[complete("j", ".1"), complete("j", ".2.3")], 2).await;
    apply(store, "j", Action::Redispatch, 3).await;
    let OutboxContent::Start { task, .. } = claim_one(store, 3).await.content else {
        panic!("a first message")
    };
    assert_eq!(task, expected);
}

/// Nothing that the job shows changes, its start time included.
pub async fn a_redispatch_is_not_seen_in_the_job(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 2).await;
    record(store, &[complete("j", ".1")], 3).await;
    let before = read(store, "j").await;
    apply(store, "j", Action::Redispatch, 4).await;
    assert_eq!(read(store, "j").await, before);
    dispatch(store, 5).await;
    assert_eq!(read(store, "j").await, before);
}

/// What was recorded stays: a subtask that is done once more counts once.
pub async fn subtasks_done_once_more_count_once(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 1).await;
    record(store, &[complete("j", ".1")], 2).await;
    apply(store, "j", Action::Redispatch, 3).await;
    dispatch(store, 3).await;
    let recorded = record(store, &[complete("j", ".1"), complete("j", ".2*")], 4).await;
    assert_eq!(recorded.outcomes, [RecordOutcome::Duplicate, RecordOutcome::Counted]);
    assert_eq!(status(store, "j").await, JobStatus::Completed);
}

/// A first message that is in the outbox, for whatever reason, is left alone.
pub async fn a_message_yet_to_be_published_is_left_alone(store: &dyn JobStore) {
    create(store, [job("leased"), job("retried"), job("again")], 1).await;
    for entry in claim(store, 1).await {
        match entry.job.job.as_str() {
            "retried" => {
                let failed = Settled::Failed { retry_at: at(90_000), reason: "no".into() };
                settle(store, ANNE, entry.id, failed, 1).await;
            }
            "again" => drop(settle(store, ANNE, entry.id, Settled::Published, 1).await),
            _ => {}
        }
    }
    create(store, [job("new"), job_after("waiting", &["missing"])], 2).await;
    apply(store, "again", Action::Redispatch, 2).await;
    for id in ["leased", "retried", "again", "new", "waiting"] {
        let before = read(store, id).await;
        assert_eq!(act(store, id, Action::Redispatch, 3).await, ActionOutcome::Unchanged, "{id}");
        assert_eq!(read(store, id).await, before, "{id}");
    }
    assert_eq!(claim_ids(store, 3).await, ["again", "new"]);
    assert_sound(store).await;
}

/// Workers take no tasks of finished jobs, so theirs are not published.
pub async fn a_finished_job_is_not_redispatched(store: &dyn JobStore) {
    for status in JobStatus::ALL.into_iter().filter(|status| status.is_finished()) {
        let id = status.as_str();
        create_plain(store, &[id], 1).await;
        dispatch(store, 1).await;
        bring_to(store, id, status, 2).await;
        let expected = ActionOutcome::Refused(Refusal::Redispatch(status));
        assert_eq!(act(store, id, Action::Redispatch, 3).await, expected);
    }
    assert_eq!(step(store, None, 10, 3).await, done(0));
    assert_eq!(claim(store, 9_999_999).await, []);
}

/// The message of a paused job is held until it is resumed.
pub async fn a_paused_job_is_redispatched_on_resume(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
    apply(store, "j", Action::Redispatch, 3).await;
    assert_eq!(claim(store, 9_999).await, []);
    assert_sound(store).await;
    apply(store, "j", Action::Resume, 10_000).await;
    assert_eq!(status(store, "j").await, JobStatus::Active);
    assert_eq!(claim_ids(store, 10_000).await, ["j"]);
}

/// A kept message need not be the first one, so it does not stand for it.
pub async fn kept_messages_do_not_count(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
    store.stow(vec![message("j", "m")], at(2)).await.unwrap();
    apply(store, "j", Action::Redispatch, 3).await;
    apply(store, "j", Action::Resume, 4).await;
    assert_eq!(claim(store, 4).await.len(), 2);
    assert_sound(store).await;
}

/// A job that finishes takes its message along, however often it was put back.
pub async fn finishing_drops_a_message_put_back(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    dispatch(store, 1).await;
    assert_eq!(step(store, None, 10, 2).await, done(3));
    finish(store, "a", 3).await;
    apply(store, "b", Action::Cancel, 3).await;
    apply(store, "c", Action::Delete, 3).await;
    assert_eq!(claim(store, 9_999_999).await, []);
    assert_sound(store).await;
}

/// A new job of the same id has nothing of the one before.
pub async fn a_successor_has_a_message_of_its_own(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let old = claim_one(store, 1).await;
    assert!(settle(store, ANNE, old.id, Settled::Published, 1).await);
    apply(store, "j", Action::Redispatch, 2).await;
    apply(store, "j", Action::Delete, 3).await;
    create(store, [job("j").with_name("second")], 4).await;
    assert_eq!(act(store, "j", Action::Redispatch, 5).await, ActionOutcome::Unchanged);
    let entry = claim_one(store, 5).await;
    assert_ne!(entry.id, old.id);
}

/// Whoever lost its lease before a redispatch has no say in the entry after it.
pub async fn a_lease_from_before_is_void(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    let over = 1 + LEASE.as_millis() as i64;
    assert_eq!(claim_as(store, BERT, over, 10).await.entries.len(), 1);
    assert!(settle(store, BERT, entry.id, Settled::Published, over).await);
    apply(store, "j", Action::Redispatch, over).await;
    assert!(!settle(store, ANNE, entry.id, Settled::Published, over).await);
    assert_eq!(claim_ids(store, over).await, ["j"]);
}

/// A dependent is released once, however often its prerequisite was started.
pub async fn dependents_of_a_redispatched_job_are_released_once(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"])], 1).await;
    dispatch(store, 1).await;
    apply(store, "a", Action::Redispatch, 2).await;
    finish(store, "a", 3).await;
    assert_eq!(dispatch(store, 3).await, ["b"]);
    assert_eq!(claim(store, 9_999_999).await, []);
}

/// An entry that is put back fails and is tried again like any other.
pub async fn a_failed_redispatch_is_tried_again(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 1).await;
    apply(store, "j", Action::Redispatch, 2).await;
    let entry = claim_one(store, 2).await;
    settle(store, ANNE, entry.id, Settled::Failed { retry_at: at(500), reason: "no".into() }, 3).await;
    assert!(read(store, "j").await.dispatch_problem.is_some());
    assert_eq!(claim(store, 499).await, []);
    assert_eq!(dispatch(store, 500).await, ["j"]);
    assert_eq!(read(store, "j").await.dispatch_problem, None);
}

/// Steps go through all partitions in the order of partition and id, and count what they put back.
pub async fn steps_visit_what_is_unfinished_in_every_partition(store: &dyn JobStore) {
    let jobs = [("p", "b"), ("p", "a"), ("p", "done"), ("q", "a"), ("o", "z"), ("r", "done")];
    create(store, jobs.map(|(partition, id)| job_in(partition, id)), 1).await;
    dispatch(store, 1).await;
    create(store, [job_in("p", "c"), job_in("q", "undispatched")], 1).await;
    finish(store, "done", 2).await;
    store.act(&key_in("r", "done"), Action::Cancel, at(2)).await.unwrap();
    store.act(&key_in("q", "a"), Action::Pause, at(2)).await.unwrap();
    let next = |partition, id| Some(key_in(partition, id));
    let first = step(store, None, 2, 3).await;
    assert_eq!(first, RedispatchStep { redispatched: 2, next: next("p", "a") });
    let second = step(store, Some(("p", "a")), 3, 3).await;
    assert_eq!(second, RedispatchStep { redispatched: 2, next: next("q", "a") });
    assert_eq!(step(store, Some(("q", "a")), 3, 3).await, done(0));
    assert_eq!(step(store, Some(("x", "a")), 3, 3).await, done(0));
    assert_eq!(step(store, None, 100, 4).await, done(0), "again");
    let mut published = claim_ids(store, 4).await;
    published.sort();
    assert_eq!(published, ["a", "b", "c", "undispatched", "z"]);
}

/// A step that visits exactly what is left is the last.
pub async fn a_full_last_step_is_the_last(store: &dyn JobStore) {
    assert_eq!(step(store, None, 2, 1).await, done(0));
    create_plain(store, &["a", "b"], 1).await;
    dispatch(store, 1).await;
    assert_eq!(step(store, None, 2, 2).await, done(2));
}

/// Selected jobs are redispatched like any one of them.
pub async fn selected_jobs_are_redispatched(store: &dyn JobStore) {
    create_plain(store, &["a1", "a2", "b"], 1).await;
    dispatch(store, 1).await;
    create_plain(store, &["a3"], 1).await;
    finish(store, "a2", 2).await;
    let selection = Selection { id_prefix: "a".into(), ..Selection::default() };
    let outcome = store
        .act_on_selected(&partition("p"), &selection, Action::Redispatch, None, 10, at(3))
        .await
        .unwrap();
    assert_eq!((outcome.changed, outcome.next), (1, None));
    assert_eq!(claim_ids(store, 3).await, ["a3", "a1"]);
    assert_eq!(act(store, "b", Action::Redispatch, 4).await, ActionOutcome::Applied);
    assert_eq!(claim_one(store, 4).await.job, key("b"));
}

/// The suspension of a partition holds its messages, put back or not. One that a job was accepted with had ended when
/// its message was first taken.
pub async fn a_suspension_holds_what_is_put_back_unless_it_has_ended(store: &dyn JobStore) {
    let accepted = job_core::AcceptedJob { suspended: true, ..accept(job("j")) };
    store.create(vec![accepted], at(1)).await.unwrap();
    store.suspend(&partition("p"), Suspension::Release).await.unwrap();
    assert_eq!(dispatch(store, 2).await, ["j"]);
    assert_eq!(step(store, None, 10, 3).await, done(1));
    assert_eq!(dispatch(store, 3).await, ["j"]);
    store.suspend(&partition("p"), Suspension::Hold).await.unwrap();
    assert_eq!(step(store, None, 10, 4).await, done(1));
    assert_eq!(claim(store, 5).await, []);
    store.suspend(&partition("p"), Suspension::Release).await.unwrap();
    assert_eq!(claim_ids(store, 6).await, ["j"]);
    assert_sound(store).await;
}
