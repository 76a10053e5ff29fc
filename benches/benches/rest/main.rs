//! The speed of the REST API beside the least that the same machine can do: one process holds the server, the yardsticks
//! and 64 clients on keep-alive connections.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock, prints, and ends when something is wrong"
)]

mod bare;
mod clients;

use std::sync::Arc;
use std::time::{Duration, Instant};

use job_core::job_type::{JobType, Surroundings};
use job_core::store::JobStore;
use job_core::{AcceptedJob, Fingerprint, JobKey, NewJob, Shutdown, SystemClock, TaskSpec, Timestamp};
use job_queue_memory::MemoryQueue;
use job_server::{App, Config};
use job_store_memory::MemoryStore;
use job_store_postgres::PostgresStore;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use testkit::PostgresServer;

use clients::{Rate, drive};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const POOL: u32 = 10;

#[tokio::main]
async fn main() {
    let only = std::env::args().nth(1).filter(|argument| !argument.starts_with("--"));
    let wants = |what: &str| only.as_ref().is_none_or(|only| what.contains(only.as_str()));
    let jobs: usize = std::env::var("JOBS").ok().map_or(1_000_000, |jobs| jobs.parse().unwrap());
    if wants("jslt") {
        jslt();
    }
    if wants("memory") {
        memory_status().await;
        memory_creation().await;
    }
    let options = testkit::PostgresOptions::durable()
        .with_setting("shared_buffers", "1GB")
        .with_setting("max_wal_size", "4GB");
    let server = PostgresServer::start_with(&options).unwrap();
    let url = server.url("postgres");
    let options = job_store_postgres::PostgresOptions::new(&url).unwrap().with_pool_size(POOL);
    let store = Arc::new(PostgresStore::connect(options, Arc::new(SystemClock::new())).await.unwrap());
    store.migrate().await.unwrap();
    let pool = PgPoolOptions::new().max_connections(POOL).connect(&url).await.unwrap();
    if wants("postgres-status") {
        postgres_status(&store, &pool).await;
    }
    if wants("create") {
        creation(&store, &url).await;
    }
    if wants("list") {
        listing(&store, jobs).await;
    }
    server.stop().unwrap();
}

fn job(id: String, labels: &[(&str, String)]) -> AcceptedJob {
    let key = JobKey::parse("p", id).unwrap();
    let mut job = NewJob::new(key, TaskSpec::json("W", "w-in", &"data").unwrap()).with_name("A job");
    for (key, value) in labels {
        job = job.with_label(*key, value);
    }
    AcceptedJob {
        fingerprint: Fingerprint::of_job(&job),
        task_id: uuid::Uuid::new_v4(),
        suspended: false,
        job,
    }
}

/// The API alone on a store: nothing dispatches meanwhile.
async fn serve(store: Arc<dyn JobStore>) -> (std::net::SocketAddr, Shutdown) {
    let config = Config { roles: "api".parse().unwrap(), ..Config::default() };
    let app = App::build(config, store, Arc::new(MemoryQueue::new())).await.unwrap();
    let address = app.address().unwrap();
    let shutdown = Shutdown::new();
    Shutdown::new().spawn(app.run(shutdown.clone()));
    (address, shutdown)
}

/// Both in turn, round by round, so that what the machine does besides hits both.
async fn beside(what: &str, required: &str, ours: impl AsyncFn() -> Rate, yardstick: impl AsyncFn() -> Rate) {
    let (mut measured, mut least, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (a, b) = (ours().await, yardstick().await);
        ratios.push(a.per_second / b.per_second);
        measured.push(a);
        least.push(b);
    }
    for rates in [&mut measured, &mut least] {
        rates.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    }
    ratios.sort_by(f64::total_cmp);
    let (a, b) = (&measured[ROUNDS / 2], &least[ROUNDS / 2]);
    println!(
        "{what}: {:.0}/s (p50 {:.2?}, p99 {:.2?}) beside {:.0}/s; ratio {:.2} ({:.2} to {:.2}), required {required}",
        a.per_second,
        a.p50,
        a.p99,
        b.per_second,
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
}

const STATUS: &str = "/job-service/v1/partitions/p/jobs/j/status";

async fn memory_status() {
    let store = Arc::new(MemoryStore::new());
    store.create(vec![job("j".into(), &[])], Timestamp::from_millis(1)).await.unwrap();
    let (address, shutdown) = serve(store).await;
    let bare = bare::constant().await;
    let get = async |address| drive(address, ROUND, |_, _| clients::get(STATUS)).await;
    beside("status, memory store", "0.7", async || get(address).await, async || get(bare).await).await;
    shutdown.stop();
}

/// What a create costs without a database: HTTP, and the work of this process.
async fn memory_creation() {
    let (address, shutdown) = serve(Arc::new(MemoryStore::new())).await;
    let bare = bare::constant().await;
    let round = std::sync::atomic::AtomicUsize::new(0);
    let put = async |address| {
        let round = round.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        drive(address, ROUND, move |client, number| clients::put(&format!("r{round}-{client}-{number}")))
            .await
    };
    let what = "create, memory store, beside a constant";
    beside(what, "none", async || put(address).await, async || put(bare).await).await;
    shutdown.stop();
}

async fn postgres_status(store: &Arc<PostgresStore>, pool: &PgPool) {
    store.create(vec![job("j".into(), &[])], Timestamp::from_millis(1)).await.unwrap();
    sqlx::query("CREATE TABLE bare (id text PRIMARY KEY, status text NOT NULL)").execute(pool).await.unwrap();
    sqlx::query("INSERT INTO bare VALUES ('j', 'Waiting')").execute(pool).await.unwrap();
    let (address, shutdown) = serve(Arc::clone(store) as _).await;
    let bare = bare::select(pool.clone()).await;
    let get = async |address| drive(address, ROUND, |_, _| clients::get(STATUS)).await;
    beside("status, PostgreSQL", "0.6", async || get(address).await, async || get(bare).await).await;
    shutdown.stop();
}

async fn creation(store: &Arc<PostgresStore>, url: &str) {
    let pool =
        async |connections| PgPoolOptions::new().max_connections(connections).connect(url).await.unwrap();
    // As many connections as the store has, and one for each client.
    let (pool, wide) = (pool(POOL).await, pool(clients::CLIENTS as u32).await);
    sqlx::query("CREATE TABLE one_by_one (id text PRIMARY KEY, body text NOT NULL)")
        .execute(&pool)
        .await
        .unwrap();
    let (address, shutdown) = serve(Arc::clone(store) as _).await;
    let round = std::sync::atomic::AtomicUsize::new(0);
    let next = || round.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let ours = async || {
        let round = next();
        drive(address, ROUND, move |client, number| clients::put(&format!("r{round}-{client}-{number}")))
            .await
    };
    let insert = async |pool: &PgPool| {
        let round = next();
        let bare = bare::insert(pool.clone()).await;
        drive(bare, ROUND, move |client, number| clients::put(&format!("r{round}-{client}-{number}"))).await
    };
    let what = "create, PostgreSQL, 64 clients, beside a bare handler with one INSERT per commit";
    beside(&format!("{what}, {POOL} connections"), "3", ours, async || insert(&pool).await).await;
    beside(&format!("{what}, 64 connections"), "3", ours, async || insert(&wide).await).await;
    let single = async || {
        let round = next();
        let store = Arc::clone(store);
        clients::tasks(ROUND, move |client, number| {
            let store = Arc::clone(&store);
            async move {
                let job = job(format!("s{round}-{client}-{number}"), &[]);
                store.create(vec![job], Timestamp::from_millis(1)).await.unwrap();
            }
        })
        .await
    };
    beside("create, PostgreSQL, 64 clients, beside one job per commit in the same store", "3", ours, single)
        .await;
    shutdown.stop();
}

/// How many requests a second are sent, whatever the answers take.
const LISTS_PER_SECOND: u32 = 50;

async fn listing(store: &Arc<PostgresStore>, jobs: usize) {
    let started = Instant::now();
    for step in 0..jobs / 1_000 {
        let labels =
            |number: usize| [("team", format!("t{}", number % 50)), ("tag:1", format!("v{}", number % 7))];
        let step =
            (0..1_000).map(|at| step * 1_000 + at).map(|number| job(format!("l{number}"), &labels(number)));
        store
            .create(step.collect(), Timestamp::from_millis(started.elapsed().as_millis() as i64 + 10))
            .await
            .unwrap();
    }
    println!(
        "{jobs} jobs with labels, created 1,000 at a time: {:.0}/s",
        jobs as f64 / started.elapsed().as_secs_f64()
    );
    let (address, shutdown) = serve(Arc::clone(store) as _).await;
    let base = "/job-service/v1/partitions/p/jobs?limit=25";
    for (what, target) in [
        ("no filter", base.to_owned()),
        ("labels.team==t7", format!("{base}&filter=labels.team==t7")),
        ("labels.team==t7;status==Waiting", format!("{base}&filter=labels.team==t7;status==Waiting")),
        ("name==A*, by name", format!("{base}&filter=name==A*&sort=name:asc")),
    ] {
        let rate = clients::paced(address, LISTS_PER_SECOND, Duration::from_secs(8), &target).await;
        println!(
            "list of 25 of {jobs}, {what}: p50 {:.2?}, p99 {:.2?}, required p99 20ms",
            rate.p50, rate.p99
        );
    }
    shutdown.stop();
}

fn jslt() {
    let yaml = r#"
jobParametersSchema: {type: object, properties: {items: {type: array, items: {type: string}}}}
taskScript: |
  {"taskClassifier": "W", "taskApiVersion": 1, "taskPipe": "w-in",
   "taskData": {"job": .jobId, "first": .parameters.items[0], "size": size(.parameters.items), "items": .parameters.items}}
"#;
    let job_type = JobType::load("t", yaml, &|_| None).unwrap();
    let items: Vec<String> = (0..50).map(|number| format!("item number {number:05}")).collect();
    let parameters = serde_json::json!({ "items": items });
    assert!((1_000..1_300).contains(&parameters.to_string().len()));
    let key = JobKey::parse("p", "j").unwrap();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..20_000 {
                std::hint::black_box(job_type.task(&key, &parameters, &Surroundings::fixed()).unwrap());
            }
            begun.elapsed() / 20_000
        })
        .collect();
    times.sort();
    println!(
        "task of 1 KiB of parameters, schema and script: {:.2?} ({:.2?} to {:.2?}), required 20µs",
        times[ROUNDS / 2],
        times[0],
        times[ROUNDS - 1]
    );
}
