//! Recording reports.

use job_core::JobStatus;
use job_core::progress::{Anomaly, Percentage};
use job_core::recording::RecordOutcome as O;
use job_core::store::{Action, JobStore, Recorded, TaskReport};

use super::fixture::{
    apply, at, bring_to, claim, complete, create_plain, dispatch, failed, find, finish, key, key_in, message,
    path, progress, read, record, status,
};

async fn shown(store: &dyn JobStore, id: &str) -> f64 {
    read(store, id).await.percentage.rounded()
}

/// One outcome per report, in order, whatever the mix of jobs.
pub async fn outcomes_come_in_order(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "done"], 1).await;
    finish(store, "done", 2).await;
    let reports = [
        complete("a", ".1"),
        complete("missing", ".1"),
        complete("b", ".1"),
        complete("a", ".1"),
        complete("done", ".1"),
        complete("b", ".2"),
        progress("a", ".2", 0.0),
    ];
    let outcomes = record(store, &reports, 3).await.outcomes;
    let expected =
        [O::Counted, O::UnknownJob, O::Counted, O::Duplicate, O::FinishedJob, O::Counted, O::Duplicate];
    assert_eq!(outcomes, expected);
}

/// An empty batch is fine.
pub async fn recording_nothing_does_nothing(store: &dyn JobStore) {
    assert_eq!(record(store, &[], 1).await, Recorded::default());
}

/// The first report makes a job Active.
pub async fn the_first_report_makes_a_job_active(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    record(store, &[complete("a", ".1"), progress("b", ".1", 1.0)], 2).await;
    assert_eq!((status(store, "a").await, status(store, "b").await), (JobStatus::Active, JobStatus::Active));
}

/// Progress of zero says nothing.
pub async fn progress_of_zero_says_nothing(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let before = read(store, "j").await;
    record(store, &[progress("j", ".4*", 0.0), progress("j", "", 0.0)], 2).await;
    assert_eq!(read(store, "j").await, before);
}

/// The examples of the contract.
pub async fn percentages_are_the_contracts(store: &dyn JobStore) {
    create_plain(store, &["j", "k"], 1).await;
    record(store, &[complete("j", ".1")], 2).await;
    assert_eq!(shown(store, "j").await, 50.0);
    record(store, &[complete("j", ".2")], 3).await;
    assert_eq!(shown(store, "j").await, 66.67);
    record(store, &[complete("j", ".3*")], 4).await;
    assert_eq!((shown(store, "j").await, status(store, "j").await), (100.0, JobStatus::Completed));
    record(store, &[complete("k", ".1"), progress("k", ".2*", 50.0)], 2).await;
    assert_eq!(shown(store, "k").await, 75.0);
    record(store, &[progress("k", ".2", 100.0)], 3).await;
    assert_eq!(shown(store, "k").await, 99.7, "an incomplete job shows 99.7 at most");
}

/// A job that completes is complete in every respect.
pub async fn the_last_completion_completes_the_job(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[complete("j", ".2*")], 2).await;
    let recorded = record(store, &[complete("j", ".1")], 3).await;
    assert_eq!(recorded.completed, [key("j")]);
    let job = read(store, "j").await;
    assert_eq!(
        (job.status, job.percentage, job.finish_time),
        (JobStatus::Completed, Percentage::FULL, Some(at(3)))
    );
    assert_eq!((job.subtasks.total, job.subtasks.completed), (Some(2), 2));
}

/// A job may complete as a whole, whatever its subtasks did.
pub async fn a_job_may_complete_as_a_whole(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[complete("j", ".1"), failed("j", ".7", "boom")], 2).await;
    assert_eq!(finish(store, "j", 3).await.completed, [key("j")]);
    let job = read(store, "j").await;
    assert_eq!((job.status, job.percentage, job.failures), (JobStatus::Completed, Percentage::FULL, vec![]));
}

/// Recording the same reports again changes nothing and announces nothing.
pub async fn recording_again_changes_nothing(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    let reports = [
        complete("a", ".1"),
        progress("a", ".2.1*", 40.0),
        failed("b", ".1", "boom"),
        failed("b", "", "whole"),
        complete("b", ".3.3*"),
        complete("c", ".1*"),
    ];
    record(store, &reports, 2).await;
    let keys = [key("a"), key("b"), key("c")];
    let before = store.get(&keys).await.unwrap();
    let again = record(store, &reports, 9).await;
    assert_eq!(again.outcomes[..5], [O::Duplicate; 5]);
    assert_eq!(again.outcomes[5], O::FinishedJob);
    assert_eq!((&again.completed, &again.failed, again.released_due), (&vec![], &vec![], None));
    assert_eq!(store.get(&keys).await.unwrap(), before);
    assert_eq!(store.failures(&key("b"), 0, 10).await.unwrap().len(), 2);
}

/// The order of completions does not matter.
pub async fn the_order_of_reports_does_not_matter(store: &dyn JobStore) {
    let reports = |id: &str| {
        vec![
            complete(id, ".1"),
            progress(id, ".2.1", 30.0),
            complete(id, ".2.2*"),
            complete(id, ".4*"),
            progress(id, ".3", 12.5),
            complete(id, ".2.1.1*.1"),
        ]
    };
    let mut seen = Vec::new();
    for turn in 0..6 {
        let id = format!("j{turn}");
        create_plain(store, &[&id], 1).await;
        let mut batch = reports(&id);
        batch.rotate_left(turn);
        if turn % 2 == 1 {
            batch.reverse();
        }
        let (first, second) = batch.split_at(turn);
        record(store, first, 2).await;
        record(store, second, 2).await;
        let job = read(store, &id).await;
        seen.push((job.status, job.percentage, job.subtasks));
    }
    assert!(seen.iter().all(|other| *other == seen[0]), "{seen:?}");
}

/// Reports about jobs that are not there, or not any more, change nothing.
pub async fn reports_about_unknown_jobs_change_nothing(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[complete("j", ".1")], 2).await;
    apply(store, "j", Action::Delete, 3).await;
    let recorded = record(store, &[complete("j", ".2"), failed("k", "", "boom")], 4).await;
    assert_eq!(recorded, Recorded { outcomes: vec![O::UnknownJob; 2], ..Recorded::default() });
    assert_eq!(find(store, &key("j")).await, None);
    let mut elsewhere = complete("x", ".1");
    elsewhere.job = key_in("nowhere", "x");
    assert_eq!(record(store, &[elsewhere], 4).await.outcomes, [O::UnknownJob]);
}

/// Reports about completed and cancelled jobs change nothing.
pub async fn reports_about_finished_jobs_change_nothing(store: &dyn JobStore) {
    for from in [JobStatus::Completed, JobStatus::Cancelled] {
        create_plain(store, &[from.as_str()], 1).await;
        bring_to(store, from.as_str(), from, 2).await;
        let before = read(store, from.as_str()).await;
        let reports =
            [complete(from.as_str(), ".1"), failed(from.as_str(), ".2", "late"), complete(from.as_str(), "")];
        let recorded = record(store, &reports, 3).await;
        assert_eq!(recorded, Recorded { outcomes: vec![O::FinishedJob; 3], ..Recorded::default() });
        assert_eq!(read(store, from.as_str()).await, before);
        assert_eq!(store.tasks(&key(from.as_str()), &path(""), 0, 10).await.unwrap(), Some(vec![]));
    }
}

/// A failed subtask fails the job at once; the rest goes on counting.
pub async fn a_failed_job_counts_on(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    assert_eq!(record(store, &[failed("j", ".1", "boom"), complete("j", ".4*")], 2).await.failed, [key("j")]);
    assert_eq!((status(store, "j").await, shown(store, "j").await), (JobStatus::Failed, 25.0));
    assert_eq!(record(store, &[complete("j", ".2"), failed("j", ".3", "too")], 3).await.failed, []);
    assert_eq!((status(store, "j").await, shown(store, "j").await), (JobStatus::Failed, 50.0));
}

/// A failed job whose every subtask completes after all is complete.
pub async fn a_failed_job_may_yet_complete(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[failed("j", ".1", "boom"), complete("j", ".2*")], 2).await;
    let recorded = record(store, &[complete("j", ".1")], 3).await;
    assert_eq!((recorded.completed, recorded.failed), (vec![key("j")], vec![]));
    let job = read(store, "j").await;
    assert_eq!((job.status, job.failures, job.failure_count), (JobStatus::Completed, vec![], 0));
}

/// A paused job moves on, completes and fails, but does not become Active.
pub async fn a_paused_job_takes_reports(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    for name in ["a", "b"] {
        apply(store, name, Action::Pause, 2).await;
    }
    record(store, &[complete("a", ".1")], 3).await;
    assert_eq!((status(store, "a").await, shown(store, "a").await), (JobStatus::Paused, 50.0));
    record(store, &[complete("a", ".2*"), failed("b", ".1", "boom")], 4).await;
    assert_eq!(
        (status(store, "a").await, status(store, "b").await),
        (JobStatus::Completed, JobStatus::Failed)
    );
}

/// A job that completes or fails is not published any more.
pub async fn a_finished_job_is_not_published(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    store.stow(vec![message("a", "m"), message("b", "m")], at(1)).await.unwrap();
    record(store, &[complete("a", ""), failed("b", ".1", "boom")], 2).await;
    assert_eq!(claim(store, 9_999_999).await, []);
}

/// Many jobs in one batch, each told about once.
pub async fn a_batch_may_concern_many_jobs(store: &dyn JobStore) {
    let names: Vec<String> = (0..50).map(|n| format!("j{n:02}")).collect();
    create_plain(store, &names.iter().map(String::as_str).collect::<Vec<_>>(), 1).await;
    let tasks = [".3*", ".1", ".2", ".2"];
    let reports: Vec<TaskReport> =
        tasks.iter().flat_map(|task| names.iter().map(move |name| complete(name, task))).collect();
    let mut recorded = record(store, &reports, 2).await;
    recorded.completed.sort();
    assert_eq!(recorded.completed, names.iter().map(|name| key(name)).collect::<Vec<_>>());
}

/// Numbers across the chunks that a store may keep them in.
pub async fn many_subtasks_are_each_counted_once(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    dispatch(store, 1).await;
    let all: Vec<TaskReport> = (1..=20_000u32).rev().map(|n| complete("j", &format!(".{n}"))).collect();
    for batch in all.chunks(4_999) {
        record(store, batch, 2).await;
    }
    let again: Vec<TaskReport> =
        [1, 8191, 8192, 8193, 16_383, 16_384, 19_999].map(|n| complete("j", &format!(".{n}"))).into();
    assert_eq!(record(store, &again, 3).await.outcomes, [O::Duplicate; 7]);
    assert_eq!(read(store, "j").await.subtasks.completed, 20_000);
    record(store, &[complete("j", ".20001*")], 4).await;
    assert_eq!(status(store, "j").await, JobStatus::Completed);
}

/// The highest number and the deepest path the contract allows.
pub async fn the_extremes_of_paths_are_ordinary(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let reports = [complete("j", ".2147483647*"), progress("j", &".1*".repeat(32), 50.0)];
    record(store, &reports, 2).await;
    let job = read(store, "j").await;
    assert_eq!((job.subtasks.total, job.subtasks.completed), (Some(2_147_483_647), 1));
    assert_eq!(only_child(store, 31).await, (32, 50.0));
    record(store, &[complete("j", &".1*".repeat(32))], 3).await;
    assert_eq!(only_child(store, 30).await, (31, 100.0), "an only child completes its parent");
}

async fn only_child(store: &dyn JobStore, depth: usize) -> (usize, f64) {
    let level = store.tasks(&key("j"), &path(&".1".repeat(depth)), 0, 10).await.unwrap().unwrap();
    let [child] = &level[..] else { panic!("one child, not {level:?}") };
    (child.path.depth(), child.percentage.rounded())
}

/// Nested completions roll up to the job.
pub async fn nested_completions_roll_up(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[complete("j", ".1.1.1*"), complete("j", ".1.2*")], 2).await;
    assert_eq!((shown(store, "j").await, status(store, "j").await), (50.0, JobStatus::Active));
    record(store, &[complete("j", ".1.1"), complete("j", ".2*.1*")], 3).await;
    assert_eq!(status(store, "j").await, JobStatus::Active, "the last of .2's children does not end the job");
    record(store, &[complete("j", ".2*")], 4).await;
    assert_eq!(status(store, "j").await, JobStatus::Completed);
}

/// What a correct worker would not have sent is counted as well as it can be, and told.
pub async fn anomalies_are_told(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let recorded = record(store, &[complete("j", ".3*"), complete("j", ".2*"), complete("j", ".9")], 2).await;
    let expected = [
        (key("j"), Anomaly::ConflictingTotals { parent: path(""), totals: [3, 2] }),
        (key("j"), Anomaly::BeyondTotal { parent: path(""), number: 9, total: 3 }),
    ];
    assert_eq!(recorded.anomalies, expected);
    let job = read(store, "j").await;
    assert_eq!((job.subtasks.total, job.subtasks.completed), (Some(3), 2));
    record(store, &[complete("j", ".1")], 3).await;
    assert_eq!(status(store, "j").await, JobStatus::Completed);
}

/// A total learnt late makes what lies beyond it count for nothing.
pub async fn a_smaller_total_learnt_late_is_counted_right(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let far: Vec<TaskReport> = [8_193, 9_000, 20_000].map(|n| complete("j", &format!(".{n}"))).into();
    record(store, &far, 2).await;
    record(store, &[progress("j", ".30000", 50.0)], 3).await;
    record(store, &[complete("j", ".2*")], 4).await;
    let job = read(store, "j").await;
    assert_eq!((job.subtasks.total, job.subtasks.completed, job.percentage.rounded()), (Some(2), 1, 50.0));
    record(store, &[complete("j", ".1")], 5).await;
    assert_eq!(status(store, "j").await, JobStatus::Completed);
}

/// A job reports its own progress.
pub async fn the_jobs_own_progress_counts(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[progress("j", "", 40.0)], 2).await;
    assert_eq!(shown(store, "j").await, 40.0);
    record(store, &[progress("j", "", 30.0)], 3).await;
    assert_eq!(shown(store, "j").await, 40.0, "progress does not go backwards");
}
