//! What a worker's code sees of its task and of the world around it.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Notify;

use super::responses::{Entry, Received, Response, Responses};
use super::subtask::{Subtask, SubtaskError};
use crate::clock::{Clock, Timestamp};
use crate::id::JobTaskId;
use crate::message::TrackingInfo;
use crate::queue::{Headers, Publication};
use crate::shutdown::Shutdown;

/// How many messages of a task wait to be published before its worker waits.
const PENDING_MAX: usize = 100;
/// And how many bytes.
const PENDING_BYTES_MAX: usize = 256 * 1024;

/// A task's surroundings: who it is, where to put its subtasks, whether to go on.
///
/// Subtasks are published while the worker runs, at the latest when it waits for anything else; a queue that takes no
/// more makes [`subtask`](Self::subtask) wait, so that any number of them costs a bounded amount of memory.
pub struct TaskContext {
    received: Arc<Received>,
    own_state: Option<Bytes>,
    clock: Arc<dyn Clock>,
    stopping: Shutdown,
    progress_interval: Duration,
    inner: Mutex<Inner>,
    /// Something is pending, or nothing will be any more.
    work: Notify,
    /// There is room for more.
    room: Notify,
    job_ended: AtomicBool,
    on_job_ended: Notify,
}

struct Inner {
    responses: Responses,
    pending: Vec<Publication>,
    pending_bytes: usize,
    closed: bool,
    percentage: u8,
    percentage_sent: Option<Timestamp>,
}

impl TaskContext {
    pub(super) fn new(
        received: Arc<Received>,
        responses: Responses,
        clock: Arc<dyn Clock>,
        stopping: Shutdown,
        context_key: &str,
        progress_interval: Duration,
    ) -> Self {
        let own_state =
            received.message.context.as_ref().and_then(|context| context.get(context_key)).cloned();
        Self {
            received,
            own_state,
            clock,
            stopping,
            progress_interval,
            inner: Mutex::new(Inner {
                responses,
                pending: Vec::new(),
                pending_bytes: 0,
                closed: false,
                percentage: 0,
                percentage_sent: None,
            }),
            work: Notify::new(),
            room: Notify::new(),
            job_ended: AtomicBool::new(false),
            on_job_ended: Notify::new(),
        }
    }

    /// The task's place in its job; none for a task that is not tracked.
    #[must_use]
    pub fn job_task_id(&self) -> Option<&JobTaskId> {
        self.received.job_task_id.as_ref()
    }

    /// The id of the message.
    #[must_use]
    pub fn task_id(&self) -> &str {
        &self.received.message.task_id
    }

    /// Follows a request through everything that it causes.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.received.message.correlation_id.as_deref()
    }

    /// The headers of the delivery.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.received.headers
    }

    /// The queue that the task was taken from.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.received.queue
    }

    /// Which try this is; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.received.retries.saturating_add(1)
    }

    /// What the worker before this one kept in the message under the runner's context key.
    #[must_use]
    pub fn state(&self) -> Option<&Bytes> {
        self.own_state.as_ref()
    }

    /// The message's version of its payload.
    #[must_use]
    pub fn api_version(&self) -> i32 {
        self.received.message.task_api_version
    }

    pub(super) fn tracking(&self) -> Option<&TrackingInfo> {
        self.received.tracking()
    }

    /// Adds a subtask; its number follows from the order of the calls.
    ///
    /// # Errors
    /// When the task's work is not wanted any more, or the payload does not serialise. Returning the error is the right
    /// thing to do in both cases.
    ///
    /// *Cancel safety.* Dropping the future adds nothing.
    pub async fn subtask(
        &self,
        queue: &str,
        kind: &str,
        api_version: i32,
        payload: &(impl Serialize + Sync + ?Sized),
    ) -> Result<(), SubtaskError> {
        let subtask = Subtask::new(queue, kind, api_version, payload)?;
        self.send(subtask).await
    }

    /// As [`subtask`](Self::subtask), with everything that can be said about one.
    ///
    /// # Errors
    /// When the task's work is not wanted any more.
    ///
    /// *Cancel safety.* Dropping the future adds nothing.
    pub async fn send(&self, subtask: Subtask) -> Result<(), SubtaskError> {
        loop {
            // Made before looking, so that room that is made in between is not missed.
            let room = self.room.notified();
            {
                if self.is_cancelled() {
                    return Err(SubtaskError::JobEnded);
                }
                let mut inner = self.lock();
                if inner.has_room() {
                    inner.add(|responses, out| responses.subtask(subtask.0, self.clock.now(), out))?;
                    self.work.notify_one();
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// Says how far the task is, 0 to 100. Repeats and steps that follow each other too fast are left out.
    pub fn progress(&self, percentage: f64) {
        // A float casts to the nearest value in range; completion is what the outcome says.
        let percentage = (percentage as u8).min(99);
        let now = self.clock.now();
        let mut inner = self.lock();
        let too_soon = inner.percentage_sent.is_some_and(|sent| now.since(sent) < self.progress_interval);
        if percentage == 0 || percentage == inner.percentage || too_soon || !inner.has_room() {
            return;
        }
        if let Some(publication) = inner.responses.percentage(percentage) {
            inner.percentage = percentage;
            inner.percentage_sent = Some(now);
            inner.pending.push(publication);
            drop(inner);
            self.work.notify_one();
        }
    }

    /// Completes when the job was cancelled or deleted, or has finished without this task. Cancel safe.
    pub async fn cancelled(&self) {
        let mut ended = pin!(self.on_job_ended.notified());
        ended.as_mut().enable();
        if !self.is_cancelled() {
            ended.await;
        }
    }

    /// Whether the job was cancelled or deleted, or has finished without this task.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.job_ended.load(Ordering::SeqCst)
    }

    /// Completes when the runner was asked to stop. A task has some time left then; a long one should return
    /// [`Outcome::retry`](super::Outcome::retry), which hands it back at once. Cancel safe.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stopping.stopping()
    }

    /// Whether the runner was asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_stopping()
    }

    pub(super) fn end_job(&self) {
        self.job_ended.store(true, Ordering::SeqCst);
        self.on_job_ended.notify_waiters();
        self.room.notify_waiters();
    }

    /// What later messages say about the last status check.
    pub(super) fn checked(&self, time: Timestamp, interval_millis: i64) {
        self.lock().responses.checked(time, interval_millis);
    }

    /// Waits for pending messages and takes them; none when there will be no more.
    pub(super) async fn take_pending(&self) -> Option<Vec<Publication>> {
        loop {
            {
                let mut inner = self.lock();
                if !inner.pending.is_empty() {
                    inner.pending_bytes = 0;
                    let pending = std::mem::take(&mut inner.pending);
                    drop(inner);
                    self.room.notify_waiters();
                    return Some(pending);
                }
                if inner.closed {
                    return None;
                }
            }
            self.work.notified().await;
        }
    }

    /// There will be no more subtasks.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    /// The final response, behind the reports that are still buffered.
    pub(super) fn last(&self, response: Response) -> (Vec<Publication>, Option<Entry>) {
        let mut out = Vec::new();
        let alone = self.lock().responses.last(response, self.clock.now(), &mut out);
        (out, alone)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX && self.pending_bytes < PENDING_BYTES_MAX
    }

    fn add<E>(
        &mut self,
        add: impl FnOnce(&mut Responses, &mut Vec<Publication>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.pending.len();
        add(&mut self.responses, &mut self.pending)?;
        self.pending_bytes += self.pending[before..].iter().map(|message| message.body.len()).sum::<usize>();
        Ok(())
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("task_id", &self.task_id())
            .field("job_task_id", &self.job_task_id())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
