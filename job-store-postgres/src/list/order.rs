//! How each sort field is stored and indexed, and where a cursor stands in it.
//!
//! A field has a group, which is indexed, and where the group alone does not decide the order, a finer value within it.
//! The job id, ascending, breaks ties in both directions. A descending listing therefore is not an index read backwards:
//! for fields in which many jobs share a value it goes from group to group, each read in id order. The group that most new jobs
//! belong to is not in the field's index, which costs them an entry less, but merged from others.

use std::cmp::Ordering;

use job_core::query::{Cursor, SortDirection, SortField, SortValue};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::job_rows::{percentage_group, update_group};
use crate::sort_key::{ABSENT, SortKey};

/// Where the rows come from, as the beginning of a subquery that ends in a condition on the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Job,
    Detail,
    Label,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Few jobs share a group: the index is walked, and ties are sorted as they come.
    Walk,
    /// Many may share one.
    Groups(Groups),
}

/// Groups that are found by skipping along an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Groups {
    /// A condition on the group `s.value`: whether it decides the order by itself.
    pub(super) decides: &'static str,
    /// What the entries of the index have in common, if it has not all jobs.
    pub(super) indexed: &'static str,
    /// The group that is not in the index, or not as a whole.
    pub(super) rest: Option<Rest>,
}

/// A group of jobs, in id order, that is merged from ranges of other indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) group: Group,
    /// Conditions, each of which makes a range; no job satisfies two.
    pub(super) ranges: &'static [&'static str],
}

/// A group that is known beforehand. What lies within it is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Of all texts the last.
    Absent,
    /// Of all percentages the first.
    Zero,
}

impl Group {
    /// Its columns `value` and `within`.
    pub(super) fn columns(self) -> &'static str {
        match self {
            Self::Absent => "'\\xff'::bytea AS value, ''::bytea AS within",
            Self::Zero => "0::smallint AS value, 0::smallint AS within",
        }
    }

    /// Where it stands to the group of a place.
    pub(super) fn beside(self, bound: &Bound) -> Ordering {
        match (self, bound) {
            (Self::Absent, Bound::Text { group, .. }) => ABSENT.cmp(group),
            (Self::Zero, Bound::Number { group, .. }) => 0.cmp(group),
            // A place is always made for the field of its listing.
            (Self::Absent, Bound::Number { .. }) | (Self::Zero, Bound::Text { .. }) => Ordering::Less,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) table: Table,
    pub(super) group: &'static str,
    /// Type of the group's parameter.
    pub(super) group_type: &'static str,
    pub(super) within: &'static str,
    pub(super) shape: Shape,
}

const TEXT_DECIDES: &str = "octet_length(s.value) < 400";

macro_rules! texts_without {
    ($($texts:literal)*) => {
        &[$(concat!("texts = ", $texts)),*]
    };
}

pub(super) fn order(field: &SortField) -> Order {
    let text = |group, within, indexed, ranges| Order {
        table: Table::Detail,
        group,
        group_type: "bytea",
        within,
        shape: Shape::Groups(Groups {
            decides: TEXT_DECIDES,
            indexed,
            rest: Some(Rest { group: Group::Absent, ranges }),
        }),
    };
    let number = |table, group, within, shape| Order { table, group, group_type: "bigint", within, shape };
    let all = Groups { decides: "true", indexed: "true", rest: None };
    match field {
        SortField::JobId => Order {
            table: Table::Detail,
            group: "id_key",
            group_type: "bytea",
            within: "''::bytea",
            shape: Shape::Walk,
        },
        SortField::Name => {
            text("name_key", "coalesce(name_rest, '')", "name_key < '\\xff'", texts_without!("0" "2" "4" "6"))
        }
        SortField::Description => text(
            "description_key",
            "coalesce(description_rest, '')",
            "description_key < '\\xff'",
            texts_without!("0" "1" "4" "5"),
        ),
        SortField::ExternalData => text(
            "external_data_key",
            "coalesce(external_data_rest, '')",
            "external_data_key < '\\xff'",
            texts_without!("0" "1" "2" "3"),
        ),
        SortField::Label(_) => Order {
            table: Table::Label,
            group: "value_key",
            group_type: "bytea",
            within: "coalesce(value_rest, '')",
            // Those that lack the label are a part of their own.
            shape: Shape::Groups(Groups {
                decides: TEXT_DECIDES,
                indexed: "value_key < '\\xff'",
                rest: None,
            }),
        },
        SortField::CreateTime => number(Table::Detail, "create_time", "0::bigint", Shape::Walk),
        SortField::LastUpdateTime => number(Table::Job, "update_group", "last_update_time", Shape::Walk),
        SortField::Status => number(Table::Job, "status", "0::bigint", Shape::Groups(all)),
        SortField::PercentageComplete => number(
            Table::Job,
            "percentage_group",
            "hundredths",
            Shape::Groups(Groups {
                // 100 percent.
                decides: "s.value = 101",
                indexed: "percentage_group > 0",
                rest: Some(Rest {
                    group: Group::Zero,
                    // 5 is Waiting.
                    ranges: &["percentage_group = 0 AND status <> 5", "percentage_group = 0 AND status = 5"],
                }),
            }),
        ),
    }
}

/// A place in an order, in the form of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Number { group: i64, within: i64 },
    Text { group: Vec<u8>, within: Vec<u8> },
}

/// Where a listing goes on: behind this job, whether that can be read or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bound: Bound,
    pub(super) job: String,
}

impl Place {
    pub(super) fn of_cursor(field: &SortField, cursor: &Cursor) -> Self {
        Self { bound: bound(field, &cursor.value), job: cursor.job.as_str().to_owned() }
    }

    /// Of a row with the columns `value` and `within`, in the type of the field's group, and `job_id`.
    pub(super) fn of_row(field: &SortField, row: &PgRow) -> Result<Self, sqlx::Error> {
        let bound = match order(field).group_type {
            "bigint" => Bound::Number { group: row.try_get("value")?, within: row.try_get("within")? },
            _ => Bound::Text { group: row.try_get("value")?, within: row.try_get("within")? },
        };
        Ok(Self { bound, job: row.try_get("job_id")? })
    }
}

/// A cursor may come from another listing: then it stands before or behind everything, as its kind of value does.
fn bound(field: &SortField, value: &SortValue) -> Bound {
    let number = match value {
        SortValue::Number(number) => *number,
        SortValue::Text(_) | SortValue::Null => i64::MAX,
    };
    match field {
        SortField::CreateTime | SortField::Status => Bound::Number { group: number, within: 0 },
        SortField::LastUpdateTime => {
            Bound::Number { group: update_group(job_core::Timestamp::from_millis(number)), within: number }
        }
        SortField::PercentageComplete => Bound::Number {
            group: match u16::try_from(number) {
                Ok(hundredths) if hundredths <= 10_000 => i64::from(percentage_group(hundredths)),
                _ if number < 0 => -1,
                _ => 102,
            },
            within: number,
        },
        _ => match value {
            SortValue::Number(_) => Bound::Text { group: Vec::new(), within: Vec::new() },
            SortValue::Text(text) => {
                let key = SortKey::of(Some(text));
                Bound::Text { group: key.key, within: key.rest.unwrap_or_default() }
            }
            SortValue::Null => Bound::Text { group: ABSENT.to_vec(), within: Vec::new() },
        },
    }
}

/// The words of a direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Direction {
    pub(super) word: &'static str,
    /// Further on in the listing.
    pub(super) behind: &'static str,
    /// The first value of a column in this direction.
    pub(super) first: &'static str,
}

pub(super) fn direction(direction: SortDirection) -> Direction {
    match direction {
        SortDirection::Ascending => Direction { word: " ASC", behind: " > ", first: "min" },
        SortDirection::Descending => Direction { word: " DESC", behind: " < ", first: "max" },
    }
}

#[cfg(test)]
mod tests {
    use job_core::JobStatus;

    use super::*;

    /// What the conditions of the index by percentage, and of what is not in it, call 5.
    #[test]
    fn waiting_is_the_status_that_the_index_by_percentage_leaves_out() {
        assert_eq!(crate::status_code::code(JobStatus::Waiting), 5);
        let migrations = crate::migrations::migrations();
        assert!(
            migrations.iter().any(|migration| migration.sql.contains("status <> 5 OR percentage_group > 0"))
        );
    }

    #[test]
    fn a_rest_stands_before_or_behind_a_place() {
        let text = |group: &[u8]| Bound::Text { group: group.to_vec(), within: Vec::new() };
        let number = |group| Bound::Number { group, within: 0 };
        for (group, bound, standing) in [
            (Group::Absent, text(b"z\0z"), Ordering::Greater),
            (Group::Absent, text(b""), Ordering::Greater),
            (Group::Absent, text(ABSENT), Ordering::Equal),
            (Group::Zero, number(-1), Ordering::Greater),
            (Group::Zero, number(0), Ordering::Equal),
            (Group::Zero, number(101), Ordering::Less),
        ] {
            assert_eq!(group.beside(&bound), standing, "{group:?} {bound:?}");
        }
    }
}
