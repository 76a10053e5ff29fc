//! Where a setting may come from beside its flag and its variable: an empty variable counts as absent, and a secret may
//! lie in the file that `NAME_FILE` names.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::builder::{OsStr, Resettable};
use clap::{Arg, Command};

/// What a variable holds.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// `command` and all below it, with the layers of their settings; or what is wrong with a file.
pub(super) fn layered(command: Command, environment: Environment<'_>) -> Result<Command, String> {
    let mut problem = None;
    let command = with_layers(command, environment, &mut problem);
    problem.map_or(Ok(command), Err)
}

fn with_layers(command: Command, environment: Environment<'_>, problem: &mut Option<String>) -> Command {
    let named: BTreeSet<String> = command.get_arguments().filter_map(variable).collect();
    command
        .mut_args(|arg| match layer(&arg, environment, &named) {
            Ok(Layer::AsItIs) => arg,
            Ok(Layer::Ignored) => arg.env(Resettable::<OsStr>::Reset),
            Ok(Layer::File(secret)) => arg.env(Resettable::<OsStr>::Reset).default_value(secret),
            Err(sentence) => {
                problem.get_or_insert(sentence);
                arg
            }
        })
        .mut_subcommands(|below| with_layers(below, environment, problem))
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

    use super::super::{Command, CommandLine};
    use super::*;

    fn serve(environment: &[(&str, &str)]) -> Result<String, String> {
        let found = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let matches = layered(CommandLine::command(), &found)?
            .try_get_matches_from(["job-server", "serve"])
            .map_err(|error| error.to_string())?;
        match CommandLine::from_arg_matches(&matches).unwrap().command {
            Command::Serve(arguments) => Ok(format!("{arguments:?}")),
            _ => Err("another command".into()),
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
        // Only secrets are read from files.
        assert!(!serve(&[("JOB_SERVICE_LISTEN_FILE", path)]).unwrap().contains("hunter2"));
    }
}
