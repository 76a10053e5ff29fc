//! The same random life in two stores, compared after every step.
//!
//! Time and chance come from the seed, so a divergence is found again by its seed alone. What the contract leaves open
//! is not compared: entry ids, places of failures, `next_due` (it may be early), and how a lease that ended without an
//! answer counts as an attempt.

mod observe;
mod operation;

use std::fmt::Debug;

use job_core::PartitionId;
use job_core::store::JobStore;

use crate::store::invariants::check_invariants;
use crate::store::seeded::Seeded;
use operation::World;

/// How many steps lie between two looks at everything; a look at all jobs follows every step.
const STEPS_PER_INSPECTION: usize = 10;

/// Lets both stores, which must be empty, live through `steps` random steps.
///
/// # Errors
/// Where they first differ, or where one breaks an invariant: the seed, the step, what was done and what was seen.
pub async fn compare(a: &dyn JobStore, b: &dyn JobStore, seed: u64, steps: usize) -> Result<(), String> {
    let mut world = World::new(seed);
    let mut inspection = Seeded::new(!seed);
    let partitions = World::partitions();
    for step in 0..steps {
        let operation = world.next();
        let shown = format!("{operation:?}");
        let outcome = async {
            world.apply(a, b, operation).await?;
            observe::jobs(a, b, &world.keys()).await?;
            if step % STEPS_PER_INSPECTION == 0 || step + 1 == steps {
                everything(a, b, &mut inspection, &world, &partitions).await?;
            }
            Ok::<(), String>(())
        };
        outcome
            .await
            .map_err(|difference| format!("seed {seed}, step {step}: after {shown}\n{difference}"))?;
    }
    Ok(())
}

async fn everything(
    a: &dyn JobStore,
    b: &dyn JobStore,
    random: &mut Seeded,
    world: &World,
    partitions: &[PartitionId],
) -> Result<(), String> {
    observe::details(a, b, &world.keys()).await?;
    for partition in partitions {
        observe::listings(a, b, partition, random).await?;
    }
    check_invariants(a, partitions).await.map_err(|wrong| format!("a: {wrong}"))?;
    check_invariants(b, partitions).await.map_err(|wrong| format!("b: {wrong}"))
}

fn same<T: PartialEq + Debug + ?Sized>(what: &str, a: &T, b: &T) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("{what} differ\na: {a:?}\nb: {b:?}")) }
}

fn answer<T>(result: job_core::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("a store failed: {error}"))
}
