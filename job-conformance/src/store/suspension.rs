//! Suspending partitions, and resuming them.

use job_core::store::{Action, JobStore, Settled, Suspension};
use job_core::{JobStatus, PartitionId};

use super::fixture::{
    ANNE, accept, apply, assert_sound, at, bring_to, claim, claim_as, claim_ids, claim_one, create,
    create_plain, dispatch, finish, job, job_after, job_in, message, partition, read, settle, sorted_by,
    status,
};

async fn hold(store: &dyn JobStore, id: &str) {
    store.suspend(&partition(id), Suspension::Hold).await.unwrap();
}

async fn release(store: &dyn JobStore, id: &str) {
    store.suspend(&partition(id), Suspension::Release).await.unwrap();
}

async fn listed(store: &dyn JobStore, after: Option<&PartitionId>, limit: u32) -> Vec<String> {
    let partitions = store.suspended_partitions(after, limit).await.unwrap();
    partitions.iter().map(|partition| partition.as_str().to_owned()).collect()
}

/// Nothing of a suspended partition is taken, and nothing of it is waited for; others go on.
pub async fn nothing_of_a_suspended_partition_is_taken(store: &dyn JobStore) {
    create(store, [job("a"), job_in("q", "a"), job_in("r", "a")], 1).await;
    hold(store, "p").await;
    hold(store, "r").await;
    let claimed = claim_as(store, ANNE, 2, 10).await;
    assert_eq!(claimed.entries.len(), 1);
    assert_eq!(claimed.entries[0].job.partition, partition("q"));
    assert!(settle(store, ANNE, claimed.entries[0].id, Settled::Published, 2).await);
    let claimed = claim_as(store, ANNE, 3, 10).await;
    assert_eq!((claimed.entries, claimed.next_due), (vec![], None));
}

/// What was held is taken after the resume, those that were accepted as suspended too.
pub async fn a_resumed_partition_goes_on(store: &dyn JobStore) {
    let accepted = job_core::AcceptedJob { suspended: true, ..accept(job("held")) };
    store.create(vec![accepted], at(1)).await.unwrap();
    create_plain(store, &["b"], 2).await;
    hold(store, "p").await;
    assert!(claim(store, 3).await.is_empty());
    release(store, "p").await;
    assert_eq!(dispatch(store, 4).await, ["held", "b"]);
    assert_sound(store).await;
}

/// A job says that its message waits for the partition, alone and in a list, until that is resumed or the job is over.
pub async fn a_held_job_says_so(store: &dyn JobStore) {
    let accepted = job_core::AcceptedJob { suspended: true, ..accept(job("held")) };
    store.create(vec![accepted, accept(job("free")), accept(job("started"))], at(1)).await.unwrap();
    let says = async |id: &str| {
        let alone = read(store, id).await.suspended;
        let listed = store.list(&sorted_by("jobId:asc")).await.unwrap().jobs;
        let listed = listed.iter().find(|job| job.key.job.as_str() == id).unwrap().suspended;
        assert_eq!(alone, listed, "{id}");
        alone
    };
    assert!(says("held").await && !says("free").await);
    for entry in claim(store, 2).await.into_iter().filter(|entry| entry.job.job.as_str() == "started") {
        assert!(settle(store, ANNE, entry.id, Settled::Published, 2).await);
    }
    hold(store, "p").await;
    assert!(says("held").await && says("free").await && !says("started").await);
    apply(store, "free", Action::Cancel, 3).await;
    assert!(!says("free").await);
    release(store, "p").await;
    assert!(!says("held").await);
}

/// A job that is created in a suspended partition is held, and one that is created after the resume is not.
pub async fn jobs_created_meanwhile_are_held(store: &dyn JobStore) {
    hold(store, "p").await;
    create_plain(store, &["a"], 1).await;
    assert!(claim(store, 2).await.is_empty());
    release(store, "p").await;
    create_plain(store, &["b"], 3).await;
    assert_eq!(claim_ids(store, 4).await, ["a", "b"]);
}

/// A job that was accepted as suspended is resumed alone when the partition is not suspended.
pub async fn a_resume_reaches_jobs_accepted_as_suspended(store: &dyn JobStore) {
    let accepted = job_core::AcceptedJob { suspended: true, ..accept(job("a")) };
    store.create(vec![accepted], at(1)).await.unwrap();
    create_plain(store, &["b"], 1).await;
    assert_eq!(dispatch(store, 2).await, ["b"]);
    release(store, "p").await;
    assert_eq!(dispatch(store, 3).await, ["a"]);
}

/// Suspending and resuming again change nothing.
pub async fn doing_it_again_changes_nothing(store: &dyn JobStore) {
    create_plain(store, &["a"], 1).await;
    release(store, "p").await;
    hold(store, "p").await;
    hold(store, "p").await;
    assert!(claim(store, 2).await.is_empty());
    release(store, "p").await;
    release(store, "p").await;
    assert_eq!(claim_ids(store, 3).await, ["a"]);
}

/// Everything but the start of messages goes on in a suspended partition.
pub async fn everything_else_goes_on(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    create(store, [job_after("d", &["a"])], 1).await;
    hold(store, "p").await;
    finish(store, "a", 2).await;
    apply(store, "b", Action::Cancel, 3).await;
    apply(store, "c", Action::Pause, 3).await;
    apply(store, "c", Action::Resume, 4).await;
    assert_eq!(status(store, "a").await, JobStatus::Completed);
    assert!(claim(store, 5).await.is_empty());
    release(store, "p").await;
    let mut taken = claim_ids(store, 6).await;
    taken.sort();
    assert_eq!(taken, ["c", "d"]);
    assert_sound(store).await;
}

/// A paused job of a resumed partition stays paused.
pub async fn a_paused_job_stays_held(store: &dyn JobStore) {
    create_plain(store, &["a"], 1).await;
    apply(store, "a", Action::Pause, 2).await;
    hold(store, "p").await;
    release(store, "p").await;
    assert!(claim(store, 3).await.is_empty());
    apply(store, "a", Action::Resume, 4).await;
    assert_eq!(claim_ids(store, 5).await, ["a"]);
}

/// Kept messages are held with their partition.
pub async fn kept_messages_are_held_too(store: &dyn JobStore) {
    create_plain(store, &["a"], 1).await;
    dispatch(store, 1).await;
    bring_to(store, "a", JobStatus::Active, 2).await;
    hold(store, "p").await;
    store.stow(vec![message("a", "m")], at(3)).await.unwrap();
    assert!(claim(store, 4).await.is_empty());
    release(store, "p").await;
    assert_eq!(claim_ids(store, 5).await, ["a"]);
}

/// What was taken before the partition was suspended can be settled, and what failed waits with the rest.
pub async fn what_was_taken_before_can_be_settled(store: &dyn JobStore) {
    create_plain(store, &["a"], 1).await;
    let entry = claim_one(store, 2).await;
    hold(store, "p").await;
    let failed = Settled::Failed { retry_at: at(3), reason: "gone".into() };
    assert!(settle(store, ANNE, entry.id, failed, 2).await);
    assert!(claim(store, 10).await.is_empty());
    release(store, "p").await;
    let entry = claim_one(store, 11).await;
    assert!(settle(store, ANNE, entry.id, Settled::Published, 11).await);
}

/// Suspended partitions are listed in order and a page at a time, whether they have jobs or not.
pub async fn suspended_partitions_are_listed(store: &dyn JobStore) {
    assert!(listed(store, None, 10).await.is_empty());
    for id in ["b", "a", "C", "é"] {
        hold(store, id).await;
    }
    let accepted = job_core::AcceptedJob { suspended: true, ..accept(job_in("bb", "a")) };
    store.create(vec![accepted], at(1)).await.unwrap();
    assert_eq!(listed(store, None, 10).await, ["C", "a", "b", "bb", "é"]);
    assert_eq!(listed(store, None, 2).await, ["C", "a"]);
    assert_eq!(listed(store, Some(&partition("a")), 2).await, ["b", "bb"]);
    assert_eq!(listed(store, Some(&partition("aa")), 9).await, ["b", "bb", "é"]);
    for id in ["b", "bb", "é"] {
        release(store, id).await;
    }
    assert_eq!(listed(store, None, 10).await, ["C", "a"]);
}

/// A partition stays suspended when its last job is deleted.
pub async fn a_partition_stays_suspended_without_jobs(store: &dyn JobStore) {
    create_plain(store, &["a"], 1).await;
    hold(store, "p").await;
    apply(store, "a", Action::Delete, 2).await;
    assert_eq!(listed(store, None, 10).await, ["p"]);
    create_plain(store, &["a"], 3).await;
    assert!(claim(store, 4).await.is_empty());
}
