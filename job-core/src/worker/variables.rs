//! Settings from the variables that configure a CAF worker's container (messaging contract §7.1).

use std::fmt::Display;
use std::num::{NonZeroU16, NonZeroUsize};
use std::str::FromStr;

use super::batch::BatchAnswer;
use super::settings::RunnerSettings;
use crate::error::{Error, Result};

/// Reads a variable; one that is empty counts as unset.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

fn text(lookup: Lookup<'_>, name: &str) -> Option<String> {
    lookup(name).filter(|value| !value.is_empty())
}

fn number<N: FromStr + PartialOrd + Display + Copy>(
    lookup: Lookup<'_>,
    name: &str,
    least: N,
    most: N,
) -> Result<Option<N>> {
    let Some(value) = text(lookup, name) else { return Ok(None) };
    match value.trim().parse().ok().filter(|number| (least..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => {
            let shown: String = value.chars().take(200).collect();
            Err(Error::invalid(format!(
                "{name} is {shown:?}: expected a whole number from {least} to {most}"
            )))
        }
    }
}

/// Only `true`, in any case, is true, as in the framework.
fn truth(lookup: Lookup<'_>, name: &str) -> Option<bool> {
    text(lookup, name).map(|value| value.trim().eq_ignore_ascii_case("true"))
}

/// The queue that a worker's variables tell it to consume: `CAF_WORKER_INPUT_QUEUE`, else `CAF_WORKER_BASE_QUEUE_NAME`
/// or `CAF_WORKER_NAME` with `-in`; none when all are unset.
#[must_use]
pub fn input_queue(lookup: Lookup<'_>) -> Option<String> {
    text(lookup, "CAF_WORKER_INPUT_QUEUE").or_else(|| Some(format!("{}-in", base_name(lookup)?)))
}

fn base_name(lookup: Lookup<'_>) -> Option<String> {
    text(lookup, "CAF_WORKER_BASE_QUEUE_NAME").or_else(|| text(lookup, "CAF_WORKER_NAME"))
}

/// The queue that gets nothing but the failures of batches.
fn batch_error_queue(lookup: Lookup<'_>) -> Option<String> {
    text(lookup, "CAF_BATCH_WORKER_ERROR_QUEUE")
}

fn batch_output_queue(lookup: Lookup<'_>) -> Option<String> {
    text(lookup, "CAF_WORKER_OUTPUT_QUEUE").or_else(|| Some(format!("{}-out", base_name(lookup)?)))
}

impl BatchAnswer {
    /// What the variables of a CAF batch worker's container ask for (messaging contract §5.5). With
    /// `CAF_BATCH_WORKER_ERROR_QUEUE` set, only failures are answered; else every batch is, on `CAF_WORKER_OUTPUT_QUEUE`,
    /// or `CAF_WORKER_BASE_QUEUE_NAME` or `CAF_WORKER_NAME` with `-out`. When no queue is named, none is.
    #[must_use]
    pub fn from_variables(lookup: Lookup<'_>) -> Self {
        match (batch_error_queue(lookup), batch_output_queue(lookup)) {
            (None, Some(queue)) => Self::Always { queue },
            _ => Self::None,
        }
    }
}

impl RunnerSettings {
    /// The defaults, replaced by what the variables of a CAF worker say. `lookup` reads a variable: this crate does not
    /// touch the environment, so a worker passes `&|name| std::env::var(name).ok()`.
    ///
    /// # Errors
    /// When one is not what it should be; the message names it.
    pub fn from_variables(lookup: Lookup<'_>) -> Result<Self> {
        let usual = Self::default();
        let text = |name| text(lookup, name);
        let concurrency = number(lookup, "CAF_WORKER_THREADS", 1usize, 100_000)?
            .and_then(NonZeroUsize::new)
            .unwrap_or(usual.concurrency);
        let buffer = number(lookup, "CAF_RABBITMQ_PREFETCH_BUFFER", 0usize, 100_000)?;
        let prefetch = buffer.map(|buffer| {
            NonZeroU16::new(u16::try_from(concurrency.get() + buffer).unwrap_or(u16::MAX))
                .unwrap_or(NonZeroU16::MIN)
        });
        Ok(Self {
            name: text("CAF_WORKER_NAME"),
            friendly_name: text("CAF_WORKER_FRIENDLY_NAME"),
            context_key: text("CAF_APPNAME")
                .map_or(usual.context_key, |name| name.trim_start_matches('/').to_owned()),
            output_queue: text("CAF_WORKER_OUTPUT_QUEUE"),
            paused_queue: text("CAF_WORKER_PAUSED_QUEUE"),
            reject_queue: text("CAF_WORKER_REJECT_QUEUE"),
            retry_queue: text("CAF_WORKER_RETRY_QUEUE"),
            retry_limit: number(lookup, "CAF_WORKER_RETRY_LIMIT", 1u32, u32::MAX)?
                .unwrap_or(usual.retry_limit),
            // What is no number is the default, as in the framework.
            report_buffer: text("CAF_WORKER_REPORT_UPDATES_BUFFER_LIMIT")
                .and_then(|value| value.trim().parse().ok())
                .unwrap_or(usual.report_buffer),
            zero_progress: truth(lookup, "CAF_WORKER_DISABLE_ZERO_PROGRESS_REPORTING")
                .map(|disabled| !disabled),
            forward_diverted: truth(lookup, "CAF_WORKER_ENABLE_DIVERTED_TASK_CHECKING")
                .unwrap_or(usual.forward_diverted),
            concurrency,
            prefetch,
            ..Self::default()
        })
    }

    /// As [`from_variables`](Self::from_variables), for a process that only splits batches: what fails is answered on
    /// `CAF_BATCH_WORKER_ERROR_QUEUE` when that is set, else where [`BatchAnswer::from_variables`] answers every batch.
    ///
    /// # Errors
    /// When one is not what it should be; the message names it.
    pub fn from_batch_variables(lookup: Lookup<'_>) -> Result<Self> {
        let output_queue = batch_error_queue(lookup).or_else(|| batch_output_queue(lookup));
        Ok(Self { output_queue, ..Self::from_variables(lookup)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<RunnerSettings> {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        RunnerSettings::from_variables(&lookup)
    }

    #[test]
    fn unset_and_empty_variables_change_nothing() {
        let usual = format!("{:?}", RunnerSettings::default());
        assert_eq!(format!("{:?}", settings(&[]).unwrap()), usual);
        let empty =
            ["CAF_WORKER_THREADS", "CAF_APPNAME", "CAF_WORKER_RETRY_LIMIT", "CAF_WORKER_PAUSED_QUEUE"];
        assert_eq!(format!("{:?}", settings(&empty.map(|name| (name, ""))).unwrap()), usual);
    }

    #[test]
    fn a_container_of_a_java_worker_configures_ours() {
        let settings = settings(&[
            ("CAF_APPNAME", "/caf/ocr"),
            ("CAF_WORKER_FRIENDLY_NAME", "OCR"),
            ("CAF_WORKER_OUTPUT_QUEUE", "ocr-out"),
            ("CAF_WORKER_PAUSED_QUEUE", "paused"),
            ("CAF_WORKER_REJECT_QUEUE", "rejected"),
            ("CAF_WORKER_RETRY_QUEUE", "again"),
            ("CAF_WORKER_RETRY_LIMIT", "3"),
            ("CAF_WORKER_REPORT_UPDATES_BUFFER_LIMIT", "9"),
            ("CAF_WORKER_DISABLE_ZERO_PROGRESS_REPORTING", "TRUE"),
            ("CAF_WORKER_ENABLE_DIVERTED_TASK_CHECKING", "no"),
            ("CAF_WORKER_THREADS", "4"),
            ("CAF_RABBITMQ_PREFETCH_BUFFER", "100000"),
        ])
        .unwrap();
        assert_eq!(
            (settings.context_key.as_str(), settings.friendly_name.as_deref()),
            ("caf/ocr", Some("OCR"))
        );
        let queues =
            [&settings.output_queue, &settings.paused_queue, &settings.reject_queue, &settings.retry_queue];
        assert_eq!(queues.map(|queue| queue.as_deref().unwrap()), ["ocr-out", "paused", "rejected", "again"]);
        assert_eq!((settings.retry_limit, settings.report_buffer.get()), (3, 9));
        assert_eq!((settings.zero_progress, settings.forward_diverted), (Some(false), false));
        assert_eq!((settings.concurrency.get(), settings.prefetch.map(NonZeroU16::get)), (4, Some(u16::MAX)));
    }

    #[test]
    fn a_batch_worker_answers_as_its_container_says() {
        let of = |variables: &[(&str, &str)]| {
            let lookup = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            let settings = RunnerSettings::from_batch_variables(&lookup).unwrap();
            (BatchAnswer::from_variables(&lookup), settings.output_queue)
        };
        let always = |queue: &str| (BatchAnswer::Always { queue: queue.into() }, Some(queue.into()));
        let (name, output) = (("CAF_WORKER_NAME", "batch"), ("CAF_WORKER_OUTPUT_QUEUE", "out"));
        let errors = ("CAF_BATCH_WORKER_ERROR_QUEUE", "batch-worker-err");
        assert_eq!(of(&[]), (BatchAnswer::None, None));
        assert_eq!(of(&[name]), always("batch-out"));
        assert_eq!(of(&[name, ("CAF_WORKER_BASE_QUEUE_NAME", "base")]), always("base-out"));
        assert_eq!(of(&[name, output, ("CAF_BATCH_WORKER_ERROR_QUEUE", "")]), always("out"));
        assert_eq!(of(&[name, output, errors]), (BatchAnswer::None, Some("batch-worker-err".into())));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (name, value) in [
            ("CAF_WORKER_RETRY_LIMIT", "0"),
            ("CAF_WORKER_RETRY_LIMIT", "often"),
            ("CAF_WORKER_THREADS", "-1"),
            ("CAF_RABBITMQ_PREFETCH_BUFFER", "100001"),
        ] {
            let error = settings(&[(name, value)]).unwrap_err();
            assert!(error.message().contains(name) && error.message().contains(value), "{error}");
        }
        let lenient = settings(&[("CAF_WORKER_REPORT_UPDATES_BUFFER_LIMIT", "many")]).unwrap();
        assert_eq!(lenient.report_buffer.get(), 5);
    }

    #[test]
    fn the_input_queue_follows_from_the_name() {
        let of = |variables: &[(&str, &str)]| {
            input_queue(&|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("CAF_WORKER_NAME", "ocr")]).as_deref(), Some("ocr-in"));
        let base = ("CAF_WORKER_BASE_QUEUE_NAME", "text");
        assert_eq!(of(&[("CAF_WORKER_NAME", "ocr"), base]).as_deref(), Some("text-in"));
        assert_eq!(of(&[base, ("CAF_WORKER_INPUT_QUEUE", "q")]).as_deref(), Some("q"));
    }
}
