//! After the faults: does everything come to rest, and do the ledgers agree with what is stored?

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use job_conformance::store::invariants::{all_jobs, check_invariants};
use job_core::{Clock as _, Job, JobKey, JobStatus, SystemClock};

use crate::http::call;
use crate::ledger::{Answer, Entry, Totals};
use crate::recovery::until;
use crate::rig::{PATIENCE, Rig};

/// Everything is to be at rest 60 s after the last fault. More is only waited for in order to tell slow from stuck, for on
/// a machine that is busy with something else all of it takes longer.
const REST_LIMIT: Duration = Duration::from_secs(150);

/// What is left to do: jobs that will go on by themselves, entries that can be published, leases, and sessions that hold
/// a transaction open.
fn unrest() -> String {
    let (active, paused, waiting) =
        (JobStatus::Active as i16, JobStatus::Paused as i16, JobStatus::Waiting as i16);
    format!(
        "SELECT (SELECT count(*) FROM job WHERE status IN ({active}, {paused})
                 OR status = {waiting} AND NOT EXISTS (SELECT FROM outbox o WHERE o.id = job.job_no AND o.unmet > 0)),
                (SELECT count(*) FROM outbox WHERE unmet = 0),
                (SELECT count(*) FROM outbox WHERE id IN (SELECT unnest(entries) FROM lease)),
                (SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND state LIKE 'idle in transaction%')"
    )
}

/// Ends a campaign whose faults are over and whose server runs. Returns what it did and how long it took to come to rest.
///
/// # Panics
/// When a job is lost or stuck, or anything contradicts the ledgers.
pub(crate) async fn settle(rig: Rig, what: &str) -> (Totals, Duration) {
    rig.stop_load().await;
    let clock = SystemClock::new();
    let begin = clock.now();
    resume_paused(&rig).await;
    let mut last = String::new();
    let rested = until(REST_LIMIT, async || {
        last = rig.sql(unrest()).await.unwrap();
        if last != "0|0|0|0" {
            return None;
        }
        // A create that its client gave up on may still come, and move things between two looks.
        match check_invariants(&rig.store, &rig.partitions).await {
            Ok(()) => Some(clock.now().since(begin)),
            Err(wrong) => {
                last = wrong.to_string();
                None
            }
        }
    });
    let rested = rested.await;
    let jobs = stored(&rig).await;
    let Some(rested) = rested else {
        let unfinished = jobs.values().filter(|job| !job.status.is_finished()).take(20);
        let unfinished: Vec<_> =
            unfinished.map(|job| (job, rig.ledger.entry(&job.key), rig.ledger.receipts(&job.key))).collect();
        panic!(
            "{what}: stuck with {last} (unfinished jobs, entries, leases, open transactions)\n{unfinished:#?}\n{}",
            rig.postgres.log_tail()
        );
    };
    let entries = rig.ledger.entries();
    let mut wrong = rig.ledger.all_wrong();
    wrong.extend(entries.iter().filter_map(|(key, entry)| judge(key, entry, &entries, &jobs).err()));
    wrong.extend(jobs.keys().filter(|key| !entries.contains_key(key)).map(|key| format!("{key}: a phantom")));
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
    let totals = rig.ledger.totals();
    eprintln!("{what}: {totals}, at rest after {} ms", rested.as_millis());
    rig.close().await;
    (totals, rested)
}

/// What an operator does who knows that messages were lost: asks for every unfinished job again.
pub(crate) async fn redispatch_unfinished(rig: &Rig) {
    rig.stop_load().await;
    resume_paused(rig).await;
    for (key, job) in stored(rig).await {
        if !job.status.is_finished() {
            ask_until_answered(rig, &key, "redispatch").await;
        }
    }
}

/// The clients are done, so nobody else would.
async fn resume_paused(rig: &Rig) {
    for (key, entry) in rig.ledger.entries() {
        if !entry.paused || entry.deleted.is_some() {
            continue;
        }
        ask_until_answered(rig, &key, "resume").await;
    }
}

/// An action that may come too late.
async fn ask_until_answered(rig: &Rig, key: &JobKey, action: &str) {
    let path = format!("/job-service/v1/partitions/{}/jobs/{}/{action}", key.partition, key.job);
    let answered = until(PATIENCE, async || {
        let address = *rig.server.borrow();
        let reply = call(address, Method::POST, &path, String::new()).await?;
        matches!(reply.status, 204 | 400).then_some(())
    });
    answered.await.unwrap_or_else(|| panic!("no answer to {action} of {key}"));
}

async fn stored(rig: &Rig) -> BTreeMap<JobKey, Job> {
    let mut jobs = BTreeMap::new();
    for partition in &rig.partitions {
        let listed = all_jobs(&rig.store, partition).await.unwrap();
        jobs.extend(listed.into_iter().map(|job| (job.key.clone(), job)));
    }
    jobs
}

/// Whether a job is what the answers to its client say.
fn judge(
    key: &JobKey,
    entry: &Entry,
    entries: &BTreeMap<JobKey, Entry>,
    jobs: &BTreeMap<JobKey, Job>,
) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{key}: {what}: {entry:?} but {:?}", jobs.get(key)));
    let Some(job) = jobs.get(key) else {
        let may_be_absent =
            entry.created != Answer::Ok || matches!(entry.deleted, Some(Answer::Ok | Answer::Unknown));
        return if may_be_absent { Ok(()) } else { wrong("an accepted job is lost") };
    };
    if entry.created == Answer::Refused {
        return wrong("a refused job exists");
    }
    if entry.deleted == Some(Answer::Ok) {
        return wrong("a deleted job exists");
    }
    let is_cancelled = job.status == JobStatus::Cancelled;
    match entry.cancelled {
        Some(Answer::Ok) if is_cancelled => return Ok(()),
        Some(Answer::Ok) => return wrong("a cancelled job is not"),
        Some(Answer::Unknown) if is_cancelled => return Ok(()),
        _ if is_cancelled => return wrong("nobody cancelled it"),
        _ => {}
    }
    let gone = |key: &JobKey| !jobs.contains_key(key);
    let failed = |key: &JobKey| jobs.get(key).is_some_and(|job| job.status == JobStatus::Failed);
    match job.status {
        // What it waits for will never come about.
        JobStatus::Waiting => {
            let blockers =
                job.blocked_by.iter().map(|blocker| JobKey::new(key.partition.clone(), blocker.job.clone()));
            let hopeless = |key: JobKey| match jobs.get(&key) {
                None => entries.get(&key).is_some_and(|entry| entry.deleted.is_some()),
                Some(job) => matches!(job.status, JobStatus::Cancelled | JobStatus::Waiting),
            };
            let mut blockers = blockers.peekable();
            if blockers.peek().is_some() && blockers.all(hopeless) { Ok(()) } else { wrong("stuck") }
        }
        JobStatus::Failed => {
            let has_reason =
                entry.work.fails || entry.prerequisites.iter().any(|key| gone(key) || failed(key));
            if has_reason { Ok(()) } else { wrong("it should not have failed") }
        }
        JobStatus::Completed => {
            let expected = if entry.work.depth == 0 { 0 } else { entry.work.width + 1 };
            if entry.work.fails || entry.prerequisites.iter().any(failed) {
                return wrong("it should have failed");
            }
            let counts = job.subtasks;
            if expected > 0 && (counts.total != Some(expected) || counts.completed != expected) {
                return wrong("its subtasks are miscounted");
            }
            Ok(())
        }
        _ => wrong("not at rest"),
    }
}
