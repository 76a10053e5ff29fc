//! Spoiling a store behind its back: each kind of drift is named, left alone by a mere check, and gone after a repair.

mod database;

use job_conformance::store::fixture::{
    at, complete, create, dispatch, failed, ids, job, job_after, key, message, partition, read, record,
    sorted_by, status,
};
use job_core::query::{JobQuery, Selection};
use job_core::recording::RecordOutcome;
use job_core::store::{Action, ActionOutcome, Drift, JobStore, PruneRequest, StowOutcome, VerifyRequest};
use job_core::{ErrorKind, JobStatus};
use job_store_postgres::PostgresStore;

async fn verify(store: &PostgresStore, repair: bool) -> Vec<Drift> {
    let partition = "p".parse().expect("a valid partition");
    store.verify(&VerifyRequest { partition, job: None, repair }).await.expect("verify")
}

/// A partition with a bit of everything.
async fn populate(store: &PostgresStore) {
    create(
        store,
        [
            job("running").with_label("k", "v"),
            job("failing"),
            job("done"),
            job("waiting").with_name("n").with_label("k", "w"),
            job_after("dependent", &["waiting"]),
            job("large"),
        ],
        1,
    )
    .await;
    dispatch(store, 1).await;
    create(store, [job("fresh")], 1).await;
    record(
        store,
        &[complete("running", ".1"), complete("running", ".2.7"), failed("failing", ".3", "boom")],
        2,
    )
    .await;
    record(store, &[complete("done", ""), complete("large", ".9000"), complete("large", ".1.1")], 2).await;
}

async fn spoiled(sql: &'static str, expected: &[&str], repairable: bool) {
    let database = database::fresh().await;
    let store = database::connect(database.url()).await;
    populate(&store).await;
    assert_eq!(verify(&store, false).await, []);
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let spoiled = sqlx::query(sql).execute(&pool).await.expect("the statement that spoils");
    assert!(spoiled.rows_affected() > 0, "{sql}");
    let found = verify(&store, false).await;
    let mut names: Vec<&str> = found.iter().map(|drift| drift.what.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, expected, "{sql}: {found:#?}");
    assert_eq!(verify(&store, true).await, found, "{sql}");
    let left = verify(&store, false).await;
    assert_eq!(left.is_empty(), repairable, "{sql}: {left:#?}");
    pool.close().await;
}

#[tokio::test]
async fn what_a_job_shows_is_recounted() {
    spoiled(
        "UPDATE job SET percentage = 1 WHERE job_id = 'running'",
        &["percentage", "percentage group", "shown percentage"],
        true,
    )
    .await;
    spoiled(
        "UPDATE job SET percentage = 400000, hundredths = 1, percentage_group = 1 WHERE job_id = 'fresh'",
        &["percentage"],
        true,
    )
    .await;
    spoiled("UPDATE job SET subtasks_completed = 77 WHERE job_id = 'running'", &["subtasks"], true).await;
    spoiled("UPDATE job SET hundredths = 5 WHERE job_id = 'running'", &["shown percentage"], true).await;
    spoiled("UPDATE job SET percentage_group = 5 WHERE job_id = 'running'", &["percentage group"], true)
        .await;
    spoiled("UPDATE job SET update_group = 5 WHERE job_id = 'running'", &["update group"], true).await;
    spoiled("UPDATE job SET failure_count = 5 WHERE job_id = 'failing'", &["failure count"], true).await;
}

#[tokio::test]
async fn progress_that_is_kept_or_unknown_is_found() {
    spoiled("UPDATE job SET progress = '\\x01' WHERE job_id = 'done'", &["progress"], true).await;
    spoiled("UPDATE job SET has_progress_rows = false WHERE job_id = 'large'", &["rows of progress"], true)
        .await;
    spoiled("UPDATE job SET progress = '\\x07' WHERE job_id = 'running'", &["progress"], false).await;
    spoiled("UPDATE job_progress SET data = '\\xff' WHERE kind = 0", &["progress"], false).await;
}

#[tokio::test]
async fn prerequisites_and_entries_agree() {
    spoiled("DELETE FROM job_dependency", &["due", "unmet prerequisites"], true).await;
    spoiled("UPDATE outbox SET unmet = 4 WHERE job_id = 'dependent'", &["unmet prerequisites"], true).await;
    spoiled("UPDATE outbox SET due_at = 1 WHERE job_id = 'dependent'", &["due"], true).await;
    spoiled("UPDATE outbox SET held = true WHERE job_id = 'fresh'", &["held"], true).await;
    spoiled("DELETE FROM outbox WHERE job_id = 'fresh'", &["first message"], true).await;
    spoiled("DELETE FROM outbox WHERE job_id = 'dependent'", &["first message"], true).await;
    spoiled(
        "UPDATE job SET status = 1, finish_time = 1 WHERE job_id = 'dependent'",
        &["count", "outbox entries", "prerequisites"],
        true,
    )
    .await;
}

#[tokio::test]
async fn labels_and_counts_are_recounted() {
    spoiled("DELETE FROM job_label WHERE job_id = 'waiting'", &["labels"], true).await;
    spoiled("UPDATE job_label SET value_key = 'x' WHERE job_id = 'waiting'", &["labels"], true).await;
    spoiled("UPDATE job_count SET jobs = jobs + 3 WHERE status = 2", &["count"], true).await;
}

#[tokio::test]
async fn what_belongs_to_no_job_is_found() {
    spoiled("INSERT INTO job_failure VALUES ('p', 999, 1, '', 'i', 1, 's', 'm')", &["failure"], true).await;
    spoiled("INSERT INTO job_progress VALUES ('p', 999, '', 0, 1, '')", &["progress"], true).await;
    spoiled("INSERT INTO job_dependency VALUES ('p', 'a', 'b', 999)", &["prerequisite"], true).await;
    spoiled("INSERT INTO job_label VALUES ('p', 'k', 'v', NULL, 'j', 1, 999)", &["label"], true).await;
    spoiled(
        "INSERT INTO outbox SELECT 999, partition_id, 999, job_id, due_at, parked_until, delay_millis, unmet, attempts,
             held, suspended, stowed, retry_at, reason, queue, headers, body FROM outbox WHERE job_id = 'fresh'",
        &["outbox entry"],
        true,
    )
    .await;
}

#[tokio::test]
async fn a_job_that_should_be_complete_is_completed_and_releases() {
    let database = database::fresh().await;
    let store = database::connect(database.url()).await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    create(&store, [job("stuck"), job_after("waits", &["stuck"])], 1).await;
    dispatch(&store, 1).await;
    record(&store, &[complete("stuck", ".1"), complete("stuck", ".2")], 2).await;
    // One bit and two counts, as if the report of the last subtask had been half recorded.
    let bytes: Vec<u8> = {
        let mut tree = job_core::progress::Tree::default();
        let mut effects = job_core::progress::Effects::default();
        for task in [".1", ".2", ".3*"] {
            let task = task.parse().expect("a valid task");
            tree.record(&task, &job_core::progress::ReportEvent::Complete, &mut effects);
        }
        let (_, bytes) = tree.drain().records.into_iter().next().expect("the job's own record");
        bytes
    };
    sqlx::query("UPDATE job SET progress = $1 WHERE job_id = 'stuck'")
        .bind(bytes)
        .execute(&pool)
        .await
        .expect("spoil");
    let names: Vec<String> = verify(&store, true).await.into_iter().map(|drift| drift.what).collect();
    assert!(names.contains(&"status".to_owned()), "{names:?}");
    assert_eq!(verify(&store, false).await, []);
    assert_eq!(status(&store, "stuck").await, JobStatus::Completed);
    assert_eq!(dispatch(&store, 3).await, ["waits"]);
    pool.close().await;
}

/// Three jobs on their way, of which the middle one is spoiled.
async fn with_damage(sql: &'static str) -> (testkit::TestDatabase, PostgresStore) {
    let database = database::fresh().await;
    let store = database::connect(database.url()).await;
    create(&store, [job("a"), job("damaged").with_label("k", "v"), job("z")], 1).await;
    dispatch(&store, 1).await;
    record(&store, &[complete("a", ".1"), complete("damaged", ".1"), complete("z", ".1")], 2).await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let spoiled = sqlx::query(sql).execute(&pool).await.expect("spoil");
    assert_eq!(spoiled.rows_affected(), 1, "{sql}");
    pool.close().await;
    (database, store)
}

/// Reports about the neighbours are recorded, and those about the job itself answered with what is wrong with it.
async fn reports_are_set_aside(sql: &'static str, reason: &str) {
    let (_database, store) = with_damage(sql).await;
    let reports = [
        complete("damaged", ".2*"),
        complete("a", ".2*"),
        failed("z", ".2*", "boom"),
        complete("damaged", ".3"),
        complete("missing", ".1"),
    ];
    let recorded = record(&store, &reports, 3).await;
    use RecordOutcome::{Counted, DamagedJob, UnknownJob};
    assert_eq!(recorded.outcomes, [DamagedJob, Counted, Counted, DamagedJob, UnknownJob]);
    assert_eq!(recorded.damaged, [(key("damaged"), reason.to_owned())]);
    assert_eq!(status(&store, "a").await, JobStatus::Completed);
    assert_eq!(status(&store, "z").await, JobStatus::Failed);
}

const UNREADABLE_PROGRESS: &str = "UPDATE job SET progress = '\\x63' WHERE job_id = 'damaged'";
const UNKNOWN_STATUS: &str = "UPDATE job SET status = 77 WHERE job_id = 'damaged'";
const UNREADABLE_LABELS: &str = "UPDATE job_detail SET labels = '[1]' WHERE job_id = 'damaged'";

#[tokio::test]
async fn reports_about_a_damaged_job_are_set_aside_and_its_neighbours_go_on() {
    reports_are_set_aside(
        UNREADABLE_PROGRESS,
        "stored progress is damaged: it was written by an unknown version",
    )
    .await;
    reports_are_set_aside(UNKNOWN_STATUS, "the stored status 77 is unknown").await;
}

/// Every kind of place at which a page may go on.
const ORDERS: [&str; 9] = [
    "jobId:asc",
    "jobId:desc",
    "name:asc",
    "createTime:desc",
    "lastUpdateTime:asc",
    "status:desc",
    "percentageComplete:desc",
    "labels.k:asc",
    "labels.k:desc",
];

#[tokio::test]
async fn a_damaged_job_is_left_out_of_pages_of_any_size() {
    for sql in [UNKNOWN_STATUS, UNREADABLE_LABELS] {
        let (_database, store) = with_damage(sql).await;
        let error = store.get(&[key("damaged")]).await.expect_err("it cannot be read");
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Corrupt, false), "{error:?}");
        read(&store, "a").await;
        for (limit, sort) in (1..4).flat_map(|limit| ORDERS.map(|sort| (limit, sort))) {
            let mut query = JobQuery { limit, ..sorted_by(sort) };
            let mut seen = Vec::new();
            loop {
                let page = store.list(&query).await.expect("a page");
                seen.extend(ids(&page.jobs));
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
            let expected = if sort == "jobId:desc" { ["z", "a"] } else { ["a", "z"] };
            assert_eq!(seen, expected, "{sql}, {sort}, {limit} a page");
        }
        store.count(&partition("p"), &Selection::default()).await.expect("counts");
        assert_eq!(store.overview(at(3)).await.expect("a look").due, 0);
    }
}

#[tokio::test]
async fn a_damaged_job_does_not_keep_others_from_being_acted_on() {
    let (_database, store) = with_damage(UNKNOWN_STATUS).await;
    assert_eq!(store.redispatch(None, 1, at(3)).await.expect("a step").redispatched, 1);
    let drifts = verify(&store, false).await;
    assert!(drifts.iter().any(|drift| drift.job == key("damaged") && drift.what == "job"), "{drifts:?}");
    let error = store.act(&key("damaged"), Action::Cancel, at(4)).await.expect_err("it cannot be read");
    assert!(error.message().contains("77"), "{error:?}");
    let all = Selection::default();
    let outcome = store.act_on_selected(&partition("p"), &all, Action::Cancel, None, 10, at(4)).await;
    assert_eq!(outcome.expect("a step").changed, 2);
}

/// What was wrong with the job is all that was: it leaves nothing behind, and the counts are as right as before.
#[tokio::test]
async fn a_damaged_job_can_be_deleted() {
    for sql in [UNKNOWN_STATUS, UNREADABLE_LABELS, UNREADABLE_PROGRESS] {
        let (database, store) = with_damage(sql).await;
        if sql == UNKNOWN_STATUS {
            // Counted as whoever wrote such a status would count it.
            let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
            // No writer uses this shard.
            let sql = "INSERT INTO job_count VALUES ('p', 77, 64, 1), ('p', $1, 64, -1)";
            let counted = sqlx::query(sql).bind(JobStatus::Active as i16).execute(&pool).await;
            counted.expect("counted");
            pool.close().await;
            assert_eq!(store.overview(at(3)).await.expect("a look").jobs.values().sum::<u64>(), 2);
        }
        let outcome = store.act(&key("damaged"), Action::Delete, at(4)).await.expect("it can be deleted");
        assert_eq!(outcome, ActionOutcome::Applied, "{sql}");
        assert_eq!(store.get(&[key("damaged")]).await.expect("get"), [None], "{sql}");
        assert_eq!(verify(&store, false).await, [], "{sql}");
        create(&store, [job("damaged")], 5).await;
    }
}

#[tokio::test]
async fn damaged_jobs_are_deleted_with_others() {
    let (_database, store) = with_damage(UNKNOWN_STATUS).await;
    let all = Selection::default();
    let outcome = store.act_on_selected(&partition("p"), &all, Action::Delete, None, 10, at(4)).await;
    assert_eq!(outcome.expect("a step").changed, 3);
    let (_database, store) = with_damage(UNREADABLE_LABELS).await;
    for id in ["a", "damaged", "z"] {
        store.act(&key(id), Action::Cancel, at(4)).await.expect("cancelled");
    }
    let request = PruneRequest {
        partition: None,
        statuses: vec![JobStatus::Cancelled],
        finished_before: at(5),
        label: None,
        limit: 10,
    };
    assert_eq!(store.prune(&request).await.expect("a step"), 3);
    assert_eq!(verify(&store, false).await, []);
}

#[tokio::test]
async fn messages_of_a_damaged_job_are_set_aside_and_its_neighbours_are_kept() {
    let (_database, store) = with_damage(UNKNOWN_STATUS).await;
    let messages = ["damaged", "a", "missing", "damaged"].map(|id| message(id, "m")).to_vec();
    let damaged = StowOutcome::Damaged("the stored status 77 is unknown".to_owned());
    assert_eq!(
        store.stow(messages, at(3)).await.expect("stow"),
        [damaged.clone(), StowOutcome::Stowed, StowOutcome::Dropped, damaged]
    );
    assert_eq!(dispatch(&store, 3).await, ["a"]);
}

#[tokio::test]
async fn a_damaged_message_is_set_aside_with_its_reason() {
    let database = database::fresh().await;
    let store = database::connect(database.url()).await;
    create(&store, [job("damaged"), job("healthy")], 1).await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let sql = "UPDATE job_detail SET classifier = NULL WHERE job_id = 'damaged'";
    sqlx::query(sql).execute(&pool).await.expect("spoil");
    pool.close().await;
    assert_eq!(dispatch(&store, 1).await, ["healthy"]);
    let problem = read(&store, "damaged").await.dispatch_problem.expect("it says why");
    assert_eq!((problem.attempts, problem.reason.as_str()), (1, "the stored classifier makes no sense"));
    assert_eq!(dispatch(&store, 2).await, Vec::<String>::new());
    assert_eq!(dispatch(&store, problem.retry_at.as_millis()).await, Vec::<String>::new());
}
