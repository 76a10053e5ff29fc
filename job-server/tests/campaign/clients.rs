//! Clients of the API. Each has a partition of its own and does one thing after the other, as its seed says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use job_conformance::store::seeded::Seeded;
use job_core::{Clock as _, JobKey, Shutdown, SystemClock};
use serde_json::json;
use tokio::sync::watch;

use crate::http::{Reply, call};
use crate::ledger::{Answer, Diary as _, Entry, Ledger, Work};

/// What clients do beside creating jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Cancel, pause, resume and delete.
    Everything,
    /// Nothing: every change of a job is then a creation, a dispatch or a report.
    CreatesOnly,
    /// The same, and all jobs have hundreds of subtasks.
    LargeJobs,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where the server is; changes when it is started again.
    pub(crate) server: watch::Receiver<SocketAddr>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) partition: String,
    /// The queue of the workers.
    pub(crate) input: String,
    pub(crate) mix: Mix,
    /// Between two requests.
    pub(crate) pace: Duration,
    pub(crate) random: Seeded,
    /// Accepted jobs that it may still do something with.
    pub(crate) known: Vec<JobKey>,
    pub(crate) paused: Vec<JobKey>,
    pub(crate) jobs: u64,
}

impl Client {
    /// Works until it is stopped, and finishes the request in hand.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            match self.random.below(100) {
                0..85 => self.create(&shutdown).await,
                85..95 if self.mix == Mix::Everything => self.act().await,
                _ => self.repeat().await,
            }
            SystemClock::new().sleep(self.pace).await;
        }
    }

    async fn create(&mut self, shutdown: &Shutdown) {
        let mut work = Work { width: 0, depth: 0, fails: self.random.percent(4) };
        let mut prerequisites = Vec::new();
        let mut delay = 0;
        match self.random.below(85) {
            _ if self.mix == Mix::LargeJobs => work = Work { width: 400, depth: 1, fails: false },
            0..40 => {}
            40..55 => {
                work.width = 2 + self.random.below(3) as u32;
                work.depth = 2;
            }
            55..65 => {
                work.width = 10 + self.random.below(30) as u32;
                work.depth = 1;
            }
            65..80 if !self.known.is_empty() => {
                for _ in 0..=self.random.below(3) {
                    // The newest are probably not finished.
                    let recent = self.known.len().min(6) as u64;
                    let chosen =
                        self.known[self.known.len() - 1 - self.random.below(recent) as usize].clone();
                    if !prerequisites.contains(&chosen) {
                        prerequisites.push(chosen);
                    }
                }
            }
            _ => delay = 1 + self.random.below(3),
        }
        self.jobs += 1;
        let key = JobKey::parse(&self.partition, format!("job-{}", self.jobs)).unwrap();
        let body = self.body(&work, &prerequisites, delay);
        let created = Answer::Unknown;
        let entry = Entry { work, prerequisites, created, cancelled: None, deleted: None, paused: false };
        self.ledger.begin(key.clone(), entry);
        // Some clients give up after the first attempt.
        let gives_up = self.random.percent(30);
        loop {
            match self.put(&key, &body).await {
                Answer::Ok if work.depth > 0 && self.mix == Mix::Everything && self.random.percent(25) => {
                    return self.interrupt(key).await;
                }
                Answer::Ok => return self.known.push(key),
                Answer::Unknown if !gives_up && !shutdown.is_stopping() => {
                    SystemClock::new().sleep(self.pace).await;
                }
                _ => return,
            }
        }
    }

    fn body(&self, work: &Work, prerequisites: &[JobKey], delay: u64) -> String {
        let mut ids: Vec<&str> = prerequisites.iter().map(|key| key.job.as_str()).collect();
        // One that is not there, and need not be waited for, is looked at in another way than those that are.
        ids.extend((ids.len() > 1).then_some("never-there,pc"));
        json!({
            "name": "campaign",
            "labels": { "campaign:depth": work.depth.to_string() },
            "prerequisiteJobIds": ids,
            "delay": delay,
            "task": {
                "taskClassifier": "Campaign",
                "taskApiVersion": 1,
                "taskData": serde_json::to_string(work).unwrap(),
                "taskPipe": self.input,
            },
        })
        .to_string()
    }

    async fn put(&self, key: &JobKey, body: &str) -> Answer {
        let reply = self.call(Method::PUT, key, "", body.to_owned()).await;
        let answer = match reply {
            Some(reply) if matches!(reply.status, 201 | 204) => Answer::Ok,
            Some(reply) if reply.status == 503 => Answer::Unknown,
            Some(reply) if reply.status == 400 && self.may_be_refused(key) => Answer::Refused,
            None => Answer::Unknown,
            Some(reply) => {
                self.ledger.wrong(format!("creating {key} was answered with {reply:?}"));
                Answer::Refused
            }
        };
        self.ledger.write(key, |entry| entry.created = answer);
        answer
    }

    /// A job whose prerequisite has failed is refused.
    fn may_be_refused(&self, key: &JobKey) -> bool {
        self.ledger.entry(key).is_some_and(|entry| !entry.prerequisites.is_empty())
    }

    /// Creates what exists already, with the same body.
    async fn repeat(&mut self) {
        if self.known.is_empty() {
            return;
        }
        let key = self.random.pick(&self.known).clone();
        let entry = self.ledger.entry(&key).unwrap();
        // The delay is not written down: only jobs that have none for certain.
        if entry.work.depth == 0 {
            return;
        }
        let body = self.body(&entry.work, &entry.prerequisites, 0);
        match self.call(Method::PUT, &key, "", body).await {
            None => {}
            Some(reply) if matches!(reply.status, 204 | 503) => {}
            Some(reply) => self.ledger.wrong(format!("repeating {key} was answered with {reply:?}")),
        }
    }

    async fn act(&mut self) {
        if self.known.is_empty() {
            return;
        }
        let at = self.random.below(self.known.len() as u64) as usize;
        let recent = self.known.len() - 1 - (at % self.known.len().min(10));
        match self.random.below(4) {
            0 => {
                let key = self.known.swap_remove(recent);
                let answer = self.action(Method::POST, &key, "/cancel").await;
                self.ledger.write(&key, |entry| entry.cancelled = Some(answer));
            }
            1 => {
                let key = self.known.swap_remove(recent);
                let answer = self.action(Method::DELETE, &key, "").await;
                self.ledger.write(&key, |entry| entry.deleted = Some(answer));
            }
            2 => {
                let key = self.known.swap_remove(recent);
                self.pause(key).await;
            }
            _ => {
                let Some(key) = self.paused.pop() else { return };
                self.action(Method::POST, &key, "/resume").await;
            }
        }
    }

    /// Pauses a job whose tasks are under way, and mostly resumes it a little later.
    async fn interrupt(&mut self, key: JobKey) {
        self.rest().await;
        self.pause(key).await;
        if self.random.percent(60)
            && let Some(key) = self.paused.pop()
        {
            self.rest().await;
            self.action(Method::POST, &key, "/resume").await;
        }
    }

    async fn rest(&mut self) {
        SystemClock::new().sleep(Duration::from_millis(self.random.below(60))).await;
    }

    async fn pause(&mut self, key: JobKey) {
        if self.action(Method::POST, &key, "/pause").await != Answer::Refused {
            self.ledger.write(&key, |entry| entry.paused = true);
            self.paused.push(key);
        }
    }

    async fn action(&self, method: Method, key: &JobKey, action: &str) -> Answer {
        match self.call(method, key, action, String::new()).await {
            None => Answer::Unknown,
            Some(reply) => match reply.status {
                204 => Answer::Ok,
                // It is finished, or not paused any more.
                400 => Answer::Refused,
                503 => Answer::Unknown,
                _ => {
                    self.ledger.wrong(format!("{action} of {key} was answered with {reply:?}"));
                    Answer::Refused
                }
            },
        }
    }

    async fn call(&self, method: Method, key: &JobKey, action: &str, body: String) -> Option<Reply> {
        let path = format!("/job-service/v1/partitions/{}/jobs/{}{action}", key.partition, key.job);
        let address = *self.server.borrow();
        let reply = call(address, method, &path, body).await?;
        if reply.status == 503 && !reply.has_retry_after {
            self.ledger.wrong(format!("503 without Retry-After: {reply:?}"));
        }
        Some(reply)
    }
}
