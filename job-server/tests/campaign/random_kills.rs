//! `kill -9` of the server at random moments, again and again, under load.

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
