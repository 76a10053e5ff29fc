//! The paused queue: what cannot be kept is put on its error queue, what belongs to no job any more is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use job_core::message::{TaskMessage, TaskStatus};
use job_core::queue::{Delivery, TaskQueue};
use job_core::store::Action;
use job_core::stower::{Stower, StowerCounts, StowerSettings};
use job_core::{Engine, EngineSettings, JobKey, JobService, NewJob, Shutdown, TaskSpec};
use job_store_memory::MemoryStore;

use crate::broker::{Broker, DEADLINE, until};
use crate::corpus::{WRONG_IDS, message, unreadable};
use crate::java::JavaWorker;
use crate::{drain, is_set_aside};

const PAUSED: &str = "paused-in";
const ERRORS: &str = "paused-in-err";
const TASKS: &str = "w-in";

/// Readable, and of no job that could be resumed: the name, the body and the reason.
fn unwanted() -> Vec<(String, String, &'static str)> {
    let mut cases = vec![
        ("untracked".to_owned(), message("untracked", TASKS, &[]), "Tracking info not present"),
        (
            "no id".to_owned(),
            message("no id", TASKS, &[("tracking.jobTaskId", "null")]),
            "Job task ID not present",
        ),
    ];
    for (name, to) in [("no destination", "null"), ("empty destination", r#""""#)] {
        let body = message(name, TASKS, &[("to", to), ("tracking.jobTaskId", r#""acme:neighbours.1""#)]);
        cases.push((name.to_owned(), body, "names no queue"));
    }
    for (name, id) in WRONG_IDS {
        let reason = if id().is_empty() { "Job task ID not present" } else { "Failed to parse job ID" };
        cases.push((
            name.to_owned(),
            message(name, TASKS, &[("tracking.jobTaskId", &format!("{:?}", id()))]),
            reason,
        ));
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_is_set_aside_once_and_its_neighbours_are_kept() {
    let (bodies, unwanted) = (unreadable(PAUSED), unwanted());
    let broker = Broker::start().await;
    let worker = JavaWorker::start(&broker).await;
    worker.declare(PAUSED).await;
    let queue = Arc::new(broker.connect().await);
    let service = JobService::new(Arc::new(MemoryStore::new()));
    let key = JobKey::parse("acme", "neighbours").unwrap();
    service.create(NewJob::new(key.clone(), TaskSpec::json("W", TASKS, &()).unwrap())).await.unwrap();
    service.act(&key, Action::Pause).await.unwrap();

    let mut kept = Vec::new();
    let wrong = bodies.iter().map(|body| &body.bytes[..]);
    for body in wrong.chain(unwanted.iter().map(|(_, body, _)| body.as_bytes())) {
        let id = format!("{:?}", format!("acme:neighbours.{}", kept.len() + 1));
        let good = message(&format!("good {}", kept.len()), TASKS, &[("tracking.jobTaskId", &id)]);
        worker.publish(PAUSED, good.as_bytes()).await;
        worker.publish(PAUSED, body).await;
        kept.push(good);
    }
    // Of jobs that nobody knows: in another partition, or in none.
    for id in [r#""other:neighbours.1""#, r#""neighbours.1""#, r#""acme:gone.1""#] {
        worker.publish(PAUSED, message("stray", TASKS, &[("tracking.jobTaskId", id)]).as_bytes()).await;
    }

    let shutdown = Shutdown::new();
    let stower = Stower::new(
        Arc::clone(service.store()),
        Arc::clone(&queue) as Arc<dyn TaskQueue>,
        Arc::clone(service.clock()),
        service.signals().clone(),
        StowerSettings::new(PAUSED),
    );
    let counts = stower.counts();
    shutdown.spawn(stower.run(shutdown.child()));
    let refused = bodies.len() + unwanted.len();
    let expected = StowerCounts { kept: kept.len() as u64, dropped: 3, refused: refused as u64 };
    until("all messages", async || *counts.borrow() == expected).await;
    until("an empty queue", async || queue.depth(PAUSED).await.unwrap() == Some(0)).await;
    assert!(shutdown.drain(service.clock().as_ref(), DEADLINE).await);
    assert_eq!(*counts.borrow(), expected);

    let set_aside = drain(&*queue, ERRORS, refused).await;
    let mut by_body: BTreeMap<&[u8], &Delivery> = BTreeMap::new();
    let mut answers: BTreeMap<String, TaskMessage> = BTreeMap::new();
    for delivery in &set_aside {
        match TaskMessage::decode(&delivery.body) {
            Ok(answer) => drop(answers.insert(answer.task_id.clone(), answer)),
            Err(_) => drop(by_body.insert(&delivery.body, delivery)),
        }
    }
    assert_eq!((by_body.len(), answers.len()), (bodies.len(), unwanted.len()), "something came twice");
    for body in &bodies {
        is_set_aside(by_body[&body.bytes[..]], &body.name, body.reason);
    }
    for (name, _, reason) in &unwanted {
        let answer = &answers[name];
        assert_eq!(answer.task_status, Some(TaskStatus::ResultFailure), "{name}");
        let text = String::from_utf8_lossy(answer.task_data.as_deref().unwrap()).into_owned();
        assert!(text.contains(reason), "{name}: {text}");
    }
    println!("{refused} malformed messages set aside, {} neighbours kept", kept.len());

    // Every neighbour comes back, byte for byte, behind the job's own first message.
    let settings = EngineSettings { tracker: None, stower: None, ..EngineSettings::default() };
    let engine = Engine::start_with(service, Arc::new(broker.connect().await), settings);
    assert!(engine.service().act(&key, Action::Resume).await.unwrap());
    let resumed = kept.len() as u64 + 1;
    until("all neighbours", async || queue.depth(TASKS).await.unwrap_or(None) == Some(resumed)).await;
    let mut released: Vec<String> = drain(&*queue, TASKS, kept.len() + 1)
        .await
        .iter()
        .map(|delivery| String::from_utf8_lossy(&delivery.body).into_owned())
        .filter(|body| body.contains("\"good "))
        .collect();
    released.sort();
    kept.sort();
    assert_eq!(released, kept);
    assert!(engine.stop().await);
    queue.close().await;
}
