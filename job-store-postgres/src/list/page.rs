//! The statement that finds a page: candidates in the order of an index, those that are not selected left out, and no
//! more read than the page needs.

use job_core::query::{Filter, JobQuery, Selection, SortDirection, SortField, SortValue, TextKey, TextTest};
use sqlx::{Postgres, QueryBuilder};

use super::conditions::{self, Needs};
use super::narrowing::Narrowing;
use super::order::{Bound, Direction, Order, Place, Shape, Table, direction, order};
use crate::sort_key::SortKey;

/// How candidates are found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way<'a> {
    /// In the order of the listing, at most so many of them.
    Walk { candidates: i64 },
    /// A few, then sorted.
    Gather(&'a Narrowing),
    /// If there are no more than so many candidates, those that come first by creation, and no more of them than a page has:
    /// sorted before anything is looked up.
    First { narrowing: &'a Narrowing, of: i64 },
    /// In the order of a label: only those that have it.
    Having,
    /// In the order of a label: only those that lack it, of at most so many jobs.
    Lacking { candidates: i64 },
    /// In the order of a label: all, of which those that lack it are looked for where there are more jobs than such labels.
    FewLacking,
}

/// An order by label is in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Having,
    Lacking,
}

/// The parts that a listing by label has before it, in their order. Those that lack the label come last, in a descending
/// listing first.
pub(super) fn parts(query: &JobQuery) -> (Part, Option<Part>) {
    let is_among_lacking = query.after.as_ref().map(|cursor| cursor.value == SortValue::Null);
    match (query.sort.direction, is_among_lacking) {
        (SortDirection::Ascending, None | Some(false)) => (Part::Having, Some(Part::Lacking)),
        (SortDirection::Ascending, Some(true)) => (Part::Lacking, None),
        (SortDirection::Descending, None | Some(true)) => (Part::Lacking, Some(Part::Having)),
        (SortDirection::Descending, Some(false)) => (Part::Having, None),
    }
}

/// What a walk along the order of the listing uses by itself; the rest of what narrows the selection may do better.
pub(super) fn is_walked_along(query: &JobQuery, narrowing: &Narrowing) -> bool {
    query.sort.field == SortField::CreateTime
        && match (lanes(&query.selection), narrowing) {
            (Some(Lanes::Statuses(_)), Narrowing::Statuses(_)) => true,
            (Some(Lanes::LabelKey(_)), Narrowing::LabelKeys(_)) => true,
            (Some(Lanes::LabelValues(key, _)), Narrowing::LabelValues(other, _)) => key == other,
            _ => false,
        }
}

/// Appends a query of (`job_id`, `value`, `within`, `part`), in which these three say the order; only rows behind
/// `after`, which says more than the cursor of the query.
pub(super) fn push(sql: &mut QueryBuilder<Postgres>, query: &JobQuery, after: Option<&Place>, way: Way<'_>) {
    let page = Page {
        query,
        order: order(&query.sort.field),
        direction: direction(query.sort.direction),
        after,
        needs: conditions::needs(&query.selection),
        candidates: match way {
            Way::Walk { candidates } | Way::Lacking { candidates } => candidates,
            Way::Gather(_) | Way::First { .. } | Way::Having | Way::FewLacking => i64::MAX,
        },
    };
    match way {
        Way::Gather(narrowing) => return page.push_gathered(sql, narrowing),
        Way::First { narrowing, of } => return page.push_first(sql, narrowing, of),
        Way::Walk { .. } | Way::Having | Way::Lacking { .. } | Way::FewLacking => {}
    }
    match (&query.sort.field, page.order.shape) {
        (SortField::CreateTime, _) => match lanes(&query.selection) {
            // A lane that gave up early would hide what belongs before the others' rows.
            Some(lanes) if page.candidates == i64::MAX || lanes.count() == 1 => page.push_lanes(sql, &lanes),
            _ => page.push_walk(sql),
        },
        (SortField::Label(key), Shape::Groups(groups)) => page.push_label(sql, &groups, key, way),
        (_, Shape::Walk) => page.push_walk(sql),
        (_, Shape::Groups(groups)) => page.push_groups_and_rest(sql, &groups),
    }
}

/// What each listing by creation may go along instead of along all jobs: a few ranges of an index, merged.
enum Lanes<'a> {
    Statuses(Vec<i16>),
    LabelKey(&'a str),
    LabelValues(&'a str, Vec<Vec<u8>>),
}

impl Lanes<'_> {
    fn count(&self) -> usize {
        match self {
            Self::Statuses(statuses) => statuses.len(),
            Self::LabelKey(_) => 1,
            Self::LabelValues(_, values) => values.len(),
        }
    }
}

fn lanes(selection: &Selection) -> Option<Lanes<'_>> {
    for filter in conditions::conjuncts(selection) {
        if let Filter::Text(TextKey::Label(key), TextTest::In(values)) = filter {
            let mut keys: Vec<Vec<u8>> = values.iter().map(|value| SortKey::of(Some(value)).key).collect();
            keys.sort_unstable();
            keys.dedup();
            return Some(Lanes::LabelValues(key, keys)).filter(|_| !key.contains('\0'));
        }
    }
    if let [key] = selection.labels_exist.as_slice() {
        return Some(Lanes::LabelKey(key)).filter(|_| !key.contains('\0'));
    }
    let statuses = conditions::statuses(selection);
    (statuses.len() < job_core::JobStatus::ALL.len()).then(|| Lanes::Statuses(conditions::codes(statuses)))
}

pub(super) struct Page<'a> {
    pub(super) query: &'a JobQuery,
    pub(super) order: Order,
    pub(super) direction: Direction,
    pub(super) after: Option<&'a Place>,
    pub(super) needs: Needs,
    /// How many rows to look at before giving up.
    pub(super) candidates: i64,
}

impl Page<'_> {
    /// One more than the page has, to know whether it is the last.
    fn limit(&self) -> i64 {
        i64::from(self.query.limit.max(1)) + 1
    }

    pub(super) fn push_limit(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(" LIMIT ").push_bind(self.limit()).push(" OFFSET ").push_bind(i64::from(self.query.offset));
    }

    pub(super) fn push_table(&self, sql: &mut QueryBuilder<Postgres>, table: Table) {
        sql.push(match table {
            Table::Job => "job",
            Table::Detail => "job_detail",
            Table::Label => "job_label",
        });
        sql.push(" WHERE partition_id = ").push_bind(self.query.partition.as_str().to_owned());
    }

    pub(super) fn push_columns(&self, sql: &mut QueryBuilder<Postgres>) {
        let Order { group, within, .. } = self.order;
        sql.push("SELECT job_no, job_id, ").push(group).push(" AS value, ").push(within);
        sql.push(" AS within FROM ");
    }

    pub(super) fn push_group_bound(&self, sql: &mut QueryBuilder<Postgres>, bound: &Bound) {
        match bound {
            Bound::Number { group, .. } => sql.push_bind(*group),
            Bound::Text { group, .. } => sql.push_bind(group.clone()),
        };
        sql.push("::").push(self.order.group_type);
    }

    fn push_within_bound(&self, sql: &mut QueryBuilder<Postgres>, bound: &Bound) {
        match bound {
            Bound::Number { within, .. } => sql.push_bind(*within),
            Bound::Text { within, .. } => sql.push_bind(within.clone()),
        };
        sql.push("::").push(self.order.group_type);
    }

    /// Appends a condition: behind a place, for rows whose group is that of the place.
    pub(super) fn push_behind_in_group(&self, sql: &mut QueryBuilder<Postgres>, after: &Place) {
        sql.push(self.order.within).push(self.direction.behind);
        self.push_within_bound(sql, &after.bound);
        sql.push(" OR ").push(self.order.within).push(" = ");
        self.push_within_bound(sql, &after.bound);
        sql.push(" AND job_id > ").push_bind(after.job.clone());
    }

    /// The rows of an index in order, as far as they lie behind the cursor; `push_extra` narrows the range.
    fn push_range(
        &self,
        sql: &mut QueryBuilder<Postgres>,
        table: Table,
        push_extra: impl FnOnce(&mut QueryBuilder<Postgres>),
    ) {
        let Order { group, within, .. } = self.order;
        sql.push("(");
        self.push_columns(sql);
        self.push_table(sql, table);
        push_extra(sql);
        if let Some(after) = self.after {
            sql.push(" AND ").push(group).push(self.direction.behind.trim_end()).push("= ");
            self.push_group_bound(sql, &after.bound);
            sql.push(" AND (").push(group).push(self.direction.behind);
            self.push_group_bound(sql, &after.bound);
            sql.push(" OR ");
            self.push_behind_in_group(sql, after);
            sql.push(")");
        }
        sql.push(" ORDER BY ").push(group).push(self.direction.word);
        sql.push(", ").push(within).push(self.direction.word);
        sql.push(", job_id LIMIT ").push_bind(self.candidates).push(")");
    }

    /// What the conditions need besides the candidate `g`, looked up for one candidate after the other.
    pub(super) fn push_selected(&self, sql: &mut QueryBuilder<Postgres>, needs: Needs) {
        push_look_ups(sql, self.query.partition.as_str(), needs);
        sql.push(" WHERE true");
        conditions::push(sql, &self.query.selection);
    }

    fn push_walk(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push("SELECT g.job_id, g.value, g.within, 0 AS part FROM ");
        self.push_range(sql, self.order.table, |_| {});
        sql.push(" g");
        self.push_selected(sql, self.needs);
        self.push_order(sql);
        self.push_limit(sql);
    }

    fn push_order(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(" ORDER BY value").push(self.direction.word);
        sql.push(", within").push(self.direction.word).push(", job_id");
    }

    fn push_lanes(&self, sql: &mut QueryBuilder<Postgres>, lanes: &Lanes<'_>) {
        sql.push("SELECT lane.* FROM unnest(");
        let table = match lanes {
            Lanes::Statuses(statuses) => {
                sql.push_bind(statuses.clone()).push("::smallint[]");
                Table::Job
            }
            Lanes::LabelKey(key) => {
                sql.push_bind(vec![(*key).to_owned()]).push("::text[]");
                Table::Label
            }
            Lanes::LabelValues(_, values) => {
                sql.push_bind(values.clone()).push("::bytea[]");
                Table::Label
            }
        };
        sql.push(") AS s(value) CROSS JOIN LATERAL (SELECT g.job_id, g.value, g.within, 0 AS part FROM ");
        self.push_range(sql, table, |sql| match lanes {
            Lanes::Statuses(_) => {
                sql.push(" AND status = s.value");
            }
            Lanes::LabelKey(_) => {
                sql.push(" AND label_key = s.value");
            }
            Lanes::LabelValues(key, _) => {
                sql.push(" AND label_key = ").push_bind((*key).to_owned()).push(" AND value_key = s.value");
            }
        });
        sql.push(" g");
        self.push_selected(sql, self.needs);
        let enough = self.limit() + i64::from(self.query.offset);
        sql.push(" LIMIT ").push_bind(enough).push(") lane");
        self.push_order(sql);
        self.push_limit(sql);
    }

    /// A few candidates, each looked up, and what is selected of them sorted.
    fn push_gathered(&self, sql: &mut QueryBuilder<Postgres>, narrowing: &Narrowing) {
        let Order { table, group, within, .. } = self.order;
        let partition = self.query.partition.as_str();
        sql.push("SELECT job_id, value, within, 0 AS part FROM (SELECT g.job_id, ");
        match table {
            // What is within a group is a column of one table only.
            Table::Job => sql.push("j.").push(group).push("::bigint AS value, ").push(within),
            Table::Detail => sql.push("d.").push(group).push(" AS value, ").push(within),
            Table::Label => sql.push("coalesce(l.value_key, '\\xff') AS value, coalesce(l.value_rest, '')"),
        };
        sql.push(" AS within FROM (");
        narrowing.push(sql, partition);
        sql.push(" OFFSET 0) g");
        let needs = Needs {
            detail: self.needs.detail || table != Table::Job,
            job: self.needs.job || table == Table::Job,
        };
        push_look_ups(sql, partition, needs);
        if let SortField::Label(key) = &self.query.sort.field {
            sql.push(" LEFT JOIN LATERAL (SELECT value_key, value_rest FROM job_label WHERE job_label.partition_id = ");
            sql.push_bind(partition.to_owned())
                .push(" AND job_label.label_key = ")
                .push_bind(key.replace('\0', ""));
            sql.push(" AND job_label.create_time = d.create_time AND job_label.job_no = g.job_no OFFSET 0) l ON true");
        }
        sql.push(" WHERE true");
        conditions::push(sql, &self.query.selection);
        sql.push(") gathered");
        if let Some(after) = self.after {
            sql.push(" WHERE value").push(self.direction.behind);
            self.push_group_bound(sql, &after.bound);
            sql.push(" OR value = ");
            self.push_group_bound(sql, &after.bound);
            sql.push(" AND (within").push(self.direction.behind);
            self.push_within_bound(sql, &after.bound);
            sql.push(" OR within = ");
            self.push_within_bound(sql, &after.bound);
            sql.push(" AND job_id > ").push_bind(after.job.clone()).push(")");
        }
        self.push_order(sql);
        self.push_limit(sql);
    }

    /// The candidates sorted by creation, and as many looked up as a page has.
    fn push_first(&self, sql: &mut QueryBuilder<Postgres>, narrowing: &Narrowing, of: i64) {
        sql.push("SELECT g.job_id, g.value, g.within, 0 AS part FROM (WITH candidate AS MATERIALIZED (");
        narrowing.push(sql, self.query.partition.as_str());
        sql.push(" LIMIT ").push_bind(of + 1);
        sql.push(") SELECT job_no, job_id, create_time AS value, 0::bigint AS within FROM candidate");
        sql.push(" WHERE (SELECT count(*) FROM candidate) <= ").push_bind(of);
        if let Some(after) = self.after {
            sql.push(" AND (create_time").push(self.direction.behind);
            self.push_group_bound(sql, &after.bound);
            sql.push(" OR create_time = ");
            self.push_group_bound(sql, &after.bound);
            sql.push(" AND job_id > ").push_bind(after.job.clone()).push(")");
        }
        self.push_order(sql);
        sql.push(" LIMIT ").push_bind(self.limit() + i64::from(self.query.offset)).push(") g");
        self.push_selected(sql, self.needs);
        self.push_order(sql);
        self.push_limit(sql);
    }
}

/// The rows of a candidate `g` that conditions speak of.
pub(super) fn push_look_ups(sql: &mut QueryBuilder<Postgres>, partition: &str, needs: Needs) {
    if needs.detail {
        sql.push(" CROSS JOIN LATERAL (SELECT * FROM job_detail WHERE job_detail.job_no = g.job_no");
        sql.push(" AND job_detail.partition_id = ").push_bind(partition.to_owned()).push(" OFFSET 0) d");
    }
    if needs.job {
        sql.push(" CROSS JOIN LATERAL (SELECT * FROM job WHERE job.job_id = g.job_id");
        sql.push(" AND job.partition_id = ").push_bind(partition.to_owned()).push(" OFFSET 0) j");
    }
}
