//! `docs/configuration.md`, made from the command line and the list of variables without effect.

use std::fmt::Write as _;

use clap::{Arg, CommandFactory as _};

use super::CommandLine;
use super::contract::{ELSEWHERE, WITHOUT_EFFECT};
use super::layers::{file_variable, variable};
use crate::generated_docs::hold;

/// Cells must not end early, nor spread over lines.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn default(arg: &Arg, help: &str) -> (String, String) {
    let (help, said) = match help.split_once("[default: ") {
        Some((before, after)) => {
            let (said, rest) = after.split_once(']').unwrap_or((after, ""));
            (format!("{}{rest}", before.trim_end()), Some(said.to_owned()))
        }
        None => (help.to_owned(), None),
    };
    let values: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let default = match said {
        Some(said) => said,
        None if !arg.get_action().takes_values() => "`false`".to_owned(),
        None => values.join(", ").replace("``", ""),
    };
    (help, default)
}

fn row(arg: &Arg) -> Option<String> {
    let name = variable(arg)?;
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let (help, default) = default(arg, &help);
    let file = file_variable(arg)
        .map_or(String::new(), |file| format!(". Secret; may lie in the file `{file}` names."));
    let flag = arg.get_long().map_or(String::new(), |flag| format!("`--{flag}`"));
    Some(format!("| `{name}` | {flag} | {} | {}{file} |\n", cell(&default), cell(&help)))
}

#[test]
fn the_settings_are_documented() {
    let command = CommandLine::command();
    let serve = command.find_subcommand("serve").unwrap();
    let mut table = String::from("| variable | flag | default | meaning |\n| --- | --- | --- | --- |\n");
    table.extend(serve.get_arguments().filter_map(row));
    hold("docs/configuration.md", "settings", &table);
}

fn table(heading: &str, of: &[(&str, &str)]) -> String {
    let mut table = format!("| variable | {heading} |\n| --- | --- |\n");
    for (name, why) in of {
        let _ = writeln!(table, "| `{name}` | {} |", cell(why));
    }
    table
}

#[test]
fn what_has_no_effect_is_documented() {
    hold("docs/configuration.md", "elsewhere", &table("instead", ELSEWHERE));
    hold("docs/configuration.md", "without effect", &table("why", WITHOUT_EFFECT));
}
