//! Reading a request's body: bounded in bytes, in time and in what all of them together may hold.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use job_core::{Clock, ClockExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;
use crate::limits::Limits;
use crate::middleware::compression::too_large;

/// The granularity in which memory for bodies is counted.
const UNIT: usize = 16 << 10;

/// The memory that the bodies of all requests share.
#[derive(Debug, Clone)]
pub(super) struct BodyMemory(Arc<Semaphore>);

/// A body and its share of the memory, which is given back when this is dropped.
#[derive(Debug)]
pub(super) struct HeldBody {
    pub(super) bytes: Bytes,
    memory: Option<OwnedSemaphorePermit>,
}

impl HeldBody {
    pub(super) fn empty() -> Self {
        Self { bytes: Bytes::new(), memory: None }
    }
}

impl BodyMemory {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Makes room for `bytes` more in `held`.
    pub(super) fn reserve(&self, held: &mut HeldBody, bytes: usize) -> Result<(), ApiError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.0).try_acquire_many_owned(units) else {
            return Err(ApiError::overloaded("too many large requests at once: try again later").closing());
        };
        match &mut held.memory {
            Some(memory) => memory.merge(more),
            None => held.memory = Some(more),
        }
        Ok(())
    }
}

/// Reads all of `body`. Every byte that arrives buys time, so that a slow body is cut off long before the deadline.
pub(super) async fn read(
    mut body: Incoming,
    limits: &Limits,
    memory: &BodyMemory,
    clock: &dyn Clock,
) -> Result<HeldBody, ApiError> {
    let too_large = || too_large(limits.body_bytes_max).closing();
    let bytes_max = u64::try_from(limits.body_bytes_max).unwrap_or(u64::MAX);
    // Known before the first byte is read, or even asked for with `100 Continue`.
    if body.size_hint().lower() > bytes_max {
        return Err(too_large());
    }
    let begun = clock.now();
    let mut collected = BytesMut::new();
    let mut held = HeldBody::empty();
    let mut reserved = 0;
    loop {
        let earned = Duration::from_secs_f64(collected.len() as f64 / limits.body_rate_min.max(1) as f64);
        let allowed = limits.body_grace.saturating_add(earned).min(limits.body_time);
        let left = allowed.saturating_sub(clock.now().since(begun));
        let frame = match clock.timeout(left, body.frame()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(_) => {
                return Err(ApiError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    format!("the body came too slowly: {} bytes arrived in time", collected.len()),
                )
                .closing());
            }
        };
        let frame = frame.map_err(|_| {
            ApiError::bad_request("the body broke off or is not framed as HTTP requires").closing()
        })?;
        // Trailers have no meaning here.
        let Ok(data) = frame.into_data() else { continue };
        let length = collected.len() + data.len();
        if length > limits.body_bytes_max {
            return Err(too_large());
        }
        if length > reserved {
            // Ahead of need, so that a body that comes in small pieces does not ask for each.
            let step = (length - reserved).max(UNIT);
            memory.reserve(&mut held, step)?;
            reserved += step.next_multiple_of(UNIT);
        }
        collected.extend_from_slice(&data);
    }
    held.bytes = collected.freeze();
    Ok(held)
}
