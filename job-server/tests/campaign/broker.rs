//! Whatever happens to the broker: killed, restarted, out of memory; its queues deleted, full or of another type.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use job_conformance::store::seeded::Seeded;
use job_core::{Clock as _, SystemClock};
use testkit::{PostgresServer, RabbitServer};

use crate::clients::Mix;
use crate::http::call;
use crate::process::Process;
use crate::recovery::{Durations, beside, until};
use crate::rig::{PATIENCE, QUEUES, Rig};
use crate::{how_many, seed, verdict};

/// RabbitMQ 3.10 may forget a quorum queue that was declared in the three minutes before it is killed, with all that is on
/// it. A restart in order makes it keep those that there are.
pub(crate) async fn keep_queues(broker: &Arc<RabbitServer>) {
    let broker = Arc::clone(broker);
    beside(move || broker.restart()).await.unwrap();
}

async fn ctl<const N: usize>(broker: &Arc<RabbitServer>, arguments: [String; N]) {
    let broker = Arc::clone(broker);
    let run = move || broker.ctl(&arguments.each_ref().map(String::as_str));
    beside(run).await.unwrap();
}

async fn memory_limit(broker: &Arc<RabbitServer>, share: &str) {
    ctl(broker, ["set_vm_memory_high_watermark".to_owned(), share.to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_accepted_while_the_broker_is_away_and_come_to_their_workers_after() {
    let seed = seed();
    let rounds = how_many(3, 30);
    let mut random = Seeded::new(seed);
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let broker = Arc::new(RabbitServer::start().unwrap());
    let mut rig = Rig::new(&postgres, &broker.url()).await;
    keep_queues(&broker).await;
    let _server = rig.start().await;
    rig.load(4, Duration::from_millis(100), Mix::Everything, seed);
    let (mut after_kill, mut after_restart, mut after_alarm) =
        (Durations::default(), Durations::default(), Durations::default());
    for round in 0..rounds {
        rig.accepted_more(10 + random.below(40) as usize).await;
        let stopped = Arc::clone(&broker);
        let times = match round % 3 {
            0 => {
                beside(move || stopped.kill()).await.unwrap();
                &mut after_kill
            }
            1 => {
                beside(move || stopped.stop()).await.unwrap();
                &mut after_restart
            }
            _ => {
                memory_limit(&broker, "0").await;
                &mut after_alarm
            }
        };
        // Without a broker, or with one that takes nothing.
        rig.accepted_more(10).await;
        if round % 3 == 2 {
            memory_limit(&broker, "0.6").await;
        } else {
            keep_queues(&broker).await;
        }
        times.add(rig.recovered(SystemClock::new().now()).await.dispatched);
    }
    verdict::settle(rig, &format!("{rounds} outages of RabbitMQ, each third a memory alarm")).await;
    eprintln!(
        "from its return to a job that a worker has: killed {after_kill}; restarted {after_restart}; \
         after an alarm {after_alarm}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_queues_are_declared_again_and_what_was_on_them_is_done_after_a_redispatch() {
    let seed = seed();
    let deletions = how_many(3, 30);
    let mut random = Seeded::new(seed);
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let broker = Arc::new(RabbitServer::start().unwrap());
    let mut rig = Rig::new(&postgres, &broker.url()).await;
    let _server = rig.start().await;
    rig.load(4, Duration::from_millis(60), Mix::Everything, seed);
    let mut dispatched = Durations::default();
    for deletion in 0..deletions {
        rig.accepted_more(1 + random.below(40) as usize).await;
        let queue = format!("{}-{}", rig.name, QUEUES[deletion as usize % QUEUES.len()]);
        ctl(&broker, ["delete_queue".to_owned(), queue]).await;
        // A message that RabbitMQ takes in the moment after the deletion may go with the old queue.
        dispatched.add(rig.recovered_with_losses(SystemClock::new().now()).await);
    }
    verdict::redispatch_unfinished(&rig).await;
    verdict::settle(rig, &format!("{deletions} deletions of queues")).await;
    eprintln!("from a deletion to a job that a worker has: {dispatched}");
}

const FULL_JOBS: &str = "/job-service/v1/partitions/full/jobs";

async fn ask(server: &Process, method: Method, path: &str, body: String) -> String {
    let reply = call(server.address(), method, path, body).await.unwrap();
    assert!((200..300).contains(&reply.status), "{path}: {reply:?}");
    reply.body
}

/// The server would declare classic queues, and uses the quorum queues that are there; one of them takes no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_holds_up_its_own_jobs_and_says_so_and_those_of_another_type_are_used() {
    const JOBS: usize = 20;
    let seed = seed();
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let broker = Arc::new(RabbitServer::start().unwrap());
    let mut rig = Rig::new(&postgres, &broker.url()).await;
    let full = format!("{}-full", rig.name);
    let policy = |verb: &str| [verb.to_owned(), "full".to_owned()];
    ctl(
        &broker,
        [
            "set_policy".to_owned(),
            "full".to_owned(),
            format!("^{full}$"),
            r#"{"max-length":1,"overflow":"reject-publish"}"#.to_owned(),
        ],
    )
    .await;
    let server = rig.start_with(&[("CAF_RABBITMQ_QUEUE_TYPE", "classic")]).await;
    rig.load(3, Duration::from_millis(60), Mix::Everything, seed);
    for number in 0..JOBS {
        let body = serde_json::json!({ "task": {
            "taskClassifier": "W", "taskApiVersion": 1, "taskData": "data", "taskPipe": full,
        }});
        ask(&server, Method::PUT, &format!("{FULL_JOBS}/job-{number}"), body.to_string()).await;
    }
    // How many of them say that they are held up.
    let held = async || {
        let mut held = 0;
        for number in 0..JOBS {
            let job = ask(&server, Method::GET, &format!("{FULL_JOBS}/job-{number}"), String::new()).await;
            let job: serde_json::Value = serde_json::from_str(&job).unwrap();
            held += usize::from(job["blockedBy"].to_string().contains("full"));
        }
        held
    };
    let most = until(PATIENCE, async || (held().await >= JOBS / 2).then_some(())).await;
    most.unwrap_or_else(|| panic!("the jobs say nothing: {:#?}", server.last_lines()));
    // All others go on meanwhile.
    rig.accepted_more(30).await;
    rig.recovered(SystemClock::new().now()).await;
    ctl(&broker, policy("clear_policy")).await;
    let none = until(PATIENCE, async || (held().await == 0).then_some(())).await;
    none.expect("all are dispatched when there is room");
    for number in 0..JOBS {
        ask(&server, Method::DELETE, &format!("{FULL_JOBS}/job-{number}"), String::new()).await;
    }
    let (totals, _) = verdict::settle(rig, "a full queue").await;
    assert_eq!(totals.repeats.all(), 0, "{totals}");
}
