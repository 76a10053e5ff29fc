//! Jobs that wait for each other, with tasks that take no time.

use std::time::Duration;

use job_core::store::{ClaimRequest, JobStore, Settled, TaskReport};
use job_core::{JobId, JobKey};
use uuid::Uuid;

use crate::setup::{Bench, Series, at, complete, create, job, row, timed};

pub(crate) async fn run(bench: &Bench) {
    let wide = bench.size(10_000, 500);
    let long = bench.size(1_000, 100);
    let (mut fan_in, mut fan_out, mut chain) = (Series::default(), Series::default(), Series::default());
    for _ in 0..bench.repeats() {
        let fresh = bench.fresh().await;
        let store = &*fresh.store;
        let first: Vec<String> = (0..wide).map(|n| format!("in-{n}")).collect();
        create(store, first.iter().map(|id| job(id)).collect(), at(0)).await;
        create(store, vec![job("last").after(first.iter().map(|id| id_of(id)))], at(0)).await;
        fan_in.add(drain(store, wide + 1).await);
        create(store, vec![job("first")], at(0)).await;
        let after: Vec<_> = (0..wide).map(|n| job(&format!("out-{n}")).after([id_of("first")])).collect();
        create(store, after, at(0)).await;
        fan_out.add(drain(store, wide + 1).await);
        let mut links = vec![job("link-0")];
        links.extend((1..long).map(|n| job(&format!("link-{n}")).after([id_of(&format!("link-{}", n - 1))])));
        create(store, links, at(0)).await;
        chain.add(drain(store, long).await);
    }
    let within = |series: &Series, limit: f64| Some(series.median() / limit);
    row(&format!("fan-in {wide} -> 1"), &format!("{} s", fan_in.shown()), "2 s", within(&fan_in, 2.0));
    row(&format!("fan-out 1 -> {wide}"), &format!("{} s", fan_out.shown()), "1 s", within(&fan_out, 1.0));
    row(&format!("chain of {long}"), &format!("{} s", chain.shown()), "2 s", within(&chain, 2.0));
}

fn id_of(id: &str) -> JobId {
    id.parse().expect("a valid id")
}

/// Dispatches and completes until nothing is left; in seconds.
async fn drain(store: &dyn JobStore, expected: usize) -> f64 {
    let owner = Uuid::new_v4();
    let work = async {
        let mut done = 0;
        while done < expected {
            let request = ClaimRequest {
                owner,
                now: at(1_000),
                lease: Duration::from_secs(30),
                limit: 1_000,
                bytes_limit: usize::MAX,
            };
            let entries = store.claim(request).await.expect("claim").entries;
            assert!(!entries.is_empty(), "{done} of {expected} done and nothing due");
            let keys: Vec<JobKey> = entries.iter().map(|entry| entry.job.clone()).collect();
            let settled = entries.into_iter().map(|entry| (entry.id, Settled::Published)).collect();
            store.settle(owner, settled, at(1_000)).await.expect("settle");
            let reports: Vec<TaskReport> = keys.iter().map(|key| complete(key, "")).collect();
            store.record(&reports, at(1_000)).await.expect("record");
            done += reports.len();
        }
    };
    timed(work).await.1.as_secs_f64()
}
