//! Where a setting may come from beside its flag and its variable: an empty variable counts as absent, and a secret may
//! lie in the file that `NAME_FILE` names.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::builder::{OsStr, Resettable};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// What a variable holds.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A secret whose file cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// The names of the subcommands that lead to the argument.
    path: Vec<String>,
    argument: String,
    sentence: String,
}

/// `command` and all below it, with the layers of their settings; and what is wrong with files.
pub(super) fn layered(command: Command, environment: Environment<'_>) -> (Command, Vec<Unreadable>) {
    let mut unreadable = Vec::new();
    (with_layers(command, environment, &[], &mut unreadable), unreadable)
}

/// What is wrong with a file that the command in `matches` needs: not when a flag gives the secret, nor when another
/// command has it.
pub(super) fn needed<'a>(matches: &ArgMatches, unreadable: &'a [Unreadable]) -> Option<&'a str> {
    let (mut at, mut path) = (matches, Vec::new());
    loop {
        let here = unreadable.iter().filter(|problem| problem.path == path);
        let given =
            |problem: &&Unreadable| at.value_source(&problem.argument) == Some(ValueSource::CommandLine);
        if let Some(problem) = here.into_iter().find(|problem| !given(problem)) {
            return Some(&problem.sentence);
        }
        let (name, below) = at.subcommand()?;
        path.push(name.to_owned());
        at = below;
    }
}

fn with_layers(
    command: Command,
    environment: Environment<'_>,
    path: &[String],
    unreadable: &mut Vec<Unreadable>,
) -> Command {
    let named: BTreeSet<String> = command.get_arguments().filter_map(variable).collect();
    command
        .mut_args(|arg| match layer(&arg, environment, &named) {
            Ok(Layer::AsItIs) => arg,
            Ok(Layer::Ignored) => arg.env(Resettable::<OsStr>::Reset),
            Ok(Layer::File(secret)) => {
                arg.env(Resettable::<OsStr>::Reset).default_value(secret).hide_default_value(true)
            }
            Err(sentence) => {
                let argument = arg.get_id().to_string();
                unreadable.push(Unreadable { path: path.to_vec(), argument, sentence });
                arg
            }
        })
        .mut_subcommands(|below| {
            let path = [path, &[below.get_name().to_owned()]].concat();
            with_layers(below, environment, &path, unreadable)
        })
}

enum Layer {
    AsItIs,
    /// The variable is empty.
    Ignored,
    /// The content of the file that holds the secret.
    File(String),
}

fn layer(arg: &Arg, environment: Environment<'_>, named: &BTreeSet<String>) -> Result<Layer, String> {
    let Some(name) = variable(arg) else { return Ok(Layer::AsItIs) };
    let own = environment(&name);
    if own.as_ref().is_some_and(|value| !value.is_empty()) {
        return Ok(Layer::AsItIs);
    }
    if let Some(file) = file_variable(arg).filter(|file| !named.contains(file))
        && let Some(path) = environment(&file).filter(|path| !path.is_empty())
    {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{file} names {}, which cannot be read: {error}", path.display()))?;
        return Ok(Layer::File(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    Ok(if own.is_some() { Layer::Ignored } else { Layer::AsItIs })
}

/// The variable of a setting.
pub(super) fn variable(arg: &Arg) -> Option<String> {
    arg.get_env().and_then(|name| name.to_str()).map(str::to_owned)
}

/// The variable that may name a file instead, for a setting that is secret.
pub(super) fn file_variable(arg: &Arg) -> Option<String> {
    variable(arg).filter(|_| arg.is_hide_env_values_set()).map(|name| format!("{name}_FILE"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::super::CommandLine;
    use super::*;

    fn serve(environment: &[(&str, &str)]) -> Result<String, String> {
        with(environment, &["serve"])
    }

    fn with(environment: &[(&str, &str)], line: &[&str]) -> Result<String, String> {
        let found = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let (command, unreadable) = layered(CommandLine::command(), &found);
        let line = ["job-server"].iter().chain(line);
        let matches = command.try_get_matches_from(line).map_err(|error| error.to_string())?;
        match needed(&matches, &unreadable) {
            Some(sentence) => Err(sentence.to_owned()),
            None => Ok(format!("{:?}", CommandLine::from_arg_matches(&matches).unwrap().command)),
        }
    }

    #[test]
    fn a_secret_may_lie_in_a_file_and_an_empty_variable_is_absent() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "hunter2").unwrap();
        let path = file.path().to_str().unwrap();
        let from_file = serve(&[("JOB_SERVICE_DATABASE_PASSWORD_FILE", path)]).unwrap();
        assert!(from_file.contains("database_password: \"hunter2\""), "{from_file}");
        let both =
            serve(&[("JOB_SERVICE_DATABASE_PASSWORD", ""), ("JOB_SERVICE_DATABASE_PASSWORD_FILE", path)]);
        assert!(both.unwrap().contains("hunter2"));
        let missing = serve(&[("CAF_RABBITMQ_PASSWORD_FILE", "/nowhere/secret")]).unwrap_err();
        assert!(missing.contains("CAF_RABBITMQ_PASSWORD_FILE names /nowhere/secret"), "{missing}");
        // A flag wins, other commands do not need it, and help does not show it.
        let missing = [("JOB_SERVICE_STORE_FILE", "/nowhere/secret")];
        assert!(with(&missing, &["serve", "--store", "memory"]).is_ok());
        assert!(with(&missing, &["check-job-types", "."]).is_ok());
        let help = with(&[("JOB_SERVICE_STORE_FILE", path)], &["serve", "--help"]).unwrap_err();
        assert!(help.contains("--store") && !help.contains("hunter2"), "{help}");
        // Only secrets are read from files.
        assert!(!serve(&[("JOB_SERVICE_LISTEN_FILE", path)]).unwrap().contains("hunter2"));
    }
}
