//! Jobs that wait for others.

use job_core::dependency::CycleError;
use job_core::store::{Action, CreateOutcome, JobStore, Recorded};
use job_core::{Blocker, JobStatus, NewJob, Prerequisite};

use super::fixture::{
    act, apply, assert_sound, at, bring_to, claim, claim_ids, complete, create, create_plain, dispatch,
    failed, failure, find, finish, id, job, job_after, job_in, key, progress, read, record, status,
    try_create,
};

fn pre_created(id: &str, prerequisite: &str) -> NewJob {
    let mut new = job(id);
    new.prerequisites = vec![Prerequisite { job: self::id(prerequisite), pre_created: true }];
    new
}

fn blocker(id: &str, status: Option<JobStatus>) -> Blocker {
    Blocker { job: self::id(id), status }
}

/// A job waits until its prerequisite completes, and is due at that moment.
pub async fn a_job_waits_for_its_prerequisite(store: &dyn JobStore) {
    create(store, [job("a"), job_after("j", &["a"])], 1).await;
    assert_eq!(dispatch(store, 9).await, ["a"]);
    let recorded = finish(store, "a", 10).await;
    assert_eq!(recorded.released_due, Some(at(10)));
    assert_eq!(claim(store, 9).await, [], "not before");
    assert_eq!(claim_ids(store, 10).await, ["j"]);
    assert_eq!(read(store, "j").await.blocked_by, []);
    assert_eq!(status(store, "j").await, JobStatus::Waiting);
}

/// It is released once.
pub async fn a_release_happens_once(store: &dyn JobStore) {
    create(store, [job("a"), job_after("j", &["a"])], 1).await;
    dispatch(store, 1).await;
    finish(store, "a", 2).await;
    assert_eq!(dispatch(store, 2).await, ["j"]);
    let again = finish(store, "a", 3).await;
    assert_eq!((again.completed, again.released_due), (vec![], None));
    assert_eq!(claim(store, 9_999_999).await, []);
}

/// Only the last of several prerequisites releases.
pub async fn the_last_prerequisite_releases(store: &dyn JobStore) {
    create(store, [job("a"), job("b"), job("c"), job_after("j", &["c", "a", "b"])], 1).await;
    dispatch(store, 1).await;
    assert_eq!(finish(store, "b", 2).await.released_due, None);
    assert_eq!(finish(store, "a", 3).await.released_due, None);
    assert_eq!(claim(store, 9).await, []);
    assert_eq!(finish(store, "c", 10).await.released_due, Some(at(10)));
    assert_eq!(claim_ids(store, 10).await, ["j"]);
}

/// A job says what it waits for: in id order, with status.
pub async fn a_job_says_what_it_waits_for(store: &dyn JobStore) {
    create_plain(store, &["b", "c", "d"], 1).await;
    bring_to(store, "c", JobStatus::Paused, 2).await;
    bring_to(store, "d", JobStatus::Cancelled, 2).await;
    create(store, [job_after("j", &["d", "b", "missing", "c", "B"])], 3).await;
    let expected = [
        blocker("B", None),
        blocker("b", Some(JobStatus::Waiting)),
        blocker("c", Some(JobStatus::Paused)),
        blocker("d", Some(JobStatus::Cancelled)),
        blocker("missing", None),
    ];
    assert_eq!(read(store, "j").await.blocked_by, expected);
    finish(store, "c", 4).await;
    assert_eq!(read(store, "j").await.blocked_by.len(), 4);
}

/// Every status of a prerequisite means what the contract says.
pub async fn a_prerequisites_status_decides(store: &dyn JobStore) {
    for from in JobStatus::ALL {
        create_plain(store, &[from.as_str()], 1).await;
        bring_to(store, from.as_str(), from, 2).await;
        for pre in [false, true] {
            let name = format!("after {from} {pre}");
            let new =
                if pre { pre_created(&name, from.as_str()) } else { job_after(&name, &[from.as_str()]) };
            let outcome = try_create(store, new, 3).await;
            match from {
                JobStatus::Failed => {
                    assert_eq!(outcome, CreateOutcome::PrerequisitesFailed(vec![id("Failed")]));
                }
                JobStatus::Completed => {
                    assert_eq!(outcome, CreateOutcome::Created);
                    assert_eq!(read(store, &name).await.blocked_by, []);
                }
                _ => {
                    assert_eq!(outcome, CreateOutcome::Created);
                    assert_eq!(read(store, &name).await.blocked_by, [blocker(from.as_str(), Some(from))]);
                }
            }
        }
    }
}

/// A job whose prerequisites are all complete is due at once.
pub async fn complete_prerequisites_do_not_hold_a_job(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    finish(store, "a", 2).await;
    finish(store, "b", 2).await;
    create(store, [job_after("j", &["a", "b"])], 3).await;
    assert_eq!(claim_ids(store, 3).await, ["j"]);
}

/// A job knows all that it was created to wait for, in the order given, whatever has become of them.
pub async fn prerequisites_are_remembered_when_they_are_met(store: &dyn JobStore) {
    create_plain(store, &["a", "c"], 1).await;
    finish(store, "c", 2).await;
    create(store, [job_after("alone", &["c", "b", "a"])], 3).await;
    create(store, [job_after("labelled", &["c", "a"]).with_label("k", "v"), job("free")], 3).await;
    create(store, [job_after("met", &["c"])], 3).await;
    let ids = |named: &[&str]| named.iter().map(|text| id(text)).collect::<Vec<_>>();
    let seen = async |id| {
        let job = read(store, id).await;
        let unmet_first =
            job.prerequisites_unmet_first().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        (job.prerequisites, unmet_first)
    };
    assert_eq!(seen("alone").await, (ids(&["c", "b", "a"]), "a b c".to_owned()));
    assert_eq!(seen("labelled").await, (ids(&["c", "a"]), "a c".to_owned()));
    assert_eq!(seen("met").await, (ids(&["c"]), "c".to_owned()));
    assert_eq!(seen("free").await, (vec![], String::new()));
    finish(store, "a", 4).await;
    assert_eq!(seen("alone").await, (ids(&["c", "b", "a"]), "b c a".to_owned()));
    assert_eq!(seen("labelled").await, (ids(&["c", "a"]), "c a".to_owned()));
}

/// A missing prerequisite may be created later.
pub async fn a_prerequisite_may_be_created_later(store: &dyn JobStore) {
    create(store, [job_after("j", &["a"])], 1).await;
    assert_eq!(claim(store, 9).await, []);
    create_plain(store, &["a"], 10).await;
    assert_eq!(read(store, "j").await.blocked_by, [blocker("a", Some(JobStatus::Waiting))]);
    finish(store, "a", 11).await;
    assert_eq!(claim_ids(store, 11).await, ["j"]);
}

/// A missing prerequisite that was to be created before is taken as complete.
pub async fn a_missing_pre_created_prerequisite_is_taken_as_complete(store: &dyn JobStore) {
    create(store, [pre_created("j", "a")], 1).await;
    assert_eq!(read(store, "j").await.blocked_by, []);
    assert_eq!(claim_ids(store, 1).await, ["j"]);
}

/// Failed prerequisites are named in the order the client named them.
pub async fn failed_prerequisites_are_named_in_order(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    record(store, &[failed("a", "", "x"), failed("c", ".1", "y")], 2).await;
    let outcome = try_create(store, job_after("j", &["c", "b", "missing", "a"]), 3).await;
    assert_eq!(outcome, CreateOutcome::PrerequisitesFailed(vec![id("c"), id("a")]));
    assert_eq!(find(store, &key("j")).await, None);
}

/// A failure reaches everybody who waits, directly or not, and names its root cause.
pub async fn a_failure_reaches_all_dependents(store: &dyn JobStore) {
    create(
        store,
        [job("a"), job_after("b", &["a"]), job_after("c", &["b"]), job_after("d", &["c", "other"]), job("x")],
        1,
    )
    .await;
    let mut recorded = record(store, &[complete("a", ".1"), failed("a", ".2", "boom")], 2).await;
    recorded.failed.sort();
    assert_eq!(recorded.failed, [key("a"), key("b"), key("c"), key("d")]);
    for name in ["b", "c", "d"] {
        let job = read(store, name).await;
        assert_eq!((job.status, job.percentage.rounded()), (JobStatus::Failed, 0.0), "{name}");
        assert_eq!(job.failures, [failure("boom").caused_by(&key("a"))], "{name}");
        assert_eq!((job.finish_time, job.last_update_time), (Some(at(2)), at(2)), "{name}");
        assert_eq!(job.blocked_by, [], "{name}");
    }
    assert_eq!(status(store, "x").await, JobStatus::Waiting);
    assert_eq!(claim_ids(store, 9).await, ["x"]);
}

/// Failing again reaches nobody anew.
pub async fn only_the_first_failure_reaches_dependents(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"])], 1).await;
    record(store, &[failed("a", ".1", "first"), failed("a", ".2", "second")], 2).await;
    assert_eq!(record(store, &[failed("a", ".3", "third")], 3).await.failed, []);
    let messages: Vec<_> =
        read(store, "b").await.failures.into_iter().map(|failure| failure.message).collect();
    assert_eq!(messages, ["first"]);
}

/// A paused dependent fails too.
pub async fn a_paused_dependent_fails_too(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"])], 1).await;
    apply(store, "b", Action::Pause, 2).await;
    record(store, &[failed("a", "", "boom")], 3).await;
    assert_eq!(status(store, "b").await, JobStatus::Failed);
}

/// A cancelled dependent stays cancelled, and whoever waits for it is not concerned.
pub async fn a_failure_does_not_pass_through_a_cancelled_job(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"]), job_after("c", &["b"])], 1).await;
    apply(store, "b", Action::Cancel, 2).await;
    let before = read(store, "b").await;
    assert_eq!(record(store, &[failed("a", "", "boom")], 3).await.failed, [key("a")]);
    assert_eq!(read(store, "b").await, before);
    assert_eq!(read(store, "c").await.blocked_by, [blocker("b", Some(JobStatus::Cancelled))]);
}

/// A job that recovers does not bring its dependents back.
pub async fn a_recovery_does_not_revive_dependents(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"])], 1).await;
    dispatch(store, 1).await;
    record(store, &[failed("a", ".1*", "boom")], 2).await;
    let recorded = record(store, &[complete("a", ".1")], 3).await;
    assert_eq!((recorded.completed, recorded.released_due), (vec![key("a")], None));
    assert_eq!(status(store, "b").await, JobStatus::Failed);
    assert_eq!(claim(store, 9).await, []);
    create(store, [job_after("new", &["a"])], 10).await;
    assert_eq!(claim_ids(store, 10).await, ["new"], "those that come later see it complete");
}

/// A job that fails and completes within one batch has completed.
pub async fn a_failure_that_is_over_at_once_reaches_nobody(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"])], 1).await;
    dispatch(store, 1).await;
    let recorded = record(store, &[failed("a", ".1", "boom"), complete("a", ".1*")], 2).await;
    assert_eq!((recorded.completed, recorded.failed), (vec![key("a")], vec![]));
    assert_eq!(claim_ids(store, 2).await, ["b"]);
}

/// A dependent that failed with its prerequisite may be deleted and created anew.
pub async fn a_failed_dependent_may_be_created_anew(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"])], 1).await;
    record(store, &[failed("a", ".1*", "boom")], 2).await;
    record(store, &[complete("a", ".1")], 3).await;
    apply(store, "b", Action::Delete, 4).await;
    create(store, [job_after("b", &["a"])], 5).await;
    assert_eq!(claim_ids(store, 5).await, ["b"]);
}

/// Waiting for oneself is refused.
pub async fn a_job_cannot_wait_for_itself(store: &dyn JobStore) {
    let outcome = try_create(store, job_after("j", &["x", "j"]), 1).await;
    assert_eq!(outcome, CreateOutcome::Cycle(CycleError::Cycle(vec![id("j"), id("j")])));
    assert_eq!(find(store, &key("j")).await, None);
    assert_eq!(claim(store, 9).await, []);
}

/// A longer circle is refused too, and named.
pub async fn a_circle_is_refused_and_named(store: &dyn JobStore) {
    create(store, [job_after("c", &["a"]), job_after("b", &["x", "c"])], 1).await;
    let outcome = try_create(store, job_after("a", &["b"]), 2).await;
    let circle = ["a", "b", "c", "a"].map(id).into();
    assert_eq!(outcome, CreateOutcome::Cycle(CycleError::Cycle(circle)));
    assert_eq!(find(store, &key("a")).await, None);
    assert_sound(store).await;
    create(store, [job("a")], 3).await;
    finish(store, "a", 4).await;
    assert_eq!(claim_ids(store, 4).await, ["c"], "nothing of the refused job is in the way");
}

/// A circle that a deleted or cancelled job has broken is none.
pub async fn a_broken_circle_is_none(store: &dyn JobStore) {
    create(store, [job_after("b", &["a"]), job_after("c", &["d"])], 1).await;
    apply(store, "b", Action::Cancel, 2).await;
    create(store, [job_after("a", &["b"])], 3).await;
    apply(store, "c", Action::Delete, 4).await;
    create(store, [job_after("d", &["c"])], 5).await;
}

/// A diamond is not a circle.
pub async fn a_diamond_releases_its_end_once(store: &dyn JobStore) {
    create(
        store,
        [job("a"), job_after("b", &["a"]), job_after("c", &["a"]), job_after("d", &["b", "c", "a"])],
        1,
    )
    .await;
    dispatch(store, 1).await;
    finish(store, "a", 2).await;
    assert_eq!(dispatch(store, 2).await, ["b", "c"]);
    finish(store, "b", 3).await;
    assert_eq!(claim(store, 3).await, []);
    finish(store, "c", 4).await;
    assert_eq!(dispatch(store, 4).await, ["d"]);
}

/// A diamond's end fails once.
pub async fn a_diamond_fails_its_end_once(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"]), job_after("c", &["a"]), job_after("d", &["b", "c"])], 1)
        .await;
    let recorded = record(store, &[failed("a", "", "boom")], 2).await;
    assert_eq!(recorded.failed.len(), 4);
    assert_eq!(read(store, "d").await.failure_count, 1);
}

/// A chain goes on by itself, one link at a time.
pub async fn a_chain_goes_link_by_link(store: &dyn JobStore) {
    let names: Vec<String> = (0..20).map(|n| format!("j{n}")).collect();
    create_plain(store, &["j0"], 1).await;
    for pair in names.windows(2) {
        create(store, [job_after(&pair[1], &[&pair[0]])], 1).await;
    }
    for (time, name) in (2i64..).zip(&names) {
        assert_eq!(dispatch(store, time).await, [name.as_str()]);
        finish(store, name, time).await;
    }
    assert_eq!(claim(store, 99).await, []);
}

/// Many wait for one.
pub async fn one_job_releases_many(store: &dyn JobStore) {
    create_plain(store, &["a"], 1).await;
    dispatch(store, 1).await;
    create(store, (0..200).map(|n| job_after(&format!("j{n}"), &["a"])).collect::<Vec<_>>(), 1).await;
    assert_eq!(claim(store, 9).await, []);
    assert_eq!(finish(store, "a", 10).await.released_due, Some(at(10)));
    assert_eq!(claim(store, 10).await.len(), 200);
}

/// One waits for many, also when they complete in one batch.
pub async fn many_jobs_release_one(store: &dyn JobStore) {
    let names: Vec<String> = (0..200).map(|n| format!("a{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    create_plain(store, &names, 1).await;
    create(store, [job_after("j", &names)], 1).await;
    dispatch(store, 1).await;
    let reports: Vec<_> = names.iter().map(|name| complete(name, "")).collect();
    let (most, last) = reports.split_at(199);
    let recorded: Recorded = record(store, most, 2).await;
    assert_eq!((recorded.completed.len(), recorded.released_due), (199, None));
    assert_eq!(record(store, last, 3).await.released_due, Some(at(3)));
    assert_eq!(claim_ids(store, 3).await, ["j"]);
}

/// A batch that completes a prerequisite may report about its dependent too.
pub async fn a_batch_may_complete_a_job_and_its_dependent(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"]), job_after("c", &["b"])], 1).await;
    let mut recorded = record(store, &[complete("a", ""), complete("b", "")], 2).await;
    recorded.completed.sort();
    assert_eq!(recorded.completed, [key("a"), key("b")]);
    assert_eq!(claim_ids(store, 2).await, ["c"]);
}

/// A job that completes although it was still waiting waits no more.
pub async fn a_job_that_completes_early_waits_no_more(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"]), job_after("c", &["b"])], 1).await;
    dispatch(store, 1).await;
    finish(store, "b", 2).await;
    assert_eq!(read(store, "b").await.blocked_by, []);
    assert_eq!(dispatch(store, 2).await, ["c"]);
    record(store, &[failed("a", "", "boom")], 3).await;
    assert_eq!(status(store, "b").await, JobStatus::Completed);
    assert_sound(store).await;
}

/// A partial report of a prerequisite releases nobody.
pub async fn progress_releases_nobody(store: &dyn JobStore) {
    create(store, [job("a"), job_after("b", &["a"])], 1).await;
    dispatch(store, 1).await;
    let reports = [complete("a", ".1"), progress("a", ".2*", 99.0)];
    assert_eq!(record(store, &reports, 2).await.released_due, None);
    assert_eq!(claim(store, 9).await, []);
}

/// A prerequisite of the same name in another partition is another job.
pub async fn a_prerequisite_is_of_the_same_partition(store: &dyn JobStore) {
    create(store, [job_in("q", "a"), job_after("j", &["a"])], 1).await;
    assert_eq!(read(store, "j").await.blocked_by, [blocker("a", None)]);
    dispatch(store, 1).await;
    let mut elsewhere = complete("a", "");
    elsewhere.job.partition = super::fixture::partition("q");
    assert_eq!(record(store, &[elsewhere], 2).await.released_due, None);
    assert_eq!(claim(store, 9).await, []);
    assert_eq!(act(store, "a", Action::Cancel, 3).await, job_core::store::ActionOutcome::NotFound);
}

/// Who waits is answered for each job asked about, in id order and no more than asked for.
pub async fn a_store_says_who_waits(store: &dyn JobStore) {
    let mut elsewhere = job_in("q", "z");
    elsewhere.prerequisites.push(Prerequisite::new(id("a")));
    let waiting =
        [job_after("d", &["a", "nobody"]), job_after("b", &["a"]), job_after("C", &["a", "b"]), elsewhere];
    create(store, [job("a")].into_iter().chain(waiting), 1).await;
    let partition = super::fixture::partition("p");
    let asked = ["a", "none", "nobody", "b", "a"].map(id);
    let answer = |limit| store.dependents(&partition, &asked, limit);
    let ids = |ids: &[&str]| ids.iter().map(|text| id(text)).collect::<Vec<_>>();
    let all = [ids(&["C", "b", "d"]), vec![], ids(&["d"]), ids(&["C"]), ids(&["C", "b", "d"])];
    assert_eq!(answer(9).await.unwrap(), all);
    let first = [ids(&["C", "b"]), vec![], ids(&["d"]), ids(&["C"]), ids(&["C", "b"])];
    assert_eq!(answer(2).await.unwrap(), first);
    assert!(store.dependents(&partition, &[], 9).await.unwrap().is_empty());
    finish(store, "a", 2).await;
    assert_eq!(answer(9).await.unwrap(), [vec![], vec![], ids(&["d"]), ids(&["C"]), vec![]]);
    apply(store, "d", Action::Delete, 3).await;
    assert_eq!(answer(9).await.unwrap(), [vec![], vec![], vec![], ids(&["C"]), vec![]]);
}
