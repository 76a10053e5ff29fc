//! Remembers the status of jobs, so that the tasks of one job ask once, and goes on when nobody answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::status::{StatusAnswer, StatusQuestion, StatusSource};
use crate::clock::Clock;
use crate::error::Result;
use crate::id::JobKey;
use crate::lifecycle::JobStatus;

/// How many jobs are remembered.
const JOBS_MAX: usize = 2_000;
/// No answer is believed longer than this, whatever its source says.
const VALID_MAX: Duration = Duration::from_secs(3600);
/// How long a guess holds for a message that names no interval (messaging contract §2.6).
const INTERVAL_DEFAULT: Duration = Duration::from_secs(120);

/// A [`StatusSource`] that asks another one no more often than its answers allow.
///
/// Any number of tasks of one job share a question. When no answer comes the last known status holds for one more
/// interval, and then the job counts as active for an interval at a time: a status service that is down neither stops
/// the workers nor is hammered by them.
#[derive(Debug)]
pub struct CachedStatus {
    source: Arc<dyn StatusSource>,
    clock: Arc<dyn Clock>,
    jobs: Mutex<Generations>,
}

/// Jobs used lately, and those used before them; the latter are forgotten when the former are many.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<JobKey, Arc<Slot>>,
    old: HashMap<JobKey, Arc<Slot>>,
}

/// Holding it across the question makes every other task of the job wait for the same answer.
type Slot = tokio::sync::Mutex<Option<Known>>;

#[derive(Debug, Clone, Copy)]
struct Known {
    answer: StatusAnswer,
    /// It was not answered but assumed.
    assumed: bool,
}

impl CachedStatus {
    /// Remembers the answers of `source`.
    #[must_use]
    pub fn new(source: Arc<dyn StatusSource>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, jobs: Mutex::default() }
    }

    fn slot(&self, job: &JobKey) -> Arc<Slot> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = jobs.young.get(job) {
            return Arc::clone(slot);
        }
        let slot = jobs.old.remove(job).unwrap_or_default();
        if jobs.young.len() >= JOBS_MAX / 2 {
            jobs.old = std::mem::take(&mut jobs.young);
        }
        jobs.young.insert(job.clone(), Arc::clone(&slot));
        slot
    }

    /// What to go by when nobody answers.
    fn assume(&self, last: Option<Known>, question: StatusQuestion<'_>) -> Known {
        let interval = match last {
            Some(known) => known.answer.valid_for,
            None if question.interval.is_zero() => INTERVAL_DEFAULT,
            None => question.interval.min(VALID_MAX),
        };
        let status = match last {
            Some(Known { answer, assumed: false }) => answer.status,
            _ => Some(JobStatus::Active),
        };
        Known { answer: StatusAnswer { status, as_of: self.clock.now(), valid_for: interval }, assumed: true }
    }
}

#[async_trait]
impl StatusSource for CachedStatus {
    async fn ask(&self, question: StatusQuestion<'_>) -> Result<Option<StatusAnswer>> {
        let slot = self.slot(question.job);
        let mut known = slot.lock().await;
        if let Some(Known { answer, .. }) = *known
            && self.clock.now() < answer.as_of.saturating_add(answer.valid_for)
        {
            return Ok(Some(answer));
        }
        let next = match self.source.ask(question).await {
            Ok(None) => return Ok(None),
            Ok(Some(mut answer)) => {
                answer.valid_for = answer.valid_for.min(VALID_MAX);
                Known { answer, assumed: false }
            }
            Err(error) => {
                tracing::warn!(%error, job.partition = %question.job.partition, job.id = %question.job.job, "the status of a job could not be asked for");
                self.assume(*known, question)
            }
        };
        *known = Some(next);
        Ok(Some(next.answer))
    }

    fn is_in_process(&self) -> bool {
        self.source.is_in_process()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::error::Error;

    #[derive(Debug)]
    struct Scripted {
        clock: ManualClock,
        status: Mutex<Option<Option<JobStatus>>>,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl StatusSource for Scripted {
        async fn ask(&self, _: StatusQuestion<'_>) -> Result<Option<StatusAnswer>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            // Lets the other askers of a test arrive while the question is open.
            tokio::task::yield_now().await;
            let status = self.status.lock().unwrap().ok_or_else(|| Error::unavailable("down"))?;
            Ok(Some(StatusAnswer { status, as_of: self.clock.now(), valid_for: Duration::from_secs(5) }))
        }
    }

    struct Harness {
        clock: ManualClock,
        source: Arc<Scripted>,
        cache: CachedStatus,
    }

    impl Harness {
        fn new(status: Option<Option<JobStatus>>) -> Self {
            let clock = ManualClock::new(Timestamp::from_millis(1_000_000));
            let (status, asked) = (Mutex::new(status), AtomicUsize::new(0));
            let source = Arc::new(Scripted { clock: clock.clone(), status, asked });
            let cache = CachedStatus::new(Arc::<Scripted>::clone(&source), Arc::new(clock.clone()));
            Self { clock, source, cache }
        }

        async fn ask_about(&self, job: &str) -> StatusAnswer {
            let job = JobKey::parse("acme", job).unwrap();
            let question = StatusQuestion { job: &job, url: None, interval: Duration::from_secs(7) };
            self.cache.ask(question).await.unwrap().unwrap()
        }

        async fn status(&self) -> Option<JobStatus> {
            self.ask_about("j").await.status
        }

        fn set(&self, status: Option<Option<JobStatus>>) {
            *self.source.status.lock().unwrap() = status;
        }

        fn asked(&self) -> usize {
            self.source.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn an_answer_holds_for_its_interval_and_no_longer() {
        let harness = Harness::new(Some(Some(JobStatus::Active)));
        assert_eq!(harness.status().await, Some(JobStatus::Active));
        harness.set(Some(Some(JobStatus::Cancelled)));
        harness.clock.advance(Duration::from_millis(4_999));
        let answer = harness.ask_about("j").await;
        assert_eq!((answer.status, harness.asked()), (Some(JobStatus::Active), 1));
        assert_eq!(answer.as_of, Timestamp::from_millis(1_000_000), "a cached answer does not look younger");
        harness.clock.advance(Duration::from_millis(1));
        assert_eq!((harness.status().await, harness.asked()), (Some(JobStatus::Cancelled), 2));
    }

    #[tokio::test]
    async fn without_an_answer_the_last_one_holds_once_and_then_jobs_are_active() {
        let harness = Harness::new(Some(Some(JobStatus::Paused)));
        assert_eq!(harness.status().await, Some(JobStatus::Paused));
        harness.set(None);
        for expected in [JobStatus::Paused, JobStatus::Active, JobStatus::Active] {
            harness.clock.advance(Duration::from_secs(5));
            let asked = harness.asked();
            assert_eq!(harness.status().await, Some(expected));
            assert_eq!(harness.status().await, Some(expected), "it holds for an interval");
            assert_eq!(harness.asked(), asked + 1);
        }
        harness.set(Some(None));
        harness.clock.advance(Duration::from_secs(5));
        assert_eq!(harness.status().await, None);
    }

    #[tokio::test]
    async fn a_job_never_heard_of_is_active_for_the_interval_of_its_message() {
        let harness = Harness::new(None);
        let answer = harness.ask_about("j").await;
        assert_eq!((answer.status, answer.valid_for), (Some(JobStatus::Active), Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn tasks_that_ask_at_once_share_one_question() {
        let harness = Harness::new(Some(Some(JobStatus::Active)));
        futures::future::join_all((0..100).map(|_| harness.status())).await;
        assert_eq!(harness.asked(), 1);
    }

    #[tokio::test]
    async fn the_number_of_remembered_jobs_is_bounded() {
        let harness = Harness::new(Some(Some(JobStatus::Active)));
        for job in 0..JOBS_MAX * 2 {
            harness.ask_about(&format!("j{job}")).await;
            harness.status().await;
        }
        let jobs = harness.cache.jobs.lock().unwrap();
        assert!(jobs.young.len() + jobs.old.len() <= JOBS_MAX);
        drop(jobs);
        assert_eq!(harness.asked(), JOBS_MAX * 2 + 1, "a job in use is not forgotten");
    }
}
