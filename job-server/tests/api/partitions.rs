//! Suspended partitions, and the graph around a job.

use std::time::Duration;

use job_core::{ClockExt as _, JobKey, SystemClock};
use job_server::Config;
use serde_json::json;

use crate::client::soon;
use crate::server::{BODY, Server};

const PARTITION: &str = "/job-service/v1/partitions/p";
const LIST: &str = "/job-service/v1/suspendedPartitions";

/// Waits until the dispatcher has put the job's first message on its queue.
async fn started(server: &Server, id: &str) {
    soon(async {
        while server.get_job(id).await.json()["startTime"].is_null() {
            let _ = SystemClock::new().timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_suspended_partition_starts_nothing_until_it_is_resumed() {
    let server = Server::start().await;
    for _ in 0..2 {
        let answer = server.post(&format!("{PARTITION}/suspend")).await;
        assert_eq!((answer.status, answer.text()), (204, ""));
    }
    assert_eq!(server.get(LIST).await.json(), json!([{"partitionId": "p"}]));
    server.create("held").await;
    let elsewhere = "/job-service/v1/partitions/q/jobs/free";
    let headers = [crate::server::JSON];
    let answer = crate::client::request(server.address, "PUT", elsewhere, &headers, BODY.as_bytes()).await;
    assert_eq!(answer.status, 201);
    // That the other one starts shows that the dispatcher has been by.
    soon(async {
        while server.get(elsewhere).await.json()["startTime"].is_null() {
            let _ = SystemClock::new().timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
        }
    })
    .await;
    assert!(server.get_job("held").await.json()["startTime"].is_null());
    assert_eq!(server.post(&format!("{PARTITION}/resume")).await.status, 204);
    started(&server, "held").await;
    assert_eq!(server.get(LIST).await.json(), json!([]));
}

#[tokio::test]
async fn a_partition_that_the_configuration_suspends_is_listed_and_resumed() {
    let config = Config { suspended_partitions: Some("p".parse().unwrap()), ..Config::default() };
    let server = Server::with(config, std::sync::Arc::new(job_store_memory::MemoryStore::new())).await;
    server.create("held").await;
    assert_eq!(server.get(LIST).await.json(), json!([{"partitionId": "p"}]));
    assert_eq!(server.post(&format!("{PARTITION}/resume")).await.status, 204);
    started(&server, "held").await;
    server.create("later").await;
    assert_eq!(server.get(LIST).await.json(), json!([{"partitionId": "p"}]), "the configuration still holds");
}

#[tokio::test]
async fn suspended_partitions_are_paged_through() {
    let server = Server::start().await;
    for id in ["a", "b", "c%20d"] {
        server.post(&format!("/job-service/v1/partitions/{id}/suspend")).await;
    }
    let page = server.get(&format!("{LIST}?limit=2")).await;
    assert_eq!(page.json(), json!([{"partitionId": "a"}, {"partitionId": "b"}]));
    let link = page.header("link").unwrap();
    let rest = server.get(&link[1..link.find('>').unwrap()]).await;
    assert_eq!(rest.json(), json!([{"partitionId": "c d"}]));
    assert_eq!(rest.header("link"), None);
    for (method, target, expected) in [
        ("GET", format!("{LIST}?after=a.b"), "after: The partition ID contains"),
        ("GET", format!("{LIST}?limit=x"), "limit is \"x\""),
        ("POST", "/job-service/v1/partitions/a.b/suspend".into(), "The partition ID contains"),
        ("POST", "/job-service/v1/partitions/a*/resume".into(), "The partition ID contains"),
    ] {
        let answer = crate::client::request(server.address, method, &target, &[], b"").await;
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.message().contains(expected), "{target}: {}", answer.message());
    }
}

async fn create_after(server: &Server, id: &str, prerequisites: &[&str]) {
    let ids = serde_json::to_string(prerequisites).unwrap();
    let body = BODY.replacen('{', &format!("{{\"name\":\"N {id}\",\"prerequisiteJobIds\":{ids},"), 1);
    let answer = server.put(id, &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn the_graph_shows_what_a_job_waits_for_and_what_waits_for_it() {
    let server = Server::start().await;
    for (id, prerequisites) in [
        ("a", &[][..]),
        ("b", &["a", "nobody"]),
        ("other", &["a"]),
        ("c", &["b"]),
        ("d", &["b", "unrelated"]),
        ("e", &["c", "d"]),
    ] {
        create_after(&server, id, prerequisites).await;
    }
    let graph = server.get(&Server::job_path("c/dependencies")).await.json();
    let node = |id: &str| json!({"id": id, "name": format!("N {id}"), "status": "Waiting", "percentageComplete": 0.0});
    let edge =
        |prerequisite: &str, dependent: &str| json!({"prerequisite": prerequisite, "dependent": dependent});
    let missing = json!({"id": "nobody", "name": null, "status": "missing", "percentageComplete": null});
    assert_eq!(
        graph,
        json!({
            "nodes": [node("a"), node("b"), node("c"), node("e"), missing],
            "edges": [edge("a", "b"), edge("b", "c"), edge("c", "e"), edge("nobody", "b")],
            "truncated": false,
        })
    );
    let nearest = server.get(&Server::job_path("c/dependencies?limit=3")).await.json();
    assert_eq!(nearest["truncated"], true);
    assert_eq!(nearest["nodes"], json!([node("b"), node("c"), node("e")]));
    server.report("a", "", job_core::progress::ReportEvent::Complete).await;
    let graph = server.get(&Server::job_path("a/dependencies")).await.json();
    assert_eq!((graph["nodes"].as_array().unwrap().len(), &graph["edges"]), (1, &json!([])));
    let graph = server.get(&Server::job_path("b/dependencies")).await.json();
    assert!(graph["edges"].as_array().unwrap().contains(&edge("a", "b")), "met, and shown still: {graph}");
    let b = server.get(&Server::job_path("b")).await.json();
    assert_eq!(b["prerequisiteJobIds"], json!(["nobody", "a"]));
    assert_eq!(b["blockedBy"], json!([{"jobId": "nobody", "status": "missing"}]));
    assert_eq!(server.get(&Server::job_path("none/dependencies")).await.status, 404);
    let wrong = server.get(&Server::job_path("a/dependencies?limit=1001")).await;
    assert_eq!((wrong.status, wrong.message().contains("0 to 1000")), (400, true));
}

#[tokio::test]
async fn a_wide_graph_is_cut() {
    let server = Server::start().await;
    server.create("root").await;
    for number in 0..30 {
        create_after(&server, &format!("d{number:02}"), &["root"]).await;
    }
    let graph = server.get(&Server::job_path("root/dependencies?limit=10")).await.json();
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 10);
    assert_eq!(graph["edges"].as_array().unwrap().len(), 9);
    assert_eq!(graph["truncated"], true);
    assert!(server.store.get(&[JobKey::parse("p", "root").unwrap()]).await.unwrap()[0].is_some());
}
