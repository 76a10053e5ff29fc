//! The kinds of value that settings have, each with the sentence for a wrong one.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use job_core::PartitionId;
use regex::{Regex, RegexBuilder};

/// Largest compiled form of a pattern from configuration.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// One part of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Serves the REST API.
    Api,
    /// Puts the messages of due jobs on their queues.
    Dispatcher,
    /// Records what workers report.
    Tracker,
    /// Keeps the messages of paused jobs.
    Stower,
}

impl Role {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Api, "api"),
        (Self::Dispatcher, "dispatcher"),
        (Self::Tracker, "tracker"),
        (Self::Stower, "stower"),
    ];
}

/// The parts that a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Every part.
    #[must_use]
    pub fn all() -> Self {
        Self(Role::ALL.into_iter().map(|(role, _)| role).collect())
    }

    /// Whether `role` is among them.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let role = |name: &str| {
            let known = Role::ALL.into_iter().find(|(_, known)| *known == name.trim());
            known.map(|(role, _)| role).ok_or_else(|| {
                format!("{name:?} is not a role: expected one or more of api, dispatcher, tracker, stower, separated by commas")
            })
        };
        text.split(',').map(role).collect::<Result<_, _>>().map(Self)
    }
}

/// A pattern that the whole id of a partition has to match.
#[derive(Clone)]
pub struct SuspendedPattern(Regex);

impl SuspendedPattern {
    /// Whether jobs of this partition are held.
    #[must_use]
    pub fn holds(&self, partition: &PartitionId) -> bool {
        self.0.is_match(partition.as_str())
    }
}

impl fmt::Debug for SuspendedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SuspendedPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Checked by itself first, so that `a)(b` does not become valid by the parentheses around it.
        let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
        build(text).and_then(|_| build(&format!("^(?:{text})$"))).map(Self).map_err(|error| {
            format!("it is not a regular expression without look-around or back-references: {error}")
        })
    }
}

/// A length of time as Dropwizard writes it: `500ms`, `15s`, `1 minute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length(pub(super) Duration);

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let millis_per_unit = match unit.trim() {
            "ms" | "millisecond" | "milliseconds" => 1,
            "s" | "second" | "seconds" => 1_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ => return Err("expected a number and one of ms, s, m, h, d, such as 15s".to_owned()),
        };
        let number: u64 =
            number.parse().map_err(|_| "expected a number before the unit, such as 15s".to_owned())?;
        let millis = number.checked_mul(millis_per_unit).filter(|millis| *millis <= 7 * 86_400_000);
        millis
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| "at most 7d is allowed".to_owned())
    }
}

/// What log lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_and_nothing_else_is_one() {
        let roles: Roles = "api, tracker".parse().unwrap();
        assert!(roles.has(Role::Api) && roles.has(Role::Tracker) && !roles.has(Role::Dispatcher));
        assert!("api,scheduler".parse::<Roles>().unwrap_err().contains("\"scheduler\""));
        assert!("".parse::<Roles>().is_err());
    }

    #[test]
    fn lengths_of_time_are_read_as_dropwizard_writes_them() {
        for (text, millis) in
            [("15s", 15_000), ("500ms", 500), ("1 minute", 60_000), ("0s", 0), ("2h", 7_200_000)]
        {
            assert_eq!(text.parse(), Ok(Length(Duration::from_millis(millis))), "{text}");
        }
        for wrong in ["", "15", "s", "-1s", "1.5s", "8d", "99999999999999999999d", "1 fortnight"] {
            assert!(wrong.parse::<Length>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_suspended_partition_matches_as_a_whole() {
        let pattern: SuspendedPattern = "a|bc".parse().unwrap();
        let holds = |id: &str| pattern.holds(&PartitionId::new(id).unwrap());
        assert!(holds("a") && holds("bc"));
        assert!(!holds("ab") && !holds("abc") && !holds("xbc"));
        for wrong in ["a)(b", "(?=x)", "[", "(\\w{1000}){1000}"] {
            assert!(wrong.parse::<SuspendedPattern>().is_err(), "{wrong}");
        }
    }
}
