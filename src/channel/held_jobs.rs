//! The jobs this master holds in one channel, and what is being done with each.

use std::collections::{HashMap, VecDeque};

use crate::job::{JobId, JobMeta, JobRecord, Payload};
use crate::store::Settlement;
use crate::wire::RunId;

/// What is being done with a held job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobProgress {
    /// It waits for a slot.
    Ready,
    /// It is aboard a worker.
    Running(RunId),
    /// Its run has ended; the store does not know yet.
    Settling,
}

#[derive(Debug)]
struct Held {
    /// `None` once it is being settled: nothing but the id is needed then.
    meta: Option<JobMeta>,
    /// `None` once it is aboard: a retry gets it from the store again.
    payload: Option<Payload>,
    progress: JobProgress,
}

/// Every job the store should believe we hold, and the order in which they are to run or to be settled.
#[derive(Debug, Default)]
pub(super) struct HeldJobs {
    held: HashMap<JobId, Held>,
    ready: VecDeque<JobId>,
    /// To be ready once the store has freed their unique keys.
    freeing: VecDeque<JobId>,
    /// Ready, but only alone in a worker.
    ready_alone: VecDeque<JobId>,
    /// Bytes of the payloads of all these.
    ready_bytes: usize,
    running: usize,
    settlements: VecDeque<Settlement>,
}

impl HeldJobs {
    /// How many jobs are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// How many wait for a slot that any job can take.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many wait until the store has freed their keys.
    pub(super) fn freeing(&self) -> usize {
        self.freeing.len()
    }

    /// How many wait for a worker of their own.
    pub(super) fn ready_alone(&self) -> usize {
        self.ready_alone.len()
    }

    /// How many bytes of payloads wait for a slot.
    pub(super) fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// How many are aboard workers.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// How many ends wait to be told to the store.
    pub(super) fn unsettled(&self) -> usize {
        self.settlements.len()
    }

    /// A job was leased. If it is `freeing`, it waits for [`HeldJobs::key_freed`].
    pub(super) fn lease(&mut self, record: JobRecord, freeing: bool) {
        match (freeing, record.meta.suspect) {
            (true, _) => self.freeing.push_back(record.id),
            (false, true) => self.ready_alone.push_back(record.id),
            (false, false) => self.ready.push_back(record.id),
        }
        let JobRecord { id, meta, payload } = record;
        self.ready_bytes += payload.as_str().len();
        self.held.insert(id, Held { meta: Some(meta), payload: Some(payload), progress: JobProgress::Ready });
    }

    /// The store has freed the unique key of a job: it may begin, if it is still held.
    pub(super) fn key_freed(&mut self, id: JobId) {
        let Some(place) = self.freeing.iter().position(|freeing| *freeing == id) else { return };
        self.freeing.remove(place);
        let alone = self.meta(id).is_some_and(|meta| meta.suspect);
        if alone { self.ready_alone.push_back(id) } else { self.ready.push_back(id) }
    }

    /// The next job that waits for a slot is about to run; answers what the dispatch needs of it.
    pub(super) fn next_ready(&mut self, alone: bool, run: RunId) -> Option<(JobId, &JobMeta, Payload)> {
        let queue = if alone { &mut self.ready_alone } else { &mut self.ready };
        let id = queue.pop_front()?;
        let held = self.held.get_mut(&id).expect("every ready id is held");
        held.progress = JobProgress::Running(run);
        self.running += 1;
        let payload = held.payload.take()?;
        self.ready_bytes -= payload.as_str().len();
        Some((id, held.meta.as_ref()?, payload))
    }

    /// What the store keeps of a job that is held and not yet being settled.
    pub(super) fn meta(&self, id: JobId) -> Option<&JobMeta> {
        self.held.get(&id)?.meta.as_ref()
    }

    /// A run has ended; answers the job's meta, or `None` when the run is not ours any more.
    pub(super) fn end(&mut self, id: JobId, run: RunId) -> Option<JobMeta> {
        let held = self.held.get_mut(&id).filter(|held| held.progress == JobProgress::Running(run))?;
        held.progress = JobProgress::Settling;
        self.running -= 1;
        held.meta.take()
    }

    /// Queues what the store shall record of a held job.
    pub(super) fn settle(&mut self, settlement: Settlement) {
        self.held
            .entry(settlement.id)
            .and_modify(|held| (held.progress, held.payload) = (JobProgress::Settling, None))
            .or_insert(Held { meta: None, payload: None, progress: JobProgress::Settling });
        self.settlements.push_back(settlement);
    }

    /// Every job that waits for a slot, taken off the queues: they are to be handed back.
    pub(super) fn take_ready(&mut self) -> Vec<(JobId, JobMeta)> {
        let waiting = self.ready.drain(..).chain(self.ready_alone.drain(..)).chain(self.freeing.drain(..));
        let ids: Vec<_> = waiting.collect();
        self.ready_bytes = 0;
        let held = &mut self.held;
        ids.into_iter().filter_map(|id| Some((id, held.get_mut(&id)?.meta.take()?))).collect()
    }

    /// One job that waits for a slot, taken off the queues: it is to be settled.
    pub(super) fn take_one_ready(&mut self, id: JobId) -> Option<JobMeta> {
        let held = self.held.get_mut(&id).filter(|held| held.progress == JobProgress::Ready)?;
        let meta = held.meta.take()?;
        let payload = held.payload.take();
        self.ready_bytes -= payload.map_or(0, |payload| payload.as_str().len());
        for queue in [&mut self.ready, &mut self.ready_alone, &mut self.freeing] {
            queue.retain(|ready| *ready != id);
        }
        Some(meta)
    }

    /// The next settlements to tell the store, at most `most`.
    pub(super) fn take_settlements(&mut self, most: usize) -> Vec<Settlement> {
        self.settlements.drain(..most.min(self.settlements.len())).collect()
    }

    /// The store has heard these settlements: the jobs are not ours any more.
    pub(super) fn settled<'a>(&mut self, settlements: impl IntoIterator<Item = &'a Settlement>) {
        for settlement in settlements {
            self.held.remove(&settlement.id);
        }
    }

    /// The store did not hear these: they are said again, first of all.
    pub(super) fn requeue_settlements(&mut self, settlements: Vec<Settlement>) {
        for settlement in settlements.into_iter().rev() {
            self.settlements.push_front(settlement);
        }
    }

    /// Drops every job the store says we do not hold; answers the runs to cancel.
    pub(super) fn keep_only(&mut self, ids: &std::collections::HashSet<JobId>) -> Vec<RunId> {
        let mut runs = Vec::new();
        self.held.retain(|id, held| {
            let keep = ids.contains(id);
            if let (false, JobProgress::Running(run)) = (keep, held.progress) {
                runs.push(run);
            }
            keep
        });
        self.running -= runs.len();
        self.ready.retain(|id| ids.contains(id));
        self.ready_alone.retain(|id| ids.contains(id));
        self.freeing.retain(|id| ids.contains(id));
        self.settlements.retain(|settlement| ids.contains(&settlement.id));
        let waiting = self.held.values().filter_map(|held| held.payload.as_ref());
        self.ready_bytes = waiting.map(|payload| payload.as_str().len()).sum();
        runs
    }

    /// The run of a job that is aboard a worker.
    pub(super) fn run(&self, id: JobId) -> Option<RunId> {
        match self.held.get(&id)?.progress {
            JobProgress::Running(run) => Some(run),
            JobProgress::Ready | JobProgress::Settling => None,
        }
    }

    /// Whether this job is held.
    pub(super) fn holds(&self, id: JobId) -> bool {
        self.held.contains_key(&id)
    }
}
