//! The command `token`: makes, lists and revokes the tokens of a token file.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use job_core::{Clock as _, PartitionId, SystemClock, Timestamp};

use crate::audit::shown;
use crate::auth::{AccessRole, Scope, TokenFile, TokenRecord, TokenText};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it. It is not kept: only its hash is, so this is the one time it can be seen.
    #[command(after_help = "TOKEN=$(job-server token create --role submitter --partition acme --name ci)\n\
                            curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8080/job-service/v1/partitions/acme/jobs")]
    Create(CreateArguments),
    /// List the tokens, good ones and others.
    List(FileArguments),
    /// Make a token useless. Running servers notice within seconds.
    Revoke(RevokeArguments),
}

/// Which file.
#[derive(Debug, Args)]
pub struct FileArguments {
    /// The token file, which `serve --tokens` names too.
    #[arg(long, env = "JOB_SERVICE_TOKENS", value_name = "FILE")]
    tokens: PathBuf,
}

/// A new token.
#[derive(Debug, Args)]
pub struct CreateArguments {
    #[command(flatten)]
    file: FileArguments,
    /// What it may do; each role may also do what those before it may.
    #[arg(long)]
    role: AccessRole,
    /// The partition it reaches.
    #[arg(long, value_name = "ID", value_parser = partition, required_unless_present = "all_partitions", conflicts_with = "all_partitions")]
    partition: Option<PartitionId>,
    /// It reaches every partition, and what belongs to none.
    #[arg(long)]
    all_partitions: bool,
    /// Whose it is, for the list and the audit log.
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// How long it is good, such as `90d` or `12h` [default: until it is revoked].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires_in: Option<Duration>,
}

/// A token to be revoked.
#[derive(Debug, Args)]
pub struct RevokeArguments {
    #[command(flatten)]
    file: FileArguments,
    /// Its id, as `token list` shows it.
    id: String,
}

fn partition(text: &str) -> Result<PartitionId, String> {
    PartitionId::new(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time: expected a positive one such as 90d or 12h");
    crate::time_span::parse(text).filter(|time| !time.is_zero()).ok_or_else(wrong)
}

/// Runs it.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn run(command: &TokenCommand) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    match command {
        TokenCommand::Create(arguments) => create(arguments, now),
        TokenCommand::List(arguments) => list(arguments, now),
        TokenCommand::Revoke(arguments) => revoke(arguments, now),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn create(arguments: &CreateArguments, now: Timestamp) -> anyhow::Result<()> {
    let partition = match &arguments.partition {
        Some(partition) => Scope::Partition(partition.clone()),
        None => Scope::All,
    };
    let file = TokenFile::new(&arguments.file.tokens);
    let (text, record) = file.change(|list| {
        let (text, id) = loop {
            let (text, id) = TokenText::generate()?;
            if list.tokens.iter().all(|known| known.id != id) {
                break (text, id);
            }
        };
        let record = TokenRecord {
            sha256: text.hash(),
            id,
            name: arguments.name.clone(),
            role: arguments.role,
            partition,
            created: now,
            expires: arguments.expires_in.map(|time| now.saturating_add(time)),
            revoked: None,
        };
        list.tokens.push(record.clone());
        Ok((text, record))
    })?;
    // Alone on standard output, so that a script can take it.
    writeln!(std::io::stdout(), "{}", text.reveal())?;
    let reach = match &record.partition {
        Scope::All => "all partitions".to_owned(),
        Scope::Partition(partition) => format!("the partition {partition}"),
    };
    eprintln!("Token {} is {} of {reach}; {}.", record.id, record.role.name(), until(&record, now));
    eprintln!("It is not kept anywhere else. Send it as: Authorization: Bearer TOKEN");
    Ok(())
}

fn list(arguments: &FileArguments, now: Timestamp) -> anyhow::Result<()> {
    let list = TokenFile::new(&arguments.tokens).list()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<10}{:<11}{:<22}{:<26}STATE", "ID", "ROLE", "PARTITION", "CREATED")?;
    for record in list.tokens {
        writeln!(
            out,
            "{:<10}{:<11}{:<22}{:<26}{}{}",
            record.id,
            record.role.name(),
            record.partition.to_string(),
            shown(record.created),
            until(&record, now),
            if record.name.is_empty() { String::new() } else { format!(" ({})", record.name.escape_debug()) },
        )?;
    }
    Ok(())
}

fn until(record: &TokenRecord, now: Timestamp) -> String {
    match (record.revoked, record.expires) {
        (Some(revoked), _) => format!("revoked {}", shown(revoked)),
        (None, Some(expires)) if record.is_good(now) => format!("good until {}", shown(expires)),
        (None, Some(expires)) => format!("expired {}", shown(expires)),
        (None, None) => "good until it is revoked".to_owned(),
    }
}

fn revoke(arguments: &RevokeArguments, now: Timestamp) -> anyhow::Result<()> {
    let file = TokenFile::new(&arguments.file.tokens);
    file.change(|list| {
        let Some(record) = list.tokens.iter_mut().find(|record| record.id == arguments.id) else {
            bail!(
                "no token has the id {:?}: job-server token list shows them",
                arguments.id.chars().take(20).collect::<String>()
            );
        };
        record.revoked.get_or_insert(now);
        Ok(())
    })?;
    eprintln!("Token {} is revoked. Running servers notice within seconds.", arguments.id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(duration("12h"), Ok(Duration::from_secs(12 * 3_600)));
        for wrong in ["", "x", "90", "-1d", "0s", "1 month"] {
            let sentence = duration(wrong).unwrap_err();
            assert!(sentence.contains("such as 90d"), "{sentence}");
        }
    }
}
