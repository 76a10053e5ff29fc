//! What the parts of an engine in one process tell each other. Nothing depends on it: a lost signal costs one poll
//! interval.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast};

use crate::id::JobKey;

/// How many jobs a slow listener may lag behind before it is told that it missed some.
const BACKLOG: usize = 1024;

/// Wake-ups between the use cases, the dispatcher and the tracker. Clones share them.
#[derive(Debug, Clone)]
pub struct Signals {
    due: Arc<Notify>,
    finished: broadcast::Sender<JobKey>,
    withdrawn: broadcast::Sender<JobKey>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            due: Arc::default(),
            finished: broadcast::Sender::new(BACKLOG),
            withdrawn: broadcast::Sender::new(BACKLOG),
        }
    }
}

impl Signals {
    /// Something may be due: the dispatcher looks. Remembered if it is busy.
    pub fn wake_dispatcher(&self) {
        self.due.notify_one();
    }

    /// Completes at the next [`wake_dispatcher`](Self::wake_dispatcher), or at once if one was missed. Cancel safe.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// Says that a job was completed, failed, cancelled or deleted.
    pub fn job_finished(&self, job: &JobKey) {
        tell(&self.finished, job);
    }

    /// Says that a job was cancelled or deleted, which is a [finish](Self::job_finished) too.
    pub fn job_withdrawn(&self, job: &JobKey) {
        tell(&self.withdrawn, job);
        self.job_finished(job);
    }

    /// Jobs that finish from now on, in this process.
    #[must_use]
    pub fn finished_jobs(&self) -> broadcast::Receiver<JobKey> {
        self.finished.subscribe()
    }

    /// Jobs that are cancelled or deleted from now on, in this process: few beside those that finish, so that every running
    /// task may listen.
    #[must_use]
    pub fn withdrawn_jobs(&self) -> broadcast::Receiver<JobKey> {
        self.withdrawn.subscribe()
    }
}

fn tell(listeners: &broadcast::Sender<JobKey>, job: &JobKey) {
    if listeners.receiver_count() > 0 {
        // Fails only when the last receiver has gone meanwhile.
        let _ = listeners.send(job.clone());
    }
}
