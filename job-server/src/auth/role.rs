//! What a token may do, and where.

use std::fmt;
use std::str::FromStr;

use job_core::PartitionId;
use serde::{Deserialize, Serialize};

/// What a token may do in its partition. Each role may also do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccessRole {
    /// Look at jobs.
    Reader,
    /// Create jobs.
    Submitter,
    /// Cancel, pause, resume, redispatch and delete jobs, one by one or by selection; suspend and resume a partition.
    Operator,
    /// Whatever concerns the service and not single jobs.
    Admin,
}

impl AccessRole {
    /// Its name on the command line, in the token file and in the OpenAPI document.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Submitter => "submitter",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// The partitions that a token reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Scope {
    /// One.
    Partition(PartitionId),
    /// All of them, and what belongs to none.
    All,
}

impl Scope {
    /// No partition has this id.
    const ALL: &'static str = "*";

    /// Whether it includes what belongs to `partition`; the empty id stands for what belongs to none.
    pub(crate) fn reaches(&self, partition: &str) -> bool {
        match self {
            Self::All => true,
            Self::Partition(own) => own.as_str() == partition,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => Self::ALL,
            Self::Partition(partition) => partition.as_str(),
        })
    }
}

impl FromStr for Scope {
    type Err = job_core::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == Self::ALL { Ok(Self::All) } else { PartitionId::new(text).map(Self::Partition) }
    }
}

impl TryFrom<String> for Scope {
    type Error = job_core::IdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reaches_its_partition_and_nothing_else() {
        let own: Scope = "acme".parse().unwrap();
        assert!(own.reaches("acme"));
        for foreign in ["", "Acme", "acme ", "acm", "acme2", "*"] {
            assert!(!own.reaches(foreign), "{foreign:?}");
        }
        let all: Scope = "*".parse().unwrap();
        assert!(all.reaches("acme") && all.reaches(""));
        assert!("a*".parse::<Scope>().is_err());
    }

    #[test]
    fn roles_are_a_ladder() {
        use AccessRole::{Admin, Operator, Reader, Submitter};
        assert!(Reader < Submitter && Submitter < Operator && Operator < Admin);
    }
}
