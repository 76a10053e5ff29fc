//! Random steps, and taking them in two stores at once.

use std::collections::BTreeMap;
use std::time::Duration;

use job_core::progress::{Percentage, ReportEvent};
use job_core::query::Selection;
use job_core::store::{
    Action, ClaimRequest, JobStore, LeaseOwner, OutboxEntry, PruneRequest, Recorded, Settled, StowedMessage,
    Suspension, TaskReport, VerifyRequest,
};
use job_core::{AcceptedJob, JobKey, JobStatus, NewJob, PartitionId, Prerequisite, Timestamp};

use super::{answer, observe, same};
use crate::store::fixture::{ANNE, BERT, accept, failure, job_in, key_in, message, partition};
use crate::store::seeded::Seeded;

const PARTITIONS: [&str; 2] = ["p", "q"];
const JOBS: [&str; 10] = ["j0", "j1", "j2", "j3", "j4", "J1", "j10", "j11", "ñ", "k"];
const ACTIONS: [Action; 5] =
    [Action::Pause, Action::Resume, Action::Redispatch, Action::Cancel, Action::Delete];

/// One step.
#[derive(Debug)]
pub(super) enum Operation {
    Create(Vec<AcceptedJob>),
    Act(JobKey, Action),
    ActOnSelected(PartitionId, Selection, Action, u32),
    Redispatch(u32),
    Record(Vec<TaskReport>),
    Claim(LeaseOwner),
    Settle(LeaseOwner, Vec<(Taken, Settled)>),
    Stow(Vec<StowedMessage>),
    Suspend(PartitionId, Suspension),
    Prune(PruneRequest),
    Verify(VerifyRequest),
}

/// The same entry in both stores.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    owner: LeaseOwner,
    #[expect(dead_code, reason = "it is shown when a step is printed")]
    job: JobKey,
    ids: (u64, u64),
}

/// What the generator knows: enough to take steps that mean something.
pub(super) struct World {
    random: Seeded,
    now: Timestamp,
    /// Requests that may be repeated.
    requested: BTreeMap<JobKey, AcceptedJob>,
    /// Entries that were taken, settled ones included.
    taken: Vec<Taken>,
    messages: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Seeded::new(seed),
            now: Timestamp::from_millis(1_000_000),
            requested: BTreeMap::new(),
            taken: Vec::new(),
            messages: 0,
        }
    }

    pub(super) fn partitions() -> Vec<PartitionId> {
        PARTITIONS.iter().map(|id| partition(id)).collect()
    }

    pub(super) fn keys(&self) -> Vec<JobKey> {
        let ids = |partition| JOBS.iter().map(move |id| key_in(partition, id));
        PARTITIONS.iter().copied().flat_map(ids).collect()
    }

    pub(super) fn next(&mut self) -> Operation {
        self.now = self.now.saturating_add(Duration::from_millis(self.random.below(800)));
        match self.random.below(100) {
            0..25 => self.create(),
            25..37 => Operation::Act(self.key(), self.action()),
            37..39 => {
                let selection = observe::selection(&mut self.random);
                let limit = self.random.below(5) as u32 + 1;
                Operation::ActOnSelected(self.partition(), selection, self.action(), limit)
            }
            39..41 => Operation::Redispatch(self.random.below(5) as u32 + 1),
            41..72 => self.record(),
            72..82 => Operation::Claim(self.owner()),
            82..92 => self.settle(),
            92..95 => self.stow(),
            95 => {
                let suspension = if self.random.percent(30) { Suspension::Hold } else { Suspension::Release };
                Operation::Suspend(self.partition(), suspension)
            }
            96..98 => self.prune(),
            _ => Operation::Verify(VerifyRequest { partition: self.partition(), job: None, repair: true }),
        }
    }

    fn partition(&mut self) -> PartitionId {
        let id: &str = self.random.pick::<&str>(&PARTITIONS);
        partition(id)
    }

    fn key(&mut self) -> JobKey {
        let id = *self.random.pick(&JOBS);
        JobKey::new(self.partition(), id.parse().expect("the ids above are valid"))
    }

    fn action(&mut self) -> Action {
        *self.random.pick(&ACTIONS)
    }

    fn owner(&mut self) -> LeaseOwner {
        *self.random.pick(&[ANNE, BERT])
    }

    fn create(&mut self) -> Operation {
        let count = if self.random.percent(20) { 3 } else { 1 };
        let jobs = (0..count).map(|_| {
            let key = self.key();
            let repeated = self.requested.get(&key).filter(|_| self.random.percent(30)).cloned();
            let accepted = repeated.unwrap_or_else(|| self.new_job(&key));
            self.requested.insert(key, accepted.clone());
            accepted
        });
        Operation::Create(jobs.collect())
    }

    fn new_job(&mut self, key: &JobKey) -> AcceptedJob {
        let mut new: NewJob = job_in(key.partition.as_str(), key.job.as_str());
        let random = &mut self.random;
        new.name = random.percent(70).then(|| (*random.pick(&["N1", "n1", "N2", "", "ñ"])).to_owned());
        new.description = random.percent(30).then(|| (*random.pick(&["D", "e"])).to_owned());
        new.external_data = random.percent(30).then(|| (*random.pick(&["{}", "x"])).to_owned());
        if random.percent(50) {
            let value = (*random.pick(&["v0", "V0", "v1"])).to_owned();
            new.labels.insert("k".to_owned(), random.percent(80).then_some(value));
        }
        if random.percent(20) {
            new.labels.insert("x".to_owned(), Some("1".to_owned()));
        }
        new.delay = Duration::from_millis(if random.percent(20) { random.below(3_000) } else { 0 });
        for _ in 0..if random.percent(60) { random.below(3) } else { 0 } {
            let id = random.pick(&JOBS).parse().expect("the ids above are valid");
            new.prerequisites.push(Prerequisite { job: id, pre_created: random.percent(20) });
        }
        new.prerequisites = job_core::dependency::without_repeats(new.prerequisites);
        AcceptedJob { suspended: random.percent(5), ..accept(new) }
    }

    /// Reports about several jobs are of a kind that commutes: in which order a store takes the jobs of a batch is its
    /// own business.
    fn record(&mut self) -> Operation {
        let mixed = self.random.percent(25);
        let jobs: Vec<JobKey> = (0..if mixed { 3 } else { 1 }).map(|_| self.key()).collect();
        let count = self.random.below(6) + 1;
        let reports = (0..count).map(|_| {
            let job = self.random.pick(&jobs).clone();
            let task = self.task(&job).parse().expect("the tasks below are valid");
            let event = match self.random.below(10) {
                0..2 if !mixed => ReportEvent::Failed(failure(&format!("f{}", self.random.below(3)))),
                2..4 => ReportEvent::Progress(Percentage::from_hundredths(self.random.below(10_001) as u16)),
                _ => ReportEvent::Complete,
            };
            TaskReport { job, task, event }
        });
        Operation::Record(reports.collect())
    }

    /// A task of a small tree in which the last of three siblings is marked, mostly.
    fn task(&mut self, job: &JobKey) -> String {
        let depth = match self.random.below(20) {
            0 => 0,
            1..14 => 1,
            14..18 => 2,
            _ => 3,
        };
        let siblings = job.job.as_str().len() as u64 + 1;
        (0..depth)
            .map(|_| {
                let number = self.random.below(siblings) + 1;
                let number = if self.random.percent(2) { number + 8_190 } else { number };
                let last = number == siblings && self.random.percent(90) || self.random.percent(1);
                format!(".{number}{}", if last { "*" } else { "" })
            })
            .collect()
    }

    fn settle(&mut self) -> Operation {
        let owner = self.owner();
        let mut entries = Vec::new();
        for _ in 0..self.random.below(4) {
            if self.taken.is_empty() {
                break;
            }
            let taken = self.random.pick(&self.taken).clone();
            // Mostly one's own, newest first, as dispatchers do.
            if taken.owner != owner && self.random.percent(80) {
                continue;
            }
            let settled = if self.random.percent(70) {
                Settled::Published
            } else {
                let retry_at = self.now.saturating_add(Duration::from_millis(self.random.below(2_000)));
                Settled::Failed { retry_at, reason: format!("r{}", self.random.below(3)) }
            };
            entries.push((taken, settled));
        }
        Operation::Settle(owner, entries)
    }

    fn stow(&mut self) -> Operation {
        let messages = (0..self.random.below(3)).map(|_| {
            self.messages += 1;
            // A body of its own tells entries apart, whatever their ids.
            StowedMessage { job: self.key(), ..message("j0", &format!("m{}", self.messages)) }
        });
        Operation::Stow(messages.collect())
    }

    fn prune(&mut self) -> Operation {
        let statuses =
            if self.random.percent(50) { JobStatus::ALL.to_vec() } else { vec![JobStatus::Completed] };
        Operation::Prune(PruneRequest {
            partition: self.random.percent(60).then(|| self.partition()),
            statuses,
            finished_before: self.now.saturating_sub(Duration::from_millis(self.random.below(5_000))),
            label: self.random.percent(20).then(|| "k".to_owned()),
            limit: self.random.below(4) as u32 + 1,
        })
    }

    /// Takes the step in both stores and compares what they answer.
    pub(super) async fn apply(
        &mut self,
        a: &dyn JobStore,
        b: &dyn JobStore,
        operation: Operation,
    ) -> Result<(), String> {
        let now = self.now;
        match operation {
            Operation::Create(jobs) => {
                let (in_a, in_b) = (a.create(jobs.clone(), now).await, b.create(jobs, now).await);
                same("outcomes", &answer(in_a)?, &answer(in_b)?)
            }
            Operation::Act(job, action) => {
                let (in_a, in_b) = (a.act(&job, action, now).await, b.act(&job, action, now).await);
                same("outcomes", &answer(in_a)?, &answer(in_b)?)
            }
            Operation::ActOnSelected(partition, selection, action, limit) => {
                let mut after = None;
                loop {
                    let step =
                        |store| act_on(store, &partition, &selection, action, after.as_ref(), limit, now);
                    let (in_a, in_b) = (answer(step(a).await)?, answer(step(b).await)?);
                    same("outcomes", &in_a, &in_b)?;
                    after = in_a.next;
                    if after.is_none() {
                        return Ok(());
                    }
                }
            }
            Operation::Redispatch(limit) => {
                let mut after = None;
                loop {
                    let in_a = answer(a.redispatch(after.as_ref(), limit, now).await)?;
                    let in_b = answer(b.redispatch(after.as_ref(), limit, now).await)?;
                    same("outcomes", &in_a, &in_b)?;
                    after = in_a.next;
                    if after.is_none() {
                        return Ok(());
                    }
                }
            }
            Operation::Record(reports) => {
                let (in_a, in_b) = (a.record(&reports, now).await, b.record(&reports, now).await);
                let single = reports.iter().all(|report| report.job == reports[0].job);
                same("what was recorded", &sorted(answer(in_a)?, single), &sorted(answer(in_b)?, single))
            }
            Operation::Claim(owner) => self.claim(a, b, owner).await,
            Operation::Settle(owner, entries) => {
                let of = |id: fn(&Taken) -> u64| {
                    entries.iter().map(|(taken, settled)| (id(taken), settled.clone())).collect()
                };
                let in_a = a.settle(owner, of(|taken| taken.ids.0), now).await;
                let in_b = b.settle(owner, of(|taken| taken.ids.1), now).await;
                same("answers", &answer(in_a)?, &answer(in_b)?)
            }
            Operation::Stow(messages) => {
                let (in_a, in_b) = (a.stow(messages.clone(), now).await, b.stow(messages, now).await);
                same("outcomes", &answer(in_a)?, &answer(in_b)?)
            }
            Operation::Suspend(partition, suspension) => {
                answer(a.suspend(&partition, suspension).await)?;
                answer(b.suspend(&partition, suspension).await)?;
                let in_a = answer(a.suspended_partitions(None, 10).await)?;
                same("suspended partitions", &in_a, &answer(b.suspended_partitions(None, 10).await)?)
            }
            Operation::Prune(request) => {
                same("counts", &answer(a.prune(&request).await)?, &answer(b.prune(&request).await)?)
            }
            Operation::Verify(request) => {
                same("a's drift and none", &answer(a.verify(&request).await)?, &Vec::new())?;
                same("b's drift and none", &answer(b.verify(&request).await)?, &Vec::new())
            }
        }
    }

    /// Takes everything that may be taken, so that the two stores' entries can be told apart by what they hold.
    async fn claim(&mut self, a: &dyn JobStore, b: &dyn JobStore, owner: LeaseOwner) -> Result<(), String> {
        let request = ClaimRequest {
            owner,
            now: self.now,
            lease: Duration::from_secs(2),
            limit: 10_000,
            bytes_limit: usize::MAX,
        };
        let in_a = by_content(answer(a.claim(request).await)?.entries);
        let in_b = by_content(answer(b.claim(request).await)?.entries);
        let contents = |entries: &[(JobKey, String, u64)]| {
            entries.iter().map(|(job, content, _)| (job.clone(), content.clone())).collect::<Vec<_>>()
        };
        same("claimed entries", &contents(&in_a), &contents(&in_b))?;
        let pairs = in_a.into_iter().zip(in_b);
        self.taken.extend(pairs.map(|((job, _, a), (_, _, b))| Taken { owner, job, ids: (a, b) }));
        // Old entries are of interest for a while only.
        let excess = self.taken.len().saturating_sub(20);
        self.taken.drain(..excess);
        Ok(())
    }
}

async fn act_on(
    store: &dyn JobStore,
    partition: &PartitionId,
    selection: &Selection,
    action: Action,
    after: Option<&job_core::JobId>,
    limit: u32,
    now: Timestamp,
) -> job_core::Result<job_core::store::BulkOutcome> {
    store.act_on_selected(partition, selection, action, after, limit, now).await
}

fn by_content(entries: Vec<OutboxEntry>) -> Vec<(JobKey, String, u64)> {
    let mut sorted: Vec<_> =
        entries.into_iter().map(|entry| (entry.job, format!("{:?}", entry.content), entry.id)).collect();
    sorted.sort();
    sorted
}

/// In which order a step tells of several jobs is left open; with several, so is which of them released first.
fn sorted(mut recorded: Recorded, single: bool) -> Recorded {
    recorded.completed.sort();
    recorded.failed.sort();
    recorded.anomalies.sort_by_key(|(job, anomaly)| (job.clone(), format!("{anomaly:?}")));
    if !single {
        recorded.released_due = None;
    }
    recorded
}
