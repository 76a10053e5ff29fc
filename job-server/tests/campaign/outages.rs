//! The database goes away, alone or together with the broker, and comes back.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use hyper::Method;
use job_conformance::store::invariants::check_invariants;
use job_conformance::store::seeded::Seeded;
use job_core::{Clock as _, SystemClock};
use testkit::{PostgresOptions, PostgresServer, RabbitServer};

use crate::broker::keep_queues;
use crate::clients::Mix;
use crate::http::{Reply, call};
use crate::process::Process;
use crate::recovery::{Durations, beside, until};
use crate::rig::{PATIENCE, Rig};
use crate::{how_many, seed, verdict};

/// How long a client may have to wait for the news that the database is away.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const JOBS: &str = "/job-service/v1/partitions/probes/jobs";
const BODY: &str =
    r#"{"task":{"taskClassifier":"W","taskApiVersion":1,"taskData":"data","taskPipe":"nobody-in"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_crashes_of_the_database_under_load_lose_nothing() {
    let seed = seed();
    let crashes = how_many(20, 100);
    let mut random = Seeded::new(seed);
    let postgres = Arc::new(PostgresServer::start_with(&PostgresOptions::durable()).unwrap());
    let mut rig = Rig::new(&postgres, testkit::rabbit().unwrap()).await;
    let _server = rig.start().await;
    rig.load(4, Duration::from_millis(60), Mix::Everything, seed);
    let (mut accepted, mut dispatched) = (Durations::default(), Durations::default());
    for _ in 0..crashes {
        rig.accepted_more(1 + random.below(25) as usize).await;
        let database = Arc::clone(&postgres);
        beside(move || database.stop_immediate().and_then(|()| database.restart())).await.unwrap();
        let recovery = rig.recovered(SystemClock::new().now()).await;
        accepted.add(recovery.accepted);
        dispatched.add(recovery.dispatched);
    }
    verdict::settle(rig, &format!("{crashes} crashes of PostgreSQL")).await;
    eprintln!(
        "from its return to a job that is accepted: {accepted}; to one that a worker has: {dispatched}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_killed_within_seconds_of_each_other_lose_nothing() {
    let seed = seed();
    let rounds = how_many(2, 20);
    let mut random = Seeded::new(seed);
    let postgres = Arc::new(PostgresServer::start_with(&PostgresOptions::durable()).unwrap());
    let broker = Arc::new(RabbitServer::start().unwrap());
    let mut rig = Rig::new(&postgres, &broker.url()).await;
    keep_queues(&broker).await;
    let _server = rig.start().await;
    rig.load(4, Duration::from_millis(100), Mix::Everything, seed);
    let (mut accepted, mut dispatched) = (Durations::default(), Durations::default());
    for _ in 0..rounds {
        rig.accepted_more(1 + random.below(25) as usize).await;
        let kill_postgres = || {
            let postgres = Arc::clone(&postgres);
            beside(move || postgres.stop_immediate())
        };
        let kill_broker = || {
            let broker = Arc::clone(&broker);
            beside(move || broker.kill())
        };
        let pause = Duration::from_millis(random.below(2_000));
        if random.percent(50) {
            kill_postgres().await.unwrap();
            SystemClock::new().sleep(pause).await;
            kill_broker().await.unwrap();
        } else {
            kill_broker().await.unwrap();
            SystemClock::new().sleep(pause).await;
            kill_postgres().await.unwrap();
        }
        // Who is back first is up to them: RabbitMQ takes seconds.
        let (database, queues) = (Arc::clone(&postgres), Arc::clone(&broker));
        let back = join(beside(move || database.restart()), beside(move || queues.restart())).await;
        back.0.and(back.1).unwrap();
        let recovery = rig.recovered(SystemClock::new().now()).await;
        accepted.add(recovery.accepted);
        dispatched.add(recovery.dispatched);
    }
    verdict::settle(rig, &format!("{rounds} kills of PostgreSQL and RabbitMQ")).await;
    eprintln!(
        "from their return to a job that is accepted: {accepted}; to one that a worker has: {dispatched}"
    );
}

async fn ask(server: &Process, method: Method, path: &str, body: &str) -> Reply {
    let clock = SystemClock::new();
    let begin = clock.now();
    let reply = call(server.address(), method, path, body.to_owned()).await;
    let took = clock.now().since(begin);
    let reply = reply.unwrap_or_else(|| panic!("{path} was not answered: {:#?}", server.last_lines()));
    assert!(took < ANSWER_LIMIT, "{path} was answered after {took:?}: {reply:?}");
    reply
}

fn assert_unavailable(what: &str, reply: &Reply) {
    assert_eq!((reply.status, reply.has_retry_after), (503, true), "{what}: {reply:?}");
    assert!(reply.body.contains("\"message\""), "{what}: {reply:?}");
}

/// Everything that a client may ask for at once.
async fn assert_everything_unavailable(what: &str, server: &Process) {
    let requests = [
        (Method::PUT, format!("{JOBS}/later"), BODY),
        (Method::GET, format!("{JOBS}/before"), ""),
        (Method::GET, format!("{JOBS}/before/status"), ""),
        (Method::GET, JOBS.to_owned(), ""),
        (Method::POST, format!("{JOBS}/before/pause"), ""),
        (Method::POST, format!("{JOBS}/before/cancel"), ""),
        (Method::DELETE, format!("{JOBS}/before"), ""),
        (Method::POST, format!("{JOBS}:cancel"), ""),
    ];
    let replies = join_all(requests.map(async |(method, path, body)| {
        let asked = format!("{what}: {method} {path}");
        assert_unavailable(&asked, &ask(server, method, &path, body).await);
    }));
    replies.await;
    let health = call(server.admin(), Method::GET, "/healthcheck", String::new()).await.unwrap();
    let health: serde_json::Value = serde_json::from_str(&health.body).unwrap();
    let problem = health["database"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(problem.contains("cannot be reached") || problem.contains("no answer"), "{what}: {health}");
    let ready = ask(server, Method::GET, "/health-check", "").await;
    assert_eq!(ready.status, 503, "{what}: {ready:?}");
    // The process itself is well, and must not be restarted for it.
    assert_eq!(ask(server, Method::GET, "/health-check?type=ALIVE", "").await.status, 200, "{what}");
    assert_eq!(ask(server, Method::GET, "/job-service/v1/ping", "").await.status, 200, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_every_request_is_answered_503_in_time_and_all_is_well_after() {
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let rig = Rig::new(&postgres, testkit::rabbit().unwrap()).await;
    let server = rig.start().await;
    rig.recovered(SystemClock::new().now()).await;
    assert_eq!(ask(&server, Method::GET, &format!("{JOBS}/probe-0"), "").await.status, 200);

    let database = Arc::clone(&postgres);
    beside(move || database.stop_immediate()).await.unwrap();
    assert_everything_unavailable("stopped", &server).await;
    let database = Arc::clone(&postgres);
    beside(move || database.restart()).await.unwrap();
    rig.recovered(SystemClock::new().now()).await;

    // It is there, takes connections, and does not answer.
    let database = Arc::clone(&postgres);
    beside(move || database.pause()).await.unwrap();
    assert_everything_unavailable("frozen", &server).await;
    let database = Arc::clone(&postgres);
    beside(move || database.unpause()).await.unwrap();
    rig.recovered(SystemClock::new().now()).await;
    // A result of the checks is kept for a second.
    let ready = until(PATIENCE, async || {
        (ask(&server, Method::GET, "/health-check", "").await.status == 200).then_some(())
    });
    ready.await.expect("it is well again");
    // Whoever was told 503 may look whether it happened: wholly or not at all.
    let later = ask(&server, Method::GET, &format!("{JOBS}/later"), "").await;
    assert!(matches!(later.status, 200 | 404), "{later:?}");
    // The last probe may still be on its way, and then things move between two looks.
    let agrees = until(PATIENCE, async || check_invariants(&rig.store, &rig.partitions).await.ok());
    agrees.await.expect("the invariants hold");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_read_from_and_written_to_later() {
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let rig = Rig::new(&postgres, testkit::rabbit().unwrap()).await;
    let server = rig.start().await;
    rig.recovered(SystemClock::new().now()).await;
    let turn = async |read_only: &str| {
        // The sessions that are open keep what they began with.
        let name = rig.database_name();
        let set = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {read_only}");
        let end =
            format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'");
        let database = Arc::clone(&postgres);
        beside(move || database.sql("postgres", &set).and_then(|_| database.sql("postgres", &end)))
            .await
            .unwrap();
    };
    turn("on").await;
    let refused = ask(&server, Method::PUT, &format!("{JOBS}/later"), BODY).await;
    assert_unavailable("create", &refused);
    assert!(refused.body.contains("read-only"), "{refused:?}");
    assert_unavailable("cancel", &ask(&server, Method::POST, &format!("{JOBS}/probe-0/cancel"), "").await);
    assert_unavailable("delete", &ask(&server, Method::DELETE, &format!("{JOBS}/probe-0"), "").await);
    for path in [format!("{JOBS}/probe-0"), format!("{JOBS}/probe-0/status"), JOBS.to_owned()] {
        assert_eq!(ask(&server, Method::GET, &path, "").await.status, 200, "{path}");
    }
    turn("off").await;
    rig.recovered(SystemClock::new().now()).await;
    let absent = ask(&server, Method::GET, &format!("{JOBS}/later"), "").await;
    assert_eq!(absent.status, 404, "what was refused did not happen: {absent:?}");
    verdict::settle(rig, "a read-only database").await;
}
