//! Pages and counts.

use std::collections::BTreeMap;
use std::ops::Bound;

use job_core::query::{Cursor, JobPage, JobQuery, Selection, SortDirection, SortField, SortValue};
use job_core::store::Overview;
use job_core::{Job, JobId, JobStatus, PartitionId, Timestamp};

use crate::partition::Partition;
use crate::state::State;
use crate::stored_job::StoredJob;

impl State {
    pub(crate) fn list(&self, query: &JobQuery) -> JobPage {
        let Some(partition) = self.partitions.get(&query.partition) else { return JobPage::default() };
        let limit = query.limit.max(1) as usize;
        let mut found = if query.sort.field == SortField::CreateTime && query.selection.id_prefix.is_empty() {
            by_create_time(partition, query, limit + 1)
        } else {
            by_value(partition, query, limit + 1)
        };
        let is_last = found.len() <= limit;
        found.truncate(limit);
        let jobs: Vec<Job> = found.into_iter().filter_map(|id| self.read_in(partition, id)).collect();
        let next = if is_last { None } else { jobs.last().map(|job| query.sort.cursor(job)) };
        JobPage { jobs, next }
    }

    pub(crate) fn count(&self, partition: &PartitionId, selection: &Selection) -> BTreeMap<JobStatus, u64> {
        let Some(partition) = self.partitions.get(partition) else { return BTreeMap::new() };
        let by_status_alone =
            *selection == Selection { status_type: selection.status_type, ..Selection::default() };
        if by_status_alone {
            return partition
                .counts()
                .filter(|(status, _)| selection.status_type.includes(*status))
                .collect();
        }
        let mut counts = BTreeMap::new();
        for job in partition.by_id(&selection.id_prefix, None) {
            if selection.matches(&job.shown) {
                *counts.entry(job.shown.status).or_default() += 1;
            }
        }
        counts
    }

    /// Everything at a glance.
    pub(crate) fn overview(&self, now: Timestamp) -> Overview {
        let mut overview = self.outbox.overview(now);
        for (status, count) in self.partitions.values().flat_map(Partition::counts) {
            *overview.jobs.entry(status).or_default() += count;
        }
        overview
    }
}

/// Walks the order of creation and stops when the page is full.
fn by_create_time<'a>(partition: &'a Partition, query: &JobQuery, limit: usize) -> Vec<&'a JobId> {
    let created = partition.created();
    let descending = query.sort.direction == SortDirection::Descending;
    // Whole instants behind the cursor's, and before them the rest of its own.
    let after = query.after.as_ref().map(|cursor| (instant(&cursor.value), cursor));
    let behind = match after {
        None => (Bound::Unbounded, Bound::Unbounded),
        Some((time, _)) if descending => (Bound::Unbounded, Bound::Excluded(time)),
        Some((time, _)) => (Bound::Excluded(time), Bound::Unbounded),
    };
    let rest = after.into_iter().flat_map(|(time, cursor)| {
        created
            .get(&time)
            .into_iter()
            .flat_map(|ids| ids.range::<JobId, _>((Bound::Excluded(&cursor.job), Bound::Unbounded)))
    });
    let range = created.range(behind);
    let instants: Box<dyn Iterator<Item = _>> =
        if descending { Box::new(range.rev()) } else { Box::new(range) };
    rest.chain(instants.flat_map(|(_, ids)| ids))
        .filter(|id| partition.job(id).is_some_and(|job| query.selection.matches(&job.shown)))
        .skip(query.offset as usize)
        .take(limit)
        .collect()
}

/// A cursor of another listing may hold anything; its place among times is that of its kind of value.
fn instant(value: &SortValue) -> Timestamp {
    Timestamp::from_millis(match value {
        SortValue::Number(millis) => *millis,
        SortValue::Text(_) | SortValue::Null => i64::MAX,
    })
}

/// Looks at every candidate and keeps the first ones, never more than twice what is asked for.
fn by_value<'a>(partition: &'a Partition, query: &'a JobQuery, limit: usize) -> Vec<&'a JobId> {
    let (sort, offset) = (&query.sort, query.offset as usize);
    let wanted = offset.saturating_add(limit);
    let mut kept: Vec<(Cursor, &StoredJob)> = Vec::new();
    for job in partition.by_id(&query.selection.id_prefix, None) {
        if !query.selection.matches(&job.shown) {
            continue;
        }
        let place = sort.cursor(&job.shown);
        if query.after.as_ref().is_some_and(|after| sort.compare(&place, after).is_le()) {
            continue;
        }
        kept.push((place, job));
        if kept.len() >= wanted.saturating_mul(2) {
            kept.select_nth_unstable_by(wanted, |(a, _), (b, _)| sort.compare(a, b));
            kept.truncate(wanted);
        }
    }
    kept.sort_unstable_by(|(a, _), (b, _)| sort.compare(a, b));
    kept.into_iter().skip(offset).take(limit).map(|(_, job)| &job.shown.key.job).collect()
}
