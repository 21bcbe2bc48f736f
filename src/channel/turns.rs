//! Which call to the store comes next, and why.
//!
//! Owns: what the channel still has to ask the store, apart from settlements. Decides only; the actor makes the call.

use std::time::Duration;

use tokio::time::Instant;

use super::store_calls::{Call, TurnRequest};
use crate::job::JobId;
use crate::store::{MAX_BATCH, Owner, TurnReply};

/// Number of turns in a row in which the store counts other held jobs than this master before the ids are compared.
/// A single difference is normal: another command may have changed the store between two turns.
const MAX_COUNT_MISMATCHES: u32 = 2;
/// Time after which a count that differs is checked by another turn.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(1);

/// State of the other components that decides the next call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CallInputs {
    /// This master is an owner in the store.
    pub(super) is_owner: bool,
    /// The store's clock is known.
    pub(super) knows_store_time: bool,
    /// The channel is stopping.
    pub(super) is_stopping: bool,
    /// The channel has stopped apart from leaving the store.
    pub(super) may_leave: bool,
    /// The one job that this channel is to run and has not asked for.
    pub(super) take: Option<JobId>,
    /// Number of jobs there is room for.
    pub(super) want: usize,
    /// Settlements or key releases wait to be sent.
    pub(super) has_pending_writes: bool,
    /// When the number of waiting jobs must be asked for the sake of the pool size.
    pub(super) count_at: Option<Instant>,
    /// The lease must be renewed.
    pub(super) renewal_is_due: bool,
    /// Expired leases must be searched for.
    pub(super) reap_is_due: bool,
}

/// The questions that the channel has to ask the store.
#[derive(Debug)]
pub(super) struct Turns {
    /// Owners that are known to be dead: their jobs are returned before the first lease.
    dead: Vec<Owner>,
    /// Jobs may be waiting: the next turn leases.
    work_expected: bool,
    /// The store announced work after the last turn: the number of waiting jobs has probably changed.
    is_woken: bool,
    /// Waiting jobs that the last turn left in the store.
    waiting: u64,
    /// Time of the last turn.
    counted_at: Option<Instant>,
    /// When the next delayed job is due.
    next_due_at: Option<Instant>,
    /// A reply was lost, or the counts differ: the next call compares the held jobs.
    must_reconcile: bool,
    /// Jobs that this master holds without having their records.
    unfetched: Vec<JobId>,
    /// Turns in a row in which the store counted other held jobs than this master.
    count_mismatches: u32,
    /// When a differing count is checked again.
    recount_at: Option<Instant>,
}

impl Turns {
    pub(super) fn new(dead: Vec<Owner>) -> Self {
        Self {
            dead,
            work_expected: true,
            is_woken: false,
            waiting: 0,
            counted_at: None,
            next_due_at: None,
            must_reconcile: false,
            unfetched: Vec::new(),
            count_mismatches: 0,
            recount_at: None,
        }
    }

    /// Starts over for a new owner: what the last one had to ask is void.
    pub(super) fn reset(&mut self) {
        *self = Self::new(std::mem::take(&mut self.dead));
    }

    /// The next call; `None` when there is nothing to ask. The caller adds settlements and releases to a turn.
    pub(super) fn next_call(&mut self, inputs: &CallInputs, now: Instant) -> Option<Call> {
        if self.next_due_at.is_some_and(|due| due <= now) {
            (self.work_expected, self.next_due_at) = (true, None);
        }
        if let Some(dead) = self.dead.last() {
            return Some(Call::ReapOwner(dead.clone()));
        }
        if !inputs.is_owner {
            return (!inputs.is_stopping).then_some(Call::Join);
        }
        if self.must_reconcile {
            return Some(Call::Held);
        }
        if !inputs.knows_store_time {
            // Errors of jobs are dated by the store's clock, which only a turn returns: a turn comes before the first job.
            return Some(turn(0));
        }
        if !self.unfetched.is_empty() {
            return Some(Call::Fetch(self.unfetched[..self.fetch_batch()].to_vec()));
        }
        if inputs.may_leave {
            return Some(Call::Leave);
        }
        if let Some(id) = inputs.take {
            return Some(Call::Take(id));
        }
        let has_room = self.work_expected && inputs.want > 0;
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if has_room
            || inputs.has_pending_writes
            || inputs.renewal_is_due
            || is_due(self.recount_at)
            || is_due(inputs.count_at)
        {
            // A turn that is made for another reason leases as well.
            return Some(turn(inputs.want));
        }
        inputs.reap_is_due.then_some(Call::ReapExpired)
    }

    /// When a turn is needed if nothing happens; `count_at` is when the pool needs to know the waiting jobs.
    pub(super) fn next_turn_at(&self, count_at: Option<Instant>) -> Option<Instant> {
        [self.next_due_at, self.recount_at, count_at].into_iter().flatten().min()
    }

    /// Whether jobs may be waiting in the store.
    pub(super) fn expects_work(&self) -> bool {
        self.work_expected
    }

    /// Waiting jobs that the last turn left in the store.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// When to count the waiting jobs, at most once per `interval`, but at once after the store announced work.
    pub(super) fn count_at(&self, interval: Duration, now: Instant) -> Instant {
        self.counted_at.filter(|_| !self.is_woken).map_or(now, |at| at + interval)
    }

    /// Records that the store announced work, or may have while nothing listened.
    pub(super) fn wake(&mut self) {
        (self.work_expected, self.is_woken) = (true, true);
    }

    /// Makes the next turn lease, if there is room.
    pub(super) fn expect_work(&mut self) {
        self.work_expected = true;
    }

    /// Records the reply to a turn that asked for `want` jobs.
    pub(super) fn turned(&mut self, want: usize, reply: &TurnReply, now: Instant) {
        self.next_due_at = reply.next_due.map(|due| now + due);
        (self.waiting, self.counted_at, self.is_woken) = (reply.waiting, Some(now), false);
        // Jobs that are left are leased as soon as a slot is free. With none left, the next push announces work. Jobs
        // that are left although there was room, as behind very many removed jobs, wait for the next idle moment.
        self.work_expected = reply.waiting > 0 && (want == 0 || !reply.leased.is_empty());
    }

    /// Compares the number of held jobs of both sides after a turn. Both changed in that turn, so they must agree.
    pub(super) fn compare_counts(&mut self, in_store: u64, here: usize, now: Instant) {
        if in_store == here as u64 {
            (self.count_mismatches, self.recount_at) = (0, None);
        } else {
            self.count_mismatches += 1;
            self.recount_at = Some(now + RECOUNT_INTERVAL);
            self.must_reconcile = self.count_mismatches >= MAX_COUNT_MISMATCHES;
        }
    }

    /// Makes the next call compare the held jobs: a call failed, and the store may have acted on it.
    pub(super) fn reconcile(&mut self) {
        self.must_reconcile = true;
    }

    /// Records that the held jobs were compared; `unfetched` are held without their records being known here.
    pub(super) fn reconciled(&mut self, unfetched: Vec<JobId>) {
        (self.must_reconcile, self.count_mismatches, self.recount_at) = (false, 0, None);
        self.unfetched = unfetched;
        self.work_expected = true;
    }

    /// Records that the jobs of the last [`Call::Fetch`] were read.
    pub(super) fn fetched(&mut self) {
        self.unfetched.drain(..self.fetch_batch());
    }

    fn fetch_batch(&self) -> usize {
        self.unfetched.len().min(MAX_BATCH)
    }

    /// Records that the jobs of a dead owner were returned.
    pub(super) fn owner_reaped(&mut self, owner: &Owner) {
        self.dead.retain(|dead| dead != owner);
    }

    /// Whether dead owners are left whose jobs have not been returned.
    pub(super) fn has_dead_owners(&self) -> bool {
        !self.dead.is_empty()
    }
}

fn turn(want: usize) -> Call {
    Call::Turn(TurnRequest { want: want.min(MAX_BATCH), ..TurnRequest::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;

    const SECOND: Duration = Duration::from_secs(1);

    /// A channel that has joined, with four free slots.
    const IDLE: CallInputs = CallInputs {
        is_owner: true,
        knows_store_time: true,
        is_stopping: false,
        may_leave: false,
        take: None,
        want: 4,
        has_pending_writes: false,
        count_at: None,
        renewal_is_due: false,
        reap_is_due: false,
    };

    fn reply(waiting: u64) -> TurnReply {
        TurnReply {
            now: Timestamp(1),
            leased: vec![],
            conflicts: vec![],
            held: 0,
            waiting,
            lower_waiting: Default::default(),
            next_due: None,
        }
    }

    /// The state after a turn that found no work.
    fn out_of_work(now: Instant) -> Turns {
        let mut turns = Turns::new(Vec::new());
        turns.turned(4, &reply(0), now);
        turns
    }

    #[test]
    fn first_calls_reap_dead_owners_join_and_read_the_clock() {
        let (now, dead) = (Instant::now(), Owner::named("dead"));
        let mut turns = Turns::new(vec![dead.clone()]);
        let mut inputs = CallInputs { is_owner: false, knows_store_time: false, ..IDLE };
        assert_eq!(turns.next_call(&inputs, now), Some(Call::ReapOwner(dead.clone())));
        turns.owner_reaped(&dead);
        assert_eq!(turns.next_call(&inputs, now), Some(Call::Join));
        inputs.is_owner = true;
        assert_eq!(turns.next_call(&inputs, now), Some(turn(0)));
        inputs.knows_store_time = true;
        assert_eq!(turns.next_call(&inputs, now), Some(turn(4)));
    }

    #[test]
    fn stopping_channel_does_not_join() {
        let inputs = CallInputs { is_owner: false, is_stopping: true, ..IDLE };
        assert_eq!(Turns::new(Vec::new()).next_call(&inputs, Instant::now()), None);
    }

    #[test]
    fn lost_reply_is_followed_by_the_list_of_held_jobs() {
        let now = Instant::now();
        let mut turns = out_of_work(now);
        turns.reconcile();
        let inputs = CallInputs { has_pending_writes: true, may_leave: true, ..IDLE };
        assert_eq!(turns.next_call(&inputs, now), Some(Call::Held));
        turns.reconciled(vec![JobId(7)]);
        assert_eq!(turns.next_call(&inputs, now), Some(Call::Fetch(vec![JobId(7)])));
        turns.fetched();
        assert_eq!(turns.next_call(&inputs, now), Some(Call::Leave));
    }

    #[test]
    fn nothing_is_asked_without_work_or_news() {
        let now = Instant::now();
        let mut turns = out_of_work(now);
        assert_eq!(turns.next_call(&IDLE, now), None);
        for inputs in [
            CallInputs { has_pending_writes: true, ..IDLE },
            CallInputs { renewal_is_due: true, ..IDLE },
            CallInputs { count_at: Some(now), ..IDLE },
        ] {
            assert_eq!(turns.next_call(&inputs, now), Some(turn(4)));
        }
        assert_eq!(turns.next_call(&CallInputs { reap_is_due: true, ..IDLE }, now), Some(Call::ReapExpired));
        turns.wake();
        assert_eq!(turns.next_call(&IDLE, now), Some(turn(4)));
        assert_eq!(turns.next_call(&CallInputs { want: 0, ..IDLE }, now), None);
    }

    #[test]
    fn renewal_leases_nothing_while_all_slots_are_busy() {
        let now = Instant::now();
        let inputs = CallInputs { want: 0, renewal_is_due: true, ..IDLE };
        assert_eq!(out_of_work(now).next_call(&inputs, now), Some(turn(0)));
    }

    #[test]
    fn delayed_job_is_leased_when_it_is_due() {
        let now = Instant::now();
        let mut turns = out_of_work(now);
        turns.turned(4, &TurnReply { next_due: Some(SECOND), ..reply(0) }, now);
        assert_eq!(turns.next_turn_at(None), Some(now + SECOND));
        assert_eq!(turns.next_call(&IDLE, now), None);
        assert_eq!(turns.next_call(&IDLE, now + SECOND), Some(turn(4)));
    }

    #[test]
    fn second_count_mismatch_compares_the_held_jobs() {
        let now = Instant::now();
        let mut turns = out_of_work(now);
        turns.compare_counts(1, 0, now);
        assert_eq!(turns.next_turn_at(None), Some(now + RECOUNT_INTERVAL));
        assert_eq!(turns.next_call(&IDLE, now), None);
        let later = now + RECOUNT_INTERVAL;
        assert_eq!(turns.next_call(&IDLE, later), Some(turn(4)));
        turns.compare_counts(1, 0, later);
        assert_eq!(turns.next_call(&IDLE, later), Some(Call::Held));
        turns.reconciled(Vec::new());
        turns.turned(4, &reply(0), later);
        turns.compare_counts(0, 0, later);
        assert_eq!((turns.next_call(&IDLE, later), turns.next_turn_at(None)), (None, None));
    }

    #[test]
    fn matching_count_forgets_an_earlier_mismatch() {
        let now = Instant::now();
        let mut turns = out_of_work(now);
        turns.compare_counts(1, 0, now);
        turns.compare_counts(0, 0, now);
        turns.compare_counts(1, 0, now);
        assert_eq!(turns.next_call(&IDLE, now), None);
    }

    #[test]
    fn waiting_jobs_are_counted_once_per_interval_or_when_woken() {
        let now = Instant::now();
        let mut turns = Turns::new(Vec::new());
        assert_eq!(turns.count_at(SECOND, now), now);
        turns.turned(0, &reply(9), now);
        assert_eq!((turns.waiting(), turns.count_at(SECOND, now)), (9, now + SECOND));
        turns.wake();
        assert_eq!(turns.count_at(SECOND, now), now);
    }

    #[test]
    fn work_that_a_turn_did_not_lease_waits_for_an_announcement() {
        let now = Instant::now();
        let mut turns = Turns::new(Vec::new());
        turns.turned(4, &reply(9), now);
        assert!(!turns.expects_work());
        turns.turned(0, &reply(9), now);
        assert!(turns.expects_work());
    }
}
