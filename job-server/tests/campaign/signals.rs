//! Signals: told to stop in the middle of work, and frozen while another server goes on.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use job_conformance::store::seeded::Seeded;
use job_core::{Clock as _, Shutdown, SystemClock};
use testkit::PostgresServer;

use crate::clients::Mix;
use crate::http::call;
use crate::recovery::{Durations, until};
use crate::rig::{PATIENCE, Rig};
use crate::tripwire::{Deed, Moment, Tripwire};
use crate::{how_many, seed, verdict};

/// What an operator is promised.
const STOP_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_told_to_stop_ends_well_in_time_and_loses_nothing() {
    let stops = how_many(20, 200);
    let seed = seed();
    let mut random = Seeded::new(seed);
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let mut rig = Rig::new(&postgres, testkit::rabbit().unwrap()).await;
    let mut server = rig.start().await;
    rig.load(4, Duration::from_millis(60), Mix::Everything, seed);
    let mut ends = Durations::default();
    for _ in 0..stops {
        rig.accepted_more(1 + random.below(25) as usize).await;
        let told = SystemClock::new().now();
        server.signal("TERM");
        let status = server.ended(STOP_LIMIT).await;
        ends.add(SystemClock::new().now().since(told));
        assert_eq!(status.code(), Some(0), "{:#?}", server.last_lines());
        server = rig.start().await;
    }
    let (totals, _) = verdict::settle(rig, &format!("{stops} stops by SIGTERM")).await;
    assert_eq!(totals.repeats.dispatched, 0, "a batch in hand is finished: {totals}");
    eprintln!("from SIGTERM to the end: {ends}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_frozen_past_its_lease_wakes_up_beside_one_that_took_over() {
    let seed = seed();
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let mut rig = Rig::new(&postgres, testkit::rabbit().unwrap()).await;
    let proxies = Shutdown::new();
    // At the worst moment: it has entries on lease, and has not yet published them.
    let wire = Tripwire::new(Moment::Found(crate::crash_points::CLAIMS), Deed::Freeze);
    let database = wire.before(&rig.database_url(), &proxies).await;
    let frozen = Arc::new(rig.start_over(database, rig.broker_url().to_owned()).await);
    wire.arm(&frozen, 0);
    // From here on clients talk to this one.
    let _live = rig.start().await;
    rig.load(3, Duration::from_millis(60), Mix::Everything, seed);
    assert!(wire.trips(PATIENCE).await, "it claims nothing; have the statements changed?");
    let leased = rig.sql("SELECT unnest(entries) FROM lease".to_owned()).await.unwrap();
    assert!(!leased.is_empty(), "it has entries on lease");
    let leased = leased.replace('\n', ",");
    // Taken over when the lease ended.
    let left = format!("SELECT count(*) FROM outbox WHERE id IN ({leased})");
    let taken =
        until(2 * PATIENCE, async || (rig.sql(left.clone()).await.unwrap() == "0").then_some(())).await;
    taken.expect("the other server takes over");
    frozen.signal("CONT");
    // It goes on where it was, and is of use again.
    let answers = until(PATIENCE, async || {
        let ping = call(frozen.address(), Method::GET, "/job-service/v1/ping", String::new()).await?;
        (ping.status == 200).then_some(())
    });
    answers.await.expect("it answers again");
    // What it had on lease it publishes as well, under the same ids; or that is refused, when it comes before the news that
    // the broker has closed its silent connection.
    let tried = until(PATIENCE, async || {
        let refused = || frozen.last_lines().iter().any(|line| line.contains("could not be published"));
        (rig.ledger.totals().repeats.all() > 0 || refused()).then_some(())
    });
    tried.await.expect("it goes on with what it had on lease");
    verdict::settle(rig, "a frozen server").await;
    frozen.signal("TERM");
    assert_eq!(frozen.ended(STOP_LIMIT).await.code(), Some(0), "{:#?}", frozen.last_lines());
    assert!(proxies.drain(&SystemClock::new(), PATIENCE).await, "a proxy hangs");
}
