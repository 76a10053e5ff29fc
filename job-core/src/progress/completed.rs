//! The set of completed children of one task: a bitmap in chunks, so that a store rewrites a few hundred bytes however
//! many siblings there are.

use super::codec::{Corrupt, Reader, write_varint};

/// How many children one chunk covers. Chunk `i` holds the numbers `i * 8192` to `i * 8192 + 8191`.
pub const CHUNK_CHILDREN: u32 = 8192;

const WORD_BITS: u32 = u64::BITS;

/// The chunk that holds a child's bit.
#[must_use]
pub const fn chunk_of(number: u32) -> u32 {
    number / CHUNK_CHILDREN
}

/// One chunk; no longer than its last set bit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    words: Vec<u64>,
    dirty: bool,
}

impl Chunk {
    fn contains(&self, offset: u32) -> bool {
        self.words
            .get((offset / WORD_BITS) as usize)
            .is_some_and(|word| word & (1 << (offset % WORD_BITS)) != 0)
    }

    fn insert(&mut self, offset: u32) -> bool {
        let index = (offset / WORD_BITS) as usize;
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        let bit = 1 << (offset % WORD_BITS);
        let fresh = self.words[index] & bit == 0;
        self.words[index] |= bit;
        self.dirty |= fresh;
        fresh
    }

    /// How many bits are set at or behind `offset`.
    fn count_from(&self, offset: u32) -> u32 {
        let first = (offset / WORD_BITS) as usize;
        let Some((head, tail)) = self.words.get(first..).and_then(<[u64]>::split_first) else { return 0 };
        (head >> (offset % WORD_BITS)).count_ones() + tail.iter().map(|word| word.count_ones()).sum::<u32>()
    }

    fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// First the length of the run of ones that the chunk begins with (children complete roughly in order, so this is
    /// most of it), then the bytes behind that run, little endian, without trailing zeros. Bit 0 of chunk 0 belongs to
    /// no child and is written as set, so that the run can begin.
    pub(crate) fn encode(&self, index: u32, out: &mut Vec<u8>) {
        let head = u64::from(index == 0);
        let word = |i: usize| self.words.get(i).copied().unwrap_or(0) | if i == 0 { head } else { 0 };
        let run: u32 = {
            let full = (0..self.words.len()).take_while(|i| word(*i) == u64::MAX).count();
            full as u32 * WORD_BITS
                + if full < self.words.len().max(1) { word(full).trailing_ones() } else { 0 }
        };
        write_varint(out, u64::from(run));
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        let skip = (run / 8) as usize;
        if skip < bytes.len() {
            out.extend_from_slice(&bytes[skip..]);
        }
    }

    pub(crate) fn decode(index: u32, reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let run = u32::try_from(reader.varint()?)
            .ok()
            .filter(|run| *run <= CHUNK_CHILDREN)
            .ok_or(Corrupt("chunk run"))?;
        let rest = reader.rest();
        let skip = (run / 8) as usize;
        if skip + rest.len() > (CHUNK_CHILDREN / 8) as usize {
            return Err(Corrupt("chunk length"));
        }
        let mut bytes = vec![0xff; skip];
        bytes.extend_from_slice(rest);
        if run % 8 != 0 {
            bytes.resize(bytes.len().max(skip + 1), 0);
            bytes[skip] |= (1u8 << (run % 8)) - 1;
        }
        if index == 0 && !bytes.is_empty() {
            bytes[0] &= !1;
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("chunks of 8 bytes")))
            .collect();
        Ok(Self { words, dirty: false })
    }
}

/// The completed children of one task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Completed {
    /// Sorted by index. Usually dense from 0, so that the position is the index.
    chunks: Vec<(u32, Chunk)>,
}

impl Completed {
    fn position(&self, index: u32) -> Result<usize, usize> {
        match self.chunks.get(index as usize) {
            Some((found, _)) if *found == index => Ok(index as usize),
            _ => self.chunks.binary_search_by_key(&index, |(index, _)| *index),
        }
    }

    pub(crate) fn contains(&self, number: u32) -> bool {
        self.position(chunk_of(number)).is_ok_and(|at| self.chunks[at].1.contains(number % CHUNK_CHILDREN))
    }

    /// Whether the number was not in the set before.
    pub(crate) fn insert(&mut self, number: u32) -> bool {
        let index = chunk_of(number);
        let at = self.position(index).unwrap_or_else(|at| {
            self.chunks.insert(at, (index, Chunk::default()));
            at
        });
        self.chunks[at].1.insert(number % CHUNK_CHILDREN)
    }

    /// How many numbers greater than `number` are in the set.
    pub(crate) fn count_above(&self, number: u32) -> u32 {
        let (index, offset) = (chunk_of(number + 1), (number + 1) % CHUNK_CHILDREN);
        self.chunks
            .iter()
            .map(|(i, chunk)| match (*i).cmp(&index) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => chunk.count_from(offset),
                std::cmp::Ordering::Greater => chunk.count_from(0),
            })
            .sum()
    }

    /// How many numbers are in the set.
    pub(crate) fn count(&self) -> u32 {
        self.chunks.iter().map(|(_, chunk)| chunk.count_from(0)).sum()
    }

    pub(crate) fn put(&mut self, index: u32, chunk: Chunk) {
        match self.position(index) {
            Ok(at) => self.chunks[at].1 = chunk,
            Err(at) => self.chunks.insert(at, (index, chunk)),
        }
    }

    pub(crate) fn first(&self) -> Option<&Chunk> {
        self.chunks.first().filter(|(index, _)| *index == 0).map(|(_, chunk)| chunk)
    }

    /// The chunks behind the first that changed since the last call.
    pub(crate) fn drain_dirty(&mut self) -> impl Iterator<Item = (u32, &Chunk)> {
        self.chunks.iter_mut().filter_map(|(index, chunk)| {
            let dirty = std::mem::take(&mut chunk.dirty);
            (dirty && *index > 0 && !chunk.is_empty()).then_some((*index, &*chunk))
        })
    }

    /// The numbers in the set greater than `after`, ascending.
    pub(crate) fn numbers_after(&self, after: u32) -> impl Iterator<Item = u32> {
        let start = chunk_of(after);
        self.chunks.iter().filter(move |(index, _)| *index >= start).flat_map(move |(index, chunk)| {
            let base = index * CHUNK_CHILDREN;
            let bits = chunk.words.len() as u32 * WORD_BITS;
            (0..bits)
                .filter(|offset| chunk.contains(*offset))
                .map(move |offset| base + offset)
                .filter(move |n| *n > after)
        })
    }

    /// Bytes of heap memory in use.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<(u32, Chunk)>()
            + self.chunks.iter().map(|(_, chunk)| chunk.words.capacity() * 8).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(index: u32, chunk: &Chunk) -> Chunk {
        let mut bytes = Vec::new();
        chunk.encode(index, &mut bytes);
        Chunk::decode(index, &mut Reader::new(&bytes)).unwrap()
    }

    fn bits(chunk: &Chunk) -> Vec<u32> {
        (0..CHUNK_CHILDREN).filter(|offset| chunk.contains(*offset)).collect()
    }

    #[test]
    fn a_chunk_completed_in_order_is_a_few_bytes() {
        let mut chunk = Chunk::default();
        for offset in 1..CHUNK_CHILDREN {
            chunk.insert(offset);
            let mut bytes = Vec::new();
            chunk.encode(0, &mut bytes);
            assert!(bytes.len() <= 3, "{offset}: {}", bytes.len());
        }
        assert_eq!(bits(&round_trip(0, &chunk)).len(), 8191);
    }

    #[test]
    fn damaged_chunks_are_refused() {
        for bytes in [&[][..], &[0xff, 0xff, 0x03], &[0x80], &[0; 1026]] {
            assert!(Chunk::decode(0, &mut Reader::new(bytes)).is_err(), "{}", bytes.len());
        }
    }

    proptest! {
        #[test]
        fn chunks_read_back_what_they_write(index in 0..3u32, offsets in prop::collection::vec(0..CHUNK_CHILDREN, 0..300), run in 0..CHUNK_CHILDREN) {
            let mut chunk = Chunk::default();
            for offset in (0..run).chain(offsets) {
                if index > 0 || offset > 0 {
                    chunk.insert(offset);
                }
            }
            prop_assert_eq!(bits(&round_trip(index, &chunk)), bits(&chunk));
        }

        #[test]
        fn the_set_counts_like_a_set(numbers in prop::collection::btree_set(1..60_000u32, 0..200), above in 0..60_000u32) {
            let mut completed = Completed::default();
            for number in numbers.iter().rev() {
                prop_assert!(completed.insert(*number));
                prop_assert!(!completed.insert(*number));
            }
            prop_assert_eq!(completed.count() as usize, numbers.len());
            prop_assert_eq!(completed.count_above(above) as usize, numbers.range(above + 1..).count());
            prop_assert!(completed.numbers_after(above).eq(numbers.range(above + 1..).copied()));
            for number in 1..200 {
                prop_assert_eq!(completed.contains(number), numbers.contains(&number));
            }
        }
    }
}
