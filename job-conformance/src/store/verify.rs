//! Recounting: a store that only the trait has written to contradicts itself nowhere.

use job_core::JobStatus;
use job_core::store::{Action, JobStore, VerifyRequest};

use super::fixture::{
    apply, assert_sound, at, bring_to, claim, complete, create, create_plain, dispatch, failed, finish, id,
    job, job_after, message, partition, progress, read, record,
};

fn request(job: Option<&str>, repair: bool) -> VerifyRequest {
    VerifyRequest { partition: partition("p"), job: job.map(id), repair }
}

async fn busy(store: &dyn JobStore) {
    for status in JobStatus::ALL {
        create_plain(store, &[status.as_str()], 1).await;
        bring_to(store, status.as_str(), status, 2).await;
    }
    create(store, [job("a"), job("b"), job_after("c", &["a", "b", "missing"]), job_after("d", &["c"])], 3)
        .await;
    dispatch(store, 4).await;
    let reports = [
        complete("a", ".1.2.3*"),
        progress("a", ".1.2.1", 12.5),
        complete("a", ".4*"),
        complete("a", ".9"),
        complete("a", ".3*"),
        failed("b", ".1.1", "boom"),
        failed("b", ".1.2", "boom"),
        complete("b", ".1.2"),
        progress("b", ".20000", 77.7),
    ];
    record(store, &reports, 5).await;
}

/// After every kind of call.
pub async fn a_store_contradicts_itself_nowhere(store: &dyn JobStore) {
    busy(store).await;
    assert_sound(store).await;
    create(store, [job("e"), job_after("f", &["e"]), job("g")], 6).await;
    claim(store, 6).await;
    apply(store, "g", Action::Pause, 7).await;
    store.stow(vec![message("g", "m")], at(8)).await.unwrap();
    assert_sound(store).await;
    finish(store, "e", 9).await;
    apply(store, "g", Action::Resume, 9).await;
    assert_sound(store).await;
    apply(store, "f", Action::Delete, 10).await;
    apply(store, "g", Action::Cancel, 10).await;
    finish(store, "b", 11).await;
    assert_sound(store).await;
}

/// Repairing what is right changes nothing.
pub async fn a_repair_of_a_sound_store_changes_nothing(store: &dyn JobStore) {
    busy(store).await;
    let names = ["a", "b", "c", "d", "Paused", "Failed", "Completed"];
    let mut before = Vec::new();
    for name in names {
        before.push(read(store, name).await);
    }
    assert_eq!(store.verify(&request(None, true)).await.unwrap(), []);
    for (name, before) in names.iter().zip(before) {
        assert_eq!(read(store, name).await, before);
    }
    let recorded = record(store, &[complete("a", ".1.2.1"), complete("a", ".1.2.2")], 9).await;
    assert_eq!(recorded.outcomes, [job_core::recording::RecordOutcome::Counted; 2]);
}

/// One job may be checked alone.
pub async fn one_job_may_be_checked(store: &dyn JobStore) {
    busy(store).await;
    for name in ["a", "b", "c", "Completed"] {
        assert_eq!(store.verify(&request(Some(name), false)).await.unwrap(), []);
    }
}

/// There is nothing wrong with what is not there.
pub async fn what_is_not_there_is_sound(store: &dyn JobStore) {
    assert_eq!(store.verify(&request(None, true)).await.unwrap(), []);
    assert_eq!(store.verify(&request(Some("missing"), true)).await.unwrap(), []);
}
