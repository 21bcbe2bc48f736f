//! State and changes of the model, one method per method of the contract. No locks, no waiting.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::kept::KeptJobs;
use super::keys::Keys;
use super::limits::Limits;
use super::waiting_order::{self, WaitingOrder};
use crate::job::{FailReason, JobId, JobMeta, JobOutput, MAX_DELAY, NewJob, Priority, Timestamp};
use crate::store::alerts::AlertFields;
use crate::store::driver_rules::{self, TAKE_DEPTH};
use crate::store::kept::limits_of;
use crate::store::{
    Claim, Destination, JobState, KeyRelease, Leased, LimitDecision, MAX_BATCH, MAX_MASTERS, OutputChange,
    Owner, OwnerView, Published, PushError, Pushed, Reap, SettleConflict, Settlement, StoreError, Summary,
    Turn, TurnReply,
};

/// A channel: its jobs, its owners, its counts.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) lease: Duration,
    pub(super) last: u64,
    /// Highest time that the clock has shown to a push or a turn.
    pub(super) highest: Timestamp,
    pub(super) pause: Option<Pause>,
    /// Incremented when work may have become available.
    pub(super) wakes: u64,
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// The lines of the last failed runs.
    pub(super) outputs: BTreeMap<JobId, JobOutput>,
    pub(super) kept: KeptJobs,
    pub(super) waiting: WaitingOrder,
    owners: BTreeMap<Owner, Lease>,
    keys: Keys,
    claims: Limits,
    pub(super) done: u64,
    pub(super) cleared: u64,
    /// A limit of bytes has been recorded.
    pub(super) counts_bytes: bool,
    /// The records of alerts.
    pub(super) alerts: AlertFields,
}

/// A pause: no leasing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    /// End of the pause; `None` until a resume.
    pub(super) until: Option<Timestamp>,
}

/// A stored job: the record as text, as real drivers keep it, and its location.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) at: JobLocation,
    /// The priority of the meta, kept separately because the meta may become unreadable.
    priority: Priority,
    pub(super) meta: String,
    pub(super) payload: String,
}

/// The state of a job, with its sort key there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JobLocation {
    Waiting(waiting_order::Rank),
    Delayed(Timestamp),
    Reserved(Owner),
    Failed(Timestamp),
}

#[derive(Debug)]
struct Lease {
    until: Timestamp,
    seq: u64,
    /// The last summary and the time of its publication.
    published: Option<(Timestamp, Summary)>,
}

impl Job {
    /// Whether the job is held by an owner or has not expired.
    fn may_run(&self, id: JobId, now: Timestamp) -> bool {
        let meta = || serde_json::from_str::<JobMeta>(&self.meta);
        matches!(self.at, JobLocation::Reserved(_))
            || !meta().is_ok_and(|meta| driver_rules::has_expired(&meta, id, now))
    }
}

impl JobLocation {
    pub(super) fn state(&self) -> JobState {
        match self {
            Self::Waiting(_) => JobState::Waiting,
            Self::Delayed(_) => JobState::Delayed,
            Self::Reserved(_) => JobState::Reserved,
            Self::Failed(_) => JobState::Failed,
        }
    }
}

impl Channel {
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            lease,
            last: 0,
            highest: Timestamp(0),
            pause: None,
            wakes: 0,
            jobs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            kept: KeptJobs::default(),
            waiting: WaitingOrder::default(),
            owners: BTreeMap::new(),
            keys: Keys::default(),
            claims: Limits::default(),
            done: 0,
            cleared: 0,
            counts_bytes: false,
            alerts: AlertFields::default(),
        }
    }

    pub(super) fn push(&mut self, now: Timestamp, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        let mut dues = Vec::new();
        for (index, job) in jobs.iter().enumerate() {
            let due = driver_rules::due(job.start, now).map_err(|why| PushError::Job { index, why })?;
            dues.push(due);
        }
        let existing = self.jobs.last_key_value().map_or(0, |(id, _)| id.0);
        self.highest = self.highest.max(now);
        let mut last = self.last.max(existing).max(now.0);
        self.keys.sweep(now);
        let mut answers = Vec::new();
        for (job, due) in jobs.iter().zip(dues) {
            if let Some(holder) = job.meta.unique.as_deref().and_then(|key| self.holder_of(key, now)) {
                answers.push(Pushed::Existing(holder));
                continue;
            }
            last += 1;
            let id = JobId(last);
            self.keys.take(id, &job.meta, now);
            let priority = job.meta.priority;
            let at =
                due.map_or_else(|| JobLocation::Waiting(self.waiting.back(priority)), JobLocation::Delayed);
            let payload = job.payload.as_str().to_owned();
            let meta = JobMeta { pushed_at: driver_rules::pushed_at(id, now), ..job.meta.clone() };
            let meta = driver_rules::meta_text(&meta);
            self.jobs.insert(id, Job { at: at.clone(), priority, meta, payload });
            self.put(id, at);
            self.last = last;
            answers.push(Pushed::Added(id));
        }
        self.wakes += 1;
        Ok(answers)
    }

    pub(super) fn join(&mut self, now: Timestamp) -> Owner {
        let owner = Owner::random();
        self.owners.insert(owner.clone(), Lease { until: now.after(self.lease), seq: 0, published: None });
        owner
    }

    pub(super) fn owners(&self) -> Vec<Owner> {
        self.owners.keys().cloned().collect()
    }

    pub(super) fn masters(&self, now: Timestamp) -> Vec<OwnerView> {
        let mut leases: Vec<_> = self.owners.iter().collect();
        leases.sort_by_key(|(_, lease)| Reverse(lease.until));
        let view = |(owner, lease): (&Owner, &Lease)| OwnerView {
            owner: owner.clone(),
            lease_left: Some(lease.until.since(now)).filter(|left| !left.is_zero()),
            published: lease.published.as_ref().map(|(at, summary)| Published {
                at: *at,
                age: now.since(*at),
                summary: Some(summary.clone()),
            }),
        };
        leases.into_iter().take(MAX_MASTERS).map(view).collect()
    }

    pub(super) fn expire_lease(&mut self, owner: &Owner) {
        if let Some(lease) = self.owners.get_mut(owner) {
            lease.until = Timestamp(0);
        }
    }

    /// Checks the `seq` of a call and renews the lease.
    pub(super) fn renew_lease(&mut self, now: Timestamp, owner: &Owner, seq: u64) -> Result<(), StoreError> {
        let lease = self.owners.get_mut(owner).ok_or(StoreError::Lost)?;
        if seq <= lease.seq {
            return Err(StoreError::Replayed);
        }
        (lease.until, lease.seq) = (now.after(self.lease), seq);
        Ok(())
    }

    pub(super) fn turn(&mut self, now: Timestamp, turn: &Turn<'_>) -> Result<TurnReply, StoreError> {
        self.renew_lease(now, turn.owner, turn.seq)?;
        self.highest = self.highest.max(now);
        if let (Some(summary), Some(lease)) = (turn.publish, self.owners.get_mut(turn.owner)) {
            lease.published = Some((now, summary.clone()));
        }
        let conflicts = self.settle(now, turn.owner, turn.settlements);
        for free in turn.releases {
            match free {
                KeyRelease::Unique { id, key } => self.keys.free(*id, key),
                KeyRelease::Lock { id, key } => self.claims.free(turn.owner, *id, key),
            }
        }
        self.promote(now);
        let pause = self.pause(now);
        let leased = if pause.is_some() { Vec::new() } else { self.lease(turn) };
        let due = self.of(JobState::Delayed).first().map(|(due, _)| Timestamp(*due));
        let changes = due.into_iter().chain(pause.and_then(|pause| pause.until));
        let next_due = changes.min().map(|next| next.since(now));
        let waiting = if pause.is_some() { 0 } else { self.of(JobState::Waiting).len() as u64 };
        let held = self.held(turn.owner).len() as u64;
        let lower_waiting = turn.overdue.map(|_| self.waiting.lower()).unwrap_or_default();
        Ok(TurnReply { conflicts, leased, next_due, held, waiting, lower_waiting, now })
    }

    fn settle(
        &mut self,
        now: Timestamp,
        owner: &Owner,
        settlements: &[Settlement],
    ) -> Vec<(JobId, SettleConflict)> {
        let (mut conflicts, mut fronts, mut keeps) = (Vec::new(), Vec::new(), None);
        for Settlement { id, to, output, .. } in settlements {
            match self.jobs.get(id).map(|job| &job.at) {
                Some(JobLocation::Reserved(holder)) if holder == owner => {}
                Some(_) => {
                    conflicts.push((*id, SettleConflict::Stale));
                    continue;
                }
                None => {
                    conflicts.push((*id, SettleConflict::Cleared));
                    continue;
                }
            }
            match output {
                OutputChange::Keep => {}
                OutputChange::Drop => drop(self.outputs.remove(id)),
                OutputChange::Set(output) => drop(self.outputs.insert(*id, (**output).clone())),
            }
            match to {
                Destination::Done => {
                    self.remove(*id);
                    self.done += 1;
                }
                Destination::Kept(job) => {
                    self.kept.add(*id, now, job);
                    self.remove(*id);
                    self.done += 1;
                    keeps = limits_of(settlements);
                }
                Destination::Front(meta) => {
                    self.rewrite(*id, meta);
                    // Placed at the back until the batch is complete, so that a second settlement of the job in this batch is stale.
                    self.put_last(*id);
                    fronts.push(*id);
                }
                Destination::Back(meta) => {
                    self.rewrite(*id, meta);
                    self.put_last(*id);
                }
                Destination::Delayed(delay, meta) => {
                    self.rewrite(*id, meta);
                    self.put(*id, JobLocation::Delayed(now.after((*delay).min(MAX_DELAY))));
                }
                Destination::Failed(meta) => {
                    self.rewrite(*id, meta);
                    self.fail(*id, now);
                }
            }
        }
        self.put_first(&fronts);
        if let Some(limits) = keeps {
            self.kept.limit(limits);
            self.kept.trim(now);
        }
        conflicts
    }

    fn promote(&mut self, now: Timestamp) {
        let due: Vec<_> =
            self.of(JobState::Delayed).into_iter().take_while(|(due, _)| *due <= now.0).collect();
        for (_, id) in due.into_iter().take(MAX_BATCH) {
            self.put_last(id);
        }
    }

    fn lease(&mut self, turn: &Turn<'_>) -> Vec<Leased> {
        for priority in turn.overdue.unwrap_or_default().lowest_first().take(turn.want) {
            if let Some(id) = self.waiting.first_of(priority) {
                self.put(id, JobLocation::Waiting(self.waiting.front(Priority::High)));
            }
        }
        let (mut leased, mut bytes) = (Vec::new(), 0);
        while leased.len() < turn.want.min(MAX_BATCH) && (leased.is_empty() || bytes < turn.max_bytes) {
            let Some(id) = self.waiting.first() else { break };
            self.put(id, JobLocation::Reserved(turn.owner.clone()));
            bytes += self.jobs[&id].payload.len();
            leased.push(self.read(id));
        }
        leased
    }

    pub(super) fn held(&self, owner: &Owner) -> Vec<JobId> {
        let held = |job: &Job| matches!(&job.at, JobLocation::Reserved(holder) if holder == owner);
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
        self.renew_lease(now, owner, seq)?;
        let there = match self.jobs.get(&id).map(|job| job.at.state()) {
            Some(JobState::Failed) => {
                self.take_key_again(id, now);
                true
            }
            Some(JobState::Delayed) => true,
            Some(JobState::Waiting) => self.waiting.is_among(TAKE_DEPTH, id),
            Some(JobState::Reserved) | None => false,
        };
        if !there {
            return Ok(None);
        }
        self.put(id, JobLocation::Reserved(owner.clone()));
        Ok(Some(self.read(id)))
    }

    pub(super) fn claim(
        &mut self,
        now: Timestamp,
        owner: &Owner,
        claims: &[Claim],
    ) -> Result<Vec<LimitDecision>, StoreError> {
        if !self.owners.contains_key(owner) {
            return Err(StoreError::Lost);
        }
        let held =
            |job: Option<&Job>| matches!(job, Some(Job { at: JobLocation::Reserved(by), .. }) if by == owner);
        let mut answers = Vec::new();
        for claim in claims {
            let may = held(self.jobs.get(&claim.id));
            answers.push(if may {
                self.claims.ask(now, owner, claim)
            } else {
                LimitDecision::Wait(Duration::ZERO)
            });
        }
        Ok(answers)
    }

    pub(super) fn leave(&mut self, owner: &Owner) -> Result<u64, StoreError> {
        self.owners.remove(owner).ok_or(StoreError::Lost)?;
        self.claims.end(owner);
        let held = self.held(owner);
        self.put_first(&held);
        Ok(held.len() as u64)
    }

    pub(super) fn reap(&mut self, now: Timestamp, target: Reap<'_>) -> u64 {
        let dead: Vec<_> = match target {
            Reap::Owner(owner) => {
                self.owners.remove_entry(owner).map(|(owner, _)| owner).into_iter().collect()
            }
            Reap::Expired => {
                self.owners.extract_if(.., |_, lease| lease.until <= now).map(|(o, _)| o).collect()
            }
        };
        let mut freed = 0;
        for owner in dead {
            self.claims.end(&owner);
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

    /// Raises `lost` of a readable record; returns whether the job fails by it.
    fn raise_lost(&mut self, id: JobId, now: Timestamp) -> bool {
        let Ok(meta) = serde_json::from_str::<JobMeta>(&self.jobs[&id].meta) else { return false };
        let meta = meta.after_lost(now);
        self.rewrite(id, &meta);
        meta.failed.is_some()
    }

    /// Moves a job to the back of its priority.
    pub(super) fn put_last(&mut self, id: JobId) {
        let back = self.waiting.back(self.jobs[&id].priority);
        self.put(id, JobLocation::Waiting(back));
    }

    /// Moves jobs to the front of their priorities, in the given order.
    fn put_first(&mut self, ids: &[JobId]) {
        for id in ids.iter().rev() {
            let front = self.waiting.front(self.jobs[id].priority);
            self.put(*id, JobLocation::Waiting(front));
        }
    }

    fn fail(&mut self, id: JobId, now: Timestamp) {
        self.put(id, JobLocation::Failed(now));
        self.keys.end(id);
    }

    /// Moves a job. The only place that does, so that `waiting` and the location of the job agree.
    fn put(&mut self, id: JobId, to: JobLocation) {
        let job = self.jobs.get_mut(&id).expect("only jobs that exist are moved");
        if let JobLocation::Waiting(place) = job.at {
            self.waiting.remove(place);
        }
        if let JobLocation::Waiting(place) = to {
            self.waiting.insert(place, id);
            self.wakes += 1;
        }
        job.at = to;
    }

    pub(super) fn remove(&mut self, id: JobId) {
        if let Some(Job { at: JobLocation::Waiting(place), .. }) = self.jobs.remove(&id) {
            self.waiting.remove(place);
        }
        self.outputs.remove(&id);
        self.keys.end(id);
    }

    pub(super) fn rewrite(&mut self, id: JobId, meta: &JobMeta) {
        let job = self.jobs.get_mut(&id).expect("only jobs that exist are rewritten");
        if meta.failed == Some(FailReason::Malformed) && serde_json::from_str::<JobMeta>(&job.meta).is_err() {
            job.payload = driver_rules::as_found(&job.meta, &job.payload);
        }
        (job.meta, job.priority) = (driver_rules::meta_text(meta), meta.priority);
    }

    fn read(&self, id: JobId) -> Leased {
        let job = &self.jobs[&id];
        driver_rules::leased(id, &job.meta, job.payload.clone())
    }

    /// The job that holds a key.
    pub(super) fn holder_of(&self, key: &str, now: Timestamp) -> Option<JobId> {
        self.keys.holder(key, now, |id| self.jobs.get(&id).is_some_and(|job| job.may_run(id, now)))
    }

    /// Gives a job its unique key again if the key is free. A key held for a time is taken by the push only.
    pub(super) fn take_key_again(&mut self, id: JobId, now: Timestamp) {
        let Ok(meta) = serde_json::from_str::<JobMeta>(&self.jobs[&id].meta) else { return };
        if driver_rules::lasting_key(&meta).is_some_and(|key| self.holder_of(key, now).is_none()) {
            self.keys.take(id, &meta, now);
        }
    }
}
