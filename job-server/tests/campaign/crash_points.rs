//! Dying at a named moment, each twice: at its first occurrence and at a later one.
//!
//! | point | the server dies when | it dies there as seen on the wire |
//! | --- | --- | --- |
//! | c01 | a create has begun | the answer to its `BEGIN` with locks is not passed on |
//! | c01a | the same for a job whose prerequisites exist, which needs no transaction | the answer to its look is not passed on |
//! | c02 | the job is inserted | the answer to the insert of a job with prerequisites is not passed on |
//! | c03 | a create is to be committed | its `COMMIT` is not passed on |
//! | c03a | the same without a transaction | the statement that looks again and stores the job is not passed on |
//! | c04 | a create is committed, the client not yet answered | the answer to its `COMMIT` is not passed on |
//! | c04a | the same for a job without prerequisites, whose create is one statement | the answer to that is not passed on |
//! | c04b | the same for a job whose prerequisites exist | the answer to the statement that stores it is not passed on |
//! | c05 | entries are claimed, in one statement | the answer to that is not passed on |
//! | c06 | a message is published | it is passed on, its confirmation is not |
//! | c07 | it is confirmed, its entry is there | the confirmation is not passed on |
//! | c07a | the same, and the dispatcher knows | the settlement is not passed on |
//! | c08 | the entry is deleted, in one statement | the answer to that is not passed on |
//! | c09 | the tracker has deliveries | its reading of jobs is not passed on |
//! | c10 | reports are applied | the `COMMIT` is not passed on |
//! | c10a | reports are to be applied that only move jobs on, in one statement | that is not passed on |
//! | c11 | they are committed, the deliveries not acked | the answer to the `COMMIT` is not passed on |
//! | c11a | the same in one statement | the answer to that is not passed on |
//! | c12 | the deliveries are to be acked | the ack is not passed on |
//! | c12a | they are acked | the ack is passed on, nothing after it |
//! | c13 | the percentages are rolled up | the answer to that update is not passed on |
//! | c14 | dependents are released | the answer to that update is not passed on |
//!
//! "Between the acks of one batch" does not exist: a batch is acked by one frame, which is c12 and c12a. Nor do chunks of a
//! fan-out: dependents are released in the step that completes their prerequisite, which is c14.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use job_core::{Clock as _, Shutdown, SystemClock};
use testkit::PostgresServer;

use crate::clients::Mix;
use crate::rig::{PATIENCE, Rig};
use crate::tripwire::{Deed, Moment, Tripwire};
use crate::{seed, verdict};

const CREATES: &str = "BEGIN; SELECT pg_advisory_xact_lock";
const LOOKS: &str = "k.is_own AND EXISTS";
const INSERTS: &str = "INSERT INTO job_dependency";
const STORES: &str = "NOT job_is_waited_for";
const INSERTS_ALONE: &str = "INSERT INTO job_detail";
pub(crate) const CLAIMS: &str = "INSERT INTO lease";
const SETTLES: &str = "UPDATE job SET start_time =";
const READS: &str = "FROM job WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id OFFSET 0";
const ROLLS_UP: &str = "subtasks_completed = ";
const ROLLS_UP_ALONE: &str = "WITH same AS MATERIALIZED";
const RELEASES: &str = "UPDATE outbox SET unmet =";

/// Those that leave entries on lease first: they take until the lease ends, which is most of the time of this test.
const POINTS: [(&str, Moment); 22] = [
    ("c05", Moment::Found(CLAIMS)),
    ("c06", Moment::Published),
    ("c07", Moment::Confirmed),
    ("c07a", Moment::Asks(SETTLES)),
    ("c01", Moment::Answered(CREATES)),
    ("c01a", Moment::AnsweredAlone(LOOKS)),
    ("c02", Moment::Answered(INSERTS)),
    ("c03", Moment::AsksToCommit(INSERTS)),
    ("c03a", Moment::Asks(STORES)),
    ("c04", Moment::Committed(INSERTS)),
    ("c04a", Moment::AnsweredAlone(INSERTS_ALONE)),
    ("c04b", Moment::AnsweredAlone(STORES)),
    ("c08", Moment::AnsweredAlone(SETTLES)),
    ("c09", Moment::Asks(READS)),
    ("c10", Moment::AsksToCommit(ROLLS_UP)),
    ("c11", Moment::Committed(ROLLS_UP)),
    ("c12", Moment::AsksToAck),
    ("c12a", Moment::Acked),
    ("c10a", Moment::Asks(ROLLS_UP_ALONE)),
    ("c11a", Moment::AnsweredAlone(ROLLS_UP_ALONE)),
    ("c13", Moment::Answered(ROLLS_UP)),
    ("c14", Moment::Answered(RELEASES)),
];
/// How many points are tried at once; most of the time each of them waits.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_at_any_named_point_loses_and_repeats_nothing() {
    let seed = seed();
    let postgres = Arc::new(PostgresServer::start().unwrap());
    let broker = testkit::rabbit().unwrap();
    let deaths = POINTS.iter().flat_map(|(name, moment)| [(*name, *moment, 0), (*name, *moment, 3)]);
    let died =
        stream::iter(deaths)
            .map(|(name, moment, passes)| {
                let postgres = Arc::clone(&postgres);
                async move {
                    die_at(&postgres, broker, &format!("{name} after {passes}"), moment, passes, seed).await
                }
            })
            .buffer_unordered(AT_ONCE)
            .count()
            .await;
    assert_eq!(died, 2 * POINTS.len());
}

fn needs_large_jobs(moment: Moment) -> bool {
    matches!(moment, Moment::Asks(ROLLS_UP_ALONE) | Moment::AnsweredAlone(ROLLS_UP_ALONE))
}

async fn die_at(
    postgres: &Arc<PostgresServer>,
    broker: &str,
    what: &str,
    moment: Moment,
    passes: u32,
    seed: u64,
) {
    let mut rig = Rig::new(postgres, broker).await;
    let proxies = Shutdown::new();
    let wire = Tripwire::new(moment, Deed::Kill);
    let database = wire.before(&rig.database_url(), &proxies).await;
    let queue = wire.before(rig.broker_url(), &proxies).await;
    let server = Arc::new(rig.start_over(database, queue).await);
    wire.arm(&server, passes);
    // Small jobs are begun or ended by nearly every batch.
    let (pace, mix) = if needs_large_jobs(moment) { (1_000, Mix::LargeJobs) } else { (60, Mix::CreatesOnly) };
    rig.load(2, Duration::from_millis(pace), mix, seed.wrapping_add(passes.into()));
    assert!(wire.trips(PATIENCE).await, "{what}: {moment:?} does not occur; have the statements changed?");
    let died = SystemClock::new().now();
    let _server = rig.start().await;
    let recovery = rig.recovered(died).await;
    eprintln!("{what}: {recovery:?}");
    verdict::settle(rig, what).await;
    assert!(proxies.drain(&SystemClock::new(), PATIENCE).await, "{what}: a proxy hangs");
}
