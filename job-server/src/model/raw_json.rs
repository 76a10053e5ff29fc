//! JSON that is kept as the client wrote it.

/// Deepest nesting of arrays and objects that is taken.
pub(super) const DEPTH_MAX: usize = 64;

/// A valid JSON text without the white space between its tokens; `None` when it is nested too deeply.
///
/// Members stay in their order and numbers as they were written.
pub(super) fn compact(json: &str) -> Option<String> {
    let mut compacted = String::with_capacity(json.len());
    let (mut in_string, mut escaped, mut depth) = (false, false, 0);
    // Runs between white space are copied whole, so that characters beyond ASCII are never cut.
    let mut begin = 0;
    for (at, byte) in json.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' if depth == DEPTH_MAX => return None,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b' ' | b'\t' | b'\r' | b'\n' => {
                compacted.push_str(&json[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    compacted.push_str(&json[begin..]);
    Some(compacted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_between_tokens_goes() {
        let json = "{ \"b \\\" c\" : [ 1.0 ,\n\t\"é \\\\\" ] ,\r \"a\" : { } }";
        assert_eq!(compact(json).unwrap(), "{\"b \\\" c\":[1.0,\"é \\\\\"],\"a\":{}}");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(compact(&nested(DEPTH_MAX)).is_some());
        assert!(compact(&nested(DEPTH_MAX + 1)).is_none());
        assert!(compact(&nested(1_000_000)).is_none());
    }
}
