//! An engine with unreliable workers on any pair of backends.

use std::sync::Arc;
use std::time::Duration;

use job_conformance::store::invariants::check_invariants;
use job_core::queue::TaskQueue;
use job_core::store::JobStore;
use job_core::tracker::TrackerCounts;
use job_core::{Engine, EngineSettings, Job, JobKey, NewJob, PartitionId, TaskSpec};

use crate::backends::Backends;
use crate::unreliable::{Misbehaviour, Split, UnreliableWorker};

/// How long a scenario may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(60);
/// How often a job is looked at when no signal comes.
const POLL: Duration = Duration::from_millis(50);

/// A running engine and its workers.
#[derive(Debug)]
pub struct Scenario {
    /// The engine.
    pub engine: Engine,
    /// The queue of the workers.
    pub input: String,
}

impl Scenario {
    /// Starts an engine with `workers` workers on the queue `input`.
    #[must_use]
    pub fn start(
        store: Arc<dyn JobStore>,
        queue: Arc<dyn TaskQueue>,
        settings: EngineSettings,
        input: &str,
        misbehaviour: Misbehaviour,
        workers: u64,
        seed: u64,
    ) -> Self {
        let engine = Engine::start(store, queue, settings);
        let failed_once = Arc::default();
        for worker in 0..workers {
            let worker =
                UnreliableWorker::new(Arc::clone(engine.queue()), input, misbehaviour, seed * 31 + worker)
                    .sharing_failures(&failed_once);
            engine.workers().spawn(worker.run(engine.workers().clone()));
        }
        Self { engine, input: input.to_owned() }
    }

    /// The same as one of the servers on `backends`, with four workers.
    pub async fn on(backends: &Backends, misbehaviour: Misbehaviour, seed: u64) -> Self {
        let (store, queue) = backends.server().await;
        let input = backends.queue(&format!("split-{seed}"));
        Self::start(store, queue, backends.settings(), &input, misbehaviour, 4, seed)
    }

    /// A job whose tasks split as `split` says.
    ///
    /// # Panics
    /// When the ids are not valid.
    #[must_use]
    pub fn job(&self, partition: &str, job: &str, split: &Split) -> NewJob {
        let key = JobKey::parse(partition, job).expect("valid ids");
        NewJob::new(key, TaskSpec::json("Splitter", self.input.clone(), split).expect("a plain struct"))
    }

    /// Creates jobs.
    ///
    /// # Panics
    /// When the store refuses one.
    pub async fn create(&self, jobs: Vec<NewJob>) -> Vec<JobKey> {
        let keys = jobs.iter().map(|job| job.key.clone()).collect();
        // A store with injected faults fails transiently; repeating is safe.
        loop {
            match self.engine.service().create_all(jobs.clone()).await {
                Ok(outcomes) => {
                    outcomes.into_iter().for_each(|outcome| assert!(outcome.is_ok(), "{outcome:?}"));
                    return keys;
                }
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    }

    /// Waits until every job is finished.
    ///
    /// # Panics
    /// When one is stuck; says in which state.
    pub async fn finished(&self, keys: &[JobKey]) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(keys.len());
        for key in keys {
            let job = loop {
                match self.engine.service().wait(key, STUCK, POLL).await {
                    Ok(job) => break job,
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
            };
            assert!(job.status.is_finished(), "stuck: {job:#?}");
            jobs.push(job);
        }
        jobs
    }

    /// Stops the engine, then checks what is stored.
    ///
    /// # Panics
    /// When the engine does not stop, or what is stored contradicts itself.
    pub async fn stop_and_verify(self, partitions: &[&str]) -> TrackerCounts {
        let store = Arc::clone(self.engine.service().store());
        let counts = self.engine.tracked();
        assert!(self.engine.stop().await, "the engine did not stop in time");
        let partitions: Vec<PartitionId> =
            partitions.iter().map(|partition| PartitionId::new(partition).expect("a valid id")).collect();
        if let Err(wrong) = check_invariants(store.as_ref(), &partitions).await {
            panic!("{wrong}");
        }
        counts.map(|counts| *counts.borrow()).unwrap_or_default()
    }
}
