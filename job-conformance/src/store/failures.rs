//! Failures: all of them, in order of arrival.

use job_core::progress::ReportEvent;
use job_core::store::JobStore;
use job_core::{FAILURE_MESSAGE_BYTES_MAX, FAILURES_SHOWN_MAX, Failure, JobStatus, TaskPath};

use super::fixture::{
    complete, create, create_plain, failed, failure, finish, job, job_after, key, path, read, record, report,
};

async fn all(store: &dyn JobStore, id: &str) -> Vec<(u64, TaskPath, Failure)> {
    let all = store.failures(&key(id), 0, 10_000).await.unwrap();
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0), "places ascend");
    all
}

async fn messages(store: &dyn JobStore, id: &str) -> Vec<String> {
    let messages: Vec<_> = all(store, id).await.into_iter().map(|(_, _, failure)| failure.message).collect();
    let job = read(store, id).await;
    let shown: Vec<_> = job.failures.iter().map(|failure| failure.message.clone()).collect();
    assert_eq!(shown, messages[..messages.len().min(FAILURES_SHOWN_MAX)]);
    assert_eq!(job.failure_count, messages.len() as u64);
    messages
}

/// Each with its task, in the order they arrived.
pub async fn failures_come_in_order_of_arrival(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[failed("j", ".9", "first"), failed("j", ".1.2", "second")], 2).await;
    record(store, &[failed("j", "", "third"), failed("j", ".9", "fourth")], 3).await;
    assert_eq!(messages(store, "j").await, ["first", "second", "third", "fourth"]);
    let tasks: Vec<_> = all(store, "j").await.into_iter().map(|(_, task, _)| task).collect();
    assert_eq!(tasks, [path(".9"), path(".1.2"), path(""), path(".9")]);
    assert_eq!(all(store, "j").await[0].2, failure("first"));
}

/// A job shows the first hundred and tells how many there are.
pub async fn a_job_shows_the_first_hundred(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let reports: Vec<_> = (1..=130).map(|n| failed("j", &format!(".{n}"), &format!("f{n}"))).collect();
    record(store, &reports, 2).await;
    let job = read(store, "j").await;
    assert_eq!((job.failures.len(), job.failure_count), (FAILURES_SHOWN_MAX, 130));
    assert_eq!((job.failures[0].message.as_str(), job.failures[99].message.as_str()), ("f1", "f100"));
    assert_eq!(messages(store, "j").await.len(), 130);
}

/// Failures are read in pages behind a place.
pub async fn failures_are_read_in_pages(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let reports: Vec<_> = (1..=7).map(|n| failed("j", &format!(".{n}"), &format!("f{n}"))).collect();
    record(store, &reports, 2).await;
    let (mut after, mut walked) = (0, Vec::new());
    loop {
        let page = store.failures(&key("j"), after, 3).await.unwrap();
        let Some((place, ..)) = page.last() else { break };
        after = *place;
        assert!(page.len() <= 3);
        walked.extend(page.into_iter().map(|(_, _, failure)| failure.message));
    }
    assert_eq!(walked, ["f1", "f2", "f3", "f4", "f5", "f6", "f7"]);
}

/// A job that is not there has no failures.
pub async fn an_unknown_job_has_no_failures(store: &dyn JobStore) {
    assert_eq!(store.failures(&key("j"), 0, 10).await.unwrap(), []);
    create_plain(store, &["j"], 1).await;
    assert_eq!(store.failures(&key("j"), 0, 10).await.unwrap(), []);
}

/// A failure is over when its task completes, and those below it with it.
pub async fn a_completed_task_has_no_failures(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let reports = [
        failed("j", ".1", "of 1"),
        failed("j", ".1.1", "of 1.1"),
        failed("j", ".10", "of 10"),
        failed("j", ".1.2.3", "of 1.2.3"),
        failed("j", "", "of the job"),
    ];
    record(store, &reports, 2).await;
    record(store, &[complete("j", ".1.1")], 3).await;
    assert_eq!(messages(store, "j").await, ["of 1", "of 10", "of 1.2.3", "of the job"]);
    record(store, &[complete("j", ".1")], 4).await;
    assert_eq!(messages(store, "j").await, ["of 10", "of the job"]);
    assert_eq!(read(store, "j").await.status, JobStatus::Failed);
}

/// Places are not given out twice, so that a page never skips a new failure.
pub async fn a_later_failure_has_a_later_place(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[failed("j", ".1", "a"), failed("j", ".2", "b")], 2).await;
    let before = all(store, "j").await.last().unwrap().0;
    record(store, &[complete("j", ".2")], 3).await;
    record(store, &[failed("j", ".3", "c")], 4).await;
    let page = store.failures(&key("j"), before, 10).await.unwrap();
    assert_eq!(page.iter().map(|(_, _, failure)| failure.message.as_str()).collect::<Vec<_>>(), ["c"]);
}

/// Progress does not clear failures.
pub async fn failures_outlast_progress(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[failed("j", ".1", "boom")], 2).await;
    record(store, &[super::fixture::progress("j", ".1", 50.0), complete("j", ".2")], 3).await;
    assert_eq!(messages(store, "j").await, ["boom"]);
}

/// A failure that is over within its batch was none; the job has failed all the same.
pub async fn a_failure_that_is_over_at_once_is_not_kept(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[failed("j", ".1", "boom"), complete("j", ".1")], 2).await;
    assert_eq!(messages(store, "j").await, Vec::<String>::new());
    assert_eq!(read(store, "j").await.status, JobStatus::Failed);
}

/// The same failure again is the same failure.
pub async fn a_repeated_failure_counts_once(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[failed("j", ".1", "boom"), failed("j", ".1", "boom"), failed("j", ".2", "boom")], 2)
        .await;
    record(store, &[failed("j", ".1", "boom"), failed("j", ".1", "other")], 3).await;
    assert_eq!(messages(store, "j").await, ["boom", "boom", "other"]);
}

/// Once a job is complete, whatever failed on the way is over.
pub async fn a_completed_job_has_no_failures(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[failed("j", ".1", "a"), failed("j", ".2.3", "b"), failed("j", "", "c")], 2).await;
    finish(store, "j", 3).await;
    assert_eq!(messages(store, "j").await, Vec::<String>::new());
}

/// Texts are kept as they are, cut where they are too long.
pub async fn a_failure_keeps_its_text(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let odd =
        Failure { source: "w \"1\" 'x'\\".into(), message: "line\r\nline\tü 𝔞".into(), ..failure("") };
    let long = failure(&"é\0".repeat(FAILURE_MESSAGE_BYTES_MAX));
    let events = [odd.clone(), long.clone()].map(|failure| report("j", ".1", ReportEvent::Failed(failure)));
    record(store, &events, 2).await;
    assert_eq!(read(store, "j").await.failures, [odd, long.bounded()]);
}

/// A prerequisite's failure is the job's own, at its own path.
pub async fn a_prerequisites_failure_is_listed_at_the_jobs_own_path(store: &dyn JobStore) {
    create(store, [job("a"), job_after("j", &["a"])], 1).await;
    record(store, &[failed("a", ".3.4", "boom")], 2).await;
    let listed = all(store, "j").await;
    let [(_, task, found)] = &listed[..] else { panic!("one failure, not {listed:?}") };
    assert_eq!((task, found), (&path(""), &failure("boom").caused_by(&key("a"))));
    assert_eq!(found.source, "p:a:Worker/1");
    assert_eq!(messages(store, "j").await, ["boom"]);
}
