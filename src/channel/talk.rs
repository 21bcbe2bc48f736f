//! Which call the channel makes next, and what each answer changes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::calls::{Call, Done};
use super::{Channel, Scope};
use crate::job::{JobId, Meta, Timestamp};
use crate::retry::frees_first;
use crate::store::{
    Exception, Free, Leased, MAX_BATCH, MAX_BATCH_BYTES, Place, Settlement, StoreError, TurnReply,
};

/// After this many turns in a row in which the store's count differs from ours, we compare the ids.
const MAX_DIFFERENCES: u32 = 2;
/// How soon a count that differs is looked at again.
const RECOUNT: Duration = Duration::from_secs(1);

/// What the channel knows it has to ask.
#[derive(Debug)]
pub(super) struct Agenda {
    /// Work may be there: the next turn leases.
    pub(super) look: bool,
    /// Something woke us since the last turn: how much work there is, is worth asking although no slot is free.
    pub(super) woken: bool,
    /// How many jobs the last turn left in waiting.
    pub(super) waiting: u64,
    /// When that was.
    pub(super) counted: Option<Instant>,
    /// When the next delayed job is due.
    due: Option<Instant>,
    /// A reply was lost, or the counts differ: ask what we hold.
    compare: bool,
    /// Settlements of which we do not know whether the store heard them.
    unheard: Vec<Settlement>,
    /// Jobs we hold without having their records.
    unknown: Vec<JobId>,
    /// Turns in a row in which the store's count of our jobs differed from ours.
    differences: u32,
    /// When to make a turn for the sake of that count.
    recount: Option<Instant>,
}

impl Default for Agenda {
    fn default() -> Self {
        let (unheard, unknown) = (Vec::new(), Vec::new());
        Self {
            look: true,
            woken: false,
            waiting: 0,
            counted: None,
            due: None,
            compare: false,
            unheard,
            unknown,
            differences: 0,
            recount: None,
        }
    }
}

impl Channel {
    /// When the agenda asks for a turn, if nothing else does.
    pub(super) fn agenda_timer(&self) -> Option<Instant> {
        [self.agenda.due, self.agenda.recount, self.next_count()].into_iter().flatten().min()
    }

    /// Starts the next call, if one is needed and none is in flight.
    pub(super) fn start_call(&mut self) {
        if !self.calls.can_start() {
            return;
        }
        if self.agenda.due.is_some_and(|due| due <= Instant::now()) {
            (self.agenda.look, self.agenda.due) = (true, None);
        }
        let Some(mut call) = self.next_call() else { return };
        let (mut settlements, mut frees) = (Vec::new(), Vec::new());
        if let Call::Turn { want } = &mut call {
            frees = self.asks.take_frees();
            if self.asks.has_frees() {
                // More than one turn can say. Jobs wait until all is said: one that is leased again could claim what an
                // earlier run of it had, and lose it to the freeing of that.
                *want = 0;
            } else {
                settlements = self.table.take_settlements(MAX_BATCH);
            }
        }
        self.calls.start(call, settlements, frees);
    }

    fn next_call(&mut self) -> Option<Call> {
        if let Some(dead) = self.dead.last() {
            return Some(Call::Free(dead.clone()));
        }
        if self.calls.owner.is_none() {
            return self.stopping.is_none().then_some(Call::Join);
        }
        if self.agenda.compare {
            return Some(Call::Held);
        }
        if self.clock.0 == Timestamp(0) {
            // Errors are noted by the store's clock, which only a turn tells: so one comes before the first job.
            return Some(Call::Turn { want: 0 });
        }
        if !self.agenda.unknown.is_empty() {
            let most = self.agenda.unknown.len().min(MAX_BATCH);
            return Some(Call::Fetch(self.agenda.unknown[..most].to_vec()));
        }
        if self.is_finished() {
            return Some(Call::Leave);
        }
        let settled = self.table.unsettled() == 0;
        if let (Scope::Only(id), false, None, true) =
            (self.scoped.scope, self.scoped.asked, &self.stopping, settled)
        {
            return Some(Call::Take(id));
        }
        let want = if self.agenda.look { self.want() } else { 0 };
        let recount = self.agenda.recount.is_some_and(|at| at <= Instant::now());
        let news = self.table.unsettled() > 0 || self.asks.has_frees();
        let count = self.next_count().is_some_and(|at| at <= Instant::now());
        if recount || want > 0 || news || count || self.calls.renewal_is_due() {
            // A turn that is made anyway may as well look.
            return Some(Call::Turn { want: self.want() });
        }
        self.calls.reap_is_due().then_some(Call::Reap)
    }

    /// How many jobs to lease now: the free slots that nothing is leased for yet.
    pub(super) fn want(&self) -> usize {
        if self.stopping.is_some() || self.quiet || (self.pool.is_degraded() && self.pool.capacity() == 0) {
            return 0;
        }
        match self.scoped.scope {
            // Suspects run a few at a time: who has leased a plan full of them has enough to do.
            Scope::All if self.table.ready_alone() >= self.pool.slots().max(1) => 0,
            Scope::All => {
                let room = self.table.ready_bytes() < MAX_BATCH_BYTES;
                let ahead = if room { self.pace.ahead(self.pool.slots()) } else { 0 };
                (self.pool.capacity() + ahead).saturating_sub(self.table.ready() + self.table.freeing())
            }
            Scope::Next if !self.scoped.asked => self.pool.capacity().min(1),
            Scope::Next | Scope::Only(_) => 0,
        }
    }

    pub(super) fn on_call(&mut self, done: Done) {
        match done {
            Done::Freed(owner, Ok(jobs)) => {
                self.calls.succeeded(false);
                self.dead.retain(|dead| *dead != owner);
                if jobs > 0 {
                    info!(channel = %self.name, jobs, "freed the jobs of a master that is gone");
                }
            }
            Done::Joined(Ok(owner)) => {
                (self.on_join.0)(&owner);
                self.calls.joined(owner);
                self.agenda = Agenda::default();
            }
            Done::Turned { settlements, frees, want, result: Ok(reply) } => {
                self.calls.succeeded(true);
                self.pace.turned(self.calls.took());
                for free in frees {
                    if let Free::Unique { id, .. } = free {
                        self.table.freed(id);
                    }
                }
                self.on_turn(&settlements, want, reply);
                self.expect_work();
            }
            Done::Turned { settlements, frees, result: Err(error), .. } => {
                self.agenda.unheard.extend(settlements);
                self.asks.free(frees);
                self.on_error(&error);
            }
            Done::Held(Ok(ids)) => {
                self.calls.succeeded(false);
                self.on_held(&ids.into_iter().collect());
            }
            Done::Fetched(Ok(leased)) => {
                self.calls.succeeded(false);
                let asked = self.agenda.unknown.len().min(MAX_BATCH);
                self.agenda.unknown.drain(..asked);
                self.on_leased(leased);
                self.expect_work();
            }
            Done::Taken(Ok(leased)) => {
                self.calls.succeeded(true);
                self.scoped.asked = true;
                self.on_leased(leased.into_iter().collect());
                self.expect_work();
                self.end_scope();
            }
            Done::Reaped(Ok(jobs)) => {
                self.calls.succeeded(false);
                self.calls.reaped();
                if jobs > 0 {
                    warn!(channel = %self.name, jobs, "freed jobs whose lease had run out");
                    self.agenda.look = true;
                }
            }
            Done::Left(Ok(_)) => self.calls.owner = None,
            Done::Freed(_, Err(error))
            | Done::Joined(Err(error))
            | Done::Held(Err(error))
            | Done::Fetched(Err(error))
            | Done::Taken(Err(error))
            | Done::Reaped(Err(error))
            | Done::Left(Err(error)) => self.on_error(&error),
        }
    }

    fn on_turn(&mut self, settlements: &[Settlement], want: usize, reply: TurnReply) {
        self.clock = (reply.now, Instant::now());
        for (id, exception) in &reply.exceptions {
            let reason = match exception {
                Exception::Stale => "stale",
                Exception::Cleared => "cleared",
            };
            debug!(channel = %self.name, job = id.0, reason, "a settlement did not hold");
            self.metrics.exception(reason);
        }
        self.table.settled(settlements);
        self.cancels.heard(settlements, &reply.exceptions);
        self.agenda.due = reply.next_due.map(|due| Instant::now() + due);
        (self.agenda.waiting, self.agenda.counted, self.agenda.woken) =
            (reply.waiting, Some(Instant::now()), false);
        // What is left is looked at again as soon as a slot is free. Nothing left means that the next push wakes us. Work
        // that is there and was not given, as behind very many removed jobs, is for the next idle moment.
        self.agenda.look = reply.waiting > 0 && (want == 0 || !reply.leased.is_empty());
        self.scoped.asked |= want > 0;
        self.on_leased(reply.leased);
        // Both sides changed in this very turn, so they must agree after it.
        if reply.held == self.table.len() as u64 {
            (self.agenda.differences, self.agenda.recount) = (0, None);
        } else {
            self.agenda.differences += 1;
            self.agenda.recount = Some(Instant::now() + RECOUNT);
            self.agenda.compare = self.agenda.differences >= MAX_DIFFERENCES;
        }
        self.end_scope();
    }

    /// The jobs are ours now: to run, or to be set aside when they cannot be understood.
    fn on_leased(&mut self, leased: Vec<Leased>) {
        self.metrics.leased(leased.len());
        let now = self.now();
        // Also when the reply to the asking was lost, and this is what the store says we hold.
        self.scoped.asked |= !leased.is_empty();
        for job in leased {
            match job {
                Leased::Job(record) => {
                    let first = frees_first(record.id, &record.meta);
                    self.table.lease(record, first.is_some());
                    self.asks.free(first);
                }
                Leased::Malformed { id, why } => {
                    error!(channel = %self.name, job = id.0, why, "a stored record cannot be understood: it goes to failed");
                    let to = Place::Failed(Meta::malformed(now, &why));
                    self.table.settle(Settlement { id, unique: None, to });
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
        (self.agenda.compare, self.agenda.differences, self.agenda.recount) = (false, 0, None);
        let (again, heard): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.agenda.unheard).into_iter().partition(|s| ids.contains(&s.id));
        self.table.settled(&heard);
        self.cancels.heard(&heard, &[]);
        self.table.say_again(again);
        let revoked = self.table.keep_only(ids);
        if !revoked.is_empty() {
            warn!(channel = %self.name, runs = revoked.len(), "jobs were taken from us: their runs are cancelled");
        }
        for run in revoked {
            self.pool.cancel(run);
        }
        self.cancels.keep_only(|id| ids.contains(&id));
        self.agenda.unknown = ids.iter().copied().filter(|id| !self.table.holds(*id)).collect();
        self.agenda.look = true;
    }

    fn on_error(&mut self, error: &StoreError) {
        self.metrics.store_error();
        if let StoreError::Lost = error {
            return self.on_lost();
        }
        // Whatever was asked may have been done: ask what we hold before anything else.
        self.agenda.compare = self.calls.owner.is_some();
        if self.calls.failed(error) {
            let trouble = self.calls.trouble().unwrap_or_default();
            warn!(channel = %self.name, "{trouble}; trying again");
        }
    }

    /// Our jobs belong to others now: whatever runs here must not go on, and nothing of it counts.
    fn on_lost(&mut self) {
        warn!(
            channel = %self.name, jobs = self.table.len(),
            "the lease has run out: everything that runs is killed, and a new one is taken"
        );
        self.pool.kill_all(true);
        self.table = super::Table::default();
        self.asks.forget();
        self.cancels.keep_only(|_| false);
        self.calls.owner = None;
        self.agenda = Agenda::default();
    }

    /// A channel that is to run one job ends when that job has ended, or was not there.
    fn end_scope(&mut self) {
        if self.scoped.scope != Scope::All && self.scoped.asked && self.table.len() == 0 {
            self.stop(false);
        }
    }
}
