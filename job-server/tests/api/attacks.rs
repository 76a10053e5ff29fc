//! Attack clients. They run small and fast; with `JOB_CAMPAIGN=1` at the figures that `docs/reliability.md` records.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use job_core::{Clock as _, ClockExt as _, Shutdown, SystemClock};
use job_server::{Config, Limits};
use job_store_memory::MemoryStore;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::version::TLS13;

use crate::client::{Connection, request};
use crate::server::{BODY, JSON, Server};
use crate::tls::{Pair, connect};

pub(crate) fn is_campaign() -> bool {
    #[expect(clippy::disallowed_methods, reason = "a switch of the test run, not of the server")]
    std::env::var_os("JOB_CAMPAIGN").is_some()
}

#[expect(clippy::print_stdout, reason = "the figures of a campaign are what it is run for")]
pub(crate) fn note(figures: &str) {
    if is_campaign() {
        println!("{figures}");
    }
}

pub(crate) async fn limited(limits: Limits) -> Server {
    Server::with(Config { limits, ..Config::default() }, Arc::new(MemoryStore::new())).await
}

/// What an attacker sends.
#[derive(Debug, Clone)]
struct Siege {
    source: IpAddr,
    opening: String,
    /// One byte each time this has passed; nothing more without it.
    drip: Option<Duration>,
}

impl Siege {
    /// Opens `count` connections; each task answers how long its connection was kept.
    async fn begin(&self, server: &Server, count: usize) -> Vec<JoinHandle<Duration>> {
        let mut held = Vec::new();
        for _ in 0..count {
            let mut connection = Connection::open_from(self.source, server.address).await;
            let drip = self.drip;
            connection.send(&self.opening).await;
            held.push(Shutdown::new().spawn(async move { kept_for(connection, drip).await }));
        }
        held
    }
}

async fn kept_for(connection: Connection, drip: Option<Duration>) -> Duration {
    let clock = SystemClock::new();
    let begun = clock.now();
    let (mut read, mut write) = connection.stream.into_split();
    let mut scrap = [0; 1024];
    loop {
        let rhythm = drip.unwrap_or(Duration::from_secs(60));
        match clock.timeout(rhythm, read.read(&mut scrap)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => {}
            Err(_) if drip.is_some() => {
                if write.write_all(b"x").await.is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    clock.now().since(begun)
}

/// A client that behaves; answers how long its requests took, of which none may fail.
async fn behave(server: &Server, until: impl Fn() -> bool) -> Vec<Duration> {
    let clock = SystemClock::new();
    let mut times = Vec::new();
    loop {
        let begun = clock.now();
        assert_eq!(request(server.address, "GET", "/job-service/v1/ping", &[], b"").await.status, 200);
        times.push(clock.now().since(begun));
        clock.sleep(Duration::from_millis(5)).await;
        if until() {
            times.sort();
            return times;
        }
    }
}

fn p99(sorted: &[Duration]) -> Duration {
    sorted[(sorted.len() * 99 / 100).min(sorted.len() - 1)]
}

async fn withstand(name: &str, server: &Server, sieges: &[Siege], count: usize, patience: Duration) {
    let mut quiet = 0..200;
    let quiet = behave(server, {
        let left = std::sync::Mutex::new(&mut quiet);
        move || left.lock().unwrap().next().is_none()
    })
    .await;
    let mut held = Vec::new();
    for siege in sieges {
        held.extend(siege.begin(server, count).await);
    }
    let during = behave(server, || held.iter().all(JoinHandle::is_finished)).await;
    let mut longest = Duration::ZERO;
    for held in held {
        longest = longest.max(held.await.unwrap());
    }
    note(&format!(
        "{name}: {} connections, the last closed after {longest:?}; others: {} requests, all answered, p99 {:?} (before {:?})",
        count * sieges.len(),
        during.len(),
        p99(&during),
        p99(&quiet),
    ));
    assert!(longest <= patience, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_silent_heads_are_dropped_while_others_are_served() {
    let campaign = is_campaign();
    let count = if campaign { 2_000 } else { 100 };
    let mut limits = Limits::default();
    if campaign {
        // All of them are let in, which is harder than the limits make it.
        (limits.connections_max, limits.connections_per_address_max) = (10_000, 5_000);
    } else {
        limits.header_time = Duration::from_millis(300);
    }
    let patience = limits.header_time + Duration::from_secs(5);
    let drip = if campaign { Duration::from_secs(5) } else { Duration::from_millis(50) };
    let server = limited(limits).await;
    let siege =
        |last, opening: &str, drip| Siege { source: [127, 0, 0, last].into(), opening: opening.into(), drip };
    let sieges = [
        siege(2, "", Some(drip)),
        siege(3, "", None),
        // One byte less than hyper would need to tell HTTP/1 from HTTP/2.
        siege(4, "GET /job-service/v1/pin", None),
    ];
    withstand("H1", &server, &sieges, count, patience).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_are_dropped_while_others_are_served() {
    let campaign = is_campaign();
    let count = if campaign { 500 } else { 50 };
    let mut limits = Limits::default();
    if campaign {
        limits.connections_per_address_max = 1_000;
        limits.requests_max = 1_000;
    } else {
        limits.body_grace = Duration::from_millis(300);
    }
    let server = limited(limits).await;
    let opening = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: 100000\r\n\r\n{{",
        Server::job_path("slow")
    );
    let siege = Siege { source: [127, 0, 0, 2].into(), opening, drip: Some(Duration::from_millis(100)) };
    withstand("H2", &server, &[siege], count, Duration::from_secs(15)).await;
    assert_eq!(server.get_job("slow").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_sip_their_answers_are_dropped() {
    sip_from(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_sip_their_answers_over_tls_are_dropped() {
    sip_from(Some(Pair::new())).await;
}

/// Reads a few bytes now and then of answers that are more than the sockets buffer.
async fn sip<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, clock: SystemClock, stop: Shutdown) {
    let requests = "GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
    let _ = stream.write_all(requests.as_bytes()).await;
    let _ = stream.flush().await;
    let mut sip = [0; 10];
    while !stop.is_stopping() && matches!(stream.read(&mut sip).await, Ok(read) if read > 0) {
        clock.sleep(Duration::from_millis(50)).await;
    }
}

async fn sip_from(pair: Option<Pair>) {
    let patience = if is_campaign() { Duration::from_secs(30) } else { Duration::from_millis(300) };
    let drain_time = patience + Duration::from_secs(10);
    let limits = Limits { write_stall_time: patience, drain_time, ..Limits::default() };
    let config = Config { limits, tls: pair.as_ref().map(Pair::files), ..Config::default() };
    let server = Server::with(config, Arc::new(MemoryStore::new())).await;
    let clock = SystemClock::new();
    let sipping = Shutdown::new();
    for _ in 0..20 {
        let (clock, stop) = (clock.clone(), sipping.clone());
        if let Some(pair) = &pair {
            let greedy = connect(server.https.unwrap(), pair.certificate(), &[&TLS13]).await.unwrap();
            sipping.spawn(sip(greedy, clock, stop));
        } else {
            sipping.spawn(sip(Connection::open(server.address).await.stream, clock, stop));
        }
    }
    // Each connection has to fill up before it can be too slow.
    assert_eq!(server.get("/job-service/v1/ping").await.status, 200);
    server.shutdown.stop();
    // The drain waits for every connection, so that it ends in time only because the server gave up on them.
    let begun = clock.now();
    let finished = clock.timeout(Duration::from_secs(60), server.running).await;
    assert!(finished.unwrap().unwrap(), "everything was finished");
    note(&format!("H2: 20 slow readers, the last closed after {:?}", clock.now().since(begun)));
    assert!(sipping.drain(&clock, Duration::from_secs(5)).await);
}

const PING: &str = "GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_and_no_crowd_takes_all_connections() {
    let server = limited(Limits::default()).await;
    let clock = SystemClock::new();
    let mut kept = Vec::new();
    for last in 2..6 {
        for _ in 0..256 {
            let mut connection = Connection::open_from([127, 0, 0, last].into(), server.address).await;
            // Otherwise it would have to make room.
            connection.send(PING).await;
            assert_eq!(connection.answer(false).await.unwrap().status, 200);
            kept.push(connection);
        }
        if last == 2 {
            // The next one of the same address is too many, and others are not concerned.
            let begun = clock.now();
            let mut extra = Connection::open_from([127, 0, 0, 2].into(), server.address).await;
            let refused = extra.answer(false).await.unwrap();
            assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
            assert!(refused.message().contains("from this address"), "{refused:?}");
            note(&format!("H7: connection 257 of an address refused within {:?}", clock.now().since(begun)));
            assert_eq!(server.get("/job-service/v1/ping").await.status, 200);
        }
    }
    let begun = clock.now();
    let mut extra = Connection::open_from([127, 0, 0, 9].into(), server.address).await;
    let refused = extra.answer(false).await.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    note(&format!("H7: connection 1,025 refused within {:?}", clock.now().since(begun)));
    drop(kept);
    while !matches!(crate::client::raw(server.address, PING).await, Some(answer) if answer.status == 200) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_crowd_keeps_nobody_out() {
    let server = limited(Limits::default()).await;
    let clock = SystemClock::new();
    let mut silent = Vec::new();
    for last in 2..6 {
        for turn in 0..256 {
            let mut connection = Connection::open_from([127, 0, 0, last].into(), server.address).await;
            // Some say the beginning of something.
            if turn % 2 == 0 {
                connection.send("GET / HTTP/1.1\r\nHost: ").await;
            }
            silent.push(connection);
        }
    }
    let mut times = Vec::new();
    for _ in 0..100 {
        let begun = clock.now();
        let mut newcomer = Connection::open_from([127, 0, 0, 9].into(), server.address).await;
        newcomer.send(PING).await;
        assert_eq!(newcomer.answer(false).await.unwrap().status, 200);
        times.push(clock.now().since(begun));
    }
    note(&format!(
        "H7: 100 requests beside 1,024 silent connections, the slowest {:?}",
        times.iter().max().unwrap()
    ));
    assert!(silent[0].is_closed().await, "the oldest made room");
}

/// Requests that two readers could take apart differently.
fn smuggled() -> Vec<(&'static str, String)> {
    let victim = format!("DELETE {} HTTP/1.1\r\nHost: localhost\r\n\r\n", Server::job_path("victim"));
    let put = |headers: &str, body: &str| {
        format!("PUT {} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}", Server::job_path("carrier"))
    };
    let chunked = format!("0\r\n\r\n{victim}");
    let sized = victim.len();
    vec![
        ("length and chunked", put("Content-Length: 4\r\nTransfer-Encoding: chunked", &chunked)),
        (
            "chunked and length",
            put(&format!("Transfer-Encoding: chunked\r\nContent-Length: {}", chunked.len()), &chunked),
        ),
        ("two lengths", put(&format!("Content-Length: 0\r\nContent-Length: {sized}"), &victim)),
        ("two lengths in one", put(&format!("Content-Length: 0, {sized}"), &victim)),
        ("a length with a sign", put("Content-Length: +0", &victim)),
        ("a hexadecimal length", put("Content-Length: 0x0", &victim)),
        ("a length in two parts", put(&format!("Content-Length: 0 {sized}"), &victim)),
        ("an empty length", put("Content-Length: ", &victim)),
        ("a long length", put(&format!("Content-Length: {}", "9".repeat(30)), &victim)),
        ("an unknown coding", put("Transfer-Encoding: xchunked", &chunked)),
        ("chunked is not last", put("Transfer-Encoding: chunked, identity", &chunked)),
        ("two codings apart", put("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", &chunked)),
        ("chunked twice", put("Transfer-Encoding: chunked, chunked", &chunked)),
        ("a coding behind a tab", put("Transfer-Encoding: \u{b}chunked", &chunked)),
        ("a space before the colon", put("Transfer-Encoding : chunked", &chunked)),
        ("a folded coding", put("Transfer-Encoding:\r\n chunked", &chunked)),
        ("a header of nothing", put(": x\r\nTransfer-Encoding: chunked", &chunked)),
        ("a bare CR in a header", put("X: a\rTransfer-Encoding: chunked", &chunked)),
        ("a NUL in a header", put("X: a\0b", &victim)),
        (
            "chunked in HTTP/1.0",
            put("Transfer-Encoding: chunked", &chunked).replacen("HTTP/1.1", "HTTP/1.0", 1),
        ),
        ("a chunk size with a prefix", put("Transfer-Encoding: chunked", &format!("0x0\r\n\r\n{victim}"))),
        ("a negative chunk size", put("Transfer-Encoding: chunked", &format!("-1\r\n\r\n{victim}"))),
        (
            "a chunk size that wraps",
            put("Transfer-Encoding: chunked", &format!("10000000000000000\r\n\r\n{victim}")),
        ),
        (
            "a chunk without an end",
            put("Transfer-Encoding: chunked", &format!("1\r\nxx\r\n0\r\n\r\n{victim}")),
        ),
        (
            "a bare LF in a chunk extension",
            put("Transfer-Encoding: chunked", &format!("1;a\nxx\r\n0\r\n\r\n{victim}")),
        ),
        (
            "a body of GET",
            format!(
                "GET {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {sized}\r\n\r\n{victim}",
                Server::job_path("victim")
            ),
        ),
        (
            "a chunked body of GET",
            format!(
                "GET {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{sized:x}\r\n{victim}\r\n0\r\n\r\n",
                Server::job_path("victim")
            ),
        ),
        (
            "a length in the trailers",
            put(
                "Transfer-Encoding: chunked",
                &format!("{sized:x}\r\n{victim}\r\n0\r\nContent-Length: 0\r\n\r\n"),
            ),
        ),
        ("a request line in a header", put("X: y\nDELETE / HTTP/1.1", "")),
    ]
}

#[tokio::test]
async fn one_request_is_one_answer_or_the_end() {
    let server = limited(Limits { body_grace: Duration::from_millis(200), ..Limits::default() }).await;
    server.create("victim").await;
    let corpus = smuggled();
    for (name, bytes) in &corpus {
        let mut connection = Connection::open(server.address).await;
        connection.send(bytes).await;
        // A request that can be told from whatever was smuggled.
        connection
            .send("GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\nCAF-Correlation-Id: sentinel\r\nConnection: close\r\n\r\n")
            .await;
        let mut answers = Vec::new();
        while let Some(answer) = connection.answer(false).await {
            answers.push((answer.status, answer.header("caf-correlation-id") == Some("sentinel")));
        }
        let fits = match answers.as_slice() {
            [] | [(_, false)] => true,
            [(_, false), sentinel] => *sentinel == (200, true),
            _ => false,
        };
        assert!(fits, "{name}: {answers:?}");
        assert_eq!(server.get_job("victim").await.status, 200, "{name}: {answers:?}");
    }
    note(&format!("H8: {} requests, each one answer or the end of its connection", corpus.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_that_are_aborted_while_the_database_is_slow_poison_nothing() {
    use job_core::{Clock, SystemClock};
    use job_store_postgres::{PostgresOptions, PostgresStore, migrations};
    let migrate = async |url: &str| -> job_core::Result<()> {
        let store = PostgresStore::connect(PostgresOptions::new(url)?, Arc::new(SystemClock::new())).await?;
        store.migrate().await.map(drop)
    };
    let template = testkit::template_name("jobs", migrations().iter().map(|migration| migration.sql));
    let database = testkit::TestDatabase::create(&template, migrate).await.unwrap();
    let psql = |sql: &str| {
        let output =
            std::process::Command::new("psql").args([database.url(), "-Atqc", sql]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (aborted, millis) = if is_campaign() { (10_000_usize, 200) } else { (300, 20) };
    psql(&format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({millis} / 1000.0); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION slow();"
    ));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = PostgresStore::connect(PostgresOptions::new(database.url()).unwrap(), Arc::clone(&clock))
        .await
        .unwrap();
    let config = Config { roles: "api".parse().unwrap(), ..Config::default() };
    let server = Server::with(config, Arc::new(store)).await;
    for number in 0..aborted {
        let whole = format!(
            "PUT {} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: {}\r\n\r\n{BODY}",
            Server::job_path(&format!("j{number}")),
            BODY.len()
        );
        // At any byte; every third is sent whole, and its client gone at any moment of the work.
        let end = if number % 3 == 0 { whole.len() } else { number * 7_919 % whole.len() };
        let mut connection = Connection::open_from(
            [127, 0, 0, u8::try_from(2 + number % 100).unwrap()].into(),
            server.address,
        )
        .await;
        connection.send(&whole[..end]).await;
        if number % 6 == 0 {
            clock.sleep(Duration::from_millis(u64::try_from(number).unwrap() % 5)).await;
        }
    }
    psql("DROP TRIGGER slow ON job");
    // What was let in is worked on to its end; then nobody holds a transaction.
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    while psql(
        &open.replace("state LIKE 'idle in transaction%'", "state = 'active' AND pid <> pg_backend_pid()"),
    ) != "0"
    {}
    assert_eq!(psql(open), "0");
    let created: usize = psql("SELECT count(*) FROM job").parse().unwrap();
    assert!(created > 0 && created <= aborted.div_ceil(3), "only whole requests take effect: {created}");
    assert_eq!(
        psql(
            "SELECT count(*) FROM job j WHERE NOT EXISTS (SELECT 1 FROM job_detail d WHERE d.job_no = j.job_no)"
        ),
        "0"
    );
    for number in 0..1_000 {
        let answer = server.put(&format!("after{number}"), BODY).await;
        assert_eq!(answer.status, 201, "{number}: {answer:?}");
    }
    assert_eq!(psql(open), "0");
    note(&format!(
        "H6: {aborted} aborted PUTs at {millis} ms each: {created} took effect, 0 open transactions, then 1,000 of 1,000 succeed"
    ));
}
