//! Creates that arrive together share a step of the store.
//!
//! Whoever comes while a step is under way joins the next one. Nobody waits for company when no step is under way: one begins
//! at once. Another beside it begins when as many wait as have theirs in it, so that those who come back one by one from
//! the step before do not make a step each; or at once, when the first takes longer than steps do. Each caller is answered after
//! the step that its job was in.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::clock::{Clock, ClockExt as _};
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
/// A step that takes longer waits for something that others need not wait for.
const STEP_PATIENCE: Duration = Duration::from_millis(20);

type Waiting = (AcceptedJob, oneshot::Sender<Result<CreateOutcome>>);

/// Where creates wait for their step. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupCommit(Arc<Mutex<Line>>);

#[derive(Debug, Default)]
struct Line {
    waiting: Vec<Waiting>,
    /// How many steps are under way.
    steps: usize,
    /// The jobs in those that have not taken long yet.
    jobs: usize,
}

impl Line {
    /// The jobs of a step that is to begin now.
    fn begin(&mut self) -> Option<Vec<Waiting>> {
        // What nobody waits for any more is not to appear at some later time.
        self.waiting.retain(|(_, answer)| !answer.is_closed());
        if self.waiting.is_empty() || self.steps == STEPS_MAX || self.waiting.len() < self.jobs {
            return None;
        }
        let mut bytes = 0;
        let fits = |(job, _): &&Waiting| {
            bytes += job.job.task.data.len();
            bytes <= STEP_BYTES_MAX
        };
        let count = self.waiting.iter().take(STEP_JOBS_MAX).take_while(fits).count();
        let count = count.max(1).min(self.waiting.len());
        self.steps += 1;
        self.jobs += count;
        Some(self.waiting.drain(..count).collect())
    }

    /// A step takes long.
    fn pass_over(&mut self, jobs: usize) {
        self.jobs -= jobs;
    }

    fn end(&mut self) {
        self.steps -= 1;
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
        let (answer, answered) = oneshot::channel();
        let begun = {
            let mut line = self.lock();
            line.waiting.push((job, answer));
            line.begin()
        };
        if let Some(group) = begun {
            let (line, store, clock, signals) =
                (self.clone(), Arc::clone(store), Arc::clone(clock), signals.clone());
            // Apart from this caller, who may go away while others wait for the same step.
            Shutdown::new().spawn(Steps { line, store, clock, signals }.work(group));
        }
        answered.await.unwrap_or_else(|_| Err(lost()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Line> {
        // A caller that panicked left the line as it was before or after one of its steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Step after step, as long as there is one to begin when one ends.
#[derive(Clone)]
struct Steps {
    line: GroupCommit,
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    signals: Signals,
}

impl Steps {
    fn work(self, group: Vec<Waiting>) -> BoxFuture<'static, ()> {
        async move {
            let mut next = Some(group);
            while let Some(group) = next {
                self.step(group).await;
                let mut line = self.line.lock();
                line.end();
                next = line.begin();
            }
        }
        .boxed()
    }

    async fn step(&self, group: Vec<Waiting>) {
        let jobs = group.len();
        let commit = commit(&*self.store, &*self.clock, &self.signals, group);
        // A panic of the store is the trouble of those whose answers go with it, and of nobody else.
        let mut commit = pin!(AssertUnwindSafe(commit).catch_unwind());
        let is_over = self.clock.timeout(STEP_PATIENCE, commit.as_mut()).await.is_ok();
        let others = {
            let mut line = self.line.lock();
            line.pass_over(jobs);
            if is_over { None } else { line.begin() }
        };
        if let Some(others) = others {
            Shutdown::new().spawn(self.clone().work(others));
        }
        if !is_over {
            let _ = commit.await;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{NewJob, TaskSpec};
    use crate::{Fingerprint, JobKey};

    type Answers = Vec<oneshot::Receiver<Result<CreateOutcome>>>;

    /// So many more wait, each with so many bytes.
    fn come(line: &mut Line, jobs: usize, bytes: usize) -> Answers {
        let come = |number| {
            let mut task = TaskSpec::json("W", "w-in", &"data").unwrap();
            task.data = vec![0; bytes].into();
            let job = NewJob::new(JobKey::parse("p", format!("j{number}")).unwrap(), task);
            let fingerprint = Fingerprint::of_job(&job);
            let (answer, answered) = oneshot::channel();
            let job = AcceptedJob { fingerprint, task_id: uuid::Uuid::nil(), suspended: false, job };
            line.waiting.push((job, answer));
            answered
        };
        (0..jobs).map(come).collect()
    }

    fn end(line: &mut Line, jobs: usize) {
        line.pass_over(jobs);
        line.end();
    }

    fn begun(line: &mut Line) -> usize {
        line.begin().map_or(0, |group| group.len())
    }

    #[test]
    fn a_second_step_begins_when_as_many_wait_as_are_in_the_first_and_no_third() {
        let mut line = Line::default();
        assert_eq!(begun(&mut line), 0, "nobody waits");
        let _first = come(&mut line, 3, 1);
        assert_eq!(begun(&mut line), 3);
        let _second = come(&mut line, 2, 1);
        assert_eq!(begun(&mut line), 0, "two beside three");
        let _third = come(&mut line, 1, 1);
        assert_eq!(begun(&mut line), 3);
        let _others = come(&mut line, 100, 1);
        assert_eq!(begun(&mut line), 0, "two steps are under way");
        end(&mut line, 3);
        assert_eq!(begun(&mut line), STEP_JOBS_MAX);
        end(&mut line, 3);
        assert_eq!(begun(&mut line), 0, "36 beside 64");
        line.pass_over(STEP_JOBS_MAX);
        assert_eq!(begun(&mut line), 36, "the 64 take long");
        assert_eq!((line.steps, line.jobs, line.waiting.len()), (2, 36, 0));
        let _late = come(&mut line, 1, 1);
        line.pass_over(36);
        assert_eq!(begun(&mut line), 0, "no third, however long they take");
        line.end();
        assert_eq!(begun(&mut line), 1);
    }

    #[test]
    fn a_step_has_no_more_bytes_than_it_may_unless_one_job_alone_has() {
        let mut line = Line::default();
        let _answers = come(&mut line, 3, STEP_BYTES_MAX / 2);
        assert_eq!(begun(&mut line), 2);
        end(&mut line, 2);
        assert_eq!(begun(&mut line), 1);
        end(&mut line, 1);
        let _large = come(&mut line, 2, STEP_BYTES_MAX + 1);
        assert_eq!(begun(&mut line), 1);
    }

    #[test]
    fn who_went_away_is_in_no_step() {
        let mut line = Line::default();
        let mut answers = come(&mut line, 3, 1);
        answers.remove(1);
        assert_eq!(begun(&mut line), 2);
    }
}
