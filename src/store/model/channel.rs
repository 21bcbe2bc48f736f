//! The model's state and its changes, one method per method of the contract. No locks, no waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::job::{FailReason, JobId, MAX_DELAY, Meta, NewJob, Timestamp};
use crate::store::batch::{self, MAX_ID_LEAD, TAKE_DEPTH};
use crate::store::{
    Clear, Cleared, Cursor, Exception, Leased, Listed, MAX_BATCH, Owner, Page, Place, PushError, Pushed,
    Reap, Settlement, State, Status, StoreError, Turn, TurnReply,
};

/// One channel: its jobs, its owners, its counts.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) lease: Duration,
    pub(super) last: u64,
    pub(super) paused: bool,
    /// Grows whenever work may have appeared.
    pub(super) wakes: u64,
    jobs: BTreeMap<JobId, Job>,
    /// The order of waiting: the front has the smallest number.
    waiting: BTreeMap<i64, JobId>,
    owners: BTreeMap<Owner, Lease>,
    /// Unique keys and the jobs that took them; a key whose job is gone is free.
    keys: BTreeMap<String, JobId>,
    done: u64,
    cleared: u64,
}

/// A record as text, the way a driver keeps it, and where it is.
#[derive(Debug)]
struct Job {
    at: Spot,
    meta: String,
    payload: String,
}

/// Where a job is, with what orders it there.
#[derive(Clone, Debug, PartialEq)]
enum Spot {
    Waiting(i64),
    Delayed(Timestamp),
    Reserved(Owner),
    Failed(Timestamp),
}

#[derive(Debug)]
struct Lease {
    until: Timestamp,
    seq: u64,
}

impl Spot {
    fn state(&self) -> State {
        match self {
            Self::Waiting(_) => State::Waiting,
            Self::Delayed(_) => State::Delayed,
            Self::Reserved(_) => State::Reserved,
            Self::Failed(_) => State::Failed,
        }
    }
}

impl Channel {
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            lease,
            last: 0,
            paused: false,
            wakes: 0,
            jobs: BTreeMap::new(),
            waiting: BTreeMap::new(),
            owners: BTreeMap::new(),
            keys: BTreeMap::new(),
            done: 0,
            cleared: 0,
        }
    }

    pub(super) fn push(&mut self, now: Timestamp, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        let mut dues = Vec::new();
        for (index, job) in jobs.iter().enumerate() {
            let due = batch::due(job.start, now).map_err(|source| PushError::Job { index, source })?;
            dues.push(due);
        }
        let existing = self.jobs.last_key_value().map_or(0, |(id, _)| id.0);
        let mut last = self.last.max(existing).max(now.0);
        if last + jobs.len() as u64 > now.0 + MAX_ID_LEAD {
            let source = "the newest id is too far ahead of the clock".into();
            return Err(StoreError::Unavailable { place: "memory".into(), doing: "pushing", source }.into());
        }
        let mut answers = Vec::new();
        for (job, due) in jobs.iter().zip(dues) {
            if let Some(holder) = self.holder(job.meta.unique.as_deref()) {
                answers.push(Pushed::Existing(holder));
                continue;
            }
            last += 1;
            let id = JobId(last);
            if let Some(key) = &job.meta.unique {
                self.keys.insert(key.clone(), id);
            }
            let at = due.map_or_else(|| Spot::Waiting(self.back()), Spot::Delayed);
            let payload = job.payload.as_str().to_owned();
            self.jobs.insert(id, Job { at: at.clone(), meta: text(&job.meta), payload });
            self.put(id, at);
            self.last = last;
            answers.push(Pushed::Added(id));
        }
        self.wakes += 1;
        Ok(answers)
    }

    pub(super) fn join(&mut self, now: Timestamp) -> Owner {
        let owner = Owner::random();
        self.owners.insert(owner.clone(), Lease { until: now.after(self.lease), seq: 0 });
        owner
    }

    pub(super) fn owners(&self) -> Vec<Owner> {
        self.owners.keys().cloned().collect()
    }

    pub(super) fn lapse(&mut self, owner: &Owner) {
        if let Some(lease) = self.owners.get_mut(owner) {
            lease.until = Timestamp(0);
        }
    }

    /// Checks a call that carries a `seq` and renews the lease.
    pub(super) fn speak(&mut self, now: Timestamp, owner: &Owner, seq: u64) -> Result<(), StoreError> {
        let lease = self.owners.get_mut(owner).ok_or(StoreError::Lost)?;
        if seq <= lease.seq {
            return Err(StoreError::Replayed);
        }
        *lease = Lease { until: now.after(self.lease), seq };
        Ok(())
    }

    pub(super) fn turn(&mut self, now: Timestamp, turn: &Turn<'_>) -> Result<TurnReply, StoreError> {
        self.speak(now, turn.owner, turn.seq)?;
        let exceptions = self.settle(now, turn.owner, turn.settlements);
        self.promote(now);
        let leased = if self.paused { Vec::new() } else { self.lease(turn) };
        let next_due = self.of(State::Delayed).first().map(|(due, _)| Timestamp(*due).since(now));
        Ok(TurnReply { exceptions, leased, next_due, held: self.held(turn.owner).len() as u64, now })
    }

    fn settle(
        &mut self,
        now: Timestamp,
        owner: &Owner,
        settlements: &[Settlement],
    ) -> Vec<(JobId, Exception)> {
        let (mut exceptions, mut fronts) = (Vec::new(), Vec::new());
        for Settlement { id, to, .. } in settlements {
            match self.jobs.get(id).map(|job| &job.at) {
                Some(Spot::Reserved(holder)) if holder == owner => {}
                Some(_) => {
                    exceptions.push((*id, Exception::Stale));
                    continue;
                }
                None => {
                    exceptions.push((*id, Exception::Cleared));
                    continue;
                }
            }
            match to {
                Place::Done => {
                    self.remove(*id);
                    self.done += 1;
                }
                Place::Front(meta) => {
                    self.rewrite(*id, meta);
                    // Parked at the back, which also makes a second settlement of the same job stale.
                    let back = self.back();
                    self.put(*id, Spot::Waiting(back));
                    fronts.push(*id);
                }
                Place::Back(meta) => {
                    self.rewrite(*id, meta);
                    let back = self.back();
                    self.put(*id, Spot::Waiting(back));
                }
                Place::Delayed(delay, meta) => {
                    self.rewrite(*id, meta);
                    self.put(*id, Spot::Delayed(now.after((*delay).min(MAX_DELAY))));
                }
                Place::Failed(meta) => {
                    self.rewrite(*id, meta);
                    self.fail(*id, now);
                }
            }
        }
        self.put_first(&fronts);
        exceptions
    }

    fn promote(&mut self, now: Timestamp) {
        let due: Vec<_> = self.of(State::Delayed).into_iter().take_while(|(due, _)| *due <= now.0).collect();
        for (_, id) in due.into_iter().take(MAX_BATCH) {
            let back = self.back();
            self.put(id, Spot::Waiting(back));
        }
    }

    fn lease(&mut self, turn: &Turn<'_>) -> Vec<Leased> {
        let (mut leased, mut bytes) = (Vec::new(), 0);
        while leased.len() < turn.want.min(MAX_BATCH) && (leased.is_empty() || bytes < turn.max_bytes) {
            let Some((_, &id)) = self.waiting.first_key_value() else { break };
            self.put(id, Spot::Reserved(turn.owner.clone()));
            bytes += self.jobs[&id].payload.len();
            leased.push(self.read(id));
        }
        leased
    }

    pub(super) fn held(&self, owner: &Owner) -> Vec<JobId> {
        let held = |job: &Job| matches!(&job.at, Spot::Reserved(holder) if holder == owner);
        self.jobs.iter().filter(|(_, job)| held(job)).map(|(id, _)| *id).collect()
    }

    pub(super) fn fetch(&self, owner: &Owner, ids: &[JobId]) -> Result<Vec<Leased>, StoreError> {
        if !self.owners.contains_key(owner) {
            return Err(StoreError::Lost);
        }
        let held: BTreeSet<_> = self.held(owner).into_iter().collect();
        Ok(ids.iter().filter(|id| held.contains(id)).map(|id| self.read(*id)).collect())
    }

    pub(super) fn take(
        &mut self,
        now: Timestamp,
        owner: &Owner,
        seq: u64,
        id: JobId,
    ) -> Result<Option<Leased>, StoreError> {
        self.speak(now, owner, seq)?;
        let there = match self.jobs.get(&id).map(|job| job.at.state()) {
            Some(State::Failed) => {
                self.take_key_again(id);
                true
            }
            Some(State::Delayed) => true,
            Some(State::Waiting) => self.waiting.values().take(TAKE_DEPTH).any(|waiting| *waiting == id),
            Some(State::Reserved) | None => false,
        };
        if !there {
            return Ok(None);
        }
        self.put(id, Spot::Reserved(owner.clone()));
        Ok(Some(self.read(id)))
    }

    pub(super) fn leave(&mut self, owner: &Owner) -> Result<u64, StoreError> {
        self.owners.remove(owner).ok_or(StoreError::Lost)?;
        let held = self.held(owner);
        self.put_first(&held);
        Ok(held.len() as u64)
    }

    pub(super) fn reap(&mut self, now: Timestamp, whom: Reap<'_>) -> u64 {
        let dead: Vec<_> = match whom {
            Reap::Owner(owner) => {
                self.owners.remove_entry(owner).map(|(owner, _)| owner).into_iter().collect()
            }
            Reap::Expired => {
                self.owners.extract_if(.., |_, lease| lease.until <= now).map(|(o, _)| o).collect()
            }
        };
        let mut freed = 0;
        for owner in dead {
            let mut fronts = Vec::new();
            for id in self.held(&owner) {
                freed += 1;
                if self.raise_lost(id, now) {
                    self.fail(id, now);
                } else {
                    fronts.push(id);
                }
            }
            self.put_first(&fronts);
        }
        freed
    }

    /// Raises `lost` where the record can be read; whether the job fails by it.
    fn raise_lost(&mut self, id: JobId, now: Timestamp) -> bool {
        let Ok(meta) = serde_json::from_str::<Meta>(&self.jobs[&id].meta) else { return false };
        let meta = meta.after_lost(now);
        self.rewrite(id, &meta);
        meta.failed.is_some()
    }

    pub(super) fn status(&self) -> Status {
        let count = |state| self.jobs.values().filter(|job| job.at.state() == state).count() as u64;
        Status {
            waiting: count(State::Waiting),
            reserved: count(State::Reserved),
            delayed: count(State::Delayed),
            failed: count(State::Failed),
            done: self.done,
            cleared: self.cleared,
            paused: self.paused,
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

    pub(super) fn requeue(&mut self, jobs: &[(JobId, Meta)]) -> u64 {
        let mut moved = 0;
        for (id, meta) in jobs {
            if !matches!(self.jobs.get(id), Some(Job { at: Spot::Failed(_), .. })) {
                continue;
            }
            self.rewrite(*id, meta);
            self.take_key_again(*id);
            let back = self.back();
            self.put(*id, Spot::Waiting(back));
            moved += 1;
        }
        self.wakes += 1;
        moved
    }

    pub(super) fn discard(&mut self, ids: &[JobId]) -> u64 {
        let mut removed = 0;
        for id in ids {
            if self.jobs.get(id).is_some_and(|job| job.at.state() != State::Reserved) {
                self.remove(*id);
                removed += 1;
            }
        }
        self.cleared += removed;
        removed
    }

    pub(super) fn clear(&mut self, which: Clear) -> Cleared {
        let mut empty = |yes: bool, state| {
            let ids = if yes { self.of(state) } else { Vec::new() };
            for (_, id) in &ids {
                self.remove(*id);
            }
            self.cleared += ids.len() as u64;
            ids.len() as u64
        };
        Cleared {
            waiting: empty(which.waiting, State::Waiting),
            delayed: empty(which.delayed, State::Delayed),
            failed: empty(which.failed, State::Failed),
            reserved: empty(which.reserved, State::Reserved),
        }
    }

    pub(super) fn resume(&mut self) {
        self.paused = false;
        self.wakes += 1;
    }

    pub(super) fn garble(&mut self, id: JobId, text: &str) {
        if let Some(job) = self.jobs.get_mut(&id) {
            (job.meta, job.payload) = (text.to_owned(), text.to_owned());
        }
    }

    pub(super) fn lose_record(&mut self, id: JobId) {
        if let Some(Job { at: Spot::Waiting(rank), .. }) = self.jobs.remove(&id) {
            self.waiting.remove(&rank);
        }
    }

    /// The jobs of a state by what orders them, smallest first.
    fn of(&self, state: State) -> Vec<(u64, JobId)> {
        let place = |(id, job): (&JobId, &Job)| match &job.at {
            // Flipping the sign bit keeps the order of signed numbers in unsigned ones.
            Spot::Waiting(rank) => (rank.cast_unsigned() ^ (1 << 63), *id),
            Spot::Delayed(at) | Spot::Failed(at) => (at.0, *id),
            Spot::Reserved(_) => (0, *id),
        };
        let mut places: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.at.state() == state).map(place).collect();
        places.sort_unstable();
        places
    }

    fn back(&self) -> i64 {
        self.waiting.last_key_value().map_or(0, |(rank, _)| rank + 1)
    }

    /// Puts jobs at the front of waiting; the first one given comes first.
    fn put_first(&mut self, ids: &[JobId]) {
        for id in ids.iter().rev() {
            let front = self.waiting.first_key_value().map_or(0, |(rank, _)| rank - 1);
            self.put(*id, Spot::Waiting(front));
        }
    }

    fn fail(&mut self, id: JobId, now: Timestamp) {
        self.put(id, Spot::Failed(now));
        self.free_key(id);
    }

    /// The one place that moves a job: keeps the order of waiting and the job's own place in step.
    fn put(&mut self, id: JobId, to: Spot) {
        let job = self.jobs.get_mut(&id).expect("only jobs that exist are moved");
        if let Spot::Waiting(rank) = job.at {
            self.waiting.remove(&rank);
        }
        if let Spot::Waiting(rank) = to {
            self.waiting.insert(rank, id);
            self.wakes += 1;
        }
        job.at = to;
    }

    fn remove(&mut self, id: JobId) {
        if let Some(Job { at: Spot::Waiting(rank), .. }) = self.jobs.remove(&id) {
            self.waiting.remove(&rank);
        }
        self.free_key(id);
    }

    fn rewrite(&mut self, id: JobId, meta: &Meta) {
        let job = self.jobs.get_mut(&id).expect("only jobs that exist are rewritten");
        if meta.failed == Some(FailReason::Malformed) && serde_json::from_str::<Meta>(&job.meta).is_err() {
            job.payload = batch::as_found(&job.meta, &job.payload);
        }
        job.meta = text(meta);
    }

    fn read(&self, id: JobId) -> Leased {
        let job = &self.jobs[&id];
        batch::leased(id, &job.meta, job.payload.clone())
    }

    /// The live job that holds a unique key.
    fn holder(&self, key: Option<&str>) -> Option<JobId> {
        self.keys.get(key?).copied().filter(|id| self.jobs.contains_key(id))
    }

    fn take_key_again(&mut self, id: JobId) {
        let key = serde_json::from_str::<Meta>(&self.jobs[&id].meta).ok().and_then(|meta| meta.unique);
        if let Some(key) = key
            && self.holder(Some(&key)).is_none()
        {
            self.keys.insert(key, id);
        }
    }

    fn free_key(&mut self, id: JobId) {
        self.keys.retain(|_, holder| *holder != id);
    }
}

fn text(meta: &Meta) -> String {
    serde_json::to_string(meta).expect("meta is plain data and always has a JSON form")
}
