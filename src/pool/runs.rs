//! Runs in workers: one entry per delivery, from dispatch to [`EndedRun`], with its time limit.
//!
//! ```text
//! Assigned ── hello of its worker ──► Running ── time limit or cancel ──► Ending ── grace ──► Stuck
//! ```
//! Every run that is added ends in exactly one [`EndedRun`], unless the lease is lost and all are dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::run_output::{RunOutput, RunTag};
use super::run_process::RunProcess;
use crate::guardian::handle::{ChildId, ExclusiveRun, RunTicket};
use crate::job::{Failure, JobId, Outcome, Payload, TraceContext, TraceId};
use crate::wire::RunId;

/// The end of a run past its time limit whose worker answered.
const ENDED_WHEN_ASKED: &str = "it ended when asked";

/// A delivery of a job to a worker.
#[derive(Clone, Debug)]
pub struct Run {
    /// The delivery's number, unique within this pool.
    pub run: RunId,
    /// The job.
    pub id: JobId,
    /// The job's name.
    pub job: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Number of attempts the job has.
    pub max_attempts: u32,
    /// Time limit from dispatch, or from the hello of a worker that boots for this run; `None` for no limit.
    pub timeout: Option<Duration>,
    /// Headers set by the producer.
    pub headers: BTreeMap<String, String>,
    /// Why the job has failed for good, when this delivery is for its failed callback.
    pub failure: Option<Failure>,
    /// The job's data.
    pub payload: Payload,
}

/// The end of a delivery.
#[derive(Clone, Debug)]
pub struct EndedRun {
    /// The delivery.
    pub run: RunId,
    /// The job.
    pub id: JobId,
    /// The result.
    pub outcome: Outcome,
    /// Whether the run had begun: its program was started, or its worker was ready.
    pub has_begun: bool,
    /// Time from dispatch to end.
    pub took: Duration,
    /// The process of the run.
    pub process: RunProcess,
    /// The lines that the run printed.
    pub output: RunOutput,
}

/// Why a run was asked to end before it had finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The time limit of the run has passed.
    TimedOut,
    /// The job was cancelled.
    Cancelled,
}

/// The state of a run in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunState {
    /// The worker of the run boots; the run has not begun.
    Assigned,
    /// The job runs, until the deadline if it has a limit.
    Running { deadline: Option<Instant> },
    /// The run was asked to end, and has until the deadline.
    Ending { by: CancelReason, deadline: Instant },
    /// The run was asked to end and did not.
    Stuck { by: CancelReason },
}

/// A run in a worker.
#[derive(Debug)]
pub(super) struct ActiveRun {
    pub(super) id: JobId,
    /// The job's name.
    pub(super) job: String,
    pub(super) child: ChildId,
    /// Dispatch, or the hello of the worker that booted for it.
    pub(super) began: Instant,
    /// The time limit of the run.
    pub(super) limit: Option<Duration>,
    /// The progress of the run in percent, as the worker last reported.
    pub(super) progress: Option<f64>,
    /// Which attempt, from 1.
    pub(super) attempt: u32,
    /// Whether a process has it: a start that the system refuses is no run.
    has_begun: bool,
    /// The lines that the run has printed.
    pub(super) output: RunOutput,
    /// The trace that the run belongs to.
    trace_id: Option<TraceId>,
    /// The most resident bytes of its worker in the samples since its dispatch.
    pub(super) rss_peak: Option<u64>,
    /// When it was asked to end.
    asked_at: Option<Instant>,
    state: RunState,
    /// Dropped with the run.
    _holds: RunHolds,
}

/// Claims of a run on its guardian, given up by a drop.
#[derive(Debug)]
pub(super) struct RunHolds {
    /// Counts the run, so that the guardian is watched.
    pub(super) _ticket: RunTicket,
    /// The turn of a job that may have killed a guardian.
    pub(super) _turn: Option<ExclusiveRun>,
}

impl ActiveRun {
    /// Why it was asked to end, if it was.
    pub(super) fn cancel_reason(&self) -> Option<CancelReason> {
        match self.state {
            RunState::Assigned | RunState::Running { .. } => None,
            RunState::Ending { by, .. } | RunState::Stuck { by } => Some(by),
        }
    }

    /// The mark of its lines.
    pub(super) fn tag(&self) -> RunTag {
        RunTag { id: self.id, trace_id: self.trace_id, output: self.output.clone() }
    }

    pub(super) fn is_stuck(&self) -> bool {
        matches!(self.state, RunState::Stuck { .. })
    }

    /// The time limit that has passed, if that is why the run was asked to end.
    pub(super) fn passed_limit(&self) -> Option<Duration> {
        (self.cancel_reason() == Some(CancelReason::TimedOut)).then(|| self.limit.unwrap_or_default())
    }

    /// The outcome of a run whose worker answered `outcome`. A run that was asked to end and then failed did so because
    /// of that request.
    pub(super) fn after_outcome(&self, outcome: Outcome, is_interrupted: bool) -> Outcome {
        match (outcome, self.cancel_reason()) {
            (Outcome::Done, _) => Outcome::Done,
            (_, Some(CancelReason::Cancelled)) => Outcome::Cancelled { killed: false },
            (_, Some(CancelReason::TimedOut)) => {
                Outcome::TimedOut { limit: self.limit.unwrap_or_default(), how: ENDED_WHEN_ASKED.to_owned() }
            }
            _ if is_interrupted => Outcome::Interrupted,
            (other, None) => other,
        }
    }

    /// The outcome of a run whose worker has died, when the death alone would mean `outcome`.
    pub(super) fn after_death(&self, outcome: Outcome, killed: bool) -> Outcome {
        match outcome {
            Outcome::Done => Outcome::Done,
            _ if self.cancel_reason() == Some(CancelReason::Cancelled) => Outcome::Cancelled { killed },
            other => other,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.state {
            RunState::Running { deadline } => deadline,
            RunState::Ending { deadline, .. } => Some(deadline),
            RunState::Assigned | RunState::Stuck { .. } => None,
        }
    }
}

/// A deadline of a run that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunExpiry {
    /// The time limit has passed: the run is to be asked to end.
    TimeLimit(RunId),
    /// The grace behind that: the run is stuck.
    Grace(ChildId),
}

/// The runs in workers, and the ends the channel has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Runs {
    active: HashMap<RunId, ActiveRun>,
    deadlines: BTreeSet<(Instant, RunId)>,
    /// The jobs whose runs have begun and which the channel has not taken yet.
    begun: Vec<JobId>,
    ended: Vec<EndedRun>,
}

impl Runs {
    /// Adds a run; its clock starts at once when its worker is ready. Returns the mark of its lines.
    pub(super) fn add(
        &mut self,
        run: Run,
        child: ChildId,
        is_ready: bool,
        holds: RunHolds,
        now: Instant,
    ) -> RunTag {
        let trace_id = TraceContext::of(&run.headers).map(|trace| trace.trace_id);
        let entry = ActiveRun {
            id: run.id,
            job: run.job,
            child,
            began: now,
            limit: run.timeout,
            progress: None,
            attempt: run.attempt,
            has_begun: false,
            output: RunOutput::default(),
            trace_id,
            rss_peak: None,
            asked_at: None,
            state: RunState::Assigned,
            _holds: holds,
        };
        let tag = entry.tag();
        self.active.insert(run.run, entry);
        if is_ready {
            self.start_clock(run.run, now);
        }
        tag
    }

    /// Notes that a run has begun.
    pub(super) fn begin(&mut self, run: RunId) {
        if let Some(entry) = self.active.get_mut(&run)
            && !std::mem::replace(&mut entry.has_begun, true)
        {
            self.begun.push(entry.id);
        }
    }

    /// Starts the time limit of a run whose worker is ready. A run that was asked to end keeps its grace.
    pub(super) fn start_clock(&mut self, run: RunId, now: Instant) {
        let Some(entry) = self.active.get_mut(&run).filter(|entry| entry.state == RunState::Assigned) else {
            return;
        };
        let deadline = entry.limit.map(|limit| now + limit);
        (entry.began, entry.state) = (now, RunState::Running { deadline });
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, run));
        }
    }

    /// Notes that a run is asked to end. Answers its worker; `None` when it was asked before, and so gets no second
    /// grace.
    pub(super) fn begin_end(
        &mut self,
        run: RunId,
        reason: CancelReason,
        grace: Duration,
        now: Instant,
    ) -> Option<ChildId> {
        let entry = self.active.get_mut(&run)?;
        match &mut entry.state {
            RunState::Ending { by, .. } | RunState::Stuck { by } => {
                *by = reason;
                return None;
            }
            RunState::Assigned | RunState::Running { .. } => {}
        }
        if let Some(deadline) = entry.deadline() {
            self.deadlines.remove(&(deadline, run));
        }
        let deadline = now + grace;
        (entry.asked_at, entry.state) = (Some(now), RunState::Ending { by: reason, deadline });
        self.deadlines.insert((deadline, run));
        Some(entry.child)
    }

    /// Removes and returns the deadlines that have passed.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<RunExpiry> {
        let later = self.deadlines.split_off(&(now, RunId::MAX));
        let due = std::mem::replace(&mut self.deadlines, later);
        due.into_iter().filter_map(|(_, run)| self.expire(run)).collect()
    }

    fn expire(&mut self, run: RunId) -> Option<RunExpiry> {
        let entry = self.active.get_mut(&run)?;
        match entry.state {
            RunState::Running { .. } => Some(RunExpiry::TimeLimit(run)),
            RunState::Ending { by, .. } => {
                entry.state = RunState::Stuck { by };
                Some(RunExpiry::Grace(entry.child))
            }
            RunState::Assigned | RunState::Stuck { .. } => None,
        }
    }

    /// Removes a run and notes its end, in a worker with this process. `outcome` is asked with the run's entry.
    pub(super) fn end(
        &mut self,
        run: RunId,
        process: RunProcess,
        now: Instant,
        outcome: impl FnOnce(&ActiveRun) -> Outcome,
    ) -> Option<&EndedRun> {
        let entry = self.active.remove(&run)?;
        if let Some(deadline) = entry.deadline() {
            self.deadlines.remove(&(deadline, run));
        }
        let took = now.duration_since(entry.began);
        let has_begun = entry.has_begun;
        let outcome = outcome(&entry);
        entry.output.close(outcome.word());
        let rss_peak = entry.rss_peak.max(process.rss_peak);
        let process = RunProcess { rss_peak, asked_at: entry.asked_at, ..process };
        self.ended.push(EndedRun {
            run,
            id: entry.id,
            outcome,
            has_begun,
            took,
            process,
            output: entry.output,
        });
        self.ended.last()
    }

    /// Drops every run without an end: its job belongs to another owner.
    pub(super) fn forget(&mut self) {
        self.active.values().for_each(|run| run.output.close(Outcome::Lost.word()));
        *self = Self::default();
    }

    pub(super) fn get(&self, run: RunId) -> Option<&ActiveRun> {
        self.active.get(&run)
    }

    /// A run of this worker.
    pub(super) fn of(&self, child: ChildId, run: RunId) -> Option<&ActiveRun> {
        self.active.get(&run).filter(|entry| entry.child == child)
    }

    pub(super) fn set_progress(&mut self, child: ChildId, run: RunId, percent: f64) -> Option<JobId> {
        let entry = self.active.get_mut(&run).filter(|entry| entry.child == child)?;
        entry.progress = Some(percent.clamp(0.0, 100.0));
        Some(entry.id)
    }

    /// Whether a run was asked to end, or has ended.
    pub(super) fn is_ending(&self, run: RunId) -> bool {
        self.active.get(&run).is_none_or(|entry| entry.cancel_reason().is_some())
    }

    /// Notes a sample of the memory of the worker that has these runs.
    pub(super) fn note_memory<'a>(&mut self, runs: impl IntoIterator<Item = &'a RunId>, bytes: u64) {
        for run in runs {
            if let Some(entry) = self.active.get_mut(run) {
                entry.rss_peak = entry.rss_peak.max(Some(bytes));
            }
        }
    }

    /// All runs, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ActiveRun> {
        self.active.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Number of runs that were asked to end and did not.
    pub(super) fn stuck(&self) -> usize {
        self.active.values().filter(|entry| entry.is_stuck()).count()
    }

    pub(super) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// The jobs whose runs have begun since the last call.
    pub(super) fn take_begun(&mut self) -> Vec<JobId> {
        std::mem::take(&mut self.begun)
    }

    pub(super) fn take_ended(&mut self) -> Vec<EndedRun> {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);
    const GRACE: Duration = Duration::from_millis(300);
    const CHILD: ChildId = ChildId(7);

    fn run(number: RunId) -> Run {
        Run {
            run: number,
            id: JobId(number),
            job: "demo".to_owned(),
            attempt: 1,
            max_attempts: 1,
            timeout: Some(LIMIT),
            headers: BTreeMap::new(),
            failure: None,
            payload: Payload::parse("null").unwrap(),
        }
    }

    fn holds() -> RunHolds {
        let (guardian, _) = crate::guardian::scripted::ScriptedGuardian::new();
        RunHolds { _ticket: guardian.run_began(), _turn: None }
    }

    fn failed() -> Outcome {
        Outcome::Crashed { how: "exited with 1".to_owned() }
    }

    #[test]
    fn time_limit_then_grace_then_stuck() {
        let (mut runs, begin) = (Runs::default(), Instant::now());
        runs.add(run(1), CHILD, true, holds(), begin);
        assert_eq!(runs.next_deadline(), Some(begin + LIMIT));
        assert_eq!(runs.expired(begin + LIMIT - GRACE), []);
        let now = begin + LIMIT;
        assert_eq!(runs.expired(now), [RunExpiry::TimeLimit(1)]);
        assert_eq!(runs.begin_end(1, CancelReason::TimedOut, GRACE, now), Some(CHILD));
        assert!(runs.is_ending(1) && runs.stuck() == 0);
        assert_eq!(runs.expired(now + GRACE), [RunExpiry::Grace(CHILD)]);
        assert!(runs.stuck() == 1 && runs.next_deadline().is_none());
        let end = runs
            .end(1, RunProcess::default(), now + GRACE, |run| run.after_outcome(failed(), false))
            .unwrap();
        assert!(matches!(&end.outcome, Outcome::TimedOut { limit: LIMIT, .. }));
        assert_eq!(end.took, LIMIT + GRACE);
        assert!(runs.stuck() == 0 && runs.is_empty() && runs.has_ended());
    }

    #[test]
    fn clock_starts_with_the_hello_of_the_worker() {
        let (mut runs, begin) = (Runs::default(), Instant::now());
        runs.add(run(1), CHILD, false, holds(), begin);
        assert_eq!(runs.next_deadline(), None);
        let hello = begin + Duration::from_secs(5);
        runs.start_clock(1, hello);
        assert_eq!(runs.next_deadline(), Some(hello + LIMIT));
        runs.start_clock(1, hello + LIMIT);
        assert_eq!(runs.next_deadline(), Some(hello + LIMIT), "a running clock is not started again");
    }

    #[test]
    fn cancelled_run_gets_one_grace_and_keeps_it_at_the_hello() {
        let (mut runs, begin) = (Runs::default(), Instant::now());
        runs.add(run(1), CHILD, false, holds(), begin);
        assert_eq!(runs.begin_end(1, CancelReason::Cancelled, GRACE, begin), Some(CHILD));
        assert_eq!(runs.begin_end(1, CancelReason::Cancelled, GRACE, begin + GRACE), None);
        runs.start_clock(1, begin);
        assert_eq!(runs.next_deadline(), Some(begin + GRACE));
    }

    #[test]
    fn cancel_outranks_time_out_and_success_outranks_both() {
        let (mut runs, now) = (Runs::default(), Instant::now());
        for number in 1..=3 {
            runs.add(run(number), CHILD, true, holds(), now);
            runs.begin_end(number, CancelReason::TimedOut, GRACE, now);
        }
        runs.begin_end(1, CancelReason::Cancelled, GRACE, now);
        let mut end = |number, outcome: Outcome| {
            runs.end(number, RunProcess::default(), now, |run| run.after_outcome(outcome, true))
                .unwrap()
                .outcome
                .clone()
        };
        assert_eq!(end(1, failed()), Outcome::Cancelled { killed: false });
        assert!(matches!(end(2, failed()), Outcome::TimedOut { limit: LIMIT, .. }));
        assert_eq!(end(3, Outcome::Done), Outcome::Done);
    }

    #[test]
    fn forgotten_runs_leave_no_ends_and_no_deadlines() {
        let (mut runs, now) = (Runs::default(), Instant::now());
        runs.add(run(1), CHILD, true, holds(), now);
        runs.add(run(2), CHILD, true, holds(), now);
        runs.end(1, RunProcess::default(), now, |_| Outcome::Done);
        runs.forget();
        assert!(runs.is_empty() && !runs.has_ended() && runs.next_deadline().is_none());
    }
}
