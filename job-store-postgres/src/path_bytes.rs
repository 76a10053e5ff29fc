//! Task paths as they are stored: four bytes per level, so that byte order is depth first and a task with all below it
//! is one range.

use job_core::{Error, ErrorKind, Result, TaskPath};

pub(crate) fn encode(path: &TaskPath) -> Vec<u8> {
    path.numbers().iter().flat_map(|number| number.to_be_bytes()).collect()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<TaskPath> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "a stored task path is damaged");
    let (numbers, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(corrupt());
    }
    let numbers: Vec<u32> = numbers.iter().map(|number| u32::from_be_bytes(*number)).collect();
    TaskPath::new(&numbers).map_err(|_| corrupt())
}

/// The first path behind `path` and all below it, in stored form. Numbers end at 2^31-1, so adding one never carries.
pub(crate) fn end_of_subtree(path: &TaskPath) -> Vec<u8> {
    match path.split_last() {
        Some((parent, number)) => {
            let mut bytes = encode(&parent);
            bytes.extend_from_slice(&(number + 1).to_be_bytes());
            bytes
        }
        None => vec![0xff],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_one_range() {
        let path = |text: &str| text.parse::<TaskPath>().unwrap();
        let range = |text| encode(&path(text))..end_of_subtree(&path(text));
        for within in [".1", ".1.1", ".1.2147483647.3"] {
            assert!(range(".1").contains(&encode(&path(within))), "{within}");
            assert!(range("").contains(&encode(&path(within))), "{within}");
        }
        for outside in ["", ".2", ".10", ".2.1"] {
            assert!(!range(".1").contains(&encode(&path(outside))), "{outside}");
        }
        assert!(range(".2147483647").contains(&encode(&path(".2147483647.5"))));
    }

    #[test]
    fn paths_read_back_and_damage_is_noticed() {
        for text in ["", ".1", ".7.2147483647.3"] {
            let path: TaskPath = text.parse().unwrap();
            assert_eq!(decode(&encode(&path)).unwrap(), path);
        }
        assert!(decode(&[0, 0, 1]).is_err());
        assert!(decode(&[0, 0, 0, 0]).is_err());
    }
}
