//! Pages, and the order they come in.

use std::time::Duration;

use job_core::JobStatus;
use job_core::query::{Cursor, JobQuery, SortValue};
use job_core::store::{Action, JobStore};

use super::fixture::{
    apply, bring_to, complete, create, create_plain, failed, ids, job, job_after, key, list_ids, partition,
    progress, read, record, sorted_by,
};

/// Without a wish, the newest come first.
pub async fn the_newest_come_first(store: &dyn JobStore) {
    for (name, time) in [("b", 2), ("a", 1), ("c", 3)] {
        create_plain(store, &[name], time).await;
    }
    assert_eq!(list_ids(store, &JobQuery::new(partition("p"))).await, ["c", "b", "a"]);
}

/// Within one instant the job id decides, ascending by code point in both directions.
pub async fn ties_are_broken_by_the_id(store: &dyn JobStore) {
    create_plain(store, &["b", "A", "a", "B", "ä"], 1).await;
    create_plain(store, &["z"], 2).await;
    assert_eq!(list_ids(store, &sorted_by("createTime:desc")).await, ["z", "A", "B", "a", "b", "ä"]);
    assert_eq!(list_ids(store, &sorted_by("createTime:asc")).await, ["A", "B", "a", "b", "ä", "z"]);
    assert_eq!(list_ids(store, &sorted_by("status:desc")).await, ["A", "B", "a", "b", "z", "ä"]);
}

async fn check(store: &dyn JobStore, field: &str, ascending: &[&str]) {
    assert_eq!(list_ids(store, &sorted_by(&format!("{field}:asc"))).await, ascending, "{field}");
    let descending: Vec<_> = ascending.iter().rev().copied().collect();
    assert_eq!(list_ids(store, &sorted_by(&format!("{field}:desc"))).await, descending, "{field}");
}

/// Case-insensitive first, then by code point, whatever a database's locale.
pub async fn ids_sort_as_texts(store: &dyn JobStore) {
    create_plain(store, &["b", "A", "C", "a", "Z", "É", "é", "1", "_", "B"], 1).await;
    check(store, "jobId", &["1", "_", "A", "a", "B", "b", "C", "Z", "É", "é"]).await;
}

/// Absent names come last when ascending, first when descending.
pub async fn names_sort_as_texts_with_absent_ones_last(store: &dyn JobStore) {
    let named = |id: &str, name: &str| job(id).with_name(name);
    create(store, [named("1", "b"), named("2", ""), job("3"), named("4", "B"), named("5", "a b")], 1).await;
    check(store, "name", &["2", "5", "4", "1", "3"]).await;
}

/// As names.
pub async fn descriptions_sort_as_texts(store: &dyn JobStore) {
    let mut jobs = [job("1"), job("2"), job("3")];
    (jobs[0].description, jobs[2].description) = (Some("z".into()), Some("Y".into()));
    create(store, jobs, 1).await;
    check(store, "description", &["3", "1", "2"]).await;
}

/// As names.
pub async fn external_data_sorts_as_text(store: &dyn JobStore) {
    let mut jobs = [job("1"), job("2"), job("3")];
    (jobs[0].external_data, jobs[2].external_data) = (Some("10".into()), Some("9".into()));
    create(store, jobs, 1).await;
    check(store, "externalData", &["1", "3", "2"]).await;
}

/// By creation.
pub async fn create_times_sort_as_numbers(store: &dyn JobStore) {
    for (name, time) in [("b", 20), ("a", 100), ("c", 3)] {
        create_plain(store, &[name], time).await;
    }
    check(store, "createTime", &["c", "b", "a"]).await;
}

/// By last change.
pub async fn update_times_sort_as_numbers(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    for (name, time) in [("a", 30), ("b", 10), ("c", 20)] {
        record(store, &[complete(name, ".1")], time).await;
    }
    check(store, "lastUpdateTime", &["b", "c", "a"]).await;
}

/// Alphabetically.
pub async fn statuses_sort_alphabetically(store: &dyn JobStore) {
    for (name, status) in ["6", "5", "4", "3", "2", "1"].iter().zip(JobStatus::ALL) {
        create_plain(store, &[name], 1).await;
        bring_to(store, name, status, 2).await;
    }
    check(store, "status", &["6", "5", "4", "3", "2", "1"]).await;
}

/// By the percentage as it is shown: what rounds to the same is a tie.
pub async fn percentages_sort_as_they_are_shown(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c", "d"], 1).await;
    record(store, &[complete("a", ".1"), progress("b", ".1*", 9.0), progress("c", ".1*", 10.0)], 2).await;
    check(store, "percentageComplete", &["d", "b", "c", "a"]).await;
    // A thirty-thousandth of a percent more is the same number with two decimals.
    create_plain(store, &["d2"], 1).await;
    record(store, &[progress("d2", ".30000*", 1.0)], 3).await;
    assert_eq!(list_ids(store, &sorted_by("percentageComplete:desc")).await, ["a", "c", "b", "d", "d2"]);
}

/// By the value of one label, jobs without it last.
pub async fn label_values_sort_as_texts(store: &dyn JobStore) {
    let mut without_value = job("4");
    without_value.labels.insert("k:1".into(), None);
    let jobs = [
        job("1").with_label("k:1", "b"),
        job("2").with_label("k:1", "A").with_label("other", "z"),
        job("3").with_label("k:1", "a"),
        without_value,
        job("5").with_label("other", "0"),
    ];
    create(store, jobs, 1).await;
    assert_eq!(list_ids(store, &sorted_by("labels.k:1:asc")).await, ["2", "3", "1", "4", "5"]);
    assert_eq!(list_ids(store, &sorted_by("labels.k:1:desc")).await, ["4", "5", "1", "3", "2"]);
}

/// A page holds as many as asked for, and says whether there are more.
pub async fn a_page_is_no_longer_than_asked_for(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    for (limit, expected, more) in [(1, 1, true), (2, 2, true), (3, 3, false), (4, 3, false)] {
        let page = store.list(&JobQuery { limit, ..sorted_by("jobId:asc") }).await.unwrap();
        assert_eq!((page.jobs.len(), page.next.is_some()), (expected, more), "limit {limit}");
    }
}

/// The offset passes over selected jobs only.
pub async fn an_offset_passes_over_selected_jobs(store: &dyn JobStore) {
    create_plain(store, &["a", "xa", "b", "xb", "c", "xc"], 1).await;
    let mut query = JobQuery { offset: 1, limit: 1, ..sorted_by("jobId:asc") };
    query.selection.id_prefix = "x".into();
    assert_eq!(list_ids(store, &query).await, ["xb"]);
    query.offset = 2;
    let page = store.list(&query).await.unwrap();
    assert_eq!((ids(&page.jobs), page.next), (vec!["xc".to_owned()], None));
    query.offset = 3;
    assert_eq!(store.list(&query).await.unwrap(), Default::default());
    query.offset = u32::MAX;
    assert_eq!(store.list(&query).await.unwrap(), Default::default());
}

/// As above, in the order that has an index of its own.
pub async fn an_offset_works_in_the_order_of_creation(store: &dyn JobStore) {
    for (time, name) in ["a", "b", "c", "d"].iter().enumerate() {
        create_plain(store, &[name], time as i64).await;
    }
    let query = JobQuery { offset: 1, limit: 2, ..JobQuery::new(partition("p")) };
    assert_eq!(list_ids(store, &query).await, ["c", "b"]);
}

/// An unknown partition is an empty one.
pub async fn an_unknown_partition_is_empty(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    assert_eq!(store.list(&JobQuery::new(partition("other"))).await.unwrap(), Default::default());
}

/// A listed job is the job.
pub async fn listed_jobs_are_complete(store: &dyn JobStore) {
    create(store, [job("a").with_label("k", "v"), job_after("b", &["a", "c"]), job("d")], 1).await;
    record(store, &[failed("d", ".2", "boom"), complete("d", ".1")], 2).await;
    for job in store.list(&sorted_by("jobId:asc")).await.unwrap().jobs {
        assert_eq!(read(store, job.key.job.as_str()).await, job);
    }
}

async fn various(store: &dyn JobStore) -> usize {
    for n in 0..20u32 {
        let mut new = job(&format!("{}{n}", if n % 2 == 0 { "j" } else { "J" }));
        new.name = (n % 3 > 0).then(|| format!("N{}", n % 5));
        new.description = (n % 4 > 0).then(|| "d".repeat(n as usize % 3));
        if n % 5 > 0 {
            new = new.with_label("k", format!("v{}", n % 2)).with_delay(Duration::from_secs(1));
        }
        let name = new.key.job.to_string();
        create(store, [new], i64::from(n / 3)).await;
        bring_to(store, &name, JobStatus::ALL[n as usize % 6], 30 + i64::from(n % 4)).await;
    }
    20
}

/// Following `next` visits every job once, in the order of the whole.
pub async fn pages_together_are_the_whole(store: &dyn JobStore) {
    let count = various(store).await;
    let fields = [
        "jobId",
        "name",
        "description",
        "createTime",
        "lastUpdateTime",
        "status",
        "percentageComplete",
        "labels.k",
    ];
    for field in fields {
        for direction in ["asc", "desc"] {
            let whole = list_ids(store, &sorted_by(&format!("{field}:{direction}"))).await;
            assert_eq!(whole.len(), count);
            for limit in [1, 3, 20] {
                let mut query = JobQuery { limit, ..sorted_by(&format!("{field}:{direction}")) };
                let mut walked = Vec::new();
                loop {
                    let page = store.list(&query).await.unwrap();
                    assert!(
                        !page.jobs.is_empty(),
                        "{field}:{direction} by {limit}: an empty page behind a full one"
                    );
                    walked.extend(ids(&page.jobs));
                    query.after = page.next;
                    if query.after.is_none() {
                        break;
                    }
                }
                assert_eq!(walked, whole, "{field}:{direction} by {limit}");
            }
        }
    }
}

/// A cursor goes through its text form unchanged.
pub async fn a_cursor_may_travel_as_text(store: &dyn JobStore) {
    create(store, [job("a").with_name("x"), job("b").with_name("Ü"), job("c")], 1).await;
    let mut query = JobQuery { limit: 1, ..sorted_by("name:desc") };
    let mut walked = Vec::new();
    loop {
        let page = store.list(&query).await.unwrap();
        walked.extend(ids(&page.jobs));
        let Some(next) = page.next else { break };
        query.after = Some(query.sort.read_cursor(&query.sort.write_cursor(&next)).unwrap());
    }
    assert_eq!(walked, ["c", "b", "a"]);
}

/// A cursor stays a place when its job is deleted or changes.
pub async fn a_cursor_outlives_its_job(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c", "d"], 1).await;
    let mut query = JobQuery { limit: 2, ..sorted_by("jobId:asc") };
    query.after = store.list(&query).await.unwrap().next;
    apply(store, "b", Action::Delete, 2).await;
    create_plain(store, &["aa", "bb"], 2).await;
    query.limit = 10;
    assert_eq!(list_ids(store, &query).await, ["bb", "c", "d"]);
}

/// Offset and cursor together: first behind the cursor, then passing over.
pub async fn an_offset_counts_from_the_cursor(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c", "d", "e"], 1).await;
    for sort in ["jobId:asc", "createTime:asc", "createTime:desc"] {
        let mut query = JobQuery { limit: 1, ..sorted_by(sort) };
        query.after = store.list(&query).await.unwrap().next;
        query.offset = 2;
        assert_eq!(list_ids(store, &query).await, ["d"], "{sort}");
    }
}

/// A cursor may come from a listing in another order; it is a place all the same.
pub async fn a_cursor_of_another_order_is_a_place_too(store: &dyn JobStore) {
    various(store).await;
    let values =
        [SortValue::Null, SortValue::Text("j1".into()), SortValue::Number(3), SortValue::Number(i64::MIN)];
    for sort in ["createTime:asc", "createTime:desc", "name:asc", "name:desc", "status:asc", "labels.k:desc"]
    {
        for value in &values {
            let after = Cursor { value: value.clone(), job: key("j4").job, is_cut: false };
            let mut query = sorted_by(sort);
            let mut expected = store.list(&query).await.unwrap().jobs;
            expected.retain(|job| query.sort.compare(&query.sort.cursor(job), &after).is_gt());
            query.after = Some(after);
            assert_eq!(list_ids(store, &query).await, ids(&expected), "{sort} {value:?}");
        }
    }
}
