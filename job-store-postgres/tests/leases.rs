//! The rows that leases are.

mod database;

use std::time::Duration;

use job_conformance::store::fixture::{
    ANNE, BERT, act, at, claim_as, claim_ids, claim_one, create, create_plain, ids_of, job, settle,
};
use job_core::store::{Action, ActionOutcome, ClaimRequest, JobStore, Settled};
use job_store_postgres::PostgresStore;

const DAY_MILLIS: i64 = 86_400_000;

/// Every lease, by the entries in it.
async fn leases(pool: &sqlx::PgPool) -> Vec<Vec<i64>> {
    let leases = sqlx::query_scalar("SELECT entries FROM lease ORDER BY lease_no");
    leases.fetch_all(pool).await.expect("the leases")
}

async fn started() -> (testkit::TestDatabase, PostgresStore, sqlx::PgPool) {
    let database = database::fresh().await;
    let store = database::connect(database.url()).await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    (database, store, pool)
}

/// Another dispatcher takes `a`, and is done with it when the claim has looked already, and waits: too late for that to see it,
/// were it not to look again.
#[tokio::test]
async fn a_claim_that_another_was_faster_than_looks_again() {
    let (_database, store, pool) = started().await;
    create_plain(&store, &["a", "b"], 1).await;
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::raw_sql(
        "UPDATE lease_version SET version = version + 1;
         INSERT INTO lease (owner, leased_until, entries)
         SELECT gen_random_uuid(), 60000, ARRAY[id] FROM outbox WHERE job_id = 'a'",
    )
    .execute(&mut *other)
    .await
    .expect("a lease");
    let mut claiming = std::pin::pin!(claim_as(&store, ANNE, 1, 10));
    loop {
        let waits = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity
                            WHERE datname = current_database() AND wait_event_type = 'Lock')",
        );
        tokio::select! {
            biased;
            waits = waits.fetch_one(&pool) => if waits.expect("locks") { break },
            claimed = &mut claiming => panic!("nothing waited: {claimed:?}"),
        }
    }
    other.commit().await.expect("the end");
    assert_eq!(ids_of(&claiming.await.entries), ["b"]);
}

/// A message that was lost while somebody had it on lease, and is put back, has the number of the one that was lost.
#[tokio::test]
async fn a_message_that_is_put_back_is_on_nobodys_lease() {
    let (_database, store, pool) = started().await;
    create(&store, [job("lost"), job("other")], 1).await;
    let taken = claim_as(&store, ANNE, 1, 10).await.entries;
    sqlx::raw_sql(
        "DELETE FROM outbox WHERE job_id = 'lost';
         UPDATE job SET start_time = 2 WHERE job_id = 'lost'",
    )
    .execute(&pool)
    .await
    .expect("a loss");
    assert_eq!(act(&store, "lost", Action::Redispatch, 3).await, ActionOutcome::Applied);
    for entry in &taken {
        let is_hers = entry.job.job.as_str() == "other";
        assert_eq!(settle(&store, ANNE, entry.id, Settled::Published, 4).await, is_hers, "{}", entry.job);
    }
    assert_eq!(claim_ids(&store, 5).await, ["lost"]);
}

#[tokio::test]
async fn what_is_settled_in_parts_or_taken_over_in_parts_leaves_no_lease_behind() {
    let (_database, store, pool) = started().await;
    create_plain(&store, &["a", "b", "c", "d", "e"], 1).await;
    let anne: Vec<u64> = claim_as(&store, ANNE, 1, 4).await.entries.iter().map(|entry| entry.id).collect();
    let id = |place: usize| i64::try_from(anne[place]).expect("an id");
    let parts = vec![
        (anne[1], Settled::Published),
        (anne[3], Settled::Failed { retry_at: at(DAY_MILLIS), reason: "no".into() }),
    ];
    assert_eq!(store.settle(ANNE, parts, at(2)).await.expect("settled"), [true, true]);
    assert_eq!(leases(&pool).await, [vec![id(0), id(2)]]);

    // The lease has ended, and one entry of it is taken over: the other is still hers.
    assert_eq!(ids_of(&claim_as(&store, BERT, 2_000, 1).await.entries), ["a"]);
    assert_eq!(leases(&pool).await, [vec![id(2)], vec![id(0)]]);
    assert!(!settle(&store, ANNE, anne[0], Settled::Published, 2_001).await);
    assert!(settle(&store, ANNE, anne[2], Settled::Published, 2_001).await);
    assert!(settle(&store, BERT, anne[0], Settled::Published, 2_002).await);
    // What is empty goes with the next claim that takes anything, and with its settlement nothing is left.
    let last = claim_one(&store, 2_003).await;
    assert!(settle(&store, ANNE, last.id, Settled::Published, 2_004).await);
    assert_eq!(leases(&pool).await, Vec::<Vec<i64>>::new());
}

/// Whoever died with entries on lease that were cancelled meanwhile never settles them.
#[tokio::test]
async fn a_lease_that_nobody_settles_is_forgotten_after_a_day() {
    let (_database, store, pool) = started().await;
    create_plain(&store, &["cancelled", "later"], 1).await;
    let request = ClaimRequest {
        owner: ANNE,
        now: at(1),
        lease: Duration::from_secs(1),
        limit: 1,
        bytes_limit: usize::MAX,
    };
    assert_eq!(store.claim(request).await.expect("a claim").entries.len(), 1);
    act(&store, "cancelled", Action::Cancel, 2).await;
    let late = claim_as(&store, BERT, 1_001 + DAY_MILLIS, 10).await.entries;
    assert_eq!(ids_of(&late), ["later"]);
    assert_eq!(leases(&pool).await.len(), 1, "only the new one");
}
