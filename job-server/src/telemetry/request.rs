//! Requests as the metrics see them.

use std::collections::HashMap;
use std::sync::OnceLock;

use job_core::Stopwatch;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::router::{Endpoint, Route};

/// The metrics of what one address serves, looked up once.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    in_flight: Gauge,
    /// None stands for requests of no operation.
    operations: HashMap<Option<Endpoint>, Operation>,
}

#[derive(Debug)]
struct Operation {
    name: &'static str,
    /// There once a request has been answered, so that nothing is shown about what was never asked for.
    duration: OnceLock<Histogram>,
    answered: [OnceLock<Counter>; STATUSES.len()],
}

/// What is answered; anything else is looked up each time.
const STATUSES: [u16; 19] =
    [200, 201, 204, 302, 304, 400, 401, 403, 404, 405, 408, 413, 414, 415, 429, 431, 500, 501, 503];

const TOTAL: &str = "job_service_http_requests_total";

impl RequestMetrics {
    pub(crate) fn new(routes: &[Route]) -> Self {
        let endpoints = routes.iter().map(|route| Some(route.endpoint)).chain([None]);
        let operations = endpoints.map(|endpoint| {
            let name = endpoint.map_or("none", Endpoint::name);
            let answered = [const { OnceLock::new() }; STATUSES.len()];
            (endpoint, Operation { name, duration: OnceLock::new(), answered })
        });
        Self { in_flight: gauge!("job_service_http_requests_in_flight"), operations: operations.collect() }
    }

    /// Begins to measure a request; `endpoint` is one of the routes'.
    pub(crate) fn start(&self, endpoint: Option<Endpoint>) -> RequestWatch<'_> {
        self.in_flight.increment(1.0);
        RequestWatch { metrics: self, endpoint, watch: Stopwatch::start() }
    }
}

impl Operation {
    fn answered(&self, status: u16, watch: Stopwatch) {
        let operation = self.name;
        let count = || counter!(TOTAL, "operation" => operation, "status" => status.to_string());
        match STATUSES.iter().position(|known| *known == status) {
            Some(place) => self.answered[place].get_or_init(count).increment(1),
            None => count().increment(1),
        }
        let duration = || histogram!("job_service_http_request_duration_seconds", "operation" => operation);
        self.duration.get_or_init(duration).record(watch.elapsed());
    }
}

/// Measures a request from its head to its answer, and counts it as in flight meanwhile, however it ends.
#[derive(Debug)]
pub(crate) struct RequestWatch<'a> {
    metrics: &'a RequestMetrics,
    endpoint: Option<Endpoint>,
    watch: Stopwatch,
}

impl RequestWatch<'_> {
    /// The request is answered.
    pub(crate) fn answered(self, status: u16) {
        if let Some(operation) = self.metrics.operations.get(&self.endpoint) {
            operation.answered(status, self.watch);
        }
    }
}

impl Drop for RequestWatch<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.decrement(1.0);
    }
}
