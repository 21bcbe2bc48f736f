//! The set of a pool's workers, in the order of their start.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::state::{Role, WorkerState};
use super::worker::Worker;
use crate::guardian::handle::ChildId;
use crate::wire::FromMaster;

/// The workers, from start until their process trees have ended.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    all: BTreeMap<ChildId, Worker>,
    /// Workers whose queued frames wait for [`flush`](Self::flush).
    unflushed: Vec<ChildId>,
}

impl Workers {
    /// Adds a worker that was started; answers its id.
    pub(crate) fn add(&mut self, worker: Worker) -> ChildId {
        let child = worker.child;
        self.all.insert(child, worker);
        child
    }

    pub(crate) fn remove(&mut self, child: ChildId) -> Option<Worker> {
        self.all.remove(&child)
    }

    pub(crate) fn get(&self, child: ChildId) -> Option<&Worker> {
        self.all.get(&child)
    }

    pub(crate) fn get_mut(&mut self, child: ChildId) -> Option<&mut Worker> {
        self.all.get_mut(&child)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All workers, the oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Worker> {
        self.all.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.all.values_mut()
    }

    /// The workers of the plan, in any state.
    pub(crate) fn planned(&self) -> impl DoubleEndedIterator<Item = &Worker> + Clone {
        self.all.values().filter(|worker| worker.is_role(Role::Plan))
    }

    /// The workers of the plan that take runs.
    pub(crate) fn serving(&self) -> impl DoubleEndedIterator<Item = &Worker> + Clone {
        self.planned().filter(|worker| worker.state.is_serving())
    }

    /// Number of runs in workers of the plan.
    pub(crate) fn planned_runs(&self) -> usize {
        self.planned().map(|worker| worker.runs().len()).sum()
    }

    /// The ids of all workers, the oldest first.
    pub(crate) fn ids(&self) -> Vec<ChildId> {
        self.all.keys().copied().collect()
    }

    /// The ids of the workers that fulfil a condition, the oldest first.
    pub(crate) fn ids_where(&self, is_meant: impl Fn(&Worker) -> bool) -> Vec<ChildId> {
        self.all.values().filter(|worker| is_meant(worker)).map(|worker| worker.child).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.all.values().filter_map(Worker::deadline).min()
    }

    /// Queues a frame for a worker. Frames for a worker that boots are sent after its hello: until then it may turn out
    /// to be of no use.
    pub(crate) fn send(&mut self, child: ChildId, frame: &FromMaster<'_>) {
        let Some(worker) = self.all.get_mut(&child) else { return };
        if worker.queue(frame) && !worker.state.is_booting() {
            self.unflushed.push(child);
        }
    }

    /// A booting worker has become ready: what was queued for it goes out with the next flush.
    pub(crate) fn set_ready(&mut self, child: ChildId, slots: usize, now: Instant) {
        let Some(worker) = self.all.get_mut(&child) else { return };
        worker.set_ready(slots, now);
        if worker.has_queued() {
            self.unflushed.push(child);
        }
    }

    /// Hands all queued frames to the I/O tasks.
    pub(crate) fn flush(&mut self) {
        for child in self.unflushed.drain(..) {
            if let Some(worker) = self.all.get_mut(&child) {
                worker.flush();
            }
        }
    }

    /// Gives a draining worker a deadline.
    pub(crate) fn set_drain_deadline(&mut self, child: ChildId, at: Instant) {
        if let Some(WorkerState::Draining { deadline }) = self.all.get_mut(&child).map(|w| &mut w.state) {
            *deadline = Some(at);
        }
    }
}
