//! The order of a listing: the same on every store, whatever a database's locale.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::JobId;
use crate::job::{Job, is_label_key};

/// What a listing is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SortField {
    /// The job id.
    JobId,
    /// The name.
    Name,
    /// The description.
    Description,
    /// The client's opaque text.
    ExternalData,
    /// When it was created.
    CreateTime,
    /// When it last changed.
    LastUpdateTime,
    /// The status, alphabetically.
    Status,
    /// The percentage as it is shown.
    PercentageComplete,
    /// The value of the label with this key.
    Label(String),
}

/// Ascending with absent values last, or descending with absent values first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortDirection {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// The order of a listing.
///
/// ```
/// use job_core::query::{Sort, SortDirection, SortField};
/// let sort: Sort = "labels.tag:1:asc".parse()?;
/// assert_eq!(sort.field, SortField::Label("tag:1".into()));
/// assert_eq!(sort.direction, SortDirection::Ascending);
/// # Ok::<(), job_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sort {
    /// By what.
    pub field: SortField,
    /// Which way.
    pub direction: SortDirection,
}

impl Default for Sort {
    /// Newest first.
    fn default() -> Self {
        Self { field: SortField::CreateTime, direction: SortDirection::Descending }
    }
}

/// As it is read: `createTime:desc`.
impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = match &self.field {
            SortField::JobId => "jobId",
            SortField::Name => "name",
            SortField::Description => "description",
            SortField::ExternalData => "externalData",
            SortField::CreateTime => "createTime",
            SortField::LastUpdateTime => "lastUpdateTime",
            SortField::Status => "status",
            SortField::PercentageComplete => "percentageComplete",
            SortField::Label(key) => return write!(f, "labels.{key}:{}", self.direction.as_str()),
        };
        write!(f, "{field}:{}", self.direction.as_str())
    }
}

impl SortDirection {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

impl FromStr for Sort {
    type Err = Error;

    /// `field:direction`; the direction is what follows the last colon, since a label key may hold colons.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (field, direction) = text
            .rsplit_once(':')
            .ok_or_else(|| Error::invalid(format!("Invalid format for sort: {}", shown(text))))?;
        let field = match field {
            "jobId" => SortField::JobId,
            "name" => SortField::Name,
            "description" => SortField::Description,
            "externalData" => SortField::ExternalData,
            "createTime" => SortField::CreateTime,
            "lastUpdateTime" => SortField::LastUpdateTime,
            "status" => SortField::Status,
            "percentageComplete" => SortField::PercentageComplete,
            _ => match field.strip_prefix("labels.") {
                Some(key) if is_label_key(key) => SortField::Label(key.to_owned()),
                Some(_) => return Err(Error::invalid("Invalid format for label sort specified")),
                None => return Err(Error::invalid(format!("Invalid value for sort field: {}", shown(text)))),
            },
        };
        let direction = match direction {
            "asc" => SortDirection::Ascending,
            "desc" => SortDirection::Descending,
            _ => {
                return Err(Error::invalid(format!(
                    "Invalid value for sort direction: {}",
                    shown(direction)
                )));
            }
        };
        Ok(Self { field, direction })
    }
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

/// What a job has in the field a listing is sorted by. `Null` is greatest, so that it comes last when ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortValue {
    /// A number: milliseconds, a status' place in alphabetical order, or hundredths of a percent.
    Number(i64),
    /// A text.
    Text(String),
    /// Absent.
    Null,
}

impl Ord for SortValue {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => compare_text(a, b),
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Number(_), _) | (_, Self::Null) => Ordering::Less,
            (Self::Null, _) | (_, Self::Number(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for SortValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Sort {
    /// What `job` has in the sorted field.
    #[must_use]
    pub fn value(&self, job: &Job) -> SortValue {
        let text = |text: Option<&String>| text.map_or(SortValue::Null, |text| SortValue::Text(text.clone()));
        match &self.field {
            SortField::JobId => SortValue::Text(job.key.job.as_str().to_owned()),
            SortField::Name => text(job.name.as_ref()),
            SortField::Description => text(job.description.as_ref()),
            SortField::ExternalData => text(job.external_data.as_ref()),
            SortField::CreateTime => SortValue::Number(job.create_time.as_millis()),
            SortField::LastUpdateTime => SortValue::Number(job.last_update_time.as_millis()),
            SortField::Status => SortValue::Number(job.status as i64),
            SortField::PercentageComplete => SortValue::Number(i64::from(job.percentage.hundredths())),
            SortField::Label(key) => text(job.labels.get(key).and_then(Option::as_ref)),
        }
    }

    /// Where `job` stands in this order.
    #[must_use]
    pub fn cursor(&self, job: &Job) -> Cursor {
        Cursor { value: self.value(job), job: job.key.job.clone(), is_cut: false }
    }

    /// The text form of a place in this order: opaque to clients, safe in a URL, and short enough for one.
    #[must_use]
    pub fn write_cursor(&self, cursor: &Cursor) -> String {
        let (value, is_cut) = match &cursor.value {
            SortValue::Text(text) => match text.char_indices().nth(CURSOR_CHARACTERS_MAX) {
                Some((end, _)) => (&SortValue::Text(text[..end].to_owned()), true),
                None => (&cursor.value, cursor.is_cut),
            },
            _ => (&cursor.value, false),
        };
        let json = serde_json::to_vec(&(value, cursor.job.as_str(), self.to_string(), is_cut))
            .expect("texts and numbers always serialise");
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Whether jobs may have `value` in the sorted field.
    fn has(&self, value: &SortValue) -> bool {
        match (&self.field, value) {
            (_, SortValue::Text(text)) if text.contains('\0') => false,
            (SortField::JobId, value) => matches!(value, SortValue::Text(_)),
            (
                SortField::CreateTime
                | SortField::LastUpdateTime
                | SortField::Status
                | SortField::PercentageComplete,
                value,
            ) => matches!(value, SortValue::Number(_)),
            (
                SortField::Name | SortField::Description | SortField::ExternalData | SortField::Label(_),
                value,
            ) => !matches!(value, SortValue::Number(_)),
        }
    }

    /// Reads the text form. A place in one order is none in another.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when the text did not come from [`write_cursor`](Self::write_cursor), or from
    /// that of another order.
    pub fn read_cursor(&self, text: &str) -> Result<Cursor, Error> {
        let wrong = || Error::invalid("after is not a cursor that this service gave out");
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let (value, job, sort, is_cut): (SortValue, String, String, bool) =
            serde_json::from_slice(&json).map_err(|_| wrong())?;
        if sort != self.to_string() {
            // What stands in it is shown only if it could have come from here.
            let sort: Self = sort.parse().map_err(|_| wrong())?;
            return Err(Error::invalid(format!(
                "after is a cursor of a listing with another sort, {}",
                shown(&sort.to_string())
            )));
        }
        if !self.has(&value) {
            return Err(wrong());
        }
        Ok(Cursor { value, job: JobId::new(job).map_err(|_| wrong())?, is_cut })
    }

    /// The order of two places in a listing.
    #[must_use]
    pub fn compare(&self, a: &Cursor, b: &Cursor) -> Ordering {
        let by_value = a.value.cmp(&b.value);
        let by_value = match self.direction {
            SortDirection::Ascending => by_value,
            SortDirection::Descending => by_value.reverse(),
        };
        by_value.then_with(|| a.job.as_str().cmp(b.job.as_str()))
    }
}

/// A place in a listing: the sorted value of a job and its id. It stays valid when that job is deleted.
/// [`Sort::write_cursor`] gives it a text form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The value in the sorted field.
    pub value: SortValue,
    /// The id that breaks ties.
    pub job: JobId,
    /// Whether `value` is only the beginning of what the job has. [`JobService::list`](crate::JobService::list) looks up the
    /// rest; once the job is gone, jobs whose texts begin alike may be listed again.
    pub is_cut: bool,
}

/// How much of a text a cursor carries. With four bytes each and base64 it fits into a URL.
const CURSOR_CHARACTERS_MAX: usize = 1_000;

/// The text by which a text is sorted first: each character in lower case where that is one character. Ties are broken
/// by the text itself, by code point: A, b, C.
///
/// A store that sorts in SQL keeps this text beside the original and compares both byte-wise.
#[must_use]
pub fn text_order_key(text: &str) -> String {
    text.chars().map(fold).collect()
}

fn fold(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

pub(super) fn compare_text(a: &str, b: &str) -> Ordering {
    a.chars().map(fold).cmp(b.chars().map(fold)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_sort_without_regard_to_case_first() {
        let mut texts = ["C", "b", "A", "a", "Z", "é", "É", "B"];
        texts.sort_by(|a, b| compare_text(a, b));
        assert_eq!(texts, ["A", "a", "B", "b", "C", "Z", "É", "é"]);
        let mut keyed = texts;
        keyed.sort_by_key(|text| (text_order_key(text), *text));
        assert_eq!(keyed, texts, "keys compared byte-wise give the same order");
    }

    #[test]
    fn wrong_sorts_are_refused_with_the_contracts_texts() {
        for (text, message) in [
            ("", "Invalid format for sort: "),
            ("name", "Invalid format for sort: name"),
            ("labels.:asc", "Invalid format for label sort specified"),
            ("labels.k:asc,name:desc", "Invalid format for label sort specified"),
            ("labels.\0:asc", "Invalid format for label sort specified"),
            ("size:asc", "Invalid value for sort field: size:asc"),
            ("name:up", "Invalid value for sort direction: up"),
        ] {
            assert_eq!(text.parse::<Sort>().unwrap_err().message(), message);
        }
    }

    #[test]
    fn cursors_survive_a_round_trip_and_nothing_else_is_one() {
        let at = |value| Cursor { value, job: JobId::new("j").unwrap(), is_cut: false };
        let cursor = at(SortValue::Text("ä b".into()));
        for (sort, cursor) in [
            ("name:asc", cursor.clone()),
            ("labels.a:b:desc", at(SortValue::Null)),
            ("createTime:desc", at(SortValue::Number(7))),
        ] {
            let sort: Sort = sort.parse().unwrap();
            assert_eq!(sort.read_cursor(&sort.write_cursor(&cursor)).unwrap(), cursor, "{sort}");
            for bad in ["", "x", "!!", "bnVsbA", "WyJhIiwiaiIsIiJd"] {
                assert!(sort.read_cursor(bad).is_err());
            }
        }
        for (sort, value) in [
            ("name:asc", SortValue::Number(1)),
            ("createTime:asc", SortValue::Text("1".into())),
            ("status:asc", SortValue::Null),
            ("jobId:asc", SortValue::Null),
            ("name:asc", SortValue::Text("\0".into())),
        ] {
            let sort: Sort = sort.parse().unwrap();
            assert!(sort.read_cursor(&sort.write_cursor(&at(value.clone()))).is_err(), "{sort} {value:?}");
        }
        let (name, description): (Sort, Sort) =
            ("name:asc".parse().unwrap(), "description:asc".parse().unwrap());
        let error = description.read_cursor(&name.write_cursor(&cursor)).unwrap_err();
        assert_eq!(error.message(), "after is a cursor of a listing with another sort, name:asc");
    }

    #[test]
    fn a_cursor_of_a_long_text_is_short_enough_for_a_url_and_says_that_it_is_cut() {
        let sort: Sort = "description:asc".parse().unwrap();
        for (character, times, is_cut) in
            [("x", 1_000, false), ("x", 1_001, true), ("\u{10ffff}", 100_000, true)]
        {
            let value = SortValue::Text(character.repeat(times));
            let text = sort.write_cursor(&Cursor { value, job: JobId::new("j").unwrap(), is_cut: false });
            assert!(text.len() < 6_000, "{}", text.len());
            let read = sort.read_cursor(&text).unwrap();
            assert_eq!(
                (read.value, read.is_cut),
                (SortValue::Text(character.repeat(times.min(1_000))), is_cut)
            );
        }
    }
}
