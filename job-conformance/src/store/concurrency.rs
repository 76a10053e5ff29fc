//! Calls at the same time: whatever order they happen in, they happen in one.

use std::collections::BTreeMap;
use std::sync::Arc;

use job_core::store::{Action, ActionOutcome, CreateOutcome, JobStore, Settled, TaskReport};
use job_core::{JobStatus, Timestamp};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::fixture::{
    ANNE, accept, apply, assert_sound, at, claim, claim_as, complete, create, create_plain, dispatch, failed,
    finish, id, job, job_after, key, read, record, settle, status, try_create,
};

const ROUNDS: usize = 20;

/// Two calls at the same time.
async fn both<A, B>(
    a: impl Future<Output = A> + Send + 'static,
    b: impl Future<Output = B> + Send + 'static,
) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let (mut first, mut second) = (JoinSet::new(), JoinSet::new());
    first.spawn(a);
    second.spawn(b);
    let a = first.join_next().await.expect("one was spawned").expect("the first call does not panic");
    let b = second.join_next().await.expect("one was spawned").expect("the second call does not panic");
    (a, b)
}

/// Many recorders report overlapping parts of one job: each subtask counts once, and one of them completes the job.
pub async fn recorders_count_each_subtask_once(store: Arc<dyn JobStore>) {
    create(&*store, [job("j"), job_after("next", &["j"])], 1).await;
    dispatch(&*store, 1).await;
    let mut recorders = JoinSet::new();
    for recorder in 0..8u32 {
        let store = Arc::clone(&store);
        recorders.spawn(async move {
            let (mut completed, mut released) = (0, 0);
            for batch in 0..20u32 {
                let numbers = (0..20).map(|n| (recorder * 7 + batch * 10 + n) % 200 + 1);
                let reports: Vec<TaskReport> = numbers
                    .map(|n| complete("j", &format!(".{n}{}", if n == 200 { "*" } else { "" })))
                    .collect();
                let recorded = record(&*store, &reports, 2).await;
                completed += recorded.completed.len();
                released += usize::from(recorded.released_due.is_some());
            }
            (completed, released)
        });
    }
    let outcomes = recorders.join_all().await;
    assert_eq!(outcomes.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)), (1, 1));
    let job = read(&*store, "j").await;
    assert_eq!((job.status, job.subtasks.completed), (JobStatus::Completed, 200));
    assert_eq!(dispatch(&*store, 2).await, ["next"]);
    assert_sound(&*store).await;
}

/// Recorders whose batches name the same jobs in opposite order do not get in each other's way.
pub async fn batches_in_opposite_order_both_succeed(store: Arc<dyn JobStore>) {
    let names: Vec<String> = (0..10).map(|n| format!("j{n}")).collect();
    create(&*store, names.iter().map(|name| job(name)).collect::<Vec<_>>(), 1).await;
    for round in 1..=ROUNDS as u32 {
        let reports =
            |task: u32| names.iter().map(|name| complete(name, &format!(".{task}"))).collect::<Vec<_>>();
        let forward = reports(round * 2);
        let backward: Vec<TaskReport> = reports(round * 2 + 1).into_iter().rev().collect();
        let (a, b) = (Arc::clone(&store), Arc::clone(&store));
        both(async move { record(&*a, &forward, 2).await }, async move { record(&*b, &backward, 2).await })
            .await;
    }
    for name in &names {
        assert_eq!(read(&*store, name).await.subtasks.completed, 2 * ROUNDS as u32);
    }
    assert_sound(&*store).await;
}

/// Claimers share what is due without overlap, and together take all of it.
pub async fn claimers_share_without_overlap(store: Arc<dyn JobStore>) {
    create(&*store, (0..200).map(|n| job(&format!("j{n}"))).collect::<Vec<_>>(), 1).await;
    let mut claimers = JoinSet::new();
    for claimer in 1..=8u128 {
        let store = Arc::clone(&store);
        claimers.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let entries = claim_as(&*store, Uuid::from_u128(claimer), 2, 9).await.entries;
                if entries.is_empty() {
                    return taken;
                }
                taken.extend(entries.into_iter().map(|entry| entry.job));
            }
        });
    }
    let mut taken: Vec<_> = claimers.join_all().await.into_iter().flatten().collect();
    // A claimer may find nothing while the others hold what is left, so the rest is taken afterwards.
    taken.extend(claim(&*store, 2).await.into_iter().map(|entry| entry.job));
    let mut counts = BTreeMap::new();
    taken.into_iter().for_each(|job| *counts.entry(job).or_insert(0) += 1);
    assert_eq!(counts.len(), 200);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

/// A job that is created while its prerequisite completes is due afterwards, whoever was first.
pub async fn a_completion_during_creation_is_not_missed(store: Arc<dyn JobStore>) {
    for round in 0..ROUNDS {
        let (first, next) = (format!("a{round}"), format!("b{round}"));
        create_plain(&*store, &[&first], 1).await;
        dispatch(&*store, 1).await;
        let (a, b) = (Arc::clone(&store), Arc::clone(&store));
        let dependent = job_after(&next, &[&first]);
        let (created, _) =
            both(
                async move { try_create(&*a, dependent, 2).await },
                async move { finish(&*b, &first, 2).await },
            )
            .await;
        assert_eq!(created, CreateOutcome::Created);
        assert_eq!(dispatch(&*store, 2).await, [next.as_str()]);
    }
}

/// A job that is created while its prerequisite fails is refused or fails with it.
pub async fn a_failure_during_creation_is_not_missed(store: Arc<dyn JobStore>) {
    for round in 0..ROUNDS {
        let (first, next) = (format!("a{round}"), format!("b{round}"));
        create_plain(&*store, &[&first], 1).await;
        let (a, b) = (Arc::clone(&store), Arc::clone(&store));
        let (dependent, report) = (job_after(&next, &[&first]), failed(&first, ".1", "boom"));
        let (created, _) = both(async move { try_create(&*a, dependent, 2).await }, async move {
            record(&*b, &[report], 2).await
        })
        .await;
        match created {
            CreateOutcome::Created => assert_eq!(status(&*store, &next).await, JobStatus::Failed),
            refused => assert_eq!(refused, CreateOutcome::PrerequisitesFailed(vec![id(&first)])),
        }
    }
    assert_eq!(claim(&*store, 9).await, []);
}

/// The last two prerequisites complete at the same time: one of them releases.
pub async fn the_last_prerequisites_release_once(store: Arc<dyn JobStore>) {
    for round in 0..ROUNDS {
        let (first, second, next) = (format!("a{round}"), format!("b{round}"), format!("c{round}"));
        create(&*store, [job(&first), job(&second), job_after(&next, &[&first, &second])], 1).await;
        dispatch(&*store, 1).await;
        let (a, b) = (Arc::clone(&store), Arc::clone(&store));
        let (one, other) =
            both(async move { finish(&*a, &first, 2).await }, async move { finish(&*b, &second, 2).await })
                .await;
        let released: Vec<Timestamp> = [one.released_due, other.released_due].into_iter().flatten().collect();
        assert_eq!(released, [at(2)]);
        assert_eq!(dispatch(&*store, 2).await, [next.as_str()]);
    }
}

/// The same job created by many is created once.
pub async fn a_job_is_created_once(store: Arc<dyn JobStore>) {
    for round in 0..ROUNDS {
        let name = format!("j{round}");
        let mut creators = JoinSet::new();
        for creator in 0..4 {
            let (store, new) = (Arc::clone(&store), job(&name).with_name(format!("n{}", creator / 2)));
            creators.spawn(async move { try_create(&*store, new, 1).await });
        }
        let outcomes = creators.join_all().await;
        let count = |wanted: &CreateOutcome| outcomes.iter().filter(|outcome| *outcome == wanted).count();
        assert_eq!(count(&CreateOutcome::Created), 1, "{outcomes:?}");
        assert_eq!(count(&CreateOutcome::Unchanged), 1, "{outcomes:?}");
        assert_eq!(count(&CreateOutcome::Conflict), 2, "{outcomes:?}");
        assert_eq!(dispatch(&*store, 1).await.len(), 1);
    }
}

/// Two jobs that would wait for each other are not both created.
pub async fn a_circle_is_not_closed_from_two_sides(store: Arc<dyn JobStore>) {
    for round in 0..ROUNDS {
        let (first, second) = (format!("a{round}"), format!("b{round}"));
        let (one, other) = (job_after(&first, &[&second]), job_after(&second, &[&first]));
        let (a, b) = (Arc::clone(&store), Arc::clone(&store));
        let outcomes =
            both(
                async move { try_create(&*a, one, 1).await },
                async move { try_create(&*b, other, 1).await },
            )
            .await;
        let refused = [&outcomes.0, &outcomes.1]
            .into_iter()
            .filter(|outcome| matches!(outcome, CreateOutcome::Cycle(_)))
            .count();
        assert_eq!(refused, 1, "{outcomes:?}");
    }
}

/// Batches that create the same jobs in opposite order do not get in each other's way.
pub async fn creating_in_opposite_order_both_succeed(store: Arc<dyn JobStore>) {
    for round in 0..ROUNDS {
        let names: Vec<String> = (0..10).map(|n| format!("{round} {n}")).collect();
        let forward: Vec<_> = names.iter().map(|name| accept(job(name))).collect();
        let backward: Vec<_> = forward.iter().rev().cloned().collect();
        let (a, b) = (Arc::clone(&store), Arc::clone(&store));
        let (one, other) = both(async move { a.create(forward, at(1)).await.unwrap() }, async move {
            b.create(backward, at(1)).await.unwrap()
        })
        .await;
        let created = one.iter().chain(&other).filter(|outcome| **outcome == CreateOutcome::Created).count();
        assert_eq!(created, 10, "{one:?} {other:?}");
    }
}

/// A cancel that races with a claim and its settlement leaves a cancelled job that is not published again.
pub async fn a_cancel_during_dispatch_holds(store: Arc<dyn JobStore>) {
    for round in 0..ROUNDS {
        let name = format!("j{round}");
        create_plain(&*store, &[&name], 1).await;
        let (a, b, cancelled) = (Arc::clone(&store), Arc::clone(&store), name.clone());
        let (claimed, ()) = both(
            async move {
                let entries = claim(&*a, 1).await;
                for entry in &entries {
                    settle(&*a, ANNE, entry.id, Settled::Published, 2).await;
                }
                entries.len()
            },
            async move { apply(&*b, &cancelled, Action::Cancel, 2).await },
        )
        .await;
        let job = read(&*store, &name).await;
        assert_eq!((job.status, job.start_time.is_some()), (JobStatus::Cancelled, claimed == 1));
        assert_eq!(claim(&*store, 9_999).await, []);
    }
}

/// Of two redispatches at once one puts the message back, and a completion beside them takes it away for good.
pub async fn a_redispatch_puts_a_message_back_once(store: Arc<dyn JobStore>) {
    for round in 0..ROUNDS {
        let name = format!("j{round}");
        create_plain(&*store, &[&name], 1).await;
        dispatch(&*store, 1).await;
        let (a, b, alone) = (Arc::clone(&store), Arc::clone(&store), key(&name));
        let (one, all) =
            both(async move { a.act(&alone, Action::Redispatch, at(2)).await.unwrap() }, async move {
                b.redispatch(None, 10, at(2)).await.unwrap().redispatched
            })
            .await;
        assert_eq!(
            (one == ActionOutcome::Applied, all),
            (all == 0, u64::from(one != ActionOutcome::Applied))
        );
        assert_eq!(dispatch(&*store, 2).await, std::slice::from_ref(&name));
        let (a, b, finished) = (Arc::clone(&store), Arc::clone(&store), name.clone());
        both(async move { a.redispatch(None, 10, at(3)).await.unwrap() }, async move {
            finish(&*b, &finished, 3).await
        })
        .await;
        assert_eq!(status(&*store, &name).await, JobStatus::Completed);
        assert_eq!(claim(&*store, 9).await, []);
    }
    assert_sound(&*store).await;
}

/// A pause that races with the last report leaves a completed job.
pub async fn a_pause_during_the_last_report_loses_nothing(store: Arc<dyn JobStore>) {
    for round in 0..ROUNDS {
        let name = format!("j{round}");
        create_plain(&*store, &[&name], 1).await;
        let (a, b, paused, finished) = (Arc::clone(&store), Arc::clone(&store), name.clone(), name.clone());
        both(async move { a.act(&key(&paused), Action::Pause, at(2)).await.unwrap() }, async move {
            finish(&*b, &finished, 2).await
        })
        .await;
        assert_eq!(status(&*store, &name).await, JobStatus::Completed);
    }
    assert_eq!(claim(&*store, 9).await, []);
}

/// Somebody who reads while others write never sees a job go backwards, or half a step.
pub async fn readers_see_whole_steps(store: Arc<dyn JobStore>) {
    create(&*store, [job("j"), job_after("next", &["j"])], 1).await;
    let writer = Arc::clone(&store);
    let reader = Arc::clone(&store);
    both(
        async move {
            record(&*writer, &[complete("j", ".100*")], 2).await;
            for n in 1..100u32 {
                record(&*writer, &[complete("j", &format!(".{n}"))], 2).await;
                tokio::task::yield_now().await;
            }
        },
        async move {
            let mut last = 0.0;
            for _ in 0..2_000 {
                let jobs = reader.get(&[key("j"), key("next")]).await.unwrap();
                let [Some(job), Some(next)] = &jobs[..] else { panic!("both are there") };
                let shown = job.percentage.rounded();
                assert!(shown >= last, "{shown} after {last}");
                last = shown;
                let complete = job.status == JobStatus::Completed;
                assert_eq!(complete, job.percentage.rounded() == 100.0);
                assert_eq!(complete, next.blocked_by.is_empty());
                if complete {
                    break;
                }
                tokio::task::yield_now().await;
            }
        },
    )
    .await;
    assert_eq!(status(&*store, "j").await, JobStatus::Completed);
}

/// Everything at once leaves a store that contradicts itself nowhere.
pub async fn everything_at_once_leaves_a_sound_store(store: Arc<dyn JobStore>) {
    let mut clients = JoinSet::new();
    for client in 0..6usize {
        let store = Arc::clone(&store);
        clients.spawn(async move {
            for round in 0..30usize {
                let n = (client * 5 + round * 3) % 8;
                let (name, other) = (format!("j{n}"), format!("j{}", (n + 1) % 8));
                match (client + round) % 6 {
                    0 => drop(try_create(&*store, job(&name), 1).await),
                    1 => drop(try_create(&*store, job_after(&name, &[&other]), 1).await),
                    2 => drop(record(&*store, &[complete(&name, ".1"), complete(&other, ".2*")], 2).await),
                    3 => drop(
                        record(&*store, &[failed(&other, ".1", "boom"), complete(&name, ".2*")], 2).await,
                    ),
                    4 => {
                        let action =
                            [Action::Pause, Action::Resume, Action::Cancel, Action::Delete][round % 4];
                        store.act(&key(&name), action, at(2)).await.unwrap();
                    }
                    _ => {
                        let owner = Uuid::from_u128(client as u128 + 1);
                        for entry in claim_as(&*store, owner, 2, 3).await.entries {
                            settle(&*store, owner, entry.id, Settled::Published, 2).await;
                        }
                    }
                }
            }
        });
    }
    clients.join_all().await;
    assert_sound(&*store).await;
}
