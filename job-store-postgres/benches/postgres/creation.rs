//! Creating jobs.

use std::sync::Arc;

use job_core::store::{CreateOutcome, JobStore};
use job_core::{AcceptedJob, NewJob};
use tokio::task::JoinSet;

use crate::setup::{Bench, Fresh, Series, accept, at, connect, create, fill, job, row, timed};
use crate::yardstick;

pub(crate) async fn run(bench: &Bench) {
    for connections in [1, 8] {
        if !bench.wants("one at a time") {
            continue;
        }
        let count = bench.size(4_000, 400);
        let (mut ours, mut bare, mut ratios) = (Series::default(), Series::default(), Series::default());
        for repeat in 0..bench.repeats() {
            let fresh = bench.fresh().await;
            let store = connect(&fresh.url, connections as u32).await;
            yardstick::prepare(&fresh).await;
            warm_up(&fresh, &*store).await;
            let yardstick = bare_rate(&fresh, connections, count, repeat).await;
            let new = |n| job(&format!("job-{n}"));
            let measured = rate(Arc::clone(&store) as Arc<dyn JobStore>, connections, count, new).await;
            bare.add(yardstick);
            ours.add(measured);
            ratios.add(measured / yardstick);
        }
        let work = format!("create one at a time, {connections} connections");
        let beside = format!("two bare rows: {} /s", bare.shown());
        row(&work, &format!("{} /s", ours.shown()), &beside, Some(ratios.median()));
    }
    for labels in [0, 2] {
        if !bench.wants("batches") {
            continue;
        }
        let count = bench.size(100_000, 5_000);
        let mut rates = Series::default();
        for _ in 0..bench.repeats() {
            let fresh = bench.fresh().await;
            let batches: Vec<Vec<AcceptedJob>> = (0..count / 1_000)
                .map(|batch| {
                    (0..1_000)
                        .map(|n| accept(labelled(&format!("job-{}-{batch}", n * 7919 % 1_000), labels)))
                        .collect()
                })
                .collect();
            let work = async {
                for (place, batch) in batches.into_iter().enumerate() {
                    fresh.store.create(batch, at(place as i64)).await.expect("create");
                }
            };
            let ((), took) = timed(work).await;
            rates.add_rate(count, took);
        }
        row(
            &format!("create in batches of 1,000, {labels} labels each"),
            &format!("{} /s", rates.shown()),
            "30k",
            Some(rates.median() / 30_000.0),
        );
    }
}

fn labelled(id: &str, labels: usize) -> NewJob {
    (0..labels).fold(job(id), |job, n| job.with_label(format!("label{n}"), format!("value {}", id.len())))
}

/// Statements are prepared and pages are there before anything is measured.
async fn warm_up(fresh: &Fresh, store: &dyn JobStore) {
    for n in 0..50 {
        create(store, vec![job(&format!("warm-{n}"))], at(0)).await;
    }
    yardstick::insert_two_rows(&fresh.pool, "warm", 50).await;
}

async fn bare_rate(fresh: &Fresh, connections: usize, count: usize, repeat: usize) -> f64 {
    let work = async {
        let mut workers = JoinSet::new();
        for worker in 0..connections {
            let pool = fresh.pool.clone();
            workers.spawn(async move {
                yardstick::insert_two_rows(&pool, &format!("{repeat}-{worker}"), count / connections).await;
            });
        }
        workers.join_all().await;
    };
    let ((), took) = timed(work).await;
    count as f64 / took.as_secs_f64()
}

async fn rate(
    store: Arc<dyn JobStore>,
    connections: usize,
    count: usize,
    new: impl Fn(usize) -> NewJob + Send + Sync + Copy + 'static,
) -> f64 {
    // Accepting a job, its fingerprint above all, is the service's work and not the store's.
    let parts: Vec<Vec<AcceptedJob>> = (0..connections)
        .map(|worker| (0..count / connections).map(|n| accept(new(worker * count + n))).collect())
        .collect();
    let work = async {
        let mut workers = JoinSet::new();
        for part in parts {
            let store = Arc::clone(&store);
            workers.spawn(async move {
                for (n, job) in part.into_iter().enumerate() {
                    let outcomes = store.create(vec![job], at(n as i64)).await.expect("create");
                    assert_eq!(outcomes, [CreateOutcome::Created]);
                }
            });
        }
        workers.join_all().await;
    };
    let ((), took) = timed(work).await;
    count as f64 / took.as_secs_f64()
}

/// Creating a job that waits for 0, 1 or 10 others, with few and with many jobs present.
pub(crate) async fn prerequisites(bench: &Bench) {
    for present in [1_000, bench.size(1_000_000, 10_000)] {
        let fresh = bench.fresh().await;
        fill(&*fresh.store, present, false).await;
        create(&*fresh.store, (0..100).map(|n| job(&format!("before-{n}"))).collect(), at(0)).await;
        fresh.settle_down().await;
        let store = connect(&fresh.url, 1).await;
        let mut none = Series::default();
        for prerequisites in [0, 1, 10] {
            let count = bench.size(1_000, 100);
            let mut rates = Series::default();
            for repeat in 0..bench.repeats() {
                let new = move |n: usize| {
                    let before = (0..prerequisites).map(|p| format!("before-{}", (n + p) % 100));
                    job(&format!("after-{prerequisites}-{repeat}-{n}"))
                        .after(before.map(|id| id.parse().expect("a valid id")))
                };
                rates.add(rate(Arc::clone(&store) as Arc<dyn JobStore>, 1, count, new).await);
            }
            let work = format!("create with {prerequisites} prerequisites, {present} jobs present");
            let ratio = (prerequisites > 0).then(|| rates.median() / none.median());
            row(&work, &format!("{} /s", rates.shown()), "none", ratio);
            if prerequisites == 0 {
                none = rates;
            }
        }
    }
}
