//! Stopping without losing a request.

use std::sync::Arc;

use job_server::Config;

use crate::client::{Connection, soon};
use crate::hooked_store::Hooks;
use crate::server::Server;

fn get(id: &str) -> String {
    format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", Server::job_path(id))
}

#[tokio::test]
async fn a_stopping_server_finishes_what_is_in_hand_and_takes_nothing_new() {
    let store = Hooks::store();
    let server = Server::with(Config::default(), Arc::clone(&store)).await;
    let mut idle = Connection::open(server.address).await;
    idle.send("GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.answer(false).await.unwrap().status, 200);
    let mut fresh = Connection::open(server.address).await;
    let mut held = Connection::open(server.address).await;
    held.send(get("held")).await;
    soon(store.arrived.acquire()).await.unwrap().forget();
    server.shutdown.stop();
    assert!(idle.is_closed().await);
    assert!(fresh.is_closed().await);
    assert!(!server.running.is_finished());
    store.gate.add_permits(1);
    let answer = held.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
    assert!(soon(server.running).await.unwrap(), "everything was finished");
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_long_poll_does_not_hold_up_a_stop() {
    let server = Server::start().await;
    server.create("j").await;
    let mut waiting = Connection::open(server.address).await;
    waiting.send(get("j?wait=60")).await;
    let mut next = Connection::open(server.address).await;
    next.send("GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(next.answer(false).await.unwrap().status, 200);
    server.shutdown.stop();
    // It was read before the stop or not; then its connection is closed.
    if let Some(answer) = waiting.answer(false).await {
        assert_eq!(answer.json()["status"], "Waiting");
    }
    assert!(soon(server.running).await.unwrap());
}

#[tokio::test]
async fn a_request_that_never_ends_is_given_up_in_time() {
    let store = Hooks::store();
    let mut config = Config::default();
    config.limits.drain_time = std::time::Duration::from_millis(50);
    let server = Server::with(config, Arc::clone(&store)).await;
    let mut held = Connection::open(server.address).await;
    held.send(get("held")).await;
    soon(store.arrived.acquire()).await.unwrap().forget();
    server.shutdown.stop();
    assert!(!soon(server.running).await.unwrap(), "something was not finished");
}
