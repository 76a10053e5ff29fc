//! One request: checked, admitted, routed, read, worked on apart from its connection, and answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use job_core::{Clock, ClockExt, Shutdown};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::body::{self, BodyMemory, HeldBody};
use super::listener::Way;
use super::places::Places;
use crate::audit::{AuditLog, Entry, JobsChanged};
use crate::auth::{Asked, Guard};
use crate::error::ApiError;
use crate::handlers::{self, Api, Call};
use crate::limits::Limits;
use crate::middleware::{compression, correlation, panic, trace};
use crate::query_string::QueryString;
use crate::reply::Answer;
use crate::router::{Endpoint, Found, PathParameters, Route, Router};
use crate::telemetry::{RequestMetrics, spans};

static CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// Larger bodies are compressed on a thread of their own, so that others need not wait.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// What one address serves.
#[derive(Debug)]
pub(crate) struct Site {
    router: Router,
    metrics: RequestMetrics,
    api: Arc<Api>,
    gate: Gate,
    limits: Limits,
    clock: Arc<dyn Clock>,
    /// Owns the handlers: they outlive the connections they were asked over.
    tasks: Shutdown,
    requests: Arc<Semaphore>,
    status_checks: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    places: Places,
    bodies: BodyMemory,
}

/// Who may come in, and the book of what they changed.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) guard: Arc<Guard>,
    pub(crate) audit: Arc<AuditLog>,
}

/// A request that may be worked on, and the room it takes meanwhile.
struct Admitted {
    call: Call,
    is_wait: bool,
    _room: (Option<OwnedSemaphorePermit>, HeldBody),
}

impl Site {
    pub(crate) fn new(
        routes: &'static [Route],
        api: Arc<Api>,
        gate: Gate,
        limits: Limits,
        clock: Arc<dyn Clock>,
        tasks: Shutdown,
    ) -> Self {
        Self {
            router: Router::new(routes),
            metrics: RequestMetrics::new(routes),
            api,
            gate,
            requests: Arc::new(Semaphore::new(limits.requests_max)),
            status_checks: Arc::new(Semaphore::new(limits.status_checks_max)),
            waits: Arc::new(Semaphore::new(limits.waits_max)),
            places: Places::new(limits.connections_max, limits.connections_per_address_max),
            bodies: BodyMemory::new(limits.bodies_bytes_max),
            limits,
            clock,
            tasks,
        }
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Answers a request, whatever it is.
    pub(super) async fn serve(&self, request: Request<Incoming>, way: Way) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Found { endpoint, call } = self.router.find(&head.method, head.uri.path());
        let watch = self.metrics.start(endpoint);
        let operation = endpoint.map_or("none", Endpoint::name);
        let given = trace::given(&head.headers);
        let correlation_id = correlation::of(&head.headers, given);
        let shown_id = correlation_id.to_str().unwrap_or_default().to_owned();
        let place = trace::place(given, &shown_id);
        let gzip = compression::accepts_gzip(&head.headers);
        let exported =
            spans::request(operation, head.method.as_str(), head.uri.path(), &shown_id, place, given);
        let span = exported.in_scope(|| {
            tracing::info_span!(
                "request", correlation_id = shown_id, trace_id = place.trace_id(), http.method = %head.method,
                http.path = head.uri.path()
            )
        });
        let mut answer = async {
            let outcome = self.exchange(call, head, body, way, shown_id).await;
            let answer = outcome.unwrap_or_else(|error| {
                report(&error);
                error.into_answer()
            });
            tracing::debug!(
                http.status = answer.status().as_u16(),
                http.bytes = answer.body().len(),
                "answered"
            );
            answer
        }
        .instrument(span)
        .instrument(exported.clone())
        .await;
        if compression::is_worthwhile(&answer) {
            compression::mark_as_varying(&mut answer);
            if gzip {
                answer = self.compress(answer).await;
            }
        }
        let headers = answer.headers_mut();
        headers.insert(&correlation::HEADER, correlation_id);
        // Only for those who know what it is; a new place each time, it would also tell equal answers apart.
        if given.is_some() {
            headers.insert(&trace::HEADER, trace::header(place));
        }
        headers.insert(&CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        watch.answered(answer.status().as_u16());
        spans::answered(&exported, answer.status().as_u16());
        answer.map(Full::new)
    }

    async fn exchange(
        &self,
        found: Result<(Endpoint, PathParameters), ApiError>,
        head: Parts,
        body: Incoming,
        way: Way,
        correlation_id: String,
    ) -> Result<Answer, ApiError> {
        check_head(&head, &self.limits)?;
        let (endpoint, path) = found?;
        let mut entry = self.gate.audit.begin(endpoint, &path, way.peer, &correlation_id);
        let gone = CancellationToken::new();
        let _gone_when_dropped = gone.clone().drop_guard();
        let admitted =
            self.prepare(head, body, endpoint, path, way, correlation_id, gone, entry.as_mut()).await;
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                finish(entry, &Err(&error)).await;
                return Err(error);
            }
        };
        let (limit, is_bulk) = (self.time_for(admitted.is_wait), endpoint.is_bulk());
        let stepped = Arc::clone(&admitted.call.stepped);
        let api = Arc::clone(&self.api);
        // Detached: when the client goes away the connection's future is dropped, and a call to a store that is cut off
        // in the middle of a transaction would poison its connection.
        let work = async move {
            let outcome = handlers::answer(&api, endpoint, &admitted.call).await;
            finish(entry, &outcome.as_ref()).await;
            outcome
        };
        let work = self.tasks.spawn(work.in_current_span());
        let finished = if is_bulk {
            let whole = self.clock.timeout(self.limits.bulk_time, self.within_steps(work, &stepped));
            whole.await.unwrap_or(Err(self.limits.bulk_time))
        } else {
            self.clock.timeout(limit, work).await.map_err(|_| limit)
        };
        match finished {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(panic::answer(error)),
            Err(limit) => Err(ApiError::overloaded(format!(
                "the request was not finished within {} s: it may still take effect, so look before trying again",
                limit.as_secs()
            ))),
        }
    }

    /// Everything before the work: who asks, whether they may, whether there is room, and what the body says.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, taken apart by its caller")]
    async fn prepare(
        &self,
        head: Parts,
        body: Incoming,
        endpoint: Endpoint,
        path: PathParameters,
        way: Way,
        correlation_id: String,
        gone: CancellationToken,
        mut entry: Option<&mut Entry>,
    ) -> Result<Admitted, ApiError> {
        let parsed = QueryString::parse(head.uri.query().unwrap_or_default());
        let (query, wrong) =
            parsed.map_or_else(|error| (QueryString::default(), Some(error)), |query| (query, None));
        let asked = Asked { endpoint, path: &path, query: &query, headers: &head.headers, way };
        let caller = self.gate.guard.identify(&asked)?;
        if let Some(entry) = &mut entry {
            entry.asked_by(&caller);
        }
        caller.may(&asked)?;
        if let Some(entry) = entry {
            entry.allowed();
        }
        // Not before it is known who asks: what strangers send wrong is counted too.
        wrong.map_or(Ok(()), Err)?;
        let is_wait = endpoint == Endpoint::GetJob && query.get("wait").is_some();
        let permit = self.admit(endpoint, is_wait)?;
        let body = if endpoint.takes_body() { self.read_body(&head, body).await? } else { HeldBody::empty() };
        let (uri, headers) = (head.uri, head.headers);
        let (is_tls, bytes) = (way.is_tls, body.bytes.clone());
        let stepped = Arc::default();
        let call = Call { uri, headers, is_tls, path, query, body: bytes, correlation_id, gone, stepped };
        Ok(Admitted { call, is_wait, _room: (permit, body) })
    }

    fn admit(&self, endpoint: Endpoint, is_wait: bool) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        if endpoint.is_vital() {
            return Ok(None);
        }
        let gate = match endpoint {
            _ if is_wait => &self.waits,
            // Workers that get no answer carry on with jobs that may be cancelled.
            _ if endpoint.answers_status_urls() => &self.status_checks,
            _ => &self.requests,
        };
        let permit = Arc::clone(gate).try_acquire_owned();
        permit.map(Some).map_err(|_| ApiError::overloaded("too many requests at once: try again in a moment"))
    }

    fn time_for(&self, is_wait: bool) -> Duration {
        let time = self.limits.handler_time;
        if is_wait { time + Duration::from_secs(60) } else { time }
    }

    /// The outcome of work that goes on step by step, or the time after which it is taken to be stuck in one.
    async fn within_steps<T: Send>(
        &self,
        mut work: JoinHandle<T>,
        stepped: &Notify,
    ) -> Result<Result<T, JoinError>, Duration> {
        let limit = self.limits.handler_time;
        loop {
            tokio::select! {
                biased;
                outcome = &mut work => return Ok(outcome),
                step = self.clock.timeout(limit, stepped.notified()) => step.map_err(|_| limit)?,
            }
        }
    }

    async fn read_body(&self, head: &Parts, body: Incoming) -> Result<HeldBody, ApiError> {
        let coding = compression::coding(&head.headers)?;
        let mut held = body::read(body, &self.limits, &self.bodies, self.clock.as_ref()).await?;
        if coding != compression::Coding::Identity {
            let bytes_max = self.limits.body_bytes_max;
            // No coding here shrinks a text to less than a thousandth.
            let bound = held.bytes.len().saturating_mul(1_100).min(bytes_max);
            self.bodies.reserve(&mut held, bound)?;
            let compressed = held.bytes.clone();
            let decompress = move || compression::decompress(&compressed, coding, bytes_max);
            held.bytes = self.tasks.spawn_blocking(decompress).await.map_err(panic::answer)??;
        }
        Ok(held)
    }

    async fn compress(&self, answer: Answer) -> Answer {
        if answer.body().len() <= INLINE_BYTES_MAX {
            return compression::gzip(answer);
        }
        let compressed = self.tasks.spawn_blocking(move || compression::gzip(answer)).await;
        compressed.unwrap_or_else(|error| panic::answer(error).into_answer())
    }
}

/// Notes in the audit log what came of a request.
async fn finish(entry: Option<Entry>, outcome: &Result<&Answer, &ApiError>) {
    let Some(entry) = entry else { return };
    let (status, jobs) = match outcome {
        Ok(answer) => (answer.status(), answer.extensions().get::<JobsChanged>().copied()),
        // The records before it tell as much, and strangers must not be able to fill the disk.
        Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS && !entry.is_allowed() => {
            return entry.forget();
        }
        Err(error) => (error.status(), None),
    };
    entry.finish(status.as_u16(), jobs).await;
}

/// A failure is logged once, here, and only when it is ours.
fn report(error: &ApiError) {
    let status = error.status();
    match error.cause() {
        Some(cause) if status.is_server_error() => {
            let source = std::error::Error::source(cause).map(ToString::to_string);
            tracing::error!(http.status = status.as_u16(), error = %cause, source, "a request failed");
        }
        // Without the message, which may quote the request.
        _ => tracing::debug!(http.status = status.as_u16(), "a request was refused"),
    }
}

fn check_head(head: &Parts, limits: &Limits) -> Result<(), ApiError> {
    let url = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if url > limits.url_bytes_max {
        return Err(ApiError::new(
            StatusCode::URI_TOO_LONG,
            format!("the URL is {url} bytes long: at most {} are allowed", limits.url_bytes_max),
        ));
    }
    let too_large = |message| Err(ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message));
    let (count, max) = (head.headers.len(), limits.headers_max);
    if count > max {
        return too_large(format!("the request has {count} headers: at most {max} are allowed"));
    }
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > limits.header_bytes_max {
        let max = limits.header_bytes_max;
        return too_large(format!("the headers are {bytes} bytes long: at most {max} are allowed"));
    }
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(ApiError::bad_request("the request must have exactly one Host header").closing());
    }
    // Hyper takes any list that ends in chunked; a reader before us may take `chunked, chunked` for something else.
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(|first| !is_chunked(first) || codings.next().is_some()) {
        return Err(ApiError::bad_request("Transfer-Encoding may only be chunked, and only once").closing());
    }
    if head.method == Method::CONNECT {
        return Err(ApiError::method_not_allowed("GET, HEAD, PUT, POST, DELETE").closing());
    }
    Ok(())
}
