//! What a comparison tests: its key, its operator and its values become a leaf of the tree, or a fault.

use super::fault::{Fault, shown};
use crate::lifecycle::JobStatus;
use crate::query::filter::{Comparison, Filter, PercentageTest, StatusTest, TextKey, TextTest};

/// Something read, and the byte of the text where it begins.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) what: T,
    pub(super) at: usize,
}

/// How a comparison's key and values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    In,
    Out,
    Compare(Comparison),
}

impl Operator {
    pub(super) const fn takes_many(self) -> bool {
        matches!(self, Self::In | Self::Out)
    }
}

/// The condition that a comparison states. There is at least one value, and several only where the operator takes many.
pub(super) fn filter(
    key: &Placed<&str>,
    operator: Operator,
    values: Vec<Placed<String>>,
) -> Result<Filter, Fault> {
    let text_key = match key.what {
        "status" => return status_test(operator, &values).map(Filter::Status),
        "percentageComplete" => return percentage_test(operator, &values).map(Filter::Percentage),
        "id" => TextKey::Id,
        "name" => TextKey::Name,
        other => match other.strip_prefix("labels.") {
            Some(label) if !label.is_empty() => TextKey::Label(label.to_owned()),
            _ => return Err(Fault::unknown_key(key.at, other)),
        },
    };
    let values = values.into_iter().map(|value| value.what).collect();
    Ok(Filter::Text(text_key, text_test(operator, values)))
}

fn text_test(operator: Operator, mut values: Vec<String>) -> TextTest {
    let has_wildcard = values[0].contains('*');
    match operator {
        Operator::Equal if has_wildcard => TextTest::Like(values.remove(0)),
        Operator::NotEqual if has_wildcard => TextTest::NotLike(values.remove(0)),
        Operator::Equal | Operator::In => TextTest::In(values),
        Operator::NotEqual | Operator::Out => TextTest::NotIn(values),
        Operator::Compare(comparison) => TextTest::Compare(comparison, values.remove(0)),
    }
}

fn status_test(operator: Operator, values: &[Placed<String>]) -> Result<StatusTest, Fault> {
    let status = |value: &Placed<String>| {
        value.what.parse::<JobStatus>().map_err(|error| {
            let text = shown(&value.what);
            Fault::refused(
                value.at,
                match value.what.contains('*') {
                    true => format!("{text:?}: a wildcard has no meaning for a status"),
                    false => format!("{text:?}: {error}"),
                },
            )
        })
    };
    let mut statuses = values.iter().map(status).collect::<Result<Vec<_>, _>>()?;
    Ok(match operator {
        Operator::Equal | Operator::In => StatusTest::In(statuses),
        Operator::NotEqual | Operator::Out => StatusTest::NotIn(statuses),
        Operator::Compare(comparison) => StatusTest::Compare(comparison, statuses.remove(0)),
    })
}

fn percentage_test(operator: Operator, values: &[Placed<String>]) -> Result<PercentageTest, Fault> {
    let number = |value: &Placed<String>| {
        let number = value.what.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| {
            let text = shown(&value.what);
            Fault::refused(value.at, format!("{text:?} is not a number, as percentageComplete is"))
        })
    };
    let mut numbers = values.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    Ok(match operator {
        Operator::Equal | Operator::In => PercentageTest::In(numbers),
        Operator::NotEqual | Operator::Out => PercentageTest::NotIn(numbers),
        Operator::Compare(comparison) => PercentageTest::Compare(comparison, numbers.remove(0)),
    })
}
