//! Which deliveries of a channel are unsettled, and how some of them are settled with the fewest frames.

use std::collections::BTreeSet;

use lapin::types::DeliveryTag;

/// The tags that were delivered and not yet settled. The broker numbers the deliveries of a channel from 1 upwards.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(BTreeSet<DeliveryTag>);

/// Frames that settle some deliveries and no others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Settles this one and every unsettled one before it.
    pub(crate) up_to: Option<DeliveryTag>,
    /// Settles each of these alone.
    pub(crate) alone: Vec<DeliveryTag>,
}

impl Unsettled {
    pub(crate) fn insert(&mut self, tag: DeliveryTag) {
        self.0.insert(tag);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes these tags out. "Up to" is used only as far as no other delivery is unsettled, whoever holds it.
    pub(crate) fn take(&mut self, tags: &[DeliveryTag]) -> Plan {
        let mut tags: Vec<DeliveryTag> = tags.to_vec();
        tags.sort_unstable();
        let mut plan = Plan::default();
        let mut run = 0;
        for tag in tags {
            if plan.alone.is_empty() && self.0.first() == Some(&tag) {
                self.0.pop_first();
                plan.up_to = Some(tag);
                run += 1;
            } else if self.0.remove(&tag) {
                plan.alone.push(tag);
            }
        }
        if run == 1 {
            plan.alone.extend(plan.up_to.take());
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsettled(tags: impl IntoIterator<Item = DeliveryTag>) -> Unsettled {
        Unsettled(tags.into_iter().collect())
    }

    fn plan(up_to: impl Into<Option<DeliveryTag>>, alone: &[DeliveryTag]) -> Plan {
        Plan { up_to: up_to.into(), alone: alone.to_vec() }
    }

    #[test]
    fn only_what_lies_before_nothing_else_is_settled_together() {
        for (before, taken, expected, after) in [
            (&[1, 2, 3, 4][..], &[1, 2, 3][..], plan(3, &[]), &[4][..]),
            (&[1, 2, 3, 4], &[3, 1, 2, 4], plan(4, &[]), &[]),
            (&[1, 2, 3, 4], &[1, 2, 4], plan(2, &[4]), &[3]),
            (&[1, 2, 3, 4], &[2, 3, 4], plan(None, &[2, 3, 4]), &[1]),
            (&[1, 2, 3, 4], &[1], plan(None, &[1]), &[2, 3, 4]),
            (&[1, 2, 3, 4], &[1, 3], plan(None, &[3, 1]), &[2, 4]),
            // Gaps are what was settled before.
            (&[2, 7, 9], &[2, 7], plan(7, &[]), &[9]),
            (&[2, 7], &[], plan(None, &[]), &[2, 7]),
            // What is not unsettled is none of the broker's business any more.
            (&[2, 7], &[1, 2, 3, 7, 8], plan(7, &[]), &[]),
            (&[], &[1, 2], plan(None, &[]), &[]),
        ] {
            let mut tags = unsettled(before.iter().copied());
            assert_eq!(tags.take(taken), expected, "{before:?} {taken:?}");
            assert_eq!(tags.0, after.iter().copied().collect());
        }
    }

    /// Plays the broker: whatever is settled in whatever order, each tag is settled exactly as it was asked for.
    #[test]
    fn the_broker_settles_exactly_what_was_named() {
        let mut seed = 7_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let (mut ours, mut brokers) = (Unsettled::default(), BTreeSet::new());
            let mut next_tag = 1;
            for _ in 0..100 {
                for _ in 0..random(5) {
                    ours.insert(next_tag);
                    brokers.insert(next_tag);
                    next_tag += 1;
                }
                let named: Vec<DeliveryTag> = ours.0.iter().copied().filter(|_| random(2) == 0).collect();
                let expected: BTreeSet<_> =
                    brokers.iter().copied().filter(|tag| !named.contains(tag)).collect();
                let plan = ours.take(&named);
                if let Some(up_to) = plan.up_to {
                    assert!(brokers.contains(&up_to));
                    brokers.retain(|tag| *tag > up_to);
                }
                for tag in plan.alone {
                    assert!(brokers.remove(&tag), "the broker closes a channel over a tag it does not know");
                }
                assert_eq!(brokers, expected);
            }
        }
    }
}
