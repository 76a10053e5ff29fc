//! Progress for people: bars on a terminal, plain lines anywhere else.
#![expect(clippy::print_stdout, reason = "the demo speaks to whoever started it")]

use std::io::IsTerminal as _;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::observed_job::ObservedJob;
use crate::table::grouped;

/// A bar moves in hundredths of a percent, the resolution of the API.
const BAR_LENGTH: u64 = 10_000;
/// A plain line is written whenever a job has come this many percent further.
const LINE_STEP: f64 = 10.0;

/// Where progress is shown.
#[derive(Debug)]
pub(super) struct Screen {
    jobs: Vec<Shown>,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { width: usize, status: String, next_percentage: f64 },
}

impl Screen {
    /// For these jobs, in this order.
    pub(super) fn new(jobs: &[ObservedJob]) -> Self {
        let width = jobs.iter().map(|job| job.id.len()).max().unwrap_or_default();
        if !(std::io::stdout().is_terminal() && std::io::stderr().is_terminal()) {
            let silent = |_| Shown::Lines { width, status: String::new(), next_percentage: 0.0 };
            return Self { jobs: jobs.iter().map(silent).collect() };
        }
        let style = ProgressStyle::with_template("{prefix}  [{bar:32}] {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bars = MultiProgress::new();
        let bar = |job: &ObservedJob| {
            let bar = bars.add(ProgressBar::new(BAR_LENGTH).with_style(style.clone()));
            bar.set_prefix(format!("{:<width$}", job.id));
            Shown::Bar(bar)
        };
        Self { jobs: jobs.iter().map(bar).collect() }
    }

    /// Shows a job as it now is; `note` stands behind its figures.
    pub(super) fn show(&mut self, at: usize, job: &ObservedJob, note: &str) {
        let Some(answer) = &job.latest else { return };
        let percentage = job.percentage().unwrap_or_default();
        match &mut self.jobs[at] {
            Shown::Bar(bar) => {
                bar.set_message(figures(job, note));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a percentage is within 0 and 100"
                )]
                bar.set_position((percentage.clamp(0.0, 100.0) * 100.0) as u64);
            }
            Shown::Lines { width, status, next_percentage } => {
                if *status == answer.status && percentage < *next_percentage {
                    return;
                }
                status.clone_from(&answer.status);
                *next_percentage = ((percentage / LINE_STEP).floor() + 1.0) * LINE_STEP;
                println!("{:<width$}  {}", job.id, figures(job, note));
            }
        }
    }

    /// Leaves the last state on the screen.
    pub(super) fn finish(&self) {
        for shown in &self.jobs {
            if let Shown::Bar(bar) = shown {
                bar.abandon();
            }
        }
    }
}

/// Such as `43.18%  Active  19 of 44 subtasks, 1 failed`.
fn figures(job: &ObservedJob, note: &str) -> String {
    let Some(answer) = &job.latest else { return String::new() };
    let percentage = match job.percentage() {
        Some(percentage) => format!("{percentage:6.2}%"),
        None => "      -".to_owned(),
    };
    let counts = answer.subtasks;
    let mut text = format!("{percentage}  {:<9}", answer.status);
    match counts.total {
        Some(total) => {
            text.push_str(&format!("  {} of {} subtasks", grouped(counts.completed), grouped(total)));
        }
        None if counts.completed > 0 => {
            text.push_str(&format!("  {} subtasks so far", grouped(counts.completed)));
        }
        None => {}
    }
    if counts.failed > 0 {
        text.push_str(&format!(", {} failed", grouped(counts.failed)));
    }
    if !note.is_empty() {
        text.push_str("  ");
        text.push_str(note);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use job_core::Timestamp;

    use super::super::client::{JobView, SubtaskView};
    use super::*;

    fn job(status: &str, percentage: f64, subtasks: SubtaskView) -> ObservedJob {
        let mut job = ObservedJob::new("detect", Timestamp::from_millis(0));
        let answer = JobView {
            status: status.to_owned(),
            percentage_complete: percentage,
            failure_count: 0,
            subtasks,
        };
        job.observe(answer, Timestamp::from_millis(0));
        job
    }

    #[test]
    fn figures_tell_what_is_known_and_no_more() {
        let known = SubtaskView { total: Some(1_044), completed: 19, failed: 1 };
        assert_eq!(
            figures(&job("Failed", 43.18, known), ""),
            " 43.18%  Failed     19 of 1,044 subtasks, 1 failed"
        );
        let unknown = SubtaskView { total: None, completed: 7, failed: 0 };
        assert_eq!(figures(&job("Active", 87.5, unknown), ""), "      -  Active     7 subtasks so far");
        let none = SubtaskView::default();
        assert_eq!(figures(&job("Waiting", 0.0, none), ""), "      -  Waiting");
        assert_eq!(figures(&job("Completed", 100.0, none), "1/s"), "100.00%  Completed  1/s");
    }
}
