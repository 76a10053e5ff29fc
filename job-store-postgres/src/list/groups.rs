//! Orders in which many jobs share a value: from group to group along an index, and the jobs that are not in it.

use std::cmp::Ordering;

use sqlx::{Postgres, QueryBuilder};

use super::conditions::Needs;
use super::order::{Bound, Group, Groups, Order, Place, Rest, Table};
use super::page::{Page, Way};
use crate::sort_key::ABSENT;

impl Page<'_> {
    /// The groups of the index, and before or behind them the one that is not in it.
    pub(super) fn push_groups_and_rest(&self, sql: &mut QueryBuilder<Postgres>, groups: &Groups) {
        let is_ascending = self.direction.first == "min";
        let standing = |rest: &Rest| self.after.map(|after| rest.group.beside(&after.bound));
        let is_behind = if is_ascending { Ordering::Greater } else { Ordering::Less };
        let rest =
            groups.rest.as_ref().filter(|rest| standing(rest).is_none_or(|it| it.is_eq() || it == is_behind));
        let is_within_rest = groups.rest.as_ref().and_then(standing) == Some(Ordering::Equal);
        let is_rest_last = is_ascending == groups.rest.is_some_and(|rest| rest.group == Group::Absent);
        sql.push("SELECT g.job_id, g.value, g.within, 0 AS part FROM (SELECT * FROM (");
        if let Some(rest) = rest.filter(|_| !is_rest_last) {
            self.push_rest(sql, rest, is_within_rest);
            sql.push(" UNION ALL ");
        }
        if is_within_rest && is_rest_last {
            // The groups are all before the place.
        } else {
            let page = Page { after: self.after.filter(|_| !is_within_rest), ..*self };
            page.push_groups(sql, groups, None);
        }
        if let Some(rest) = rest.filter(|_| is_rest_last) {
            sql.push(if is_within_rest { "" } else { " UNION ALL " });
            self.push_rest(sql, rest, is_within_rest);
        }
        sql.push(") parts LIMIT ").push_bind(self.candidates).push(") g");
        self.push_selected(sql, self.needs);
        self.push_limit(sql);
    }

    fn push_rest(&self, sql: &mut QueryBuilder<Postgres>, rest: &Rest, is_within: bool) {
        sql.push("(SELECT job_no, job_id, ").push(rest.group.columns()).push(" FROM (");
        for (place, range) in rest.ranges.iter().enumerate() {
            // Each in order by itself: otherwise they are put together and sorted.
            sql.push(if place == 0 { "(" } else { " UNION ALL (" });
            sql.push("SELECT job_no, job_id FROM ");
            self.push_table(sql, self.order.table);
            sql.push(" AND ").push(range);
            if let Some(after) = self.after.filter(|_| is_within) {
                sql.push(" AND job_id > ").push_bind(after.job.clone());
            }
            sql.push(" ORDER BY job_id OFFSET 0)");
        }
        sql.push(") ranges ORDER BY job_id OFFSET 0)");
    }

    /// Group after group, found by skipping along the index.
    fn push_groups(&self, sql: &mut QueryBuilder<Postgres>, groups: &Groups, label: Option<&str>) {
        let Order { table, group, .. } = self.order;
        let Groups { decides, indexed, .. } = groups;
        let push_index = |sql: &mut QueryBuilder<Postgres>| {
            self.push_table(sql, table);
            if let Some(key) = label {
                sql.push(" AND label_key = ").push_bind(key.to_owned());
            }
            sql.push(" AND ").push(indexed);
        };
        let push_first = |sql: &mut QueryBuilder<Postgres>| {
            sql.push(" ORDER BY ").push(group).push(self.direction.word).push(" LIMIT 1)");
        };
        sql.push("(SELECT g.* FROM (");
        sql.push("WITH RECURSIVE s AS (SELECT (SELECT ");
        sql.push(group).push(" FROM ");
        push_index(sql);
        if let Some(after) = self.after {
            sql.push(" AND ").push(group).push(self.direction.behind.trim_end()).push("= ");
            self.push_group_bound(sql, &after.bound);
        }
        push_first(sql);
        sql.push(" AS value UNION ALL SELECT (SELECT ").push(group).push(" FROM ");
        push_index(sql);
        sql.push(" AND ").push(group).push(self.direction.behind).push("s.value");
        push_first(sql);
        sql.push(" FROM s WHERE s.value IS NOT NULL) SELECT value FROM s) s CROSS JOIN LATERAL ((");
        self.push_columns(sql);
        push_index(sql);
        sql.push(" AND ").push(group).push(" = s.value AND ").push(decides);
        if let Some(after) = self.after {
            sql.push(" AND job_id > CASE WHEN s.value = ");
            self.push_group_bound(sql, &after.bound);
            sql.push(" THEN ").push_bind(after.job.clone()).push(" ELSE '' END");
        }
        sql.push(" ORDER BY job_id OFFSET 0) UNION ALL (");
        self.push_columns(sql);
        push_index(sql);
        sql.push(" AND ").push(group).push(" = s.value AND NOT ").push(decides);
        if let Some(after) = self.after {
            sql.push(" AND (s.value <> ");
            self.push_group_bound(sql, &after.bound);
            sql.push(" OR ");
            self.push_behind_in_group(sql, after);
            sql.push(")");
        }
        sql.push(" ORDER BY within").push(self.direction.word).push(", job_id OFFSET 0)) g OFFSET 0)");
    }

    /// The jobs without a label. Were there no such jobs of a time, there would be as many labels of that time as jobs, which
    /// indexes alone tell.
    fn push_few_lacking(&self, sql: &mut QueryBuilder<Postgres>, key: &str) {
        let key = key.replace('\0', "");
        sql.push("SELECT l.* FROM (SELECT create_time FROM (SELECT create_time, 1 AS job FROM ");
        self.push_table(sql, Table::Detail);
        sql.push(" UNION ALL SELECT create_time, -1 FROM ");
        self.push_table(sql, Table::Label);
        sql.push(" AND label_key = ").push_bind(key.clone()).push(" AND value_key < '\\xff') counted");
        sql.push(
            " GROUP BY create_time HAVING sum(job) > 0) t CROSS JOIN LATERAL (SELECT job_no, job_id FROM ",
        );
        self.push_table(sql, Table::Detail);
        sql.push(" AND create_time = t.create_time AND (labels ->> ").push_bind(key);
        sql.push(") IS NULL OFFSET 0) l WHERE true");
    }

    /// Jobs with the label, and before or behind them those without.
    pub(super) fn push_label(
        &self,
        sql: &mut QueryBuilder<Postgres>,
        groups: &Groups,
        key: &str,
        way: Way<'_>,
    ) {
        let is_ascending = self.direction.first == "min";
        let is_among_absent =
            matches!(self.after, Some(Place { bound: Bound::Text { group, .. }, .. }) if group == ABSENT);
        let with = !(is_among_absent && is_ascending || matches!(way, Way::Lacking { .. }));
        let without =
            (self.after.is_none() || is_among_absent || is_ascending) && !matches!(way, Way::Having);
        let push_with = |sql: &mut QueryBuilder<Postgres>| {
            // A place among those without the label is before all that have it.
            let page = Page { after: self.after.filter(|_| !is_among_absent), ..*self };
            sql.push("(SELECT g.job_id, g.value, g.within, 0 AS part FROM ");
            page.push_groups(sql, groups, Some(key));
            sql.push(" g");
            page.push_selected(sql, page.needs);
            sql.push(")");
        };
        let push_without = |sql: &mut QueryBuilder<Postgres>| {
            sql.push("(SELECT g.job_id, '\\xff'::bytea AS value, ''::bytea AS within, ");
            sql.push(if is_ascending { "1" } else { "-1" });
            sql.push(" AS part FROM (");
            if let Way::FewLacking = way {
                self.push_few_lacking(sql, key);
            } else {
                sql.push("SELECT job_no, job_id FROM ");
                self.push_table(sql, Table::Job);
            }
            if let Some(after) = self.after.filter(|_| is_among_absent) {
                sql.push(" AND job_id > ").push_bind(after.job.clone());
            }
            sql.push(" ORDER BY job_id LIMIT ").push_bind(self.candidates).push(") g");
            self.push_selected(sql, Needs { detail: true, ..self.needs });
            sql.push(" AND (d.labels ->> ").push_bind(key.replace('\0', "")).push(") IS NULL)");
        };
        sql.push("SELECT * FROM (");
        if is_ascending && with {
            push_with(sql);
        }
        if without {
            sql.push(if is_ascending && with { " UNION ALL " } else { "" });
            push_without(sql);
        }
        if !is_ascending && with {
            sql.push(if without { " UNION ALL " } else { "" });
            push_with(sql);
        }
        sql.push(") parts");
        self.push_limit(sql);
    }
}
