//! What is to be done with a delivery before anybody's code sees it: pure decisions (messaging contract §2.3 to §2.9).

use crate::clock::Timestamp;
use crate::lifecycle::JobStatus;
use crate::message::{HEADER_DELIVERY_COUNT, HEADER_RETRY, TaskMessage, TrackingInfo};
use crate::queue::{Delivery, Headers, Publication};

/// What a job's status means for a message of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Run,
    /// To the queue of paused tasks.
    Hold,
    /// To the queue it names.
    Forward,
    Discard,
}

/// `status` is none when there is no such job.
pub(super) fn verdict(status: Option<JobStatus>, intended: bool, can_hold: bool) -> Verdict {
    match status {
        None => Verdict::Discard,
        Some(status) if status.is_finished() => Verdict::Discard,
        Some(_) if !intended => Verdict::Forward,
        Some(status) if status.holds_messages() && can_hold => Verdict::Hold,
        Some(_) => Verdict::Run,
    }
}

/// Whether the status of the message's job has to be asked for.
pub(super) fn check_is_due(tracking: &TrackingInfo, now: Timestamp) -> bool {
    tracking.last_status_check_time.is_none_or(|last| {
        last.as_millis().saturating_add(tracking.status_check_interval_millis) <= now.as_millis()
    })
}

/// Which try of a task a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    /// One within the limit.
    Run { retries: u32 },
    /// Its queue does not count: the message is put back with this number of retries written on it.
    Count { retries: u32 },
    /// One too many.
    Poison { retries: u32 },
}

/// Queues that count say so in a header; on others the count is carried by the message itself.
pub(super) fn which_try(headers: &Headers, redeliveries: u32, limit: u32) -> Try {
    let number = |name| headers.get(name).and_then(|text| text.trim().parse::<u32>().ok());
    match number(HEADER_DELIVERY_COUNT) {
        Some(retries) if redeliveries > 0 && retries > limit => Try::Poison { retries },
        Some(retries) => Try::Run { retries },
        None => {
            let retries = number(HEADER_RETRY).unwrap_or(0);
            match redeliveries {
                0 => Try::Run { retries },
                _ if retries < limit => Try::Count { retries: retries + 1 },
                _ => Try::Poison { retries },
            }
        }
    }
}

/// The same bytes, to be delivered as a new message with the number of retries on it.
pub(super) fn counted(delivery: &Delivery, queue: &str, retries: u32) -> Publication {
    let mut publication = Publication::new(queue, delivery.body.clone());
    publication.headers = headers_for_others(&delivery.headers);
    publication.headers.insert(HEADER_RETRY.to_owned(), retries.to_string());
    publication
}

/// A message on its way to another queue; counts of deliveries are of no meaning there.
pub(super) fn passed_on(message: &TaskMessage, headers: &Headers, queue: &str) -> Publication {
    let mut publication = Publication::new(queue, message.encode());
    publication.headers = headers_for_others(headers);
    publication
}

fn headers_for_others(headers: &Headers) -> Headers {
    let counts = [HEADER_DELIVERY_COUNT, HEADER_RETRY];
    headers
        .iter()
        .filter(|(name, _)| !counts.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&str, &str)]) -> Headers {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn retries_are_counted_as_the_contract_says() {
        let (counted, carried) = (HEADER_DELIVERY_COUNT, HEADER_RETRY);
        for (entries, redeliveries, limit, expected) in [
            (vec![], 0, 1, Try::Run { retries: 0 }),
            (vec![], 1, 1, Try::Count { retries: 1 }),
            (vec![(carried, "0")], 1, 1, Try::Count { retries: 1 }),
            (vec![(carried, "1")], 1, 1, Try::Poison { retries: 1 }),
            (vec![(carried, "1")], 0, 1, Try::Run { retries: 1 }),
            (vec![(carried, "9")], 0, 1, Try::Run { retries: 9 }),
            (vec![(carried, "many")], 1, 1, Try::Count { retries: 1 }),
            (vec![(counted, "10")], 10, 10, Try::Run { retries: 10 }),
            (vec![(counted, "11")], 11, 10, Try::Poison { retries: 11 }),
            (vec![(counted, "2")], 0, 1, Try::Run { retries: 2 }),
            (vec![(counted, "?"), (carried, "3")], 1, 10, Try::Count { retries: 4 }),
            (vec![(counted, "1"), (carried, "9")], 1, 3, Try::Run { retries: 1 }),
        ] {
            let headers = headers(&entries);
            assert_eq!(which_try(&headers, redeliveries, limit), expected, "{entries:?} {redeliveries}");
        }
    }

    #[test]
    fn a_status_decides_together_with_the_destination() {
        use JobStatus as S;
        for status in JobStatus::ALL {
            for intended in [true, false] {
                for can_hold in [true, false] {
                    let expected = match (status, intended, can_hold) {
                        (S::Cancelled | S::Completed | S::Failed, ..) => Verdict::Discard,
                        (_, false, _) => Verdict::Forward,
                        (S::Paused, true, true) => Verdict::Hold,
                        (S::Paused | S::Active | S::Waiting, true, _) => Verdict::Run,
                    };
                    assert_eq!(verdict(Some(status), intended, can_hold), expected);
                    assert_eq!(verdict(None, intended, can_hold), Verdict::Discard);
                }
            }
        }
    }

    #[test]
    fn a_status_is_asked_for_once_its_interval_is_over() {
        let now = Timestamp::from_millis(10_000);
        let mut tracking = TrackingInfo {
            job_task_id: None,
            last_status_check_time: None,
            status_check_interval_millis: 5_000,
            status_check_url: None,
            tracking_pipe: None,
            track_to: None,
        };
        assert!(check_is_due(&tracking, now));
        for (last, due) in [(5_001, false), (5_000, true), (0, true), (i64::MAX, false)] {
            tracking.last_status_check_time = Some(Timestamp::from_millis(last));
            assert_eq!(check_is_due(&tracking, now), due, "{last}");
        }
    }

    #[test]
    fn counts_of_deliveries_stay_behind() {
        let message = TaskMessage::new_task("t", "W", 1, &b"{}"[..], "w-in");
        let incoming = headers(&[(HEADER_DELIVERY_COUNT, "3"), (HEADER_RETRY, "2"), ("trace", "x")]);
        assert_eq!(passed_on(&message, &incoming, "q").headers, headers(&[("trace", "x")]));
    }
}
