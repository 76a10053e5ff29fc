//! Waiting for a job, with a bar for people.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use job_core::JobStatus;
use serde_json::Value;

use super::http::{Service, Unreachable};
use super::text;

/// A bar moves in hundredths of a percent, the resolution of the API.
const BAR_LENGTH: u64 = 10_000;
/// How long one request waits: short where somebody watches.
const WATCHED_SECONDS: u64 = 1;
const UNWATCHED_SECONDS: u64 = 30;
/// How long a server may stay away, as while it restarts, once it has answered.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until the job is finished and returns it.
pub(super) async fn wait(
    service: &Service,
    id: &str,
    timeout: Option<u64>,
    may_draw: bool,
) -> anyhow::Result<Value> {
    let watched = may_draw && std::io::stderr().is_terminal();
    let bar = watched.then(|| bar(id));
    let started = service.clock.now();
    let mut last_answer = None;
    loop {
        let waited = service.clock.now().since(started).as_secs();
        let asked = service.clock.now();
        let left = timeout.map_or(u64::MAX, |timeout| timeout.saturating_sub(waited));
        let seconds = left.min(if watched { WATCHED_SECONDS } else { UNWATCHED_SECONDS });
        match service.get(&service.job(id, &format!("?wait={seconds}"))).await {
            Ok(reply) => {
                let job = reply.json()?;
                last_answer = Some(service.clock.now());
                let status = job["status"].as_str().unwrap_or_default();
                if let Some(bar) = &bar {
                    show(bar, &job, status);
                }
                if self::status(&job).is_some_and(JobStatus::is_finished) {
                    if let Some(bar) = &bar {
                        bar.finish_and_clear();
                    }
                    return Ok(job);
                }
                if left == 0 {
                    bail!("{} is still {status} after {waited} seconds", text::printable(id));
                }
                // A server that does not know how to wait answers at once.
                let pause = PAUSE.min(Duration::from_secs(seconds));
                service.clock.sleep(pause.saturating_sub(service.clock.now().since(asked))).await;
            }
            Err(error) => {
                let away = last_answer.map(|answer| service.clock.now().since(answer));
                let is_passing = error.downcast_ref::<Unreachable>().is_some();
                if !is_passing || left == 0 || away.is_none_or(|away| away > PATIENCE) {
                    return Err(error);
                }
                service.clock.sleep(PAUSE).await;
            }
        }
    }
}

/// None for one that this program does not know.
pub(super) fn status(job: &Value) -> Option<JobStatus> {
    job["status"].as_str()?.parse().ok()
}

fn bar(id: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix}  [{bar:32}] {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::new(BAR_LENGTH).with_style(style).with_prefix(text::printable(id))
}

fn show(bar: &ProgressBar, job: &Value, status: &str) {
    let (subtasks, hindrance) = (text::subtasks(job), text::hindrance(job));
    let rest = if hindrance.is_empty() { subtasks } else { hindrance };
    bar.set_message(format!("{}  {status}  {rest}", text::percentage(job)));
    let percentage = job["percentageComplete"].as_f64().unwrap_or_default().clamp(0.0, 100.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 0 and 100")]
    bar.set_position((percentage * 100.0) as u64);
}
