//! The command `config`: what is in force, and where it comes from.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::arguments::ConfigArguments;
use super::layers::{Environment, file_variable, variable};
use super::unknown_variables;

/// One setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    name: String,
    value: String,
    source: String,
}

/// Prints the settings; those that make no sense together are an error, as they are for the server.
pub(crate) fn show(arguments: &ConfigArguments, out: &mut dyn std::io::Write) -> anyhow::Result<ExitCode> {
    write!(out, "{}", table(&arguments.in_force))?;
    for unknown in unknown_variables() {
        writeln!(out, "{unknown}")?;
    }
    arguments.settings.config()?;
    Ok(ExitCode::SUCCESS)
}

/// The settings of a command, in the order of its help.
pub(super) fn settings(
    command: &Command,
    matches: &ArgMatches,
    environment: Environment<'_>,
) -> Vec<Setting> {
    let named = command.get_arguments().filter_map(|arg| Some((arg, variable(arg)?)));
    named.map(|(arg, name)| setting(arg, name, matches, environment)).collect()
}

fn setting(arg: &Arg, name: String, matches: &ArgMatches, environment: Environment<'_>) -> Setting {
    let id = arg.get_id().as_str();
    let raw = matches.get_raw(id).and_then(|mut values| values.next());
    let value = match raw.map(|value| value.to_string_lossy().into_owned()) {
        Some(value) if arg.is_hide_env_values_set() => hidden(&value),
        Some(value) => value,
        None if arg.get_action().takes_values() => "-".to_owned(),
        None => matches.get_flag(id).to_string(),
    };
    let file = file_variable(arg).filter(|file| environment(file).is_some_and(|path| !path.is_empty()));
    let source = match (matches.value_source(id), file) {
        (Some(ValueSource::CommandLine), _) => format!("--{}", arg.get_long().unwrap_or(id)),
        (Some(ValueSource::EnvVariable), _) => "environment".to_owned(),
        (Some(ValueSource::DefaultValue), Some(file)) => file,
        _ => "default".to_owned(),
    };
    Setting { name, value, source }
}

/// Of a secret only that there is one; of a URL everything but the password.
fn hidden(value: &str) -> String {
    if value.is_empty() || value == "memory" {
        return value.to_owned();
    }
    match value.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((login, place)) => {
                let user = login.split(':').next().unwrap_or_default();
                format!("{scheme}://{user}:***@{}", without_query(place))
            }
            None => format!("{scheme}://{}", without_query(rest)),
        },
        None => "***".to_owned(),
    }
}

/// A query may hold a password as well.
fn without_query(place: &str) -> String {
    match place.split_once('?') {
        Some((place, _)) => format!("{place}?***"),
        None => place.to_owned(),
    }
}

/// As columns.
pub(super) fn table(settings: &[Setting]) -> String {
    let width = |column: fn(&Setting) -> &str| {
        settings.iter().map(|setting| column(setting).chars().count()).max().unwrap_or(0)
    };
    let (name, value) = (width(|setting| &setting.name), width(|setting| &setting.value).min(60));
    let mut table = String::new();
    for setting in settings {
        let _ = writeln!(table, "{:name$}  {:value$}  {}", setting.name, setting.value, setting.source);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_places_are_not() {
        for (value, shown) in [
            ("memory", "memory"),
            ("hunter2", "***"),
            ("", ""),
            ("postgres://u:hunter2@db:5432/jobs", "postgres://u:***@db:5432/jobs"),
            ("postgres://u:p@ss@db/jobs?password=hunter2", "postgres://u:***@db/jobs?***"),
            ("amqp://mq", "amqp://mq"),
        ] {
            assert_eq!(hidden(value), shown);
        }
    }
}
