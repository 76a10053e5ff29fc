//! What the operator decides: flags and environment variables, checked before anything starts.

mod arguments;
mod contract;
#[cfg(test)]
mod documentation;
mod environment;
mod health_arguments;
mod job_types;
mod layers;
mod listing;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use job_core::dispatcher::TrackingSettings;
use job_core::job_type::JobTypes;
use job_core::query::PAGE_SIZE_DEFAULT;
use job_core::tracker::TrackerSettings;

pub use arguments::{Command, CommandLine, ServeArguments};
pub use environment::{UnknownVariable, unknown_variables};
pub(crate) use health_arguments::HealthArguments;
pub(crate) use job_types::check as check_job_types;
pub(crate) use listing::show as show_settings;
pub use values::{LogFormat, Role, Roles, SuspendedPattern};

use crate::auth::Secret;
use crate::health::HealthSchedule;
use crate::limits::Limits;
use crate::server::TlsFiles;
use crate::telemetry::CollectorUrl;

/// Everything a server needs to know, except its store and its queue.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the API; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the admin endpoints, if there are to be any.
    pub admin_listen: Option<SocketAddr>,
    /// The certificate of HTTPS; without one there is none.
    pub tls: Option<TlsFiles>,
    /// Address of the API over HTTPS, when there is a certificate; port 0 takes a free one.
    pub https_listen: SocketAddr,
    /// The file of tokens that callers have to show; without one anybody may do everything.
    pub tokens: Option<PathBuf>,
    /// Signs the status URLs of workers, who show no tokens; by default a secret kept beside the token file.
    pub secret: Option<Secret>,
    /// The file that gets a record of every change; without one the log does.
    pub audit_log: Option<PathBuf>,
    /// Whether an address that others can reach is taken although nobody has to say who they are.
    pub allow_unauthenticated: bool,
    /// Which parts this process runs.
    pub roles: Roles,
    /// The queue of reports, and where those go that make no sense or cannot be read.
    pub tracking_queue: String,
    /// Answers to reports that make no sense; by default the tracking queue's name with `-err`.
    pub error_queue: Option<String>,
    /// Messages that cannot be read; by default the tracking queue's name with `-reject`.
    pub reject_queue: Option<String>,
    /// The queue on which workers put the messages of paused jobs.
    pub paused_queue: String,
    /// Where resumed jobs are announced, for workers that stow elsewhere.
    pub resume_queue: Option<String>,
    /// A queue of wake-ups for the dispatcher.
    pub wake_queue: Option<String>,
    /// How long workers may rely on a job's status.
    pub status_check_interval: Duration,
    /// Base of the URL at which workers ask for a status; by default this process' own.
    pub service_url: Option<String>,
    /// Jobs on a page when a client names no limit.
    pub page_size: u32,
    /// Jobs per step of a bulk cancel.
    pub cancel_batch: u32,
    /// Jobs per step of a bulk delete.
    pub delete_batch: u32,
    /// Partitions whose jobs are accepted and held.
    pub suspended_partitions: Option<SuspendedPattern>,
    /// What jobs can be made of by name.
    pub job_types: JobTypes,
    /// How often the outbox is looked at when nobody wakes the dispatcher.
    pub dispatch_poll: Duration,
    /// How long the tracker waits for one more report before it records a batch.
    pub tracker_batch_idle: Duration,
    /// How many deliveries it records at most at once.
    pub tracker_batch_size: usize,
    /// How long a stopping server still takes requests, not ready any more, so that load balancers turn away first.
    pub drain_delay: Duration,
    /// How often the checks behind the health endpoints are made.
    pub health: HealthSchedule,
    /// How many reports may be in hand besides the one that is recorded; by default twice the batch.
    pub prefetch_buffer: Option<usize>,
    /// The collector that spans are sent to, by a process that serves; without one nobody gets any.
    pub collector: Option<CollectorUrl>,
    /// Bounds on what clients may do.
    pub limits: Limits,
}

impl Default for Config {
    /// On loopback, at free ports, with every part.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            admin_listen: None,
            tls: None,
            https_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tokens: None,
            secret: None,
            audit_log: None,
            allow_unauthenticated: false,
            roles: Roles::all(),
            tracking_queue: "jobtracking-in".to_owned(),
            error_queue: None,
            reject_queue: None,
            paused_queue: "jobservice-paused-in".to_owned(),
            resume_queue: None,
            wake_queue: None,
            status_check_interval: Duration::from_secs(5),
            service_url: None,
            page_size: PAGE_SIZE_DEFAULT,
            cancel_batch: 100,
            delete_batch: 100,
            suspended_partitions: None,
            job_types: JobTypes::default(),
            dispatch_poll: Duration::from_millis(500),
            tracker_batch_idle: Duration::from_millis(5),
            tracker_batch_size: 1_000,
            drain_delay: Duration::ZERO,
            health: HealthSchedule::default(),
            prefetch_buffer: None,
            collector: None,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Refuses what would be unsafe, with a sentence that says what to change.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.tokens.is_none() && !self.allow_unauthenticated {
            for (address, flag) in self.addresses() {
                if !address.ip().is_loopback() {
                    bail!(
                        "{flag} is {address}, which others can reach, and nobody has to say who they are: pass --tokens FILE \
                         (job-server token create makes one), listen on 127.0.0.1 or [::1], or pass \
                         --allow-unauthenticated if the network keeps strangers out"
                    );
                }
            }
        }
        Ok(())
    }

    /// Whether no other machine can reach what this one listens on.
    pub(crate) fn is_local(&self) -> bool {
        self.addresses().all(|(address, _)| address.ip().is_loopback())
    }

    /// What this process listens on, and the flag of each.
    fn addresses(&self) -> impl Iterator<Item = (SocketAddr, &'static str)> {
        let has_api = self.roles.has(Role::Api);
        let https = (has_api && self.tls.is_some()).then_some(self.https_listen);
        let http = has_api.then_some(self.listen);
        [(http, "--listen"), (https, "--https-listen"), (self.admin_listen, "--admin-listen")]
            .into_iter()
            .filter_map(|(address, flag)| Some((address?, flag)))
    }

    /// What goes into the messages, when the API listens at `address`.
    pub(crate) fn tracking(&self, address: Option<SocketAddr>) -> TrackingSettings {
        let own_url = || {
            let address = address?;
            let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { host(address) };
            Some(format!("http://{host}:{}/job-service/v1", address.port()))
        };
        TrackingSettings {
            tracking_queue: self.tracking_queue.clone(),
            service_url: self.service_url.clone().or_else(own_url),
            status_capability: None,
            status_check_interval: self.status_check_interval,
        }
    }

    /// How the tracker works.
    pub(crate) fn tracker(&self) -> TrackerSettings {
        let mut settings = TrackerSettings::new(self.tracking_queue.clone());
        if let Some(queue) = &self.error_queue {
            settings.error_queue.clone_from(queue);
        }
        if let Some(queue) = &self.reject_queue {
            settings.reject_queue.clone_from(queue);
        }
        settings.batch.size = self.tracker_batch_size;
        settings.batch.idle = self.tracker_batch_idle;
        settings.batch.time_max = settings.batch.time_max.max(self.tracker_batch_idle);
        let in_hand = match self.prefetch_buffer {
            None => self.tracker_batch_size.saturating_mul(2),
            Some(buffer) => buffer.saturating_add(1),
        };
        settings.prefetch = u16::try_from(in_hand).unwrap_or(u16::MAX);
        // A batch that waits for more than may be in hand would always wait its whole time.
        settings.batch.size = settings.batch.size.min(settings.prefetch.into());
        settings
    }
}

fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_can_reach_needs_a_word() {
        let mut config = Config { listen: "0.0.0.0:8080".parse().unwrap(), ..Config::default() };
        let sentence = config.check().unwrap_err().to_string();
        assert!(sentence.contains("--listen") && sentence.contains("--allow-unauthenticated"), "{sentence}");
        config.allow_unauthenticated = true;
        assert!(config.check().is_ok());
        config = Config { admin_listen: Some("[::]:8081".parse().unwrap()), ..Config::default() };
        assert!(config.check().unwrap_err().to_string().contains("--admin-listen"));
        assert!(Config { listen: "[::1]:0".parse().unwrap(), ..Config::default() }.check().is_ok());
        // Nothing listens there.
        let (listen, roles) = ("0.0.0.0:8080".parse().unwrap(), "dispatcher".parse().unwrap());
        let config = Config { listen, roles, ..Config::default() };
        assert!(config.check().is_ok() && config.is_local());
    }

    #[test]
    fn a_batch_is_never_larger_than_what_may_be_in_hand() {
        let of = |size, buffer| {
            let config =
                Config { tracker_batch_size: size, prefetch_buffer: buffer, ..Config::default() }.tracker();
            (config.batch.size, config.prefetch)
        };
        assert_eq!(of(1_000, None), (1_000, 2_000));
        assert_eq!(of(1_000, Some(1_000)), (1_000, 1_001));
        assert_eq!(of(1_000, Some(0)), (1, 1));
        assert_eq!(of(30_000, Some(100_000)), (30_000, u16::MAX));
    }

    #[test]
    fn workers_are_told_where_to_ask() {
        let config = Config::default();
        let url = |address: &str| config.tracking(Some(address.parse().unwrap())).service_url.unwrap();
        assert_eq!(url("127.0.0.1:9"), "http://127.0.0.1:9/job-service/v1");
        assert_eq!(url("[::1]:9"), "http://[::1]:9/job-service/v1");
        assert_eq!(url("0.0.0.0:9"), "http://localhost:9/job-service/v1");
        let config = Config { service_url: Some("http://jobs/v1".into()), ..config };
        assert_eq!(config.tracking(None).service_url.unwrap(), "http://jobs/v1");
    }
}
