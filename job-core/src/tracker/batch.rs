//! A batch of deliveries, and what each of them means.

use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;

use super::TrackerSettings;
use crate::clock::Timestamp;
use crate::id::{JobKey, JobTaskId};
use crate::message::{
    HEADER_DELIVERY_COUNT, HEADER_RETRY, JOB_TRACKING_CLASSIFIER, MESSAGE_VERSION, SourceInfo, TaskMessage,
    TaskStatus, set_aside,
};
use crate::queue::{Delivery, Publication};
use crate::store::TaskReport;
use crate::telemetry::{self, RefusalReason};
use crate::tracking::{Refused, interpret};

/// Deliveries and all their reports, in order.
pub(super) struct Batch {
    pub(super) items: Vec<Item>,
    pub(super) reports: Vec<TaskReport>,
    /// For each report the item it came in.
    owners: Vec<usize>,
}

/// A delivery and what follows from it.
pub(super) struct Item {
    pub(super) delivery: Delivery,
    /// To be published before the delivery is acked.
    pub(super) to_send: Vec<Publication>,
    /// How many of those are refusals.
    pub(super) refusals: u64,
    /// Something did not work out: the delivery is to come again.
    pub(super) again: bool,
    /// The job whose message only passes by.
    pub(super) passing_of: Option<JobKey>,
}

/// The payload of an answer to a report that cannot be recorded, in the order of its Java writer.
#[derive(Serialize)]
struct TrackingAnswer<'a> {
    status: &'static str,
    message: &'a str,
}

impl Batch {
    pub(super) fn read(deliveries: Vec<Delivery>, settings: &TrackerSettings, now: Timestamp) -> Self {
        let mut batch =
            Self { items: Vec::with_capacity(deliveries.len()), reports: Vec::new(), owners: Vec::new() };
        for delivery in deliveries {
            let mut item =
                Item { delivery, to_send: Vec::new(), refusals: 0, again: false, passing_of: None };
            let reports = item.read(settings, now);
            batch.owners.resize(batch.owners.len() + reports.len(), batch.items.len());
            batch.reports.extend(reports);
            batch.items.push(item);
        }
        batch
    }

    /// The items of these reports, each once.
    pub(super) fn items_of(&mut self, reports: Range<usize>) -> impl Iterator<Item = &mut Item> {
        let (first, last) = match &self.owners[reports] {
            [] => (0, 0),
            owners => (owners[0], owners[owners.len() - 1] + 1),
        };
        self.items[first..last].iter_mut()
    }
}

impl Item {
    fn read(&mut self, settings: &TrackerSettings, now: Timestamp) -> Vec<TaskReport> {
        let message = match TaskMessage::decode(&self.delivery.body) {
            Ok(message) => message,
            Err(error) => {
                let reason = error.to_string();
                tracing::warn!(
                    queue.name = settings.queue,
                    reason,
                    "a message that cannot be read was set aside"
                );
                self.to_send.push(set_aside(&self.delivery, &settings.reject_queue, &reason));
                self.refusals = 1;
                telemetry::refused(RefusalReason::Unreadable);
                return Vec::new();
            }
        };
        let meaning = interpret(&message, &self.delivery.headers, &settings.queue, now);
        for refused in meaning.refused {
            self.answer(&message, refused, settings);
            telemetry::refused(RefusalReason::Malformed);
        }
        if meaning.passing {
            let task = message.tracking.as_ref().and_then(|tracking| tracking.job_task_id.as_deref());
            self.passing_of = task.and_then(|task| task.parse::<JobTaskId>().ok()).map(|task| task.job);
            self.to_send.extend(forwarded(message, &self.delivery));
        }
        meaning.reports
    }

    /// The store refuses one of its reports for good.
    pub(super) fn refuse(&mut self, reason: &str, settings: &TrackerSettings) {
        if let Ok(message) = TaskMessage::decode(&self.delivery.body) {
            let refused = Refused { answer: TaskStatus::ResultFailure, reason: reason.to_owned() };
            self.answer(&message, refused, settings);
        }
    }

    /// Messaging contract §4.9 and §2.12.
    fn answer(&mut self, message: &TaskMessage, refused: Refused, settings: &TrackerSettings) {
        tracing::warn!(queue.name = settings.queue, reason = refused.reason, "a report was set aside");
        let (classifier, api_version, data) = if refused.answer == TaskStatus::InvalidTask {
            let classifier = message.task_classifier.clone().unwrap_or_default();
            (classifier, message.task_api_version, Bytes::from(refused.reason))
        } else {
            let answer = TrackingAnswer { status: "PROGRESS_UPDATE_FAILED", message: &refused.reason };
            let data = serde_json::to_vec(&answer).expect("two texts always serialise");
            (JOB_TRACKING_CLASSIFIER.to_owned(), 1, Bytes::from(data))
        };
        let answer = TaskMessage {
            version: MESSAGE_VERSION,
            task_id: message.task_id.clone(),
            task_classifier: Some(classifier),
            task_api_version: api_version,
            task_data: Some(data),
            task_status: Some(refused.answer),
            context: Some(message.context.clone().unwrap_or_default()),
            to: Some(settings.error_queue.clone()),
            tracking: message.tracking.clone(),
            source_info: Some(SourceInfo {
                name: Some(JOB_TRACKING_CLASSIFIER.to_owned()),
                version: Some("UNKNOWN".to_owned()),
            }),
            priority: None,
            correlation_id: message.correlation_id.clone(),
        };
        self.to_send.push(Publication::new(settings.error_queue.clone(), answer.encode()));
        self.refusals += 1;
    }
}

/// The message as it goes on to its destination, its tracking removed where tracking ends; none when it has no
/// destination.
fn forwarded(mut message: TaskMessage, delivery: &Delivery) -> Option<Publication> {
    if message.ends_tracking() {
        message.tracking = None;
    }
    let to = message.to.clone()?;
    let mut publication = Publication::new(to, message.encode());
    publication.headers.clone_from(&delivery.headers);
    // What this queue counted says nothing about the next one.
    publication.headers.remove(HEADER_DELIVERY_COUNT);
    publication.headers.remove(HEADER_RETRY);
    Some(publication)
}
