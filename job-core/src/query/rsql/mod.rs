//! Reading a filter from its text form, RSQL (REST contract §2.3).
//!
//! ```text
//! filter     = blanks or blanks
//! or         = and *( separator<",", "or"> and )
//! and        = constraint *( separator<";", "and"> constraint )
//! constraint = blanks ( group / comparison )
//! group      = "(" or blanks ")"
//! comparison = key blanks operator blanks arguments
//! key        = 1*unreserved
//! operator   = "==" / "!=" / "=in=" / "=out=" / order
//! order      = "=gt=" / ">" / "=ge=" / ">=" / "=lt=" / "<" / "=le=" / "<="
//! arguments  = "(" listed *( "," listed ) ")" / value
//! listed     = blanks value blanks
//! value      = quoted / 1*unreserved
//! quoted     = quote *( "\" any / any but quote and "\" ) quote, with the same " or ' as quote
//! unreserved = any but "'();,=<>!~, space and tab
//!
//! separator<sign, word> = blanks sign / 1*blank word, before a blank
//! blanks     = *blank
//! blank      = space / tab
//! ```
//!
//! [`grammar`] has a function for each of these rules, [`meaning`] makes a [`Filter`] of a comparison, and a [`fault`]
//! knows its place in the text. What a filter means is not decided here, but by [`Filter::matches`].

mod fault;
mod grammar;
mod meaning;
#[cfg(test)]
mod print;
#[cfg(test)]
mod tests;

use super::filter::Filter;
use crate::error::Error;

/// Longest text of a filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of parentheses.
pub const FILTER_DEPTH_MAX: usize = 32;
/// Most comparisons in a filter.
pub const FILTER_TERMS_MAX: usize = 256;
/// Most values of one comparison.
pub const FILTER_VALUES_MAX: usize = 1_000;

/// Reads a filter.
///
/// ```
/// use job_core::query::{Filter, TextKey, TextTest, parse_filter};
/// let filter = parse_filter("name==report*;labels.tag:1=in=(red,'dark blue')")?;
/// assert_eq!(
///     filter,
///     Filter::And(vec![
///         Filter::Text(TextKey::Name, TextTest::Like("report*".into())),
///         Filter::Text(TextKey::Label("tag:1".into()), TextTest::In(vec!["red".into(), "dark blue".into()])),
///     ])
/// );
/// let error = parse_filter("name=").unwrap_err();
/// assert!(error.message().starts_with("Unable to parse filter: character 5: expected an operator"));
/// # Ok::<(), job_core::Error>(())
/// ```
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid), saying where the text is wrong and what was expected there.
pub fn parse_filter(text: &str) -> Result<Filter, Error> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(Error::invalid(format!(
            "Unable to parse filter: it is {} bytes long, at most {FILTER_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    grammar::read(text).map_err(|fault| fault.explain(text))
}
