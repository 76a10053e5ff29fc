//! Reading the progress tree, one level at a time.

use job_core::progress::{Percentage, TaskProgress};
use job_core::store::{Action, JobStore};
use job_core::{JobStatus, SubtaskCounts};

use super::fixture::{apply, bring_to, complete, create_plain, failed, key, path, progress, record};

async fn level(store: &dyn JobStore, parent: &str, after: u32, limit: u32) -> Vec<TaskProgress> {
    store.tasks(&key("j"), &path(parent), after, limit).await.unwrap().expect("the job is there")
}

async fn numbers(store: &dyn JobStore, parent: &str, after: u32, limit: u32) -> Vec<u32> {
    let tasks = level(store, parent, after, limit).await;
    tasks.iter().map(|task| *task.path.numbers().last().unwrap()).collect()
}

/// A job without reports has an empty tree; a job that is not there has none.
pub async fn a_new_job_has_an_empty_tree(store: &dyn JobStore) {
    assert_eq!(store.tasks(&key("j"), &path(""), 0, 10).await.unwrap(), None);
    create_plain(store, &["j"], 1).await;
    assert_eq!(level(store, "", 0, 10).await, []);
    assert_eq!(level(store, ".1", 0, 10).await, []);
}

/// Each child with its percentage, its failure and its counts.
pub async fn a_level_shows_what_is_known_of_each_child(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let reports = [
        complete("j", ".5*"),
        progress("j", ".2", 30.0),
        complete("j", ".3.1"),
        failed("j", ".3.4*", "boom"),
        complete("j", ".1"),
    ];
    record(store, &reports, 2).await;
    let full = TaskProgress {
        path: path(".1"),
        percentage: Percentage::FULL,
        failed: false,
        subtasks: SubtaskCounts::default(),
    };
    let partial =
        TaskProgress { path: path(".2"), percentage: Percentage::from_hundredths(3000), ..full.clone() };
    let nested = TaskProgress {
        path: path(".3"),
        percentage: Percentage::from_hundredths(2500),
        failed: true,
        subtasks: SubtaskCounts { total: Some(4), completed: 1, failed: 1 },
    };
    let last = TaskProgress { path: path(".5"), ..full.clone() };
    assert_eq!(level(store, "", 0, 10).await, [full, partial, nested, last]);
}

/// Deeper levels are found by their parent.
pub async fn a_deeper_level_is_found_by_its_parent(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[complete("j", ".2.3.1"), progress("j", ".2.3.9", 10.0), complete("j", ".2.4")], 2).await;
    assert_eq!(numbers(store, ".2", 0, 10).await, [3, 4]);
    assert_eq!(numbers(store, ".2.3", 0, 10).await, [1, 9]);
    assert_eq!(numbers(store, ".2.3.1", 0, 10).await, [] as [u32; 0]);
    assert_eq!(numbers(store, ".7", 0, 10).await, [] as [u32; 0]);
}

/// Levels are read in pages, ascending by number.
pub async fn a_level_is_read_in_pages(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let reports: Vec<_> =
        [10u32, 2, 8_200, 1, 17_000, 3, 9_000]
            .iter()
            .map(|n| {
                if n % 2 == 0 {
                    complete("j", &format!(".{n}"))
                } else {
                    progress("j", &format!(".{n}"), 5.0)
                }
            })
            .collect();
    record(store, &reports, 2).await;
    assert_eq!(numbers(store, "", 0, 3).await, [1, 2, 3]);
    assert_eq!(numbers(store, "", 3, 3).await, [10, 8_200, 9_000]);
    assert_eq!(numbers(store, "", 9_000, 3).await, [17_000]);
    assert_eq!(numbers(store, "", 17_000, 3).await, [] as [u32; 0]);
    assert_eq!(numbers(store, "", u32::MAX, 3).await, [] as [u32; 0]);
}

/// A completed or cancelled job has no tree any more.
pub async fn a_finished_job_has_no_tree(store: &dyn JobStore) {
    for finished in [JobStatus::Completed, JobStatus::Cancelled] {
        create_plain(store, &["j"], 1).await;
        record(store, &[complete("j", ".1"), progress("j", ".2.2", 5.0)], 2).await;
        bring_to(store, "j", finished, 3).await;
        assert_eq!(level(store, "", 0, 10).await, [], "{finished}");
        assert_eq!(level(store, ".2", 0, 10).await, [], "{finished}");
        apply(store, "j", Action::Delete, 4).await;
    }
}

/// A failed job keeps its tree, for it may yet complete.
pub async fn a_failed_job_keeps_its_tree(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[complete("j", ".1"), failed("j", ".2", "boom")], 2).await;
    assert_eq!(numbers(store, "", 0, 10).await, [1, 2]);
}

/// What lies below a completed task is forgotten.
pub async fn a_completed_task_has_nothing_below_it(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    record(store, &[progress("j", ".1.1.1", 50.0), failed("j", ".1.2", "boom"), complete("j", ".1.3")], 2)
        .await;
    record(store, &[complete("j", ".1")], 3).await;
    assert_eq!(level(store, ".1", 0, 10).await, []);
    assert_eq!(level(store, ".1.1", 0, 10).await, []);
    record(store, &[progress("j", ".1.1.1", 60.0)], 4).await;
    assert_eq!(level(store, ".1", 0, 10).await, [], "and stays so");
}
