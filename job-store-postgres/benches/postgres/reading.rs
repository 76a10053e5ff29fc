//! Reading with a million jobs present.

use std::time::Instant;

use job_core::query::Comparison;
use job_core::query::{
    Cursor, Filter, JobQuery, PercentageTest, Selection, SortValue, StatusType, TextKey, TextTest,
};
use job_core::store::{JobStore, TaskReport};
use job_core::{JobKey, PartitionId};

use crate::setup::{Bench, Series, at, complete, create, fill, job, key, number, row, timed};

pub(crate) async fn run(bench: &Bench) {
    let present = bench.size(1_000_000, 20_000);
    let fresh = bench.fresh().await;
    let store = &*fresh.store;
    fill(store, present, true).await;
    create(store, vec![job("busy")], at(0)).await;
    let tasks = bench.size(1_000_000, 10_000);
    let reports: Vec<TaskReport> = (1..=tasks).map(|n| complete(&key("busy"), &format!(".{n}"))).collect();
    for batch in reports.chunks(1_000) {
        store.record(batch, at(0)).await.expect("record");
    }
    // Some jobs in every status.
    let first = store.list(&query(Selection::default(), 3_000)).await.expect("list");
    let failing: Vec<TaskReport> = first.jobs.iter().take(1_000).map(|job| complete(&job.key, "")).collect();
    store.record(&failing, at(present as i64)).await.expect("record");
    fresh.settle_down().await;
    latencies("get a job after 10^6 completions, 10^6 jobs present", 2.0, 0.99, 2_000, async || {
        store.get(&[key("busy")]).await.expect("get");
    })
    .await;
    let mut keys: Vec<JobKey> = first.jobs.iter().map(|job| job.key.clone()).collect();
    crate::setup::shuffle(&mut keys);
    let mut next = keys.iter().cycle();
    latencies("get any job", 2.0, 0.99, 2_000, async || {
        store.get(std::slice::from_ref(next.next().expect("some"))).await.expect("get");
    })
    .await;
    latencies("status of a job", 2.0, 0.99, 2_000, async || {
        store.statuses(&[key("busy")]).await.expect("statuses");
    })
    .await;
    lists(store, present).await;
    let ((), took) = timed(async {
        store.count(&partition(), &Selection::default()).await.expect("count");
    })
    .await;
    row("count by status", &format!("{} ms", number(took.as_secs_f64() * 1e3)), "", None);
}

fn partition() -> PartitionId {
    "acme".parse().expect("a valid partition")
}

fn query(selection: Selection, limit: u32) -> JobQuery {
    JobQuery { selection, limit, ..JobQuery::new(partition()) }
}

async fn lists(store: &dyn JobStore, present: usize) {
    let label = |key: &str, test| Filter::Text(TextKey::Label(key.into()), test);
    let filtered = |filter| Selection { filter: Some(filter), ..Selection::default() };
    let equal = |value: &str| TextTest::In(vec![value.to_owned()]);
    let selections = [
        ("default page", Selection::default()),
        ("by status, many", Selection { status_type: StatusType::NotFinished, ..Selection::default() }),
        ("by status, few", Selection { status_type: StatusType::Completed, ..Selection::default() }),
        ("by label that all have", Selection { labels_exist: vec!["batch".into()], ..Selection::default() }),
        ("by label value, 1 in 100", filtered(label("tenant", equal("t7")))),
        ("by label value, 1 in 1,000", filtered(label("batch", equal("b3")))),
        ("by prefix, 1 in 10", Selection { id_prefix: "filler-3".into(), ..Selection::default() }),
        ("by prefix, 1 in 10,000", Selection { id_prefix: "filler-31234".into(), ..Selection::default() }),
        ("by filter on the name, one", filtered(Filter::Text(TextKey::Name, equal("Job 4711")))),
        (
            "by filter on the name, a prefix, 1 in 100",
            filtered(Filter::Text(TextKey::Name, TextTest::Like("Job 47*".into()))),
        ),
        (
            "by filter on label and percentage",
            filtered(Filter::And(vec![
                label("tenant", equal("t7")),
                Filter::Percentage(PercentageTest::Compare(Comparison::Less, 50.0)),
            ])),
        ),
    ];
    for (what, selection) in selections {
        let query = query(selection, 25);
        latencies(&format!("list {what}"), 5.0, 0.5, 100, async || {
            store.list(&query).await.expect("list");
        })
        .await;
    }
    for sort in [
        "jobId:asc",
        "name:desc",
        "description:desc",
        "externalData:asc",
        "lastUpdateTime:desc",
        "status:desc",
        "percentageComplete:desc",
        "labels.tenant:desc",
        "labels.batch:asc",
    ] {
        let query = JobQuery { sort: sort.parse().expect("a sort"), ..query(Selection::default(), 25) };
        latencies(
            &format!("list sorted by {sort}"),
            5.0,
            0.5,
            if sort == "labels.tenant:desc" { 5 } else { 100 },
            async || {
                store.list(&query).await.expect("list");
            },
        )
        .await;
    }
    for depth in [0, present / 2] {
        let place = Cursor {
            value: SortValue::Number(at((present - depth) as i64).as_millis()),
            job: "filler-5".parse().expect("a valid id"),
            is_cut: false,
        };
        let query = JobQuery { after: Some(place), ..query(Selection::default(), 25) };
        latencies(&format!("list next page by cursor at depth {depth}"), 5.0, 0.5, 100, async || {
            store.list(&query).await.expect("list");
        })
        .await;
    }
    let by_status = JobQuery {
        sort: "status:desc".parse().expect("a sort"),
        after: Some(Cursor {
            value: SortValue::Number(5),
            job: "filler-5".parse().expect("a valid id"),
            is_cut: false,
        }),
        ..query(Selection::default(), 25)
    };
    latencies("list sorted by status, next page in the middle", 5.0, 0.5, 100, async || {
        store.list(&by_status).await.expect("list");
    })
    .await;
}

async fn latencies(what: &str, limit_millis: f64, quantile: f64, count: usize, mut call: impl AsyncFnMut()) {
    call().await;
    let mut series = Series::default();
    for _ in 0..count {
        let started = Instant::now();
        call().await;
        series.add(started.elapsed().as_secs_f64() * 1e3);
    }
    let shown = format!(
        "p50 {} ms, p95 {} ms, p99 {} ms",
        number(series.median()),
        number(series.quantile(0.95)),
        number(series.quantile(0.99))
    );
    let beside = format!("p{:.0} under {limit_millis} ms", quantile * 100.0);
    row(what, &shown, &beside, Some(series.quantile(quantile) / limit_millis));
}
