//! `kill -9` at random moments, again and again, under load: of a server that is one process, then of its parts and of
//! workers in processes of their own.

use std::sync::Arc;
use std::time::Duration;

use job_conformance::store::seeded::Seeded;
use job_core::{Clock as _, SystemClock};
use testkit::PostgresServer;

use crate::clients::Mix;
use crate::recovery::Durations;
use crate::rig::Rig;
use crate::{how_many, seed, verdict};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_server_at_random_moments_loses_nothing() {
    let kills = how_many(12, 100);
    let seed = seed();
    let mut random = Seeded::new(seed);
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let mut rig = Rig::new(&postgres, testkit::rabbit().unwrap()).await;
    let mut server = rig.start().await;
    rig.load(4, Duration::from_millis(60), Mix::Everything, seed);
    let (mut accepted, mut dispatched) = (Durations::default(), Durations::default());
    for _ in 0..kills {
        // The moment is a random number of jobs away.
        rig.accepted_more(1 + random.below(60) as usize).await;
        let killed = SystemClock::new().now();
        server.kill();
        server = rig.start().await;
        let recovery = rig.recovered(killed).await;
        accepted.add(recovery.accepted);
        dispatched.add(recovery.dispatched);
    }
    let (totals, _) = verdict::settle(rig, &format!("{kills} kills of the server")).await;
    eprintln!("from a kill to a job that is accepted: {accepted}; to one that a worker has: {dispatched}");
    assert!(totals.accepted > kills as usize, "{totals:?}");
}

/// The parts of a server and two workers, each of them killed now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_servers_trackers_and_workers_at_random_moments_loses_nothing() {
    const SERVER: [(&str, &str); 1] = [("JOB_SERVICE_ROLES", "api,dispatcher")];
    const TRACKER: [(&str, &str); 1] = [("JOB_SERVICE_ROLES", "tracker,stower")];
    let kills = how_many(8, 100);
    let seed = seed();
    let mut random = Seeded::new(seed);
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let mut rig = Rig::without_workers(&postgres, testkit::rabbit().unwrap()).await;
    let (mut server, mut tracker) = (rig.start_with(&SERVER).await, rig.start_with(&TRACKER).await);
    let mut workers = [rig.start_worker(), rig.start_worker()];
    rig.load(4, Duration::from_millis(60), Mix::Everything, seed);
    let (mut accepted, mut dispatched) = (Durations::default(), Durations::default());
    let mut killed = [0; 3];
    for _ in 0..kills {
        rig.accepted_more(1 + random.below(40) as usize).await;
        let victim = random.below(3) as usize;
        killed[victim] += 1;
        let moment = SystemClock::new().now();
        match victim {
            0 => {
                server.kill();
                server = rig.start_with(&SERVER).await;
            }
            1 => {
                tracker.kill();
                tracker = rig.start_with(&TRACKER).await;
            }
            _ => {
                let worker = random.below(workers.len() as u64) as usize;
                workers[worker].kill();
                workers[worker] = rig.start_worker();
            }
        }
        let recovery = rig.recovered(moment).await;
        accepted.add(recovery.accepted);
        dispatched.add(recovery.dispatched);
    }
    let [servers, trackers, both_workers] = killed;
    let what = format!("{servers} kills of the server, {trackers} of the tracker, {both_workers} of workers");
    let (totals, _) = verdict::settle(rig, &what).await;
    eprintln!("from a kill to a job that is accepted: {accepted}; to one that a worker has: {dispatched}");
    assert!(totals.accepted > kills as usize, "{totals:?}");
}
