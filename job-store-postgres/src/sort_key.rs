//! Texts in a form whose byte order is the order of a listing: the folded text, a zero byte, the text itself. A text
//! never contains a zero byte, so the shorter of two that begin alike comes first.
//!
//! An index entry has a limited size, and a description has not: a key is cut after [`KEY_BYTES_MAX`] bytes and its rest
//! kept beside it. Keys that are not cut decide an order by themselves.

use job_core::query::text_order_key;

/// Enough that the id of a job is never cut: 48 characters of four bytes, twice, and the zero byte.
pub(crate) const KEY_BYTES_MAX: usize = 400;

/// What is absent sorts behind every text: no UTF-8 begins with this byte.
pub(crate) const ABSENT: &[u8] = &[0xff];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortKey {
    pub(crate) key: Vec<u8>,
    /// What did not fit into `key`.
    pub(crate) rest: Option<Vec<u8>>,
}

impl SortKey {
    pub(crate) fn of(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self { key: ABSENT.to_vec(), rest: None } };
        let mut key = text_order_key(text).into_bytes();
        key.push(0);
        key.extend_from_slice(text.as_bytes());
        let rest = (key.len() > KEY_BYTES_MAX).then(|| key.split_off(KEY_BYTES_MAX));
        Self { key, rest }
    }
}

/// The first text behind every text that begins with `prefix`, if there is one.
pub(crate) fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut kept: Vec<char> = prefix.chars().collect();
    while let Some(last) = kept.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            _ => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            kept.push(next);
            return Some(kept.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use job_core::query::{Comparison, Filter, TextKey, TextTest};
    use job_core::{JobKey, NewJob, TaskSpec};
    use proptest::prelude::*;

    #[test]
    fn absent_comes_last_and_long_texts_are_cut() {
        assert!(SortKey::of(None) > SortKey::of(Some("\u{10ffff}")));
        let long = SortKey::of(Some(&"x".repeat(1000)));
        assert_eq!(
            (long.key.len(), long.rest.map(|rest| rest.len())),
            (KEY_BYTES_MAX, Some(2001 - KEY_BYTES_MAX))
        );
        assert_eq!(SortKey::of(Some(&"\u{10ffff}".repeat(48))).rest, None);
    }

    #[test]
    fn a_prefix_ends_where_its_successor_begins() {
        assert_eq!(end_of_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(end_of_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(end_of_prefix("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(end_of_prefix(""), None);
        assert_eq!(end_of_prefix("\u{10ffff}"), None);
    }

    fn less(a: &str, b: &str) -> bool {
        let task = TaskSpec {
            classifier: "c".into(),
            api_version: 1,
            data: "d".into(),
            queue: "q".into(),
            target: None,
        };
        let job = NewJob::new(JobKey::parse("p", "j").unwrap(), task).with_name(a);
        let filter = Filter::Text(TextKey::Name, TextTest::Compare(Comparison::Less, b.into()));
        filter.matches(&shown(job))
    }

    fn shown(job: NewJob) -> job_core::Job {
        job_core::Job {
            key: job.key,
            name: job.name,
            description: None,
            external_data: None,
            create_time: Default::default(),
            last_update_time: Default::default(),
            status: job_core::JobStatus::Waiting,
            percentage: Default::default(),
            failures: Vec::new(),
            failure_count: 0,
            labels: Default::default(),
            subtasks: Default::default(),
            prerequisites: Vec::new(),
            blocked_by: Vec::new(),
            dispatch_problem: None,
            suspended: false,
            start_time: None,
            finish_time: None,
            delay: Default::default(),
            job_type: None,
            correlation_id: None,
        }
    }

    proptest! {
        #[test]
        fn keys_sort_like_the_memory_matcher(a in "[aAbKkKeEéÉßẞ ]{0,6}|\\PC{0,300}", b in "[aAbKkKeEéÉßẞ ]{0,6}|\\PC{0,300}") {
            prop_assert_eq!(SortKey::of(Some(&a)) < SortKey::of(Some(&b)), less(&a, &b));
        }
    }
}
