//! Creating jobs.

use futures::StreamExt as _;
use job_core::message::TaskMessage;
use job_core::queue::{ConsumeOptions, TaskQueue as _};
use serde_json::{Value, json};

use crate::client::{request, soon};
use crate::server::{BODY, JSON, Server};

/// The first message of the only job on a queue.
pub(crate) async fn first_message(server: &Server, queue: &str) -> TaskMessage {
    let mut consumer = server.queue.consume(queue, ConsumeOptions { prefetch: 1 }).await.unwrap();
    let delivery = soon(consumer.next()).await.unwrap();
    let message = TaskMessage::decode(&delivery.body).unwrap();
    delivery.ack().await.unwrap();
    message
}

fn with_data(data: Value, encoding: Option<&str>) -> String {
    let mut body: Value = serde_json::from_str(BODY).unwrap();
    body["task"]["taskData"] = data;
    if let Some(encoding) = encoding {
        body["task"]["taskDataEncoding"] = encoding.into();
    }
    body.to_string()
}

#[tokio::test]
async fn a_created_job_is_located_and_a_repeat_changes_nothing() {
    let server = Server::start().await;
    let created = server.put("a%20b", BODY).await;
    assert_eq!((created.status, created.text()), (201, ""));
    let location = format!("http://{}/job-service/v1/partitions/p/jobs/a%20b", server.address);
    assert_eq!(created.header("location"), Some(location.as_str()));
    let before = server.get_job("a%20b").await.json();
    assert_eq!(before["id"], "a b");
    let repeated = server.put("a%20b", BODY).await;
    assert_eq!((repeated.status, repeated.header("location")), (204, None));
    assert_eq!(server.get_job("a%20b").await.json()["createTime"], before["createTime"]);
    let different = server.put("a%20b", &with_data("other".into(), None)).await;
    assert_eq!((different.status, different.message().as_str()), (403, "Job already exists"));
}

#[tokio::test]
async fn requests_that_mean_the_same_are_repeats() {
    let server = Server::start().await;
    let first = r#"{"name":"1","delay":0,"task":{"taskClassifier":"W","taskApiVersion":1,
        "taskData":{"a":1,"b":[1.0]},"taskPipe":"w-in","targetPipe":null}}"#;
    assert_eq!(server.put("j", first).await.status, 201);
    for same in [
        r#"{"task":{"taskPipe":"w-in","taskData":{"b":[1],"a":1.0},"taskApiVersion":"1","taskClassifier":"W"},"name":1}"#,
        r#"{"name":"1","labels":{},"prerequisiteJobIds":[],"description":null,"parameters":null,"unknown":{"x":[]},
            "task":{"taskClassifier":"W","taskApiVersion":1.9,"taskData":{"a":1,"b":[1.0]},"taskPipe":"w-in","more":1}}"#,
    ] {
        assert_eq!(server.put("j", same).await.status, 204, "{same}");
    }
    for different in [
        r#"{"name":"1","task":{"taskClassifier":"W","taskApiVersion":1,"taskData":{"a":1,"b":["1"]},"taskPipe":"w-in"}}"#,
        r#"{"name":"1","task":{"taskClassifier":"W","taskApiVersion":2,"taskData":{"a":1,"b":[1]},"taskPipe":"w-in"}}"#,
        r#"{"name":"1","labels":{"x":null},"task":{"taskClassifier":"W","taskApiVersion":1,"taskData":{"a":1,"b":[1]},"taskPipe":"w-in"}}"#,
        r#"{"name":"1","prerequisiteJobIds":["x"],"task":{"taskClassifier":"W","taskApiVersion":1,"taskData":{"a":1,"b":[1]},"taskPipe":"w-in"}}"#,
    ] {
        assert_eq!(server.put("j", different).await.status, 403, "{different}");
    }
}

#[tokio::test]
async fn identical_requests_at_once_create_one_job() {
    let server = Server::start().await;
    for round in 0..20 {
        let id = format!("j{round}");
        let answers = futures::future::join_all((0..8).map(|_| server.put(&id, BODY))).await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 204, 204, 204, 204, 204, 204, 204]);
    }
}

#[tokio::test]
async fn task_data_reaches_the_worker_as_it_was_meant() {
    let server = Server::start().await;
    for (index, (data, encoding, expected)) in [
        (json!("é \u{1f600}"), None, "é \u{1f600}".as_bytes().to_vec()),
        (json!("plain"), Some("utf8"), b"plain".to_vec()),
        (json!("/+8="), Some("base64"), vec![0xff, 0xef]),
        (json!("_-8"), Some("base64"), vec![0xff, 0xef]),
        (json!(" a\nG.VsbG8=ignored"), Some("base64"), b"hello".to_vec()),
        (json!("aGVsbG8a"), Some("base64"), b"hello\x1a".to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        let queue = format!("q{index}");
        let body = with_data(data.clone(), encoding).replace("w-in", &queue);
        assert_eq!(server.put(&queue, &body).await.status, 201, "{data}");
        let message = first_message(&server, &queue).await;
        assert_eq!(message.task_data.as_deref(), Some(&expected[..]), "{data}");
    }
    let body = BODY
        .replace("w-in", "objects")
        .replace("\"data\"", "{ \"z\" : [ 1.50, \"a b\" ],\n\"a\" : {\"é\":1e2} }");
    assert_eq!(server.put("object", &body).await.status, 201);
    let message = first_message(&server, "objects").await;
    let expected = "{\"z\":[1.50,\"a b\"],\"a\":{\"é\":1e2}}";
    assert_eq!(message.task_data.as_deref(), Some(expected.as_bytes()), "in the order received");
}

#[tokio::test]
async fn the_first_message_carries_what_the_request_said() {
    let server = Server::start().await;
    let body = r#"{"task":{"taskClassifier":true,"taskApiVersion":"7","taskData":"x","taskPipe":"w-in","targetPipe":"out"}}"#;
    let path = Server::job_path("x%7B1%7D%2Fy");
    let answer =
        request(server.address, "PUT", &path, &[JSON, "CAF-Correlation-Id: c-1"], body.as_bytes()).await;
    assert_eq!(answer.status, 201);
    let message = first_message(&server, "w-in").await;
    assert_eq!(message.task_classifier.as_deref(), Some("true"));
    assert_eq!(message.task_api_version, 7);
    assert_eq!(message.correlation_id.as_deref(), Some("c-1"));
    let tracking = message.tracking.unwrap();
    assert_eq!(tracking.job_task_id.as_deref(), Some("p:x{1}/y"));
    assert_eq!(tracking.track_to.as_deref(), Some("out"));
    let url = tracking.status_check_url.unwrap();
    let target = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
    assert_eq!(server.get(target).await.json(), "Waiting", "{url}");
}

#[tokio::test]
async fn prerequisites_are_awaited_and_shown() {
    let server = Server::start().await;
    server.create("first").await;
    let body = BODY.replacen(
        '{',
        r#"{"prerequisiteJobIds":["first",null," ","later","old,pc","new,x,"],"delay":0,"#,
        1,
    );
    assert_eq!(server.put("j", &body).await.status, 201);
    let job = server.get_job("j").await.json();
    assert_eq!(job["prerequisiteJobIds"], json!(["first", "later", "new", "old"]));
    assert_eq!(
        job["blockedBy"],
        json!([
            {"jobId": "first", "status": "Waiting"},
            {"jobId": "later", "status": "missing"},
            {"jobId": "new", "status": "missing"},
        ])
    );
    let cycle = BODY.replacen('{', r#"{"prerequisiteJobIds":["j"],"#, 1);
    let refused = server.put("later", &cycle).await;
    assert_eq!(refused.status, 400);
    assert!(refused.message().contains("later"), "{refused:?}");
}

#[tokio::test]
async fn bodies_may_be_compressed_and_chunked() {
    use std::io::Write as _;
    let server = Server::start().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(BODY.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(BODY.as_bytes()).unwrap();
    let zlib = zlib.finish().unwrap();
    for (coding, body) in [("gzip", &gzip), ("x-gzip", &gzip), ("deflate", &zlib), ("identity", &BODY.into())]
    {
        let header = format!("Content-Encoding: {coding}");
        let path = Server::job_path("j");
        let answer = request(server.address, "PUT", &path, &[JSON, &header], body).await;
        assert!(matches!(answer.status, 201 | 204), "{coding}: {answer:?}");
    }
    let chunked = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{BODY}\r\n0\r\n\r\n",
        Server::job_path("j"),
        BODY.len()
    );
    assert_eq!(crate::client::raw(server.address, chunked).await.unwrap().status, 204);
}

#[tokio::test]
async fn other_spellings_of_json_are_taken() {
    let server = Server::start().await;
    let path = Server::job_path("j");
    for headers in [
        &[][..],
        &["Content-Type: application/json; charset=UTF-8"],
        &["Content-Type: Application/JSON;charset=\"utf-8\""],
    ] {
        let answer = request(server.address, "PUT", &path, headers, BODY.as_bytes()).await;
        assert!(matches!(answer.status, 201 | 204), "{headers:?}: {answer:?}");
    }
}
