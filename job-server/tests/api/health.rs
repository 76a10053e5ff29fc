//! The health endpoints.

use std::sync::atomic::Ordering;

use job_server::Config;
use serde_json::json;

use crate::client::request;
use crate::hooked_store::Hooks;
use crate::server::Server;

#[tokio::test]
async fn a_well_server_says_so() {
    let server = Server::start().await;
    for target in ["/health-check", "/health-check?type=ALIVE", "/health-check?type=READY"] {
        let answer = server.get(target).await;
        assert_eq!((answer.status, answer.text()), (200, "[]"), "{target}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let all = server.get("/health-check?name=all").await.json();
    let names: Vec<&str> =
        all.as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["deadlocks", "ports-alive", "ports-ready", "database", "ping", "queue"]);
    assert_eq!(
        server.get("/health-check?name=Database&name=ping").await.json(),
        json!([
            {"name": "database", "healthy": true, "type": "READY", "critical": true},
            {"name": "ping", "healthy": true, "type": "READY", "critical": true},
        ])
    );
    let pong = request(server.admin, "GET", "/ping", &[], b"").await;
    assert_eq!(pong.text(), "pong\n");
    let admin = request(server.admin, "GET", "/healthcheck", &[], b"").await;
    assert_eq!((admin.status, admin.json()["queue"]["healthy"].as_bool()), (200, Some(true)));
    assert_eq!(request(server.admin, "GET", "/job-service/v1/ping", &[], b"").await.status, 404);
}

#[tokio::test]
async fn a_stopping_server_is_not_ready_while_it_still_serves() {
    let delay = std::time::Duration::from_secs(600);
    let config = Config { drain_delay: delay, ..Config::default() };
    let server = Server::with(config, std::sync::Arc::new(job_store_memory::MemoryStore::new())).await;
    assert_eq!(server.get("/health-check").await.status, 200);
    server.shutdown.stop();
    crate::client::soon(async {
        while server.get("/health-check").await.status != 503 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.get("/health-check?type=ALIVE").await.status, 200);
    server.create("late").await;
    server.running.abort();
}

#[tokio::test]
async fn it_is_not_ready_before_its_first_checks() {
    let later = job_server::CheckSchedule {
        initial_delay: std::time::Duration::from_secs(600),
        ..job_server::CheckSchedule::default()
    };
    let health = job_server::HealthSchedule { ready: later, ..job_server::HealthSchedule::default() };
    let config = Config { health, ..Config::default() };
    let server = Server::with(config, std::sync::Arc::new(job_store_memory::MemoryStore::new())).await;
    assert_eq!(server.get("/health-check").await.status, 503);
    assert_eq!(server.get("/health-check?type=ALIVE").await.status, 200);
    let admin = request(server.admin, "GET", "/healthcheck", &[], b"").await;
    assert_eq!(admin.json()["queue"]["message"], "not checked yet");
}

#[tokio::test]
async fn a_store_that_is_down_makes_it_not_ready_but_alive() {
    let store = Hooks::store();
    store.ping_error.store(true, Ordering::SeqCst);
    let server = Server::with(Config::default(), store).await;
    assert_eq!(server.get("/health-check").await.status, 503);
    assert_eq!(server.get("/health-check?type=ALIVE").await.status, 200);
    let database = server.get("/health-check?name=database").await.json();
    assert_eq!(database[0]["healthy"], false);
    let admin = request(server.admin, "GET", "/healthcheck", &[], b"").await;
    assert_eq!(admin.status, 500);
    assert_eq!(admin.json()["database"]["message"], "the store cannot be reached");
}
