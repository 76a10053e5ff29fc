//! Nothing that happens in one partition changes another, whatever it is called.

use std::sync::Arc;

use job_core::progress::ReportEvent;
use job_core::query::{JobQuery, Sort};
use job_core::store::{JobStore, TaskReport};
use job_core::{Failure, JobKey, PartitionId, TaskPath, Timestamp};
use job_server::Config;
use job_store_memory::MemoryStore;
use proptest::prelude::*;
use proptest::test_runner::{Config as Settings, TestRunner};

use crate::client::Connection;
use crate::server::{JSON, Server};

/// What a client or a worker does.
#[derive(Debug, Clone)]
enum Step {
    Create {
        job: usize,
        prerequisites: Vec<usize>,
        label: usize,
    },
    /// One of the requests in [`REQUESTS`].
    Ask {
        request: usize,
        job: usize,
    },
    Report {
        job: usize,
        task: u32,
        is_final: bool,
        fails: bool,
    },
}

/// The same in every partition.
const JOBS: [&str; 5] = ["j", "J", "j1", "own", "other"];
const LABELS: [&str; 3] = ["a", "other", "own:a"];

/// `JOB` stands for a job; the rest tries to widen what it selects.
const REQUESTS: [&str; 21] = [
    "DELETE /jobs/JOB",
    "POST /jobs/JOB/cancel",
    "POST /jobs/JOB/pause",
    "POST /jobs/JOB/resume",
    "GET /jobs/JOB",
    "GET /jobs/JOB/tasks",
    "GET /jobs?limit=10000",
    "GET /jobs?filter=partitionId==other",
    "POST /jobs:cancel",
    "POST /jobs:delete",
    "POST /jobs:delete?jobIdStartsWith=JOB",
    "POST /jobs:cancel?filter=id==JOB",
    "POST /jobs:delete?filter=id==*",
    "POST /jobs:cancel?filter=name==*,id==*,status!=Completed",
    "POST /jobs:delete?filter=partitionId==other",
    "POST /jobs:delete?filter=labels.other==*,labels.a==x",
    "POST /jobs:cancel?labelExist=a,other,own:a",
    "POST /jobs:delete?partitionId=other",
    "POST /jobs:cancel?partition=other&filter=id=in=(j,J,j1,own,other)",
    "DELETE /jobs/JOB?partitionId=other",
    "DELETE /../other/jobs/JOB",
];

fn step() -> impl Strategy<Value = Step> {
    let job = || 0..JOBS.len();
    prop_oneof![
        2 => (job(), prop::collection::vec(job(), 0..3), 0..LABELS.len())
            .prop_map(|(job, prerequisites, label)| Step::Create { job, prerequisites, label }),
        3 => (0..REQUESTS.len(), job()).prop_map(|(request, job)| Step::Ask { request, job }),
        2 => (job(), 1..4_u32, any::<bool>(), any::<bool>())
            .prop_map(|(job, task, is_final, fails)| Step::Report { job, task, is_final, fails }),
    ]
}

fn failure() -> Failure {
    Failure {
        id: "RESULT_EXCEPTION".into(),
        time: Timestamp::from_millis(1),
        source: "W".into(),
        message: "why".into(),
    }
}

async fn perform(server: &Server, connection: &mut Connection, partition: &str, step: &Step) {
    let base = format!("/job-service/v1/partitions/{partition}");
    let (method, target, body) = match step {
        Step::Create { job, prerequisites, label } => {
            let prerequisites: Vec<_> = prerequisites.iter().map(|job| JOBS[*job]).collect();
            let body = serde_json::json!({
                "name": JOBS[*job], "prerequisiteJobIds": prerequisites, "labels": {LABELS[*label]: "x"},
                "partitionId": "other", "partition": "other",
                "task": {"taskClassifier": "W", "taskApiVersion": 1, "taskData": "x", "taskPipe": "w-in"},
            });
            ("PUT", format!("{base}/jobs/{}", JOBS[*job]), body.to_string())
        }
        Step::Ask { request, job } => {
            let request = REQUESTS[*request].replace("JOB", JOBS[*job]);
            let (method, target) = request.split_once(' ').unwrap();
            (
                if method == "GET" {
                    "GET"
                } else if method == "POST" {
                    "POST"
                } else {
                    "DELETE"
                },
                format!("{base}{target}"),
                String::new(),
            )
        }
        Step::Report { job, task, is_final, fails } => {
            let mark = if *is_final { "*" } else { "" };
            let event = if *fails { ReportEvent::Failed(failure()) } else { ReportEvent::Complete };
            let report = TaskReport {
                job: JobKey::parse(partition, JOBS[*job]).unwrap(),
                task: format!("{task}{mark}").parse().unwrap(),
                event,
            };
            server.store.record(&[report], Timestamp::from_millis(1)).await.unwrap();
            return;
        }
    };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(request).await;
    let answer = connection.answer(false).await.unwrap();
    assert!(answer.status < 500, "{step:?}: {answer:?}");
}

/// Everything that is known of a partition.
async fn dump(store: &dyn JobStore, partition: &str) -> String {
    let partition = PartitionId::new(partition).unwrap();
    let query = JobQuery {
        sort: "jobId:asc".parse::<Sort>().unwrap(),
        limit: 1_000,
        ..JobQuery::new(partition.clone())
    };
    let page = store.list(&query).await.unwrap();
    let mut dump = format!("{:?}\n", store.count(&partition, &query.selection).await.unwrap());
    for job in &page.jobs {
        let tasks = store.tasks(&job.key, &TaskPath::root(), 0, 1_000).await.unwrap();
        let failures = store.failures(&job.key, 0, 1_000).await.unwrap();
        dump.push_str(&format!("{job:?} {tasks:?} {failures:?}\n"));
    }
    dump
}

#[test]
fn what_happens_in_one_partition_leaves_another_as_it_was() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a switch of the test run, not of the server")]
    let cases = if std::env::var_os("JOB_CAMPAIGN").is_some() { 10_000 } else { 500 };
    // Without the parts that work in the background: what changes is what the steps change.
    let config = Config { roles: "api".parse().unwrap(), ..Config::default() };
    let server = runtime.block_on(Server::with(config, Arc::new(MemoryStore::new())));
    let steps = || prop::collection::vec(step(), 1..12);
    let case = std::cell::Cell::new(0);
    TestRunner::new(Settings { cases, failure_persistence: None, ..Settings::default() })
        .run(&(steps(), steps()), |(theirs, ours)| {
            // Partitions of their own for each case, with nothing in common but how they begin.
            case.set(case.get() + 1);
            let (own, other) = (format!("own{}", case.get()), format!("own{}x", case.get()));
            let (before, after) = runtime.block_on(async {
                let mut connection = Connection::open(server.address).await;
                for step in &theirs {
                    perform(&server, &mut connection, &other, step).await;
                }
                let before = dump(server.store.as_ref(), &other).await;
                for step in &ours {
                    perform(&server, &mut connection, &own, step).await;
                }
                (before, dump(server.store.as_ref(), &other).await)
            });
            prop_assert_eq!(before, after);
            Ok(())
        })
        .unwrap();
}
