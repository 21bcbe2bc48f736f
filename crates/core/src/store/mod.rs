//! The store: where jobs wait. One trait, three drivers, one conformance suite.
//!
//! Every change of a job's state is one transaction or one script here. A store holds no policy: what a
//! retry means is decided by `retry` and arrives as a [`Settlement`] with the job's new meta.
//! A store knows no worker and no process.
//!
//! | driver | for |
//! |---|---|
//! | `sqlite` | the embedded default: one file, one machine |
//! | `redis` | many machines |
//! | `model` | tests: the same contract in memory, and the judge of the other two |

mod driver_rules;
mod error;
mod failed_jobs;
pub mod model;
mod open;
mod rate;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

#[doc(hidden)]
pub use driver_rules::check;
pub use error::{PushError, StoreError};
pub use failed_jobs::{FailedJobFilter, reload_failed, remove};
pub use open::open;

pub use crate::job::LimitDecision;
use crate::job::{JobId, JobMeta, JobRecord, NewJob, Timestamp};

/// How long a lease lasts without a sign of life of its owner. It has nothing to do with how long jobs may run.
pub const LEASE: Duration = Duration::from_secs(30);
/// Most items one call carries; callers with more split them.
pub const MAX_BATCH: usize = 500;
/// Most payload bytes one call carries; a single job may always go alone.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// One channel's jobs.
///
/// All methods are safe to call from several tasks, except that the calls which carry a `seq` are
/// made one after the other by one owner. A dropped future may or may not have been applied.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Adds up to [`MAX_BATCH`] jobs, all or none, in their order.
    ///
    /// A job with a unique key that a live job holds is not added: [`Pushed::Existing`] names that job. So is one with
    /// a key that was taken for a time ([`JobMeta::unique_for_ms`]), until that time is over by the store's clock, even if
    /// the job that took it is gone; from then on the key is free, even if that job still lives. Both ways of holding a
    /// key share one set of keys.
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError>;

    /// Makes a new owner with a full lease. The only way an owner comes to be.
    async fn join(&self) -> Result<Owner, StoreError>;

    /// Everything an owner says and asks in one step: renews its lease, applies settlements, then frees, moves due
    /// delayed jobs to waiting (at most [`MAX_BATCH`]), leases up to `want` jobs.
    ///
    /// Jobs are leased by priority, and within a priority from the front. Wherever this contract says front or back of
    /// waiting, it is that of the job's priority. A job whose record cannot be understood may be taken for a normal one.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when the owner is gone, [`StoreError::Replayed`] when `seq` is not above the last
    /// one of this owner; then nothing has changed.
    async fn turn(&self, turn: Turn<'_>) -> Result<TurnReply, StoreError>;

    /// Asks for locks and for room in rates, each for a job this owner runs; answers in the order of the claims.
    /// Carries no `seq` and may be called beside the calls that do. Asking again for a lock that the job has is
    /// granted again.
    ///
    /// A lock is held until it is freed by a turn of its owner, or until that owner is gone: it cannot outlive the lease.
    /// That its job has ended, or was cleared, does not free it.
    ///
    /// A claim for a job that this owner does not hold takes nothing and is answered [`LimitDecision::Wait`] with zero.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when the owner is gone.
    async fn claim(&self, owner: &Owner, claims: &[Claim]) -> Result<Vec<LimitDecision>, StoreError>;

    /// The ids this owner holds, asked with the next `seq`, which also refuses a late copy of an earlier turn.
    async fn held(&self, owner: &Owner, seq: u64) -> Result<Vec<JobId>, StoreError>;

    /// The records of the given ids as this owner holds them; ids it does not hold are left out.
    async fn fetch(&self, owner: &Owner, ids: &[JobId]) -> Result<Vec<Leased>, StoreError>;

    /// Leases one job by id: failed, delayed, or among the first 10,000 waiting. `None` when it is not there.
    /// A failed job takes its unique key again where it is free, as in [`Store::requeue`].
    async fn take(&self, owner: &Owner, seq: u64, id: JobId) -> Result<Option<Leased>, StoreError>;

    /// Gives everything this owner holds back to the front of waiting in the order of ids, uncounted, and
    /// ends the owner.
    async fn leave(&self, owner: &Owner) -> Result<u64, StoreError>;

    /// Frees what dead owners held: to the front of waiting in the order of ids with `lost` raised, or to `failed`.
    ///
    /// Works in bounded batches that any master can resume. Answers how many jobs were freed.
    async fn reap(&self, target: Reap<'_>) -> Result<u64, StoreError>;

    /// Returns when work may be there, or after `timeout`. May return early for no reason.
    async fn wait(&self, timeout: Duration) -> Result<(), StoreError>;

    /// The counts, in one consistent read.
    async fn status(&self) -> Result<JobCounts, StoreError>;

    /// One job, in whatever state.
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError>;

    /// The job that holds a unique key now, as a push with it would be told: one that lives, or the one that took it for a
    /// time that is not over, living or not.
    async fn holder(&self, key: &str) -> Result<Option<JobId>, StoreError>;

    /// One page of a state: waiting from the front, delayed by due time, failed from the newest, reserved in any order.
    /// At most [`MAX_BATCH`] jobs, starting behind `after`. Jobs that move while a caller pages may be missed or, in
    /// waiting, met twice; a job that fails after the first page of failed is not met by that caller.
    async fn list(&self, state: JobState, after: Option<Cursor>, limit: usize) -> Result<Page, StoreError>;

    /// Moves failed jobs to the back of waiting with the given meta; those no longer in `failed` are passed over.
    /// A job's unique key is taken again where it is free, unless it was taken for a time: that is done once, by the
    /// push. Answers how many moved.
    async fn requeue(&self, jobs: &[(JobId, JobMeta)]) -> Result<u64, StoreError>;

    /// Removes jobs that are waiting, delayed or failed, counting them as cleared. Answers how many were there.
    async fn discard(&self, ids: &[JobId]) -> Result<u64, StoreError>;

    /// Removes the jobs of the given states that are there when it begins. Bounded batches; an interrupted
    /// clear is finished by the next one. Answers how many jobs went in this call, by state.
    async fn clear(&self, which: Clear) -> Result<Cleared, StoreError>;

    /// Stops leasing for every master until [`Store::resume`], or for this long by the store's clock (at most
    /// [`crate::job::MAX_DELAY`]): then it ends by itself. It takes the place of a pause that is in force. All else goes on: leases are
    /// renewed, ends are written, due jobs move to waiting. Answers when it will end.
    async fn pause(&self, time: Option<Duration>) -> Result<Option<Timestamp>, StoreError>;

    /// Ends a pause and wakes the masters. Answers whether there was one to end.
    async fn resume(&self) -> Result<bool, StoreError>;

    /// How durable an acknowledged push is, in the words of `queue:status`: `fsync`, `everysec`, `memory`.
    async fn durability(&self) -> Result<String, StoreError>;
}

/// The way to other channels.
#[async_trait]
pub trait CrossChannelPush: Send + Sync + fmt::Debug {
    /// Pushes jobs into a channel, all or none.
    ///
    /// # Errors
    /// Why not, for people.
    async fn push(&self, channel: &str, jobs: &[NewJob]) -> Result<Vec<Pushed>, String>;
}

/// A random number: the keys of the standard library's hash maps are random, and each map has others.
#[doc(hidden)]
pub fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// A master incarnation: a random name, made by [`Store::join`], never used twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

impl Owner {
    /// An owner read back from where its name was written down, such as the lock file.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// A fresh random name of 128 bits.
    #[must_use]
    #[doc(hidden)]
    pub fn random() -> Self {
        Self(format!("{:016x}{:016x}", random(), random()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What became of one pushed job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was added under this id.
    Added(JobId),
    /// A live job holds its unique key.
    Existing(JobId),
}

impl Pushed {
    /// The job's id: its own, or that of the job with the same key.
    #[must_use]
    pub fn id(self) -> JobId {
        match self {
            Self::Added(id) | Self::Existing(id) => id,
        }
    }
}

/// One turn of an owner. See [`Store::turn`].
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Who speaks.
    pub owner: &'a Owner,
    /// Grows with every call of this owner.
    pub seq: u64,
    /// At most [`MAX_BATCH`] ends of runs.
    pub settlements: &'a [Settlement],
    /// What jobs of this owner do not hold any more; at most [`MAX_BATCH`]. What a job does not hold is passed over.
    pub releases: &'a [KeyRelease],
    /// Lease up to this many, at most [`MAX_BATCH`].
    pub want: usize,
    /// Stop leasing once this many payload bytes are aboard; one job always fits.
    pub max_bytes: usize,
}

/// Something a job no longer holds. See [`Store::turn`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyRelease {
    /// Its unique key: the job has begun, and the key was to be held until then. One that was taken for a time stays.
    Unique {
        /// The job.
        id: JobId,
        /// The key.
        key: String,
    },
    /// A lock that it has by a claim of this owner: the run that had it has ended.
    Lock {
        /// The job.
        id: JobId,
        /// The lock's key.
        key: String,
    },
}

/// Something a running job asks for. See [`Store::claim`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// What is asked for, by a name of at most [`crate::job::MAX_UNIQUE_KEY_BYTES`]. Locks and rates do not share names.
    pub key: String,
    /// In what way.
    pub kind: ClaimKind,
}

/// In what way a job claims a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// Be one of at most `limit` jobs of the channel that have the key at the same time. Those count that have it by
    /// claims with other limits, too.
    Lock {
        /// 1 for no overlap at all, 0 for nobody but those who have it.
        limit: u32,
    },
    /// Have a share of a rate: `count` claims of the key in this channel are granted at once, and from then on one for
    /// each `count`th part of `per`, rounded up to whole microseconds (the generic cell rate algorithm). Claims of the
    /// same key with other numbers count for one full burst at most.
    Rate {
        /// At least 1.
        count: u32,
        /// At least a microsecond, at most ten years.
        per: Duration,
    },
}

/// The end of a run as the store shall record it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The job.
    pub id: JobId,
    /// Its unique key, if it has one: freed when the job leaves for `done` or `failed`.
    pub unique: Option<String>,
    /// Where the job goes.
    pub to: Destination,
}

/// Where a settled job goes, with its new meta.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// Finished: the record is deleted and counted.
    Done,
    /// To the front of waiting; those of one turn keep their order there.
    Front(JobMeta),
    /// To the back of waiting.
    Back(JobMeta),
    /// To delayed, due after this long.
    Delayed(Duration, JobMeta),
    /// To failed.
    Failed(JobMeta),
}

/// The answer to a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnReply {
    /// The settlements that did not hold; all others were applied.
    pub conflicts: Vec<(JobId, SettleConflict)>,
    /// The jobs leased now.
    pub leased: Vec<Leased>,
    /// How long until something changes by itself: the next delayed job is due, or a pause ends. `None` when nothing will.
    pub next_due: Option<Duration>,
    /// How many jobs this owner holds after this turn.
    pub held: u64,
    /// How many jobs are left in waiting after this turn that could be leased: none while the channel is paused. An
    /// estimate while a clear is under way.
    pub waiting: u64,
    /// The store's clock.
    pub now: Timestamp,
}

/// Why a settlement changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleConflict {
    /// This owner does not hold the job; it exists elsewhere.
    Stale,
    /// The job is gone.
    Cleared,
}

/// A job as leased.
#[derive(Clone, Debug, PartialEq)]
pub enum Leased {
    /// A job to run.
    Job(JobRecord),
    /// A record that could not be understood. The channel settles it to `failed`, where the text as found stays as its payload.
    Malformed {
        /// Its id.
        id: JobId,
        /// What is wrong with it.
        why: String,
    },
}

impl Leased {
    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        match self {
            Self::Job(record) => record.id,
            Self::Malformed { id, .. } => *id,
        }
    }
}

/// Which owners to reap.
#[derive(Clone, Copy, Debug)]
pub enum Reap<'a> {
    /// Those whose lease has run out. Answers 0 while the driver cannot yet trust what it sees:
    /// a fresh connection, a freshly started server.
    Expired,
    /// This one, which is known to be dead, at once.
    Owner(&'a Owner),
}

/// The states a job can be listed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Ready to run.
    Waiting,
    /// Not yet due: pushed for later, or to be retried.
    Delayed,
    /// Held by a master.
    Reserved,
    /// Ended without success; kept until reloaded or cleared.
    Failed,
}

impl JobState {
    /// The state's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delayed => "delayed",
            Self::Reserved => "reserved",
            Self::Failed => "failed",
        }
    }
}

/// A job as shown to people.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Where it is.
    pub state: JobState,
    /// Delayed: when it is due. Failed: when it failed. Else its push time.
    pub at: Timestamp,
    /// Its meta; [`JobMeta::malformed`] when the record cannot be understood.
    pub meta: JobMeta,
    /// The payload's text, or the record as found when that cannot be understood. At most 1 MiB, not necessarily JSON.
    pub payload: String,
}

/// A page of jobs. See [`Store::list`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The jobs, in the state's order.
    pub jobs: Vec<JobView>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// A place in a listing, meaningful only to the driver that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    #[doc(hidden)]
    pub rank: u64,
    #[doc(hidden)]
    pub id: u64,
}

/// The counts of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobCounts {
    /// Ready to run.
    pub waiting: u64,
    /// Held by masters.
    pub reserved: u64,
    /// Not yet due.
    pub delayed: u64,
    /// Finished since the channel began.
    pub done: u64,
    /// Ended without success.
    pub failed: u64,
    /// Removed by `clear` or `discard` since the channel began.
    pub cleared: u64,
    /// Whether leasing is paused for every master.
    pub paused: bool,
    /// When the pause ends by itself; `None` when there is none, or none with an end.
    #[serde(skip)]
    pub paused_until: Option<Timestamp>,
}

impl JobCounts {
    /// The sum of waiting, reserved, delayed, done and failed.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.waiting + self.reserved + self.delayed + self.done + self.failed
    }
}

/// Which states a clear empties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clear {
    /// Jobs ready to run.
    pub waiting: bool,
    /// Jobs not yet due.
    pub delayed: bool,
    /// Failed jobs.
    pub failed: bool,
    /// Jobs held by masters: their runs are cancelled, their results answered with [`SettleConflict::Cleared`].
    pub reserved: bool,
}

/// How many jobs a clear removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cleared {
    /// From waiting.
    pub waiting: u64,
    /// From delayed.
    pub delayed: u64,
    /// From failed.
    pub failed: u64,
    /// From reserved.
    pub reserved: u64,
}
