//! A worker as the pool sees it: process, state, runs, and the link to the task that serves its descriptors.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::output::WorkerLog;
use super::program_files::ProgramFiles;
use super::start_reason::StartReason;
use super::state::{KillReason, Role, WorkerEnd, WorkerState};
use crate::guardian::handle::{ChildId, Exit};
use crate::pool::messages::{IoCommand, OutgoingFrames};
use crate::pool::recycling::{RecycleReason, WorkerFacts};
use crate::pool::rollout::WorkerRef;
use crate::pool::run_output::RunTag;
use crate::producer_memory::AnswerReservation;
use crate::wire::{self, FromMaster, RunId};

/// Most unread bytes a worker may leave in its socket before it gets no more runs.
pub(super) const MAX_UNREAD_BYTES: usize = 4 << 20;

/// A worker that exits sooner than this after its hello, without having had a job, has failed to boot.
const MIN_USEFUL_LIFE: Duration = Duration::from_secs(10);

/// How and why a worker was started.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) role: Role,
    pub(crate) generation: u64,
    /// The reason shown in `queue:status`.
    pub(crate) reason: StartReason,
    pub(crate) started_at: Instant,
    /// The files of its program at the start.
    pub(crate) files: ProgramFiles,
}

/// Why a worker is to be replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replacement {
    pub(crate) reason: RecycleReason,
    /// Whether its successor has been started.
    pub(crate) is_started: bool,
}

/// A worker of the pool.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) child: ChildId,
    pub(crate) origin: Origin,
    pub(crate) state: WorkerState,
    pub(crate) slots: usize,
    /// When it sent its hello; a worker that sends none is ready from its start.
    pub(crate) ready_at: Option<Instant>,
    pub(crate) replacement: Option<Replacement>,
    /// Resident bytes in the last sample.
    pub(crate) memory: Option<u64>,
    pub(crate) violations: u32,
    /// Frames that could be read in part only.
    pub(crate) damaged_frames: u32,
    pid: Option<i32>,
    end: Option<WorkerEnd>,
    /// When the pool has killed it.
    pub(crate) killed_at: Option<Instant>,
    /// When the guardian's report of its exit is overdue: its socket is closed.
    pub(crate) hangup_deadline: Option<Instant>,
    runs: HashSet<RunId>,
    /// Runs it was given in its life.
    runs_taken: u64,
    link: IoLink,
}

/// The link between the pool and the task that serves a worker's descriptors.
#[derive(Debug)]
pub(crate) struct IoLink {
    commands: mpsc::UnboundedSender<IoCommand>,
    /// Bytes handed to the task that the worker has not read.
    unread: Arc<AtomicUsize>,
    log: Arc<WorkerLog>,
    /// Frames that wait for the next flush.
    outgoing: OutgoingFrames,
    /// Requests of its runs without a response.
    open_requests: usize,
}

impl IoLink {
    pub(crate) fn new(
        commands: mpsc::UnboundedSender<IoCommand>,
        unread: Arc<AtomicUsize>,
        log: Arc<WorkerLog>,
    ) -> Self {
        Self { commands, unread, log, outgoing: OutgoingFrames::default(), open_requests: 0 }
    }

    /// The link of a worker that could not be started.
    pub(super) fn disconnected() -> Self {
        Self::new(mpsc::unbounded_channel().0, Arc::default(), Arc::default())
    }
}

impl Worker {
    pub(super) fn new(child: ChildId, origin: Origin, state: WorkerState, link: IoLink) -> Self {
        let ready_at = (!state.is_booting()).then_some(origin.started_at);
        Self {
            child,
            origin,
            state,
            slots: 1,
            ready_at,
            replacement: None,
            memory: None,
            violations: 0,
            damaged_frames: 0,
            pid: None,
            end: None,
            killed_at: None,
            hangup_deadline: None,
            runs: HashSet::new(),
            runs_taken: 0,
            link,
        }
    }

    /// The log of the worker, for its `log` frames.
    pub(crate) fn log(&self) -> &WorkerLog {
        &self.link.log
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// The guardian has started the process.
    pub(crate) fn set_pid(&mut self, pid: i32) {
        self.pid = Some(pid);
        self.link.log.set_pid(pid);
    }

    /// How it ended, once it has.
    pub(crate) fn end(&self) -> Option<WorkerEnd> {
        self.end
    }

    /// The process tree has ended: the rest of its output is read, then the link closes.
    pub(crate) fn set_end(&mut self, end: WorkerEnd) {
        self.end = Some(end);
        let _ = self.link.commands.send(IoCommand::Drain);
    }

    /// The hello has arrived.
    pub(crate) fn set_ready(&mut self, slots: usize, now: Instant) {
        (self.state, self.slots, self.ready_at) = (WorkerState::Serving, slots, Some(now));
    }

    /// Whether it is of no use because its socket is closed.
    pub(crate) fn is_hung_up(&self) -> bool {
        self.hangup_deadline.is_some() && self.state.is_staying()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.hangup_deadline.filter(|_| self.state.is_staying()).or(self.state.deadline())
    }

    /// Runs it has not answered.
    pub(crate) fn runs(&self) -> &HashSet<RunId> {
        &self.runs
    }

    pub(crate) fn runs_taken(&self) -> u64 {
        self.runs_taken
    }

    /// Adds a run, whose lines are logged and kept with `tag`.
    pub(crate) fn add_run(&mut self, run: RunId, tag: RunTag) {
        self.runs.insert(run);
        self.runs_taken += 1;
        self.tag_run((self.runs.len() == 1).then_some(tag));
    }

    /// Removes a run that has ended. Answers the run that is left when there is exactly one, for
    /// [`tag_run`](Self::tag_run).
    pub(crate) fn remove_run(&mut self, run: RunId) -> Option<RunId> {
        self.runs.remove(&run);
        self.tag_run(None);
        (self.runs.len() == 1).then(|| self.runs.iter().next().copied())?
    }

    /// Removes every run: their jobs belong to another owner.
    pub(crate) fn forget_runs(&mut self) {
        self.runs.clear();
    }

    /// Names the run that printed lines belong to; `None` when there are several or none.
    pub(crate) fn tag_run(&self, run: Option<RunTag>) {
        self.link.log.set_run(run);
    }

    /// The worker by its process id, once the guardian has reported it.
    pub(crate) fn reference(&self) -> Option<WorkerRef> {
        Some(WorkerRef { pid: self.pid?, generation: self.origin.generation })
    }

    pub(crate) fn is_role(&self, role: Role) -> bool {
        self.origin.role == role
    }

    /// Number of runs it can take now; `life` is the number it may take in all, 0 for no limit.
    pub(crate) fn free_slots(&self, life: u64) -> usize {
        let takes_runs = self.state.is_serving() && !self.is_hung_up() && self.end.is_none();
        if !takes_runs || self.is_backlogged() {
            return 0;
        }
        let free = self.slots.saturating_sub(self.runs.len());
        match life {
            0 => free,
            _ => free.min(usize::try_from(life.saturating_sub(self.runs_taken)).unwrap_or(usize::MAX)),
        }
    }

    /// Number of runs it can have at once from now on. Near the end of its life slots stay empty.
    pub(crate) fn usable_slots(&self, life: u64) -> usize {
        let left = usize::try_from(life.saturating_sub(self.runs_taken)).unwrap_or(usize::MAX);
        if life == 0 { self.slots } else { self.slots.min(self.runs.len().saturating_add(left)) }
    }

    /// Whether so much waits to be read by it that it gets no more frames of runs.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.link.outgoing.bytes.len() + self.link.unread.load(Ordering::Relaxed) >= MAX_UNREAD_BYTES
    }

    /// Whether it could take a run and has none.
    pub(crate) fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.free_slots(0) > 0
    }

    /// Whether it has taken all the runs of its life.
    pub(crate) fn is_spent(&self, life: u64) -> bool {
        life > 0 && self.runs_taken >= life
    }

    /// Whether it serves the plan, or is about to, and is not to be replaced.
    pub(crate) fn is_permanent(&self, life: u64) -> bool {
        let serves = self.state.is_booting() || self.state.is_serving();
        serves && self.is_role(Role::Plan) && self.replacement.is_none() && !self.is_spent(life)
    }

    /// Marks it for replacement.
    pub(crate) fn replace(&mut self, reason: RecycleReason) {
        self.replacement = Some(Replacement { reason, is_started: false });
    }

    /// Whether a reload is why it is replaced.
    pub(crate) fn is_replaced_by_reload(&self) -> bool {
        self.replacement.is_some_and(|replacement| replacement.reason.is_reload())
    }

    /// The facts that decide whether it is to be replaced.
    pub(crate) fn facts(&self, now: Instant) -> WorkerFacts {
        let age = now.duration_since(self.origin.started_at);
        WorkerFacts { number: self.child.0, runs_taken: self.runs_taken, age, memory: self.memory }
    }

    /// Whether it has had no job and has not lived for long. When it ends now, and the pool has not ended it, its boot
    /// has failed.
    pub(crate) fn is_unstable(&self, now: Instant) -> bool {
        self.ready_at.is_none_or(|at| self.runs_taken == 0 && now.duration_since(at) < MIN_USEFUL_LIFE)
    }

    /// Whether it ended by itself before it was of any use.
    pub(crate) fn is_failed_boot(&self, exit: Option<Exit>, now: Instant) -> bool {
        exit.is_some() && self.state.is_staying() && self.is_unstable(now)
    }

    /// Whether the pool has asked it to stop, so that failures of its runs are due to that.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.state.kill_reason() == Some(KillReason::Stopping)
    }

    /// Adds a request to those without a response; returns their number.
    pub(crate) fn open_request(&mut self) -> usize {
        self.link.open_requests += 1;
        self.link.open_requests
    }

    pub(crate) fn close_request(&mut self) {
        self.link.open_requests = self.link.open_requests.saturating_sub(1);
    }

    /// Keeps the memory of the answer that is queued next, until the worker has read it.
    pub(crate) fn keep_until_read(&mut self, memory: Option<AnswerReservation>) {
        self.link.outgoing.answers.extend(memory);
    }

    /// Queues a frame for the next flush; returns whether it is the first in the queue.
    pub(super) fn queue(&mut self, frame: &FromMaster<'_>) -> bool {
        let is_first = !self.has_queued();
        wire::encode_to_worker(frame, &mut self.link.outgoing.bytes);
        is_first
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.link.outgoing.bytes.is_empty()
    }

    /// Hands the queued frames to the I/O task.
    pub(super) fn flush(&mut self) {
        if self.has_queued() {
            self.link.unread.fetch_add(self.link.outgoing.bytes.len(), Ordering::Relaxed);
            // The task ends only after `Drain`, when the worker reads nothing any more.
            let _ = self.link.commands.send(IoCommand::Send(std::mem::take(&mut self.link.outgoing)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;
    use crate::pool::run_output::RunOutput;

    fn tag(id: u64) -> RunTag {
        RunTag { id: JobId(id), trace_id: None, output: RunOutput::default() }
    }

    /// A worker whose hello arrived at `begin`.
    fn serving(begin: Instant) -> Worker {
        let origin = Origin {
            role: Role::Plan,
            generation: 1,
            reason: StartReason::Min,
            started_at: begin,
            files: ProgramFiles::default(),
        };
        let state = WorkerState::Booting { deadline: begin + MIN_USEFUL_LIFE, early_hello: None };
        let mut worker = Worker::new(ChildId(1), origin, state, IoLink::disconnected());
        worker.set_ready(1, begin);
        worker
    }

    #[test]
    fn early_exit_without_a_job_is_a_failed_boot() {
        let (begin, exit) = (Instant::now(), Some(Exit::Code(0)));
        let soon = begin + Duration::from_millis(1_200);
        assert!(serving(begin).is_failed_boot(exit, begin) && serving(begin).is_failed_boot(exit, soon));
        assert!(!serving(begin).is_failed_boot(exit, begin + MIN_USEFUL_LIFE), "lived long enough");
        assert!(!serving(begin).is_failed_boot(None, soon), "its end is unknown");
        for state in [
            WorkerState::Stopping { deadline: soon },
            WorkerState::Dying { reason: KillReason::Stopping, boot_failure: None },
        ] {
            let mut ended = serving(begin);
            ended.state = state;
            assert!(!ended.is_failed_boot(exit, soon), "the pool ended it: {:?}", ended.state);
        }
        let mut used = serving(begin);
        used.add_run(1, tag(1));
        used.remove_run(1);
        assert!(!used.is_failed_boot(exit, soon), "it has run a job");
    }

    #[test]
    fn usable_slots_shrink_at_the_end_of_a_life() {
        let mut worker = serving(Instant::now());
        worker.slots = 10;
        assert_eq!((worker.usable_slots(0), worker.usable_slots(100), worker.usable_slots(3)), (10, 10, 3));
        for run in 1..=3 {
            worker.add_run(run, tag(run));
        }
        assert_eq!((worker.usable_slots(0), worker.usable_slots(5), worker.usable_slots(3)), (10, 5, 3));
        worker.remove_run(1);
        assert_eq!((worker.usable_slots(5), worker.usable_slots(3)), (4, 2));
    }

    #[test]
    fn hangup_deadline_ends_with_the_stay() {
        let begin = Instant::now();
        let mut worker = serving(begin);
        worker.hangup_deadline = Some(begin + Duration::from_secs(1));
        assert!(worker.is_hung_up() && worker.free_slots(0) == 0);
        assert_eq!(worker.deadline(), Some(begin + Duration::from_secs(1)));
        worker.state = WorkerState::Stopping { deadline: begin + Duration::from_secs(5) };
        assert!(!worker.is_hung_up());
        assert_eq!(worker.deadline(), Some(begin + Duration::from_secs(5)));
    }
}
