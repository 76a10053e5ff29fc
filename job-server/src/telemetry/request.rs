//! One request as the metrics see it.

use job_core::Stopwatch;
use metrics::{counter, gauge, histogram};

/// Measures a request from its head to its answer, and counts it as in flight meanwhile, however it ends.
#[derive(Debug)]
pub(crate) struct RequestWatch {
    operation: &'static str,
    watch: Stopwatch,
}

impl RequestWatch {
    pub(crate) fn start(operation: &'static str) -> Self {
        gauge!("job_service_http_requests_in_flight").increment(1.0);
        Self { operation, watch: Stopwatch::start() }
    }

    /// The request is answered.
    pub(crate) fn answered(self, status: u16) {
        let operation = self.operation;
        counter!("job_service_http_requests_total", "operation" => operation, "status" => status.to_string())
            .increment(1);
        histogram!("job_service_http_request_duration_seconds", "operation" => operation)
            .record(self.watch.elapsed());
    }
}

impl Drop for RequestWatch {
    fn drop(&mut self) {
        gauge!("job_service_http_requests_in_flight").decrement(1.0);
    }
}
