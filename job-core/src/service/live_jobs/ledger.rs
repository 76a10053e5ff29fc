//! What this process knows about how many live jobs one partition has.

use std::time::Duration;

use crate::clock::Timestamp;

/// More jobs than other processes create in one partition in a second. A count is good for a second for each so many that
/// are yet allowed, so that partitions far from the limit are hardly ever counted.
const RATE_ASSUMED: u64 = 10_000;
/// Nobody is refused on an older count.
const GOOD_MIN: Duration = Duration::from_secs(1);
const GOOD_MAX: Duration = Duration::from_secs(60);

/// The last count, and what this process has done since.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    count: Option<Count>,
    /// Jobs that this process has created, but for those that the count has seen for certain.
    created: u64,
    /// Jobs that it is creating.
    pending: u64,
    is_known_full: bool,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    at: Timestamp,
    /// None when the store could not say.
    live: Option<u64>,
}

/// Whether one more job may be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It may, and is pending until it has [ended](Ledger::ended).
    Pending,
    /// It may not.
    Full {
        /// How many there are.
        live: u64,
        /// Whether nobody was told since there was plenty of room.
        is_news: bool,
    },
    /// Count first.
    Count,
}

impl Ledger {
    /// Asks for one more job where `max` may be live. While somebody `is_counting`, those that there is room for do not wait.
    pub(super) fn ask(&mut self, max: u64, now: Timestamp, is_counting: bool) -> Answer {
        let Some(count) = self.count else { return Answer::Count };
        let (live, is_good) = (self.live(count), self.is_good(max, now));
        // Where jobs are short, those that were created since may have finished long ago.
        let is_certain = is_good && self.created < (max / 10).max(1);
        match live {
            Some(live) if live >= max && is_certain => {
                Answer::Full { live, is_news: !std::mem::replace(&mut self.is_known_full, true) }
            }
            Some(live) if live >= max => Answer::Count,
            _ if is_good || is_counting => {
                self.pending += 1;
                Answer::Pending
            }
            _ => Answer::Count,
        }
    }

    /// A job that was pending is so no longer; whether it was created is seen at the next count when nobody knows.
    pub(super) fn ended(&mut self, is_created: bool) {
        self.pending = self.pending.saturating_sub(1);
        self.created += u64::from(is_created);
    }

    /// Jobs that a count which begins now cannot miss.
    pub(super) fn seen_by_a_count(&self) -> u64 {
        self.created
    }

    /// The store was asked, and had seen as many of our jobs as [`seen_by_a_count`](Self::seen_by_a_count) said. Those that
    /// were pending meanwhile may be in the count too: counting them twice, until the next count, keeps to the limit.
    pub(super) fn counted(&mut self, max: u64, at: Timestamp, live: Option<u64>, seen: u64) {
        let count = Count { at, live };
        self.count = Some(count);
        if live.is_some() {
            self.created = self.created.saturating_sub(seen);
        }
        // Where jobs finish one by one and others take their places, the log does not say so each time.
        if self.live(count).is_some_and(|live| live < max - max / 10) {
            self.is_known_full = false;
        }
    }

    /// Whether the count may still be relied on.
    pub(super) fn is_good(&self, max: u64, now: Timestamp) -> bool {
        let Some(count) = self.count else { return false };
        let allowed = self.live(count).map_or(0, |live| max.saturating_sub(live));
        now.since(count.at) < Duration::from_secs(allowed / RATE_ASSUMED).clamp(GOOD_MIN, GOOD_MAX)
    }

    fn live(&self, count: Count) -> Option<u64> {
        Some(count.live?.saturating_add(self.created).saturating_add(self.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn counted(max: u64, live: Option<u64>) -> Ledger {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.ask(max, at(0), true), Answer::Count, "nothing is known yet");
        ledger.counted(max, at(0), live, 0);
        ledger
    }

    #[test]
    fn what_is_pending_and_what_was_created_takes_up_room() {
        let mut ledger = counted(3, Some(1));
        assert_eq!(ledger.ask(3, at(1), false), Answer::Pending);
        assert_eq!(ledger.ask(3, at(1), false), Answer::Pending);
        assert_eq!(ledger.ask(3, at(1), false), Answer::Full { live: 3, is_news: true });
        ledger.ended(false);
        assert_eq!(ledger.ask(3, at(1), false), Answer::Pending, "one came to nothing");
        assert_eq!(ledger.ask(3, at(1), false), Answer::Full { live: 3, is_news: false });
    }

    #[test]
    fn nobody_is_refused_because_of_many_jobs_that_may_have_finished() {
        let mut ledger = counted(100, Some(90));
        for _ in 0..9 {
            assert_eq!(ledger.ask(100, at(1), false), Answer::Pending);
            ledger.ended(true);
        }
        assert_eq!(ledger.ask(100, at(1), false), Answer::Pending);
        assert_eq!(ledger.ask(100, at(1), false), Answer::Full { live: 100, is_news: true });
        ledger.ended(true);
        assert_eq!(ledger.ask(100, at(1), false), Answer::Count, "it was a tenth");
        ledger.counted(100, at(1), Some(99), ledger.seen_by_a_count());
        assert_eq!(ledger.ask(100, at(1), false), Answer::Pending);
    }

    #[test]
    fn nobody_is_refused_on_an_old_count_and_nobody_waits_who_need_not() {
        let mut ledger = counted(2, Some(2));
        assert_eq!(ledger.ask(2, at(999), true), Answer::Full { live: 2, is_news: true });
        assert_eq!(ledger.ask(2, at(1_000), true), Answer::Count);
        ledger.counted(2, at(1_000), Some(0), 0);
        assert_eq!(ledger.ask(2, at(2_000), false), Answer::Count);
        assert_eq!(ledger.ask(2, at(2_000), true), Answer::Pending, "somebody counts already");
        assert_eq!(ledger.ask(2, at(2_000), true), Answer::Pending);
        assert_eq!(ledger.ask(2, at(2_000), true), Answer::Count, "whether there is room has to be seen");
    }

    #[test]
    fn a_count_is_good_for_longer_when_it_is_far_from_the_limit() {
        for (max, live, millis) in [
            (1_000_000, 0, 60_000),
            (1_000_000, 500_000, 50_000),
            (1_000_000, 970_000, 3_000),
            (1_000_000, 999_999, 1_000),
            (100, 0, 1_000),
            (u64::MAX, 0, 60_000),
        ] {
            let mut ledger = counted(max, Some(live));
            assert!(ledger.is_good(max, at(millis - 1)) && !ledger.is_good(max, at(millis)), "{max} {live}");
            assert_eq!(ledger.ask(max, at(millis), false), Answer::Count, "{max} {live}");
            assert_eq!(ledger.ask(max, at(millis - 1), false), Answer::Pending, "{max} {live}");
        }
        let mut ledger = counted(30_000, Some(0));
        (0..=10_000).for_each(|_| assert_eq!(ledger.ask(30_000, at(1_500), false), Answer::Pending));
        assert_eq!(
            ledger.ask(30_000, at(1_500), false),
            Answer::Count,
            "what we create brings the limit near"
        );
    }

    #[test]
    fn a_count_replaces_what_it_has_seen_and_nothing_else() {
        let mut ledger = counted(10, Some(0));
        (0..3).for_each(|_| assert_eq!(ledger.ask(10, at(1), false), Answer::Pending));
        ledger.ended(true);
        let seen = ledger.seen_by_a_count();
        ledger.ended(true);
        ledger.counted(10, at(1_000), Some(1), seen);
        assert_eq!(
            ledger.live(ledger.count.unwrap()),
            Some(3),
            "one counted, one created since, one pending"
        );
        ledger.ended(false);
        ledger.counted(10, at(2_000), Some(2), ledger.seen_by_a_count());
        assert_eq!(ledger.live(ledger.count.unwrap()), Some(2));
    }

    #[test]
    fn a_store_that_cannot_say_refuses_nobody_and_is_asked_again_after_a_second() {
        let mut ledger = counted(1, None);
        for _ in 0..5 {
            assert_eq!(ledger.ask(1, at(999), false), Answer::Pending);
            ledger.ended(true);
        }
        assert_eq!(ledger.ask(1, at(1_000), false), Answer::Count);
        ledger.counted(1, at(1_000), None, ledger.seen_by_a_count());
        ledger.counted(1, at(2_000), Some(5), ledger.seen_by_a_count());
        assert_eq!(ledger.ask(1, at(2_000), false), Answer::Full { live: 5, is_news: true });
    }

    #[test]
    fn that_it_is_full_is_news_again_once_there_was_plenty_of_room() {
        let mut ledger = counted(20, Some(20));
        for (second, live, expected) in
            [(1, 20, Some(true)), (2, 18, None), (3, 20, Some(false)), (4, 17, None), (5, 20, Some(true))]
        {
            let now = at(second * 1_000);
            ledger.counted(20, now, Some(live), 0);
            if let Some(is_news) = expected {
                assert_eq!(ledger.ask(20, now, false), Answer::Full { live: 20, is_news }, "{second}");
            }
        }
    }
}
