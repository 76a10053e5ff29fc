//! Variables that look like ours and are not.
//!
//! Beside clap this file is the only door to the environment.

use clap::CommandFactory as _;

use super::CommandLine;

/// Variables of the contract that concern parts this server does not have, such as a Java machine.
const WITHOUT_EFFECT: &[&str] = &[
    "JOB_SERVICE_API_CONFIG_PATH",
    "JOB_SERVICE_INTERNAL_PING_URL",
    "JOB_SERVICE_JAVA_OPTS",
    "JOB_SERVICE_LIVENESS_CHECK_INTERVAL_DURATION",
    "JOB_SERVICE_LIVENESS_DOWNTIME_INTERVAL_DURATION",
    "JOB_SERVICE_LIVENESS_FAILURE_ATTEMPTS",
    "JOB_SERVICE_LIVENESS_INITIAL_DELAY_DURATION",
    "JOB_SERVICE_LIVENESS_SUCCESS_ATTEMPTS",
    "JOB_SERVICE_READINESS_CHECK_INTERVAL_DURATION",
    "JOB_SERVICE_READINESS_DOWNTIME_INTERVAL_DURATION",
    "JOB_SERVICE_READINESS_FAILURE_ATTEMPTS",
    "JOB_SERVICE_READINESS_INITIAL_DELAY_DURATION",
    "JOB_SERVICE_READINESS_SUCCESS_ATTEMPTS",
];

/// The value that the operator gave a property of a job type: that of the variable of its name, or of the same with `_`
/// in the place of each `-` and `.`, which few shells allow in names.
pub(super) fn configuration_property(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this file is the door to the environment")]
    let read = |name: &str| std::env::var(name).ok();
    read(name).or_else(|| read(&name.replace(['-', '.'], "_")))
}

/// Names of variables of this process that begin like ours and mean nothing to it: misspelt, usually.
#[must_use]
pub fn unknown_variables() -> Vec<String> {
    let mut unknown: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| is_unknown(name))
        .collect();
    unknown.sort();
    unknown
}

/// Whether the variables are set that make the CAF Job Service open HTTPS from a Java keystore.
pub(super) fn names_a_keystore() -> bool {
    let names = ["SSL_KEYSTORE_PATH", "SSL_KEYSTORE", "SSL_KEYSTORE_PASSWORD", "SSL_CERT_ALIAS"];
    let is_set = |name: &&str| std::env::vars_os().any(|(set, value)| set == *name && !value.is_empty());
    names.iter().all(is_set)
}

fn is_unknown(name: &str) -> bool {
    let command = CommandLine::command();
    let known = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .filter_map(clap::Arg::get_env)
        .any(|known| known == name);
    name.starts_with("JOB_SERVICE_") && !known && !WITHOUT_EFFECT.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_misspelt_variables_are_unknown() {
        assert!(is_unknown("JOB_SERVICE_LISTEM"));
        assert!(configuration_property("PATH").is_some());
        for known in ["JOB_SERVICE_LISTEN", "JOB_SERVICE_JAVA_OPTS", "CAF_LOG_LEVEL", "PATH"] {
            assert!(!is_unknown(known), "{known}");
        }
    }
}
