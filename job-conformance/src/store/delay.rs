//! Waiting after the prerequisites.

use std::time::Duration;

use job_core::store::{Action, JobStore};

use super::fixture::{
    ANNE, apply, assert_wakes, at, claim, claim_as, claim_ids, create, dispatch, finish, job, job_after,
    read, try_create,
};

const TEN: Duration = Duration::from_secs(10);

/// A delayed job is due when its delay is over, not earlier.
pub async fn a_delayed_job_is_due_after_its_delay(store: &dyn JobStore) {
    create(store, [job("j").with_delay(TEN)], 1_000).await;
    let early = claim_as(store, ANNE, 10_999, 9).await;
    assert_eq!(early.entries, []);
    assert_wakes(early.next_due, 11_000);
    assert_eq!(claim_ids(store, 11_000).await, ["j"]);
}

/// With prerequisites, the delay begins when the last of them completes.
pub async fn a_delay_begins_with_the_last_prerequisite(store: &dyn JobStore) {
    create(store, [job("a"), job("b"), job_after("j", &["a", "b"]).with_delay(TEN)], 1_000).await;
    dispatch(store, 1_000).await;
    finish(store, "a", 20_000).await;
    assert_eq!(claim(store, 999_999).await, []);
    assert_eq!(finish(store, "b", 1_000_000).await.released_due, Some(at(1_010_000)));
    assert_eq!(claim(store, 1_009_999).await, []);
    assert_eq!(claim_ids(store, 1_010_000).await, ["j"]);
}

/// A job whose prerequisites are complete waits for its delay all the same.
pub async fn complete_prerequisites_leave_the_delay(store: &dyn JobStore) {
    create(store, [job("a")], 1).await;
    finish(store, "a", 2).await;
    create(store, [job_after("j", &["a"]).with_delay(TEN)], 1_000).await;
    assert_eq!(claim(store, 10_999).await, []);
    assert_eq!(claim_ids(store, 11_000).await, ["j"]);
}

/// The earliest release is told.
pub async fn the_earliest_of_several_releases_is_told(store: &dyn JobStore) {
    let after = |id: &str, seconds| job_after(id, &["a"]).with_delay(Duration::from_secs(seconds));
    create(store, [job("a"), after("x", 30), after("y", 5), after("z", 60)], 1).await;
    assert_eq!(finish(store, "a", 1_000).await.released_due, Some(at(6_000)));
}

/// A delay beyond the end of time is one that never ends.
pub async fn an_endless_delay_is_no_overflow(store: &dyn JobStore) {
    create(store, [job("j").with_delay(Duration::from_secs(u64::from(u32::MAX)))], 1).await;
    assert_eq!(claim(store, 9_999_999).await, []);
    assert_eq!(read(store, "j").await.delay, Duration::from_secs(u64::from(u32::MAX)));
}

/// A pause does not stop the delay.
pub async fn a_delay_runs_on_during_a_pause(store: &dyn JobStore) {
    create(store, [job("j").with_delay(TEN)], 1_000).await;
    apply(store, "j", Action::Pause, 2_000).await;
    apply(store, "j", Action::Resume, 3_000).await;
    assert_eq!(claim(store, 10_999).await, []);
    apply(store, "j", Action::Pause, 10_999).await;
    apply(store, "j", Action::Resume, 50_000).await;
    assert_eq!(claim_ids(store, 50_000).await, ["j"]);
}

/// A repeat does not begin the delay anew.
pub async fn a_repeat_does_not_prolong_the_delay(store: &dyn JobStore) {
    create(store, [job("j").with_delay(TEN)], 1_000).await;
    try_create(store, job("j").with_delay(TEN), 9_000).await;
    assert_eq!(claim_ids(store, 11_000).await, ["j"]);
}
