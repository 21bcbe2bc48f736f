//! Which call the channel makes next, and what each answer changes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::store_calls::{Call, CallResult};
use super::{Channel, Scope};
use crate::job::{JobId, JobMeta, Timestamp};
use crate::retry::release_before_start;
use crate::store::{
    Destination, KeyRelease, Leased, MAX_BATCH, MAX_BATCH_BYTES, SettleConflict, Settlement, StoreError,
    TurnReply,
};

/// After this many turns in a row in which the store's count differs from ours, we compare the ids.
const MAX_COUNT_MISMATCHES: u32 = 2;
/// How soon a count that differs is looked at again.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(1);

/// What the channel knows it has to ask.
#[derive(Debug)]
pub(super) struct Turns {
    /// Work may be there: the next turn leases.
    pub(super) work_expected: bool,
    /// Something woke us since the last turn: how much work there is, is worth asking although no slot is free.
    pub(super) woken: bool,
    /// How many jobs the last turn left in waiting.
    pub(super) waiting: u64,
    /// When that was.
    pub(super) counted_at: Option<Instant>,
    /// When the next delayed job is due.
    next_due_at: Option<Instant>,
    /// A reply was lost, or the counts differ: ask what we hold.
    reconcile: bool,
    /// Settlements of which we do not know whether the store heard them.
    unconfirmed: Vec<Settlement>,
    /// Jobs we hold without having their records.
    unfetched: Vec<JobId>,
    /// Turns in a row in which the store's count of our jobs differed from ours.
    mismatches: u32,
    /// When to make a turn for the sake of that count.
    recount_at: Option<Instant>,
}

impl Default for Turns {
    fn default() -> Self {
        let (unconfirmed, unfetched) = (Vec::new(), Vec::new());
        Self {
            work_expected: true,
            woken: false,
            waiting: 0,
            counted_at: None,
            next_due_at: None,
            reconcile: false,
            unconfirmed,
            unfetched,
            mismatches: 0,
            recount_at: None,
        }
    }
}

impl Channel {
    /// When the agenda asks for a turn, if nothing else does.
    pub(super) fn next_turn_at(&self) -> Option<Instant> {
        [self.turns.next_due_at, self.turns.recount_at, self.next_count()].into_iter().flatten().min()
    }

    /// Starts the next call, if one is needed and none is in flight.
    pub(super) fn start_call(&mut self) {
        if !self.store_calls.can_start() {
            return;
        }
        if self.turns.next_due_at.is_some_and(|due| due <= Instant::now()) {
            (self.turns.work_expected, self.turns.next_due_at) = (true, None);
        }
        let Some(mut call) = self.next_call() else { return };
        let (mut settlements, mut releases) = (Vec::new(), Vec::new());
        if let Call::Turn { want } = &mut call {
            releases = self.job_requests.take_releases();
            if self.job_requests.has_frees() {
                // More than one turn can say. Jobs wait until all is said: one that is leased again could claim what an
                // earlier run of it had, and lose it to the freeing of that.
                *want = 0;
            } else {
                settlements = self.held_jobs.take_settlements(MAX_BATCH);
            }
        }
        self.store_calls.start(call, settlements, releases);
    }

    fn next_call(&mut self) -> Option<Call> {
        if let Some(dead) = self.dead.last() {
            return Some(Call::Free(dead.clone()));
        }
        if self.store_calls.owner.is_none() {
            return self.stopping.is_none().then_some(Call::Join);
        }
        if self.turns.reconcile {
            return Some(Call::Held);
        }
        if self.clock.0 == Timestamp(0) {
            // Errors are noted by the store's clock, which only a turn tells: so one comes before the first job.
            return Some(Call::Turn { want: 0 });
        }
        if !self.turns.unfetched.is_empty() {
            let most = self.turns.unfetched.len().min(MAX_BATCH);
            return Some(Call::Fetch(self.turns.unfetched[..most].to_vec()));
        }
        if self.is_finished() {
            return Some(Call::Leave);
        }
        let settled = self.held_jobs.unsettled() == 0;
        if let (Scope::Only(id), false, None, true) =
            (self.scope.scope, self.scope.asked, &self.stopping, settled)
        {
            return Some(Call::Take(id));
        }
        let want = if self.turns.work_expected { self.want() } else { 0 };
        let recount = self.turns.recount_at.is_some_and(|at| at <= Instant::now());
        let news = self.held_jobs.unsettled() > 0 || self.job_requests.has_frees();
        let count = self.next_count().is_some_and(|at| at <= Instant::now());
        if recount || want > 0 || news || count || self.store_calls.renewal_is_due() {
            // A turn that is made anyway may as well look.
            return Some(Call::Turn { want: self.want() });
        }
        self.store_calls.reap_is_due().then_some(Call::Reap)
    }

    /// How many jobs to lease now: the free slots that nothing is leased for yet.
    pub(super) fn want(&self) -> usize {
        if self.stopping.is_some()
            || self.quiet
            || (self.pool.is_degraded(tokio::time::Instant::now())
                && self.pool.capacity(tokio::time::Instant::now()) == 0)
        {
            return 0;
        }
        match self.scope.scope {
            // Suspects run a few at a time: who has leased a plan full of them has enough to do.
            Scope::All
                if self.held_jobs.ready_alone() >= self.pool.slots(tokio::time::Instant::now()).max(1) =>
            {
                0
            }
            Scope::All => {
                let room = self.held_jobs.ready_bytes() < MAX_BATCH_BYTES;
                let ahead =
                    if room { self.prefetch.ahead(self.pool.slots(tokio::time::Instant::now())) } else { 0 };
                (self.pool.capacity(tokio::time::Instant::now()) + ahead)
                    .saturating_sub(self.held_jobs.ready() + self.held_jobs.freeing())
            }
            Scope::Next if !self.scope.asked => self.pool.capacity(tokio::time::Instant::now()).min(1),
            Scope::Next | Scope::Only(_) => 0,
        }
    }

    pub(super) fn on_call(&mut self, done: CallResult) {
        match done {
            CallResult::Freed(owner, Ok(jobs)) => {
                self.store_calls.succeeded(false);
                self.dead.retain(|dead| *dead != owner);
                if jobs > 0 {
                    info!(channel = %self.name, jobs, "freed the jobs of a master that is gone");
                }
            }
            CallResult::Joined(Ok(owner)) => {
                (self.on_join.0)(&owner);
                self.store_calls.joined(owner);
                self.turns = Turns::default();
            }
            CallResult::Turned { settlements, releases, want, result: Ok(reply) } => {
                self.store_calls.succeeded(true);
                self.prefetch.turned(self.store_calls.took());
                for free in releases {
                    if let KeyRelease::Unique { id, .. } = free {
                        self.held_jobs.key_freed(id);
                    }
                }
                self.on_turn(&settlements, want, reply);
                self.expect_work();
            }
            CallResult::Turned { settlements, releases, result: Err(error), .. } => {
                self.turns.unconfirmed.extend(settlements);
                self.job_requests.free(releases);
                self.on_error(&error);
            }
            CallResult::Held(Ok(ids)) => {
                self.store_calls.succeeded(false);
                self.on_held(&ids.into_iter().collect());
            }
            CallResult::Fetched(Ok(leased)) => {
                self.store_calls.succeeded(false);
                let asked = self.turns.unfetched.len().min(MAX_BATCH);
                self.turns.unfetched.drain(..asked);
                self.on_leased(leased);
                self.expect_work();
            }
            CallResult::Taken(Ok(leased)) => {
                self.store_calls.succeeded(true);
                self.scope.asked = true;
                self.on_leased(leased.into_iter().collect());
                self.expect_work();
                self.end_scope();
            }
            CallResult::Reaped(Ok(jobs)) => {
                self.store_calls.succeeded(false);
                self.store_calls.reaped();
                if jobs > 0 {
                    warn!(channel = %self.name, jobs, "freed jobs whose lease had run out");
                    self.turns.work_expected = true;
                }
            }
            CallResult::Left(Ok(_)) => self.store_calls.owner = None,
            CallResult::Freed(_, Err(error))
            | CallResult::Joined(Err(error))
            | CallResult::Held(Err(error))
            | CallResult::Fetched(Err(error))
            | CallResult::Taken(Err(error))
            | CallResult::Reaped(Err(error))
            | CallResult::Left(Err(error)) => self.on_error(&error),
        }
    }

    fn on_turn(&mut self, settlements: &[Settlement], want: usize, reply: TurnReply) {
        self.clock = (reply.now, Instant::now());
        for (id, exception) in &reply.conflicts {
            let reason = match exception {
                SettleConflict::Stale => "stale",
                SettleConflict::Cleared => "cleared",
            };
            debug!(channel = %self.name, job = id.0, reason, "a settlement did not hold");
            self.metrics.exception(reason);
        }
        self.held_jobs.settled(settlements);
        self.cancellations.settled(settlements, &reply.conflicts);
        self.turns.next_due_at = reply.next_due.map(|due| Instant::now() + due);
        (self.turns.waiting, self.turns.counted_at, self.turns.woken) =
            (reply.waiting, Some(Instant::now()), false);
        // What is left is looked at again as soon as a slot is free. Nothing left means that the next push wakes us. Work
        // that is there and was not given, as behind very many removed jobs, is for the next idle moment.
        self.turns.work_expected = reply.waiting > 0 && (want == 0 || !reply.leased.is_empty());
        self.scope.asked |= want > 0;
        self.on_leased(reply.leased);
        // Both sides changed in this very turn, so they must agree after it.
        if reply.held == self.held_jobs.len() as u64 {
            (self.turns.mismatches, self.turns.recount_at) = (0, None);
        } else {
            self.turns.mismatches += 1;
            self.turns.recount_at = Some(Instant::now() + RECOUNT_INTERVAL);
            self.turns.reconcile = self.turns.mismatches >= MAX_COUNT_MISMATCHES;
        }
        self.end_scope();
    }

    /// The jobs are ours now: to run, or to be set aside when they cannot be understood.
    fn on_leased(&mut self, leased: Vec<Leased>) {
        self.metrics.leased(leased.len());
        let now = self.now();
        // Also when the reply to the asking was lost, and this is what the store says we hold.
        self.scope.asked |= !leased.is_empty();
        for job in leased {
            match job {
                Leased::Job(record) => {
                    let first = release_before_start(record.id, &record.meta);
                    self.held_jobs.lease(record, first.is_some());
                    self.job_requests.free(first);
                }
                Leased::Malformed { id, why } => {
                    error!(channel = %self.name, job = id.0, why, "a stored record cannot be understood: it goes to failed");
                    let to = Destination::Failed(JobMeta::malformed(now, &why));
                    self.held_jobs.settle(Settlement { id, unique: None, to });
                }
            }
        }
        if self.stopping.is_some() || self.quiet {
            // Leased by a call that was under way when the word came.
            self.hand_back_ready();
        }
    }

    /// Compares what the store says we hold with what we think we hold.
    fn on_held(&mut self, ids: &HashSet<JobId>) {
        (self.turns.reconcile, self.turns.mismatches, self.turns.recount_at) = (false, 0, None);
        let (again, heard): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.turns.unconfirmed).into_iter().partition(|s| ids.contains(&s.id));
        self.held_jobs.settled(&heard);
        self.cancellations.settled(&heard, &[]);
        self.held_jobs.requeue_settlements(again);
        let revoked = self.held_jobs.keep_only(ids);
        if !revoked.is_empty() {
            warn!(channel = %self.name, runs = revoked.len(), "jobs were taken from us: their runs are cancelled");
        }
        for run in revoked {
            self.pool.cancel(run, tokio::time::Instant::now());
        }
        self.cancellations.keep_only(|id| ids.contains(&id));
        self.turns.unfetched = ids.iter().copied().filter(|id| !self.held_jobs.holds(*id)).collect();
        self.turns.work_expected = true;
    }

    fn on_error(&mut self, error: &StoreError) {
        self.metrics.store_error();
        if let StoreError::Lost = error {
            return self.on_lost();
        }
        // Whatever was asked may have been done: ask what we hold before anything else.
        self.turns.reconcile = self.store_calls.owner.is_some();
        if self.store_calls.failed(error) {
            let trouble = self.store_calls.error_text().unwrap_or_default();
            warn!(channel = %self.name, "{trouble}; trying again");
        }
    }

    /// Our jobs belong to others now: whatever runs here must not go on, and nothing of it counts.
    fn on_lost(&mut self) {
        warn!(
            channel = %self.name, jobs = self.held_jobs.len(),
            "the lease has run out: everything that runs is killed, and a new one is taken"
        );
        self.pool.kill_all(true);
        self.held_jobs = super::HeldJobs::default();
        self.job_requests.forget();
        self.cancellations.keep_only(|_| false);
        self.store_calls.owner = None;
        self.turns = Turns::default();
    }

    /// A channel that is to run one job ends when that job has ended, or was not there.
    fn end_scope(&mut self) {
        if self.scope.scope != Scope::All && self.scope.asked && self.held_jobs.len() == 0 {
            self.stop(false);
        }
    }
}
