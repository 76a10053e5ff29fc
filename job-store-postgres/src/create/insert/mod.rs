//! Writing new jobs with everything about them.
//!
//! A single job is one statement, and so is a batch of a thousand, whose rows come as arrays. `COPY` would cost the server less
//! for each row, but the driver sends its data and its end apart and leaves Nagle's algorithm on, so that every table
//! waits 40 ms for a delayed acknowledgement.

mod batch;
mod one;

use job_core::dependency::due;
use job_core::recording::JobState;
use job_core::{JobId, Timestamp};
use sqlx::PgConnection;

pub(super) use one::{Seen, insert_if_unchanged};

use super::Numbered;
use crate::job_rows::{percentage_group, update_group};
use crate::sort_key::SortKey;
use crate::status_code;

/// Most rows of a statement.
const BATCH_ROWS_MAX: usize = 1_000;
/// Most bytes of task data in a statement, unless a single job has more.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// A job that is to be stored.
pub(super) struct NewRow<'a> {
    pub(super) job: &'a Numbered,
    unmet: Vec<JobId>,
    due: Option<Timestamp>,
    labels: Option<String>,
    prerequisites: Option<String>,
}

impl<'a> NewRow<'a> {
    pub(super) fn new(job: &'a Numbered, unmet: Vec<JobId>, now: Timestamp) -> Self {
        let new = &job.accepted.job;
        let due = due(unmet.len(), new.delay, now);
        let labels = (!new.labels.is_empty())
            .then(|| serde_json::to_string(&new.labels).expect("a map with keys of text is JSON"));
        let prerequisites = (!new.prerequisites.is_empty()).then(|| {
            let ids: Vec<&str> = new.prerequisites.iter().map(|named| named.job.as_str()).collect();
            serde_json::to_string(&ids).expect("texts are JSON")
        });
        Self { job, unmet, due, labels, prerequisites }
    }

    fn delay_millis(&self) -> i64 {
        i64::try_from(self.job.accepted.job.delay.as_millis()).unwrap_or(i64::MAX)
    }

    fn unmet(&self) -> i32 {
        i32::try_from(self.unmet.len()).unwrap_or(i32::MAX)
    }

    fn texts(&self) -> [(Option<&str>, SortKey); 3] {
        [0, 1, 2].map(|place| self.text(place))
    }

    /// The name, the description or the external data.
    fn text(&self, place: usize) -> (Option<&str>, SortKey) {
        let new = &self.job.accepted.job;
        let text = [&new.name, &new.description, &new.external_data][place].as_deref();
        (text, SortKey::of(text))
    }

    /// Which of the texts there are, as a sum of 1, 2 and 4.
    fn which_texts(&self) -> i16 {
        let new = &self.job.accepted.job;
        let texts = [&new.name, &new.description, &new.external_data];
        texts.into_iter().zip([1, 2, 4]).filter(|(text, _)| text.is_some()).map(|(_, bit)| bit).sum()
    }

    fn id_key(&self) -> Vec<u8> {
        SortKey::of(Some(self.job.key().job.as_str())).key
    }
}

/// What every new job has in common.
struct Beginning {
    now: i64,
    update_group: i64,
    status: i16,
    percentage: i64,
    hundredths: i16,
    percentage_group: i16,
}

impl Beginning {
    fn at(now: Timestamp) -> Self {
        let state = JobState::created(now);
        let hundredths = state.percentage.hundredths();
        Self {
            now: now.as_millis(),
            update_group: update_group(now),
            status: status_code::code(state.status),
            percentage: state.percentage.steps() as i64,
            hundredths: hundredths as i16,
            percentage_group: percentage_group(hundredths),
        }
    }
}

/// Fails with a unique violation when one of the jobs exists already. `rows` are in the order of their keys, so that two
/// batches with the same ids wait for each other in one order. The locks of their ids are taken as well, before anything is written;
/// what does not [fit together](fit_together) needs a transaction that has them all.
pub(super) async fn insert(
    connection: &mut PgConnection,
    rows: &[NewRow<'_>],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if let [row] = rows {
        return one::insert(connection, row, &Beginning::at(now)).await;
    }
    let beginning = Beginning::at(now);
    let mut rest = rows;
    while !rest.is_empty() {
        let (together, others) = rest.split_at(batch_length(rest));
        batch::insert(connection, together, &beginning).await?;
        rest = others;
    }
    Ok(())
}

/// Whether [`insert`] is a single statement.
pub(super) fn fit_together(rows: &[NewRow<'_>]) -> bool {
    batch_length(rows) == rows.len()
}

/// How many of the rows fit into one statement; at least one.
fn batch_length(rows: &[NewRow<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&NewRow<'_>| {
        bytes += row.job.accepted.job.task.data.len();
        bytes <= BATCH_BYTES_MAX
    };
    rows.iter().take(BATCH_ROWS_MAX).take_while(fits).count().max(1)
}
