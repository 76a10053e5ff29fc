//! Conditions that an index answers by itself: when few jobs satisfy one, it is cheaper to look at those few than to walk
//! the order of the listing past all others.

use job_core::query::{Filter, Selection, TextKey, TextTest, text_order_key};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use super::conditions;
use crate::sort_key::{KEY_BYTES_MAX, SortKey, end_of_prefix};
use crate::step::Trouble;

/// A superset of the selected jobs, as a range or some points of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Narrowing {
    IdPrefix(String),
    Ids(Vec<String>),
    Names(Vec<Vec<u8>>),
    /// Names whose key lies between these, the second excluded.
    NameRange(Vec<u8>, Option<Vec<u8>>),
    LabelKeys(Vec<String>),
    LabelValues(String, Vec<Vec<u8>>),
    Statuses(Vec<i16>),
}

/// Everything in the selection that narrows it.
pub(super) fn narrowings(selection: &Selection) -> Vec<Narrowing> {
    let mut found = Vec::new();
    if !selection.id_prefix.is_empty() {
        found.push(Narrowing::IdPrefix(selection.id_prefix.clone()));
    }
    if !selection.labels_exist.is_empty() {
        found.push(Narrowing::LabelKeys(selection.labels_exist.clone()));
    }
    found.extend(conditions::conjuncts(selection).filter_map(of_filter));
    let statuses = conditions::statuses(selection);
    if statuses.len() < job_core::JobStatus::ALL.len() {
        found.push(Narrowing::Statuses(conditions::codes(statuses)));
    }
    // U+0000 cannot be part of a parameter. Such a condition selects nothing, and is found to.
    found.retain(|narrowing| match narrowing {
        Narrowing::IdPrefix(text) | Narrowing::LabelValues(text, _) => !text.contains('\0'),
        Narrowing::Ids(texts) | Narrowing::LabelKeys(texts) => !texts.iter().any(|text| text.contains('\0')),
        _ => true,
    });
    found
}

fn of_filter(filter: &Filter) -> Option<Narrowing> {
    let Filter::Text(key, test) = filter else { return None };
    let keys = |values: &[String]| values.iter().map(|value| SortKey::of(Some(value)).key).collect();
    match (key, test) {
        (TextKey::Id, TextTest::In(values)) => Some(Narrowing::Ids(values.clone())),
        (TextKey::Name, TextTest::In(values)) => Some(Narrowing::Names(keys(values))),
        (TextKey::Label(label), TextTest::In(values)) => {
            Some(Narrowing::LabelValues(label.clone(), keys(values)))
        }
        (TextKey::Id, TextTest::Like(pattern)) => {
            let (prefix, _) = pattern.split_once('*')?;
            (!prefix.is_empty()).then(|| Narrowing::IdPrefix(prefix.to_owned()))
        }
        (TextKey::Name, TextTest::Like(pattern)) => {
            let (prefix, _) = pattern.split_once('*')?;
            let folded = text_order_key(prefix);
            let fits = !folded.is_empty() && folded.len() < KEY_BYTES_MAX && !folded.contains('\0');
            let end = end_of_prefix(&folded).map(String::into_bytes);
            fits.then(|| Narrowing::NameRange(folded.into_bytes(), end))
        }
        _ => None,
    }
}

impl Narrowing {
    /// Appends a query of the candidates' (`job_no`, `job_id`, `create_time`).
    pub(super) fn push(&self, sql: &mut QueryBuilder<Postgres>, partition: &str) {
        let table = match self {
            Self::IdPrefix(_) | Self::Ids(_) | Self::Statuses(_) => "job",
            Self::Names(_) | Self::NameRange(..) => "job_detail",
            Self::LabelKeys(_) | Self::LabelValues(..) => "job_label",
        };
        // A job may have several of the labels.
        let distinct = if matches!(self, Self::LabelKeys(keys) if keys.len() > 1) { "DISTINCT " } else { "" };
        sql.push("SELECT ").push(distinct).push("job_no, job_id, create_time FROM ").push(table);
        sql.push(" WHERE partition_id = ").push_bind(partition.to_owned());
        match self {
            Self::IdPrefix(prefix) => conditions::push_prefix_if_any(sql, "job_id", prefix),
            Self::Ids(ids) => {
                sql.push(" AND job_id = ANY(").push_bind(ids.clone()).push(")");
            }
            Self::Names(keys) => {
                sql.push(" AND name_key < '\\xff' AND name_key = ANY(").push_bind(keys.clone()).push(")");
            }
            Self::NameRange(first, end) => {
                sql.push(" AND name_key < '\\xff' AND name_key >= ").push_bind(first.clone());
                if let Some(end) = end {
                    sql.push(" AND name_key < ").push_bind(end.clone());
                }
            }
            Self::LabelKeys(keys) => {
                sql.push(" AND label_key = ANY(").push_bind(keys.clone()).push(")");
            }
            Self::LabelValues(key, values) => {
                sql.push(" AND label_key = ").push_bind(key.clone());
                sql.push(" AND value_key = ANY(").push_bind(values.clone()).push(")");
            }
            Self::Statuses(codes) => {
                sql.push(" AND status = ANY(").push_bind(codes.clone()).push(")");
            }
        }
    }
}

/// The narrowest, and how many jobs it leaves, counted no further than one more than `few`.
pub(super) async fn narrowest(
    connection: &mut PgConnection,
    partition: &str,
    narrowings: Vec<Narrowing>,
    few: i64,
) -> Result<Option<(Narrowing, i64)>, Trouble> {
    if narrowings.is_empty() {
        return Ok(None);
    }
    let mut sql = QueryBuilder::new("SELECT ");
    for (place, narrowing) in narrowings.iter().enumerate() {
        sql.push(if place == 0 { "(" } else { ", (" });
        sql.push("SELECT count(*) FROM (");
        narrowing.push(&mut sql, partition);
        sql.push(" LIMIT ").push_bind(few + 1).push(") few)");
    }
    let row = sql.build().persistent(false).fetch_one(connection).await?;
    let mut narrowest = None;
    for (place, narrowing) in narrowings.into_iter().enumerate() {
        let count: i64 = row.try_get(place)?;
        if narrowest.as_ref().is_none_or(|(_, least)| count < *least) {
            narrowest = Some((narrowing, count));
        }
    }
    Ok(narrowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_hold_narrows() {
        let name = |test| Filter::Text(TextKey::Name, test);
        let selection = Selection {
            id_prefix: "p".into(),
            filter: Some(Filter::And(vec![
                name(TextTest::Like("Ab*c".into())),
                name(TextTest::Like("*b".into())),
                name(TextTest::NotIn(vec!["x".into()])),
                Filter::Or(vec![name(TextTest::In(vec!["y".into()]))]),
            ])),
            ..Selection::default()
        };
        let range = Narrowing::NameRange(b"ab".to_vec(), Some(b"ac".to_vec()));
        let found = narrowings(&selection);
        assert!(found.contains(&range) && found.contains(&Narrowing::IdPrefix("p".into())), "{found:?}");
        assert_eq!(found.len(), 2);
        let poisoned = Selection { id_prefix: "a\0".into(), ..Selection::default() };
        assert_eq!(narrowings(&poisoned), []);
    }
}
