//! The user a server runs as.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// A user to switch to. Only root can, and only PostgreSQL demands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Owner {
    /// The user `name` when this process runs as root; `None`, meaning the present user, otherwise.
    pub(crate) fn instead_of_root(name: &str) -> Result<Option<Self>> {
        let this_process = std::fs::metadata("/proc/self").context("cannot read /proc/self")?;
        if this_process.uid() != 0 {
            return Ok(None);
        }
        let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let owner = find(&accounts, name)
            .with_context(|| format!("no user `{name}`, which root needs to run this server"))?;
        Ok(Some(owner))
    }

    /// Makes the command run as this user, without root's supplementary groups.
    pub(crate) fn run(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives a file or directory to this user.
    pub(crate) fn give(self, path: &Path) -> Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("cannot give away {}", path.display()))
    }
}

fn find(accounts: &str, name: &str) -> Option<Owner> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let _password = fields.next();
        Some(Owner { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::{Owner, find};

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "post:x:1:2::/:\npostgres:x:101:103:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find(accounts, "postgres"), Some(Owner { uid: 101, gid: 103 }));
        assert_eq!(find(accounts, "postg"), None);
    }
}
