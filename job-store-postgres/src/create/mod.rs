//! Storing jobs.
//!
//! Jobs without prerequisites read nothing: they are written, which fails as a whole when one of them exists already, and
//! is then done again without those. Jobs with prerequisites need answers first, and what was answered must not
//! change before they are stored:
//!
//! - A prerequisite that exists is locked (`FOR SHARE`), so that it completes or fails either before it is looked at or
//!   after the edge to it is visible.
//! - One that does not exist has no row to lock. Everybody who stores a job holds a shared advisory lock for the job's
//!   id; who waits for an id that is missing takes that lock exclusively before it looks. Ids share a fixed number of
//!   such locks, so that a large batch cannot exhaust the server's lock table.
//! - One job alone is stored by a single statement that takes those locks and looks again, after a look without them, as long
//!   as there is nothing more to decide.
//! - A cycle can close only over somebody who waits for the new job already. Those few jobs are stored one at a time in
//!   a partition.

mod dependent;
mod insert;
mod locks;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use job_core::store::CreateOutcome;
use job_core::{AcceptedJob, Error, ErrorKind, Fingerprint, JobKey, Result, Timestamp};
use sqlx::{PgConnection, Row};

use crate::error;
use crate::numbers::Numbers;
use crate::step::{Form, Runner, Step, Trouble};
use dependent::{CreateDependent, CreateOneDependent};
use insert::NewRow;

/// Stores `jobs`, which are numbered from `numbers`; one outcome each, in order.
pub(crate) async fn create(
    runner: &Runner<'_>,
    numbers: &Numbers,
    jobs: Vec<AcceptedJob>,
    now: Timestamp,
) -> Result<Vec<CreateOutcome>> {
    let numbers = numbers.take(runner, jobs.len()).await?;
    let jobs: Vec<Numbered> =
        jobs.into_iter().zip(numbers).map(|(accepted, number)| Numbered { accepted, number }).collect();
    if jobs.iter().all(|job| job.accepted.job.prerequisites.is_empty()) {
        return create_independent(runner, &jobs, now).await;
    }
    if let [job] = jobs.as_slice()
        && let Some(outcome) = runner.run(CreateOneDependent { job, now }).await?
    {
        return Ok(vec![outcome]);
    }
    runner.run(CreateDependent::new(&jobs, now)).await
}

/// A job with the number it will have if it is stored.
pub(crate) struct Numbered {
    accepted: AcceptedJob,
    number: i64,
}

impl Numbered {
    fn key(&self) -> &JobKey {
        &self.accepted.job.key
    }

    /// The outcome when somebody has taken the id already.
    fn repeats(&self, stored: Fingerprint) -> CreateOutcome {
        if stored == self.accepted.fingerprint { CreateOutcome::Unchanged } else { CreateOutcome::Conflict }
    }
}

/// No job of the batch has prerequisites, so all that matters is which of them exist already.
async fn create_independent(
    runner: &Runner<'_>,
    jobs: &[Numbered],
    now: Timestamp,
) -> Result<Vec<CreateOutcome>> {
    let mut first: BTreeMap<&JobKey, &Numbered> = BTreeMap::new();
    for job in jobs {
        first.entry(job.key()).or_insert(job);
    }
    let mut stored: HashMap<JobKey, Fingerprint> = HashMap::new();
    loop {
        let fresh: Vec<&Numbered> =
            first.values().filter(|job| !stored.contains_key(job.key())).copied().collect();
        let rows: Vec<NewRow<'_>> = fresh.iter().map(|job| NewRow::new(job, Vec::new(), now)).collect();
        let is_stored = match rows.as_slice() {
            [] => true,
            rows if insert::fit_together(rows) => runner.run(Insert::<true> { rows, now }).await?,
            _ => runner.run(Insert::<false> { rows: &rows, now }).await?,
        };
        if is_stored {
            break;
        }
        stored.extend(runner.run(ReadFingerprints(&fresh)).await?);
    }
    let outcome = |job: &Numbered| match stored.get(job.key()) {
        Some(stored) => job.repeats(*stored),
        None if first[job.key()].number == job.number => CreateOutcome::Created,
        None => job.repeats(first[job.key()].accepted.fingerprint),
    };
    Ok(jobs.iter().map(outcome).collect())
}

/// Stores all of the jobs, or none when one of them exists already.
struct Insert<'a, const IS_STATEMENT: bool> {
    rows: &'a [NewRow<'a>],
    now: Timestamp,
}

#[async_trait]
impl<const IS_STATEMENT: bool> Step for Insert<'_, IS_STATEMENT> {
    type Output = bool;
    const NAME: &'static str = "store::create";
    const FORM: Form = if IS_STATEMENT { Form::Statement } else { Form::Transaction };

    fn opening(&self) -> Cow<'static, str> {
        locks::opening(&self.rows.iter().map(|row| (locks::of_job(row.job.key()), false)).collect()).into()
    }

    async fn run(&mut self, connection: &mut PgConnection) -> Result<bool, Trouble> {
        match insert::insert(connection, self.rows, self.now).await {
            // A transaction has failed with it, and ends without having stored anything.
            Err(cause) if error::is_unique_violation(&cause) => Ok(false),
            inserted => Ok(inserted.map(|()| true)?),
        }
    }
}

struct ReadFingerprints<'a>(&'a [&'a Numbered]);

#[async_trait]
impl Step for ReadFingerprints<'_> {
    type Output = Vec<(JobKey, Fingerprint)>;
    const NAME: &'static str = "store::create";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Self::Output, Trouble> {
        let rows = sqlx::query(
            "SELECT k.place, d.fingerprint
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(partition_id, job_id, place)
             CROSS JOIN LATERAL (
                 SELECT job_no FROM job
                 WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id OFFSET 0
             ) j
             CROSS JOIN LATERAL (
                 SELECT fingerprint FROM job_detail
                 WHERE job_detail.job_no = j.job_no AND job_detail.partition_id = k.partition_id OFFSET 0
             ) d",
        )
        .bind(self.0.iter().map(|job| job.key().partition.as_str()).collect::<Vec<_>>())
        .bind(self.0.iter().map(|job| job.key().job.as_str()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
        rows.iter()
            .map(|row| {
                let place: i64 = row.try_get(0)?;
                Ok((self.0[place as usize - 1].key().clone(), fingerprint(row.try_get(1)?)?))
            })
            .collect()
    }
}

fn fingerprint(bytes: &[u8]) -> Result<Fingerprint> {
    <[u8; 32]>::try_from(bytes)
        .map(Fingerprint::from_bytes)
        .map_err(|_| Error::new(ErrorKind::Corrupt, "a stored fingerprint has the wrong length"))
}
