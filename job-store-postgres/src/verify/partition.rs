//! Checking what belongs to no job, and the counts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use job_core::store::Drift;
use job_core::verify::Findings;
use job_core::{JobKey, PartitionId, Result};
use sqlx::{PgConnection, Row};

use crate::status_code;
use crate::step::{Form, Step, Trouble};

pub(super) struct VerifyPartition<'a> {
    pub(super) partition: &'a PartitionId,
    pub(super) repair: bool,
}

/// Rows of a table whose job is gone: how to find them, and how to remove them.
struct Strays {
    what: &'static str,
    find: &'static str,
    remove: &'static str,
}

macro_rules! strays {
    ($what:literal, $table:literal, $number:literal) => {
        Strays {
            what: $what,
            find: concat!(
                "SELECT DISTINCT s.",
                $number,
                " FROM ",
                $table,
                " s WHERE s.partition_id = $1 AND NOT EXISTS (SELECT FROM job_detail d WHERE d.job_no = s.",
                $number,
                " AND d.partition_id = s.partition_id OFFSET 0) LIMIT 1000"
            ),
            remove: concat!(
                "DELETE FROM ",
                $table,
                " s WHERE s.partition_id = $1 AND s.",
                $number,
                " = ANY($2)"
            ),
        }
    };
}

const STRAYS: [Strays; 5] = [
    strays!("outbox entry", "outbox", "job_no"),
    strays!("prerequisite", "job_dependency", "dependent_no"),
    strays!("progress", "job_progress", "job_no"),
    strays!("failure", "job_failure", "job_no"),
    strays!("label", "job_label", "job_no"),
];

#[async_trait]
impl Step for VerifyPartition<'_> {
    type Output = Vec<Drift>;
    const NAME: &'static str = "store::verify";
    const FORM: Form = Form::Transaction;
    const IS_LONG: bool = true;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<Drift>, Trouble> {
        let mut findings = Findings::new(self.repair);
        for strays in &STRAYS {
            self.strays(connection, strays, &mut findings).await?;
        }
        self.details(connection, &mut findings).await?;
        self.counts(connection, &mut findings).await?;
        Ok(findings.into_drifts())
    }
}

impl VerifyPartition<'_> {
    /// Drifts that belong to no job that is still there are told under the job's number.
    fn key_of(&self, number: i64) -> Result<JobKey, Trouble> {
        let job = format!("number {number}").parse().map_err(job_core::Error::from)?;
        Ok(JobKey::new(self.partition.clone(), job))
    }

    async fn strays(
        &self,
        connection: &mut PgConnection,
        strays: &Strays,
        findings: &mut Findings,
    ) -> Result<(), Trouble> {
        let numbers: Vec<i64> =
            sqlx::query_scalar(strays.find).bind(self.partition.as_str()).fetch_all(&mut *connection).await?;
        for number in &numbers {
            findings.note(&self.key_of(*number)?, strays.what, "of no job", "of a job");
        }
        if findings.repair() && !numbers.is_empty() {
            sqlx::query(strays.remove)
                .bind(self.partition.as_str())
                .bind(numbers)
                .execute(connection)
                .await?;
        }
        Ok(())
    }

    async fn details(&self, connection: &mut PgConnection, findings: &mut Findings) -> Result<(), Trouble> {
        let numbers: Vec<i64> = sqlx::query_scalar(
            "SELECT d.job_no FROM job_detail d WHERE d.partition_id = $1 AND NOT EXISTS (
                 SELECT FROM job j
                 WHERE j.partition_id = d.partition_id AND j.job_id = d.job_id AND j.job_no = d.job_no OFFSET 0)
             LIMIT 1000",
        )
        .bind(self.partition.as_str())
        .fetch_all(&mut *connection)
        .await?;
        for number in &numbers {
            findings.note(&self.key_of(*number)?, "details", "of no job", "of a job");
        }
        if findings.repair() && !numbers.is_empty() {
            sqlx::query("DELETE FROM job_detail WHERE job_no = ANY($1) AND partition_id = $2")
                .bind(numbers)
                .bind(self.partition.as_str())
                .execute(connection)
                .await?;
        }
        Ok(())
    }

    /// One statement sees both sides at the same instant; every writer changes both in one transaction.
    async fn counts(&self, connection: &mut PgConnection, findings: &mut Findings) -> Result<(), Trouble> {
        let rows = sqlx::query(
            "SELECT status, sum(stored)::bigint, sum(counted)::bigint FROM (
                 SELECT status, jobs AS stored, 0 AS counted FROM job_count WHERE partition_id = $1
                 UNION ALL
                 SELECT status, 0, 1 FROM job WHERE partition_id = $1
             ) both_sides GROUP BY status",
        )
        .bind(self.partition.as_str())
        .fetch_all(&mut *connection)
        .await?;
        let mut corrections: BTreeMap<i16, i64> = BTreeMap::new();
        for row in rows {
            let (code, stored, counted): (i16, i64, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            if stored == counted {
                continue;
            }
            let status = status_code::status(code)
                .map_or_else(|_| format!("status {code}"), |status| status.to_string());
            let key = JobKey::new(
                self.partition.clone(),
                format!("count of {status}").parse().map_err(job_core::Error::from)?,
            );
            if findings.note(&key, "count", stored, counted) {
                corrections.insert(code, counted - stored);
            }
        }
        for (status, jobs) in corrections {
            sqlx::query(
                "INSERT INTO job_count AS c (partition_id, status, shard, jobs)
                 VALUES ($1, $2, pg_backend_pid() & 63, $3)
                 ON CONFLICT (partition_id, status, shard) DO UPDATE SET jobs = c.jobs + excluded.jobs",
            )
            .bind(self.partition.as_str())
            .bind(status)
            .bind(jobs)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}
