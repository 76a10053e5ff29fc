//! The limit on the live jobs of a partition.

use std::sync::Arc;

use job_server::{Config, Limits};
use job_store_memory::MemoryStore;

use crate::client::{Answer, request, soon};
use crate::server::{BODY, JSON, Server};

fn config(live_jobs_max: u32) -> Config {
    // Nobody takes the jobs any further.
    let roles = "api".parse().unwrap();
    Config { roles, limits: Limits { live_jobs_max, ..Limits::default() }, ..Config::default() }
}

async fn server(live_jobs_max: u32) -> Server {
    Server::with(config(live_jobs_max), Arc::new(MemoryStore::new())).await
}

/// Asks until there is room, which the server sees within a second.
async fn until_created(server: &Server, id: &str) -> Answer {
    soon(async {
        loop {
            let answer = server.put(id, BODY).await;
            if answer.status != 429 {
                return answer;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_partition_that_has_all_it_may_takes_more_once_some_are_gone() {
    let server = server(2).await;
    for id in ["a", "b"] {
        server.create(id).await;
    }
    let refused = server.put("c", BODY).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{refused:?}");
    assert!(refused.message().starts_with("the partition has 2 live (unfinished) jobs, and at most 2 are"));
    assert!(refused.message().contains("cancel or delete some"), "{refused:?}");
    assert_eq!(server.get_job("c").await.status, 404);
    assert_eq!(server.put("a", BODY).await.status, 204, "it was accepted before");
    let other = server.put("a", &BODY.replace("data\"", "other\"")).await;
    assert_eq!((other.status, other.message().as_str()), (403, "Job already exists"));
    assert_eq!(server.put("d", "{}").await.status, 400, "what is wrong is wrong all the same");
    let elsewhere = "/job-service/v1/partitions/q/jobs/c";
    assert_eq!(request(server.address, "PUT", elsewhere, &[JSON], BODY.as_bytes()).await.status, 201);

    assert_eq!(server.post(&Server::job_path("a/cancel")).await.status, 204);
    assert_eq!(until_created(&server, "c").await.status, 201);
    assert_eq!(server.put("d", BODY).await.status, 429);
    assert_eq!(request(server.address, "DELETE", &Server::job_path("b"), &[], b"").await.status, 204);
    assert_eq!(until_created(&server, "d").await.status, 201);
    assert_eq!(server.put("e", BODY).await.status, 429);
}

#[tokio::test]
async fn jobs_of_a_suspended_partition_are_live() {
    let server = server(1).await;
    assert_eq!(server.post("/job-service/v1/partitions/p/suspend").await.status, 204);
    server.create("a").await;
    assert_eq!(server.put("b", BODY).await.status, 429);
}

#[tokio::test]
async fn there_may_be_no_limit() {
    let server = server(0).await;
    for id in ["a", "b", "c"] {
        server.create(id).await;
    }
}

#[tokio::test]
async fn refusals_are_counted_and_leave_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit");
    let config = Config { audit_log: Some(log.clone()), ..config(1) };
    let server = Server::with(config, Arc::new(MemoryStore::new())).await;
    server.create("a").await;
    assert_eq!(server.put("b", BODY).await.status, 429);
    let metrics = request(server.admin, "GET", "/metrics", &[], b"").await;
    let counted = metrics.text().lines().find(|line| line.starts_with("job_service_creates_refused_total"));
    assert_eq!(counted, Some("job_service_creates_refused_total{reason=\"live_jobs\"} 1"));
    server.shutdown.stop();
    assert!(soon(server.running).await.unwrap());
    let records = std::fs::read_to_string(log).unwrap();
    let refused = records.lines().find(|line| line.contains("\"job\":\"b\"")).expect("a record");
    assert!(refused.contains("\"allowed\":true") && refused.contains("\"status\":429"), "{refused}");
}
