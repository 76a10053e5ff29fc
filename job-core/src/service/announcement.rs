//! Telling others that a job was resumed, for deployments whose workers stow elsewhere.

use super::JobService;
use crate::error::Result;
use crate::id::JobKey;
use crate::lifecycle::JobStatus;
use crate::message::TaskMessage;
use crate::queue::Headers;
use crate::store::StowedMessage;

impl JobService {
    /// Keeps the announcement with the job's stowed messages, so that the step that resumes the job releases it as well:
    /// whatever crashes, it is sent if and only if the job was resumed, perhaps twice.
    pub(super) async fn announce_resume(&self, key: &JobKey, queue: &str) -> Result<()> {
        if !self.status_if_any(key).await?.is_some_and(JobStatus::holds_messages) {
            return Ok(());
        }
        let message = resume_message(key, queue, self.ids.next().to_string());
        let (queue, body) = (queue.to_owned(), message.encode());
        let announcement = StowedMessage { job: key.clone(), queue, body, headers: Headers::new() };
        self.store.stow(vec![announcement], self.clock.now()).await.map(drop)
    }
}

/// Messaging contract §6.3, with the members that its reader needs.
fn resume_message(key: &JobKey, queue: &str, task_id: String) -> TaskMessage {
    let payload = serde_json::json!({
        "document": null,
        "customData": { "partitionId": key.partition.as_str(), "jobId": key.job.as_str() },
    });
    TaskMessage::new_task(task_id, "DocumentWorkerTask", 1, payload.to_string(), queue)
}
