//! The parameters behind the `?` of a request.

use std::borrow::Cow;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str};

use crate::error::ApiError;

/// What stands in a piece of a URL as it is (RFC 3986 §2.3); all else is escaped.
pub(crate) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Decoded parameters, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct QueryString {
    parameters: Vec<(String, String)>,
}

impl QueryString {
    /// Reads `a=1&b=x%20y+z`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let parameters = text
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                Ok((decode_form(name)?, decode_form(value)?))
            })
            .collect::<Result<_, ApiError>>()?;
        Ok(Self { parameters })
    }

    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A whole number from 0 to `max`; absent or empty is `None`.
    pub(crate) fn number<T>(&self, name: &str, max: T) -> Result<Option<T>, ApiError>
    where
        T: FromStr + PartialOrd + std::fmt::Display + Copy,
    {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        match text.parse::<T>() {
            Ok(number) if number <= max => Ok(Some(number)),
            _ => Err(ApiError::bad_request(format!(
                "{name} is {:?}: expected a whole number from 0 to {max}",
                excerpt(text)
            ))),
        }
    }
}

/// Enough of a wrong value to recognise it.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

fn decode_form(text: &str) -> Result<String, ApiError> {
    if text.contains('+') { decode(&text.replace('+', " ")) } else { decode(text) }
}

/// Undoes percent-encoding, strictly: what is not an encoding of UTF-8 is an error.
pub(crate) fn decode(text: &str) -> Result<String, ApiError> {
    let wrong = |why| ApiError::bad_request(format!("{:?} in the URL is {why}", excerpt(text)));
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[at + 3..],
            _ => return Err(wrong("not percent-encoded: expected two hexadecimal digits behind each %")),
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| wrong("not UTF-8 once it is decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_values_counts_and_all_can_be_had() {
        let query = QueryString::parse("a=1&b=x%20y+z&a=2&&c").unwrap();
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("x y z"));
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.get("d"), None);
    }

    #[test]
    fn wrong_encodings_and_numbers_are_refused() {
        for wrong in ["a=%", "a=%4", "a=%zz", "%ff=1", "a=%c3%28"] {
            assert!(QueryString::parse(wrong).is_err(), "{wrong}");
        }
        let query = QueryString::parse("a=-1&b=x&c=11&d=&e=10").unwrap();
        assert!(query.number("a", 10_u32).is_err());
        assert!(query.number("b", 10_u32).is_err());
        assert!(query.number("c", 10_u32).is_err());
        assert_eq!(query.number("d", 10_u32).unwrap(), None);
        assert_eq!(query.number("e", 10_u32).unwrap(), Some(10));
    }
}
