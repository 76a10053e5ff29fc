//! A database that is gone without a word: packets get no answer, and no connection is closed.

mod database;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use job_conformance::store::fixture::{assert_sound, at, complete, create, job, read, record};
use job_core::store::JobStore;
use job_core::{Clock, Error, SystemClock};
use job_store_postgres::{PostgresOptions, PostgresStore};
use testkit::TestDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// When the line breaks: once somebody has said a word.
enum Break {
    /// The client, who is not heard. Connections are forgotten on the way; new ones pass.
    ForgetsAtBegin,
    /// The client, who is not heard, and neither is anybody else.
    SilentAtBegin,
    /// The server, who is heard, and then nobody is any more.
    SilentAfterCommit,
}

/// The way to the database.
#[derive(Default)]
struct Line {
    /// Connections of an earlier time pass nothing on any more, and nobody tells either end.
    time: AtomicU32,
    /// Nor do new ones.
    is_silent: AtomicBool,
    breaks: Mutex<Option<Break>>,
    taken: AtomicU32,
    took: Notify,
}

impl Line {
    fn will(&self, breaks: Break) {
        *self.breaks.lock().expect("no panic") = Some(breaks);
    }

    fn has_broken(&self) -> bool {
        self.breaks.lock().expect("no panic").is_none()
    }

    fn mend(&self) {
        assert!(self.has_broken());
        self.is_silent.store(false, Ordering::SeqCst);
    }

    fn hear(&self, said: &[u8], asks: bool) {
        let says = |word: &[u8]| said.windows(word.len()).any(|window| window == word);
        let mut breaks = self.breaks.lock().expect("no panic");
        let is_silent = match *breaks {
            Some(Break::ForgetsAtBegin) if asks && says(b"BEGIN") => false,
            Some(Break::SilentAtBegin) if asks && says(b"BEGIN") => true,
            // PostgreSQL answers with the name of the command.
            Some(Break::SilentAfterCommit) if !asks && says(b"COMMIT") => true,
            _ => return,
        };
        *breaks = None;
        self.is_silent.store(is_silent, Ordering::SeqCst);
        self.time.fetch_add(1, Ordering::SeqCst);
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, server: String) {
        let mut halves = tokio::task::JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let upstream = TcpStream::connect(&server).await.expect("the database is there");
            client.set_nodelay(true).expect("a socket");
            upstream.set_nodelay(true).expect("a socket");
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = upstream.into_split();
            let time = self.time.load(Ordering::SeqCst);
            halves.spawn(Arc::clone(&self).pass(from_client, to_server, time, true));
            halves.spawn(Arc::clone(&self).pass(from_server, to_client, time, false));
            self.taken.fetch_add(1, Ordering::SeqCst);
            self.took.notify_one();
        }
    }

    async fn pass(self: Arc<Self>, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, time: u32, asks: bool) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if asks {
                self.hear(&buffer[..length], asks);
            }
            if self.is_silent.load(Ordering::SeqCst) || self.time.load(Ordering::SeqCst) != time {
                // Both ends stay open.
                return std::future::pending().await;
            }
            if to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
            if !asks {
                self.hear(&buffer[..length], asks);
            }
        }
    }
}

struct Rig {
    database: TestDatabase,
    store: Arc<PostgresStore>,
    clock: SystemClock,
    line: Arc<Line>,
}

impl Rig {
    /// A store with a job and a single connection, behind a line.
    async fn new(options: impl Fn(PostgresOptions) -> PostgresOptions) -> Self {
        let database = database::fresh().await;
        let (login, place) = database.url().split_once('@').expect("a login");
        let (server, name) = place.split_once('/').expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let line = Arc::new(Line::default());
        #[expect(clippy::disallowed_methods, reason = "the proxy of a test ends with its runtime")]
        tokio::spawn(Arc::clone(&line).serve(listener, server.to_owned()));
        let url = format!("{login}@127.0.0.1:{port}/{name}");
        let options = options(PostgresOptions::new(&url).expect("a URL").with_pool_size(1));
        let clock = SystemClock::new();
        let store = PostgresStore::connect(options, Arc::new(clock.clone())).await.expect("a store");
        create(&store, [job("j")], 1).await;
        Self { database, store: Arc::new(store), clock, line }
    }

    async fn report(&self, task: &str) -> Result<(), Error> {
        self.store.record(&[complete("j", task)], at(2)).await.map(drop)
    }

    async fn completed(&self) -> u32 {
        read(&*self.store, "j").await.subtasks.completed
    }
}

#[tokio::test]
async fn a_database_that_falls_silent_is_given_up_and_found_again() {
    let rig = Rig::new(|options| options).await;
    rig.line.will(Break::SilentAtBegin);
    let begun = rig.clock.now();
    let error = rig.report(".1").await.expect_err("nobody answers");
    assert!(error.is_transient() && error.message().contains("does not answer"), "{error:?}");
    let time = rig.clock.now().since(begun);
    assert!(time <= Duration::from_secs(15), "{time:?}");
    rig.line.mend();
    record(&*rig.store, &[complete("j", ".1"), complete("j", ".2")], 3).await;
    assert_eq!(rig.completed().await, 2);
    assert_sound(&*rig.store).await;
}

#[tokio::test]
async fn a_statement_that_takes_long_is_waited_for() {
    let rig = Rig::new(|options| options.with_lock_timeout(Duration::from_secs(60))).await;
    let pool = sqlx::PgPool::connect(rig.database.url()).await.expect("a pool");
    let mut other = pool.acquire().await.expect("a connection");
    sqlx::raw_sql("BEGIN; SELECT FROM job FOR UPDATE").execute(&mut *other).await.expect("a lock");
    let asked = rig.line.taken.load(Ordering::SeqCst);
    let mut reporting = std::pin::pin!(rig.report(".1"));
    // It waits for the lock, and somebody looks after it: the database is there.
    while rig.line.taken.load(Ordering::SeqCst) < asked + 1 {
        tokio::select! {
            outcome = &mut reporting => panic!("{outcome:?}"),
            () = rig.line.took.notified() => {}
        }
    }
    sqlx::raw_sql("COMMIT").execute(&mut *other).await.expect("the lock is free");
    reporting.await.expect("the report counts");
    assert_eq!(rig.completed().await, 1);
}

/// The server is there, and answers others; it says that it has heard nothing here.
#[tokio::test]
async fn a_connection_that_was_forgotten_on_the_way_is_given_up() {
    let rig = Rig::new(|options| options).await;
    rig.line.will(Break::ForgetsAtBegin);
    let begun = rig.clock.now();
    rig.report(".1").await.expect("on a new connection");
    let time = rig.clock.now().since(begun);
    assert!(rig.line.has_broken() && time <= Duration::from_secs(15), "{time:?}");
    assert_eq!(rig.completed().await, 1);
}

/// The next one to use the connection learns from the server that nothing passes there.
#[tokio::test]
async fn a_connection_that_falls_silent_after_its_work_makes_room() {
    let rig = Rig::new(|options| options).await;
    rig.line.will(Break::SilentAfterCommit);
    rig.report(".1").await.expect("it was heard and answered");
    rig.line.mend();
    let begun = rig.clock.now();
    rig.report(".2").await.expect("there is room for a new connection");
    let time = rig.clock.now().since(begun);
    assert!(time <= Duration::from_secs(15), "{time:?}");
    assert_eq!(rig.completed().await, 2);
}
