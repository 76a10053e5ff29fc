//! Statuses as they are stored: their place in sort order.

use job_core::{Error, ErrorKind, JobStatus, Result};

pub(crate) fn code(status: JobStatus) -> i16 {
    status as i16
}

pub(crate) fn status(code: i16) -> Result<JobStatus> {
    usize::try_from(code)
        .ok()
        .and_then(|code| JobStatus::ALL.get(code).copied())
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("the stored status {code} is unknown")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_sort_order_and_read_back() {
        for (place, known) in JobStatus::ALL.into_iter().enumerate() {
            assert_eq!(usize::try_from(code(known)).unwrap(), place);
            assert_eq!(status(code(known)).unwrap(), known);
        }
        assert!(status(6).is_err());
        assert!(status(-1).is_err());
    }
}
