//! How much memory this process uses, where the operating system tells (Linux).

/// The resident set now, in bytes.
pub(crate) fn resident_bytes() -> Option<u64> {
    read("VmRSS:")
}

/// The largest that it has been, in bytes.
pub(crate) fn peak_resident_bytes() -> Option<u64> {
    read("VmHWM:")
}

fn read(field: &str) -> Option<u64> {
    bytes_of(field, &std::fs::read_to_string("/proc/self/status").ok()?)
}

fn bytes_of(field: &str, status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_among_others() {
        let status = "Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t  2048 kB\n";
        assert_eq!(bytes_of("VmHWM:", status), Some(2 * 1024 * 1024));
        assert_eq!(bytes_of("VmRSS:", status), None);
    }
}
