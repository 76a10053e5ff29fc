//! Lists, counts, filters and pages.

use serde_json::{Value, json};

use crate::client::Answer;
use crate::server::{BODY, Server};

const JOBS: &str = "/job-service/v1/partitions/p/jobs";

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let jobs = answer.json();
    jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

async fn with_jobs() -> Server {
    let server = Server::start().await;
    for (id, extra) in [
        ("c", r#""name":"Gamma","labels":{"x":"1","y":null},"#),
        ("a", r#""name":"alpha","labels":{"tag:1":"v w"},"#),
        ("b", r#""name":"Beta","labels":{"x":"2"},"#),
        ("d", ""),
    ] {
        let body = BODY.replacen('{', &format!("{{{extra}"), 1);
        assert_eq!(server.put(id, &body).await.status, 201);
    }
    server.post(&Server::job_path("d/cancel")).await;
    server
}

#[tokio::test]
async fn lists_are_selected_and_sorted() {
    let server = with_jobs().await;
    for (query, expected) in [
        ("sort=jobId:asc", vec!["a", "b", "c", "d"]),
        ("sort=jobId:desc&limit=2", vec!["d", "c"]),
        ("sort=jobId:asc&limit=2&offset=1", vec!["b", "c"]),
        ("sort=name:asc", vec!["a", "b", "c", "d"]),
        ("sort=name:desc", vec!["d", "c", "b", "a"]),
        ("sort=labels.tag:1:asc&limit=1", vec!["a"]),
        ("sort=jobId:asc&statusType=NotFinished", vec!["a", "b", "c"]),
        ("sort=jobId:asc&statusType=Inactive", vec!["d"]),
        ("sort=jobId:asc&statusType=Completed", vec![]),
        ("jobIdStartsWith=a", vec!["a"]),
        ("jobIdStartsWith=A", vec![]),
        ("sort=jobId:asc&labelExist=x,tag:1", vec!["a", "b", "c"]),
        ("labelExist=y", vec!["c"]),
        ("sort=jobId:asc&filter=name==*a;labels.x=in=(1,2)", vec!["b", "c"]),
        ("filter=labels.tag:1=='v+w'", vec!["a"]),
        ("filter=labels.tag:1==%22v%20w%22%20and%20status!=Cancelled", vec!["a"]),
        ("sort=jobId:asc&limit=0", vec!["a", "b", "c", "d"]),
        ("sort=jobId:asc&unknown=1", vec!["a", "b", "c", "d"]),
    ] {
        assert_eq!(ids(&server.get(&format!("{JOBS}?{query}")).await), expected, "{query}");
    }
    assert_eq!(server.get("/job-service/v1/partitions/other/jobs").await.text(), "[]");
    assert_eq!(ids(&server.get(&format!("{JOBS}/?sort=jobId:asc&limit=1")).await), ["a"]);
}

#[tokio::test]
async fn counts_count() {
    let server = with_jobs().await;
    let stats = "/job-service/v1/partitions/p/jobStats";
    assert_eq!(server.get(&format!("{stats}/count")).await.text(), "4");
    assert_eq!(server.get(&format!("{stats}/count?statusType=NotFinished")).await.text(), "3");
    assert_eq!(server.get(&format!("{stats}/count?filter=name==*a")).await.text(), "3");
    assert_eq!(server.get(&format!("{stats}/count?jobIdStartsWith=c")).await.text(), "1");
    assert_eq!(
        server.get(stats).await.json(),
        json!({"Active": 0, "Cancelled": 1, "Completed": 0, "Failed": 0, "Paused": 0, "Waiting": 3})
    );
    assert_eq!(server.get(&format!("{stats}?labelExist=x")).await.json()["Waiting"], 2);
}

#[tokio::test]
async fn following_the_links_sees_every_job_once() {
    let server = Server::start().await;
    for number in 0..57 {
        let body = BODY.replacen('{', &format!(r#"{{"name":"n{}","#, number % 5), 1);
        server.put(&format!("j{number:02}"), &body).await;
    }
    for query in
        ["limit=10", "limit=10&sort=name:asc", "limit=19&sort=status:desc&filter=id==j*", "sort=labels.x:asc"]
    {
        let mut seen = Vec::new();
        let mut target = format!("{JOBS}?offset=0&{query}");
        loop {
            let page = server.get(&target).await;
            seen.extend(ids(&page));
            let Some(link) = page.header("link") else { break };
            assert!(link.ends_with(">; rel=\"next\"") && !link.contains("offset"), "{link}");
            target = link[1..link.find('>').unwrap()].to_owned();
        }
        assert_eq!(seen.len(), 57, "{query}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 57, "{query}");
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_sort() {
    let server = with_jobs().await;
    let page = server.get(&format!("{JOBS}?limit=1&sort=name:asc")).await;
    let after =
        page.header("link").unwrap().split("after=").nth(1).unwrap().split('>').next().unwrap().to_owned();
    let wrong = server.get(&format!("{JOBS}?after={after}")).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.message().contains("another sort"), "{wrong:?}");
}

#[tokio::test]
async fn a_listed_job_is_the_job() {
    let server = with_jobs().await;
    let listed: Value = server.get(&format!("{JOBS}?jobIdStartsWith=c")).await.json();
    assert_eq!(listed[0], server.get_job("c").await.json());
}
