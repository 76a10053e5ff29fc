//! Recording completions.

use std::sync::Arc;
use std::time::Duration;

use job_core::store::{JobStore, TaskReport};
use job_core::{JobKey, JobStatus};
use tokio::task::JoinSet;

use crate::setup::{Bench, Fresh, Series, at, complete, connect, create, job, key, row, shuffle, timed};
use crate::yardstick;

const BATCH: usize = 1_000;

pub(crate) async fn run(bench: &Bench) {
    let full = bench.size(1_000_000, 20_000);
    if bench.wants("in order") {
        in_order(bench, full).await;
    }
    let mut flat = flat_tasks(full);
    shuffle(&mut flat);
    one_job(bench, "shuffled over N = 10^6 flat", &flat).await;
    let side = bench.size(1_000, 100);
    let nested: Vec<String> = (1..=side).flat_map(|a| nested_level(a, side)).collect();
    one_job(bench, "1,000 x 1,000 nested, in order", &nested).await;
    let mut nested = nested;
    shuffle(&mut nested);
    one_job(bench, "1,000 x 1,000 nested, shuffled", &nested).await;
    if bench.wants("spread") {
        spread(bench, full).await;
    }
    if bench.wants("connections") {
        connections(bench).await;
    }
}

fn star(number: usize, of: usize) -> &'static str {
    if number == of { "*" } else { "" }
}

fn flat_tasks(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!(".{n}{}", star(n, count))).collect()
}

fn nested_level(a: usize, side: usize) -> impl Iterator<Item = String> {
    let last = if a == side { "*" } else { "" };
    // The parent's own final mark comes with its own report; here its children say all there is to say.
    let parent = (a == side).then(|| format!(".{a}{last}"));
    (1..=side).map(move |b| format!(".{a}.{b}{}", star(b, side))).chain(parent)
}

/// The yardstick on the same database a moment before, since a machine is not always equally fast.
async fn append(bench: &Bench, fresh: &Fresh) -> f64 {
    let count = bench.size(200_000, 20_000);
    yardstick::prepare(fresh).await;
    count as f64 / yardstick::append(&fresh.pool, count, BATCH).await.as_secs_f64()
}

/// Rates beside the yardstick's.
struct Compared {
    rates: Series,
    appended: Series,
    ratios: Series,
}

impl Compared {
    fn new() -> Self {
        Self { rates: Series::default(), appended: Series::default(), ratios: Series::default() }
    }

    fn add(&mut self, count: usize, took: Duration, append: f64) {
        let rate = count as f64 / took.as_secs_f64();
        self.rates.add(rate);
        self.appended.add(append);
        self.ratios.add(rate / append);
    }

    fn show(&self, work: &str) {
        let beside = format!("append: {} /s", self.appended.shown());
        row(work, &format!("{} /s", self.rates.shown()), &beside, Some(self.ratios.median()));
    }
}

fn reports(job: &JobKey, tasks: &[String]) -> Vec<TaskReport> {
    tasks.iter().map(|task| complete(job, task)).collect()
}

async fn record(store: &dyn JobStore, reports: &[TaskReport]) {
    for (place, batch) in reports.chunks(BATCH).enumerate() {
        store.record(batch, at(place as i64 * 10)).await.expect("record");
    }
}

async fn assert_complete(store: &dyn JobStore, job: &JobKey) {
    let stored = store.get(std::slice::from_ref(job)).await.expect("get");
    let status = stored[0].as_ref().map(|job| job.status);
    assert_eq!(status, Some(JobStatus::Completed), "every completion must have been counted");
}

async fn in_order(bench: &Bench, full: usize) {
    for count in [10_000, 100_000, full] {
        let tasks = flat_tasks(count);
        let (mut compared, mut wal, mut bytes) = (Compared::new(), Series::default(), Series::default());
        for _ in 0..bench.repeats() {
            let fresh = bench.fresh().await;
            let job = key("the-job");
            create(&*fresh.store, vec![crate::setup::job("the-job")], at(0)).await;
            fresh.settle_down().await;
            let reports = reports(&job, &tasks);
            let append = append(bench, &fresh).await;
            let before = yardstick::wal(&fresh.pool).await;
            // All but the last batch, to see what a job occupies before it is complete.
            let (most, last) = reports.split_at(reports.len() - BATCH);
            let ((), took) = timed(record(&*fresh.store, most)).await;
            compared.add(most.len(), took, append);
            wal.add((yardstick::wal(&fresh.pool).await - before) / most.len() as f64);
            bytes.add(bytes_at_rest(&fresh).await / most.len() as f64);
            record(&*fresh.store, last).await;
            assert_complete(&*fresh.store, &job).await;
        }
        let work = format!("completions in order, one job, N = {count}");
        compared.show(&work);
        row(&work, &format!("{} bytes of WAL each", wal.shown()), "", None);
        row(&work, &format!("{} bytes at rest each", bytes.shown()), "", None);
    }
}

/// What is live in the rows of progress; tables also have free space, which does not grow with the number.
async fn bytes_at_rest(fresh: &Fresh) -> f64 {
    let sql = "SELECT (SELECT coalesce(sum(octet_length(progress)), 0) FROM job)::bigint
                    + (SELECT coalesce(sum(pg_column_size(p.*)), 0) FROM job_progress p)::bigint";
    fresh.scalar(sql).await as f64
}

async fn one_job(bench: &Bench, what: &str, tasks: &[String]) {
    if !bench.wants(what) {
        return;
    }
    let (mut compared, mut wal) = (Compared::new(), Series::default());
    for _ in 0..bench.repeats() {
        let fresh = bench.fresh().await;
        let job = key("the-job");
        create(&*fresh.store, vec![crate::setup::job("the-job")], at(0)).await;
        fresh.settle_down().await;
        let reports = reports(&job, tasks);
        let append = append(bench, &fresh).await;
        let before = yardstick::wal(&fresh.pool).await;
        let ((), took) = timed(record(&*fresh.store, &reports)).await;
        compared.add(reports.len(), took, append);
        wal.add((yardstick::wal(&fresh.pool).await - before) / reports.len() as f64);
        assert_complete(&*fresh.store, &job).await;
    }
    compared.show(what);
    row(what, &format!("{} bytes of WAL each", wal.shown()), "", None);
}

/// One completion of each of 1,000 jobs in every batch.
async fn spread(bench: &Bench, full: usize) {
    let each = full / BATCH;
    let (mut compared, mut wal) = (Compared::new(), Series::default());
    for _ in 0..bench.repeats() {
        let fresh = bench.fresh().await;
        let keys: Vec<JobKey> = (0..BATCH).map(|n| key(&format!("job-{n}"))).collect();
        create(&*fresh.store, (0..BATCH).map(|n| job(&format!("job-{n}"))).collect(), at(0)).await;
        fresh.settle_down().await;
        let reports: Vec<TaskReport> = (1..=each)
            .flat_map(|n| keys.iter().map(move |key| complete(key, &format!(".{n}{}", star(n, each)))))
            .collect();
        let append = append(bench, &fresh).await;
        let before = yardstick::wal(&fresh.pool).await;
        let ((), took) = timed(record(&*fresh.store, &reports)).await;
        compared.add(reports.len(), took, append);
        wal.add((yardstick::wal(&fresh.pool).await - before) / reports.len() as f64);
        assert_complete(&*fresh.store, &keys[7]).await;
    }
    let work = "spread evenly over 1,000 jobs";
    compared.show(work);
    row(work, &format!("{} bytes of WAL each", wal.shown()), "", None);
}

/// Several connections on the same job, and each on its own, beside one connection.
async fn connections(bench: &Bench) {
    let count = bench.size(200_000, 16_000);
    let (mut one, mut same, mut own) = (Series::default(), Series::default(), Series::default());
    let (mut same_ratio, mut own_ratio) = (Series::default(), Series::default());
    for _ in 0..bench.repeats() {
        let alone = concurrent(bench, 1, count, true).await;
        let on_same = concurrent(bench, 8, count, true).await;
        let on_own = concurrent(bench, 8, count, false).await;
        one.add(alone);
        same.add(on_same);
        own.add(on_own);
        same_ratio.add(on_same / alone);
        own_ratio.add(on_own / alone);
    }
    let beside = format!("one connection: {} /s", one.shown());
    row("8 connections on the same job", &format!("{} /s", same.shown()), &beside, Some(same_ratio.median()));
    row("8 connections on 8 jobs", &format!("{} /s", own.shown()), &beside, Some(own_ratio.median()));
}

async fn concurrent(bench: &Bench, connections: usize, count: usize, same_job: bool) -> f64 {
    let fresh = bench.fresh().await;
    let store = connect(&fresh.url, connections as u32).await;
    warm_up(&store, connections).await;
    let names: Vec<String> =
        (0..connections).map(|n| format!("job-{}", if same_job { 0 } else { n })).collect();
    let unique: std::collections::BTreeSet<&String> = names.iter().collect();
    create(&*store, unique.iter().map(|name| job(name)).collect(), at(0)).await;
    fresh.settle_down().await;
    let each = count / connections;
    let mut parts: Vec<Vec<TaskReport>> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let first = if same_job { place * each } else { 0 };
        let total = if same_job { count } else { each };
        let tasks: Vec<String> =
            (first + 1..=first + each).map(|n| format!(".{n}{}", star(n, total))).collect();
        parts.push(reports(&key(name), &tasks));
    }
    let work = async {
        let mut workers = JoinSet::new();
        for part in parts {
            let store = Arc::clone(&store);
            workers.spawn(async move { record(&*store, &part).await });
        }
        workers.join_all().await;
    };
    let ((), took) = timed(work).await;
    for name in unique {
        assert_complete(&*store, &key(name)).await;
    }
    count as f64 / took.as_secs_f64()
}

/// Every connection is open and knows its statements before anything is measured.
async fn warm_up(store: &Arc<job_store_postgres::PostgresStore>, connections: usize) {
    create(&**store, (0..connections).map(|n| job(&format!("warm-{n}"))).collect(), at(0)).await;
    for _ in 0..3 {
        let mut workers = JoinSet::new();
        for n in 0..connections {
            let store = Arc::clone(store);
            let tasks: Vec<String> = (9_000..9_100).map(|task| format!(".{task}")).collect();
            workers.spawn(async move { record(&*store, &reports(&key(&format!("warm-{n}")), &tasks)).await });
        }
        workers.join_all().await;
    }
}
