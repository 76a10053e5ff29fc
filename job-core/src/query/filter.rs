//! The filter tree and its meaning, which every store reproduces exactly.
//!
//! Null follows SQL (REST contract §2.3): a comparison with an absent name or label value is never true, also not
//! `!=`; `labels.k != v` means "has the label k with some other value".

use std::cmp::Ordering;

use super::order::compare_text;
use crate::job::Job;
use crate::lifecycle::JobStatus;

/// A condition on a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of these; true when there is none.
    And(Vec<Self>),
    /// Any of these; false when there is none.
    Or(Vec<Self>),
    /// A test of a text.
    Text(TextKey, TextTest),
    /// A test of the status.
    Status(StatusTest),
    /// A test of the percentage as it is shown, with two decimals.
    Percentage(PercentageTest),
}

/// A text that can be tested.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TextKey {
    /// The job id.
    Id,
    /// The name.
    Name,
    /// The value of the label with this key.
    Label(String),
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl Comparison {
    /// Whether `ordering`, of the job's value to the filter's, satisfies it.
    #[must_use]
    pub const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }
    }
}

/// A test of a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TextTest {
    /// Equal to one of these, exactly.
    In(Vec<String>),
    /// Present and equal to none of these.
    NotIn(Vec<String>),
    /// Matches the pattern, in which each `*` stands for any text and everything else for itself.
    Like(String),
    /// Present and does not match the pattern.
    NotLike(String),
    /// Compares in the order of [`text_order_key`](super::text_order_key).
    Compare(Comparison, String),
}

/// A test of a status.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StatusTest {
    /// One of these.
    In(Vec<JobStatus>),
    /// None of these.
    NotIn(Vec<JobStatus>),
    /// Compares in the order of [`JobStatus::ALL`].
    Compare(Comparison, JobStatus),
}

/// A test of a percentage; values are as the client wrote them and need not be possible percentages, but are finite.
#[derive(Debug, Clone, PartialEq)]
pub enum PercentageTest {
    /// Equal to one of these.
    In(Vec<f64>),
    /// Equal to none of these.
    NotIn(Vec<f64>),
    /// Compares as numbers.
    Compare(Comparison, f64),
}

impl Filter {
    /// Whether `job` satisfies the condition.
    #[must_use]
    pub fn matches(&self, job: &Job) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches(job)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(job)),
            Self::Text(key, test) => key.value(job).is_some_and(|value| test.matches(value)),
            Self::Status(test) => test.matches(job.status),
            Self::Percentage(test) => test.matches(job.percentage.rounded()),
        }
    }
}

impl TextKey {
    fn value<'a>(&self, job: &'a Job) -> Option<&'a str> {
        match self {
            Self::Id => Some(job.key.job.as_str()),
            Self::Name => job.name.as_deref(),
            Self::Label(key) => job.labels.get(key)?.as_deref(),
        }
    }
}

impl TextTest {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::In(values) => values.iter().any(|candidate| candidate == value),
            Self::NotIn(values) => values.iter().all(|candidate| candidate != value),
            Self::Like(pattern) => like(pattern, value),
            Self::NotLike(pattern) => !like(pattern, value),
            Self::Compare(comparison, other) => comparison.holds(compare_text(value, other)),
        }
    }
}

impl StatusTest {
    fn matches(&self, status: JobStatus) -> bool {
        match self {
            Self::In(statuses) => statuses.contains(&status),
            Self::NotIn(statuses) => !statuses.contains(&status),
            Self::Compare(comparison, other) => comparison.holds(status.cmp(other)),
        }
    }
}

impl PercentageTest {
    fn matches(&self, percentage: f64) -> bool {
        match self {
            Self::In(values) => values.contains(&percentage),
            Self::NotIn(values) => !values.contains(&percentage),
            Self::Compare(comparison, other) => {
                percentage.partial_cmp(other).is_some_and(|o| comparison.holds(o))
            }
        }
    }
}

/// The first part must begin the text and the last must end it; those between are taken at their earliest place, which
/// is enough when the only wildcard stands for any text.
fn like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("*b*b*", "abab", true),
            ("**", "x", true),
            ("a_%*", "a_%z", true),
            ("a_%*", "abcz", false),
            ("*ab", "aab", true),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
