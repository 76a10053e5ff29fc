//! Claiming and settling.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use job_core::store::{ClaimRequest, JobStore, Settled};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::setup::{Bench, Series, at, connect, fill, row, timed};

pub(crate) async fn run(bench: &Bench) {
    let count = bench.size(100_000, 5_000);
    for dispatchers in [1, 4] {
        let mut rates = Series::default();
        for _ in 0..bench.repeats() {
            let fresh = bench.fresh().await;
            fill(&*fresh.store, count, false).await;
            fresh.settle_down().await;
            let store = connect(&fresh.url, dispatchers).await;
            let work = async {
                let mut workers = JoinSet::new();
                for _ in 0..dispatchers {
                    workers.spawn(dispatch(Arc::clone(&store) as Arc<dyn JobStore>, count));
                }
                workers.join_all().await
            };
            let (taken, took) = timed(work).await;
            let all: Vec<u64> = taken.into_iter().flatten().collect();
            let unique: HashSet<&u64> = all.iter().collect();
            assert_eq!((all.len(), unique.len()), (count, count), "each entry once");
            rates.add_rate(count, took);
        }
        row(
            &format!("claim and settle, {count} due, {dispatchers} dispatchers"),
            &format!("{} /s", rates.shown()),
            "20k",
            Some(rates.median() / 20_000.0),
        );
    }
}

async fn dispatch(store: Arc<dyn JobStore>, count: usize) -> Vec<u64> {
    let owner = Uuid::new_v4();
    let mut taken = Vec::new();
    let mut idle = 0;
    while idle < 3 && taken.len() < count {
        let now = at(1_000_000);
        let request = ClaimRequest {
            owner,
            now,
            lease: Duration::from_secs(30),
            limit: 1_000,
            bytes_limit: usize::MAX,
        };
        let entries = store.claim(request).await.expect("claim").entries;
        idle = if entries.is_empty() { idle + 1 } else { 0 };
        taken.extend(entries.iter().map(|entry| entry.id));
        let settled = entries.into_iter().map(|entry| (entry.id, Settled::Published)).collect();
        store.settle(owner, settled, now).await.expect("settle");
    }
    taken
}
