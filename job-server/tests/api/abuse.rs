//! Clients that are slow, greedy, gone or too many.

use std::sync::Arc;
use std::time::Duration;

use job_server::{Config, Limits};

use crate::client::{Answer, Connection, raw, request, soon};
use crate::hooked_store::Hooks;
use crate::server::{BODY, JSON, Server};

async fn limited(limits: Limits) -> Server {
    let config = Config { limits, ..Config::default() };
    Server::with(config, Arc::new(job_store_memory::MemoryStore::new())).await
}

fn put_head(headers: &str) -> String {
    format!("PUT {} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\n{headers}\r\n\r\n", Server::job_path("j"))
}

fn get(id: &str) -> String {
    format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", Server::job_path(id))
}

async fn assert_well(server: &Server) {
    let answer = server.get("/job-service/v1/ping").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_claimed_length_over_the_limit_is_refused_before_reading() {
    let server = limited(Limits { body_bytes_max: 1_000, ..Limits::default() }).await;
    // Not one byte of the body is sent.
    let answer = raw(server.address, put_head("Content-Length: 10737418240")).await.unwrap();
    assert_eq!(answer.status, 413);
    assert!(answer.message().contains("at most 1000 bytes"), "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"));
    let answer = raw(server.address, put_head("Expect: 100-continue\r\nContent-Length: 1001")).await.unwrap();
    assert_eq!(answer.status, 413);
    let (path, headers) = (Server::job_path("j"), [JSON, "Expect: 100-continue"]);
    let fits = request(server.address, "PUT", &path, &headers, BODY.as_bytes()).await;
    assert_eq!(fits.status, 201);
}

#[tokio::test]
async fn an_endless_chunked_body_is_cut_off_at_the_limit() {
    let server = limited(Limits { body_bytes_max: 100_000, ..Limits::default() }).await;
    let mut connection = Connection::open(server.address).await;
    connection.send(put_head("Transfer-Encoding: chunked")).await;
    for _ in 0..20 {
        connection.send(format!("4000\r\n{}\r\n", " ".repeat(0x4000))).await;
    }
    let answer = connection.answer(false).await.unwrap();
    assert_eq!(answer.status, 413);
    assert_well(&server).await;
}

#[tokio::test]
async fn a_body_that_unpacks_too_far_is_refused() {
    use std::io::Write as _;
    let server = limited(Limits { body_bytes_max: 100_000, ..Limits::default() }).await;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 10 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let headers = [JSON, "Content-Encoding: gzip"];
    let answer = request(server.address, "PUT", &Server::job_path("j"), &headers, &bomb).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_slow_body_is_not_waited_for() {
    let grace = Duration::from_millis(100);
    let server = limited(Limits { body_grace: grace, ..Limits::default() }).await;
    let mut connection = Connection::open(server.address).await;
    connection.send(put_head("Content-Length: 100")).await;
    connection.send("{").await;
    let answer = connection.answer(false).await.unwrap();
    assert_eq!(answer.status, 408);
    assert!(answer.message().contains("1 bytes arrived"), "{answer:?}");
    assert!(connection.is_closed().await);
    assert_eq!(server.get_job("j").await.status, 404);
}

#[tokio::test]
async fn a_slow_head_is_not_waited_for_and_an_idle_connection_is_closed() {
    let server = limited(Limits { header_time: Duration::from_millis(100), ..Limits::default() }).await;
    let mut slow = Connection::open(server.address).await;
    slow.send("GET /job-ser").await;
    let answer = slow.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.message().as_str()), (408, "the head of the request came too slowly"));
    let mut silent = Connection::open(server.address).await;
    assert!(silent.is_closed().await);
    let mut idle = Connection::open(server.address).await;
    idle.send("GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.answer(false).await.unwrap().status, 200);
    assert!(idle.is_closed().await);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let server = limited(Limits { write_stall_time: Duration::from_millis(100), ..Limits::default() }).await;
    // Each answer is about 20 KB, and far more of them are asked for than the sockets buffer.
    let mut greedy = Connection::open(server.address).await;
    let requests = "GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2_000);
    greedy.send(requests).await;
    let mut answers = 0;
    server.shutdown.stop();
    // The drain waits for the connection, so that it ends only because the server gave up on it.
    assert!(soon(server.running).await.unwrap());
    while let Some(answer) = soon(read_leniently(&mut greedy)).await {
        assert_eq!(answer.status, 200);
        answers += 1;
    }
    assert!(answers < 2_000);
}

async fn read_leniently(connection: &mut Connection) -> Option<Answer> {
    use tokio::io::AsyncReadExt as _;
    let mut scrap = [0; 4096];
    while matches!(connection.stream.read(&mut scrap).await, Ok(read) if read > 0) {}
    None
}

#[tokio::test]
async fn requests_aborted_anywhere_leave_the_server_well() {
    let server = Server::start().await;
    let whole = put_head(&format!("Content-Length: {}", BODY.len())) + BODY;
    for end in 0..whole.len() {
        let mut connection = Connection::open(server.address).await;
        connection.send(&whole[..end]).await;
    }
    assert_eq!(server.get_job("j").await.status, 404, "no part of a request is a request");
    // The same with the answer unread: what was asked for in full happens.
    let mut connection = Connection::open(server.address).await;
    connection.send(&whole).await;
    drop(connection);
    loop {
        if server.get_job("j").await.status == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_cut_off_the_store() {
    let store = Hooks::store();
    let server = Server::with(Config::default(), Arc::clone(&store)).await;
    let mut connection = Connection::open(server.address).await;
    connection.send(get("held")).await;
    soon(store.arrived.acquire()).await.unwrap().forget();
    drop(connection);
    assert_well(&server).await;
    store.gate.add_permits(1);
    soon(store.passed.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_goes_on() {
    let store = Hooks::store();
    let limits = Limits { handler_time: Duration::from_millis(50), ..Limits::default() };
    let server = Server::with(Config { limits, ..Config::default() }, Arc::clone(&store)).await;
    let answer = raw(
        server.address,
        put_head(&format!("Content-Length: {}", BODY.len())).replace("/j ", "/held ") + BODY,
    );
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.message().contains("may still take effect"), "{answer:?}");
    store.gate.add_permits(1);
    soon(store.passed.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn an_action_on_many_jobs_that_gets_stuck_is_answered_and_goes_on() {
    let store = Hooks::store();
    let limits = Limits { handler_time: Duration::from_millis(500), ..Limits::default() };
    let config = Config { limits, cancel_batch: 1, ..Config::default() };
    let server = Server::with(config, Arc::clone(&store)).await;
    let jobs = "/job-service/v1/partitions/slow/jobs";
    for id in ["a", "b"] {
        let target = format!("{jobs}/{id}");
        assert_eq!(request(server.address, "PUT", &target, &[JSON], BODY.as_bytes()).await.status, 201);
    }
    // One step is done, and nothing ever comes of the next.
    store.gate.add_permits(1);
    let answer = server.post(&format!("{jobs}:cancel")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.message().contains("may still take effect"), "{answer:?}");
    store.gate.add_permits(10);
    let is_cancelled = async || {
        let count = server.get("/job-service/v1/partitions/slow/jobStats").await.json();
        count["Cancelled"] == 2
    };
    soon(async {
        while !is_cancelled().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_come_back() {
    let store = Hooks::store();
    let limits = Limits { requests_max: 2, waits_max: 1, ..Limits::default() };
    let server = Server::with(Config { limits, ..Config::default() }, Arc::clone(&store)).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(server.address).await;
        connection.send(get("held")).await;
        soon(store.arrived.acquire()).await.unwrap().forget();
        held.push(connection);
    }
    let refused = server.get_job("other").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_well(&server).await;
    assert_eq!(server.get("/health-check").await.status, 200);
    assert_eq!(
        server.get(&Server::job_path("other?wait=1")).await.status,
        404,
        "long polls have places of their own"
    );
    store.gate.add_permits(2);
    for mut connection in held {
        assert_eq!(connection.answer(false).await.unwrap().status, 404);
    }
    assert_eq!(server.get_job("other").await.status, 404);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_places_come_back() {
    let server = limited(Limits { connections_max: 2, ..Limits::default() }).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(server.address).await;
        connection.send("GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(connection.answer(false).await.unwrap().status, 200);
        kept.push(connection);
    }
    let mut extra = Connection::open(server.address).await;
    let refused = extra.answer(false).await.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    drop(kept);
    loop {
        let mut connection = Connection::open(server.address).await;
        connection.send("GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        if connection.answer(false).await.is_some_and(|answer| answer.status == 200) {
            break;
        }
    }
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let limits = Limits { bodies_bytes_max: 64 << 10, ..Limits::default() };
    let server = limited(limits).await;
    let mut large = BODY.replacen('{', &format!(r#"{{"description":"{}","#, "x".repeat(100_000)), 1);
    let refused = server.put("large", &large).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    large = BODY.replacen('{', &format!(r#"{{"description":"{}","#, "x".repeat(40_000)), 1);
    for id in ["a", "b", "c", "d"] {
        assert_eq!(server.put(id, &large).await.status, 201, "what is done with is given back");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_a_503_without_its_secrets() {
    let server = Server::with(Config::default(), Hooks::store()).await;
    let answer = server.get_job("down").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.message(), "the store cannot be reached");
}

#[tokio::test]
async fn a_panic_fails_its_own_request_only() {
    let server = Server::with(Config::default(), Hooks::store()).await;
    let mut connection = Connection::open(server.address).await;
    connection.send(get("broken")).await;
    let answer = connection.answer(false).await.unwrap();
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("secret"), "{answer:?}");
    connection.send(get("other")).await;
    assert_eq!(connection.answer(false).await.unwrap().status, 404, "even on the same connection");
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = Server::start().await;
    let ping =
        |headers: &str| format!("GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let many: String = (0..70).map(|number| format!("X-{number}: x\r\n")).collect();
    let answer = raw(server.address, ping(&many)).await.unwrap();
    assert_eq!(answer.status, 431);
    assert!(answer.message().contains("71 headers: at most 64"), "{answer:?}");
    let large = format!("X: {}\r\n", "x".repeat(17 << 10));
    let answer = raw(server.address, ping(&large)).await.unwrap();
    assert_eq!(answer.status, 431);
    assert!(answer.message().contains("at most 16384"), "{answer:?}");
    let url = format!("GET /job-service/v1/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(9 << 10));
    let answer = raw(server.address, url).await.unwrap();
    assert_eq!(answer.status, 414);
    assert!(answer.message().contains("at most 8192"), "{answer:?}");
    let huge: String = (0..500).map(|number| format!("X-{number}: x\r\n")).collect();
    assert_eq!(raw(server.address, ping(&huge)).await.unwrap().status, 431);
    let endless = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20));
    assert!(matches!(raw(server.address, endless).await, None | Some(Answer { status: 414 | 431, .. })));
    assert_well(&server).await;
}
