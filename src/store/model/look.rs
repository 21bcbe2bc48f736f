//! What people see: counts, one job, pages of jobs.

use super::channel::{Channel, Job, Spot};
use super::order;
use crate::job::{JobId, Timestamp};
use crate::store::{Cursor, Listed, MAX_BATCH, Page, State, Status, batch};

impl Channel {
    pub(super) fn status(&self, now: Timestamp) -> Status {
        let pause = self.pause(now);
        let count = |state| self.jobs.values().filter(|job| job.at.state() == state).count() as u64;
        Status {
            waiting: count(State::Waiting),
            reserved: count(State::Reserved),
            delayed: count(State::Delayed),
            failed: count(State::Failed),
            done: self.done,
            cleared: self.cleared,
            paused: pause.is_some(),
            paused_until: pause.and_then(|pause| pause.until),
        }
    }

    pub(super) fn get(&self, id: JobId) -> Option<Listed> {
        let job = self.jobs.get(&id)?;
        let at = match job.at {
            Spot::Delayed(at) | Spot::Failed(at) => at,
            Spot::Waiting(_) | Spot::Reserved(_) => id.pushed_at(),
        };
        Some(batch::listed(id, job.at.state(), at, &job.meta, job.payload.clone()))
    }

    pub(super) fn list(&self, state: State, after: Option<Cursor>, limit: usize) -> Page {
        let mut all = self.of(state);
        if state == State::Failed {
            all.reverse();
        }
        let begin = match after {
            None => 0,
            Some(cursor) => {
                let after = (cursor.rank, JobId(cursor.id));
                let passed = |place| if state == State::Failed { place >= after } else { place <= after };
                all.iter().take_while(|place| passed(**place)).count()
            }
        };
        let end = all.len().min(begin.saturating_add(limit.min(MAX_BATCH)));
        let page = &all[begin..end];
        let next = (end < all.len()).then(|| page.last()).flatten();
        Page {
            jobs: page.iter().filter_map(|(_, id)| self.get(*id)).collect(),
            next: next.map(|(rank, id)| Cursor { rank: *rank, id: id.0 }),
        }
    }

    /// The jobs of a state by what orders them, smallest first.
    pub(super) fn of(&self, state: State) -> Vec<(u64, JobId)> {
        let place = |(id, job): (&JobId, &Job)| match &job.at {
            Spot::Waiting(place) => (order::number(*place), *id),
            Spot::Delayed(at) | Spot::Failed(at) => (at.0, *id),
            Spot::Reserved(_) => (0, *id),
        };
        let mut places: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.at.state() == state).map(place).collect();
        places.sort_unstable();
        places
    }
}
