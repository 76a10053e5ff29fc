//! Pages and counts.
//!
//! A page is one statement: it finds the ids and reads the jobs. The text of such a statement depends on what is asked
//! for, and is put together from fixed fragments by `conditions` and `page`; every value is bound.

mod conditions;
mod groups;
mod narrowing;
mod order;
mod page;

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use job_core::query::{JobPage, JobQuery, Selection, SortField};
use job_core::{Job, JobId, JobStatus, PartitionId, Result};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use order::Place;
use page::{Part, Way};

use crate::job_rows::JobRows;
use crate::options::ListingEffort;
use crate::read::{self, select_jobs};
use crate::status_code;
use crate::step::{Form, Step, Trouble};

pub(crate) struct List<'a> {
    pub(crate) query: &'a JobQuery,
    pub(crate) effort: ListingEffort,
}

#[async_trait]
impl Step for List<'_> {
    type Output = JobPage;
    const NAME: &'static str = "store::list";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<JobPage, Trouble> {
        let (query, ListingEffort { few, walked }) = (self.query, self.effort);
        let sort = &query.sort.field;
        let mut narrowings = narrowing::narrowings(&query.selection);
        narrowings.retain(|narrowing| !page::is_walked_along(query, narrowing));
        let narrowest = narrowing::narrowest(connection, query.partition.as_str(), narrowings, few).await?;
        match (narrowest, sort) {
            (None, SortField::Label(key)) => self.read_by_label(connection, key).await,
            (None, _) => self.read(connection, Way::Walk { candidates: i64::MAX }).await,
            // An order by label is in two parts, of which the second must not begin before the first has ended.
            (Some((narrowing, count)), _) if count <= few || matches!(sort, SortField::Label(_)) => {
                self.read(connection, Way::Gather(&narrowing)).await
            }
            (Some((narrowing, _)), SortField::CreateTime) => {
                // To sort six times as many costs what looking them up would for a few, and no more than the long walk.
                let first = Way::First { narrowing: &narrowing, of: few.saturating_mul(6) };
                let short = Way::Walk { candidates: walked / 10 };
                let ways = [short, first, Way::Walk { candidates: walked }, Way::Gather(&narrowing)];
                self.read_until_full(connection, &ways).await
            }
            (Some((narrowing, _)), _) => {
                let ways = [Way::Walk { candidates: walked }, Way::Gather(&narrowing)];
                self.read_until_full(connection, &ways).await
            }
        }
    }
}

impl List<'_> {
    /// A page that is full is right, however few candidates it took. The last way is right in any case.
    async fn read_until_full(
        &self,
        connection: &mut PgConnection,
        ways: &[Way<'_>],
    ) -> Result<JobPage, Trouble> {
        let mut page = JobPage::default();
        for way in ways {
            page = self.read(connection, *way).await?;
            if page.next.is_some() {
                break;
            }
        }
        Ok(page)
    }

    /// Those that have the label and those that lack it are found in ways of their own. When hardly any lacks it, the walk to
    /// these leads past all others: counting tells so sooner, and then where they are.
    async fn read_by_label(&self, connection: &mut PgConnection, key: &str) -> Result<JobPage, Trouble> {
        let (first, other) = page::parts(self.query);
        let way = match first {
            Part::Having => Way::Having,
            Part::Lacking => Way::Lacking { candidates: self.effort.walked },
        };
        let page = self.read(connection, way).await?;
        if page.next.is_some() || (first, other) == (Part::Having, None) {
            return Ok(page);
        }
        let way = match (lacking(connection, &self.query.partition, key).await?, other) {
            (0, Some(_)) => Way::Having,
            (few, _) if few <= self.effort.few => Way::FewLacking,
            _ => Way::Walk { candidates: i64::MAX },
        };
        self.read(connection, way).await
    }

    async fn read(&self, connection: &mut PgConnection, way: Way<'_>) -> Result<JobPage, Trouble> {
        let mut query = self.query.clone();
        let mut after = query.after.as_ref().map(|cursor| Place::of_cursor(&query.sort.field, cursor));
        let mut jobs = Vec::new();
        let limit = self.query.limit.max(1);
        loop {
            let rows = rows(connection, &query, after.as_ref(), way).await?;
            for row in &rows {
                jobs.extend(readable(&query.partition, row)?);
            }
            // Rows that make no sense are left out, and as many others read behind the last of them.
            let missing =
                limit.saturating_add(1).saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
            match rows.last() {
                Some(last) if missing > 0 && rows.len() > query.limit as usize => {
                    after = Some(Place::of_row(&query.sort.field, last)?);
                    (query.limit, query.offset) = (missing, 0);
                }
                _ => break,
            }
        }
        let is_last = jobs.len() <= limit as usize;
        jobs.truncate(limit as usize);
        let next = if is_last { None } else { jobs.last().map(|job| self.query.sort.cursor(job)) };
        Ok(JobPage { jobs, next })
    }
}

/// How many jobs of the partition lack this label, or have it without a value.
async fn lacking(
    connection: &mut PgConnection,
    partition: &PartitionId,
    key: &str,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM job_detail WHERE partition_id = $1)
             - (SELECT count(*) FROM job_label WHERE partition_id = $1 AND label_key = $2 AND value_key < '\\xff')",
    )
    .bind(partition.as_str())
    .bind(key.replace('\0', ""))
    .fetch_one(connection)
    .await
}

/// One more row than the limit of the query, if there is one, in the order of the listing.
async fn rows(
    connection: &mut PgConnection,
    query: &JobQuery,
    after: Option<&Place>,
    way: Way<'_>,
) -> Result<Vec<PgRow>, Trouble> {
    let direction = order::direction(query.sort.direction);
    let group_type = order::order(&query.sort.field).group_type;
    let mut sql = QueryBuilder::new("WITH page AS MATERIALIZED (SELECT ");
    sql.push_bind(query.partition.as_str().to_owned());
    sql.push("::text AS partition_id, job_id, value::").push(group_type);
    sql.push(" AS value, within::").push(group_type);
    sql.push(" AS within, row_number() OVER (ORDER BY part, value").push(direction.word);
    sql.push(", within").push(direction.word).push(", job_id) AS place FROM (");
    page::push(&mut sql, query, after, way);
    sql.push(") found) ");
    sql.push(select_jobs!("k.place, k.value, k.within", "page k"));
    let rows = sql.build().persistent(false).fetch_all(connection).await?;
    let mut rows: Vec<(i64, PgRow)> =
        rows.into_iter().map(|row| Ok((row.try_get("place")?, row))).collect::<Result<_, sqlx::Error>>()?;
    rows.sort_unstable_by_key(|(place, _)| *place);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// What a row says, if that makes sense.
fn readable(partition: &PartitionId, row: &PgRow) -> Result<Option<Job>, Trouble> {
    match read::job(row) {
        Ok(job) => Ok(Some(job)),
        Err(Trouble::Job(error)) => {
            let id: &str = row.try_get("job_id")?;
            tracing::error!(job.partition = %partition, job.id = id, %error, "a damaged job is left out");
            Ok(None)
        }
        Err(trouble) => Err(trouble),
    }
}

pub(crate) struct Count<'a> {
    pub(crate) partition: &'a PartitionId,
    pub(crate) selection: &'a Selection,
}

#[async_trait]
impl Step for Count<'_> {
    type Output = BTreeMap<JobStatus, u64>;
    const NAME: &'static str = "store::count";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Self::Output, Trouble> {
        let by_status_alone =
            *self.selection == Selection { status_type: self.selection.status_type, ..Selection::default() };
        let mut sql = if by_status_alone { self.over_counts() } else { self.over_jobs() };
        let rows = sql.build().persistent(false).fetch_all(connection).await?;
        let mut counts = BTreeMap::new();
        for row in &rows {
            let count: i64 = row.try_get(1)?;
            match status_code::status(row.try_get(0)?) {
                Ok(status) if count > 0 => drop(counts.insert(status, count.unsigned_abs())),
                Ok(_) => {}
                Err(error) => tracing::error!(%error, jobs = count, "damaged jobs are not counted"),
            }
        }
        Ok(counts)
    }
}

impl Count<'_> {
    fn over_counts(&self) -> QueryBuilder<Postgres> {
        let mut sql =
            QueryBuilder::new("SELECT status, sum(jobs)::bigint FROM job_count WHERE partition_id = ");
        sql.push_bind(self.partition.as_str().to_owned());
        sql.push(" AND status = ANY(").push_bind(conditions::codes(conditions::statuses(self.selection)));
        sql.push(") GROUP BY status");
        sql
    }

    fn over_jobs(&self) -> QueryBuilder<Postgres> {
        let mut sql = QueryBuilder::new(
            "SELECT g.status, count(*) FROM (SELECT job_no, job_id, status FROM job WHERE partition_id = ",
        );
        sql.push_bind(self.partition.as_str().to_owned());
        conditions::push_prefix_if_any(&mut sql, "job_id", &self.selection.id_prefix);
        sql.push(" OFFSET 0) g");
        page::push_look_ups(&mut sql, self.partition.as_str(), conditions::needs(self.selection));
        sql.push(" WHERE true");
        conditions::push(&mut sql, self.selection);
        sql.push(" GROUP BY g.status");
        sql
    }
}

/// The ids of selected jobs behind `after`, in id order, at most `limit`.
pub(crate) async fn ids_behind(
    connection: &mut PgConnection,
    partition: &PartitionId,
    selection: &Selection,
    after: Option<&JobId>,
    limit: usize,
) -> Result<Vec<JobId>, Trouble> {
    let mut after = after.map_or("", JobId::as_str).to_owned();
    let mut found = Vec::new();
    loop {
        let wanted = limit - found.len();
        let mut sql =
            QueryBuilder::new("SELECT g.job_id FROM (SELECT job_no, job_id FROM job WHERE partition_id = ");
        sql.push_bind(partition.as_str().to_owned());
        sql.push(" AND job_id > ").push_bind(after);
        conditions::push_prefix_if_any(&mut sql, "job_id", &selection.id_prefix);
        sql.push(" ORDER BY job_id OFFSET 0) g");
        page::push_look_ups(&mut sql, partition.as_str(), conditions::needs(selection));
        sql.push(" WHERE true");
        conditions::push(&mut sql, selection);
        sql.push(" ORDER BY g.job_id LIMIT ").push_bind(i64::try_from(wanted).unwrap_or(i64::MAX));
        let ids: Vec<String> = sql.build_query_scalar().persistent(false).fetch_all(&mut *connection).await?;
        found.extend(ids.iter().filter_map(|id| read::id(id)));
        match ids.into_iter().nth(wanted.saturating_sub(1)) {
            Some(last) if found.len() < limit => after = last,
            _ => return Ok(found),
        }
    }
}

/// Which of these locked jobs are selected now, by number.
pub(crate) async fn still_selected(
    connection: &mut PgConnection,
    partition: &PartitionId,
    selection: &Selection,
    jobs: &JobRows,
) -> Result<HashSet<i64>, Trouble> {
    let mut sql = QueryBuilder::new("SELECT g.job_no FROM unnest(");
    let numbers = jobs.rows.iter().map(|row| row.job_no);
    let numbers: Vec<i64> = numbers.chain(jobs.damaged.iter().map(|row| row.job_no)).collect();
    let keys = jobs.rows.iter().map(|row| &row.key).chain(jobs.damaged.iter().map(|row| &row.key));
    sql.push_bind(numbers).push("::bigint[], ");
    sql.push_bind(keys.map(|key| key.job.as_str().to_owned()).collect::<Vec<_>>());
    sql.push("::text[]) AS g(job_no, job_id)");
    page::push_look_ups(&mut sql, partition.as_str(), conditions::needs(selection));
    sql.push(" WHERE true");
    conditions::push(&mut sql, selection);
    let rows = sql.build().persistent(false).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
