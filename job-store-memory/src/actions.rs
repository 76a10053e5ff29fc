//! What clients do to jobs.

use job_core::query::Selection;
use job_core::recording::JobState;
use job_core::store::{Action, ActionOutcome, BulkOutcome};
use job_core::{Event, JobId, JobKey, PartitionId, Timestamp, Transition};

use crate::state::State;

impl State {
    pub(crate) fn act(&mut self, key: &JobKey, action: Action, now: Timestamp) -> ActionOutcome {
        let event: fn(&JobState) -> Event = match action {
            Action::Delete if self.remove(key) => return ActionOutcome::Applied,
            Action::Delete => return ActionOutcome::NotFound,
            Action::Redispatch => return self.redispatch(key, now),
            Action::Cancel => |_| Event::Cancel,
            Action::Pause => |_| Event::Pause,
            Action::Resume => |state| Event::Resume { dispatched: state.is_dispatched() },
        };
        let Some(partition) = self.partitions.get_mut(&key.partition) else { return ActionOutcome::NotFound };
        let transition = partition.change(&key.job, |_, state| state.apply(event(state), now));
        match transition {
            None => ActionOutcome::NotFound,
            Some(Transition::Stay | Transition::Ignore) => ActionOutcome::Unchanged,
            Some(Transition::Refuse(refusal)) => ActionOutcome::Refused(refusal),
            Some(Transition::To(_)) => {
                self.follow_status(key);
                ActionOutcome::Applied
            }
        }
    }

    pub(crate) fn act_on_selected(
        &mut self,
        partition: &PartitionId,
        selection: &Selection,
        action: Action,
        after: Option<&JobId>,
        limit: u32,
        now: Timestamp,
    ) -> BulkOutcome {
        let limit = limit.max(1) as usize;
        let Some(jobs) = self.partitions.get(partition) else {
            return BulkOutcome { changed: 0, next: None };
        };
        let mut selected: Vec<JobKey> = jobs
            .by_id(&selection.id_prefix, after)
            .filter(|job| selection.matches(&job.shown))
            .take(limit + 1)
            .map(|job| job.shown.key.clone())
            .collect();
        let is_last = selected.len() <= limit;
        selected.truncate(limit);
        let next = if is_last { None } else { selected.last().map(|key| key.job.clone()) };
        let applied = selected.iter().filter(|key| self.act(key, action, now) == ActionOutcome::Applied);
        BulkOutcome { changed: applied.count() as u64, next }
    }
}
