//! What clients do to jobs, one at a time and many at once.

use futures::StreamExt as _;
use job_core::JobKey;
use job_core::progress::ReportEvent;
use job_core::queue::{ConsumeOptions, TaskQueue as _};
use serde_json::{Value, json};

use crate::client::{Answer, request};
use crate::server::Server;

async fn act(server: &Server, action: &str) -> Answer {
    server.post(&Server::job_path(action)).await
}

async fn status(server: &Server, id: &str) -> String {
    server.get(&Server::job_path(&format!("{id}/status"))).await.json().as_str().unwrap_or("gone").to_owned()
}

#[tokio::test]
async fn a_job_is_paused_resumed_and_cancelled() {
    let server = Server::start().await;
    server.create("j").await;
    for (action, after) in [
        ("pause", "Paused"),
        ("pause", "Paused"),
        ("resume", "Waiting"),
        ("pause", "Paused"),
        ("cancel", "Cancelled"),
        ("cancel", "Cancelled"),
    ] {
        let answer = act(&server, &format!("j/{action}")).await;
        assert_eq!((answer.status, answer.text()), (204, ""), "{action}");
        let now = status(&server, "j").await;
        // Once its first message is on the queue, a resumed job is Active.
        assert!(now == after || (action == "resume" && now == "Active"), "{action}: {now}");
    }
}

#[tokio::test]
async fn what_a_status_does_not_allow_is_refused_with_the_contracts_words() {
    let server = Server::start().await;
    server.create("j").await;
    server.report("j", "", ReportEvent::Complete).await;
    for (action, message) in [
        ("cancel", "job_id {j} cannot be cancelled"),
        (
            "pause",
            "job_id {j} cannot be paused as it has a status of {Completed}. Only jobs with a status of Active or Waiting can be paused.",
        ),
        (
            "resume",
            "job_id {j} cannot be resumed as it has a status of {Completed}. Only jobs with a status of Paused can be resumed.",
        ),
        (
            "redispatch",
            "job_id {j} cannot be redispatched as it has a status of {Completed}. Only jobs with a status of Active, Paused or Waiting can be redispatched.",
        ),
    ] {
        let answer = act(&server, &format!("j/{action}")).await;
        assert_eq!((answer.status, answer.message().as_str()), (400, message));
        let missing = act(&server, &format!("nope/{action}")).await;
        assert_eq!((missing.status, missing.message().as_str()), (404, "job_id {nope} not found"));
    }
}

#[tokio::test]
async fn a_first_message_is_published_once_more() {
    let server = Server::start().await;
    server.create("j").await;
    let options = ConsumeOptions { prefetch: 2 };
    let mut deliveries = server.queue.consume("w-in", options).await.unwrap();
    let first = deliveries.next().await.unwrap();
    let key = [JobKey::parse("p", "j").unwrap()];
    while server.store.get(&key).await.unwrap()[0].as_ref().unwrap().start_time.is_none() {
        tokio::task::yield_now().await;
    }
    let answer = act(&server, "j/redispatch").await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    let second = deliveries.next().await.unwrap();
    let task_id = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["taskId"].clone();
    assert_eq!(task_id(&second.body), task_id(&first.body));
}

#[tokio::test]
async fn a_deleted_job_is_gone_and_its_id_is_free() {
    let server = Server::start().await;
    server.create("j").await;
    let delete = || request(server.address, "DELETE", "/job-service/v1/partitions/p/jobs/j", &[], b"");
    assert_eq!(delete().await.status, 204);
    assert_eq!(delete().await.status, 404);
    assert_eq!(server.get_job("j").await.status, 404);
    server.create("j").await;
}

#[tokio::test]
async fn many_are_cancelled_and_deleted_by_what_selects_them() {
    let server = Server::start().await;
    for id in ["a1", "a2", "b1", "b2"] {
        server.create(id).await;
    }
    server.report("a2", "", ReportEvent::Complete).await;
    let bulk = |target: &str| format!("/job-service/v1/partitions/p/jobs:{target}");
    let cancelled = server.post(&bulk("cancel?jobIdStartsWith=a")).await;
    assert_eq!((cancelled.status, cancelled.text()), (200, r#"{"jobsCanceled":1}"#));
    assert_eq!(status(&server, "a2").await, "Completed");
    assert_eq!(status(&server, "b1").await, status(&server, "b2").await);
    let deleted = server.post(&bulk("delete?filter=id%3D%3Db*%3Bstatus!%3DCancelled")).await;
    assert_eq!(deleted.json(), json!({"jobsDeleted": 2}));
    assert_eq!(server.post(&bulk("cancel?labelExist=x")).await.json(), json!({"jobsCanceled": 0}));
    assert_eq!(server.post(&bulk("delete")).await.json(), json!({"jobsDeleted": 2}));
    assert_eq!(server.get("/job-service/v1/partitions/p/jobStats/count").await.text(), "0");
}
