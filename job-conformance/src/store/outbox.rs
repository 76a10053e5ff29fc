//! Claiming what is to be published.

use std::time::Duration;

use bytes::Bytes;
use job_core::DispatchProblem;
use job_core::store::{Action, ClaimRequest, JobStore, OutboxContent, Settled, StowOutcome, StowedMessage};

use super::fixture::{
    ANNE, BERT, LEASE, accept, apply, assert_wakes, at, claim, claim_as, claim_ids, claim_one, create,
    create_plain, dispatch, finish, ids_of, job, job_after, job_in, key, message, read, settle, task_id,
};

fn failed(retry_at: i64, reason: &str) -> Settled {
    Settled::Failed { retry_at: at(retry_at), reason: reason.into() }
}

/// An empty outbox has nothing, and nothing to wait for.
pub async fn an_empty_outbox_gives_nothing(store: &dyn JobStore) {
    let claimed = claim_as(store, ANNE, 1, 10).await;
    assert_eq!((claimed.entries, claimed.next_due), (vec![], None));
}

/// The first message is what was asked for, with the id given on acceptance.
pub async fn a_first_message_carries_the_task(store: &dyn JobStore) {
    let mut new = job("j");
    new.correlation_id = Some("corr".into());
    create(store, [new.clone()], 1).await;
    let entry = claim_one(store, 1).await;
    assert_eq!((entry.job, entry.attempts), (key("j"), 0));
    let expected = OutboxContent::Start {
        task_id: task_id(&key("j")),
        task: new.task,
        correlation_id: Some("corr".into()),
    };
    assert_eq!(entry.content, expected);
}

/// A claim takes no more than asked for, and says that there is more.
pub async fn a_claim_takes_no_more_than_its_limit(store: &dyn JobStore) {
    create_plain(store, &["a", "b", "c"], 5).await;
    let first = claim_as(store, ANNE, 9, 2).await;
    assert_eq!(first.entries.len(), 2);
    assert_wakes(first.next_due, 9);
    assert_eq!(claim_as(store, ANNE, 9, 2).await.entries.len(), 1);
}

/// A claim takes no more when it has enough bytes, of whatever partition and kind, and says that there is more; one message
/// larger than that is taken alone.
pub async fn a_claim_takes_no_more_than_its_bytes(store: &dyn JobStore) {
    let sized = |partition, id, size| {
        let mut job = job_in(partition, id);
        job.task.data = Bytes::from(vec![7; size]);
        job
    };
    create(store, [sized("p", "a", 100), sized("q", "b", 100), sized("p", "c", 5_000)], 1).await;
    create(store, [sized("p", "stowed", 0), sized("p", "empty", 0), sized("p", "last", 50)], 2).await;
    apply(store, "stowed", Action::Pause, 2).await;
    let kept = StowedMessage { body: Bytes::from(vec![7; 70]), ..message("stowed", "") };
    assert_eq!(store.stow(vec![kept], at(2)).await.unwrap(), [StowOutcome::Stowed]);
    apply(store, "stowed", Action::Resume, 2).await;
    let mut sizes = Vec::new();
    loop {
        let request = ClaimRequest { owner: ANNE, now: at(3), lease: LEASE, limit: 9, bytes_limit: 150 };
        let claimed = store.claim(request).await.unwrap();
        let mut batch: Vec<_> = claimed.entries.iter().map(|entry| entry.content.size()).collect();
        batch.sort_unstable();
        sizes.push(batch);
        if sizes.iter().flatten().count() == 7 {
            break;
        }
        assert_wakes(claimed.next_due, 3);
    }
    assert_eq!(sizes, [[100, 100].as_slice(), &[5_000], &[0, 0, 50, 70]]);
}

/// Every entry has an id of its own, never used again.
pub async fn entries_have_ids_of_their_own(store: &dyn JobStore) {
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..3 {
        create(store, [job("a"), job("b"), job_in("q", "a")], round).await;
        for entry in claim(store, round).await {
            assert!(seen.insert(entry.id));
        }
        for key in [key("a"), key("b"), super::fixture::key_in("q", "a")] {
            store.act(&key, Action::Delete, at(round)).await.unwrap();
        }
    }
    assert_eq!(seen.len(), 9);
}

/// Within a partition the earliest due come first.
pub async fn the_earliest_due_come_first(store: &dyn JobStore) {
    let delayed = |id: &str, seconds| job(id).with_delay(Duration::from_secs(seconds));
    create(store, [delayed("c", 3), delayed("a", 1), delayed("d", 4), delayed("b", 2)], 0).await;
    assert_eq!(ids_of(&claim_as(store, ANNE, 9_000, 3).await.entries), ["a", "b", "c"]);
    assert_eq!(claim_ids(store, 9_000).await, ["d"]);
}

/// Partitions take turns within a claim.
pub async fn a_busy_partition_does_not_keep_out_a_quiet_one(store: &dyn JobStore) {
    create(store, (0..100).map(|n| job_in("busy", &format!("j{n}"))).collect::<Vec<_>>(), 1).await;
    create(store, [job_in("quiet", "a"), job_in("silent", "b")], 2).await;
    let claimed = claim_as(store, ANNE, 9, 10).await.entries;
    let of =
        |partition: &str| claimed.iter().filter(|entry| entry.job.partition.as_str() == partition).count();
    assert_eq!((of("busy"), of("quiet"), of("silent")), (8, 1, 1));
}

/// Partitions take turns from claim to claim too.
pub async fn small_claims_visit_every_partition(store: &dyn JobStore) {
    let partitions = ["a", "b", "c", "d", "e"];
    for partition in partitions {
        create(store, (0..20).map(|n| job_in(partition, &format!("j{n}"))).collect::<Vec<_>>(), 1).await;
    }
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..50 {
        for entry in claim_as(store, ANNE, 9, 1).await.entries {
            *seen.entry(entry.job.partition.to_string()).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.len(), partitions.len(), "{seen:?}");
    assert!(seen.values().all(|count| *count >= 5), "{seen:?}");
}

/// A suspended job is held whatever its client does, until its partition is resumed.
pub async fn a_suspended_job_is_held(store: &dyn JobStore) {
    let mut suspended = accept(job("j"));
    suspended.suspended = true;
    store.create(vec![suspended, accept(job("other"))], at(1)).await.unwrap();
    assert_eq!(dispatch(store, 1).await, ["other"]);
    apply(store, "j", Action::Pause, 2).await;
    apply(store, "j", Action::Resume, 3).await;
    let claimed = claim_as(store, ANNE, 9_999_999, 10).await;
    assert_eq!((claimed.entries, claimed.next_due), (vec![], None));
    assert_eq!(read(store, "j").await.start_time, None);
}

/// A suspended dependent is not started by its prerequisite.
pub async fn a_suspended_dependent_is_held(store: &dyn JobStore) {
    let mut suspended = accept(job_after("j", &["a"]));
    suspended.suspended = true;
    store.create(vec![accept(job("a")), suspended], at(1)).await.unwrap();
    dispatch(store, 1).await;
    finish(store, "a", 2).await;
    assert_eq!(claim(store, 9_999_999).await, []);
}

/// Next is when the earliest entry that was not taken is due.
pub async fn the_next_due_time_is_told(store: &dyn JobStore) {
    let delayed = |id: &str, seconds| job(id).with_delay(Duration::from_secs(seconds));
    create(store, [delayed("late", 50), delayed("soon", 5), job("now"), job_after("never", &["x"])], 0).await;
    let claimed = claim_as(store, ANNE, 0, 10).await;
    assert_eq!(ids_of(&claimed.entries), ["now"]);
    assert_wakes(claimed.next_due, 5_000);
    let entry = claimed.entries[0].id;
    assert!(settle(store, ANNE, entry, Settled::Published, 0).await);
    assert_wakes(claim_as(store, ANNE, 1, 10).await.next_due, 5_000);
}

/// What waits for somebody and not for a time is nothing to wake up for.
pub async fn held_entries_are_nothing_to_wake_up_for(store: &dyn JobStore) {
    create(store, [job("paused"), job_after("blocked", &["x"])], 1).await;
    apply(store, "paused", Action::Pause, 2).await;
    assert_eq!(claim_as(store, ANNE, 9, 10).await.next_due, None);
}

/// Published entries are gone.
pub async fn a_published_entry_is_gone(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    assert!(settle(store, ANNE, entry.id, Settled::Published, 2).await);
    let claimed = claim_as(store, BERT, 9_999_999, 10).await;
    assert_eq!((claimed.entries, claimed.next_due), (vec![], None));
}

/// An entry that could not be published is tried again, not before its time, and counts its attempts.
pub async fn a_failed_publication_is_tried_again(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    let entry = claim_one(store, 1).await;
    assert!(settle(store, ANNE, entry.id, failed(500, "no route"), 2).await);
    let early = claim_as(store, ANNE, 499, 10).await;
    assert_eq!(early.entries, []);
    assert_wakes(early.next_due, 500);
    let again = claim_as(store, BERT, 500, 10).await.entries;
    assert_eq!((again[0].id, again[0].attempts, &again[0].content), (entry.id, 1, &entry.content));
    assert!(settle(store, BERT, entry.id, failed(600, "no route"), 501).await);
    assert_eq!(claim_one(store, 600).await.attempts, 2);
}

/// The job says why it is not on its queue, until it is.
pub async fn a_dispatch_problem_is_shown_in_the_job(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    assert_eq!(read(store, "j").await.dispatch_problem, None);
    let entry = claim_one(store, 1).await;
    settle(store, ANNE, entry.id, failed(500, "no route to \"w-in\""), 2).await;
    let problem = DispatchProblem { attempts: 1, reason: "no route to \"w-in\"".into(), retry_at: at(500) };
    assert_eq!(read(store, "j").await.dispatch_problem, Some(problem));
    let entry = claim_one(store, 500).await;
    settle(store, ANNE, entry.id, failed(900, "closed"), 501).await;
    let problem = DispatchProblem { attempts: 2, reason: "closed".into(), retry_at: at(900) };
    assert_eq!(read(store, "j").await.dispatch_problem, Some(problem));
    dispatch(store, 900).await;
    assert_eq!(read(store, "j").await.dispatch_problem, None);
}

/// A finished job has no dispatch problem any more.
pub async fn a_finished_job_has_no_dispatch_problem(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    for entry in claim(store, 1).await {
        settle(store, ANNE, entry.id, failed(500, "no"), 2).await;
    }
    finish(store, "a", 3).await;
    apply(store, "b", Action::Cancel, 3).await;
    assert_eq!(read(store, "a").await.dispatch_problem, None);
    assert_eq!(read(store, "b").await.dispatch_problem, None);
    assert_eq!(claim(store, 9_999).await, []);
}

/// One partition's trouble does not hold up its other jobs.
pub async fn a_failing_entry_does_not_hold_up_others(store: &dyn JobStore) {
    create_plain(store, &["a", "b"], 1).await;
    let entries = claim(store, 1).await;
    let settled = vec![(entries[0].id, failed(9_000, "no")), (entries[1].id, Settled::Published)];
    assert_eq!(store.settle(ANNE, settled, at(2)).await.unwrap(), [true, true]);
    create_plain(store, &["c"], 3).await;
    assert_eq!(claim_ids(store, 3).await, ["c"]);
}

/// A caller whose clock is behind the others' takes nothing before its time.
pub async fn a_slow_clock_takes_nothing_early(store: &dyn JobStore) {
    let delayed = |id: &str| job(id).with_delay(Duration::from_secs(10));
    create(store, [delayed("a"), delayed("b")], 0).await;
    assert_eq!(claim_as(store, ANNE, 20_000, 1).await.entries.len(), 1);
    let early = claim_as(store, BERT, 5_000, 10).await;
    assert_eq!(early.entries, []);
    assert_wakes(early.next_due, 10_000);
    assert_eq!(claim_as(store, BERT, 10_000, 10).await.entries.len(), 1);
}

/// Nothing claimed, nothing settled.
pub async fn settling_nothing_does_nothing(store: &dyn JobStore) {
    assert_eq!(store.settle(ANNE, vec![], at(1)).await.unwrap(), [] as [bool; 0]);
}

/// Every entry is taken by exactly one of many small claims.
pub async fn small_claims_together_take_everything(store: &dyn JobStore) {
    create(store, (0..60).map(|n| job(&format!("j{n}"))).collect::<Vec<_>>(), 1).await;
    let mut taken = std::collections::BTreeSet::new();
    loop {
        let claimed = claim_as(store, if taken.len() % 2 == 0 { ANNE } else { BERT }, 9, 7).await;
        if claimed.entries.is_empty() {
            break;
        }
        for entry in claimed.entries {
            assert!(taken.insert(entry.job));
        }
    }
    assert_eq!(taken.len(), 60);
}
