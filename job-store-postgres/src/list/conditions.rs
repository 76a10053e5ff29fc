//! A selection as a condition in SQL. Everything a client said is bound as a parameter; the text is put together from
//! fixed fragments.
//!
//! A condition speaks of `g` (the candidate: its number and id), `d` (its row of `job_detail`) and `j` (its row of
//! `job`), and of the last two only where it needs to. There is no negation in the tree, so an unknown (null) comparison
//! acts as false, as it does in memory.

use job_core::JobStatus;
use job_core::query::{
    Comparison, Filter, PercentageTest, Selection, StatusTest, TextKey, TextTest, text_order_key,
};
use sqlx::{Postgres, QueryBuilder};

use crate::sort_key::{SortKey, end_of_prefix};
use crate::status_code;

/// What the condition of a selection is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) detail: bool,
    pub(crate) job: bool,
}

/// The statuses that can match: those of the group that no condition on the status alone excludes.
pub(crate) fn statuses(selection: &Selection) -> Vec<JobStatus> {
    let allowed = |status: &JobStatus| {
        selection.status_type.includes(*status)
            && conjuncts(selection).all(|filter| match filter {
                Filter::Status(test) => status_matches(test, *status),
                _ => true,
            })
    };
    JobStatus::ALL.into_iter().filter(allowed).collect()
}

/// The parts of the filter of which all must hold.
pub(crate) fn conjuncts(selection: &Selection) -> impl Iterator<Item = &Filter> {
    let mut parts: Vec<&Filter> = selection.filter.iter().collect();
    let mut flat = Vec::new();
    while let Some(part) = parts.pop() {
        match part {
            Filter::And(inner) => parts.extend(inner),
            other => flat.push(other),
        }
    }
    flat.into_iter()
}

fn status_matches(test: &StatusTest, status: JobStatus) -> bool {
    match test {
        StatusTest::In(statuses) => statuses.contains(&status),
        StatusTest::NotIn(statuses) => !statuses.contains(&status),
        StatusTest::Compare(comparison, other) => comparison.holds(status.cmp(other)),
    }
}

pub(crate) fn needs(selection: &Selection) -> Needs {
    let mut needs = Needs {
        detail: !selection.labels_exist.is_empty(),
        job: statuses(selection).len() < JobStatus::ALL.len(),
    };
    if let Some(filter) = &selection.filter {
        filter_needs(filter, &mut needs);
    }
    needs
}

fn filter_needs(filter: &Filter, needs: &mut Needs) {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| filter_needs(part, needs)),
        Filter::Text(TextKey::Id, TextTest::Compare(..)) => needs.detail = true,
        Filter::Text(TextKey::Id, _) => {}
        Filter::Text(..) => needs.detail = true,
        Filter::Status(_) | Filter::Percentage(_) => needs.job = true,
    }
}

/// Appends ` AND ...` for each part of the selection.
pub(crate) fn push(sql: &mut QueryBuilder<Postgres>, selection: &Selection) {
    push_prefix_if_any(sql, "g.job_id", &selection.id_prefix);
    let statuses = statuses(selection);
    if statuses.len() < JobStatus::ALL.len() {
        sql.push(" AND j.status = ANY(").push_bind(codes(statuses)).push(")");
    }
    if !selection.labels_exist.is_empty() {
        sql.push(" AND d.labels ?| ").push_bind(without_nul(&selection.labels_exist));
    }
    if let Some(filter) = &selection.filter {
        sql.push(" AND ");
        push_filter(sql, filter);
    }
}

/// Appends ` AND column` begins with `prefix`. Byte order makes that a range.
fn push_prefix(sql: &mut QueryBuilder<Postgres>, column: &'static str, prefix: &str) {
    if prefix.contains('\0') {
        sql.push(" AND false");
        return;
    }
    sql.push(" AND ").push(column).push(" >= ").push_bind(prefix.to_owned());
    if let Some(end) = end_of_prefix(prefix) {
        sql.push(" AND ").push(column).push(" < ").push_bind(end);
    }
}

pub(crate) fn push_prefix_if_any(sql: &mut QueryBuilder<Postgres>, column: &'static str, prefix: &str) {
    if !prefix.is_empty() {
        push_prefix(sql, column, prefix);
    }
}

pub(crate) fn codes(statuses: impl IntoIterator<Item = JobStatus>) -> Vec<i16> {
    statuses.into_iter().map(status_code::code).collect()
}

/// No stored text holds U+0000, so a text that does equals none.
fn without_nul(texts: &[String]) -> Vec<String> {
    texts.iter().filter(|text| !text.contains('\0')).cloned().collect()
}

fn push_filter(sql: &mut QueryBuilder<Postgres>, filter: &Filter) {
    match filter {
        Filter::And(parts) => push_joined(sql, parts, "true", " AND "),
        Filter::Or(parts) => push_joined(sql, parts, "false", " OR "),
        Filter::Text(key, test) => push_text(sql, key, test),
        Filter::Status(test) => {
            let matching = JobStatus::ALL.into_iter().filter(|status| status_matches(test, *status));
            sql.push("j.status = ANY(").push_bind(codes(matching)).push(")");
        }
        Filter::Percentage(test) => push_percentage(sql, test),
    }
}

fn push_joined(
    sql: &mut QueryBuilder<Postgres>,
    parts: &[Filter],
    neutral: &'static str,
    operator: &'static str,
) {
    sql.push("(").push(neutral);
    for part in parts {
        sql.push(operator);
        push_filter(sql, part);
    }
    sql.push(")");
}

fn push_text_of(sql: &mut QueryBuilder<Postgres>, key: &TextKey) {
    match key {
        TextKey::Id => sql.push("g.job_id"),
        TextKey::Name => sql.push("d.name"),
        TextKey::Label(label) => {
            sql.push("(d.labels ->> ").push_bind(label.replace('\0', "")).push(") COLLATE \"C\"")
        }
    };
}

fn push_text(sql: &mut QueryBuilder<Postgres>, key: &TextKey, test: &TextTest) {
    // No label has such a key, and none becomes one by leaving it out.
    if matches!(key, TextKey::Label(label) if label.contains('\0') || label.is_empty()) {
        sql.push("false");
        return;
    }
    match test {
        TextTest::In(values) => {
            push_text_of(sql, key);
            sql.push(" = ANY(").push_bind(without_nul(values)).push(")");
        }
        TextTest::NotIn(values) => {
            push_present(sql, key);
            push_text_of(sql, key);
            sql.push(" <> ALL(").push_bind(without_nul(values)).push("))");
        }
        TextTest::Like(pattern) if pattern.contains('\0') => {
            sql.push("false");
        }
        TextTest::Like(pattern) => {
            push_text_of(sql, key);
            sql.push(" LIKE ").push_bind(like(pattern));
        }
        TextTest::NotLike(pattern) => {
            push_present(sql, key);
            if pattern.contains('\0') {
                sql.push("true)");
            } else {
                push_text_of(sql, key);
                sql.push(" NOT LIKE ").push_bind(like(pattern)).push(")");
            }
        }
        TextTest::Compare(comparison, other) => push_compare(sql, key, *comparison, other),
    }
}

/// Opens `(the text is there AND `.
fn push_present(sql: &mut QueryBuilder<Postgres>, key: &TextKey) {
    sql.push("(");
    push_text_of(sql, key);
    sql.push(" IS NOT NULL AND ");
}

/// In a pattern of SQL, `%` stands for any text, and `%`, `_` and `\` stand for themselves behind a `\`.
fn like(pattern: &str) -> String {
    let mut sql = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            '*' => sql.push('%'),
            '%' | '_' | '\\' => sql.extend(['\\', c]),
            _ => sql.push(c),
        }
    }
    sql
}

/// Stored keys are compared with the key of the other text, and where that is cut, the rests decide.
fn push_compare(sql: &mut QueryBuilder<Postgres>, key: &TextKey, comparison: Comparison, other: &str) {
    let other = match other.split_once('\0') {
        None => SortKey::of(Some(other)),
        // Behind every text that is folded alike, before every longer one; equal to none.
        Some((before, _)) => {
            let mut key = text_order_key(before).into_bytes();
            key.push(1);
            let rest = (key.len() > crate::sort_key::KEY_BYTES_MAX)
                .then(|| key.split_off(crate::sort_key::KEY_BYTES_MAX));
            SortKey { key, rest }
        }
    };
    let (open, close) = match key {
        TextKey::Id => ("((d.id_key, ''::bytea)", ")"),
        TextKey::Name => ("(d.name IS NOT NULL AND (d.name_key, coalesce(d.name_rest, ''))", ")"),
        TextKey::Label(_) => (
            "EXISTS (SELECT FROM job_label l WHERE l.partition_id = d.partition_id
                 AND l.create_time = d.create_time AND l.job_no = d.job_no AND l.value_key <> '\\xff'
                 AND (l.value_key, coalesce(l.value_rest, ''))",
            ")",
        ),
    };
    sql.push(open);
    sql.push(match comparison {
        Comparison::Greater => " > ",
        Comparison::GreaterOrEqual => " >= ",
        Comparison::Less => " < ",
        Comparison::LessOrEqual => " <= ",
    });
    sql.push("(").push_bind(other.key).push(", ").push_bind(other.rest.unwrap_or_default()).push(")");
    if let TextKey::Label(label) = key {
        sql.push(" AND l.label_key = ").push_bind(label.clone());
    }
    sql.push(close);
}

/// The stored value is in hundredths. Which of them satisfy the test is found out here, with the same numbers that a
/// client is shown.
fn push_percentage(sql: &mut QueryBuilder<Postgres>, test: &PercentageTest) {
    let shown = |hundredths: i32| f64::from(hundredths) / 100.0;
    let equal = |values: &[f64]| -> Vec<i16> {
        (0..=10_000).filter(|hundredths| values.contains(&shown(*hundredths))).map(|h| h as i16).collect()
    };
    match test {
        PercentageTest::In(values) => {
            sql.push("j.hundredths = ANY(").push_bind(equal(values)).push(")");
        }
        PercentageTest::NotIn(values) => {
            sql.push("j.hundredths <> ALL(").push_bind(equal(values)).push(")");
        }
        PercentageTest::Compare(comparison, other) => {
            let holds = |hundredths: &i32| {
                shown(*hundredths).partial_cmp(other).is_some_and(|ordering| comparison.holds(ordering))
            };
            // Whatever the comparison, what satisfies it is one range; an empty one is the wrong way round.
            let first = (0..=10_000).find(holds).unwrap_or(1);
            let last = (0..=10_000).rev().find(holds).unwrap_or(0);
            sql.push("j.hundredths BETWEEN ").push_bind(first).push(" AND ").push_bind(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_literal_but_for_the_star() {
        assert_eq!(like("a*b_%\\"), "a%b\\_\\%\\\\");
    }

    #[test]
    fn statuses_that_cannot_match_are_left_out() {
        let selection = Selection {
            filter: Some(Filter::And(vec![
                Filter::Status(StatusTest::NotIn(vec![JobStatus::Failed])),
                Filter::And(vec![Filter::Status(StatusTest::Compare(Comparison::Less, JobStatus::Waiting))]),
                Filter::Or(vec![Filter::Status(StatusTest::In(vec![]))]),
            ])),
            status_type: job_core::query::StatusType::NotFinished,
            ..Selection::default()
        };
        assert_eq!(statuses(&selection), [JobStatus::Active, JobStatus::Paused]);
    }

    #[test]
    fn nothing_that_a_client_says_is_part_of_the_statement() {
        let poison = "x'; DROP TABLE job; --".to_owned();
        let keys = [TextKey::Id, TextKey::Name, TextKey::Label(poison.clone())];
        let tests = [
            TextTest::In(vec![poison.clone()]),
            TextTest::NotIn(vec![poison.clone()]),
            TextTest::Like(poison.clone()),
            TextTest::NotLike(poison.clone()),
            TextTest::Compare(Comparison::Less, poison.clone()),
        ];
        let texts =
            keys.iter().flat_map(|key| tests.iter().map(|test| Filter::Text(key.clone(), test.clone())));
        let selection = Selection {
            id_prefix: poison.clone(),
            labels_exist: vec![poison],
            filter: Some(Filter::And(vec![Filter::Or(texts.collect())])),
            ..Selection::default()
        };
        let mut sql = QueryBuilder::new("");
        push(&mut sql, &selection);
        assert!(!sql.sql().as_str().contains("DROP"));
    }
}
