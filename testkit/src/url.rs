//! The little that tests need to know about connection URLs.

use std::fmt::Write;

/// The same server and user, another database. Query parameters stay.
pub(crate) fn with_database(url: &str, database: &str) -> String {
    let authority_start = url.find("://").map_or(0, |position| position + 3);
    let authority_end =
        url[authority_start..].find(['/', '?']).map_or(url.len(), |position| authority_start + position);
    let query = url[authority_end..].find('?').map_or("", |position| &url[authority_end + position..]);
    format!("{}/{}{query}", &url[..authority_end], encode(database))
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::{encode, with_database};

    #[test]
    fn only_the_database_changes() {
        for (before, after) in [
            ("postgres://u:p@h:1/old", "postgres://u:p@h:1/new"),
            ("postgres://u:p@h:1/old?sslmode=disable", "postgres://u:p@h:1/new?sslmode=disable"),
            ("postgres://h?sslmode=disable", "postgres://h/new?sslmode=disable"),
            ("postgresql://h", "postgresql://h/new"),
        ] {
            assert_eq!(with_database(before, "new"), after);
        }
    }

    #[test]
    fn reserved_characters_are_encoded() {
        assert_eq!(encode("a/b c~é"), "a%2Fb%20c~%C3%A9");
    }
}
