//! Storing jobs.

use std::time::Duration;

use bytes::Bytes;
use job_core::progress::Percentage;
use job_core::store::{Action, CreateOutcome, JobStore, OutboxContent};
use job_core::{Job, JobStatus, SubtaskCounts};

use super::fixture::{
    accept, act, apply, at, claim, claim_one, complete, create, create_plain, failed, find, finish, id, ids,
    job, job_after, job_in, key, list_ids, read, record, sorted_by, task_id, try_create,
};

/// Every value a client gives is there again.
pub async fn a_job_reads_back_as_it_was_given(store: &dyn JobStore) {
    let mut given =
        job("j").with_name("Ünïcode \"name\"").with_label("a:b", "1").with_delay(Duration::from_secs(7));
    given.labels.insert("nothing".into(), None);
    given.description = Some("line\nline".into());
    given.external_data = Some("{'x': 1}".into());
    given.job_type = Some("type".into());
    given.correlation_id = Some("corr".into());
    create(store, [given.clone()], 5).await;
    let expected = Job {
        key: key("j"),
        name: given.name,
        description: given.description,
        external_data: given.external_data,
        create_time: at(5),
        last_update_time: at(5),
        status: JobStatus::Waiting,
        percentage: Percentage::ZERO,
        failures: vec![],
        failure_count: 0,
        labels: given.labels,
        subtasks: SubtaskCounts::default(),
        prerequisites: vec![],
        blocked_by: vec![],
        dispatch_problem: None,
        suspended: false,
        start_time: None,
        finish_time: None,
        delay: Duration::from_secs(7),
        job_type: given.job_type,
        correlation_id: given.correlation_id,
    };
    assert_eq!(read(store, "j").await, expected);
}

/// Absent is not the same as empty.
pub async fn empty_texts_are_kept_apart_from_absent_ones(store: &dyn JobStore) {
    let mut given = job("j").with_name("").with_label("empty", "");
    given.labels.insert("absent".into(), None);
    given.description = Some(String::new());
    create(store, [given], 1).await;
    let job = read(store, "j").await;
    assert_eq!(
        (job.name.as_deref(), job.description.as_deref(), job.external_data),
        (Some(""), Some(""), None)
    );
    assert_eq!(job.labels["empty"].as_deref(), Some(""));
    assert_eq!(job.labels["absent"], None);
}

/// The task is not interpreted and not changed.
pub async fn the_task_is_kept_byte_for_byte(store: &dyn JobStore) {
    let mut given = job("j");
    given.task.data = Bytes::from((0..=255).collect::<Vec<u8>>());
    given.task.target = None;
    given.task.api_version = -7;
    given.correlation_id = Some("c".into());
    create(store, [given.clone()], 1).await;
    let entry = claim_one(store, 1).await;
    let expected = OutboxContent::Start {
        task_id: task_id(&key("j")),
        task: given.task,
        correlation_id: Some("c".into()),
    };
    assert_eq!(entry.content, expected);
}

/// Ids may hold whatever the contract does not forbid.
pub async fn unusual_ids_are_ordinary(store: &dyn JobStore) {
    let names = ["a b", "a'b", "a\"b", "a%b", "a_b", "a\\b", "a{b}", "ä", "a/b", "-1", "𝔞", "a@b#c&d"];
    create_plain(store, &names, 1).await;
    for name in names {
        assert_eq!(read(store, name).await.key, key(name));
    }
    assert_eq!(claim(store, 1).await.len(), names.len());
}

/// The longest ids the contract allows fit.
pub async fn the_longest_ids_fit(store: &dyn JobStore) {
    let partition = "ß".repeat(40);
    let name = "ü".repeat(48);
    create(store, [job_in(&partition, &name)], 1).await;
    assert_eq!(claim_one(store, 1).await.job, super::fixture::key_in(&partition, &name));
}

/// One outcome per job, in order.
pub async fn outcomes_come_in_order(store: &dyn JobStore) {
    create_plain(store, &["old", "other"], 1).await;
    let jobs = vec![
        accept(job("new")),
        accept(job("old")),
        accept(job("other").with_name("changed")),
        accept(job_after("self", &["self"])),
        accept(job("last")),
    ];
    let outcomes = store.create(jobs, at(2)).await.unwrap();
    assert_eq!(outcomes[..3], [CreateOutcome::Created, CreateOutcome::Unchanged, CreateOutcome::Conflict]);
    assert!(matches!(outcomes[3], CreateOutcome::Cycle(_)));
    assert_eq!(outcomes[4], CreateOutcome::Created);
}

/// Jobs of one call see the ones before them.
pub async fn a_call_may_hold_a_job_and_its_dependent(store: &dyn JobStore) {
    create(store, [job("first"), job_after("second", &["first"])], 1).await;
    assert_eq!(read(store, "second").await.blocked_by[0].status, Some(JobStatus::Waiting));
    let repeated = vec![accept(job("twice")), accept(job("twice")), accept(job("twice").with_name("n"))];
    let outcomes = store.create(repeated, at(2)).await.unwrap();
    assert_eq!(outcomes, [CreateOutcome::Created, CreateOutcome::Unchanged, CreateOutcome::Conflict]);
}

/// A refused job does not affect its neighbours, and they do not know it.
pub async fn a_refused_job_leaves_its_neighbours_alone(store: &dyn JobStore) {
    create_plain(store, &["broken"], 1).await;
    record(store, &[failed("broken", "", "boom")], 2).await;
    let jobs = vec![accept(job("a")), accept(job_after("b", &["broken"])), accept(job_after("c", &["b"]))];
    let outcomes = store.create(jobs, at(3)).await.unwrap();
    let refused = CreateOutcome::PrerequisitesFailed(vec![id("broken")]);
    assert_eq!(outcomes, [CreateOutcome::Created, refused, CreateOutcome::Created]);
    assert_eq!(find(store, &key("b")).await, None);
    assert_eq!(read(store, "c").await.blocked_by[0].status, None);
}

/// Nothing of a refused job stays behind.
pub async fn a_refused_job_leaves_nothing(store: &dyn JobStore) {
    create_plain(store, &["broken"], 1).await;
    record(store, &[failed("broken", "", "boom")], 2).await;
    let refused = job_after("j", &["broken", "missing"]).with_label("l", "1");
    assert!(matches!(try_create(store, refused, 3).await, CreateOutcome::PrerequisitesFailed(_)));
    assert_eq!(claim(store, 9).await, []);
    assert_eq!(list_ids(store, &sorted_by("jobId:asc")).await, ["broken"]);
    create(store, [job("j")], 4).await;
    let again = read(store, "j").await;
    assert!(again.labels.is_empty() && again.blocked_by.is_empty());
}

/// An empty call is fine.
pub async fn creating_nothing_does_nothing(store: &dyn JobStore) {
    assert_eq!(store.create(vec![], at(1)).await.unwrap(), []);
}

/// A job may be created again after it was deleted, and has nothing of the old one.
pub async fn a_deleted_id_may_be_used_again(store: &dyn JobStore) {
    create(store, [job("j").with_label("old", "1").with_name("old")], 1).await;
    record(store, &[complete("j", ".1"), failed("j", ".2", "boom")], 2).await;
    apply(store, "j", Action::Delete, 3).await;
    create(store, [job("j")], 4).await;
    let fresh = read(store, "j").await;
    assert_eq!(
        (fresh.status, fresh.percentage, fresh.create_time),
        (JobStatus::Waiting, Percentage::ZERO, at(4))
    );
    assert!(fresh.labels.is_empty() && fresh.failures.is_empty() && fresh.name.is_none());
    assert_eq!(store.tasks(&key("j"), &Default::default(), 0, 10).await.unwrap(), Some(vec![]));
    finish(store, "j", 5).await;
    assert_eq!(read(store, "j").await.status, JobStatus::Completed);
}

/// Once the call has returned, everybody sees the job.
pub async fn a_created_job_is_visible_everywhere_at_once(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    assert_eq!(store.statuses(&[key("j")]).await.unwrap(), [Some(JobStatus::Waiting)]);
    assert_eq!(ids(&store.list(&sorted_by("jobId:asc")).await.unwrap().jobs), ["j"]);
    assert_eq!(claim_one(store, 1).await.job, key("j"));
    apply(store, "j", Action::Pause, 2).await;
    assert_eq!(act(store, "j", Action::Resume, 3).await, job_core::store::ActionOutcome::Applied);
}

/// Many jobs in one call.
pub async fn a_call_may_hold_many_jobs(store: &dyn JobStore) {
    let jobs: Vec<_> = (0..500).map(|n| job(&format!("j{n}")).with_label("n", n.to_string())).collect();
    create(store, jobs, 1).await;
    assert_eq!(list_ids(store, &sorted_by("jobId:asc")).await.len(), 500);
    assert_eq!(read(store, "j499").await.labels["n"].as_deref(), Some("499"));
}
