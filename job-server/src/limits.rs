//! How much a client may ask of this process, all in one place.

use std::time::Duration;

/// Bounds on connections, requests and time. Everything a client controls has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request body, before and after decompression; beyond it 413.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies in memory at once; beyond it 503.
    pub bodies_bytes_max: usize,
    /// Bytes of the names and values of one request's headers; beyond it 431.
    pub header_bytes_max: usize,
    /// Headers of one request; beyond it 431.
    pub headers_max: usize,
    /// Bytes of a request's target; beyond it 414.
    pub url_bytes_max: usize,
    /// Until a request's head must be complete. It also ends connections that stay idle.
    pub header_time: Duration,
    /// Until a request's body must be complete; beyond it 408.
    pub body_time: Duration,
    /// How long a body may come more slowly than [`body_rate_min`](Self::body_rate_min).
    pub body_grace: Duration,
    /// Least bytes per second of a body, once the grace is over; below it 408.
    pub body_rate_min: usize,
    /// Until a request must be answered; beyond it 503, while its work goes on.
    pub handler_time: Duration,
    /// The same for actions on all selected jobs, which take as long as there are jobs: each step of them has
    /// [`handler_time`](Self::handler_time), and all have this.
    pub bulk_time: Duration,
    /// How long a client may leave an answer unread.
    pub write_stall_time: Duration,
    /// Connections at once; further ones get 503 and are closed.
    pub connections_max: usize,
    /// Connections at once from one address; further ones get 503 and are closed.
    pub connections_per_address_max: usize,
    /// Requests being worked on at once; beyond it 503.
    pub requests_max: usize,
    /// Status checks of workers at once, which have places of their own; beyond it 503.
    pub status_checks_max: usize,
    /// Long polls at once; beyond it 503.
    pub waits_max: usize,
    /// Requests a second with one token, and twice as many at once after a rest; beyond it 429. Zero for any number.
    pub token_rate_max: u32,
    /// Live jobs of a partition, those that are not finished; beyond it creates get 429. Zero for any number.
    pub live_jobs_max: u32,
    /// How long a stopping server lets requests finish.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 << 20,
            bodies_bytes_max: 256 << 20,
            header_bytes_max: 16 << 10,
            headers_max: 64,
            url_bytes_max: 8 << 10,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            body_grace: Duration::from_secs(5),
            body_rate_min: 1 << 10,
            handler_time: Duration::from_secs(10),
            bulk_time: Duration::from_secs(300),
            write_stall_time: Duration::from_secs(30),
            connections_max: 1_024,
            connections_per_address_max: 256,
            requests_max: 256,
            status_checks_max: 256,
            waits_max: 512,
            token_rate_max: 500,
            live_jobs_max: 1_000_000,
            drain_time: Duration::from_secs(20),
        }
    }
}
