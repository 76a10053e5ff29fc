//! Creates that arrive together share a step of the store.
//!
//! Whoever comes while a step is under way joins the next one. Nobody waits for company: when no step is under way, one
//! begins at once. Each caller is answered after the step that its job was in.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::job::AcceptedJob;
use crate::shutdown::Shutdown;
use crate::signals::Signals;
use crate::store::{CreateOutcome, JobStore};

/// Most jobs in a step.
const STEP_JOBS_MAX: usize = 64;
/// Most bytes of task data in a step, unless a single job has more.
const STEP_BYTES_MAX: usize = 4 << 20;
/// Steps under way at once: one can be written while the other waits for the disk.
const STEPS_MAX: usize = 2;

type Waiting = (AcceptedJob, oneshot::Sender<Result<CreateOutcome>>);

/// Where creates wait for their step. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct GroupCommit {
    waiting: Arc<Mutex<Vec<Waiting>>>,
    steps: Arc<Semaphore>,
}

impl Default for GroupCommit {
    fn default() -> Self {
        Self { waiting: Arc::default(), steps: Arc::new(Semaphore::new(STEPS_MAX)) }
    }
}

impl GroupCommit {
    /// Stores a job. When the future is dropped, the job is stored or not, as a whole; never once its step begins later
    /// than that.
    pub(crate) async fn create(
        &self,
        store: &Arc<dyn JobStore>,
        clock: &Arc<dyn Clock>,
        signals: &Signals,
        job: AcceptedJob,
    ) -> Result<CreateOutcome> {
        let (answer, mut answered) = oneshot::channel();
        self.lock().push((job, answer));
        loop {
            let begun = tokio::select! {
                biased;
                outcome = &mut answered => return outcome.unwrap_or_else(|_| Err(lost())),
                step = Arc::clone(&self.steps).acquire_owned() => step.expect("the semaphore is never closed"),
            };
            let group = self.take();
            if group.is_empty() {
                // This caller's own job is in a step that is under way.
                drop(begun);
                return answered.await.unwrap_or_else(|_| Err(lost()));
            }
            let (store, clock, signals) = (Arc::clone(store), Arc::clone(clock), signals.clone());
            // Apart from this caller, who may go away while others wait for the same step. Its own job may have been too
            // much for that step, so that it looks once more.
            Shutdown::new().spawn(async move {
                commit(&*store, &*clock, &signals, group).await;
                drop(begun);
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        // A caller that panicked left the list as it was before or after one of its steps.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.lock();
        // What nobody waits for any more is not to appear at some later time.
        waiting.retain(|(_, answer)| !answer.is_closed());
        let mut bytes = 0;
        let fits = |(job, _): &&Waiting| {
            bytes += job.job.task.data.len();
            bytes <= STEP_BYTES_MAX
        };
        let count = waiting.iter().take(STEP_JOBS_MAX).take_while(fits).count();
        let count = count.max(1).min(waiting.len());
        waiting.drain(..count).collect()
    }
}

async fn commit(store: &dyn JobStore, clock: &dyn Clock, signals: &Signals, group: Vec<Waiting>) {
    let (jobs, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    let single = jobs.len() == 1;
    let kept = if single { Vec::new() } else { jobs.clone() };
    match store.create(jobs, clock.now()).await {
        Ok(outcomes) => {
            if outcomes.contains(&CreateOutcome::Created) {
                signals.wake_dispatcher();
            }
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Whoever does not listen any more went away.
                let _ = answer.send(Ok(outcome));
            }
        }
        Err(error) if single || error.is_transient() => {
            for answer in answers {
                let _ = answer.send(Err(same(&error)));
            }
        }
        // One of them makes the step impossible; the others are no worse for its company.
        Err(_) => {
            for (job, answer) in kept.into_iter().zip(answers) {
                let outcome = store.create(vec![job], clock.now()).await;
                signals.wake_dispatcher();
                let _ = answer.send(outcome.map(|mut outcomes| outcomes.pop().expect("one outcome per job")));
            }
        }
    }
}

/// The error once more, for everybody who was in the step.
fn same(error: &Error) -> Error {
    Error::new(error.kind(), error.message())
        .with_retry(error.retry_class())
        .with_operation(error.operation())
        .with_source(error.to_string())
}

fn lost() -> Error {
    Error::new(ErrorKind::Internal, "the store failed while the job was created")
}
