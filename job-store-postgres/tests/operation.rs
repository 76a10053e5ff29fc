//! Connecting, migrating and running with few rights.

mod database;

use std::sync::Arc;
use std::time::Duration;

use job_conformance::model::compare;
use job_conformance::store::fixture::{
    ANNE, at, claim, complete, create, job, partition, read, record, settle,
};
use job_core::query::Selection;
use job_core::store::{JobStore, OutboxContent, Settled};
use job_core::{Error, ErrorKind, JobStatus, SystemClock};
use job_store_memory::MemoryStore;
use job_store_postgres::{PostgresOptions, PostgresStore};
use testkit::TestDatabase;

async fn empty() -> TestDatabase {
    TestDatabase::create("empty", async |_: &str| anyhow::Ok(())).await.expect("a database")
}

async fn try_connect(url: &str) -> Result<PostgresStore, Error> {
    let options = PostgresOptions::new(url)?.with_retry_limit(Duration::ZERO);
    PostgresStore::connect(options, Arc::new(SystemClock::new())).await
}

/// The URL with another user, password or database.
fn altered(url: &str, user: Option<(&str, &str)>, database: Option<&str>) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (login, place) = rest.split_once('@').expect("a login");
    let (host, path) = place.split_once('/').expect("a database");
    let login = user.map_or_else(|| login.to_owned(), |(name, password)| format!("{name}:{password}"));
    format!("{scheme}://{login}@{host}/{}", database.unwrap_or(path))
}

#[tokio::test]
async fn what_is_wrong_with_the_database_is_said_in_clear_words() {
    let database = empty().await;
    let url = database.url();
    for (url, words) in [
        (altered(url, None, Some("no_such_database")), "does not exist"),
        (altered(url, Some(("nobody", "x")), None), "refuses the login"),
        ("postgres://u:p@127.0.0.1:1/d".to_owned(), "nothing answers"),
    ] {
        let error = try_connect(&url).await.expect_err("not a usable database");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains(words), "{error:?}");
    }
    let store = try_connect(url).await.expect("an empty database");
    let error = store.validate().await.expect_err("no schema");
    assert!(error.message().contains("run the migration"), "{error:?}");
    let error = store.get(&[job("j").key]).await.expect_err("no tables");
    assert!(error.message().contains("run the migration"), "{error:?}");
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let database = empty().await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let name = format!("{}_latin", database.name());
    let create =
        format!("CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    sqlx::query(sqlx::AssertSqlSafe(create)).execute(&pool).await.expect("a database");
    let error = try_connect(&altered(database.url(), None, Some(&name))).await.expect_err("not UTF8");
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&pool).await.expect("dropping it");
    assert!(error.message().contains("UTF8 is needed"), "{error:?}");
}

#[tokio::test]
async fn migrating_twice_or_at_the_same_time_applies_each_version_once() {
    let database = empty().await;
    let stores = [database::connect(database.url()).await, database::connect(database.url()).await];
    let (one, other) = tokio::join!(stores[0].migrate(), stores[1].migrate());
    let mut applied = [one.expect("migrate"), other.expect("migrate")].concat();
    applied.sort_unstable();
    let every: Vec<i32> =
        job_store_postgres::migrations().iter().map(|migration| migration.version).collect();
    assert_eq!(applied, every);
    assert_eq!(stores[0].migrate().await.expect("migrate"), Vec::<i32>::new());
}

#[tokio::test]
async fn the_script_for_a_database_administrator_does_the_same() {
    let database = empty().await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let script = job_store_postgres::migration_script(0);
    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&pool).await.expect("the script runs as it is");
    let store = database::connect(database.url()).await;
    store.validate().await.expect("the schema is the one of this program");
    assert_eq!(store.migrate().await.expect("nothing is left to do"), Vec::<i32>::new());
    pool.close().await;
}

/// What the first version of the schema has stored is there after all that came later.
#[tokio::test]
async fn jobs_of_the_first_version_go_on_after_the_migration() {
    let database = empty().await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let script = job_store_postgres::migration_script(0);
    let (first, _) = script.split_once("\n-- Version 2").expect("there are later versions");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{first}COMMIT;"))).execute(&pool).await.expect("version 1");
    sqlx::raw_sql(OF_THE_FIRST_VERSION).execute(&pool).await.expect("rows as they were then");
    let store = database::connect(database.url()).await;
    assert!(store.validate().await.expect_err("too old").message().contains("migrat"));
    store.migrate().await.expect("migrate");
    store.validate().await.expect("the newest schema");

    let leases: Vec<(i64, Option<i64>, Option<i64>)> = sqlx::query_as(
        "SELECT o.id, l.leased_until, o.parked_until
                         FROM outbox o LEFT JOIN lease l ON o.id = ANY(l.entries) ORDER BY o.id",
    )
    .fetch_all(&pool)
    .await
    .expect("the entries");
    assert_eq!(leases, [(1, None, None), (3, Some(9), None)]);

    let entries = claim(&store, 9).await;
    let [due, kept] = entries.as_slice() else { panic!("one of each: {entries:?}") };
    let OutboxContent::Start { task, correlation_id, .. } = &due.content else { panic!("{due:?}") };
    assert_eq!(
        (task.queue.as_str(), task.target.as_deref(), task.data.as_ref()),
        ("w-in", Some("w-out"), &b"data"[..])
    );
    assert_eq!(
        (due.job.job.as_str(), task.classifier.as_str(), correlation_id.as_deref()),
        ("due", "Worker", None)
    );
    let OutboxContent::Stowed { queue, body, .. } = &kept.content else { panic!("{kept:?}") };
    assert_eq!((kept.job.job.as_str(), queue.as_str(), body.as_ref()), ("started", "w-in", &b"kept"[..]));
    assert!(settle(&store, ANNE, due.id, Settled::Published, 10).await);
    for id in ["due", "started"] {
        record(&store, &[complete(id, "")], 11).await;
        assert_eq!(read(&store, id).await.status, JobStatus::Completed, "{id}");
    }
    assert_eq!(
        store.count(&partition("p"), &Selection::default()).await.expect("count")[&JobStatus::Completed],
        2
    );
    pool.close().await;
}

const OF_THE_FIRST_VERSION: &str = r"
    INSERT INTO job (partition_id, job_id, job_no, create_time, last_update_time, update_group, start_time, percentage,
        failure_count, last_failure, status, hundredths, percentage_group, has_progress_rows, has_prerequisites,
        subtasks_completed, subtasks_failed)
    VALUES ('p', 'due', 1, 1, 1, 0, NULL, 0, 0, 0, 5, 0, 0, false, false, 0, 0),
        ('p', 'started', 2, 2, 3, 0, 3, 0, 0, 0, 0, 0, 0, false, false, 0, 0);
    INSERT INTO job_detail (partition_id, job_no, job_id, create_time, delay_millis, fingerprint, id_key, name_key,
        description_key, external_data_key)
    VALUES ('p', 1, 'due', 1, 0, decode(repeat('00', 32), 'hex'), '\x6475650064756500', '\xff', '\xff', '\xff'),
        ('p', 2, 'started', 2, 0, decode(repeat('01', 32), 'hex'), '\x73', '\xff', '\xff', '\xff');
    INSERT INTO job_count (partition_id, status, shard, jobs) VALUES ('p', 5, 0, 1), ('p', 0, 1, 1);
    INSERT INTO outbox (id, partition_id, job_no, job_id, due_at, delay_millis, unmet, attempts, held, suspended, stowed,
        task_id, api_version, classifier, queue, target, body, parked_until, lease_owner)
    VALUES (1, 'p', 1, 'due', 1, 0, 0, 0, false, false, false, gen_random_uuid(), 1, 'Worker', 'w-in', 'w-out', 'data',
            NULL, NULL),
        (3, 'p', 2, 'started', 2, 0, 0, 0, false, false, true, NULL, NULL, NULL, 'w-in', NULL, 'kept',
            9, gen_random_uuid())";

#[tokio::test]
async fn a_newer_or_a_changed_schema_is_refused() {
    let database = database::fresh().await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let store = database::connect(database.url()).await;
    sqlx::query("INSERT INTO job_schema_version VALUES (1000, 'later', '')")
        .execute(&pool)
        .await
        .expect("insert");
    for result in [store.validate().await, store.migrate().await.map(drop)] {
        let error = result.expect_err("a newer schema");
        assert!(error.message().contains("use a newer program"), "{error:?}");
    }
    sqlx::query("DELETE FROM job_schema_version WHERE version = 1000").execute(&pool).await.expect("delete");
    sqlx::query("UPDATE job_schema_version SET checksum = 'other'").execute(&pool).await.expect("update");
    let error = store.validate().await.expect_err("another schema");
    assert!(error.message().contains("differs"), "{error:?}");
}

/// The rights that the README names are enough for everything the store does.
#[tokio::test]
async fn a_role_that_may_only_read_and_write_rows_is_enough() {
    let database = database::fresh().await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let role = format!("worker_of_{}", database.name());
    for statement in [
        format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'"),
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"),
        format!("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.expect("rights");
    }
    let store = try_connect(&altered(database.url(), Some((&role, "secret")), None)).await.expect("a login");
    store.validate().await.expect("the schema");
    let lived = compare(&MemoryStore::new(), &store, 5, 200).await;
    store.close().await;
    for statement in [format!("DROP OWNED BY {role}"), format!("DROP ROLE {role}")] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.expect("removing the role");
    }
    lived.unwrap_or_else(|difference| panic!("{difference}"));
}

#[tokio::test]
async fn sessions_have_their_guards() {
    let database = database::fresh().await;
    let store = database::connect(database.url()).await;
    create(&store, [job("j")], 1).await;
    read(&store, "j").await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let sessions: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'job-service'",
    )
    .fetch_one(&pool)
    .await
    .expect("a count");
    assert!(sessions > 0);
    let options = PostgresOptions::new(database.url())
        .expect("a URL")
        .with_statement_timeout(Duration::from_millis(200));
    let hurried =
        PostgresStore::connect(options.with_retry_limit(Duration::ZERO), Arc::new(SystemClock::new()))
            .await
            .expect("a store");
    let mut blocker = pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE job IN ACCESS EXCLUSIVE MODE").execute(&mut *blocker).await.expect("a lock");
    let error = hurried.get(&[job("j").key]).await.expect_err("a time-out");
    assert!(error.is_transient(), "{error:?}");
    blocker.rollback().await.expect("rollback");
    read(&hurried, "j").await;
}

/// How many sessions of stores a database has.
async fn sessions(pool: &sqlx::PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'job-service'",
    )
    .fetch_one(pool)
    .await
    .expect("a count")
}

#[tokio::test]
async fn connections_are_used_again_and_all_closed_with_the_store() {
    let database = database::fresh().await;
    let pool = sqlx::PgPool::connect(database.url()).await.expect("a pool");
    let store = database::connect(database.url()).await;
    for n in 0..20 {
        create(&store, [job(&format!("j{n}"))], 1).await;
    }
    assert_eq!(sessions(&pool).await, 1);
    let connections = store.overview(at(1)).await.expect("overview").connections.expect("a pool");
    assert_eq!((connections.used, connections.idle), (0, 1));
    store.close().await;
    let error = store.get(&[job("j0").key]).await.expect_err("it is closed");
    assert!(error.message().contains("closed"), "{error:?}");
    // The server ends a session a moment after it was told to.
    while sessions(&pool).await > 0 {
        tokio::task::yield_now().await;
    }
}

/// As in a program that stops its runtime before it drops what it used there.
#[test]
fn a_store_may_be_dropped_without_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (database, store) = runtime.block_on(async {
        let database = database::fresh().await;
        let store = database::connect(database.url()).await;
        create(&store, [job("j")], 1).await;
        (database, store)
    });
    drop(store);
    runtime.block_on(async { drop(database) });
}
