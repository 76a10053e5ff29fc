//! Jobs of job types.

use std::sync::Arc;

use super::JobService;
use crate::error::{Error, ErrorKind, Result};
use crate::excerpt::excerpt;
use crate::id::JobKey;
use crate::job::NewJob;
use crate::job_type::Surroundings;
use crate::shutdown::Shutdown;

impl JobService {
    /// A job whose task a job type makes from `parameters`, ready to be named, labelled and created. The script runs apart
    /// from the threads that others wait for.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when there is no such type, or it makes no task of the parameters.
    pub async fn job_of_type(
        &self,
        key: JobKey,
        job_type: &str,
        parameters: Option<serde_json::Value>,
    ) -> Result<NewJob> {
        let Some(known) = self.job_types.get(job_type).cloned() else {
            return Err(Error::invalid(format!("Unknown job type ID: {}", excerpt(job_type, 100))));
        };
        let turn = Arc::clone(&self.scripts).acquire_owned().await.expect("the semaphore is never closed");
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        let work = move || {
            // Until the script ends, also when its caller has gone.
            let _turn = turn;
            let now = || clock.now().as_millis();
            // The bits that say that an id is random are not at the same places in both halves.
            let random = || {
                let (high, low) = ids.next().as_u64_pair();
                high ^ low.rotate_left(8)
            };
            let parameters = parameters.unwrap_or_default();
            let task = known.task(&key, &parameters, &Surroundings { now: &now, random: &random })?;
            let mut job = NewJob::new(key, task);
            job.job_type = Some(known.id().to_owned());
            job.parameters = Some(parameters);
            Ok(job)
        };
        let outcome = Shutdown::new().spawn_blocking(work).await;
        outcome.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, "the task could not be built").with_source(error))
        })
    }
}
