//! Storing jobs of which some have prerequisites.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use job_core::dependency::{CYCLE_SEARCH_MAX, CycleError, Standing, check_cycle, standing};
use job_core::store::CreateOutcome;
use job_core::{Error, ErrorKind, Fingerprint, JobId, JobKey, JobStatus, Timestamp};
use sqlx::{PgConnection, Row};

use super::insert::{self, NewRow, Seen};
use super::{Numbered, fingerprint, locks};
use crate::error;
use crate::status_code;
use crate::step::{Form, Step, Trouble};

/// More edges than a search for cycles can ever walk along are not read.
const EDGES_MAX: i64 = 20 * CYCLE_SEARCH_MAX as i64;

macro_rules! look {
    ($lock:literal) => {
        concat!(
            "SELECT k.place, j.status, d.fingerprint,
                 k.is_own AND EXISTS (
                     SELECT FROM job_dependency e
                     WHERE e.partition_id = k.partition_id AND e.prerequisite_id = k.job_id
                     ORDER BY e.dependent_id OFFSET 0
                 ) AS is_waited_for
             FROM unnest($1::text[], $2::text[], $3::boolean[]) WITH ORDINALITY
                 AS k(partition_id, job_id, is_own, place)
             LEFT JOIN LATERAL (
                 SELECT job_no, status FROM job
                 WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id ",
            $lock,
            ") j ON true
             LEFT JOIN LATERAL (
                 SELECT fingerprint FROM job_detail
                 WHERE k.is_own AND job_detail.job_no = j.job_no AND job_detail.partition_id = k.partition_id
                 OFFSET 0
             ) d ON true"
        )
    };
}
/// Of the jobs that are looked at, those that exist.
const LOOK: &str = look!("OFFSET 0");
/// They stay what they are.
const LOOK_AND_LOCK: &str = look!("FOR SHARE");

pub(super) struct CreateDependent<'a> {
    jobs: &'a [Numbered],
    now: Timestamp,
    /// Ids that an earlier run found missing, to be locked so that nobody stores such a job meanwhile.
    missing: BTreeSet<JobKey>,
}

/// What is known of an id that the batch is about.
#[derive(Debug, Clone, Copy)]
struct Known {
    status: JobStatus,
    /// Of jobs that the batch is to store.
    fingerprint: Option<Fingerprint>,
}

/// The jobs of the batch and those they name, as the jobs before the current one have left them.
struct Surroundings {
    known: HashMap<JobKey, Known>,
    waited_for: HashSet<JobKey>,
    /// What jobs of this batch wait for.
    unmet: HashMap<JobKey, Vec<JobId>>,
}

impl<'a> CreateDependent<'a> {
    pub(super) fn new(jobs: &'a [Numbered], now: Timestamp) -> Self {
        Self { jobs, now, missing: BTreeSet::new() }
    }

    async fn decide(
        &mut self,
        connection: &mut PgConnection,
        job: &'a Numbered,
        around: &mut Surroundings,
    ) -> Result<Result<NewRow<'a>, CreateOutcome>, Trouble> {
        let key = job.key();
        if let Some(known) = around.known.get(key) {
            let unknown = || Error::new(ErrorKind::Corrupt, "a stored job has lost its details");
            return Ok(Err(job.repeats(known.fingerprint.ok_or_else(unknown)?)));
        }
        let (mut unmet, mut failed) = (Vec::new(), Vec::new());
        for prerequisite in &job.accepted.job.prerequisites {
            let named = JobKey::new(key.partition.clone(), prerequisite.job.clone());
            let status = around.known.get(&named).map(|known| known.status);
            match standing(prerequisite.pre_created, status) {
                Standing::Met => {}
                Standing::Failed => failed.push(prerequisite.job.clone()),
                Standing::Unmet => {
                    if status.is_none() && named != *key && !self.missing.contains(&named) {
                        self.missing.insert(named);
                        return Err(Trouble::Again);
                    }
                    unmet.push(prerequisite.job.clone());
                }
            }
        }
        if !failed.is_empty() {
            return Ok(Err(CreateOutcome::PrerequisitesFailed(failed)));
        }
        // A cycle closes only over somebody who waits for this job already, or over the job itself.
        if unmet.contains(&key.job) || around.waited_for.contains(key) && !unmet.is_empty() {
            locks::take_for_cycles(connection, &key.partition).await?;
            let stored = edges_from(connection, key, &unmet).await?;
            let of_stored = |id: &JobId| stored.edges.get(id).cloned().unwrap_or_default();
            let closes = check_cycle(&key.job, &unmet, |id| {
                let named = JobKey::new(key.partition.clone(), id.clone());
                around.unmet.get(&named).cloned().unwrap_or_else(|| of_stored(id))
            });
            let closes = closes.and(if stored.is_whole { Ok(()) } else { Err(CycleError::TooLarge) });
            if let Err(cycle) = closes {
                return Ok(Err(CreateOutcome::Cycle(cycle)));
            }
        }
        for prerequisite in &unmet {
            around.waited_for.insert(JobKey::new(key.partition.clone(), prerequisite.clone()));
        }
        let mut sorted = unmet.clone();
        sorted.sort();
        around.unmet.insert(key.clone(), sorted);
        let row = NewRow::new(job, unmet, self.now);
        let status = job_core::recording::JobState::created(self.now).status;
        around.known.insert(key.clone(), Known { status, fingerprint: Some(job.accepted.fingerprint) });
        Ok(Ok(row))
    }
}

#[async_trait]
impl Step for CreateDependent<'_> {
    type Output = Vec<CreateOutcome>;
    const NAME: &'static str = "store::create";
    const FORM: Form = Form::Transaction;

    fn opening(&self) -> Cow<'static, str> {
        let mut wanted: BTreeMap<i32, bool> = BTreeMap::new();
        for job in self.jobs {
            wanted.entry(locks::of_job(job.key())).or_default();
        }
        for key in &self.missing {
            wanted.insert(locks::of_job(key), true);
        }
        locks::opening(&wanted).into()
    }

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Self::Output, Trouble> {
        let mut around = look_around(connection, self.jobs, LOOK_AND_LOCK).await?;
        let mut outcomes = Vec::with_capacity(self.jobs.len());
        let mut rows: Vec<NewRow<'_>> = Vec::new();
        for job in self.jobs {
            outcomes.push(match self.decide(connection, job, &mut around).await? {
                Ok(row) => {
                    rows.push(row);
                    CreateOutcome::Created
                }
                Err(outcome) => outcome,
            });
        }
        rows.sort_by(|a, b| a.job.key().cmp(b.job.key()));
        if !rows.is_empty() {
            match insert::insert(connection, &rows, self.now).await {
                // Somebody stored one of them since we looked.
                Err(cause) if error::is_unique_violation(&cause) => return Err(Trouble::Again),
                inserted => inserted?,
            }
        }
        Ok(outcomes)
    }
}

/// Stores one job without a transaction, in two round trips instead of four: what was seen in the first is compared in the
/// second, which stores the job. Nothing comes of it when anything but that is to be done.
pub(super) struct CreateOneDependent<'a> {
    pub(super) job: &'a Numbered,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Step for CreateOneDependent<'_> {
    type Output = Option<CreateOutcome>;
    const NAME: &'static str = "store::create";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Self::Output, Trouble> {
        let around = look_around(connection, std::slice::from_ref(self.job), LOOK).await?;
        let Some((unmet, seen)) = self.plain_case(&around) else { return Ok(None) };
        let row = NewRow::new(self.job, unmet, self.now);
        match insert::insert_if_unchanged(connection, &row, self.now, seen).await {
            Err(cause) if error::is_unique_violation(&cause) => Ok(None),
            inserted => Ok(inserted?.then_some(CreateOutcome::Created)),
        }
    }
}

impl<'a> CreateOneDependent<'a> {
    /// What the job waits for, and what was seen of its prerequisites, if all of them exist and none has failed, and there is
    /// neither such a job nor anybody who waits for it.
    fn plain_case(&self, around: &Surroundings) -> Option<(Vec<JobId>, Seen<'a>)> {
        let key = self.job.key();
        if around.known.contains_key(key) || around.waited_for.contains(key) {
            return None;
        }
        let (mut unmet, mut seen) = (Vec::new(), BTreeMap::new());
        for prerequisite in &self.job.accepted.job.prerequisites {
            let named = JobKey::new(key.partition.clone(), prerequisite.job.clone());
            let status = around.known.get(&named)?.status;
            match standing(prerequisite.pre_created, Some(status)) {
                Standing::Met => {}
                Standing::Failed => return None,
                Standing::Unmet => unmet.push(prerequisite.job.clone()),
            }
            seen.insert(prerequisite.job.as_str(), status_code::code(status));
        }
        let (ids, statuses) = seen.into_iter().unzip();
        Some((unmet, Seen { ids, statuses }))
    }
}

/// Reads the jobs of the batch and their prerequisites.
async fn look_around(
    connection: &mut PgConnection,
    jobs: &[Numbered],
    look: &'static str,
) -> Result<Surroundings, Trouble> {
    let own: BTreeSet<&JobKey> = jobs.iter().map(Numbered::key).collect();
    let mut keys: BTreeSet<JobKey> = own.iter().map(|key| (*key).clone()).collect();
    for job in jobs {
        let named = job.accepted.job.prerequisites.iter();
        keys.extend(named.map(|named| JobKey::new(job.key().partition.clone(), named.job.clone())));
    }
    let keys: Vec<JobKey> = keys.into_iter().collect();
    let rows = sqlx::query(look)
        .bind(keys.iter().map(|key| key.partition.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.job.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| own.contains(key)).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let mut around =
        Surroundings { known: HashMap::new(), waited_for: HashSet::new(), unmet: HashMap::new() };
    for row in rows {
        let key = &keys[row.try_get::<i64, _>("place")? as usize - 1];
        if let Some(code) = row.try_get::<Option<i16>, _>("status")? {
            let known = Known {
                status: status_code::status(code)?,
                fingerprint: row.try_get::<Option<&[u8]>, _>("fingerprint")?.map(fingerprint).transpose()?,
            };
            around.known.insert(key.clone(), known);
        }
        if row.try_get("is_waited_for")? {
            around.waited_for.insert(key.clone());
        }
    }
    Ok(around)
}

struct StoredEdges {
    /// What each job waits for.
    edges: HashMap<JobId, Vec<JobId>>,
    is_whole: bool,
}

/// What the prerequisites of a new job wait for, and so on, nearest first.
async fn edges_from(
    connection: &mut PgConnection,
    job: &JobKey,
    unmet: &[JobId],
) -> Result<StoredEdges, Trouble> {
    let rows = sqlx::query(
        "WITH RECURSIVE edge(dependent_id, prerequisite_id) AS (
             SELECT ''::text COLLATE \"C\", k.job_id COLLATE \"C\" FROM unnest($2::text[]) AS k(job_id)
             UNION
             SELECT e.prerequisite_id, d.prerequisite_id
             FROM edge e
             CROSS JOIN LATERAL (
                 SELECT job_no FROM job WHERE partition_id = $1 AND job_id = e.prerequisite_id OFFSET 0
             ) j
             CROSS JOIN LATERAL (
                 SELECT prerequisite_id FROM job_dependency
                 WHERE partition_id = $1 AND dependent_no = j.job_no OFFSET 0
             ) d
         )
         SELECT dependent_id, prerequisite_id FROM edge WHERE dependent_id <> '' LIMIT $3",
    )
    .bind(job.partition.as_str())
    .bind(unmet.iter().map(JobId::as_str).collect::<Vec<_>>())
    .bind(EDGES_MAX)
    .fetch_all(connection)
    .await?;
    let is_whole = (rows.len() as i64) < EDGES_MAX;
    let mut edges: HashMap<JobId, Vec<JobId>> = HashMap::new();
    for row in rows {
        let id = |column: usize| -> Result<JobId, Trouble> {
            Ok(JobId::new(row.try_get::<&str, _>(column)?).map_err(Error::from)?)
        };
        edges.entry(id(0)?).or_default().push(id(1)?);
    }
    edges.values_mut().for_each(|prerequisites| prerequisites.sort());
    Ok(StoredEdges { edges, is_whole })
}
