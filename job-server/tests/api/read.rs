//! Reading one job.

use job_core::progress::{Percentage, ReportEvent};
use job_core::store::Action;
use job_core::{Clock as _, Failure, JobKey, SystemClock, Timestamp};
use serde_json::json;

use crate::client::soon;
use crate::server::{BODY, Server};

fn failure(message: &str) -> ReportEvent {
    ReportEvent::Failed(Failure {
        id: "RESULT_EXCEPTION".into(),
        time: Timestamp::from_millis(1_700_000_000_123),
        source: "W".into(),
        message: message.into(),
    })
}

#[tokio::test]
async fn a_job_has_the_contracts_members_first_and_nulls_are_present() {
    let server = Server::start().await;
    let body = BODY.replacen('{', r#"{"name":"N","labels":{"b":null,"a:1":"x"},"#, 1);
    server.put("j", &body).await;
    // Until it is dispatched its start is unknown, and afterwards it is a time.
    let job = server.get_job("j").await;
    let times = |text: &str| -> Vec<String> {
        text.split(['{', ',', '}']).filter(|member| member.contains("Time\":1")).map(str::to_owned).collect()
    };
    let mut text = job.text().to_owned();
    for member in times(job.text()) {
        let name = member.split(':').next().unwrap();
        text = text.replace(&member, &format!("{name}:TIME"));
    }
    let correlation_id = job.json()["correlationId"].as_str().unwrap().to_owned();
    let text = text.replace(&correlation_id, "ID").replace("\"startTime\":null", "\"startTime\":TIME");
    assert_eq!(
        text,
        r#"{"id":"j","name":"N","description":null,"externalData":null,"createTime":TIME,"lastUpdateTime":TIME,"#
            .to_owned()
            + r#""status":"Waiting","percentageComplete":0.0,"failures":[],"labels":{"a:1":"x","b":null},"#
            + r#""prerequisiteJobIds":[],"blockedBy":[],"failureCount":0,"#
            + r#""subtasks":{"total":null,"completed":0,"failed":0},"startTime":TIME,"finishTime":null,"#
            + r#""estimatedFinishTime":null,"delay":0,"type":null,"correlationId":"ID"}"#
    );
}

#[tokio::test]
async fn progress_and_failures_show() {
    let server = Server::start().await;
    server.create("j").await;
    server.report("j", ".1", ReportEvent::Complete).await;
    server.report("j", ".2", failure("first")).await;
    server.report("j", ".3*", ReportEvent::Progress(Percentage::from_number(50.0).unwrap())).await;
    let job = server.get_job("j").await.json();
    assert_eq!(job["status"], "Failed");
    assert_eq!(job["percentageComplete"], 50.0);
    assert_eq!(job["subtasks"], json!({"total": 3, "completed": 1, "failed": 1}));
    assert_eq!(job["failureCount"], 1);
    assert_eq!(
        job["failures"],
        json!([{
            "failureId": "RESULT_EXCEPTION", "failureTime": 1_700_000_000_123_i64,
            "failureSource": "W", "failureMessage": "first"
        }])
    );
    server.report("j", ".2", ReportEvent::Complete).await;
    server.report("j", ".3*", ReportEvent::Complete).await;
    let job = server.get_job("j").await;
    assert!(
        job.text().contains(r#""status":"Completed","percentageComplete":100.0,"failures":[]"#),
        "{job:?}"
    );
    assert!(job.json()["finishTime"].is_i64());
}

#[tokio::test]
async fn status_and_is_active_may_be_kept_for_a_while() {
    let server = Server::start().await;
    server.create("j").await;
    for (path, expected) in [("j/status", "\"Waiting\""), ("j/isActive", "true"), ("nope/isActive", "false")]
    {
        let answer = server.get(&Server::job_path(path)).await;
        assert_eq!((answer.status, answer.text()), (200, expected));
        assert_eq!(answer.header("cacheablejobstatus"), Some("true"));
        assert_eq!(answer.header("cache-control"), Some("no-transform, max-age=5"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let missing = server.get(&Server::job_path("nope/status")).await;
    assert_eq!((missing.status, missing.message().as_str()), (404, "job_id {nope} not found"));
    assert_eq!(missing.header("cacheablejobstatus"), None);
    let ping = server.get("/job-service/v1/ping").await;
    assert_eq!(ping.text(), r#"{"success" : true}"#);
}

#[tokio::test]
async fn tasks_are_listed_a_level_and_a_page_at_a_time() {
    let server = Server::start().await;
    server.create("j").await;
    for task in [".1", ".2.1", ".3"] {
        server.report("j", task, ReportEvent::Complete).await;
    }
    server.report("j", ".4", failure("no")).await;
    let tasks = server.get(&Server::job_path("j/tasks?limit=2")).await;
    assert_eq!(
        tasks.json(),
        json!([
            {"path": "1", "percentageComplete": 100.0, "failed": false,
             "subtasks": {"total": null, "completed": 0, "failed": 0}},
            {"path": "2", "percentageComplete": 50.0, "failed": false,
             "subtasks": {"total": null, "completed": 1, "failed": 0}},
        ])
    );
    let link = tasks.header("link").unwrap();
    assert_eq!(link, format!("<{}&after=2>; rel=\"next\"", Server::job_path("j/tasks?limit=2")));
    let rest = server.get(&Server::job_path("j/tasks?limit=2&after=2")).await;
    assert_eq!(rest.json().as_array().unwrap().len(), 2);
    assert_eq!(rest.json()[1]["failed"], true);
    assert_eq!(rest.header("link"), None);
    let below = server.get(&Server::job_path("j/tasks?path=2")).await.json();
    assert_eq!(below[0]["path"], "2.1");
    assert_eq!(server.get(&Server::job_path("nope/tasks")).await.status, 404);
}

#[tokio::test]
async fn all_failures_can_be_paged_through() {
    let server = Server::start().await;
    server.create("j").await;
    for number in 1..=150 {
        server.report("j", &format!(".{number}"), failure(&number.to_string())).await;
    }
    let job = server.get_job("j").await.json();
    assert_eq!(job["failures"].as_array().unwrap().len(), 100);
    assert_eq!(job["failureCount"], 150);
    let mut seen = Vec::new();
    let mut target = Server::job_path("j/failures?limit=60");
    loop {
        let page = server.get(&target).await;
        for failure in page.json().as_array().unwrap() {
            assert_eq!(failure["path"], failure["failureMessage"]);
            seen.push(failure["path"].as_str().unwrap().parse::<u32>().unwrap());
        }
        match page.header("link") {
            Some(link) => target = link[1..link.find('>').unwrap()].to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, (1..=150).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_long_poll_ends_when_the_job_does() {
    let server = Server::start().await;
    server.create("j").await;
    let key = JobKey::parse("p", "j").unwrap();
    let path = Server::job_path("j?wait=60");
    let waiting = server.get(&path);
    let cancelling = async {
        server.store.act(&key, Action::Cancel, SystemClock::new().now()).await.unwrap();
    };
    let (answer, ()) = soon(async { tokio::join!(waiting, cancelling) }).await;
    assert_eq!(answer.json()["status"], "Cancelled");
    server.create("k").await;
    let answer = server.get(&Server::job_path("k?wait=1")).await;
    assert_eq!(answer.json()["status"], "Waiting", "when the time is over, as it is");
    assert_eq!(server.get(&Server::job_path("nope?wait=60")).await.status, 404);
}
