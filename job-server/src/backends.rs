//! Which store and which queue: their flags and variables, and opening them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use job_core::queue::TaskQueue;
use job_core::store::JobStore;
use job_core::{Clock, SystemClock};
use job_queue_amqp::{AmqpOptions, AmqpQueue, QueueType};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;
use job_store_postgres::{PostgresOptions, PostgresStore};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// Where jobs are kept.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArguments {
    /// What keeps the jobs: `memory` (nothing outlives the process) or `postgres://user:password@host:port/database`
    /// [default: PostgreSQL when `JOB_SERVICE_DATABASE_HOST` is set, else `memory`].
    #[arg(long, env = "JOB_SERVICE_STORE", hide_env_values = true, value_name = "URL")]
    store: Option<String>,
    /// Refuse to start on a schema of another version instead of migrating it.
    #[arg(long, env = "JOB_SERVICE_NO_MIGRATE", value_parser = clap::builder::BoolishValueParser::new())]
    no_migrate: bool,
    /// Host of the database, for a deployment that names it in parts.
    #[arg(long, env = "JOB_SERVICE_DATABASE_HOST", hide = true)]
    database_host: Option<String>,
    /// Port of the database.
    #[arg(long, env = "JOB_SERVICE_DATABASE_PORT", hide = true, default_value = "5432")]
    database_port: u16,
    /// Name of the database.
    #[arg(long, env = "JOB_SERVICE_DATABASE_NAME", hide = true, default_value = "jobservice")]
    database_name: String,
    /// User of the database.
    #[arg(long, env = "JOB_SERVICE_DATABASE_USERNAME", hide = true, default_value = "postgres")]
    database_username: String,
    /// Password of that user.
    #[arg(
        long,
        env = "JOB_SERVICE_DATABASE_PASSWORD",
        hide = true,
        hide_env_values = true,
        default_value = ""
    )]
    database_password: String,
    /// Name that the database shows for our connections.
    #[arg(long, env = "JOB_SERVICE_DATABASE_APPNAME", hide = true, default_value = "job-service")]
    database_appname: String,
}

/// What carries messages.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueueArguments {
    /// What carries the messages: `memory` (workers run in this process) or `amqp[s]://user:password@host:port/vhost`
    /// [default: RabbitMQ when `CAF_RABBITMQ_HOST` is set, else `memory`].
    #[arg(long, env = "JOB_SERVICE_QUEUE", hide_env_values = true, value_name = "URL")]
    queue: Option<String>,
    /// Type of the queues that are declared: `quorum` or `classic`. One that exists is used as it is.
    #[arg(long, env = "CAF_RABBITMQ_QUEUE_TYPE", default_value = "quorum", value_parser = ["quorum", "classic"])]
    rabbitmq_queue_type: String,
    /// Priorities of the classic queues that are declared; 0 for none.
    #[arg(long, env = "CAF_RABBITMQ_MAX_PRIORITY", default_value = "0", hide = true)]
    rabbitmq_max_priority: u8,
    /// Protocol of the broker, for a deployment that names it in parts.
    #[arg(long, env = "CAF_RABBITMQ_PROTOCOL", hide = true, default_value = "amqp")]
    rabbitmq_protocol: String,
    /// Host of the broker.
    #[arg(long, env = "CAF_RABBITMQ_HOST", hide = true)]
    rabbitmq_host: Option<String>,
    /// Port of the broker.
    #[arg(long, env = "CAF_RABBITMQ_PORT", hide = true, default_value = "5672")]
    rabbitmq_port: u16,
    /// User of the broker.
    #[arg(long, env = "CAF_RABBITMQ_USERNAME", hide = true, default_value = "guest")]
    rabbitmq_username: String,
    /// Password of that user.
    #[arg(long, env = "CAF_RABBITMQ_PASSWORD", hide = true, hide_env_values = true, default_value = "guest")]
    rabbitmq_password: String,
    /// Files of certificates in PEM, separated by commas: authorities that may vouch for the broker, beside those that this
    /// machine trusts. They are read at the start, when the protocol is `amqps`.
    #[arg(long, env = "SSL_CA_CRT", value_name = "FILES")]
    ssl_ca_crt: Option<String>,
    /// The directory in which those files lie [default: the working directory].
    #[arg(long, env = "SSL_CA_CRT_DIR", value_name = "DIRECTORY")]
    ssl_ca_crt_dir: Option<PathBuf>,
}

/// Whether there is a certificate in PEM and every one can be trusted as that of an authority.
fn holds_authorities(text: &[u8]) -> bool {
    let mut authorities = RootCertStore::empty();
    let mut certificates = CertificateDer::pem_slice_iter(text);
    certificates.all(|certificate| certificate.is_ok_and(|certificate| authorities.add(certificate).is_ok()))
        && !authorities.is_empty()
}

fn named(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// Only the scheme of a URL is echoed: what follows may hold a password.
fn scheme(url: &str) -> String {
    url.split(':').next().unwrap_or_default().chars().take(20).collect()
}

impl StoreArguments {
    /// Whether an old schema is brought up to date at the start.
    pub(crate) fn migrates(&self) -> bool {
        !self.no_migrate
    }

    /// The database these arguments name; none when jobs are to be kept in memory.
    ///
    /// # Errors
    /// A sentence for the operator when they make no sense.
    pub(crate) fn database(&self) -> anyhow::Result<Option<PostgresOptions>> {
        let options = match (named(self.store.as_ref()), named(self.database_host.as_ref())) {
            (Some(url), _) => database_at(url)?,
            (None, None) => None,
            (None, Some(host)) => {
                let escaped = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
                let user = escaped(&self.database_username);
                let login = match self.database_password.as_str() {
                    "" => user,
                    password => format!("{user}:{}", escaped(password)),
                };
                database_at(&format!(
                    "postgres://{login}@{host}:{}/{}",
                    self.database_port,
                    escaped(&self.database_name)
                ))?
            }
        };
        Ok(options.map(|options| options.with_application_name(self.database_appname.clone())))
    }

    /// Opens the store, its schema brought up to date or checked.
    ///
    /// # Errors
    /// A sentence for the operator: wrong arguments, or a database that is absent, too old, of a newer schema or refuses
    /// the login.
    pub(crate) async fn open(&self) -> anyhow::Result<Arc<dyn JobStore>> {
        match self.database()? {
            None => Ok(Arc::new(MemoryStore::new())),
            Some(database) if self.no_migrate => {
                let store = connect(database).await?;
                store.validate().await.context("the store cannot be used")?;
                Ok(Arc::new(store))
            }
            Some(database) => open_database(database).await,
        }
    }
}

/// The database at a URL; none when it says `memory`.
///
/// # Errors
/// A sentence for the operator when it is neither.
pub(crate) fn database_at(url: &str) -> anyhow::Result<Option<PostgresOptions>> {
    match url {
        "memory" => Ok(None),
        _ if url.starts_with("postgres://") || url.starts_with("postgresql://") => PostgresOptions::new(url)
            .map(Some)
            .map_err(|error| anyhow::anyhow!("--store: {}", error.message())),
        _ => bail!(
            "--store: a store of the kind {:?} is not known: expected memory or postgres://user:password@host:port/database",
            scheme(url)
        ),
    }
}

/// The broker at a URL; none when it says `memory`.
///
/// # Errors
/// A sentence for the operator when it is neither.
pub(crate) fn broker_at(url: &str) -> anyhow::Result<Option<AmqpOptions>> {
    match url {
        "memory" => Ok(None),
        _ if url.starts_with("amqp://") || url.starts_with("amqps://") => AmqpOptions::from_uri(url)
            .map(Some)
            .map_err(|error| anyhow::anyhow!("--queue: {}", error.message())),
        _ => bail!(
            "--queue: a queue of the kind {:?} is not known: expected memory or amqp[s]://user:password@host:port/vhost",
            scheme(url)
        ),
    }
}

/// Connects to a database, whatever its schema.
///
/// # Errors
/// A sentence for the operator: a database that is absent, too old or refuses the login.
pub(crate) async fn connect(database: PostgresOptions) -> anyhow::Result<PostgresStore> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    PostgresStore::connect(database, clock).await.context("the store cannot be used")
}

/// Opens a database with its schema brought up to date.
///
/// # Errors
/// As [`connect`], and when the schema is newer than this program or may not be changed.
pub(crate) async fn open_database(database: PostgresOptions) -> anyhow::Result<Arc<dyn JobStore>> {
    let store = connect(database).await?;
    let applied = store.migrate().await.context("the schema of the store cannot be brought up to date")?;
    if !applied.is_empty() {
        tracing::info!(?applied, "the schema of the store was brought up to date");
    }
    Ok(Arc::new(store))
}

impl QueueArguments {
    /// The broker these arguments name; none when messages are to stay in the process.
    ///
    /// # Errors
    /// A sentence for the operator when they make no sense.
    pub(crate) fn broker(&self) -> anyhow::Result<Option<AmqpOptions>> {
        let options = match (named(self.queue.as_ref()), named(self.rabbitmq_host.as_ref())) {
            (Some(url), _) => broker_at(url)?,
            (None, None) => None,
            (None, Some(host)) => {
                let options = AmqpOptions::from_parts(
                    &self.rabbitmq_protocol,
                    host,
                    self.rabbitmq_port,
                    &self.rabbitmq_username,
                    &self.rabbitmq_password,
                );
                Some(options.map_err(|error| anyhow::anyhow!("--queue: {}", error.message()))?)
            }
        };
        let queue_type =
            if self.rabbitmq_queue_type == "classic" { QueueType::Classic } else { QueueType::Quorum };
        let Some(options) = options else { return Ok(None) };
        let options = options.with_queue_type(queue_type).with_max_priority(self.rabbitmq_max_priority);
        match named(self.ssl_ca_crt.as_ref()) {
            Some(files) if options.is_encrypted() => {
                Ok(Some(options.with_ca_certificates(self.authorities(files)?)))
            }
            _ => Ok(Some(options)),
        }
    }

    /// The certificates in all of `files`.
    fn authorities(&self, files: &str) -> anyhow::Result<String> {
        let directory = self.ssl_ca_crt_dir.as_deref().unwrap_or(Path::new(""));
        let mut pem = String::new();
        for file in files.split(',').map(str::trim).filter(|file| !file.is_empty()) {
            let file = directory.join(file);
            let named = format!("SSL_CA_CRT (--ssl-ca-crt) names {}", file.display());
            let text = std::fs::read(&file).with_context(|| format!("{named}, which cannot be read"))?;
            ensure!(
                holds_authorities(&text),
                "{named}, which holds no certificate in PEM, or a damaged one (openssl x509 -inform der makes PEM of DER)"
            );
            pem.push_str(&String::from_utf8_lossy(&text));
            pem.push('\n');
        }
        Ok(pem)
    }

    /// Opens the queue. A broker that is down is waited for: jobs are accepted meanwhile.
    ///
    /// # Errors
    /// A sentence for the operator when the arguments make no sense.
    pub(crate) fn open(&self) -> anyhow::Result<Arc<dyn TaskQueue>> {
        Ok(match self.broker()? {
            None => Arc::new(MemoryQueue::new()),
            Some(options) => Arc::new(AmqpQueue::start(&options)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        store: StoreArguments,
        #[command(flatten)]
        queue: QueueArguments,
    }

    fn line(arguments: &[&str]) -> Line {
        Line::parse_from(["x"].iter().chain(arguments))
    }

    #[test]
    fn a_database_or_broker_is_named_by_url_or_in_parts() {
        assert!(line(&[]).store.database().unwrap().is_none());
        assert!(line(&["--store", "memory", "--database-host", "db"]).store.database().unwrap().is_none());
        let parts = ["--database-host", "db", "--database-password", "p@ss:/word", "--rabbitmq-host", "mq"];
        let shown = format!("{:?}", line(&parts).store.database().unwrap().unwrap());
        assert!(shown.contains("\"db\"") && shown.contains("5432") && !shown.contains("p@ss"), "{shown}");
        assert!(line(&parts).queue.broker().unwrap().is_some());
        assert!(line(&["--queue", "amqp://u:p@mq:5672/v"]).queue.broker().unwrap().is_some());
    }

    #[test]
    fn authorities_of_the_broker_lie_in_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| std::fs::write(directory.path().join(name), content).unwrap();
        let authority = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert;
        let (one, two) = (authority("one"), authority("two"));
        file("one.crt", one.pem().trim_end().as_bytes());
        file("two.crt", two.pem().as_bytes());
        file("two.der", two.der());
        file("cut.crt", one.pem().replacen("MI", "", 1).as_bytes());
        let broker = |protocol: &str, files: &str| {
            let directory = directory.path().to_str().unwrap();
            let parts = ["--rabbitmq-host", "mq", "--ssl-ca-crt-dir", directory];
            line(&[&parts[..], &["--rabbitmq-protocol", protocol, "--ssl-ca-crt", files]].concat())
                .queue
                .broker()
        };
        let trusted = format!("{:?}", broker("amqps", "one.crt, two.crt").unwrap().unwrap());
        assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 2, "{trusted}");
        for (files, why) in [
            ("one.crt,none.crt", "none.crt, which cannot be read"),
            ("two.der", "two.der, which holds no certificate in PEM"),
            ("cut.crt,one.crt", "cut.crt, which holds no certificate in PEM, or a damaged one"),
        ] {
            let sentence = broker("amqps", files).unwrap_err().to_string();
            assert!(sentence.starts_with("SSL_CA_CRT") && sentence.contains(why), "{sentence}");
            // Nothing is encrypted, so nobody has to vouch for anything.
            assert!(broker("amqp", files).unwrap().is_some());
        }
    }

    #[test]
    fn what_is_not_known_is_refused_without_its_secrets() {
        for (flag, url) in [("--store", "mysql://u:hunter2@h/d"), ("--queue", "kafka://u:hunter2@h")] {
            let line = line(&[flag, url]);
            let sentence = line.store.database().err().or(line.queue.broker().err()).unwrap().to_string();
            assert!(sentence.contains("expected memory or") && !sentence.contains("hunter2"), "{sentence}");
        }
        let sentence =
            line(&["--store", "postgres://u:hunter2@h:port/d"]).store.database().unwrap_err().to_string();
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
}
