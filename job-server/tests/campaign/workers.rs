//! Workers that speak the wire format by hand. They ack a task only when everything it leads to is confirmed.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use hyper::{Method, Uri};
use job_core::message::{
    ReportStatus, TRACKING_REPORT_CLASSIFIER, TaskMessage, TrackingReport, TrackingReportTask,
};
use job_core::queue::{ConsumeOptions, Delivery, Publication, PublishOutcome, TaskQueue};
use job_core::{Clock as _, ClockExt as _, Failure, Shutdown, SystemClock, Timestamp};

use crate::http::call;
use crate::ledger::{Diary, Work};

const PREFETCH: u16 = 60;
/// A server that is frozen never answers.
const ASKING: Duration = Duration::from_secs(1);

/// A worker on one queue.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) queue: Arc<dyn TaskQueue>,
    pub(crate) input: String,
    pub(crate) diary: Arc<dyn Diary>,
}

impl Worker {
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let work = async {
            loop {
                match self.queue.consume(&self.input, ConsumeOptions { prefetch: PREFETCH }).await {
                    Ok(deliveries) => {
                        deliveries
                            .for_each_concurrent(usize::from(PREFETCH), |delivery| self.handle(delivery))
                            .await;
                    }
                    // The broker is away.
                    Err(_) => SystemClock::new().sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::select! {
            () = shutdown.stopping() => {}
            () = work => {}
        }
    }

    async fn handle(&self, delivery: Delivery) {
        let message = match TaskMessage::decode(&delivery.body) {
            Ok(message) => message,
            Err(error) => return self.diary.wrong(format!("a worker got what it cannot read: {error}")),
        };
        let task = message.tracking.as_ref().and_then(|tracking| tracking.job_task_id.as_deref());
        let Some(task) = task else { return self.diary.wrong(format!("untracked: {message:?}")) };
        if asks(task) && is_paused(&message).await {
            self.diary.kept(task);
            return self.pass_on(delivery).await;
        }
        self.diary.received(task, &message.task_id, delivery.redeliveries > 0);
        let Some(publications) = self.answer(&message) else {
            return self.diary.wrong(format!("a worker got a task without its work: {message:?}"));
        };
        self.publish_and_ack(publications, delivery).await;
    }

    /// To those who keep the tasks of paused jobs.
    async fn pass_on(&self, delivery: Delivery) {
        let queue = format!("{}paused", self.input.strip_suffix("in").unwrap());
        let publication = Publication {
            headers: delivery.headers.clone(),
            ..Publication::new(queue, delivery.body.clone())
        };
        self.publish_and_ack(vec![publication], delivery).await;
    }

    async fn publish_and_ack(&self, publications: Vec<Publication>, delivery: Delivery) {
        let outcomes = self.queue.publish(publications).await.unwrap_or_default();
        // One that is not acked comes again.
        if !outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome == PublishOutcome::Confirmed) {
            let _ = delivery.ack().await;
        }
    }

    /// The subtasks of a task, then its reports.
    fn answer(&self, message: &TaskMessage) -> Option<Vec<Publication>> {
        let work: Work = serde_json::from_slice(message.task_data.as_deref()?).ok()?;
        let tracking = message.tracking.as_ref()?;
        let id = tracking.job_task_id.as_deref()?;
        let pipe = tracking.tracking_pipe.clone()?;
        let report = |entries: &[TrackingReport]| {
            let data = TrackingReportTask { tracking_reports: entries.to_vec() }.encode();
            let id = message.task_id.clone();
            let report = TaskMessage::new_task(id, TRACKING_REPORT_CLASSIFIER, 1, data, pipe.clone());
            Publication::new(pipe.clone(), report.encode())
        };
        if work.depth == 0 {
            let entry = if work.fails {
                TrackingReport::failed(id, failure())
            } else {
                TrackingReport::new(id, ReportStatus::Complete)
            };
            return Some(vec![report(&[entry])]);
        }
        let mut publications = Vec::new();
        let mut entries = Vec::new();
        for number in 1..=work.width {
            let below = Work { depth: work.depth - 1, fails: work.fails && number == 1, ..work };
            let mut subtask = message.clone();
            subtask.task_id = format!("{}.{number}", message.task_id);
            subtask.task_data = Some(serde_json::to_vec(&below).ok()?.into());
            if let Some(tracking) = &mut subtask.tracking {
                tracking.job_task_id = Some(format!("{id}.{number}"));
            }
            publications.push(Publication::new(self.input.clone(), subtask.encode()));
            entries.push(TrackingReport::new(format!("{id}.{number}"), ReportStatus::Progress));
        }
        entries.push(TrackingReport::new(format!("{id}.{}*", work.width + 1), ReportStatus::Complete));
        publications.extend(entries.chunks(5).map(report));
        Some(publications)
    }
}

/// Every second task asks, more or less.
fn asks(task: &str) -> bool {
    task.bytes().map(u32::from).sum::<u32>().is_multiple_of(2)
}

/// What the server says when it is asked at the address in the message; a server that is away says nothing.
async fn is_paused(message: &TaskMessage) -> bool {
    let url = message.tracking.as_ref().and_then(|tracking| tracking.status_check_url.as_deref());
    let Some(url) = url.and_then(|url| url.parse::<Uri>().ok()) else { return false };
    let address = url.authority().and_then(|authority| authority.as_str().parse().ok());
    let (Some(address), Some(path)) = (address, url.path_and_query()) else { return false };
    let asking = call(address, Method::GET, path.as_str(), String::new());
    let reply = SystemClock::new().timeout(ASKING, asking).await.ok().flatten();
    reply.is_some_and(|reply| reply.body.contains("Paused"))
}

fn failure() -> Failure {
    Failure {
        id: "RESULT_EXCEPTION".to_owned(),
        time: Timestamp::from_millis(1_732_406_405_123),
        source: "campaign".to_owned(),
        message: "planned".to_owned(),
    }
}
