//! What calls cost, and how that grows: `cargo bench -p job-store-memory`.
//!
//! The recording figures are of a single job with N subtasks, reported in batches of 1,000; the others are of a store
//! with N jobs.
#![expect(clippy::unwrap_used, reason = "a bench may panic")]

use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use futures::FutureExt;
use job_conformance::store::fixture::{ANNE, accept, at, complete, id, job, job_after, key, partition};
use job_core::AcceptedJob;
use job_core::query::{JobQuery, Selection};
use job_core::store::{ClaimRequest, JobStore, Settled, TaskReport};
use job_store_memory::MemoryStore;

const BATCH: u32 = 1_000;
const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];

fn main() {
    divan::main();
}

/// The store never waits for anything.
fn now<T>(call: impl Future<Output = job_core::Result<T>>) -> T {
    call.now_or_never().unwrap().unwrap()
}

fn store_of(jobs: u32) -> MemoryStore {
    let store = MemoryStore::new();
    for batch in 0..jobs / BATCH {
        let ids = batch * BATCH..(batch + 1) * BATCH;
        now(store.create(ids.map(|n| accept(job(&format!("j{n:07}")))).collect(), at(i64::from(batch))));
    }
    store
}

fn reports(subtasks: u32) -> Vec<TaskReport> {
    (1..=subtasks).map(|n| complete("j", &format!(".{n}{}", if n == subtasks { "*" } else { "" }))).collect()
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn record_in_order(bencher: Bencher<'_, '_>, subtasks: u32) {
    record(bencher, &reports(subtasks));
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn record_shuffled(bencher: Bencher<'_, '_>, subtasks: u32) {
    let mut reports = reports(subtasks);
    let mut random = job_conformance::store::seeded::Seeded::new(1);
    for n in (1..reports.len()).rev() {
        reports.swap(n, random.below(n as u64 + 1) as usize);
    }
    record(bencher, &reports);
}

fn record(bencher: Bencher<'_, '_>, reports: &[TaskReport]) {
    bencher
        .counter(ItemsCount::new(reports.len()))
        .with_inputs(|| {
            let store = MemoryStore::new();
            now(store.create(vec![accept(job("j"))], at(0)));
            store
        })
        .bench_local_values(|store| {
            for batch in reports.chunks(BATCH as usize) {
                divan::black_box(now(store.record(batch, at(1))));
            }
            // Counted, every one: otherwise the figure means nothing.
            let read = now(store.get(&[key("j")])).remove(0).unwrap();
            assert_eq!((read.subtasks.completed as usize, read.percentage.rounded()), (reports.len(), 100.0));
            store
        });
}

#[divan::bench(args = SIZES)]
fn get(bencher: Bencher<'_, '_>, jobs: u32) {
    let store = store_of(jobs);
    let mut random = job_conformance::store::seeded::Seeded::new(1);
    bencher
        .with_inputs(|| [key(&format!("j{:07}", random.below(u64::from(jobs))))])
        .bench_local_refs(|keys| now(store.get(keys)));
}

#[divan::bench(args = SIZES)]
fn create_with_a_prerequisite(bencher: Bencher<'_, '_>, jobs: u32) {
    let store = store_of(jobs);
    let mut count = 0;
    bencher
        .with_inputs(|| {
            count += 1;
            vec![accept(job_after(&format!("new {count}"), &[&format!("j{:07}", count % jobs)]))]
        })
        .bench_local_values(|new| now(store.create(new, at(9))));
}

#[divan::bench(args = SIZES)]
fn claim_and_settle_100(bencher: Bencher<'_, '_>, jobs: u32) {
    let store = store_of(jobs);
    let request = ClaimRequest {
        owner: ANNE,
        now: at(1_000_000),
        lease: Duration::from_secs(1),
        limit: 100,
        bytes_limit: usize::MAX,
    };
    bencher.counter(ItemsCount::new(100_u32)).bench_local(|| {
        let entries = now(store.claim(request)).entries;
        // Not published, so that the number of entries stays what it is.
        let failed = |id| (id, Settled::Failed { retry_at: at(0), reason: String::new() });
        let settled = entries.iter().map(|entry| failed(entry.id)).collect();
        now(store.settle(ANNE, settled, at(1_000_000)))
    });
}

#[divan::bench(args = SIZES)]
fn list_the_newest_25(bencher: Bencher<'_, '_>, jobs: u32) {
    let store = store_of(jobs);
    let query = JobQuery::new(partition("p"));
    bencher.bench_local(|| now(store.list(&query)));
}

#[divan::bench(args = SIZES, sample_count = 5, sample_size = 1)]
fn list_25_by_name(bencher: Bencher<'_, '_>, jobs: u32) {
    let store = store_of(jobs);
    let query = JobQuery { sort: "name:asc".parse().unwrap(), ..JobQuery::new(partition("p")) };
    bencher.bench_local(|| now(store.list(&query)));
}

#[divan::bench(args = SIZES)]
fn count(bencher: Bencher<'_, '_>, jobs: u32) {
    let store = store_of(jobs);
    bencher.bench_local(|| now(store.count(&partition("p"), &Selection::default())));
}

const FAN: u32 = 10_000;

fn fan(from: u32, to: u32) -> Vec<AcceptedJob> {
    let names: Vec<String> = (0..from).map(|n| format!("a{n}")).collect();
    let prerequisites = || names.iter().map(|name| id(name));
    let first = names.iter().map(|name| accept(job(name)));
    first.chain((0..to).map(|n| accept(job(&format!("b{n}")).after(prerequisites())))).collect()
}

fn completions(from: u32) -> Vec<TaskReport> {
    (0..from).map(|n| complete(&format!("a{n}"), "")).collect()
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn fan_in_10_000(bencher: Bencher<'_, '_>) {
    bench_fan(bencher, FAN, 1);
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn fan_out_10_000(bencher: Bencher<'_, '_>) {
    bench_fan(bencher, 1, FAN);
}

/// Creates and completes the first ones; the others must be due.
fn bench_fan(bencher: Bencher<'_, '_>, from: u32, to: u32) {
    let reports = completions(from);
    bencher
        .with_inputs(|| {
            let store = MemoryStore::new();
            now(store.create(fan(from, to), at(0)));
            store
        })
        .bench_local_values(|store| {
            for batch in reports.chunks(BATCH as usize) {
                now(store.record(batch, at(1)));
            }
            let request = ClaimRequest {
                owner: ANNE,
                now: at(1),
                lease: Duration::ZERO,
                limit: 2 * FAN,
                bytes_limit: usize::MAX,
            };
            assert_eq!(now(store.claim(request)).entries.len(), to as usize);
            store
        });
}
