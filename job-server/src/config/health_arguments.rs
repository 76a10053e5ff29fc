//! The contract's variables for health checks. Without them the answers are the truth, at most a second old.

use clap::Args;

use super::values::Length;
use crate::health::{CheckSchedule, HealthSchedule};

/// How often the checks behind the health endpoints are made.
#[derive(Debug, Clone, Args)]
pub(crate) struct HealthArguments {
    /// Liveness: nothing is checked for this long after the start, and the answer is no [default: at once].
    #[arg(long, env = "JOB_SERVICE_LIVENESS_INITIAL_DELAY_DURATION", hide = true, value_name = "LENGTH")]
    liveness_initial_delay_duration: Option<Length>,
    /// Liveness: how long a good result stands [default: 1s].
    #[arg(long, env = "JOB_SERVICE_LIVENESS_CHECK_INTERVAL_DURATION", hide = true, value_name = "LENGTH")]
    liveness_check_interval_duration: Option<Length>,
    /// Liveness: how long a bad result stands [default: 250ms].
    #[arg(long, env = "JOB_SERVICE_LIVENESS_DOWNTIME_INTERVAL_DURATION", hide = true, value_name = "LENGTH")]
    liveness_downtime_interval_duration: Option<Length>,
    /// Liveness: bad results in a row that make it fail [default: 1].
    #[arg(long, env = "JOB_SERVICE_LIVENESS_FAILURE_ATTEMPTS", hide = true, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=100))]
    liveness_failure_attempts: Option<u32>,
    /// Liveness: good results in a row that make it well again [default: 1].
    #[arg(long, env = "JOB_SERVICE_LIVENESS_SUCCESS_ATTEMPTS", hide = true, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=100))]
    liveness_success_attempts: Option<u32>,
    /// Readiness: nothing is checked for this long after the start, and the answer is no [default: at once].
    #[arg(long, env = "JOB_SERVICE_READINESS_INITIAL_DELAY_DURATION", hide = true, value_name = "LENGTH")]
    readiness_initial_delay_duration: Option<Length>,
    /// Readiness: how long a good result stands [default: 1s].
    #[arg(long, env = "JOB_SERVICE_READINESS_CHECK_INTERVAL_DURATION", hide = true, value_name = "LENGTH")]
    readiness_check_interval_duration: Option<Length>,
    /// Readiness: how long a bad result stands [default: 250ms].
    #[arg(
        long,
        env = "JOB_SERVICE_READINESS_DOWNTIME_INTERVAL_DURATION",
        hide = true,
        value_name = "LENGTH"
    )]
    readiness_downtime_interval_duration: Option<Length>,
    /// Readiness: bad results in a row that make it fail [default: 1].
    #[arg(long, env = "JOB_SERVICE_READINESS_FAILURE_ATTEMPTS", hide = true, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=100))]
    readiness_failure_attempts: Option<u32>,
    /// Readiness: good results in a row that make it well again [default: 1].
    #[arg(long, env = "JOB_SERVICE_READINESS_SUCCESS_ATTEMPTS", hide = true, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=100))]
    readiness_success_attempts: Option<u32>,
}

impl HealthArguments {
    pub(super) fn schedule(&self) -> HealthSchedule {
        HealthSchedule {
            alive: schedule(
                [
                    self.liveness_initial_delay_duration,
                    self.liveness_check_interval_duration,
                    self.liveness_downtime_interval_duration,
                ],
                [self.liveness_failure_attempts, self.liveness_success_attempts],
            ),
            ready: schedule(
                [
                    self.readiness_initial_delay_duration,
                    self.readiness_check_interval_duration,
                    self.readiness_downtime_interval_duration,
                ],
                [self.readiness_failure_attempts, self.readiness_success_attempts],
            ),
        }
    }
}

fn schedule(
    [initial_delay, check_interval, downtime_interval]: [Option<Length>; 3],
    [failure_attempts, success_attempts]: [Option<u32>; 2],
) -> CheckSchedule {
    let default = CheckSchedule::default();
    let length = |given: Option<Length>, otherwise| given.map_or(otherwise, |Length(length)| length);
    CheckSchedule {
        initial_delay: length(initial_delay, default.initial_delay),
        check_interval: length(check_interval, default.check_interval),
        downtime_interval: length(downtime_interval, default.downtime_interval),
        failure_attempts: failure_attempts.unwrap_or(default.failure_attempts),
        success_attempts: success_attempts.unwrap_or(default.success_attempts),
    }
}
