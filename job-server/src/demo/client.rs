//! The demo's HTTP client: one request per connection, on loopback.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::exchange::Remote;

/// A job's JSON with its first hundred failures is far smaller.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Talks to the API about the jobs of one partition.
#[derive(Debug, Clone)]
pub(super) struct Client {
    address: SocketAddr,
    partition: &'static str,
}

/// What became of a job that was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    /// It is there now, or was before.
    IsThere,
    /// Another job of this id is there.
    Differs,
}

/// What the demo reads of a job.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobView {
    pub(super) status: String,
    pub(super) percentage_complete: f64,
    #[serde(default)]
    pub(super) failure_count: u64,
    #[serde(default)]
    pub(super) subtasks: SubtaskView,
}

/// How many direct subtasks a job has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct SubtaskView {
    pub(super) total: Option<u64>,
    pub(super) completed: u64,
    pub(super) failed: u64,
}

/// How many failures are read at most.
const FAILURES_MAX: usize = 1_000;

/// Why a subtask failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FailureView {
    pub(super) failure_message: String,
}

impl Client {
    pub(super) const fn new(address: SocketAddr, partition: &'static str) -> Self {
        Self { address, partition }
    }

    /// The address of a job, for people.
    pub(super) fn job_url(&self, job: &str) -> String {
        format!("http://{}{}", self.address, self.path(job))
    }

    /// The address of the list of all jobs, for people.
    pub(super) fn jobs_url(&self) -> String {
        format!("http://{}/job-service/v1/partitions/{}/jobs", self.address, self.partition)
    }

    /// Creates a job; the body is the contract's.
    pub(super) async fn create(&self, job: &str, body: &serde_json::Value) -> anyhow::Result<Created> {
        let body = Bytes::from(body.to_string());
        let (status, answer) = self.send(Method::PUT, job, body).await?;
        match status {
            StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(Created::IsThere),
            StatusCode::FORBIDDEN => Ok(Created::Differs),
            _ => bail!("the API did not create job {job:?}: {status} {}", String::from_utf8_lossy(&answer)),
        }
    }

    /// Deletes a job, if it is there.
    pub(super) async fn delete(&self, job: &str) -> anyhow::Result<()> {
        let (status, answer) = self.send(Method::DELETE, job, Bytes::new()).await?;
        ensure!(
            status.is_success() || status == StatusCode::NOT_FOUND,
            "the API did not delete job {job:?}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    }

    /// Reads a job that may not exist.
    pub(super) async fn find(&self, job: &str) -> anyhow::Result<Option<JobView>> {
        match self.send(Method::GET, job, Bytes::new()).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, answer) => understand(job, status, &answer).map(Some),
        }
    }

    /// Reads a job.
    pub(super) async fn job(&self, job: &str) -> anyhow::Result<JobView> {
        self.read(job).await
    }

    /// Reads the failures of a job, the first [`FAILURES_MAX`] of them.
    pub(super) async fn failures(&self, job: &str) -> anyhow::Result<Vec<FailureView>> {
        self.read(&format!("{job}/failures?limit={FAILURES_MAX}")).await
    }

    async fn read<T: DeserializeOwned>(&self, what: &str) -> anyhow::Result<T> {
        let (status, answer) = self.send(Method::GET, what, Bytes::new()).await?;
        understand(what, status, &answer)
    }

    fn path(&self, job: &str) -> String {
        format!("/job-service/v1/partitions/{}/jobs/{job}", self.partition)
    }

    async fn send(&self, method: Method, job: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        let url: Uri = format!("http://{}", self.address).parse()?;
        let request = Request::builder()
            .method(method)
            .uri(self.path(job))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answer = Remote::new(&url, None)?.send(request, ANSWER_BYTES_MAX).await?;
        Ok((answer.status(), answer.into_body()))
    }
}

fn understand<T: DeserializeOwned>(what: &str, status: StatusCode, answer: &[u8]) -> anyhow::Result<T> {
    ensure!(
        status == StatusCode::OK,
        "the API did not answer for {what}: {status} {}",
        String::from_utf8_lossy(answer)
    );
    serde_json::from_slice(answer).with_context(|| format!("the API's answer for {what} makes no sense"))
}
