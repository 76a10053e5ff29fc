//! Recounting what is derived from something else, and correcting it.
//!
//! Jobs are checked in batches, each in a transaction that has them locked, so that nothing changes between two looks.
//! What belongs to no job is looked for afterwards, partition by partition.

mod facts;
mod jobs;
mod partition;

use async_trait::async_trait;
use job_core::query::Selection;
use job_core::store::{Drift, VerifyRequest};
use job_core::{JobId, JobKey, PartitionId, Result};
use sqlx::PgConnection;

use crate::list;
use crate::step::{Form, Runner, Step, Trouble};

const JOBS_PER_STEP: usize = 200;

pub(crate) async fn verify(runner: &Runner<'_>, request: &VerifyRequest) -> Result<Vec<Drift>> {
    let VerifyRequest { partition, job, repair } = request;
    if let Some(job) = job {
        let keys = vec![JobKey::new(partition.clone(), job.clone())];
        return runner.run(jobs::VerifyJobs { partition, keys, repair: *repair }).await;
    }
    let mut drifts = Vec::new();
    let mut after: Option<JobId> = None;
    loop {
        let ids = runner.run(NextJobs { partition, after: after.as_ref() }).await?;
        let keys: Vec<JobKey> = ids.iter().map(|id| JobKey::new(partition.clone(), id.clone())).collect();
        drifts.extend(runner.run(jobs::VerifyJobs { partition, keys, repair: *repair }).await?);
        match ids.last() {
            Some(last) if ids.len() == JOBS_PER_STEP => after = Some(last.clone()),
            _ => break,
        }
    }
    drifts.extend(runner.run(partition::VerifyPartition { partition, repair: *repair }).await?);
    Ok(drifts)
}

struct NextJobs<'a> {
    partition: &'a PartitionId,
    after: Option<&'a JobId>,
}

#[async_trait]
impl Step for NextJobs<'_> {
    type Output = Vec<JobId>;
    const NAME: &'static str = "store::verify";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<JobId>, Trouble> {
        list::ids_behind(connection, self.partition, &Selection::default(), self.after, JOBS_PER_STEP).await
    }
}
