//! What readers see of two stores, side by side.

use job_core::progress::TaskProgress;
use job_core::query::{
    Comparison, Filter, JobQuery, PercentageTest, Selection, Sort, StatusTest, StatusType, TextKey, TextTest,
};
use job_core::store::JobStore;
use job_core::{Failure, Job, JobKey, JobStatus, PartitionId, TaskPath};

use super::{answer, same};
use crate::store::seeded::Seeded;

pub(super) async fn jobs(a: &dyn JobStore, b: &dyn JobStore, keys: &[JobKey]) -> Result<(), String> {
    let (in_a, in_b) = (answer(a.get(keys).await)?, answer(b.get(keys).await)?);
    for ((key, in_a), in_b) in keys.iter().zip(in_a).zip(in_b) {
        same(&format!("jobs {key}"), &in_a.map(comparable), &in_b.map(comparable))?;
    }
    same("statuses", &answer(a.statuses(keys).await)?, &answer(b.statuses(keys).await)?)
}

/// Whether an attempt whose lease ended was one is left open.
fn comparable(mut job: Job) -> Job {
    if let Some(problem) = &mut job.dispatch_problem {
        problem.attempts = 0;
    }
    job
}

pub(super) async fn details(a: &dyn JobStore, b: &dyn JobStore, keys: &[JobKey]) -> Result<(), String> {
    for key in keys {
        let asked = std::slice::from_ref(&key.job);
        let in_a = answer(a.dependents(&key.partition, asked, 5).await)?;
        same(&format!("dependents of {key}"), &in_a, &answer(b.dependents(&key.partition, asked, 5).await)?)?;
        same(&format!("failures of {key}"), &failures(a, key).await?, &failures(b, key).await?)?;
        for parent in ["", ".1", ".2", ".1.1", ".3.2"] {
            let parent: TaskPath = parent.parse().expect("the paths above are valid");
            for after in [0, 2] {
                let what = format!("tasks of {key}{parent} behind {after}");
                let (in_a, in_b) =
                    (tasks(a, key, &parent, after).await?, tasks(b, key, &parent, after).await?);
                same(&what, &in_a, &in_b)?;
            }
        }
    }
    Ok(())
}

async fn tasks(
    store: &dyn JobStore,
    key: &JobKey,
    parent: &TaskPath,
    after: u32,
) -> Result<Option<Vec<TaskProgress>>, String> {
    answer(store.tasks(key, parent, after, 3).await)
}

async fn failures(store: &dyn JobStore, key: &JobKey) -> Result<Vec<(TaskPath, Failure)>, String> {
    let (mut after, mut all) = (0, Vec::new());
    loop {
        let page = answer(store.failures(key, after, 2).await)?;
        let Some((place, ..)) = page.last() else { return Ok(all) };
        after = *place;
        all.extend(page.into_iter().map(|(_, task, failure)| (task, failure)));
    }
}

/// Walks every order page by page, and counts, each over a random selection.
pub(super) async fn listings(
    a: &dyn JobStore,
    b: &dyn JobStore,
    partition: &PartitionId,
    random: &mut Seeded,
) -> Result<(), String> {
    let fields = [
        "jobId",
        "name",
        "description",
        "externalData",
        "createTime",
        "lastUpdateTime",
        "status",
        "percentageComplete",
        "labels.k",
    ];
    for field in fields {
        for direction in ["asc", "desc"] {
            let sort: Sort = format!("{field}:{direction}").parse().expect("the orders above are valid");
            let selection = selection(random);
            let mut query = JobQuery {
                sort,
                selection: selection.clone(),
                limit: random.below(6) as u32 + 1,
                offset: random.below(3) as u32,
                ..JobQuery::new(partition.clone())
            };
            loop {
                let (mut in_a, mut in_b) = (answer(a.list(&query).await)?, answer(b.list(&query).await)?);
                for page in [&mut in_a, &mut in_b] {
                    page.jobs = std::mem::take(&mut page.jobs).into_iter().map(comparable).collect();
                }
                same(&format!("pages of {query:?}"), &in_a, &in_b)?;
                query.after = in_a.next;
                if query.after.is_none() {
                    break;
                }
            }
            let (in_a, in_b) = (
                answer(a.count(partition, &selection).await)?,
                answer(b.count(partition, &selection).await)?,
            );
            same(&format!("counts of {selection:?}"), &in_a, &in_b)?;
        }
    }
    Ok(())
}

pub(super) fn selection(random: &mut Seeded) -> Selection {
    let types = [
        StatusType::All,
        StatusType::NotCompleted,
        StatusType::Completed,
        StatusType::Inactive,
        StatusType::NotFinished,
    ];
    Selection {
        id_prefix: if random.percent(15) { "j1".to_owned() } else { String::new() },
        status_type: if random.percent(30) { *random.pick(&types) } else { StatusType::All },
        labels_exist: if random.percent(15) { vec!["k".to_owned(), "x".to_owned()] } else { Vec::new() },
        filter: random.percent(50).then(|| filter(random, 2)),
    }
}

fn filter(random: &mut Seeded, depth: u32) -> Filter {
    let comparisons =
        [Comparison::Greater, Comparison::GreaterOrEqual, Comparison::Less, Comparison::LessOrEqual];
    let comparison = *random.pick(&comparisons);
    if depth > 0 && random.percent(50) {
        let parts = (0..random.below(3)).map(|_| filter(random, depth - 1)).collect();
        return if random.percent(50) { Filter::And(parts) } else { Filter::Or(parts) };
    }
    match random.below(4) {
        0 => {
            let value = [0.0, 25.0, 33.33, 50.0, 99.7, 100.0][random.below(6) as usize];
            Filter::Percentage(match random.below(3) {
                0 => PercentageTest::In(vec![value, 50.0]),
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
            let keys = [TextKey::Id, TextKey::Name, TextKey::Label("k".to_owned())];
            let value = (*random.pick(&["", "j1", "N1", "n1", "v0", "ñ", "J2"])).to_owned();
            let test = match random.below(5) {
                0 => TextTest::In(vec![value, "v1".to_owned()]),
                1 => TextTest::NotIn(vec![value]),
                2 => TextTest::Like(format!("*{value}*")),
                3 => TextTest::NotLike(format!("{value}*")),
                _ => TextTest::Compare(comparison, value),
            };
            Filter::Text(random.pick(&keys).clone(), test)
        }
    }
}
