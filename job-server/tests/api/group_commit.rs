//! Creates at the same time share a step of the store.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use job_core::{Created, JobKey, JobService, NewJob, Result, TaskSpec};

use crate::client::soon;
use crate::hooked_store::{HookedStore, Hooks};

fn job(id: &str) -> NewJob {
    NewJob::new(JobKey::parse("p", id).unwrap(), TaskSpec::json("W", "w-in", &id).unwrap())
}

/// Creates that have begun: each is in a step or waits for one.
fn begin<'a>(service: &'a JobService, ids: &[&str]) -> Vec<BoxFuture<'a, Result<Created>>> {
    let begun = ids.iter().map(|id| {
        let mut create = service.create(job(id)).boxed();
        assert!((&mut create).now_or_never().is_none(), "{id}");
        create
    });
    begun.collect()
}

/// A service both of whose steps are under way until the gate opens.
async fn held() -> (JobService, Arc<HookedStore>, Vec<tokio::task::JoinHandle<Result<Created>>>) {
    let store = Hooks::store();
    let service = JobService::new(Arc::clone(&store) as _);
    let mut holders = Vec::new();
    for _ in 0..2 {
        let service = service.clone();
        holders.push(job_core::Shutdown::new().spawn(async move { service.create(job("held")).await }));
        soon(store.arrived.acquire()).await.unwrap().forget();
    }
    (service, store, holders)
}

#[tokio::test]
async fn creates_that_wait_go_together_and_each_has_its_own_answer() {
    let (service, store, holders) = held().await;
    let creates = begin(&service, &["a", "b", "a", "c", "d"]);
    store.gate.add_permits(2);
    let answers = soon(join_all(creates)).await;
    let expected = [Created::New, Created::New, Created::Repeat, Created::New, Created::New];
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);
    for holder in holders {
        soon(holder).await.unwrap().unwrap();
    }
    let mut steps = store.creates.lock().unwrap().clone();
    steps.sort_unstable();
    assert_eq!(steps, [1, 1, 5]);
    // Nobody waits for company.
    assert_eq!(soon(service.create(job("e"))).await.unwrap(), Created::New);
}

#[tokio::test]
async fn whoever_goes_away_takes_nobody_along() {
    let (service, store, _holders) = held().await;
    let mut creates = begin(&service, &["a", "b", "c"]);
    drop(creates.remove(0));
    store.gate.add_permits(2);
    for answer in soon(join_all(creates)).await {
        assert_eq!(answer.unwrap(), Created::New);
    }
    let gone = JobKey::parse("p", "a").unwrap();
    assert_eq!(service.store().statuses(&[gone]).await.unwrap(), [None], "nobody wanted it any more");
}

#[tokio::test]
async fn whoever_comes_behind_a_step_full_of_others_is_not_forgotten() {
    let (service, store, _holders) = held().await;
    let ids: Vec<String> = (0..64).map(|number| format!("gone{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).chain(["last"]).collect();
    let mut creates = begin(&service, &ids);
    let last = creates.pop().unwrap();
    drop(creates);
    store.gate.add_permits(2);
    assert_eq!(soon(last).await.unwrap(), Created::New);
}

#[tokio::test]
async fn a_job_that_the_store_refuses_fails_alone() {
    let (service, store, _holders) = held().await;
    let creates = begin(&service, &["a", "refused", "b"]);
    store.gate.add_permits(2);
    let answers = soon(join_all(creates)).await;
    assert_eq!(answers[0].as_ref().unwrap(), &Created::New);
    assert_eq!(answers[1].as_ref().unwrap_err().message(), "the store cannot keep this");
    assert_eq!(answers[2].as_ref().unwrap(), &Created::New);
}

#[tokio::test]
async fn a_store_that_is_away_is_everybodys_answer() {
    let (service, store, _holders) = held().await;
    let creates = begin(&service, &["a", "down"]);
    store.gate.add_permits(2);
    for answer in soon(join_all(creates)).await {
        let error = answer.unwrap_err();
        assert!(error.is_transient());
        assert_eq!(error.message(), "the store cannot be reached");
    }
    assert_eq!(soon(service.create(job("a"))).await.unwrap(), Created::New);
}
