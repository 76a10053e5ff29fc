//! Jobs as a store last wrote them: what is remembered is never believed where the database knows better.

mod database;

use std::sync::Arc;

use job_conformance::store::fixture::{
    act, apply, assert_sound, at, complete, create, failed, find, job, key, progress, read,
};
use job_conformance::store::seeded::Seeded;
use job_core::progress::Percentage;
use job_core::recording::RecordOutcome::{self, Counted, Duplicate, FinishedJob, UnknownJob};
use job_core::store::{Action, JobStore, Recorded, TaskReport};
use job_core::{JobStatus, SystemClock, TaskPath};
use job_store_memory::MemoryStore;
use job_store_postgres::{PostgresOptions, PostgresStore};

/// More jobs than these are written another way.
const FEW_AND_MANY: [u32; 2] = [2, 40];

/// Two servers on one database.
struct Two {
    here: PostgresStore,
    there: PostgresStore,
    pool: sqlx::PgPool,
    names: Vec<String>,
    _database: testkit::TestDatabase,
}

impl Two {
    async fn with_jobs(jobs: u32) -> Self {
        let database = database::fresh().await;
        let here = database::connect(database.url()).await;
        // It has room for some of its jobs, and for each of them only as long as it is small.
        let options = PostgresOptions::new(database.url()).expect("a URL").with_recent_jobs_bytes(30_000);
        let there = PostgresStore::connect(options, Arc::new(SystemClock::new()))
            .await
            .expect("the database is there");
        let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
        let names: Vec<String> = (0..jobs).map(|number| format!("j{number:02}")).collect();
        create(&here, names.iter().map(|name| job(name)).collect::<Vec<_>>(), 1).await;
        Self { here, there, pool, names, _database: database }
    }

    fn batch(&self, tasks: &[u32]) -> Vec<TaskReport> {
        let of_one =
            |name: &str| tasks.iter().map(|task| complete(name, &format!(".{task}"))).collect::<Vec<_>>();
        self.names.iter().flat_map(|name| of_one(name)).collect()
    }

    /// Until the first store knows its jobs by heart, each of which has rows of progress then.
    async fn settled(&self, rounds: std::ops::Range<u32>) {
        for round in rounds {
            record(&self.here, &self.batch(&[round, 9_000 + round]), i64::from(round) + 1).await;
        }
    }

    async fn run(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.pool).await.expect("the statement");
    }
}

async fn record(store: &dyn JobStore, reports: &[TaskReport], now: i64) -> Recorded {
    store.record(reports, at(now)).await.expect("record")
}

fn all(outcome: RecordOutcome, reports: &[TaskReport]) -> Vec<RecordOutcome> {
    vec![outcome; reports.len()]
}

#[tokio::test]
async fn what_another_store_did_to_a_job_is_seen() {
    for jobs in FEW_AND_MANY {
        for is_new in [true, false] {
            let two = Two::with_jobs(jobs).await;
            two.settled(1..40).await;
            let reports = two.batch(if is_new { &[40, 9_040] } else { &[39, 9_039] });
            apply(&two.there, "j01", Action::Cancel, 50).await;
            let outcomes = record(&two.here, &reports, 51).await.outcomes;
            for (report, outcome) in reports.iter().zip(outcomes) {
                let of_others = if is_new { Counted } else { Duplicate };
                let expected = if report.job == key("j01") { FinishedJob } else { of_others };
                assert_eq!(outcome, expected, "{jobs} {is_new} {report:?}");
            }
            assert_eq!(read(&two.here, "j01").await.status, JobStatus::Cancelled);
            assert_sound(&two.here).await;
        }
    }
}

#[tokio::test]
async fn a_job_that_is_gone_or_another_is_seen() {
    for jobs in FEW_AND_MANY {
        for is_created_again in [true, false] {
            let two = Two::with_jobs(jobs).await;
            two.settled(1..40).await;
            apply(&two.there, "j01", Action::Delete, 50).await;
            if is_created_again {
                create(&two.there, [job("j01")], 50).await;
            }
            // What the old one had counted already, which the new one has not.
            let reports = two.batch(&[39, 9_039]);
            let outcomes = record(&two.here, &reports, 51).await.outcomes;
            for (report, outcome) in reports.iter().zip(outcomes) {
                let of_it = if is_created_again { Counted } else { UnknownJob };
                let expected = if report.job == key("j01") { of_it } else { Duplicate };
                assert_eq!(outcome, expected, "{jobs} {is_created_again} {report:?}");
            }
            let found = find(&two.here, &key("j01")).await.map(|job| job.subtasks.completed);
            assert_eq!(found, is_created_again.then_some(2));
            assert_sound(&two.here).await;
        }
    }
}

#[tokio::test]
async fn a_paused_job_stays_paused() {
    for jobs in FEW_AND_MANY {
        let two = Two::with_jobs(jobs).await;
        two.settled(1..40).await;
        apply(&two.there, "j01", Action::Pause, 50).await;
        for (now, reports) in [(51, two.batch(&[40])), (52, two.batch(&[41])), (53, two.batch(&[41]))] {
            let expected = all(if now == 53 { Duplicate } else { Counted }, &reports);
            assert_eq!(record(&two.here, &reports, now).await.outcomes, expected);
            assert_eq!(read(&two.there, "j01").await.status, JobStatus::Paused);
        }
        apply(&two.there, "j01", Action::Resume, 54).await;
        assert_eq!(record(&two.here, &two.batch(&[42]), 55).await.outcomes, all(Counted, &two.batch(&[42])));
        assert_eq!(read(&two.there, "j01").await.status, JobStatus::Active);
        assert_sound(&two.here).await;
    }
}

#[tokio::test]
async fn stores_that_alternate_count_every_subtask_once() {
    for jobs in FEW_AND_MANY {
        let two = Two::with_jobs(jobs).await;
        for round in 1..60 {
            let store = if round % 3 == 0 { &two.there } else { &two.here };
            let reports = two.batch(&[round, 9_000 + round]);
            assert_eq!(
                record(store, &reports, i64::from(round) + 1).await.outcomes,
                all(Counted, &reports),
                "{round}"
            );
            let other = if round % 2 == 0 { &two.there } else { &two.here };
            assert_eq!(
                record(other, &reports, i64::from(round) + 1).await.outcomes,
                all(Duplicate, &reports),
                "{round}"
            );
        }
        for name in &two.names {
            assert_eq!(read(&two.here, name).await.subtasks.completed, 118, "{name}");
        }
        assert_sound(&two.here).await;
    }
}

#[tokio::test]
async fn tables_that_are_written_anew_between_batches_harm_nothing() {
    for jobs in FEW_AND_MANY {
        let two = Two::with_jobs(jobs).await;
        let mut task = 0;
        for rewrite in ["VACUUM FULL job", "VACUUM FULL job_progress"].iter().cycle().take(6) {
            two.settled(task + 1..task + 20).await;
            two.run(rewrite).await;
            task += 20;
            let reports = two.batch(&[task, 9_000 + task]);
            let now = i64::from(task) + 1;
            assert_eq!(record(&two.here, &reports, now).await.outcomes, all(Counted, &reports), "{rewrite}");
            for name in &two.names {
                assert_eq!(read(&two.there, name).await.subtasks.completed, 2 * task, "{name} {rewrite}");
            }
            assert_sound(&two.there).await;
        }
    }
}

/// One life of a few running jobs in the memory store and in two stores on one database, of which one is used for a while and
/// then the other.
async fn live(seed: u64, steps: u32) {
    let mut random = Seeded::new(seed);
    let two = Two::with_jobs(if seed.is_multiple_of(2) { 3 } else { 20 }).await;
    let memory = MemoryStore::new();
    create(&memory, two.names.iter().map(|name| job(name)).collect::<Vec<_>>(), 1).await;
    let mut is_here = true;
    for step in 0..steps {
        is_here ^= random.percent(8);
        let store: &PostgresStore = if is_here { &two.here } else { &two.there };
        let now = i64::from(step / 2) + 2;
        let context = format!("seed {seed}, step {step}");
        if random.percent(5) {
            let name = random.pick(&two.names).as_str();
            match *random.pick(&[Action::Pause, Action::Resume, Action::Cancel, Action::Delete]) {
                Action::Delete => {
                    assert_eq!(
                        act(&memory, name, Action::Delete, now).await,
                        act(store, name, Action::Delete, now).await
                    );
                    create(&memory, [job(name)], now).await;
                    create(store, [job(name)], now).await;
                }
                action => assert_eq!(
                    act(&memory, name, action, now).await,
                    act(store, name, action, now).await,
                    "{context} {action:?}"
                ),
            }
        } else {
            let reports = some_reports(&mut random, &two.names, step);
            let (in_memory, stored) =
                (record(&memory, &reports, now).await, record(store, &reports, now).await);
            assert_eq!(in_memory.outcomes, stored.outcomes, "{context} {reports:?}");
        }
        for name in &two.names {
            assert_eq!(find(&memory, &key(name)).await, find(store, &key(name)).await, "{context}");
        }
    }
    assert_same_tasks(&memory, &two.here, &two.names, &TaskPath::root()).await;
    assert_sound(&two.here).await;
}

/// What mostly moves jobs on: in trees of three levels, over some blocks and chunks, with repetitions. A wild batch may end
/// tasks, fail jobs and contradict others.
fn some_reports(random: &mut Seeded, names: &[String], step: u32) -> Vec<TaskReport> {
    let (is_wild, everybody) = (random.percent(4), random.percent(50));
    let mut reports = Vec::new();
    for name in names {
        if !everybody && random.percent(60) {
            continue;
        }
        for _ in 0..=random.below(3) {
            let above: String = (0..random.below(3)).map(|_| format!(".{}", random.below(40) + 1)).collect();
            reports.push(match random.below(100) {
                0..15 if is_wild => failed(name, &format!("{above}.{}", random.below(100) + 1), "boom"),
                15..30 if is_wild => complete(name, &format!("{above}.{}*", random.below(50_000) + 1)),
                30..60 if is_wild => complete(name, &format!("{above}.{}", random.below(90) + 1)),
                0..25 => {
                    let percent = random.below(9_900) as f64 / 100.0 + 0.01;
                    progress(name, &format!("{above}.{}", random.below(40) + 50), percent)
                }
                _ => complete(name, &format!("{above}.{}", random.below(5) * 8_192 + random.below(40) + 100)),
            });
        }
        // Nearly every job says something new in every batch.
        reports.push(complete(name, &format!(".{}", 60_000 + step)));
    }
    reports
}

async fn assert_same_tasks(memory: &MemoryStore, store: &PostgresStore, names: &[String], root: &TaskPath) {
    for name in names {
        let mut parents = vec![root.clone()];
        while let Some(parent) = parents.pop() {
            let in_memory = memory.tasks(&key(name), &parent, 0, 100_000).await.expect("tasks");
            let stored = store.tasks(&key(name), &parent, 0, 100_000).await.expect("tasks");
            assert_eq!(in_memory, stored, "{name} {parent}");
            let incomplete = stored.into_iter().flatten().filter(|task| task.percentage != Percentage::FULL);
            parents.extend(incomplete.map(|task| task.path));
        }
    }
}

#[tokio::test]
async fn running_jobs_live_as_in_memory_whichever_store_is_told() {
    for seed in 0..4 {
        live(seed, 80).await;
    }
}

/// The jobs run to their ends, in batches in which every row of progress comes again and again.
#[tokio::test]
async fn whole_jobs_are_counted_as_in_memory() {
    let nested = || (1..=40).flat_map(|parent| (1..=40).map(move |child| (parent, child)));
    let last = |number: u32, of: u32| if number == of { "*" } else { "" };
    let nested =
        nested().map(|(parent, child)| format!(".{parent}{}.{child}{}", last(parent, 40), last(child, 40)));
    let flat = (1..=30_000).step_by(15).chain([30_000]).map(|number| format!(".{number}"));
    for (seed, tasks) in (0..).zip([nested.collect::<Vec<_>>(), flat.collect()]) {
        let two = Two::with_jobs(1).await;
        let memory = MemoryStore::new();
        create(&memory, [job("j00")], 1).await;
        let mut random = Seeded::new(seed);
        let mut tasks: Vec<(u64, String)> = tasks.into_iter().map(|task| (random.number(), task)).collect();
        tasks.sort_unstable();
        for (now, batch) in (2..).zip(tasks.chunks(50)) {
            let reports: Vec<TaskReport> = batch.iter().map(|(_, task)| complete("j00", task)).collect();
            let (in_memory, stored) =
                (record(&memory, &reports, now).await, record(&two.here, &reports, now).await);
            assert_eq!(in_memory, stored, "seed {seed}, batch {now}");
            assert_eq!(read(&memory, "j00").await, read(&two.there, "j00").await, "seed {seed}, batch {now}");
        }
        assert_same_tasks(&memory, &two.here, &two.names, &TaskPath::root()).await;
        assert_sound(&two.here).await;
    }
}

/// What is read to what is remembered is of the same version: of a later one its numbers would not fit.
#[tokio::test]
async fn what_is_remembered_is_not_mixed_with_what_was_written_since() {
    let two = Two::with_jobs(1).await;
    let mut now = 1;
    let mut tell = async |store: &PostgresStore, report: TaskReport| {
        now += 1;
        assert_eq!(record(store, &[report], now).await.outcomes, [Counted]);
    };
    for parent in 1..8 {
        let task = |number: u32| format!(".{parent}.{number}");
        tell(&two.there, progress("j00", &task(40), 1.0)).await;
        // It remembers the parent's record, and has no need of that of `.40`, which is in another row.
        for number in 100..120 {
            tell(&two.here, complete("j00", &task(number))).await;
        }
        tell(&two.there, progress("j00", &task(40), 90.0)).await;
        tell(&two.here, complete("j00", &format!("{}.1", task(40)))).await;
    }
    assert_sound(&two.here).await;
}

/// A record that came to be in memory is not loaded over itself.
#[tokio::test]
async fn what_was_added_to_a_remembered_job_is_still_there_later() {
    let two = Two::with_jobs(1).await;
    two.settled(1..5).await;
    let tasks = [".7.9000", ".7.9001", ".7.9002"];
    for (now, task) in (10..).zip(tasks) {
        record(&two.here, &[complete("j00", task)], now).await;
    }
    let again: Vec<TaskReport> = tasks.iter().map(|task| complete("j00", task)).collect();
    let outcomes = record(&two.here, &[again, vec![complete("j00", ".8")]].concat(), 20).await.outcomes;
    assert_eq!(outcomes, [Duplicate, Duplicate, Duplicate, Counted]);
    assert_sound(&two.there).await;
}
