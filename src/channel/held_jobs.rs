//! The jobs that this master holds in one channel, and their settlements.
//!
//! Owns: every job that the store should count as held, the queues of jobs that wait for a slot, and the settlements
//! that the store has not confirmed. Never calls the store or the pool. A job leaves when the store has confirmed
//! its settlement, or when the store says that this master does not hold it any more.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::job::{Isolation, JobId, JobMeta, JobRecord, Payload};
use crate::store::{Destination, Settlement};
use crate::wire::RunId;

/// How far a held job is.
#[derive(Debug)]
pub(super) enum JobProgress {
    /// In one of the queues, waiting for a slot or for the release of its unique key.
    Ready {
        /// The number of the lease, which grows: the order of the jobs in waiting.
        lease: u64,
        /// The record of the job.
        meta: JobMeta,
        /// The data of the job.
        payload: Payload,
    },
    /// In a worker. The payload went with the run: a retry reads it from the store again.
    Running {
        /// The delivery.
        run: RunId,
        /// The record of the job.
        meta: JobMeta,
    },
    /// The run has ended or never begins; the store has not confirmed the settlement. Only the id is needed.
    Settling,
}

/// A job that moves into a slot.
#[derive(Debug)]
pub(super) struct StartedRun<'a> {
    /// The number of the delivery.
    pub(super) run: RunId,
    /// The job.
    pub(super) id: JobId,
    /// The record of the job.
    pub(super) meta: &'a JobMeta,
    /// The data of the job.
    pub(super) payload: Payload,
}

/// Differences between the held jobs here and those of the store.
#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    /// Settlements that the store has recorded although the reply was lost.
    pub(super) confirmed: Vec<Settlement>,
    /// Runs of jobs that this master does not hold any more.
    pub(super) revoked: Vec<RunId>,
    /// Jobs that the store leased to this master in a reply that was lost.
    pub(super) unfetched: Vec<JobId>,
}

/// Every held job, and the order in which jobs run and are settled.
#[derive(Debug, Default)]
pub(super) struct HeldJobs {
    jobs: HashMap<JobId, JobProgress>,
    /// Ready for any free slot.
    ready: VecDeque<JobId>,
    /// Ready, but only for a worker without other jobs.
    ready_alone: VecDeque<JobId>,
    /// Jobs that wait until no other such job of this master runs.
    ready_exclusive: VecDeque<JobId>,
    /// Ready as soon as the store has released their unique keys.
    awaiting_key: VecDeque<JobId>,
    /// Payload bytes of all jobs in the three queues.
    ready_bytes: usize,
    /// Number of jobs leased so far.
    leases: u64,
    running: usize,
    /// To be sent with the next turn.
    settlements: VecDeque<Settlement>,
    /// Sent with a turn whose reply was lost.
    unconfirmed: Vec<Settlement>,
    /// The number of the last run; numbers are unique for the life of the channel.
    last_run: RunId,
}

impl HeldJobs {
    /// Number of held jobs.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Number of jobs that wait for any free slot.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Number of jobs that wait for a worker without other jobs.
    pub(super) fn ready_alone(&self) -> usize {
        self.ready_alone.len()
    }

    /// Number of jobs that wait until no other such job of this master runs.
    pub(super) fn ready_exclusive(&self) -> usize {
        self.ready_exclusive.len()
    }

    /// Number of jobs of this isolation that are not in a worker.
    pub(super) fn waiting_with(&self, isolation: Isolation) -> usize {
        let queue = match isolation {
            Isolation::None => &self.ready,
            Isolation::Worker => &self.ready_alone,
            Isolation::Master => &self.ready_exclusive,
        };
        let is_alike = |id: &&JobId| self.meta(**id).is_some_and(|meta| meta.isolation() == isolation);
        queue.len() + self.awaiting_key.iter().filter(is_alike).count()
    }

    /// Number of jobs that wait for a slot only, in any company.
    pub(super) fn all_ready(&self) -> usize {
        self.ready.len() + self.ready_alone.len() + self.ready_exclusive.len()
    }

    /// Number of jobs that wait for the release of their unique keys.
    pub(super) fn awaiting_key(&self) -> usize {
        self.awaiting_key.len()
    }

    /// Number of jobs that are leased and not in a worker.
    pub(super) fn waiting_for_slot(&self) -> usize {
        self.all_ready() + self.awaiting_key.len()
    }

    /// Payload bytes of the jobs that are leased and not in a worker.
    pub(super) fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Number of jobs in workers.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Whether settlements wait for the next turn.
    pub(super) fn has_settlements(&self) -> bool {
        !self.settlements.is_empty()
    }

    /// Whether this job is held.
    pub(super) fn holds(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id)
    }

    /// How far a job is; `None` when it is not held.
    pub(super) fn progress(&self, id: JobId) -> Option<&JobProgress> {
        self.jobs.get(&id)
    }

    /// The record of a job that is not yet being settled.
    pub(super) fn meta(&self, id: JobId) -> Option<&JobMeta> {
        match self.jobs.get(&id)? {
            JobProgress::Ready { meta, .. } | JobProgress::Running { meta, .. } => Some(meta),
            JobProgress::Settling => None,
        }
    }

    /// The run of a job that is in a worker.
    pub(super) fn run(&self, id: JobId) -> Option<RunId> {
        match self.jobs.get(&id)? {
            JobProgress::Running { run, .. } => Some(*run),
            JobProgress::Ready { .. } | JobProgress::Settling => None,
        }
    }

    /// Adds a leased job. With `awaits_key` the job waits for [`HeldJobs::key_released`].
    pub(super) fn lease(&mut self, record: JobRecord, awaits_key: bool) {
        let JobRecord { id, meta, payload } = record;
        let queue = if awaits_key { &mut self.awaiting_key } else { self.ready_queue(meta.isolation()) };
        queue.push_back(id);
        self.ready_bytes += payload.as_str().len();
        self.leases += 1;
        self.jobs.insert(id, JobProgress::Ready { lease: self.leases, meta, payload });
    }

    /// Lets a job start whose unique key the store has released, if the job is still waiting for that.
    pub(super) fn key_released(&mut self, id: JobId) {
        let Some(index) = self.awaiting_key.iter().position(|waiting| *waiting == id) else { return };
        self.awaiting_key.remove(index);
        let isolation = self.meta(id).map(JobMeta::isolation).unwrap_or_default();
        self.ready_queue(isolation).push_back(id);
    }

    fn ready_queue(&mut self, isolation: Isolation) -> &mut VecDeque<JobId> {
        match isolation {
            Isolation::None => &mut self.ready,
            Isolation::Worker => &mut self.ready_alone,
            Isolation::Master => &mut self.ready_exclusive,
        }
    }

    /// Every queue of jobs that are not in a worker.
    fn queues(&mut self) -> [&mut VecDeque<JobId>; 4] {
        [&mut self.ready, &mut self.ready_alone, &mut self.ready_exclusive, &mut self.awaiting_key]
    }

    /// Moves the next ready job to running, under a new run number.
    pub(super) fn start_next(&mut self, isolation: Isolation) -> Option<StartedRun<'_>> {
        let id = self.ready_queue(isolation).pop_front()?;
        let progress = self.jobs.get_mut(&id).expect("every queued job is held");
        let JobProgress::Ready { meta, payload, .. } = std::mem::replace(progress, JobProgress::Settling)
        else {
            unreachable!("every queued job is ready");
        };
        self.last_run += 1;
        self.running += 1;
        self.ready_bytes -= payload.as_str().len();
        let run = self.last_run;
        *progress = JobProgress::Running { run, meta };
        let JobProgress::Running { meta, .. } = progress else { unreachable!("assigned above") };
        Some(StartedRun { run, id, meta, payload })
    }

    /// Ends a run and returns the record of its job; `None` when the run is not of a held job any more.
    pub(super) fn end(&mut self, id: JobId, run: RunId) -> Option<JobMeta> {
        let progress = self.jobs.get_mut(&id)?;
        match std::mem::replace(progress, JobProgress::Settling) {
            JobProgress::Running { run: current, meta } if current == run => {
                self.running -= 1;
                Some(meta)
            }
            other => {
                *progress = other;
                None
            }
        }
    }

    /// Takes every job that waits for a slot off the queues, in the order of their leases. The caller settles each of them.
    pub(super) fn take_ready(&mut self) -> Vec<(JobId, JobMeta)> {
        self.ready_bytes = 0;
        let queued: Vec<_> = self.queues().into_iter().flat_map(|queue| queue.drain(..)).collect();
        let jobs = &mut self.jobs;
        let take = |id| match std::mem::replace(jobs.get_mut(&id)?, JobProgress::Settling) {
            JobProgress::Ready { lease, meta, .. } => Some((lease, (id, meta))),
            JobProgress::Running { .. } | JobProgress::Settling => unreachable!("every queued job is ready"),
        };
        let mut taken: Vec<_> = queued.into_iter().filter_map(take).collect();
        taken.sort_unstable_by_key(|(lease, _)| *lease);
        taken.into_iter().map(|(_, job)| job).collect()
    }

    /// Takes one job that waits for a slot off the queues. The caller settles it.
    pub(super) fn take_one_ready(&mut self, id: JobId) -> Option<JobMeta> {
        let progress = self.jobs.get_mut(&id).filter(|job| matches!(job, JobProgress::Ready { .. }))?;
        let JobProgress::Ready { meta, payload, .. } = std::mem::replace(progress, JobProgress::Settling)
        else {
            unreachable!("filtered above");
        };
        self.ready_bytes -= payload.as_str().len();
        for queue in self.queues() {
            queue.retain(|queued| *queued != id);
        }
        Some(meta)
    }

    /// Queues a settlement of a job that is neither ready nor running.
    pub(super) fn settle(&mut self, settlement: Settlement) {
        self.jobs.insert(settlement.id, JobProgress::Settling);
        self.settlements.push_back(settlement);
    }

    /// The settlements for the next turn, at most `limit`. Of the jobs that return to the front of waiting the last ones go
    /// first: those of the next turn then stand before them.
    pub(super) fn take_settlements(&mut self, limit: usize) -> Vec<Settlement> {
        if self.settlements.len() <= limit {
            return self.settlements.drain(..).collect();
        }
        let is_front = |settlement: &Settlement| matches!(settlement.to, Destination::Front(_));
        let (mut front, mut others): (Vec<_>, Vec<_>) = self.settlements.drain(..).partition(is_front);
        let mut taken: Vec<_> = others.drain(..limit.min(others.len())).collect();
        taken.extend(front.split_off(front.len().saturating_sub(limit - taken.len())));
        self.settlements.extend(others);
        self.settlements.extend(front);
        taken
    }

    /// Removes the jobs of settlements that the store has confirmed.
    pub(super) fn settled(&mut self, settlements: &[Settlement]) {
        for settlement in settlements {
            self.jobs.remove(&settlement.id);
        }
    }

    /// Keeps settlements whose reply was lost until [`HeldJobs::reconcile`] knows whether the store recorded them.
    pub(super) fn reply_lost(&mut self, settlements: Vec<Settlement>) {
        self.unconfirmed.extend(settlements);
    }

    /// Brings the held jobs in line with the ids that the store lists as held by this master.
    pub(super) fn reconcile(&mut self, ids: &HashSet<JobId>) -> Reconciliation {
        let unconfirmed = std::mem::take(&mut self.unconfirmed);
        let (resend, confirmed): (Vec<_>, Vec<_>) =
            unconfirmed.into_iter().partition(|s| ids.contains(&s.id));
        self.settled(&confirmed);
        for settlement in resend.into_iter().rev() {
            self.settlements.push_front(settlement);
        }
        let revoked = self.retain(ids);
        let unfetched = ids.iter().copied().filter(|id| !self.holds(*id)).collect();
        Reconciliation { confirmed, revoked, unfetched }
    }

    /// Drops every other job; returns the runs of those that were in workers.
    fn retain(&mut self, ids: &HashSet<JobId>) -> Vec<RunId> {
        let mut revoked = Vec::new();
        self.jobs.retain(|id, progress| {
            let keep = ids.contains(id);
            if let (false, JobProgress::Running { run, .. }) = (keep, progress) {
                revoked.push(*run);
            }
            keep
        });
        self.running -= revoked.len();
        for queue in self.queues() {
            queue.retain(|id| ids.contains(id));
        }
        self.settlements.retain(|settlement| ids.contains(&settlement.id));
        let ready = self.jobs.values().filter_map(|progress| match progress {
            JobProgress::Ready { payload, .. } => Some(payload.as_str().len()),
            JobProgress::Running { .. } | JobProgress::Settling => None,
        });
        self.ready_bytes = ready.sum();
        revoked
    }

    /// Drops every job: the lease is lost, and other owners hold them now. Run numbers continue.
    pub(super) fn clear(&mut self) {
        *self = Self { last_run: self.last_run, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OutputChange;

    fn record(id: u64, suspect: bool) -> JobRecord {
        let meta = JobMeta { suspect, ..JobMeta::named("x") };
        JobRecord { id: JobId(id), meta, payload: Payload::parse("{\"n\":1}").unwrap() }
    }

    fn done(id: u64) -> Settlement {
        Settlement { id: JobId(id), unique: None, to: Destination::Done, output: OutputChange::Keep }
    }

    fn ids(ids: &[u64]) -> HashSet<JobId> {
        ids.iter().copied().map(JobId).collect()
    }

    /// Jobs 1 and 2 are ready, 3 is a suspect, 4 waits for its key.
    fn held() -> HeldJobs {
        let mut held = HeldJobs::default();
        for (id, suspect, awaits_key) in
            [(1, false, false), (2, false, false), (3, true, false), (4, false, true)]
        {
            held.lease(record(id, suspect), awaits_key);
        }
        held
    }

    #[test]
    fn returned_jobs_keep_the_order_of_their_leases() {
        let mut held = held();
        held.lease(record(5, false), false);
        let returned: Vec<_> = held.take_ready().into_iter().map(|(id, _)| id.0).collect();
        assert_eq!(returned, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn suspects_and_jobs_without_their_key_wait_apart() {
        let mut held = held();
        assert_eq!((held.ready(), held.ready_alone(), held.awaiting_key()), (2, 1, 1));
        assert_eq!(held.start_next(Isolation::Worker).unwrap().id, JobId(3));
        held.key_released(JobId(4));
        held.key_released(JobId(9));
        assert_eq!((held.ready(), held.awaiting_key(), held.waiting_for_slot()), (3, 0, 3));
    }

    #[test]
    fn run_ends_once_and_only_under_its_number() {
        let mut held = held();
        let first = held.start_next(Isolation::None).unwrap().run;
        assert_eq!((held.running(), held.run(JobId(1))), (1, Some(first)));
        assert!(held.end(JobId(1), first + 1).is_none());
        assert!(held.end(JobId(1), first).is_some() && held.end(JobId(1), first).is_none());
        assert_eq!((held.running(), held.len()), (0, 4));
        held.settle(done(1));
        held.settled(&[done(1)]);
        assert_eq!(held.len(), 3);
    }

    #[test]
    fn ready_bytes_follow_the_queues() {
        let mut held = held();
        let one = record(1, false).payload.as_str().len();
        assert_eq!(held.ready_bytes(), 4 * one);
        held.start_next(Isolation::None).unwrap();
        held.take_one_ready(JobId(2)).unwrap();
        assert_eq!(held.ready_bytes(), 2 * one);
        assert_eq!(held.take_ready().len(), 2);
        assert_eq!((held.ready_bytes(), held.waiting_for_slot()), (0, 0));
    }

    #[test]
    fn returned_jobs_of_several_turns_keep_their_order() {
        let mut held = held();
        for id in 1..=7 {
            let to = if id == 3 { Destination::Done } else { Destination::Front(JobMeta::named("x")) };
            held.settle(Settlement { id: JobId(id), unique: None, to, output: OutputChange::Keep });
        }
        let mut turns = Vec::new();
        while held.has_settlements() {
            turns.push(held.take_settlements(3).iter().map(|settlement| settlement.id.0).collect::<Vec<_>>());
        }
        // Each turn puts its jobs before those of the turns before: 1, 2, 4, 5, 6, 7 in the end.
        assert_eq!(turns, [vec![3, 6, 7], vec![2, 4, 5], vec![1]]);
    }

    #[test]
    fn lost_reply_resends_only_what_the_store_still_holds() {
        let mut held = held();
        for _ in 0..2 {
            let run = held.start_next(Isolation::None).unwrap();
            let (id, run) = (run.id, run.run);
            held.end(id, run).unwrap();
        }
        held.settle(done(1));
        held.settle(done(2));
        let sent = held.take_settlements(10);
        held.reply_lost(sent);
        let Reconciliation { confirmed, revoked, unfetched } = held.reconcile(&ids(&[2, 3, 4, 7]));
        assert_eq!(confirmed.iter().map(|s| s.id).collect::<Vec<_>>(), [JobId(1)]);
        assert_eq!((revoked, unfetched), (vec![], vec![JobId(7)]));
        assert_eq!(held.take_settlements(10).iter().map(|s| s.id).collect::<Vec<_>>(), [JobId(2)]);
    }

    #[test]
    fn reconcile_revokes_runs_that_the_store_gave_to_others() {
        let mut held = held();
        let run = held.start_next(Isolation::None).unwrap().run;
        let result = held.reconcile(&ids(&[2]));
        assert_eq!(result.revoked, [run]);
        assert_eq!((held.running(), held.len(), held.waiting_for_slot()), (0, 1, 1));
        assert!(held.end(JobId(1), run).is_none());
    }

    #[test]
    fn run_numbers_continue_after_a_lost_lease() {
        let mut held = held();
        let first = held.start_next(Isolation::None).unwrap().run;
        held.clear();
        assert_eq!((held.len(), held.running(), held.ready_bytes()), (0, 0, 0));
        held.lease(record(1, false), false);
        assert!(held.start_next(Isolation::None).unwrap().run > first);
    }
}
