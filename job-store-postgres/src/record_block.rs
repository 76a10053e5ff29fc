//! Records of neighbouring siblings, stored together: a batch that touches many small subtrees rewrites few rows.

use std::collections::BTreeMap;

/// How many siblings share a row: enough that a row is worth its overhead, few enough that it mostly fits a page's
/// quarter.
pub(crate) const SIBLINGS: u32 = 16;

/// The row that has the record of the child with this number.
pub(crate) const fn block_of(number: u32) -> u32 {
    number / SIBLINGS
}

/// Records by number.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Block(pub(crate) BTreeMap<u32, Vec<u8>>);

impl Block {
    /// Per record: its place among the siblings of the block, its length, its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.0.values().map(|record| record.len() + 5).sum());
        for (number, record) in &self.0 {
            data.push((number % SIBLINGS) as u8);
            data.extend_from_slice(&(record.len() as u32).to_le_bytes());
            data.extend_from_slice(record);
        }
        data
    }

    /// `None` when the bytes are not a block.
    pub(crate) fn decode(index: u32, mut data: &[u8]) -> Option<Self> {
        let mut records = BTreeMap::new();
        while let Some((place, rest)) = data.split_first() {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let number = index.checked_mul(SIBLINGS)?.checked_add(u32::from(*place))?;
            if u32::from(*place) >= SIBLINGS || records.insert(number, record.to_vec()).is_some() {
                return None;
            }
            data = rest;
        }
        Some(Self(records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_read_back_and_damage_is_noticed() {
        let block = Block([(32, vec![1, 2]), (47, vec![]), (40, vec![7; 300])].into());
        let data = block.encode();
        assert_eq!(Block::decode(2, &data), Some(block));
        assert_eq!(Block::decode(0, &[]), Some(Block::default()));
        assert_eq!(Block::decode(2, &data[..data.len() - 1]), None);
        assert_eq!(Block::decode(2, &[16, 0, 0, 0, 0]), None);
        assert_eq!(Block::decode(2, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Block::decode(u32::MAX, &data), None);
    }
}
