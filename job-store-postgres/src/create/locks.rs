//! Advisory locks for ids of jobs, whether such jobs exist or not.

use std::collections::BTreeMap;

use job_core::{JobKey, PartitionId};
use sqlx::PgConnection;

/// Of all advisory locks of the database, those of ids: "job" in ASCII.
pub(super) const IDS: i32 = 0x6a6f_6200;
/// And those of partitions, for the search for cycles. That of claims is the next.
const CYCLES: i32 = 0x6a6f_6201;

/// How many locks the ids share.
const SHARED_BY_IDS: u64 = 256;

/// The lock of an id.
pub(super) fn of_job(key: &JobKey) -> i32 {
    (digest(&[key.partition.as_str(), key.job.as_str()]) % SHARED_BY_IDS) as i32
}

/// FNV-1a: the same in every process and version.
fn digest(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Begins a transaction that has locks, taken in order: a list of results is worked out as it is written. The value says
/// whether exclusively.
pub(super) fn opening(locks: &BTreeMap<i32, bool>) -> String {
    if locks.is_empty() {
        return "BEGIN".to_owned();
    }
    let take = |(lock, exclusive): (&i32, &bool)| {
        let kind = if *exclusive { "" } else { "_shared" };
        format!("pg_advisory_xact_lock{kind}({IDS}, {lock})")
    };
    let all: Vec<String> = locks.iter().map(take).collect();
    format!("BEGIN; SELECT {}", all.join(", "))
}

/// One transaction at a time may add edges that could close a cycle.
pub(super) async fn take_for_cycles(
    connection: &mut PgConnection,
    partition: &PartitionId,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
        .bind(CYCLES)
        .bind(digest(&[partition.as_str()]) as i32)
        .execute(connection)
        .await?;
    Ok(())
}
