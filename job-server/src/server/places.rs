//! How many connections there may be, in all and from one address.
//!
//! When all places are taken, whoever has said nothing yet has to make room for the next: otherwise a crowd of addresses
//! could keep everybody out by holding silent connections.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The places for connections. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
    max: usize,
    max_per_address: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Those on which no whole request has come yet, by their number, so that the oldest is the first.
    silent: BTreeMap<u64, (IpAddr, CancellationToken)>,
    next: u64,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    InAll,
    ForAddress,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    address: IpAddr,
    number: u64,
    lost: CancellationToken,
    has_spoken: AtomicBool,
}

impl Places {
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        Self { taken: Arc::default(), max, max_per_address }
    }

    /// Takes a place; of the oldest connection that is still silent, when there is no other.
    pub(super) fn take(&self, address: IpAddr) -> Result<Place, Full> {
        let address = network(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.by_address.get(&address).is_some_and(|here| *here >= self.max_per_address) {
            return Err(Full::ForAddress);
        }
        if taken.all >= self.max {
            let Some((_, (silent, lost))) = taken.silent.pop_first() else { return Err(Full::InAll) };
            lost.cancel();
            taken.release(silent);
        }
        *taken.by_address.entry(address).or_default() += 1;
        taken.all += 1;
        let (number, lost) = (taken.next, CancellationToken::new());
        taken.next += 1;
        taken.silent.insert(number, (address, lost.clone()));
        let has_spoken = AtomicBool::new(false);
        Ok(Place { taken: Arc::clone(&self.taken), address, number, lost, has_spoken })
    }
}

impl Taken {
    fn release(&mut self, address: IpAddr) {
        self.all -= 1;
        if let Some(here) = self.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Place {
    /// A whole request has come, so that nobody else gets this place any more. One that comes at the very moment in which
    /// the place is lost is still served, beyond the number of places.
    pub(super) fn speaks(&self) {
        if !self.has_spoken.swap(true, Ordering::SeqCst) {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            if taken.silent.remove(&self.number).is_none() {
                taken.all += 1;
                *taken.by_address.entry(self.address).or_default() += 1;
            }
        }
    }

    /// Completes when somebody else needs the place, unless a request has come before.
    pub(super) fn lost(&self) -> WaitForCancellationFutureOwned {
        self.lost.clone().cancelled_owned()
    }

    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken.load(Ordering::SeqCst)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.silent.remove(&self.number).is_some() || self.has_spoken() {
            taken.release(self.address);
        }
    }
}

/// What counts as one address: of IPv6 a whole network, since its owner has 2^64 addresses.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each_address_and_come_back() {
        let places = Places::new(3, 2);
        let (a, b, c) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [10, 0, 0, 3].into());
        let take = |address| places.take(address).inspect(Place::speaks);
        let first = take(a).unwrap();
        let _second = take(a).unwrap();
        assert_eq!(places.take(a).unwrap_err(), Full::ForAddress);
        let third = take(b).unwrap();
        assert_eq!(places.take(c).unwrap_err(), Full::InAll);
        drop(first);
        let _again = take(a).unwrap();
        drop(third);
        assert!(places.take(c).is_ok());
        assert_eq!(places.taken.lock().unwrap().by_address.len(), 1, "nothing is remembered of who left");
    }

    #[test]
    fn the_oldest_that_is_silent_makes_room() {
        let places = Places::new(3, 2);
        let (a, b, c) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [10, 0, 0, 3].into());
        let spoken = places.take(a).unwrap();
        spoken.speaks();
        let (first, second) = (places.take(a).unwrap(), places.take(b).unwrap());
        let newcomer = places.take(c).unwrap();
        assert!(first.lost.is_cancelled() && !second.lost.is_cancelled() && !spoken.lost.is_cancelled());
        // Its place is not free a second time.
        drop(first);
        assert_eq!(places.taken.lock().unwrap().all, 3);
        second.speaks();
        newcomer.speaks();
        assert_eq!(places.take(c).unwrap_err(), Full::InAll);
        // A request that came just when its place was lost counts all the same.
        drop(second);
        let late = places.take(b).unwrap();
        let last = places.take(c).unwrap();
        assert!(late.lost.is_cancelled());
        late.speaks();
        assert_eq!(places.taken.lock().unwrap().all, 4);
        for place in [spoken, newcomer, late, last] {
            drop(place);
        }
        let taken = places.taken.lock().unwrap();
        assert!(taken.all == 0 && taken.by_address.is_empty() && taken.silent.is_empty(), "{taken:?}");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
