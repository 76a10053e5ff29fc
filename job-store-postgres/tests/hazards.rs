//! Futures dropped at any moment, connections cut at any moment, a database that restarts.

mod database;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use job_conformance::store::fixture::{
    accept, assert_sound, at, complete, create, job, job_after, key, read,
};
use job_core::store::{Action, ActionOutcome, ClaimRequest, CreateOutcome, JobStore, TaskReport};
use job_core::{JobStatus, SystemClock};
use job_store_postgres::{PostgresOptions, PostgresStore};
use testkit::PostgresServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// Drops a future after it has been polled `left` times, whatever it is doing then.
struct DroppedAfter<F> {
    future: Option<Pin<Box<F>>>,
    left: u32,
}

impl<F: Future> Future for DroppedAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.future.as_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        if self.left == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Pending
    }
}

/// Polls until the condition holds; the test runner's patience is the limit.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    for _ in 0..2_000 {
        if condition().await {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never came true: {what}");
}

#[tokio::test]
async fn a_future_dropped_anywhere_leaves_no_transaction_open_and_nothing_half_done() {
    let database = database::fresh().await;
    let store = database::connect(database.url()).await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let (mut finished, mut dropped) = (0, 0);
    for round in 0..12u32 {
        for polls in 0..8 {
            let name = format!("j{round}-{polls}");
            let after = format!("after-{name}");
            let created = vec![accept(job(&name)), accept(job_after(&after, &[&name]))];
            let reports: Vec<TaskReport> = vec![complete(&name, ".1"), complete(&name, ".9000*")];
            let claim = ClaimRequest {
                owner: Uuid::nil(),
                now: at(1),
                lease: Duration::from_secs(1),
                limit: 3,
                bytes_limit: usize::MAX,
            };
            let (create, record) = (store.create(created, at(1)), store.record(&reports, at(1)));
            let whole = async {
                create.await.expect("create");
                record.await.expect("record");
                store.claim(claim).await.expect("claim");
                store.act(&key(&after), Action::Pause, at(2)).await.expect("act");
            };
            let left = round + polls * 3;
            match (DroppedAfter { future: Some(Box::pin(whole)), left }).await {
                Some(()) => finished += 1,
                None => dropped += 1,
            }
        }
    }
    assert!(dropped > 30 && finished > 0, "{dropped} dropped, {finished} finished");
    until("no session is left in a transaction", || async {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'job-service' AND xact_start IS NOT NULL",
        )
        .fetch_one(&pool)
        .await
        .expect("a count");
        open == 0
    })
    .await;
    for n in 0..100 {
        create(&store, [job(&format!("later-{n}"))], 3).await;
    }
    assert_sound(&store).await;
}

/// Between the store and the server: cuts a connection when the client has said a word, before or after the server
/// has heard it.
struct Cutter {
    word: &'static [u8],
    forwards: bool,
    armed: AtomicBool,
    cuts: AtomicU32,
}

async fn serve(cutter: Arc<Cutter>, listener: TcpListener, server: String) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(upstream) = TcpStream::connect(&server).await else { continue };
        let cutter = Arc::clone(&cutter);
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = upstream.into_split();
        let mut answers = tokio::task::JoinSet::new();
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        answers.spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                if is_cut.load(Ordering::SeqCst) || to_client.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        });
        #[expect(clippy::disallowed_methods, reason = "the proxy of a test ends with its runtime")]
        tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                let said = buffer[..length].windows(cutter.word.len()).any(|window| window == cutter.word);
                if said && cutter.armed.swap(false, Ordering::SeqCst) {
                    cutter.cuts.fetch_add(1, Ordering::SeqCst);
                    cut.store(true, Ordering::SeqCst);
                    if cutter.forwards {
                        let _ = to_server.write_all(&buffer[..length]).await;
                        // The server has acted once it has answered.
                        answers.join_next().await;
                    }
                    return;
                }
                if to_server.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn behind(url: &str, word: &'static [u8], forwards: bool) -> (PostgresStore, Arc<Cutter>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (login, place) = url.split_once('@').expect("a login");
    let (server, name) = place.split_once('/').expect("a database");
    let cutter = Arc::new(Cutter { word, forwards, armed: AtomicBool::new(false), cuts: AtomicU32::new(0) });
    #[expect(clippy::disallowed_methods, reason = "the proxy of a test ends with its runtime")]
    tokio::spawn(serve(Arc::clone(&cutter), listener, server.to_owned()));
    let store = database::connect(&format!("{login}@127.0.0.1:{port}/{name}")).await;
    (store, cutter)
}

#[tokio::test]
async fn a_connection_lost_during_commit_is_survived_whether_it_was_heard_or_not() {
    for forwards in [false, true] {
        let database = database::fresh().await;
        let (store, cutter) = behind(database.url(), b"COMMIT", forwards).await;
        for round in 0..10 {
            let (name, next) = (format!("j{round}"), format!("next{round}"));
            let new = vec![accept(job(&name)), accept(job_after(&next, &[&name]))];
            cutter.armed.store(true, Ordering::SeqCst);
            store.create(new, at(1)).await.expect("create");
            cutter.armed.store(true, Ordering::SeqCst);
            store.record(&[complete(&name, ".1"), complete(&name, ".2*")], at(2)).await.expect("record");
            assert_eq!(read(&store, &name).await.status, JobStatus::Completed);
            assert!(read(&store, &next).await.blocked_by.is_empty());
            cutter.armed.store(true, Ordering::SeqCst);
            store.act(&key(&next), Action::Cancel, at(3)).await.expect("act");
            assert_eq!(read(&store, &next).await.status, JobStatus::Cancelled);
            cutter.armed.store(true, Ordering::SeqCst);
            // Run again it finds nothing, and it was there all the same.
            let deleted = store.act(&key(&next), Action::Delete, at(4)).await.expect("act");
            assert_eq!(deleted, ActionOutcome::Applied);
        }
        assert_eq!(cutter.cuts.load(Ordering::SeqCst), 40);
        assert_sound(&store).await;
    }
}

#[tokio::test]
async fn a_connection_lost_during_begin_is_survived() {
    let database = database::fresh().await;
    let (store, cutter) = behind(database.url(), b"BEGIN", true).await;
    for round in 0..10 {
        let name = format!("j{round}");
        create(&store, [job(&name)], 1).await;
        cutter.armed.store(true, Ordering::SeqCst);
        store.record(&[complete(&name, "")], at(2)).await.expect("record");
        assert_eq!(read(&store, &name).await.status, JobStatus::Completed);
    }
    assert_eq!(cutter.cuts.load(Ordering::SeqCst), 10);
    assert_sound(&store).await;
}

/// What moves jobs on is written without a lock, if the jobs are still those that were read.
#[tokio::test]
async fn a_job_that_changes_while_a_batch_is_recorded_loses_nothing() {
    // Few jobs and many are written in different ways.
    for jobs in [2u32, 40] {
        let database = database::fresh().await;
        let store = database::connect(database.url()).await;
        let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
        let names: Vec<String> = (0..jobs).map(|number| format!("j{number:02}")).collect();
        create(&store, names.iter().map(|name| job(name)).collect::<Vec<_>>(), 1).await;
        let batch = |task: &str| names.iter().map(|name| complete(name, task)).collect::<Vec<_>>();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let changes = ["UPDATE job SET failure_count = failure_count WHERE job_id = 'j01'", "SELECT 1"];
        for (round, change) in (2..).zip(changes) {
            // After a batch that somebody came before, or that began jobs, a few are not tried.
            for _ in 0..20 {
                store.record(&batch(".1"), at(2)).await.expect("record");
            }
            let mut session = pool.acquire().await.expect("a connection");
            let lock = format!("BEGIN; {change}; SELECT FROM job WHERE job_id = 'j01' FOR UPDATE");
            sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *session).await.expect("a lock");
            let reports = batch(&format!(".{round}"));
            let mut recording = std::pin::pin!(store.record(&reports, at(3)));
            let is_waiting = until("the batch waits", async || {
                sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.expect("a count") == 1
            });
            tokio::select! {
                recorded = &mut recording => panic!("{recorded:?}"),
                () = is_waiting => {}
            }
            sqlx::raw_sql("COMMIT").execute(&mut *session).await.expect("the end");
            recording.await.expect("record");
            for name in &names {
                assert_eq!(read(&store, name).await.subtasks.completed, round, "{name}, {change}");
            }
        }
        assert_sound(&store).await;
    }
}

#[tokio::test]
async fn two_that_report_on_the_same_jobs_at_once_lose_nothing() {
    for jobs in [1u32, 40] {
        let database = database::fresh().await;
        let stores = [database::connect(database.url()).await, database::connect(database.url()).await];
        let names: Vec<String> = (0..jobs).map(|number| format!("j{number:02}")).collect();
        create(&stores[0], names.iter().map(|name| job(name)).collect::<Vec<_>>(), 1).await;
        let report = async |store: &PostgresStore, half: u32| {
            // Into the second chunk, which has a row of its own.
            for step in 0..10_000 / jobs / 50 {
                let tasks = (1..=50).map(|place| (step * 50 + place) * 2 + half);
                let reports: Vec<TaskReport> = tasks
                    .flat_map(|task| names.iter().map(move |name| complete(name, &format!(".{task}"))))
                    .collect();
                store.record(&reports, at(2)).await.expect("record");
            }
        };
        tokio::join!(report(&stores[0], 0), report(&stores[1], 1));
        for name in &names {
            assert_eq!(read(&stores[0], name).await.subtasks.completed, 10_000 / jobs / 50 * 100, "{name}");
        }
        assert_sound(&stores[0]).await;
    }
}

/// How many statements, BEGIN and COMMIT included, calls send: round trips are what a busy tracker waits for.
async fn sent(pool: &sqlx::PgPool, calls: impl Future<Output = ()>) -> i64 {
    sqlx::query("SELECT pg_stat_statements_reset()").execute(pool).await.expect("reset");
    calls.await;
    sqlx::query_scalar(
        "SELECT sum(calls)::bigint FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'",
    )
    .fetch_one(pool)
    .await
    .expect("a count")
}

/// `a` is to wait for `b`, which waits for `c`. While `a` is on its way, somebody else makes `c` wait for `a`, and lets go
/// of the lock on its id when the statement that stores `a` has begun: too late for that to see it, were it not to look again.
#[tokio::test]
async fn a_cycle_that_closes_while_a_job_waits_for_its_lock_is_refused() {
    let database = database::fresh().await;
    let store = database::connect(database.url()).await;
    create(&store, [job("c"), job_after("b", &["c"])], 1).await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let mut other = pool.begin().await.expect("a transaction");
    // All locks of ids: see `create/locks.rs`.
    sqlx::raw_sql(
        "SELECT pg_advisory_xact_lock(1785684480, n) FROM generate_series(0, 255) AS n;
         INSERT INTO job_dependency (partition_id, prerequisite_id, dependent_id, dependent_no)
         SELECT partition_id, 'a', 'c', job_no FROM job WHERE job_id = 'c'",
    )
    .execute(&mut *other)
    .await
    .expect("locks and an edge");
    let mut creating = std::pin::pin!(store.create(vec![accept(job_after("a", &["b"]))], at(2)));
    loop {
        let waits = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory')",
        );
        tokio::select! {
            biased;
            waits = waits.fetch_one(&pool) => if waits.expect("locks") { break },
            outcome = &mut creating => panic!("nothing waited: {outcome:?}"),
        }
    }
    other.commit().await.expect("the end");
    let outcomes = creating.await.expect("an answer");
    assert!(matches!(outcomes.as_slice(), [CreateOutcome::Cycle(_)]), "{outcomes:?}");
}

#[tokio::test]
async fn a_batch_of_reports_takes_few_round_trips() {
    let server = tokio::task::spawn_blocking(|| {
        let options = testkit::PostgresOptions::default()
            .with_setting("shared_preload_libraries", "pg_stat_statements")
            .with_setting("pg_stat_statements.track_utility", "on");
        PostgresServer::start_with(&options).expect("a server")
    })
    .await
    .expect("starting does not panic");
    let options = PostgresOptions::new(&server.url("postgres")).expect("a URL").with_pool_size(1);
    let connect = async |options: &PostgresOptions| {
        PostgresStore::connect(options.clone(), Arc::new(SystemClock::new())).await.expect("a store")
    };
    let (store, forgetful) =
        (connect(&options).await, connect(&options.clone().with_recent_jobs_bytes(0)).await);
    store.migrate().await.expect("the migration");
    let pool = sqlx::PgPool::connect(&server.url("postgres")).await.expect("a pool");
    sqlx::query("CREATE EXTENSION pg_stat_statements").execute(&pool).await.expect("the extension");
    let names: Vec<String> = (0..100).map(|n| format!("j{n}")).collect();
    create(&store, names.iter().map(|name| job(name)).collect::<Vec<_>>(), 1).await;
    let of_one = |job: &str, tasks: &mut dyn Iterator<Item = u32>| {
        tasks.map(|task| complete(job, &format!(".{task}"))).collect::<Vec<_>>()
    };
    // Of each kind the batches that follow one another, and how many statements ten of them take at most when jobs are read
    // and when they are remembered.
    type Batch<'a> = &'a dyn Fn(u32) -> Vec<TaskReport>;
    let kinds: [(&str, i64, i64, Batch<'_>); 4] = [
        ("one completion of each of 100 jobs", 40, 30, &|step| {
            names.iter().map(|name| complete(name, &format!(".{}", step + 1))).collect()
        }),
        // Every eighth batch comes to another row of progress.
        ("1,000 completions in order", 30, 12, &|step| {
            of_one("j0", &mut (20_000 + step * 1_000..21_000 + step * 1_000))
        }),
        ("completions all over a job", 30, 10, &|step| {
            of_one("j1", &mut (1..9).map(|chunk| chunk * 8_192 + step))
        }),
        ("nothing new", 40, 40, &|_| names.iter().map(|name| complete(name, ".1")).collect()),
    ];
    for (what, read, remembered, batch) in kinds {
        for (first, most, store) in [(0, read, &forgetful), (50, remembered, &store)] {
            let send = async |steps: std::ops::Range<u32>| {
                for step in steps {
                    store.record(&batch(first + step), at(3)).await.expect("record");
                }
            };
            // The driver asks once for each connection what the types of a statement are, and after a job has begun some
            // batches are not tried.
            send(0..30).await;
            let sent = sent(&pool, send(30..40)).await;
            assert!(sent <= most, "{what}: {sent} statements instead of {most}");
        }
    }
    let sent = sent(&pool, create(&store, [job("single").with_label("k", "v")], 3)).await;
    assert_eq!(sent, 1, "a single job is one statement");
    create(&store, [job_after("dependent", &["j0"])], 3).await;
    let sent = self::sent(&pool, create(&store, [job_after("another", &["j0", "j1"])], 3)).await;
    assert_eq!(sent, 2, "a single job with prerequisites is a look and one statement");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_outlive_a_crash_of_the_database() {
    let server = Arc::new(
        tokio::task::spawn_blocking(|| PostgresServer::start().expect("a server")).await.expect("no panic"),
    );
    let options = PostgresOptions::new(&server.url("postgres"))
        .expect("a URL")
        .with_retry_limit(Duration::from_secs(60));
    let store =
        Arc::new(PostgresStore::connect(options, Arc::new(SystemClock::new())).await.expect("a store"));
    store.migrate().await.expect("the migration");
    let (done, wanted) = (Arc::new(AtomicU32::new(0)), 3);
    let restarts = {
        let (server, done) = (Arc::clone(&server), Arc::clone(&done));
        tokio::task::spawn_blocking(move || {
            for crash in 1..=wanted {
                while done.load(Ordering::SeqCst) < crash * 40 {
                    std::thread::yield_now();
                }
                server.stop_immediate().expect("stop");
                server.restart().expect("start");
            }
        })
    };
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..4u32 {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        clients.spawn(async move {
            for round in 0..60u32 {
                let (name, next) = (format!("{client}-{round}"), format!("{client}-{round}-next"));
                let new = vec![accept(job(&name)), accept(job_after(&next, &[&name]))];
                store.create(new, at(1)).await.expect("create");
                store.record(&[complete(&name, ".1"), complete(&name, ".2*")], at(2)).await.expect("record");
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    clients.join_all().await;
    restarts.await.expect("the restarts");
    for client in 0..4 {
        for round in 0..60 {
            let name = format!("{client}-{round}");
            assert_eq!(read(&*store, &name).await.status, JobStatus::Completed, "{name}");
            assert!(read(&*store, &format!("{name}-next")).await.blocked_by.is_empty(), "{name}");
        }
    }
    assert_sound(&*store).await;
}
