//! The command line.

use std::ffi::OsString;

use anyhow::{Result, bail};

/// What to start and what to run.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) postgres: bool,
    pub(crate) rabbit: bool,
    /// The program and its arguments; never empty.
    pub(crate) command: Vec<OsString>,
}

impl Arguments {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut parsed = Self::default();
        match arguments.next() {
            Some(word) if word == "with-services" => {}
            Some(word) => bail!("there is no command `{}`", word.display()),
            None => bail!("no command given"),
        }
        loop {
            match arguments.next() {
                Some(word) if word == "--postgres" => parsed.postgres = true,
                Some(word) if word == "--rabbit" => parsed.rabbit = true,
                Some(word) if word == "--" => break,
                Some(word) => bail!("there is no option `{}`; the command comes after `--`", word.display()),
                None => bail!("no `--` with a command after it"),
            }
        }
        parsed.command = arguments.collect();
        if parsed.command.is_empty() {
            bail!("no command after `--`");
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn parse(line: &str) -> Result<(bool, bool, usize), String> {
        Arguments::parse(line.split_whitespace().map(Into::into))
            .map(|arguments| (arguments.postgres, arguments.rabbit, arguments.command.len()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_comes_after_the_dashes_is_the_command() {
        assert_eq!(parse("with-services --postgres -- cargo test -- --rabbit"), Ok((true, false, 4)));
        assert_eq!(parse("with-services --rabbit --postgres -- x"), Ok((true, true, 1)));
        assert_eq!(parse("with-services -- x"), Ok((false, false, 1)));
    }

    #[test]
    fn a_wrong_line_is_refused() {
        for line in ["", "other", "with-services", "with-services --", "with-services --mysql -- x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
