//! Filters as text, for tests: the other direction of the grammar.

use crate::query::filter::{Comparison, Filter, PercentageTest, StatusTest, TextKey, TextTest};

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn listed<T>(values: &[T], one: &str, many: &str, show: impl Fn(&T) -> String, plain: bool) -> String {
    match values {
        [value] if plain => format!("{one}{}", show(value)),
        _ => format!("{many}({})", values.iter().map(show).collect::<Vec<_>>().join(" , ")),
    }
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => "=ge=",
        Comparison::Less => "=lt=",
        Comparison::LessOrEqual => "<=",
    }
}

pub(super) fn print(filter: &Filter) -> String {
    let nested = |part: &Filter| match part {
        Filter::And(_) | Filter::Or(_) => format!("({})", print(part)),
        _ => print(part),
    };
    let join = |parts: &[Filter], with: &str| parts.iter().map(nested).collect::<Vec<_>>().join(with);
    match filter {
        Filter::And(parts) => join(parts, ";"),
        Filter::Or(parts) => join(parts, " or "),
        Filter::Text(key, test) => {
            let key = match key {
                TextKey::Id => "id".to_owned(),
                TextKey::Name => "name".to_owned(),
                TextKey::Label(label) => format!("labels.{label}"),
            };
            let plain = |values: &[String]| !values[0].contains('*');
            key + &match test {
                TextTest::In(values) => listed(values, "==", "=in=", |v| quoted(v), plain(values)),
                TextTest::NotIn(values) => listed(values, "!=", "=out=", |v| quoted(v), plain(values)),
                TextTest::Like(pattern) => format!("=={}", quoted(pattern)),
                TextTest::NotLike(pattern) => format!("!={}", quoted(pattern)),
                TextTest::Compare(comparison, value) => format!("{}{}", sign(*comparison), quoted(value)),
            }
        }
        Filter::Status(test) => {
            "status".to_owned()
                + &match test {
                    StatusTest::In(statuses) => listed(statuses, "==", "=in=", ToString::to_string, true),
                    StatusTest::NotIn(statuses) => listed(statuses, "!=", "=out=", ToString::to_string, true),
                    StatusTest::Compare(comparison, status) => format!("{}{status}", sign(*comparison)),
                }
        }
        Filter::Percentage(test) => {
            "percentageComplete".to_owned()
                + &match test {
                    PercentageTest::In(numbers) => listed(numbers, "==", "=in=", ToString::to_string, true),
                    PercentageTest::NotIn(numbers) => {
                        listed(numbers, "!=", "=out=", ToString::to_string, true)
                    }
                    PercentageTest::Compare(comparison, number) => {
                        format!("{}{number}", sign(*comparison))
                    }
                }
        }
    }
}
