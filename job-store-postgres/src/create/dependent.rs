//! Storing jobs of which some have prerequisites.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use job_core::dependency::{CYCLE_SEARCH_MAX, CycleError, Standing, check_cycle, standing};
use job_core::store::CreateOutcome;
use job_core::{Error, Fingerprint, JobId, JobKey, JobStatus, Timestamp};
use sqlx::{PgConnection, Row};

use super::insert::{self, NewRow};
use super::{Numbered, fingerprint, locks};
use crate::error;
use crate::status_code;
use crate::step::{Form, Step, Trouble};

/// More edges than a search for cycles can ever walk along are not read.
const EDGES_MAX: i64 = 20 * CYCLE_SEARCH_MAX as i64;

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
    fingerprint: Fingerprint,
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
            return Ok(Err(job.repeats(known.fingerprint)));
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
        around.known.insert(key.clone(), Known { status, fingerprint: job.accepted.fingerprint });
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
        let mut around = look_around(connection, self.jobs).await?;
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

/// Reads the jobs of the batch and their prerequisites, and locks them so that they stay what they are.
async fn look_around(connection: &mut PgConnection, jobs: &[Numbered]) -> Result<Surroundings, Trouble> {
    let own: BTreeSet<&JobKey> = jobs.iter().map(Numbered::key).collect();
    let mut keys: BTreeSet<JobKey> = own.iter().map(|key| (*key).clone()).collect();
    for job in jobs {
        let named = job.accepted.job.prerequisites.iter();
        keys.extend(named.map(|named| JobKey::new(job.key().partition.clone(), named.job.clone())));
    }
    let keys: Vec<JobKey> = keys.into_iter().collect();
    let rows = sqlx::query(
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
             WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id FOR SHARE
         ) j ON true
         LEFT JOIN LATERAL (
             SELECT fingerprint FROM job_detail
             WHERE job_detail.job_no = j.job_no AND job_detail.partition_id = k.partition_id OFFSET 0
         ) d ON true",
    )
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
                fingerprint: fingerprint(row.try_get("fingerprint")?)?,
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
