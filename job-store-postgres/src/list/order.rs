//! How each sort field is stored and indexed, and where a cursor stands in it.
//!
//! A field has a group, which is indexed, and where the group alone does not decide the order, a finer value within it.
//! The job id, ascending, breaks ties in both directions. A descending listing therefore is not an index read backwards:
//! for fields in which many jobs share a value it goes from group to group, each read in id order.

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
    /// Many may share one. The text is a condition on the group `s.value`: whether it decides the order by itself.
    Groups(&'static str),
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

pub(super) fn order(field: &SortField) -> Order {
    let text = |table, group, within| Order {
        table,
        group,
        group_type: "bytea",
        within,
        shape: Shape::Groups(TEXT_DECIDES),
    };
    let number = |table, group, within, shape| Order { table, group, group_type: "bigint", within, shape };
    match field {
        SortField::JobId => Order { shape: Shape::Walk, ..text(Table::Detail, "id_key", "''::bytea") },
        SortField::Name => text(Table::Detail, "name_key", "coalesce(name_rest, '')"),
        SortField::Description => text(Table::Detail, "description_key", "coalesce(description_rest, '')"),
        SortField::ExternalData => {
            text(Table::Detail, "external_data_key", "coalesce(external_data_rest, '')")
        }
        SortField::Label(_) => text(Table::Label, "value_key", "coalesce(value_rest, '')"),
        SortField::CreateTime => number(Table::Detail, "create_time", "0::bigint", Shape::Walk),
        SortField::LastUpdateTime => number(Table::Job, "update_group", "last_update_time", Shape::Walk),
        SortField::Status => number(Table::Job, "status", "0::bigint", Shape::Groups("true")),
        SortField::PercentageComplete => number(
            Table::Job,
            "percentage_group",
            "hundredths",
            // 0 and 100 percent.
            Shape::Groups("s.value IN (0, 101)"),
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
