//! Values under keys that are never used for another value.

/// Names a value in [`Slots`]: its place, and which tenant of that place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

impl Key {
    fn new(generation: u32, index: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(index))
    }

    fn index(self) -> usize {
        // The low half; it came from a `u32`.
        (self.0 & u64::from(u32::MAX)) as usize
    }

    /// As a delivery tag.
    pub(crate) fn tag(self) -> u64 {
        self.0
    }

    /// From a delivery tag.
    pub(crate) fn from_tag(tag: u64) -> Self {
        Self(tag)
    }
}

/// Insertion, look-up and removal in constant time, in the space of the most values that were held at once.
///
/// A slot's generation wraps after four billion tenants; only a key kept that long could be mistaken.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    key: Key,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            let generation = (slot.key.0 >> 32) as u32;
            slot.key = Key::new(generation.wrapping_add(1), index);
            slot.value = Some(value);
            return slot.key;
        }
        let index = u32::try_from(self.slots.len()).expect("four billion values do not fit into memory");
        let key = Key::new(0, index);
        self.slots.push(Slot { key, value: Some(value) });
        key
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.key == key { slot.value.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.key != key {
            return None;
        }
        let value = slot.value.take()?;
        self.free.push(key.index() as u32);
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref().map(|value| (slot.key, value)))
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.slots.into_iter().filter_map(|slot| slot.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_never_names_the_next_tenant() {
        let mut slots = Slots::default();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_ne!(first, second);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut 'b'));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn places_are_used_again() {
        let mut slots = Slots::default();
        for value in 0..1_000 {
            let key = slots.insert(value);
            assert_eq!(slots.remove(Key::from_tag(key.tag())), Some(value));
        }
        assert!(slots.is_empty());
        assert_eq!(slots.slots.len(), 1);
    }
}
