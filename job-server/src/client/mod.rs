//! The command `job`: a client of any server of the contract.

mod arguments;
mod http;
mod text;
mod waiting;

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use job_core::JobStatus;
use serde_json::{Value, json};

pub use arguments::JobArguments;
use arguments::{JobCommand, TargetArguments};
use http::{Service, Unreachable, escaped};

/// Jobs that are asked for at once: a larger page would only come later as a whole.
const PAGE_MAX: usize = 1_000;
/// Largest body that a server takes.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// Runs a command of the client.
///
/// # Errors
/// A sentence for whoever called: the server cannot be reached or refuses.
pub(crate) async fn run(arguments: &JobArguments) -> anyhow::Result<ExitCode> {
    let service = Service::new(&arguments.connection)?;
    let client = Client { service, json: arguments.connection.json };
    client.run(&arguments.command).await
}

struct Client {
    service: Service,
    json: bool,
}

impl Client {
    async fn run(&self, command: &JobCommand) -> anyhow::Result<ExitCode> {
        let service = &self.service;
        match command {
            JobCommand::Create { id, file, wait, timeout } => {
                self.create(id, file).await?;
                if *wait {
                    return self.wait(id, *timeout).await;
                }
            }
            JobCommand::Get { id } => {
                let job = service.get(&service.job(id, "")).await?.json()?;
                self.show(&job, text::job)?;
            }
            JobCommand::List { selection, status_type, sort, limit } => {
                let mut parameters = selection.parameters();
                parameters.extend(status_type.clone().map(|value| ("statusType", value)));
                parameters.extend(sort.clone().map(|value| ("sort", value)));
                let jobs = self.pages(&service.path("/jobs"), &parameters, *limit).await?;
                self.show(&jobs, text::jobs)?;
            }
            JobCommand::Wait { id, timeout } => return self.wait(id, *timeout).await,
            JobCommand::Cancel(target) => self.many("cancel", target).await?,
            JobCommand::Delete(target) => self.many("delete", target).await?,
            JobCommand::Pause { ids } => self.each(ids, "pause").await?,
            JobCommand::Resume { ids } => self.each(ids, "resume").await?,
            JobCommand::Redispatch { ids } => self.each(ids, "redispatch").await?,
            JobCommand::Tree { id, path, depth, limit } => {
                let job = service.get(&service.job(id, "")).await?.json()?;
                let tasks = self.tasks(id, path, *depth, *limit).await?;
                self.show(&json!({ "job": job, "tasks": tasks }), text::tree)?;
            }
            JobCommand::Failures { id, limit } => {
                let failures = self.pages(&service.job(id, "/failures"), &[], *limit).await?;
                self.show(&failures, text::failures)?;
            }
            JobCommand::Graph { id, limit } => {
                let target = service.job(id, &format!("/dependencies?limit={limit}"));
                self.show(&service.get(&target).await?.json()?, text::graph)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn create(&self, id: &str, file: &Path) -> anyhow::Result<()> {
        let body = read_body(file)?;
        let reply = self.service.send(Method::PUT, &self.service.job(id, ""), body).await?;
        let is_new = reply.status == StatusCode::CREATED;
        let said = if is_new { "created" } else { "was created before by the same request" };
        self.show(&json!({ "id": id, "created": is_new }), |_| format!("{} {said}\n", text::printable(id)))
    }

    async fn wait(&self, id: &str, timeout: Option<u64>) -> anyhow::Result<ExitCode> {
        let job = waiting::wait(&self.service, id, timeout, !self.json).await?;
        self.show(&job, |job| {
            let status = job["status"].as_str().unwrap_or_default();
            format!("{} is {status}\n", text::printable(id))
        })?;
        let is_failed = waiting::status(&job).is_some_and(|status| status == JobStatus::Failed);
        if is_failed && !self.json {
            eprint!("{}", text::reasons(&job));
        }
        Ok(if is_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Each job by itself. One that cannot be done keeps nobody from the others, as long as the server can be reached.
    async fn each(&self, ids: &[String], action: &str) -> anyhow::Result<()> {
        let mut left = Vec::new();
        for id in ids {
            let sent = match action {
                "delete" => self.service.send(Method::DELETE, &self.service.job(id, ""), Bytes::new()).await,
                _ => self.service.post(&self.service.job(id, &format!("/{action}"))).await,
            };
            match sent {
                Ok(_) => self.done(id, action)?,
                Err(error) if error.is::<Unreachable>() => return Err(error),
                Err(error) => left.push(format!("{}: {error}", text::printable(id))),
            }
        }
        if left.is_empty() { Ok(()) } else { bail!("{}", left.join("\n")) }
    }

    async fn many(&self, action: &str, target: &TargetArguments) -> anyhow::Result<()> {
        if target.ids.is_empty() {
            let path = with_parameters(
                &self.service.path(&format!("/jobs:{action}")),
                &target.selection.parameters(),
            );
            let count = self.service.post(&path).await?.json()?;
            return self.show(&count, |count| {
                let number = count.as_object().and_then(|members| members.values().next()).cloned();
                let number = number.and_then(|number| number.as_u64()).unwrap_or_default();
                format!("{number} {} {}\n", if number == 1 { "job" } else { "jobs" }, past(action))
            });
        }
        self.each(&target.ids, action).await
    }

    fn done(&self, id: &str, action: &str) -> anyhow::Result<()> {
        self.show(&json!({ "id": id, "done": action }), |_| {
            format!("{} {}\n", text::printable(id), past(action))
        })
    }

    /// The first `limit` entries of a list, over as many pages as it takes.
    async fn pages(&self, path: &str, parameters: &[(&str, String)], limit: usize) -> anyhow::Result<Value> {
        let mut entries = Vec::new();
        let page = limit.clamp(1, PAGE_MAX);
        let mut target = with_parameters(path, &[parameters, &[("limit", page.to_string())]].concat());
        let mut is_more = true;
        while entries.len() < limit {
            let reply = self.service.get(&target).await?;
            let Value::Array(more) = reply.json()? else { bail!("the server's answer is not a list") };
            entries.extend(more);
            match reply.next {
                Some(next) => target = next,
                None => {
                    is_more = false;
                    break;
                }
            }
        }
        let is_cut = entries.len() > limit || (entries.len() == limit && is_more);
        entries.truncate(limit);
        if is_cut && !self.json {
            eprintln!("There are more; --limit shows more of them.");
        }
        Ok(entries.into())
    }

    /// Tasks below `path`, each with its own under `tasks`.
    async fn tasks(&self, id: &str, path: &str, depth: u32, limit: u32) -> anyhow::Result<Vec<Value>> {
        if depth == 0 {
            return Ok(Vec::new());
        }
        let target = self.service.job(id, &format!("/tasks?path={}&limit={limit}", escaped(path)));
        let reply = self.service.get(&target).await?;
        let Value::Array(mut tasks) = reply.json()? else { bail!("the server's answer is not a list") };
        for task in &mut tasks {
            let has_some = task["subtasks"]["completed"] != 0
                || !task["subtasks"]["total"].is_null()
                || task["subtasks"]["failed"] != 0;
            if let Some(path) = task["path"].as_str().map(str::to_owned).filter(|_| has_some) {
                task["tasks"] = Box::pin(self.tasks(id, &path, depth - 1, limit)).await?.into();
            }
        }
        if reply.next.is_some() {
            tasks.push(json!({ "more": true }));
        }
        Ok(tasks)
    }

    /// Prints JSON or text. That nobody reads it any more, as behind `| head`, is no error.
    fn show(&self, value: &Value, text: impl Fn(&Value) -> String) -> anyhow::Result<()> {
        let output = if self.json { format!("{value:#}\n") } else { text(value) };
        match std::io::stdout().lock().write_all(output.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// What has happened to a job that an action was done to.
fn past(action: &str) -> &str {
    match action {
        "cancel" => "cancelled",
        "delete" => "deleted",
        "pause" => "paused",
        "resume" => "resumed",
        "redispatch" => "will be dispatched again",
        other => other,
    }
}

fn with_parameters(path: &str, parameters: &[(&str, String)]) -> String {
    let parameters: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    if parameters.is_empty() { path.to_owned() } else { format!("{path}?{}", parameters.join("&")) }
}

fn read_body(file: &Path) -> anyhow::Result<Bytes> {
    let mut body = Vec::new();
    // One byte more than a server takes lets the server say so.
    if file == Path::new("-") {
        if std::io::stdin().is_terminal() {
            bail!(
                "the job's JSON is read from standard input, which is a terminal: give --file FILE, or a pipe"
            );
        }
        std::io::stdin().lock().take(BODY_BYTES_MAX + 1).read_to_end(&mut body).context("standard input")?;
    } else {
        let unreadable = || format!("--file: {} cannot be read", file.display());
        let opened = std::fs::File::open(file).with_context(unreadable)?;
        opened.take(BODY_BYTES_MAX + 1).read_to_end(&mut body).with_context(unreadable)?;
    }
    Ok(body.into())
}
