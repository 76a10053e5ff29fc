//! Leases: who may publish an entry, and until when.

use std::time::Duration;

use job_core::JobStatus;
use job_core::store::{Action, ClaimRequest, JobStore, Settled};

use super::fixture::{
    ANNE, BERT, act, apply, assert_wakes, at, claim, claim_as, claim_ids, claim_one, create, create_plain,
    finish, ids_of, job, job_in, read, settle, status,
};

fn failed(retry_at: i64) -> Settled {
    Settled::Failed { retry_at: at(retry_at), reason: "no".into() }
}

/// An entry on lease is taken by nobody, not even its owner.
pub async fn a_leased_entry_is_not_taken_again(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    claim_one(store, 1).await;
    let others = claim_as(store, BERT, 1_000, 10).await;
    assert_eq!(others.entries, []);
    assert_wakes(others.next_due, 1_001);
    assert_eq!(claim_as(store, ANNE, 1_000, 10).await.entries, []);
}

/// A lease that ends gives the entry back.
pub async fn an_ended_lease_gives_the_entry_back(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    let again = claim_as(store, BERT, 1_001, 10).await.entries;
    assert_eq!((again[0].id, &again[0].content), (entry.id, &entry.content));
    assert_eq!(claim_as(store, ANNE, 2_000, 10).await.entries, []);
}

/// The lease lasts as long as the claim says.
pub async fn the_claim_says_how_long_the_lease_is(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let lease = Duration::from_secs(3_600);
    let request = ClaimRequest { owner: ANNE, now: at(1), lease, limit: 1, bytes_limit: usize::MAX };
    assert_eq!(store.claim(request).await.unwrap().entries.len(), 1);
    assert_eq!(claim_as(store, BERT, 3_600_000, 10).await.entries, []);
    assert_eq!(claim_as(store, BERT, 3_600_001, 10).await.entries.len(), 1);
}

/// A lease that ends as it begins gives the entry to the next claim, not to the same one once more.
pub async fn a_lease_of_no_time_is_taken_once_by_each_claim(store: &dyn JobStore) {
    create(store, [job("i"), job("j"), job_in("q", "j")], 1).await;
    for _ in 0..2 {
        let request = ClaimRequest {
            owner: ANNE,
            now: at(1),
            lease: Duration::ZERO,
            limit: 10,
            bytes_limit: usize::MAX,
        };
        let mut ids = ids_of(&store.claim(request).await.unwrap().entries);
        ids.sort();
        assert_eq!(ids, ["i", "j", "j"]);
    }
}

/// An entry is settled by its owner alone.
pub async fn only_the_owner_settles(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    assert!(!settle(store, BERT, entry.id, failed(5_000), 2).await);
    assert_eq!(read(store, "j").await.dispatch_problem, None, "left alone");
    assert!(settle(store, ANNE, entry.id, failed(7_000), 3).await);
    assert_eq!(read(store, "j").await.dispatch_problem.map(|problem| problem.retry_at), Some(at(7_000)));
}

/// An entry that nobody has on lease cannot be settled.
pub async fn an_entry_without_a_lease_is_not_settled(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    assert!(settle(store, ANNE, entry.id, failed(5), 2).await);
    assert!(!settle(store, ANNE, entry.id, failed(9_000), 3).await, "the lease has ended already");
    assert!(!settle(store, ANNE, u64::MAX / 4, Settled::Published, 3).await, "there never was such an entry");
    assert_eq!(claim_ids(store, 5).await, ["j"]);
}

/// Answers come in the order of the entries.
pub async fn answers_come_in_order(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 1).await;
    let anne = claim_as(store, ANNE, 1, 2).await.entries;
    let bert = claim_as(store, BERT, 1, 1).await.entries;
    let settled = vec![
        (bert[0].id, Settled::Published),
        (anne[1].id, Settled::Published),
        (u64::MAX / 4, Settled::Published),
        (anne[0].id, failed(9)),
    ];
    assert_eq!(store.settle(ANNE, settled, at(2)).await.unwrap(), [false, true, false, true]);
}

/// Settling late is fine while nobody else has taken the entry.
pub async fn a_late_settlement_counts_while_nobody_took_over(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    assert!(settle(store, ANNE, entry.id, Settled::Published, 60_000).await);
    assert_eq!(claim(store, 99_999).await, []);
}

/// Settling after somebody else took over changes nothing about the entry, but the job was dispatched.
pub async fn a_takeover_leaves_the_entry_to_the_new_owner(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    assert_eq!(claim_as(store, BERT, 2_000, 10).await.entries.len(), 1);
    assert!(!settle(store, ANNE, entry.id, Settled::Published, 2_001).await);
    assert_eq!(read(store, "j").await.start_time, Some(at(2_001)), "a message is out");
    assert!(settle(store, BERT, entry.id, failed(3_000), 2_002).await, "the entry is Bert's");
    assert_eq!(claim_ids(store, 3_000).await, ["j"]);
}

/// The first publication is the one that counts.
pub async fn a_second_publication_does_not_move_the_start_time(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    claim_as(store, BERT, 2_000, 10).await;
    settle(store, ANNE, entry.id, Settled::Published, 2_001).await;
    assert!(settle(store, BERT, entry.id, Settled::Published, 2_500).await);
    assert_eq!(read(store, "j").await.start_time, Some(at(2_001)));
}

/// Settling the same again changes nothing.
pub async fn settling_again_changes_nothing(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    assert!(settle(store, ANNE, entry.id, Settled::Published, 2).await);
    let before = read(store, "j").await;
    assert!(!settle(store, ANNE, entry.id, Settled::Published, 3).await);
    assert_eq!(read(store, "j").await, before);
}

/// A message that was out before its job was cancelled marks the job as dispatched, and its entry stays gone.
pub async fn a_publication_that_a_cancel_overtook_is_remembered(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    apply(store, "j", Action::Cancel, 2).await;
    assert!(!settle(store, ANNE, entry.id, Settled::Published, 3).await);
    let job = read(store, "j").await;
    assert_eq!(
        (job.start_time, job.status, job.last_update_time),
        (Some(at(3)), JobStatus::Cancelled, at(2))
    );
}

/// A fast worker may complete the job before its dispatcher settles.
pub async fn a_publication_that_the_worker_overtook_is_remembered(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    finish(store, "j", 2).await;
    assert!(!settle(store, ANNE, entry.id, Settled::Published, 3).await);
    let job = read(store, "j").await;
    assert_eq!((job.start_time, job.status), (Some(at(3)), JobStatus::Completed));
}

/// A job that was created again under the same id was not dispatched by its predecessor's message.
pub async fn a_publication_of_a_deleted_job_does_not_touch_its_successor(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    apply(store, "j", Action::Delete, 2).await;
    create_plain(store, &["j"], 3).await;
    assert!(!settle(store, ANNE, entry.id, Settled::Published, 4).await);
    assert_eq!(read(store, "j").await.start_time, None);
    assert_eq!(claim_ids(store, 5).await, ["j"]);
}

/// A failed publication of a cancelled job brings nothing back.
pub async fn a_failed_publication_of_a_cancelled_job_is_forgotten(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    apply(store, "j", Action::Cancel, 2).await;
    assert!(!settle(store, ANNE, entry.id, failed(3), 3).await);
    assert_eq!(claim(store, 9_999).await, []);
    assert_eq!(read(store, "j").await.dispatch_problem, None);
}

/// A message that goes out while its job is being paused is out: the job resumes to Active.
pub async fn a_publication_during_a_pause_counts(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
    assert!(settle(store, ANNE, entry.id, Settled::Published, 3).await);
    assert_eq!(read(store, "j").await.start_time, Some(at(3)));
    act(store, "j", Action::Resume, 4).await;
    assert_eq!(status(store, "j").await, JobStatus::Active);
    assert_eq!(claim(store, 9_999).await, []);
}

/// A job paused during a lease that then ends is held.
pub async fn a_lease_that_ends_during_a_pause_gives_nothing_back(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    claim_one(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
    assert_eq!(claim(store, 9_999).await, []);
    apply(store, "j", Action::Resume, 10_000).await;
    assert_eq!(claim_ids(store, 10_000).await, ["j"]);
}

/// A pause and a resume during a lease do not end it.
pub async fn a_short_pause_does_not_end_a_lease(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    apply(store, "j", Action::Pause, 2).await;
    apply(store, "j", Action::Resume, 3).await;
    assert_eq!(claim_as(store, BERT, 4, 10).await.entries, []);
    assert!(settle(store, ANNE, entry.id, Settled::Published, 5).await);
}
