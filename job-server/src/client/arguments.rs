//! The command line of the client.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

/// What `--help` ends with.
const EXIT_CODES: &str = "Exit codes: 0 when it was done, and after waiting when the job was completed or cancelled; \
                          1 when the job that was waited for has failed; 2 when it could not be done, or not in time";

/// Talk to a server about its jobs.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct JobArguments {
    #[command(flatten)]
    pub(super) connection: ConnectionArguments,
    #[command(subcommand)]
    pub(super) command: JobCommand,
}

#[derive(Debug, Args)]
pub(super) struct ConnectionArguments {
    /// The server, by HTTP or HTTPS.
    #[arg(
        long,
        global = true,
        env = "JOB_SERVICE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub(super) server: String,
    /// The partition of the jobs.
    #[arg(
        long,
        short,
        global = true,
        env = "JOB_SERVICE_PARTITION",
        value_name = "ID",
        default_value = "default"
    )]
    pub(super) partition: String,
    /// Says who you are, to a server that asks.
    #[arg(long, global = true, env = "JOB_SERVICE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(super) token: Option<String>,
    /// Who vouches for the server's certificate, in PEM, instead of those whom this machine trusts.
    #[arg(long, global = true, env = "JOB_SERVICE_CA_FILE", value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Send the token also where it can be read on the way.
    #[arg(long, global = true)]
    pub(super) send_token_in_clear: bool,
    /// Print the server's JSON instead of text for people.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum JobCommand {
    /// Create a job from JSON in a file or on standard input; repeating the same request changes nothing.
    Create {
        /// The new job.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// Where its JSON is; `-` is standard input.
        #[arg(long, short, value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// Wait until it is completed, failed or cancelled.
        #[arg(long)]
        wait: bool,
        /// How long to wait at most, in seconds [default: as long as it takes].
        #[arg(long, value_name = "SECONDS", requires = "wait")]
        timeout: Option<u64>,
    },
    /// Show a job.
    Get {
        /// The job.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
    /// List jobs.
    List {
        #[command(flatten)]
        selection: SelectionArguments,
        /// Only All, `NotCompleted`, Completed, Inactive or `NotFinished`.
        #[arg(long, value_name = "TYPE")]
        status_type: Option<String>,
        /// The order, such as `name:asc` [default: createTime:desc].
        #[arg(long, value_name = "FIELD:DIRECTION")]
        sort: Option<String>,
        /// How many to show.
        #[arg(long, value_name = "JOBS", default_value_t = 25)]
        limit: usize,
    },
    /// Wait until a job is completed, failed or cancelled.
    Wait {
        /// The job.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// How long at most, in seconds [default: as long as it takes].
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    /// Stop jobs for good.
    Cancel(TargetArguments),
    /// Remove jobs and everything about them.
    Delete(TargetArguments),
    /// Hold jobs.
    Pause {
        /// The jobs.
        #[arg(required = true, value_parser = NonEmptyStringValueParser::new())]
        ids: Vec<String>,
    },
    /// Let paused jobs go on.
    Resume {
        /// The jobs.
        #[arg(required = true, value_parser = NonEmptyStringValueParser::new())]
        ids: Vec<String>,
    },
    /// Publish the first task message of unfinished jobs once more, after a queue has lost its messages.
    Redispatch {
        /// The jobs.
        #[arg(required = true, value_parser = NonEmptyStringValueParser::new())]
        ids: Vec<String>,
    },
    /// Show how far the subtasks of a job are.
    Tree {
        /// The job.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// Begin at this task, such as 1.7.
        #[arg(long, value_name = "TASK", default_value = "")]
        path: String,
        /// How many levels to show.
        #[arg(long, value_name = "LEVELS", default_value_t = 3)]
        depth: u32,
        /// How many subtasks of each task to show.
        #[arg(long, value_name = "TASKS", default_value_t = 20)]
        limit: u32,
    },
    /// Show why tasks of a job failed.
    Failures {
        /// The job.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// How many to show.
        #[arg(long, value_name = "FAILURES", default_value_t = 100)]
        limit: usize,
    },
    /// Show what a job waits for and what waits for it.
    Graph {
        /// The job.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// How many jobs to show.
        #[arg(long, value_name = "JOBS", default_value_t = 100)]
        limit: u32,
    },
}

/// Which jobs.
#[derive(Debug, Args)]
pub(super) struct SelectionArguments {
    /// Only jobs that match, such as `status==Failed;labels.team==blue`.
    #[arg(long, value_name = "RSQL", value_parser = NonEmptyStringValueParser::new())]
    pub(super) filter: Option<String>,
    /// Only jobs whose ids begin so.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) prefix: Option<String>,
    /// Only jobs with one of these labels.
    #[arg(long = "label", value_name = "NAME", value_parser = label_name)]
    pub(super) labels: Vec<String>,
}

/// Nothing that a server could take for no restriction at all, as it does with what an unset variable of a script leaves.
fn label_name(text: &str) -> Result<String, &'static str> {
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || "-_:".contains(character);
    if text.is_empty() || !text.chars().all(is_of_name) {
        return Err("expected the name of a label, of letters, digits, '-', '_' and ':'");
    }
    Ok(text.to_owned())
}

impl SelectionArguments {
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let labels = Some(self.labels.join(",")).filter(|labels| !labels.is_empty());
        let given = [
            ("filter", self.filter.clone()),
            ("jobIdStartsWith", self.prefix.clone()),
            ("labelExist", labels),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Jobs by name or by selection.
#[derive(Debug, Args)]
pub(super) struct TargetArguments {
    /// The jobs.
    #[arg(
        value_parser = NonEmptyStringValueParser::new(),
        required_unless_present_any = ["filter", "prefix", "labels", "all"],
        conflicts_with_all = ["filter", "prefix", "labels", "all"]
    )]
    pub(super) ids: Vec<String>,
    #[command(flatten)]
    pub(super) selection: SelectionArguments,
    /// Every job of the partition.
    #[arg(long)]
    pub(super) all: bool,
}
