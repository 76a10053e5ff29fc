//! Random selections over random jobs: PostgreSQL and memory agree on which, how many, and in which order by every key.
//!
//! `JOB_CAMPAIGN=1` makes it many more.

mod database;

use std::sync::Arc;

use job_conformance::store::fixture::{accept, at, job, partition, record, report};
use job_conformance::store::seeded::Seeded;
use job_core::progress::{Percentage, ReportEvent};
use job_core::query::{
    Comparison, Cursor, Filter, JobPage, JobQuery, PercentageTest, Selection, Sort, SortDirection, SortField,
    SortValue, StatusTest, StatusType, TextKey, TextTest,
};
use job_core::store::{Action, JobStore};
use job_core::{JobStatus, NewJob, SystemClock};
use job_store_memory::MemoryStore;
use job_store_postgres::{PostgresOptions, PostgresStore};

/// What trips up a translation: case, wildcards of SQL, quotes, accents, folding that changes the code point's order,
/// texts that differ only far behind, nothing, and characters beyond the first plane.
const TEXTS: [&str; 22] = [
    "",
    "a",
    "A",
    "b",
    "ab",
    "aB",
    "a%b",
    "a_b",
    "a\\b",
    "a'b",
    "\"",
    "é",
    "É",
    "ß",
    "ẞ",
    "İ",
    "\u{212a}",
    "k",
    "K",
    "\u{10ffff}",
    "\u{1}",
    "zz zz",
];

fn text(random: &mut Seeded) -> String {
    match random.below(10) {
        0 => format!("{}{}", "long ".repeat(150), random.below(3)),
        1 => format!("{}{}", "LONG ".repeat(150), random.below(3)),
        2 => format!("{}{}", random.pick(&TEXTS), random.pick(&TEXTS)),
        _ => (*random.pick(&TEXTS)).to_owned(),
    }
}

fn short(random: &mut Seeded) -> String {
    text(random).chars().take(40).collect()
}

fn jobs(random: &mut Seeded) -> Vec<NewJob> {
    let mut jobs: Vec<NewJob> = Vec::new();
    for n in 0..70 {
        let id = match random.below(3) {
            0 => format!("j{n}"),
            1 => format!("J{}", n % 7),
            _ => format!("{}{n}", random.pick(&["a%", "a_", "é", "É", "\u{10ffff}", "x'"])),
        };
        if jobs.iter().any(|known| known.key.job.as_str() == id) {
            continue;
        }
        let mut new = job(&id);
        new.name = random.percent(70).then(|| text(random).chars().take(255).collect());
        new.description = random.percent(60).then(|| text(random));
        new.external_data = random.percent(40).then(|| text(random));
        for key in ["k", "k:2", "K"] {
            if random.percent(50) {
                let value = random.percent(80).then(|| short(random));
                new.labels.insert(key.to_owned(), value);
            }
        }
        jobs.push(new);
    }
    jobs
}

/// The same life for both, so that statuses, percentages and times differ.
async fn live(store: &dyn JobStore, seed: u64) {
    let mut random = Seeded::new(seed);
    for (place, new) in jobs(&mut random).into_iter().enumerate() {
        let (key, id) = (new.key.clone(), new.key.job.to_string());
        let created = at(1_000 * (place as i64 / 4));
        store.create(vec![accept(new)], created).await.expect("create");
        let now = 100_000 + random.below(50) as i64 * 300;
        let about = |task: &str, event| report(&id, task, event);
        match random.below(8) {
            0 => drop(store.act(&key, Action::Pause, at(now)).await.expect("pause")),
            1 => drop(store.act(&key, Action::Cancel, at(now)).await.expect("cancel")),
            2 => drop(record(store, &[about("", ReportEvent::Complete)], now).await),
            3 => {
                let failure = job_conformance::store::fixture::failure("boom");
                record(store, &[about(".1", ReportEvent::Failed(failure))], now).await;
            }
            4 | 5 => {
                let percentage = Percentage::from_hundredths(random.below(10_000) as u16);
                record(store, &[about("", ReportEvent::Progress(percentage))], now).await;
            }
            _ => {}
        }
    }
}

fn filter(random: &mut Seeded, depth: u32) -> Filter {
    if depth > 0 && random.percent(55) {
        let parts = (0..random.below(4)).map(|_| filter(random, depth - 1)).collect();
        return if random.percent(50) { Filter::And(parts) } else { Filter::Or(parts) };
    }
    let comparison = *random.pick(&[
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
    ]);
    match random.below(5) {
        0 => {
            let value = match random.below(4) {
                0 => random.below(10_001) as f64 / 100.0,
                1 => random.below(1_000_000) as f64 / 7_777.0,
                2 => -1.5,
                _ => [0.0, 100.0, 1e300, 50.0][random.below(4) as usize],
            };
            Filter::Percentage(match random.below(3) {
                0 => PercentageTest::In(vec![value, 0.0]),
                1 => PercentageTest::NotIn(vec![value]),
                _ => PercentageTest::Compare(comparison, value),
            })
        }
        1 => {
            let status = *random.pick(&JobStatus::ALL);
            Filter::Status(match random.below(3) {
                0 => StatusTest::In(vec![status, JobStatus::Waiting]),
                1 => StatusTest::NotIn(vec![status]),
                _ => StatusTest::Compare(comparison, status),
            })
        }
        _ => {
            let labels = ["k", "k:2", "K", "none", ""].map(|key| TextKey::Label(key.to_owned()));
            let key = match random.below(3) {
                0 => TextKey::Id,
                1 => TextKey::Name,
                _ => random.pick(&labels).clone(),
            };
            Filter::Text(key, test(random, comparison))
        }
    }
}

fn test(random: &mut Seeded, comparison: Comparison) -> TextTest {
    let mut value = short(random);
    if random.percent(5) {
        value.push('\0');
    }
    match random.below(6) {
        0 => TextTest::In((0..random.below(3)).map(|_| short(random)).collect()),
        1 => TextTest::NotIn((0..random.below(3)).map(|_| short(random)).collect()),
        2 => TextTest::Like(pattern(random)),
        3 => TextTest::NotLike(pattern(random)),
        4 => TextTest::In(vec![value]),
        _ => TextTest::Compare(comparison, value),
    }
}

fn pattern(random: &mut Seeded) -> String {
    let parts = random.below(4) + 1;
    (0..parts).map(|_| if random.percent(50) { "*".to_owned() } else { short(random) }).collect()
}

fn query(random: &mut Seeded) -> JobQuery {
    let field = match random.below(9) {
        0 => SortField::JobId,
        1 => SortField::Name,
        2 => SortField::Description,
        3 => SortField::ExternalData,
        4 => SortField::CreateTime,
        5 => SortField::LastUpdateTime,
        6 => SortField::Status,
        7 => SortField::PercentageComplete,
        _ => SortField::Label((*random.pick(&["k", "k:2", "none"])).to_owned()),
    };
    let direction = *random.pick(&[SortDirection::Ascending, SortDirection::Descending]);
    let types = [
        StatusType::All,
        StatusType::NotCompleted,
        StatusType::Completed,
        StatusType::Inactive,
        StatusType::NotFinished,
    ];
    let prefixes = ["j", "J", "a%", "a", "é", "\u{10ffff}", "nobody", "a\0"];
    let labels = ["k", "K", "k:2", "none"];
    let selection = Selection {
        id_prefix: if random.percent(20) { (*random.pick(&prefixes)).to_owned() } else { String::new() },
        status_type: if random.percent(25) { *random.pick(&types) } else { StatusType::All },
        labels_exist: if random.percent(20) {
            (0..=random.below(2)).map(|_| (*random.pick(&labels)).to_owned()).collect()
        } else {
            Vec::new()
        },
        filter: random.percent(70).then(|| filter(random, 3)),
    };
    // Now and then a cursor that no page gave out.
    let foreign =
        [SortValue::Null, SortValue::Number(50), SortValue::Number(i64::MIN), SortValue::Text("b".into())];
    let after = random.percent(15).then(|| Cursor {
        value: random.pick(&foreign).clone(),
        job: "j5".parse().expect("a valid id"),
        is_cut: false,
    });
    JobQuery {
        sort: Sort { field, direction },
        selection,
        after,
        limit: random.below(12) as u32 + 1,
        offset: if random.percent(30) { random.below(5) as u32 } else { 0 },
        ..JobQuery::new(partition("p"))
    }
}

/// Two stores may order one instant's update differently in nothing that is listed.
fn shown(page: &JobPage) -> (Vec<String>, Option<Cursor>) {
    (page.jobs.iter().map(|job| format!("{job:?}")).collect(), page.next.clone())
}

#[expect(clippy::disallowed_methods, reason = "a test may be told to search for longer")]
fn rounds() -> (u64, usize) {
    if std::env::var_os("JOB_CAMPAIGN").is_some() { (30, 1_500) } else { (2, 200) }
}

#[tokio::test]
async fn every_selection_and_order_is_the_same() {
    let (seeds, queries) = rounds();
    for seed in 0..seeds {
        let database = database::fresh().await;
        let (memory, postgres) = (MemoryStore::new(), database::connect(database.url()).await);
        // The same jobs, found in every other way.
        let mut others = Vec::new();
        for (few, walked) in [(0, 0), (0, 4), (0, 30), (8, 8)] {
            let options =
                PostgresOptions::new(database.url()).expect("a URL").with_listing_effort(few, walked);
            let clock = Arc::new(SystemClock::new());
            others.push(PostgresStore::connect(options.with_pool_size(1), clock).await.expect("a store"));
        }
        live(&memory, seed).await;
        live(&postgres, seed).await;
        let mut random = Seeded::new(!seed);
        for _ in 0..queries {
            let mut query = query(&mut random);
            for _ in 0..20 {
                let (here, there) =
                    (memory.list(&query).await.expect("list"), postgres.list(&query).await.expect("list"));
                assert_eq!(shown(&there), shown(&here), "seed {seed}: {query:?}");
                let other = random.pick(&others);
                let there = other.list(&query).await.expect("list");
                assert_eq!(shown(&there), shown(&here), "seed {seed}: {other:?} {query:?}");
                query.after = here.next;
                if query.after.is_none() {
                    break;
                }
            }
            let (partition, selection) = (&query.partition, &query.selection);
            let here = memory.count(partition, selection).await.expect("count");
            assert_eq!(postgres.count(partition, selection).await.expect("count"), here, "{selection:?}");
        }
    }
}
