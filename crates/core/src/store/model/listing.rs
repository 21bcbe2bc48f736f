//! Queries: counts, one job, pages of jobs.

use super::channel::{Channel, Job, JobLocation};
use super::waiting_order;
use crate::job::{JobId, Priority, Timestamp};
use crate::store::{Cursor, JobCounts, JobState, JobView, MAX_BATCH, Page, driver_rules};

impl Channel {
    pub(super) fn status(&self, now: Timestamp) -> JobCounts {
        let pause = self.pause(now);
        let count = |state| self.jobs.values().filter(|job| job.at.state() == state).count() as u64;
        JobCounts {
            waiting: count(JobState::Waiting),
            reserved: count(JobState::Reserved),
            delayed: count(JobState::Delayed),
            failed: count(JobState::Failed),
            done: self.done,
            cleared: self.cleared,
            bytes: self.counts_bytes.then(|| self.bytes()),
            paused: pause.is_some(),
            paused_until: pause.and_then(|pause| pause.until),
            front_ready_at: Priority::ALL
                .into_iter()
                .filter_map(|priority| self.waiting.first_of(priority))
                .map(|id| driver_rules::ready_at(id, &self.jobs[&id].meta))
                .min(),
            next_due: self.of(JobState::Delayed).first().map(|(due, _)| Timestamp(*due)),
            now,
            clock_behind: driver_rules::clock_behind(self.highest, now),
        }
    }

    /// The bytes of all jobs, as the stores of other drivers have them.
    fn bytes(&self) -> u64 {
        let jobs = self.jobs.values().map(|job| driver_rules::record_bytes(&job.meta, &job.payload));
        let outputs = self.outputs.values().map(|output| driver_rules::output_text(output).len());
        jobs.chain(outputs).sum::<usize>() as u64
    }

    pub(super) fn get(&self, id: JobId) -> Option<JobView> {
        let job = self.jobs.get(&id)?;
        let (rank, _) = sort_key((&id, job));
        Some(driver_rules::listed(id, job.at.state(), rank, &job.meta, job.payload.clone()))
    }

    pub(super) fn list(&self, state: JobState, after: Option<Cursor>, limit: usize) -> Page {
        let mut all = self.of(state);
        if state == JobState::Failed {
            all.reverse();
        }
        let begin = match after {
            None => 0,
            Some(cursor) => {
                let after = (cursor.rank, JobId(cursor.id));
                let passed = |place| if state == JobState::Failed { place >= after } else { place <= after };
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

    /// The jobs of a state with their sort keys, ascending.
    pub(super) fn of(&self, state: JobState) -> Vec<(u64, JobId)> {
        let mut places: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.at.state() == state).map(sort_key).collect();
        places.sort_unstable();
        places
    }
}

/// The sort key of a job in its state.
fn sort_key((id, job): (&JobId, &Job)) -> (u64, JobId) {
    match &job.at {
        JobLocation::Waiting(place) => (waiting_order::number(*place), *id),
        JobLocation::Delayed(at) | JobLocation::Failed(at) => (at.0, *id),
        JobLocation::Reserved(_) => (0, *id),
    }
}
