//! The command line. Every flag has an environment variable, most of them those of the CAF Job Service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use job_core::query::PAGE_SIZE_DEFAULT;
use tracing_subscriber::filter::LevelFilter;

use super::layers::{layered, needed};
use super::listing::{Setting, settings};
use super::{Config, HealthArguments, LogFormat, Roles, SuspendedPattern, environment, job_types};
use crate::auth::Secret;
use crate::backends::{QueueArguments, StoreArguments};
use crate::client::JobArguments;
use crate::demo::DemoArgs;
use crate::limits::Limits;
use crate::maintenance::{MigrateArguments, PruneArguments, VerifyArguments};
use crate::server::TlsFiles;
use crate::telemetry::CollectorUrl;
use crate::token_command::TokenCommand;

/// A job orchestration engine with a REST API.
///
/// A client creates a job; its first task message goes onto a queue when its prerequisite jobs are done; workers split it
/// into any number of subtasks and report on them; the engine counts, rolls progress up, keeps failures and starts the
/// jobs that depend on it.
#[derive(Debug, Parser)]
#[command(
    name = "job-server",
    version,
    arg_required_else_help = true,
    after_help = "Try it:\n  job-server demo                 a graph of jobs over a corpus of texts, with live progress\n  \
                  job-server serve                the server, on http://127.0.0.1:8080\n  \
                  curl http://127.0.0.1:8080/job-service/v1/ping\n\n\
                  `job-server serve --help` lists every setting and its environment variable."
)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArguments>),
    /// Run a graph of jobs over a directory of texts, with live progress.
    Demo(Box<DemoArgs>),
    /// Bring the schema of the database up to date, check it, or print its SQL.
    Migrate(Box<MigrateArguments>),
    /// Recount what is stored, report what contradicts itself, and correct it when asked to.
    Verify(Box<VerifyArguments>),
    /// Remove finished jobs by age, status and label.
    Prune(Box<PruneArguments>),
    /// Print every setting in force and where it comes from, secrets hidden.
    Config(Box<ConfigArguments>),
    /// Check the database, its schema, the broker, the queues and the clocks, and say what to do.
    Doctor(Box<ServeArguments>),
    /// Create, watch and control jobs of a server.
    Job(Box<JobArguments>),
    /// Check the job type definitions in a directory, without starting anything.
    CheckJobTypes {
        /// The directory; each definition is a file `ID.yaml` in it.
        directory: PathBuf,
    },
    /// Make, list and revoke the tokens that callers show.
    #[command(subcommand)]
    Token(TokenCommand),
}

const SERVE_EXAMPLES: &str = "\
Create a job and look at it:
  curl -X PUT http://127.0.0.1:8080/job-service/v1/partitions/acme/jobs/hello \\
       -H 'Content-Type: application/json' \\
       -d '{\"name\":\"Hello\",\"task\":{\"taskClassifier\":\"W\",\"taskApiVersion\":1,\"taskData\":\"{}\",\"taskPipe\":\"w-in\"}}'
  curl http://127.0.0.1:8080/job-service/v1/partitions/acme/jobs/hello

The whole API: http://127.0.0.1:8080/openapi.yaml
SIGTERM and SIGINT finish what is in hand and stop; a second signal stops at once.";

/// Settings of the server. A flag wins over its variable.
#[derive(Debug, Args)]
pub struct ServeArguments {
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    #[command(flatten)]
    pub(crate) queue: QueueArguments,
    /// Address of the API and its health check; port 0 takes a free one.
    #[arg(long, env = "JOB_SERVICE_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address of the admin endpoints `/ping`, `/healthcheck` and `/metrics`.
    #[arg(long, env = "JOB_SERVICE_ADMIN_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8081")]
    pub admin_listen: SocketAddr,
    /// Certificate for HTTPS, with those that vouch for it behind it, in PEM; read again at SIGHUP.
    #[arg(long, env = "JOB_SERVICE_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, env = "JOB_SERVICE_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Address of the API over HTTPS [default: the port 8443 beside `--listen`].
    #[arg(long, env = "JOB_SERVICE_HTTPS_LISTEN", value_name = "IP:PORT", requires = "tls_certificate")]
    pub https_listen: Option<SocketAddr>,
    /// Port of HTTPS, for a deployment that names it alone.
    #[arg(long, env = "HTTPS_PORT", hide = true, default_value = "8443")]
    pub https_port: u16,
    /// File of the tokens that callers have to show; `job-server token create` makes them.
    #[arg(long, env = "JOB_SERVICE_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Secret that signs the status URLs of workers, at least 32 characters [default: one kept beside the token file].
    /// Several servers over one store need the same. To replace it, put the new one before the old, each on a line.
    #[arg(long, env = "JOB_SERVICE_SECRET", hide_env_values = true, value_name = "TEXT")]
    pub secret: Option<String>,
    /// File to which a record of every change is appended, as lines of JSON [default: the log].
    #[arg(long, env = "JOB_SERVICE_AUDIT_LOG", value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
    /// Listen on an address that others can reach, although nobody has to say who they are.
    #[arg(long, env = "JOB_SERVICE_ALLOW_UNAUTHENTICATED", value_parser = BoolishValueParser::new())]
    pub allow_unauthenticated: bool,
    /// Which parts this process runs, separated by commas.
    #[arg(
        long,
        env = "JOB_SERVICE_ROLES",
        value_name = "ROLES",
        default_value = "api,dispatcher,tracker,stower"
    )]
    pub roles: Roles,
    /// The queue on which workers report.
    #[arg(long, env = "CAF_TRACKING_PIPE", value_name = "QUEUE", default_value = "jobtracking-in")]
    pub tracking_pipe: String,
    /// Where reports that make no sense are answered [default: the tracking queue's name with `-err`].
    #[arg(long, env = "CAF_WORKER_ERROR_QUEUE", value_name = "QUEUE")]
    pub error_queue: Option<String>,
    /// Where messages that cannot be read are put [default: the tracking queue's name with `-reject`].
    #[arg(long, env = "CAF_WORKER_RETRY_QUEUE", value_name = "QUEUE")]
    pub reject_queue: Option<String>,
    /// The queue on which workers put the messages of paused jobs.
    #[arg(
        long,
        env = "CAF_WORKER_PAUSED_QUEUE",
        value_name = "QUEUE",
        default_value = "jobservice-paused-in"
    )]
    pub paused_queue: String,
    /// Announce resumed jobs on this queue too, for workers that stow elsewhere.
    #[arg(long, env = "CAF_JOB_SERVICE_RESUME_JOB_QUEUE", value_name = "QUEUE")]
    pub resume_job_queue: Option<String>,
    /// Look for due jobs whenever anything arrives on this queue.
    #[arg(long, env = "CAF_SCHEDULER_INPUT_QUEUE", value_name = "QUEUE")]
    pub scheduler_input_queue: Option<String>,
    /// Stands in for the error queue where only this one is named.
    #[arg(long, env = "CAF_WORKER_OUTPUT_QUEUE", value_name = "QUEUE", hide = true)]
    pub worker_output_queue: Option<String>,
    /// How long workers may rely on a job's status, in seconds.
    #[arg(long, env = "CAF_STATUS_CHECK_INTERVAL_SECONDS", value_name = "SECONDS", default_value_t = 5)]
    pub status_check_interval_seconds: u32,
    /// Base of the URL at which workers ask for a job's status [default: this server's own].
    #[arg(long, env = "CAF_WEBSERVICE_URL", value_name = "URL")]
    pub webservice_url: Option<String>,
    /// Jobs on a page when a client names no limit; 0 means 25.
    #[arg(
        long, env = "CAF_JOB_SERVICE_PAGE_SIZE", value_name = "JOBS", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=10_000)
    )]
    pub page_size: u32,
    /// Jobs per step when many are cancelled.
    #[arg(
        long, env = "CAF_CANCEL_JOBS_BATCH_LIMIT", value_name = "JOBS", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub cancel_jobs_batch_limit: u32,
    /// Jobs per step when many are deleted.
    #[arg(
        long, env = "CAF_DELETE_JOBS_BATCH_LIMIT", value_name = "JOBS", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub delete_jobs_batch_limit: u32,
    /// Hold the jobs of partitions whose whole id matches.
    #[arg(long, env = "CAF_JOB_SERVICE_SUSPENDED_PARTITIONS_REGEX", value_name = "REGEX")]
    pub suspended_partitions_regex: Option<SuspendedPattern>,
    /// Directory of job type definitions, each a file `ID.yaml` [default: there are no job types].
    #[arg(long, env = "CAF_JOB_SERVICE_JOB_TYPE_DEFINITIONS_DIR", value_name = "DIRECTORY")]
    pub job_type_definitions_dir: Option<PathBuf>,
    /// How often to look for due jobs when nothing wakes the dispatcher, in seconds [default: twice a second].
    #[arg(
        long, env = "CAF_SCHEDULED_EXECUTOR_PERIOD", value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=3_600)
    )]
    pub scheduled_executor_period: Option<u32>,
    /// How long the tracker waits for one more report before it records, in milliseconds.
    #[arg(
        long, env = "JOB_SERVICE_TRACKER_BATCH_MILLIS", value_name = "MILLISECONDS", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(0..=60_000)
    )]
    pub tracker_batch_millis: u32,
    /// How many deliveries the tracker records at most at once.
    #[arg(
        long, env = "JOB_SERVICE_TRACKER_BATCH_SIZE", value_name = "DELIVERIES", default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=30_000)
    )]
    pub tracker_batch_size: u32,
    /// How many reports the tracker may hold besides the one in work [default: twice the batch].
    #[arg(
        long, env = "CAF_RABBITMQ_PREFETCH_BUFFER", value_name = "DELIVERIES", hide = true,
        value_parser = clap::value_parser!(u32).range(0..=100_000)
    )]
    pub rabbitmq_prefetch_buffer: Option<u32>,
    /// Largest request body, in bytes.
    #[arg(
        long, env = "JOB_SERVICE_BODY_BYTES_MAX", value_name = "BYTES", default_value_t = 16 << 20,
        value_parser = clap::value_parser!(u32).range(1..=16 << 20)
    )]
    pub body_bytes_max: u32,
    /// Most connections at once.
    #[arg(
        long, env = "JOB_SERVICE_CONNECTIONS_MAX", value_name = "CONNECTIONS", default_value_t = 1_024,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub connections_max: u32,
    /// Most connections at once from one address. A proxy in front of the server is one address.
    #[arg(
        long, env = "JOB_SERVICE_CONNECTIONS_PER_ADDRESS_MAX", value_name = "CONNECTIONS", default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub connections_per_address_max: u32,
    /// Most requests worked on at once.
    #[arg(
        long, env = "JOB_SERVICE_REQUESTS_MAX", value_name = "REQUESTS", default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub requests_max: u32,
    /// Most requests a second with one token, and twice as many at once after a rest; 0 for any number.
    #[arg(
        long, env = "JOB_SERVICE_TOKEN_RATE_MAX", value_name = "REQUESTS", default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000)
    )]
    pub token_rate_max: u32,
    /// Most live jobs in a partition: those that are not completed, failed or cancelled; 0 for any number.
    #[arg(
        long, env = "JOB_SERVICE_LIVE_JOBS_MAX", value_name = "JOBS", default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000_000)
    )]
    pub live_jobs_max: u32,
    /// How long a stopping server lets requests finish, in seconds.
    #[arg(
        long, env = "JOB_SERVICE_DRAIN_SECONDS", value_name = "SECONDS", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(0..=3_600)
    )]
    pub drain_seconds: u32,
    /// How long a stopping server still takes requests although its readiness check already fails, in seconds: as long as
    /// a load balancer needs to notice.
    #[arg(
        long, env = "JOB_SERVICE_DRAIN_DELAY_SECONDS", value_name = "SECONDS", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=600)
    )]
    pub drain_delay_seconds: u32,
    #[command(flatten)]
    pub(crate) health: HealthArguments,
    /// Send spans of traces to this collector, by OTLP over HTTP: `http[s]://HOST:PORT` [default: to nobody].
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Least level of the log lines: error, warn, info, debug, trace or off.
    #[arg(long, env = "CAF_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = log_level)]
    pub log_level: LevelFilter,
    /// What log lines look like.
    #[arg(long, env = "JOB_SERVICE_LOG_FORMAT", value_name = "FORMAT", default_value = "human")]
    pub log_format: LogFormat,
}

/// The same settings, to be shown instead of used.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    #[command(flatten)]
    pub(crate) settings: ServeArguments,
    #[arg(skip)]
    pub(crate) in_force: Vec<Setting>,
}

impl CommandLine {
    /// Reads the command line and the environment. Ends the process, as is usual, after help or a wrong flag.
    #[must_use]
    pub fn read() -> Self {
        let (command, unreadable) = layered(Self::command(), &environment::read);
        let matches = command.clone().get_matches();
        if let Some(sentence) = needed(&matches, &unreadable) {
            Self::command().error(ErrorKind::Io, sentence).exit();
        }
        let mut line = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        if let Command::Config(arguments) = &mut line.command
            && let Some(("config", matches)) = matches.subcommand()
            && let Some(command) = command.find_subcommand("config")
        {
            arguments.in_force = settings(command, matches, &environment::read);
        }
        line
    }
}

/// The names of the contract's logger as well as ours.
fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(LevelFilter::OFF),
        "fatal" | "error" => Ok(LevelFilter::ERROR),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" | "all" => Ok(LevelFilter::TRACE),
        _ => Err("expected error, warn, info, debug, trace or off".to_owned()),
    }
}

impl ServeArguments {
    /// The settings of an [`App`](crate::App).
    ///
    /// # Errors
    /// A sentence for the operator when settings contradict each other.
    pub fn config(&self) -> anyhow::Result<Config> {
        let not_empty = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let limits = Limits {
            body_bytes_max: self.body_bytes_max as usize,
            connections_max: self.connections_max as usize,
            connections_per_address_max: self.connections_per_address_max as usize,
            requests_max: self.requests_max as usize,
            token_rate_max: self.token_rate_max,
            live_jobs_max: self.live_jobs_max,
            drain_time: Duration::from_secs(self.drain_seconds.into()),
            ..Limits::default()
        };
        let directory = self.job_type_definitions_dir.as_ref().filter(|path| !path.as_os_str().is_empty());
        let job_types = directory.map(|path| job_types::load(path)).transpose()?.unwrap_or_default();
        let config = Config {
            listen: self.listen,
            admin_listen: Some(self.admin_listen),
            tls: self.tls()?,
            https_listen: self.https_listen.unwrap_or(SocketAddr::new(self.listen.ip(), self.https_port)),
            tokens: self.tokens.clone(),
            secret: self.secret()?,
            audit_log: self.audit_log.clone(),
            allow_unauthenticated: self.allow_unauthenticated,
            roles: self.roles.clone(),
            tracking_queue: self.tracking_pipe.clone(),
            error_queue: not_empty(&self.error_queue).or_else(|| not_empty(&self.worker_output_queue)),
            reject_queue: not_empty(&self.reject_queue),
            paused_queue: self.paused_queue.clone(),
            resume_queue: not_empty(&self.resume_job_queue),
            wake_queue: not_empty(&self.scheduler_input_queue),
            status_check_interval: Duration::from_secs(self.status_check_interval_seconds.into()),
            service_url: not_empty(&self.webservice_url),
            page_size: if self.page_size == 0 { PAGE_SIZE_DEFAULT } else { self.page_size },
            cancel_batch: self.cancel_jobs_batch_limit,
            delete_batch: self.delete_jobs_batch_limit,
            suspended_partitions: self.suspended_partitions_regex.clone(),
            job_types,
            dispatch_poll: self
                .scheduled_executor_period
                .map_or(Duration::from_millis(500), |seconds| Duration::from_secs(seconds.into())),
            tracker_batch_idle: Duration::from_millis(self.tracker_batch_millis.into()),
            tracker_batch_size: self.tracker_batch_size as usize,
            drain_delay: Duration::from_secs(self.drain_delay_seconds.into()),
            health: self.health.schedule(),
            collector: self.collector()?,
            prefetch_buffer: self.rabbitmq_prefetch_buffer.map(|buffer| buffer as usize),
            limits,
        };
        config.check()?;
        Ok(config)
    }

    fn tls(&self) -> anyhow::Result<Option<TlsFiles>> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }))
            }
            _ if environment::names_a_keystore() => bail!(
                "SSL_KEYSTORE and its companions name a Java keystore, which this server does not read: set \
                 JOB_SERVICE_TLS_CERTIFICATE and JOB_SERVICE_TLS_KEY to PEM files instead (keytool -importkeystore \
                 -deststoretype PKCS12, then openssl pkcs12 -nodes, makes them), and unset SSL_KEYSTORE"
            ),
            _ => Ok(None),
        }
    }

    fn collector(&self) -> anyhow::Result<Option<CollectorUrl>> {
        let url = self.otlp_endpoint.as_deref().filter(|url| !url.is_empty());
        let parsed = url.map(|url| url.parse().map_err(|why| anyhow::anyhow!("--otlp-endpoint: {why}")));
        parsed.transpose()
    }

    fn secret(&self) -> anyhow::Result<Option<Secret>> {
        self.secret.as_ref().map(|text| Secret::parse(text).context("--secret")).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arguments: &[&str]) -> Result<ServeArguments, String> {
        let line = ["job-server", "serve"].iter().chain(arguments);
        match CommandLine::try_parse_from(line).map_err(|error| error.to_string())?.command {
            Command::Serve(arguments) => Ok(*arguments),
            _ => Err("another command".into()),
        }
    }

    #[test]
    fn the_command_line_is_consistent_and_every_flag_has_a_variable() {
        CommandLine::command().debug_assert();
        let command = CommandLine::command();
        let serve = command.find_subcommand("serve").unwrap();
        for argument in serve.get_arguments().filter(|argument| argument.get_id() != "help") {
            assert!(argument.get_env().is_some(), "{}", argument.get_id());
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let config = serve(&[]).unwrap().config().unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.admin_listen.unwrap().to_string(), "127.0.0.1:8081");
        assert_eq!(config.page_size, 25);
        assert_eq!(config.tracking_queue, "jobtracking-in");
        assert_eq!(config.roles, Roles::all());
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn the_queues_of_a_deployment_are_named() {
        let usual = serve(&[]).unwrap().config().unwrap();
        assert_eq!((usual.resume_queue, usual.wake_queue, usual.error_queue), (None, None, None));
        let arguments = [
            "--resume-job-queue=resume",
            "--scheduler-input-queue=wake",
            "--worker-output-queue=out",
            "--rabbitmq-prefetch-buffer=9",
        ];
        let named = serve(&arguments).unwrap().config().unwrap();
        assert_eq!(named.resume_queue.as_deref(), Some("resume"));
        assert_eq!(named.wake_queue.as_deref(), Some("wake"));
        assert_eq!((named.error_queue.as_deref(), named.prefetch_buffer), (Some("out"), Some(9)));
        let both = ["--worker-output-queue=out", "--error-queue=err", "--resume-job-queue="];
        let named = serve(&both).unwrap().config().unwrap();
        assert_eq!((named.error_queue.as_deref(), named.resume_queue), (Some("err"), None));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, expected) in [
            (&["--listem", "x"][..], "--listen"),
            (&["--listen", "localhost"], "invalid socket address"),
            (&["--roles", "api,x"], "is not a role"),
            (&["--log-level", "loud"], "expected error, warn"),
            (&["--page-size", "10001"], "10000"),
            (&["--suspended-partitions-regex", "("], "regular expression"),
        ] {
            let sentence = serve(arguments).unwrap_err();
            assert!(sentence.contains(expected), "{sentence}");
        }
        let refused = serve(&["--listen", "0.0.0.0:80"]).unwrap().config().unwrap_err().to_string();
        assert!(refused.contains("--allow-unauthenticated"), "{refused}");
    }
}
