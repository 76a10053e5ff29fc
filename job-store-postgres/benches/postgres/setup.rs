//! A server, fresh databases, jobs to work on, and rows of a table to print.

use std::sync::Arc;

use bytes::Bytes;
pub(crate) use job_benches::{Series, number, timed};
use job_core::progress::ReportEvent;
use job_core::store::{CreateOutcome, JobStore, TaskReport};
use job_core::{AcceptedJob, Fingerprint, JobKey, NewJob, SystemClock, TaskSpec, Timestamp};
use job_store_postgres::{PostgresOptions, PostgresStore};
use sqlx::PgPool;
use testkit::{PostgresServer, TestDatabase};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Quick,
    Full,
}

pub(crate) struct Bench {
    url: String,
    _server: Option<PostgresServer>,
    scale: Scale,
    repeats: usize,
    only: Option<String>,
}

/// A store on an empty database, and the database beside it.
pub(crate) struct Fresh {
    pub(crate) store: Arc<PostgresStore>,
    pub(crate) pool: PgPool,
    pub(crate) url: String,
    _database: TestDatabase,
}

impl Bench {
    pub(crate) fn start(scale: Scale, repeats: usize, only: Option<String>) -> Self {
        let (url, server) = match std::env::var("DATABASE_URL") {
            Ok(url) => (url, None),
            Err(_) => {
                let options = testkit::PostgresOptions::durable()
                    .with_setting("shared_buffers", "1GB")
                    .with_setting("max_wal_size", "4GB");
                let server = PostgresServer::start_with(&options).expect("a private server");
                (server.url("postgres"), Some(server))
            }
        };
        println!("| work | measured | beside | ratio |\n| --- | --- | --- | --- |");
        Self { url, _server: server, scale, repeats, only }
    }

    /// Smaller when it has to be quick.
    pub(crate) fn size(&self, full: usize, quick: usize) -> usize {
        if self.scale == Scale::Full { full } else { quick }
    }

    /// Whether a measurement is asked for.
    pub(crate) fn wants(&self, what: &str) -> bool {
        self.only.as_ref().is_none_or(|only| what.contains(only.as_str()))
    }

    pub(crate) fn repeats(&self) -> usize {
        self.size(self.repeats, 1)
    }

    pub(crate) async fn fresh(&self) -> Fresh {
        let database = TestDatabase::create_on(&self.url, "bench_empty", async |_: &str| anyhow::Ok(()))
            .await
            .expect("a database");
        let store = connect(database.url(), 10).await;
        store.migrate().await.expect("the migration");
        let pool = PgPool::connect(database.url()).await.expect("a pool");
        Fresh { store, pool, url: database.url().to_owned(), _database: database }
    }
}

pub(crate) async fn connect(url: &str, connections: u32) -> Arc<PostgresStore> {
    let options = PostgresOptions::new(url).expect("a valid URL").with_pool_size(connections);
    Arc::new(
        PostgresStore::connect(options, Arc::new(SystemClock::new())).await.expect("the server is there"),
    )
}

impl Fresh {
    pub(crate) async fn scalar(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("a number")
    }

    /// What a server that has run for a while has done by itself.
    pub(crate) async fn settle_down(&self) {
        for sql in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::query(sql).execute(&self.pool).await.expect("maintenance");
        }
    }
}

pub(crate) fn key(job: &str) -> JobKey {
    JobKey::parse("acme", job).expect("a valid id")
}

pub(crate) fn job(id: &str) -> NewJob {
    let task = TaskSpec {
        classifier: "DocumentWorker".into(),
        api_version: 1,
        data: Bytes::from_static(br#"{"scriptId":"split","batch":"abcdef","reference":"2f1c1f1e-5d34"}"#),
        queue: "document-worker-in".into(),
        target: Some("document-worker-out".into()),
    };
    NewJob::new(key(id), task)
}

pub(crate) fn accept(job: NewJob) -> AcceptedJob {
    AcceptedJob { fingerprint: Fingerprint::of_job(&job), task_id: Uuid::new_v4(), suspended: false, job }
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + millis)
}

pub(crate) async fn create(store: &dyn JobStore, jobs: Vec<NewJob>, now: Timestamp) {
    let outcomes = store.create(jobs.into_iter().map(accept).collect(), now).await.expect("create");
    assert!(outcomes.iter().all(|outcome| *outcome == CreateOutcome::Created));
}

pub(crate) fn complete(job: &JobKey, task: &str) -> TaskReport {
    TaskReport { job: job.clone(), task: task.parse().expect("a valid task"), event: ReportEvent::Complete }
}

/// The same order in every run.
pub(crate) fn shuffle<T>(items: &mut [T]) {
    let mut random = job_conformance::store::seeded::Seeded::new(7);
    for at in (1..items.len()).rev() {
        items.swap(at, random.below(at as u64 + 1) as usize);
    }
}

/// Fills a database with finished and unfinished jobs, in large batches.
pub(crate) async fn fill(store: &dyn JobStore, count: usize, label: bool) {
    let numbers: Vec<usize> = (0..count).collect();
    for batch in numbers.chunks(1_000) {
        let jobs = batch.iter().map(|n| {
            let new = job(&format!("filler-{:07}-{n}", n.wrapping_mul(2_654_435_761) % 10_000_000));
            if label {
                new.with_name(format!("Job {n}"))
                    .with_label("tenant", format!("t{}", n % 100))
                    .with_label("batch", format!("b{}", n / 1_000))
            } else {
                new
            }
        });
        create(store, jobs.collect(), at(batch[0] as i64)).await;
    }
}

pub(crate) fn row(work: &str, measured: &str, beside: &str, ratio: Option<f64>) {
    let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    println!("| {work} | {measured} | {beside} | {ratio} |");
}
