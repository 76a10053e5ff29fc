//! Reading one level of a job's progress tree.

use async_trait::async_trait;
use job_core::progress::{TaskProgress, Tree, chunk_of};
use job_core::{Error, ErrorKind, JobKey, Result, TaskPath};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::path_bytes;
use crate::record_block::{Block, block_of};
use crate::step::{Form, Step, Trouble};

pub(crate) struct Tasks<'a> {
    pub(crate) job: &'a JobKey,
    pub(crate) parent: &'a TaskPath,
    pub(crate) after: u32,
    pub(crate) limit: u32,
}

#[async_trait]
impl Step for Tasks<'_> {
    type Output = Option<Vec<TaskProgress>>;
    const NAME: &'static str = "store::tasks";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Self::Output, Trouble> {
        // As many chunks as could be needed if they were full, and then, if they were not, all.
        let few = i64::from(self.limit / job_core::progress::CHUNK_CHILDREN) + 8;
        let rows = self.read(connection, few).await?;
        let Some(rows) = rows else { return Ok(None) };
        let chunks =
            rows.iter().filter(|row| row.try_get::<Option<i16>, _>("kind").is_ok_and(|kind| kind == Some(1)));
        let may_be_more = chunks.count() as i64 == few;
        let children = self.children(&rows)?;
        if may_be_more && children.len() < self.limit as usize {
            let Some(rows) = self.read(connection, i64::MAX).await? else { return Ok(None) };
            return Ok(Some(self.children(&rows)?));
        }
        let is_covered = |child: &TaskProgress| {
            let last_chunk =
                rows.iter().filter(|row| row.try_get::<Option<i16>, _>("kind").ok().flatten() == Some(1));
            let last_chunk = last_chunk.filter_map(|row| row.try_get::<i64, _>("number").ok()).max();
            let number = child.path.numbers().last().copied().unwrap_or_default();
            !may_be_more || last_chunk.is_none_or(|last| i64::from(chunk_of(number)) <= last)
        };
        if children.iter().all(is_covered) {
            return Ok(Some(children));
        }
        let Some(rows) = self.read(connection, i64::MAX).await? else { return Ok(None) };
        Ok(Some(self.children(&rows)?))
    }
}

impl Tasks<'_> {
    /// The job's own record, the record of the parent, its chunks and its children's records; `None` without the job.
    async fn read(&self, connection: &mut PgConnection, chunks: i64) -> Result<Option<Vec<PgRow>>, Trouble> {
        let (grandparent, number) = self.parent.split_last().unwrap_or_default();
        let rows = sqlx::query(
            "SELECT j.progress, p.* FROM (
                 SELECT job_no, partition_id, progress FROM job WHERE partition_id = $1 AND job_id = $2 OFFSET 0
             ) j
             LEFT JOIN LATERAL (
                 SELECT 2::smallint AS kind, number, data FROM job_progress
                 WHERE partition_id = j.partition_id AND job_no = j.job_no AND parent = $3 AND kind = 0
                   AND number = $4
                 UNION ALL
                 (SELECT kind, number, data FROM job_progress
                  WHERE partition_id = j.partition_id AND job_no = j.job_no AND parent = $5 AND kind = 1
                    AND number >= $6 ORDER BY number LIMIT $7)
                 UNION ALL
                 (SELECT kind, number, data FROM job_progress
                  WHERE partition_id = j.partition_id AND job_no = j.job_no AND parent = $5 AND kind = 0
                    AND number >= $8 ORDER BY number LIMIT $9)
             ) p ON true",
        )
        .bind(self.job.partition.as_str())
        .bind(self.job.job.as_str())
        .bind(path_bytes::encode(&grandparent))
        .bind(i64::from(block_of(number)))
        .bind(path_bytes::encode(self.parent))
        .bind(i64::from(chunk_of(self.after.saturating_add(1))))
        .bind(chunks)
        .bind(i64::from(block_of(self.after.saturating_add(1))))
        // Each has a child at least; the first perhaps none behind `after`.
        .bind(i64::from(self.limit) + 1)
        .fetch_all(connection)
        .await?;
        Ok((!rows.is_empty()).then_some(rows))
    }

    fn children(&self, rows: &[PgRow]) -> Result<Vec<TaskProgress>, Trouble> {
        let mut tree = Tree::default();
        let corrupt = |error| Trouble::Job(Error::from(error));
        let own: Option<&[u8]> = rows.first().map(|row| row.try_get("progress")).transpose()?.flatten();
        let Some(own) = own else { return Ok(Vec::new()) };
        tree.load_record(&TaskPath::root(), own).map_err(corrupt)?;
        let mut parts: Vec<(i16, u32, &[u8])> = Vec::new();
        for row in rows {
            if let Some(kind) = row.try_get::<Option<i16>, _>("kind")? {
                let number = u32::try_from(row.try_get::<i64, _>("number")?).unwrap_or_default();
                parts.push((kind, number, row.try_get("data")?));
            }
        }
        // The parent's record first, since it replaces what is below it.
        parts.sort_unstable_by_key(|(kind, number, _)| (*kind != 2, *number));
        let own_number = self.parent.split_last().map(|(_, number)| number);
        for (kind, number, data) in parts {
            if kind == 1 {
                tree.load_chunk(self.parent, number, data).map_err(corrupt)?;
                continue;
            }
            let block = Block::decode(number, data)
                .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a stored row of progress makes no sense"))?;
            for (number, record) in block.0 {
                if kind == 0 {
                    let child = self.parent.child(number).map_err(Error::from)?;
                    tree.load_record(&child, &record).map_err(corrupt)?;
                } else if own_number == Some(number) {
                    tree.load_record(self.parent, &record).map_err(corrupt)?;
                }
            }
        }
        Ok(tree.children(self.parent, self.after, self.limit as usize))
    }
}
