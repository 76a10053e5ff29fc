//! One function per operation: read the request, call the engine, write the answer.

mod bulk;
mod documents;
mod health;
mod job;
mod job_types;
mod jobs;
mod metrics;
mod partitions;
mod selection;
mod static_file;
mod stats;
mod swagger;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Uri};
use job_core::{JobKey, JobService, PartitionId, Shutdown};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::health::Health;
use crate::query_string::QueryString;
use crate::reply::Answer;
use crate::router::{Endpoint, PathParameters};
use crate::telemetry::Glance;

/// What the handlers work with.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) service: JobService,
    pub(crate) page_size: u32,
    pub(crate) status_check_interval: Duration,
    pub(crate) health: Health,
    pub(crate) glance: Glance,
    pub(crate) shutdown: Shutdown,
}

/// A request, read completely.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) is_tls: bool,
    pub(crate) path: PathParameters,
    pub(crate) query: QueryString,
    pub(crate) body: Bytes,
    pub(crate) correlation_id: String,
    /// Cancelled when nobody waits for the answer any more.
    pub(crate) gone: CancellationToken,
    /// Told when a step of long work is done.
    pub(crate) stepped: Arc<Notify>,
}

impl Call {
    fn partition(&self) -> Result<PartitionId, ApiError> {
        Ok(PartitionId::new(&self.path.partition)?)
    }

    fn key(&self) -> Result<JobKey, ApiError> {
        Ok(JobKey::parse(&self.path.partition, &self.path.job)?)
    }
}

/// Performs an operation.
pub(crate) async fn answer(api: &Api, endpoint: Endpoint, call: &Call) -> Result<Answer, ApiError> {
    match endpoint {
        Endpoint::Root => Ok(documents::root()),
        Endpoint::OpenApi => Ok(documents::openapi(call)),
        Endpoint::HealthCheck => Ok(health::check(api, call).await),
        Endpoint::Ping => Ok(health::ping()),
        Endpoint::JobTypes => Ok(job_types::list(api)),
        Endpoint::ListJobs => jobs::list(api, call).await,
        Endpoint::GetJob => job::get(api, call).await,
        Endpoint::CreateJob => job::create(api, call).await,
        Endpoint::DeleteJob => job::act(api, call, job_core::store::Action::Delete).await,
        Endpoint::DeleteJobs => bulk::delete(api, call).await,
        Endpoint::IsActive => job::is_active(api, call).await,
        Endpoint::Status => job::status(api, call).await,
        Endpoint::CancelJob => job::act(api, call, job_core::store::Action::Cancel).await,
        Endpoint::CancelJobs => bulk::cancel(api, call).await,
        Endpoint::PauseJob => job::act(api, call, job_core::store::Action::Pause).await,
        Endpoint::ResumeJob => job::act(api, call, job_core::store::Action::Resume).await,
        Endpoint::RedispatchJob => job::act(api, call, job_core::store::Action::Redispatch).await,
        Endpoint::CountJobs => stats::count(api, call).await,
        Endpoint::CountJobsByStatus => stats::by_status(api, call).await,
        Endpoint::Tasks => job::tasks(api, call).await,
        Endpoint::Failures => job::failures(api, call).await,
        Endpoint::SwaggerPage => Ok(swagger::page(call)),
        Endpoint::SwaggerFile => swagger::file(call),
        Endpoint::SwaggerDocument => Ok(documents::swagger(call)),
        Endpoint::Dependencies => job::dependencies(api, call).await,
        Endpoint::SuspendedPartitions => partitions::suspended(api, call).await,
        Endpoint::SuspendPartition => partitions::suspend(api, call).await,
        Endpoint::ResumePartition => partitions::resume(api, call).await,
        Endpoint::AdminPing => Ok(health::admin_ping()),
        Endpoint::AdminHealthCheck => Ok(health::admin_check(api).await),
        Endpoint::Metrics => metrics::metrics(api).await,
    }
}
