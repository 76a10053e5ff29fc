//! The command `doctor`: looks at everything a server will need, and says what to do about what is wrong.
#![expect(clippy::print_stdout, reason = "the command speaks to whoever typed it")]

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use job_core::queue::TaskQueue;
use job_core::store::JobStore as _;
use job_core::{Clock, ClockExt, SystemClock};
use job_queue_amqp::AmqpQueue;
use job_store_postgres::{PostgresStore, SchemaState};

use crate::backends::connect;
use crate::config::{Config, ServeArguments, unknown_variables};

/// A backend that takes longer to answer is taken for absent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clocks further apart make delays and retry times visibly wrong.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(2);
/// Entries that have been due for longer mean that no dispatcher is at work.
const DUE_FOR_LONG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Well,
    /// It works, but somebody should know.
    Note,
    Wrong,
}

/// What was looked at, what was seen, and what to do about it.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    subject: &'static str,
    seen: String,
    advice: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Well => "ok",
            Verdict::Note => "note",
            Verdict::Wrong => "WRONG",
        };
        write!(f, "{verdict:<6} {:<14} {}", self.subject, self.seen)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "\n{:22}-> {}", "", self.advice) }
    }
}

/// The findings so far, each shown as soon as it is there.
#[derive(Debug, Default)]
struct Examination {
    wrong: bool,
}

impl Examination {
    fn note(
        &mut self,
        verdict: Verdict,
        subject: &'static str,
        seen: impl Into<String>,
        advice: &'static str,
    ) {
        self.wrong |= verdict == Verdict::Wrong;
        println!("{}", Finding { verdict, subject, seen: seen.into(), advice });
    }

    fn well(&mut self, subject: &'static str, seen: impl Into<String>) {
        self.note(Verdict::Well, subject, seen, "");
    }

    fn wrong(&mut self, subject: &'static str, seen: impl Into<String>, advice: &'static str) {
        self.note(Verdict::Wrong, subject, seen, advice);
    }
}

/// Examines; 0 when nothing is wrong, 1 otherwise.
pub(crate) async fn run(arguments: &ServeArguments) -> anyhow::Result<ExitCode> {
    let mut examination = Examination::default();
    let config = match arguments.config() {
        Ok(config) => {
            examination.well("settings", "they make sense; `job-server config` shows them");
            config
        }
        Err(error) => {
            examination.wrong("settings", format!("{error:#}"), "correct the setting that is named");
            return Ok(ExitCode::FAILURE);
        }
    };
    for unknown in unknown_variables() {
        examination.note(Verdict::Note, "settings", unknown.to_string(), "correct or remove it");
    }
    store(arguments, &mut examination).await;
    queue(arguments, &config, &mut examination).await;
    Ok(if examination.wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn store(arguments: &ServeArguments, examination: &mut Examination) {
    let database = match arguments.store.database() {
        Ok(Some(database)) => database,
        Ok(None) => {
            examination.note(
                Verdict::Note,
                "store",
                "jobs are kept in memory and are lost when the server stops",
                "for jobs that are to last, set JOB_SERVICE_STORE=postgres://user:password@host:port/database",
            );
            return;
        }
        Err(error) => {
            return examination.wrong("store", format!("{error:#}"), "correct JOB_SERVICE_STORE");
        }
    };
    let clock = SystemClock::new();
    let store = match clock.timeout(PATIENCE, connect(database)).await {
        Ok(Ok(store)) => store,
        Ok(Err(error)) => {
            return examination.wrong(
                "database",
                format!("{error:#}"),
                "is the database up, is it reached from here, and are name, user and password right?",
            );
        }
        Err(_) => {
            return examination.wrong(
                "database",
                format!("no answer within {} s", PATIENCE.as_secs()),
                "is a firewall between here and there, or is the host name wrong?",
            );
        }
    };
    examination.well("database", "it is reached and new enough");
    database_clock(&store, &clock, examination).await;
    let fits = match store.schema().await {
        Ok(state) => schema(state, arguments.store.migrates(), examination),
        Err(error) => {
            examination.wrong("schema", error.message(), "look into the log of the database");
            false
        }
    };
    if fits {
        outbox(&store, &clock, examination).await;
    }
    store.close().await;
}

/// Answers whether a server can work on it as it is.
fn schema(state: SchemaState, migrates: bool, examination: &mut Examination) -> bool {
    let seen = state.to_string();
    match state {
        SchemaState::UpToDate => examination.well("schema", seen),
        SchemaState::Older { .. } if migrates => examination.note(
            Verdict::Note,
            "schema",
            seen,
            "the next start brings it up to date, or run `job-server migrate`",
        ),
        SchemaState::Older { .. } => {
            examination.wrong("schema", seen, "run `job-server migrate` with a user that may create tables");
        }
        SchemaState::Newer { .. } => examination.wrong(
            "schema",
            seen,
            "a newer server has been here: use its version, since this one will refuse to start",
        ),
        SchemaState::Different { .. } => examination.wrong(
            "schema",
            seen,
            "no server will start on it: is it the database of something else, or was its table job_schema_version \
             changed? `job-server migrate --print` shows what each version should be",
        ),
    }
    state == SchemaState::UpToDate
}

async fn database_clock(store: &PostgresStore, clock: &SystemClock, examination: &mut Examination) {
    let before = clock.now();
    let there = match store.clock().await {
        Ok(there) => there,
        Err(error) => {
            return examination.wrong("clock", error.message(), "look into the log of the database");
        }
    };
    let after = clock.now();
    let apart = before.since(there).max(there.since(after));
    let seen = format!("it differs from the database's by {} ms at least", apart.as_millis());
    if apart > CLOCKS_APART_MAX {
        examination.wrong(
            "clock",
            seen,
            "set both clocks by NTP: delays, retries and leases go by this machine's",
        );
    } else {
        examination.well("clock", seen);
    }
}

async fn outbox(store: &PostgresStore, clock: &SystemClock, examination: &mut Examination) {
    let overview = match store.overview(clock.now()).await {
        Ok(overview) => overview,
        Err(error) => {
            return examination.wrong("outbox", error.message(), "look into the log of the database");
        }
    };
    let jobs: u64 = overview.jobs.values().sum();
    examination.well("jobs", format!("{jobs} in the store"));
    let age = overview.oldest_due.map(|due| clock.now().since(due)).unwrap_or_default();
    let seen = format!(
        "{} messages are due, the oldest for {} s; {} were tried in vain",
        overview.due,
        age.as_secs(),
        overview.failing
    );
    if overview.failing > 0 || age > DUE_FOR_LONG {
        let advice = "is a server with the role dispatcher running, and is its broker up? `blockedBy` of a waiting job says why";
        examination.note(Verdict::Note, "outbox", seen, advice);
    } else {
        examination.well("outbox", seen);
    }
}

async fn queue(arguments: &ServeArguments, config: &Config, examination: &mut Examination) {
    let broker = match arguments.queue.broker() {
        Ok(Some(broker)) => broker,
        Ok(None) => {
            examination.note(
                Verdict::Note,
                "queue",
                "messages stay in this process, so only workers inside it get any",
                "for workers elsewhere, set JOB_SERVICE_QUEUE=amqp://user:password@host:port/vhost",
            );
            return;
        }
        Err(error) => {
            return examination.wrong("queue", format!("{error:#}"), "correct the setting that is named");
        }
    };
    let clock = SystemClock::new();
    let queue: Arc<dyn TaskQueue> = match clock.timeout(PATIENCE, AmqpQueue::connect(broker)).await {
        Ok(Ok(queue)) => Arc::new(queue),
        Ok(Err(error)) => {
            return examination.wrong(
                "broker",
                error.to_string(),
                "is RabbitMQ up, is it reached from here, and are user, password and virtual host right?",
            );
        }
        Err(_) => {
            return examination.wrong(
                "broker",
                format!("no answer within {} s", PATIENCE.as_secs()),
                "is a firewall between here and there, or is the host name wrong?",
            );
        }
    };
    examination.well("broker", "it is reached and lets us in");
    let tracker = config.tracker();
    for (name, is_set_aside) in [
        (&tracker.queue, false),
        (&config.paused_queue, false),
        (&tracker.error_queue, true),
        (&tracker.reject_queue, true),
    ] {
        depth(queue.as_ref(), name, is_set_aside, examination).await;
    }
    queue.close().await;
}

async fn depth(queue: &dyn TaskQueue, name: &str, is_set_aside: bool, examination: &mut Examination) {
    match queue.depth(name).await {
        Ok(None) => {
            examination.well("queue", format!("{name} does not exist yet; it is declared when it is needed"))
        }
        Ok(Some(messages)) if is_set_aside && messages > 0 => examination.note(
            Verdict::Note,
            "queue",
            format!("{name} holds {messages} messages that were set aside"),
            "look at their x-caf-worker-rejected header or task data for the reason",
        ),
        Ok(Some(messages)) => examination.well("queue", format!("{name} holds {messages} messages")),
        Err(error) => examination.wrong(
            "queue",
            format!("{name}: {}", error.message()),
            "may the broker's user configure, write and read it?",
        ),
    }
}
