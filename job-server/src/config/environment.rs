//! The environment: variables that look like ours and are not, and the only door to it beside clap.

use std::ffi::OsString;
use std::fmt;

use clap::CommandFactory as _;

use super::CommandLine;
use super::contract::{ELSEWHERE, WITHOUT_EFFECT};
use super::layers::{file_variable, variable};

/// How alike two names have to be for one to be taken for the other misspelt; 1 is the same.
const ALIKE: f64 = 0.93;

/// What the variable `name` holds.
#[expect(clippy::disallowed_methods, reason = "this file is the door to the environment")]
pub(super) fn read(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The value that the operator gave a property of a job type: that of the variable of its name, or of the same with `_`
/// in the place of each `-` and `.`, which few shells allow in names.
pub(super) fn configuration_property(name: &str) -> Option<String> {
    let read = |name: &str| read(name).and_then(|value| value.into_string().ok());
    read(name).or_else(|| read(&name.replace(['-', '.'], "_")))
}

/// A variable of this process that means nothing to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The known name that is most like it, if one is.
    pub nearest: Option<String>,
    /// What to set instead, for one that another process would heed.
    pub instead: Option<&'static str>,
}

/// One sentence for the operator, without a full stop.
impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} means nothing here", self.name)?;
        match (self.instead, &self.nearest) {
            (Some(instead), _) => write!(f, ": {instead}"),
            (None, Some(nearest)) => write!(f, "; is {nearest} meant?"),
            (None, None) => Ok(()),
        }
    }
}

/// Variables of this process that begin like ours and mean nothing to it, and those that are nearly spelt like one of
/// ours.
#[must_use]
pub fn unknown_variables() -> Vec<UnknownVariable> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    unknown_among(names)
}

fn unknown_among(names: impl IntoIterator<Item = String>) -> Vec<UnknownVariable> {
    let known = known_variables();
    let mut unknown: Vec<UnknownVariable> =
        names.into_iter().filter_map(|name| judge(name, &known)).collect();
    unknown.sort_by(|a, b| a.name.cmp(&b.name));
    unknown
}

/// Whether the variables are set that make the CAF Job Service open HTTPS from a Java keystore.
pub(super) fn names_a_keystore() -> bool {
    let names = ["SSL_KEYSTORE_PATH", "SSL_KEYSTORE", "SSL_KEYSTORE_PASSWORD", "SSL_CERT_ALIAS"];
    names.iter().all(|name| read(name).is_some_and(|value| !value.is_empty()))
}

/// Other programs have variables that begin with `CAF_`, so there only a name that is nearly one of ours is noticed.
fn judge(name: String, known: &[String]) -> Option<UnknownVariable> {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name) {
        return Some(UnknownVariable { name, nearest: None, instead: Some(instead) });
    }
    let is_ours = name.starts_with("JOB_SERVICE_");
    if !(is_ours || name.starts_with("CAF_")) || known.contains(&name) {
        return None;
    }
    let likeness = known.iter().map(|known| (strsim::jaro_winkler(known, &name), known));
    let nearest = likeness.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(alike, _)| *alike >= ALIKE);
    let nearest = nearest.map(|(_, known)| known.clone());
    (is_ours || nearest.is_some()).then_some(UnknownVariable { name, nearest, instead: None })
}

/// Every variable that some command reads, and those that an existing deployment may set in vain.
fn known_variables() -> Vec<String> {
    let heedless = WITHOUT_EFFECT.iter().chain(ELSEWHERE);
    let mut known: Vec<String> = heedless.map(|(name, _)| (*name).to_owned()).collect();
    let mut commands = vec![CommandLine::command()];
    while let Some(command) = commands.pop() {
        known.extend(command.get_arguments().filter_map(variable));
        known.extend(command.get_arguments().filter_map(file_variable));
        commands.extend(command.get_subcommands().cloned());
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str) -> Option<Option<String>> {
        unknown_among([name.to_owned()]).pop().map(|unknown| unknown.nearest)
    }

    #[test]
    fn only_misspelt_variables_are_unknown() {
        for (misspelt, meant) in [
            ("JOB_SERVICE_LISTEM", "JOB_SERVICE_LISTEN"),
            ("CAF_RABBITMQ_HOSTS", "CAF_RABBITMQ_HOST"),
            ("CAF_TRACKING_PIPES", "CAF_TRACKING_PIPE"),
            ("CAF_RABBITMQ_PASWORD", "CAF_RABBITMQ_PASSWORD"),
            ("JOB_SERVICE_DATABASE_PASSWORD_FIL", "JOB_SERVICE_DATABASE_PASSWORD_FILE"),
        ] {
            assert_eq!(judged(misspelt), Some(Some(meant.to_owned())), "{misspelt}");
        }
        assert_eq!(judged("JOB_SERVICE_ZZZ"), Some(None));
        for fine in [
            "JOB_SERVICE_LISTEN",
            "JOB_SERVICE_JAVA_OPTS",
            "CAF_LOG_LEVEL",
            "CAF_RABBITMQ_PASSWORD_FILE",
            "JOB_SERVICE_LIVENESS_FAILURE_ATTEMPTS",
            "CAF_AUDIT_HOST",
            "PATH",
        ] {
            assert_eq!(judged(fine), None, "{fine}");
        }
    }

    #[test]
    fn what_another_process_would_heed_is_told_about() {
        for (name, said) in [
            ("CAF_BATCH_WORKER_ERROR_QUEUE", "set it for the worker"),
            ("CAF_BATCH_WORKER_CACHE_EXPIRE_TIME", "remove it"),
            ("CAF_GLOB_WORKER_BINARY_DATA_INPUT_FOLDER", "GlobPlugin::from_variables"),
            ("CAF_BATCH_WORKER_ERROR_QUEUES", "is CAF_BATCH_WORKER_ERROR_QUEUE meant?"),
        ] {
            let sentence = unknown_among([name.to_owned()]).pop().unwrap().to_string();
            assert!(sentence.starts_with(name) && sentence.contains(said), "{sentence}");
        }
    }

    /// Every variable of the contract (rest.md §8.1 to §8.3, messaging.md §7) is honoured, or known to have no effect.
    #[test]
    fn the_contracts_variables_are_known() {
        let known = known_variables();
        for name in include_str!("contract_variables.txt").split_whitespace() {
            assert!(known.iter().any(|known| known == name), "{name}");
        }
    }
}
