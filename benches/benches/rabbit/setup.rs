//! The broker, the database, and fresh things in both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use bytes::Bytes;
use job_core::message::{
    ReportStatus, TRACKING_REPORT_CLASSIFIER, TaskMessage, TrackingReport, TrackingReportTask,
};
use job_core::queue::TaskQueue as _;
use job_core::{JobKey, NewJob, SystemClock, TaskSpec};
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use job_store_postgres::{PostgresOptions, PostgresStore};
use sqlx::PgPool;
use testkit::{PostgresServer, RabbitOptions, RabbitServer, TestDatabase};
use uuid::Uuid;

use crate::bare::Bare;
use crate::table;

pub(crate) const PARTITION: &str = "acme";

pub(crate) struct Bench {
    pub(crate) postgres: PostgresServer,
    pub(crate) rabbit: RabbitServer,
    /// For whatever is not measured.
    pub(crate) bare: Bare,
    pub(crate) rounds: usize,
    is_quick: bool,
    only: Option<String>,
    names: AtomicU64,
}

/// A store on an empty database, and the database beside it.
pub(crate) struct Fresh {
    pub(crate) store: Arc<PostgresStore>,
    pub(crate) pool: PgPool,
    pub(crate) database: TestDatabase,
}

impl Bench {
    pub(crate) async fn start(is_quick: bool, rounds: usize, only: Option<String>) -> Result<Self> {
        let (postgres, rabbit) = tokio::task::spawn_blocking(|| -> Result<_> {
            let options = testkit::PostgresOptions::durable()
                .with_setting("shared_buffers", "1GB")
                .with_setting("max_wal_size", "4GB");
            // A million messages wait in turn; the alarm is not what is measured.
            let broker = RabbitOptions::default().with_setting("vm_memory_high_watermark.absolute", "6GB");
            Ok((PostgresServer::start_with(&options)?, RabbitServer::start_with(&broker)?))
        })
        .await??;
        let bare = Bare::connect(&rabbit.url()).await?;
        table::heading();
        Ok(Self { postgres, rabbit, bare, rounds, is_quick, only, names: AtomicU64::new(0) })
    }

    /// Smaller when it has to be quick.
    pub(crate) fn size(&self, full: usize, quick: usize) -> usize {
        if self.is_quick { quick } else { full }
    }

    /// Whether a measurement is asked for.
    pub(crate) fn wants(&self, what: &str) -> bool {
        self.only.as_ref().is_none_or(|only| what.contains(only.as_str()))
    }

    /// A queue's name that was not used before.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) async fn queue(&self) -> Result<Arc<AmqpQueue>> {
        Ok(Arc::new(AmqpQueue::connect(AmqpOptions::from_uri(&self.rabbit.url())?).await?))
    }

    /// Declares them as ours are declared.
    pub(crate) async fn declare(&self, queues: &[String]) -> Result<()> {
        let queue = self.queue().await?;
        for name in queues {
            queue.declare(name).await?;
        }
        queue.close().await;
        Ok(())
    }

    pub(crate) async fn delete(&self, queues: &[String]) -> Result<()> {
        for name in queues {
            self.bare.delete(name).await?;
        }
        Ok(())
    }

    pub(crate) async fn fresh(&self) -> Result<Fresh> {
        let url = self.postgres.url("postgres");
        let database = TestDatabase::create_on(&url, "bench_empty", async |_: &str| anyhow::Ok(())).await?;
        let options = PostgresOptions::new(database.url())?;
        let store = Arc::new(PostgresStore::connect(options, Arc::new(SystemClock::new())).await?);
        store.migrate().await?;
        let pool = PgPool::connect(database.url()).await?;
        Ok(Fresh { store, pool, database })
    }
}

impl Fresh {
    /// What a server that has run for a while has done by itself.
    pub(crate) async fn settle_down(&self) -> Result<()> {
        for sql in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::query(sql).execute(&self.pool).await?;
        }
        Ok(())
    }
}

pub(crate) fn key(job: &str) -> JobKey {
    JobKey::parse(PARTITION, job).expect("a valid id")
}

pub(crate) fn job(id: &str, queue: &str) -> NewJob {
    let task = TaskSpec {
        classifier: "DocumentWorker".into(),
        api_version: 1,
        data: Bytes::from_static(br#"{"scriptId":"split","batch":"abcdef","reference":"2f1c1f1e-5d34"}"#),
        queue: queue.into(),
        target: None,
    };
    NewJob::new(key(id), task)
}

/// A message in which a worker says that these tasks are complete.
pub(crate) fn report(tracking_queue: &str, tasks: impl IntoIterator<Item = String>) -> Bytes {
    let tracking_reports =
        tasks.into_iter().map(|task| TrackingReport::new(task, ReportStatus::Complete)).collect();
    let payload = TrackingReportTask { tracking_reports }.encode();
    let id = Uuid::new_v4().to_string();
    TaskMessage::new_task(id, TRACKING_REPORT_CLASSIFIER, 1, payload, tracking_queue).encode()
}
