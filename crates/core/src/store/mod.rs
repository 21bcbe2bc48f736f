//! The store of jobs: one trait, three drivers, one conformance suite.
//!
//! Every change of a job's state is one transaction or one script. A store holds no policy: `retry` decides the
//! consequence of an outcome, which arrives here as a [`Settlement`] with the job's new meta. A store knows neither workers
//! nor processes.
//!
//! | driver | use |
//! |---|---|
//! | `sqlite` | the embedded default: one file, one machine |
//! | `redis` | many machines |
//! | `model` | tests: the contract in memory, reference for the other two |

mod alerts;
mod clock_watch;
mod driver_rules;
mod error;
mod identity;
mod kept;
pub mod model;
mod open;
mod push_limit;
#[cfg(feature = "redis")]
pub mod redis;
mod selection;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod summary;

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

pub use alerts::{
    ALERT_LEASE, AlertLook, AlertLooked, AlertRecords, AlertReport, MAX_ALERT_REPORT_BYTES,
    MAX_ALERT_STATE_BYTES, MAX_SILENCE_COMMENT_BYTES, MAX_SILENCES, Silence,
};
#[doc(hidden)]
pub use clock_watch::{ClockStep, ClockWatch};
#[doc(hidden)]
pub use driver_rules::check;
pub use error::{PushError, StoreError};
pub use identity::StoreIdentity;
pub use kept::{KeptJob, KeptLimits, KeptPage, KeptTrim, KeptView, MAX_KEPT_BYTES};
pub use open::open;
#[doc(hidden)]
pub use push_limit::{PushLimit, PushSize, RefusedPushes};
pub use selection::{
    Found, JobFilter, SearchLimits, count_failed, list, reload_failed, reload_failed_job, remove_failed,
    remove_failed_job, search,
};
pub use summary::{MAX_MASTERS, MAX_SUMMARY_BYTES, OwnerView, Published, Summary};

pub use crate::job::LimitDecision;
use crate::job::{JobId, JobMeta, JobOutput, JobRecord, NewJob, Timestamp};

/// Length of a lease without renewal. Independent of the run time of jobs.
pub const LEASE: Duration = Duration::from_secs(30);
/// Most items of one call; callers split larger sets.
pub const MAX_BATCH: usize = 500;
/// Most payload bytes of one call; a single job is always accepted.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// The jobs of one channel.
///
/// All methods may be called concurrently, except that an owner makes its calls with a `seq` one after the other. A call
/// whose future is dropped may or may not be applied.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Adds up to [`MAX_BATCH`] jobs, all or none, in order.
    ///
    /// Ids continue from the last one while the clock is behind it; [`JobMeta::pushed_at`] then holds the time of the push.
    ///
    /// A job whose unique key is held adds nothing: [`Pushed::Existing`] names the holder. A key is held by a live job, unless it
    /// expired before any owner leased it, or for
    /// a time ([`JobMeta::unique_for_ms`], by the store's clock) that neither ends early with its job nor lasts longer than
    /// stated for a live one. Both kinds of hold share one key space.
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError>;

    /// Creates an owner with a full lease.
    async fn join(&self) -> Result<Owner, StoreError>;

    /// Records the limits of the channel, for producers that do not read the configuration; a limit that is `None` is removed.
    ///
    /// The first limit of bytes begins the count of [`JobCounts::bytes`], which goes on for good. The store reads all jobs of
    /// the channel for it once.
    async fn record_limits(&self, limits: ChannelLimits) -> Result<(), StoreError>;

    /// A step of an owner: renews its lease, applies settlements, then releases, moves due delayed jobs to waiting (at
    /// most [`MAX_BATCH`]), leases up to `want` jobs. A published summary replaces the last one of this owner and ends with the
    /// owner.
    ///
    /// Jobs are leased by priority, and within a priority from the front. "Front" and "back" of waiting refer to the job's
    /// priority throughout this trait. A job whose record cannot be parsed may be treated as a normal one.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when the owner is gone, [`StoreError::Replayed`] when `seq` is not above the owner's last one;
    /// nothing has changed then.
    async fn turn(&self, turn: Turn<'_>) -> Result<TurnReply, StoreError>;

    /// Claims locks and room in rates for jobs that this owner runs; the decisions are in the order of the claims. Has no
    /// `seq` and may run concurrently with calls that have one. A repeated claim of a held lock is granted.
    ///
    /// A lock is held until a turn of its owner releases it or its owner ends, so it cannot outlive the lease. The end or the
    /// clearing of its job does not release it.
    ///
    /// A claim for a job that this owner does not hold changes nothing and gets [`LimitDecision::Wait`] with zero.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when the owner is gone.
    async fn claim(&self, owner: &Owner, claims: &[Claim]) -> Result<Vec<LimitDecision>, StoreError>;

    /// The ids that this owner holds. Uses the next `seq`, so that a late copy of an earlier turn is refused.
    async fn held(&self, owner: &Owner, seq: u64) -> Result<Vec<JobId>, StoreError>;

    /// The records of those ids that this owner holds; other ids are left out.
    async fn fetch(&self, owner: &Owner, ids: &[JobId]) -> Result<Vec<Leased>, StoreError>;

    /// Leases one job by id: failed, delayed, or among the first 10,000 waiting. `None` when the job is elsewhere or gone.
    /// A failed job takes its unique key again if the key is free, as in [`Store::requeue`].
    async fn take(&self, owner: &Owner, seq: u64, id: JobId) -> Result<Option<Leased>, StoreError>;

    /// The owners of the channel with the summaries that they have published last, the longest lease first, at most
    /// [`MAX_MASTERS`]. For display and alerts only: neither a summary nor its absence is a reason to act on jobs.
    async fn masters(&self) -> Result<Vec<OwnerView>, StoreError>;

    /// Ends the owner. Its jobs return to the front of waiting in the order of ids, without a counted attempt. Returns
    /// the number of jobs.
    async fn leave(&self, owner: &Owner) -> Result<u64, StoreError>;

    /// Recovers the jobs of dead owners: to the front of waiting in the order of ids with `lost` raised, or to `failed`.
    ///
    /// Works in bounded batches that any master can resume. Returns the number of recovered jobs.
    async fn reap(&self, target: Reap<'_>) -> Result<u64, StoreError>;

    /// Returns when work may be available, or after `timeout`. May return early without a reason.
    async fn wait(&self, timeout: Duration) -> Result<(), StoreError>;

    /// The counts, in one consistent read.
    async fn status(&self) -> Result<JobCounts, StoreError>;

    /// A look of a watcher of alerts: takes the watch of the channel if it is free, or renews, uses and gives up a held one, and
    /// reads the counts in the same call. One watcher holds the watch until its lease ends, by the store's clock.
    async fn look_at_alerts(&self, look: AlertLook<'_>) -> Result<AlertLooked, StoreError>;

    /// The records of alerts, for display.
    async fn alerts(&self) -> Result<AlertRecords, StoreError>;

    /// Silences a rule for a time, with a comment, in place of an earlier silence of it; `None` ends one. Returns the end by the store's
    /// clock.
    async fn silence(&self, rule: &str, time: Option<(Duration, &str)>) -> Result<Timestamp, StoreError>;

    /// A job, in any state.
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError>;

    /// The lines that the last failed run of a job printed, as a settlement has stored them. Other queries do not read them.
    async fn output(&self, id: JobId) -> Result<Option<JobOutput>, StoreError>;

    /// A page of the kept done jobs ([`Destination::Kept`]), newest first: at most [`MAX_BATCH`], behind `after`. Jobs older than
    /// the recorded limit are left out.
    async fn kept(&self, after: Option<Cursor>, limit: usize) -> Result<KeptPage, StoreError>;

    /// A kept done job, unless it is older than the recorded limit.
    async fn kept_job(&self, id: JobId) -> Result<Option<KeptView>, StoreError>;

    /// Removes kept done jobs above the limits that the last settlement of one has recorded, the oldest first, at most
    /// [`MAX_BATCH`]. Masters call this from time to time, because a channel without new done jobs removes none by itself.
    async fn trim_kept(&self) -> Result<KeptTrim, StoreError>;

    /// The job that holds a unique key now, as a push would report it: a live job, or the job that took the key for a time
    /// that has not passed, even if that job is gone.
    async fn holder(&self, key: &str) -> Result<Option<JobId>, StoreError>;

    /// A page of a state: waiting from the front, delayed by due time, failed from the newest, reserved in any order.
    /// At most [`MAX_BATCH`] jobs, behind `after`. Jobs that move while a caller pages may be missed or, in waiting, seen
    /// twice; a job that fails after the first page of failed is not seen.
    async fn list(&self, state: JobState, after: Option<Cursor>, limit: usize) -> Result<Page, StoreError>;

    /// Moves failed jobs to the back of waiting with the given meta; jobs no longer in `failed` are skipped. A job takes
    /// its unique key again if the key is free, unless it was held for a time: only a push does that. The output of its last
    /// failure is dropped. Returns the number of moved jobs.
    async fn requeue(&self, jobs: &[(JobId, JobMeta)]) -> Result<u64, StoreError>;

    /// Removes waiting, delayed or failed jobs and counts them as cleared. Returns the number of removed jobs.
    async fn discard(&self, ids: &[JobId]) -> Result<u64, StoreError>;

    /// Removes the jobs that are in the given states when the call begins, in bounded batches; the next clear finishes an
    /// interrupted one. Returns the number of jobs removed by this call, by state.
    async fn clear(&self, which: Clear) -> Result<Cleared, StoreError>;

    /// Finishes a clear that was interrupted; one that makes progress is left alone. Masters call this from time to time, because what
    /// is left of a clear counts in the limits of the channel.
    async fn finish_clear(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Stops leasing for every master until [`Store::resume`], or for `time` by the store's clock (at most
    /// [`crate::job::MAX_DELAY`]). Replaces a current pause. Renewals, settlements and promotions of due jobs continue.
    /// Returns the end of the pause.
    async fn pause(&self, time: Option<Duration>) -> Result<Option<Timestamp>, StoreError>;

    /// Ends a pause and wakes the masters. Returns whether there was one.
    async fn resume(&self) -> Result<bool, StoreError>;

    /// The number of reserved jobs that no owner holds and no call can reach, because another program has changed the stored data.
    /// Costs a call for the whole channel, whatever the number of jobs.
    async fn unlisted(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Durability of an acknowledged push, as shown by `queue:status`: `fsync`, `everysec`, `memory`.
    async fn durability(&self) -> Result<String, StoreError>;

    /// The identity of this store, from what is known without a call; `None` before a store is open, and in memory.
    fn identity(&self) -> Option<StoreIdentity> {
        None
    }

    /// The finding and the remedy if files of this open store were removed or replaced. Blocks on the file system.
    fn damage(&self) -> Option<String> {
        None
    }
}

/// Pushes into any channel of the configuration.
#[async_trait]
pub trait CrossChannelPush: Send + Sync + fmt::Debug {
    /// Pushes jobs into a channel, all or none.
    ///
    /// # Errors
    /// The reason as text.
    async fn push(&self, channel: &str, jobs: &[NewJob]) -> Result<Vec<Pushed>, String>;
}

/// A random number. The keys of each standard hash map are random, which saves a dependency.
#[doc(hidden)]
pub fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// A master incarnation: a random name, created by [`Store::join`], never reused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

impl Owner {
    /// An owner whose name was recorded earlier, for example in the lock file.
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

/// The result of one pushed job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Added under this id.
    Added(JobId),
    /// Not added: this job holds the unique key.
    Existing(JobId),
}

impl Pushed {
    /// The id of the added job, or of the holder of the key.
    #[must_use]
    pub fn id(self) -> JobId {
        match self {
            Self::Added(id) | Self::Existing(id) => id,
        }
    }
}

/// A turn of an owner. See [`Store::turn`].
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The owner.
    pub owner: &'a Owner,
    /// Call number, higher with every call of this owner.
    pub seq: u64,
    /// Ends of runs, at most [`MAX_BATCH`].
    pub settlements: &'a [Settlement],
    /// Keys to release, at most [`MAX_BATCH`]; keys that are not held are ignored.
    pub releases: &'a [KeyRelease],
    /// Jobs to lease, at most [`MAX_BATCH`].
    pub want: usize,
    /// Stop leasing at this many payload bytes; one job is always leased.
    pub max_bytes: usize,
    /// Lower priorities whose front job goes before all others in this turn, the lowest first, as far as `want` reaches. `None`: the
    /// reply need not tell which lower priorities wait.
    pub overdue: Option<LowerPriorities>,
    /// The state of this owner to publish, stamped by the store's clock. See [`Store::masters`].
    pub publish: Option<&'a Summary>,
}

/// A set of the priorities below `high`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LowerPriorities {
    /// [`Priority::Normal`](crate::job::Priority::Normal).
    pub normal: bool,
    /// [`Priority::Low`](crate::job::Priority::Low).
    pub low: bool,
}

impl LowerPriorities {
    /// The priorities of this set, lowest first.
    pub(crate) fn lowest_first(self) -> impl Iterator<Item = crate::job::Priority> {
        use crate::job::Priority::{Low, Normal};
        [(self.low, Low), (self.normal, Normal)]
            .into_iter()
            .filter_map(|(is_in, priority)| is_in.then_some(priority))
    }
}

/// The release of a key held by a job. See [`Store::turn`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyRelease {
    /// A unique key held until the start of its job. A key held for a time stays held.
    Unique {
        /// The job.
        id: JobId,
        /// The key.
        key: String,
    },
    /// A lock claimed by this owner for a run that has ended.
    Lock {
        /// The job.
        id: JobId,
        /// The lock's key.
        key: String,
    },
}

/// A claim of a running job. See [`Store::claim`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// The claimed key, at most [`crate::job::MAX_UNIQUE_KEY_BYTES`]. Locks and rates have separate key spaces.
    pub key: String,
    /// Kind of the claim.
    pub kind: ClaimKind,
}

/// Kind of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// A lock: at most `limit` jobs of the channel hold the key at the same time, holders with other limits included.
    Lock {
        /// Most holders; 1 for exclusion, 0 refuses all new holders.
        limit: u32,
    },
    /// A share of a rate: `burst` claims of the key are granted at once, then one per `count - burst + 1`th part of `per`,
    /// rounded up to whole microseconds (generic cell rate algorithm), so that no period has more than `count`. Claims of the
    /// same key with other numbers count as at most one full burst.
    Rate {
        /// Claims per period, at least 1.
        count: u32,
        /// Claims at once, 1 to `count`.
        burst: u32,
        /// Length of the period: a microsecond to ten years.
        per: Duration,
    },
}

/// The store's record of the end of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The job.
    pub id: JobId,
    /// The job's unique key, if any: released when the job moves to `done` or `failed`.
    pub unique: Option<String>,
    /// The destination of the job.
    pub to: Destination,
    /// The change of the job's stored output, which is apart from the record.
    pub output: OutputChange,
}

/// The change of the stored output of a job by a settlement.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum OutputChange {
    /// No change: costs nothing. Also the right one for a job that is done and has no stored output.
    #[default]
    Keep,
    /// Removed.
    Drop,
    /// Replaced by the lines of the run that has ended.
    Set(Box<JobOutput>),
}

/// The destination of a settled job, with its new meta.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// Finished: the record is deleted and counted.
    Done,
    /// Finished as [`Destination::Done`], and kept apart from the jobs of all states: a kept job is no part of any count but the
    /// one of done jobs, holds no unique key and is no part of [`JobCounts::bytes`]. The turn then removes kept jobs above the
    /// limits, the oldest first, at most [`MAX_BATCH`]. A clear does not remove kept jobs.
    Kept(Box<KeptJob>),
    /// Front of waiting; jobs settled in one turn keep their order.
    Front(JobMeta),
    /// Back of waiting.
    Back(JobMeta),
    /// Delayed, due after this time.
    Delayed(Duration, JobMeta),
    /// Failed.
    Failed(JobMeta),
}

impl Destination {
    /// Whether the job is finished.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done | Self::Kept(_))
    }

    /// The new meta; `None` for a job that is done.
    #[doc(hidden)]
    pub fn meta_mut(&mut self) -> Option<&mut JobMeta> {
        match self {
            Self::Done | Self::Kept(_) => None,
            Self::Front(meta) | Self::Back(meta) | Self::Delayed(_, meta) | Self::Failed(meta) => Some(meta),
        }
    }
}

/// The reply to a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnReply {
    /// Settlements that were not applied; all others were.
    pub conflicts: Vec<(JobId, SettleConflict)>,
    /// The jobs leased by this turn.
    pub leased: Vec<Leased>,
    /// Time until the store changes by itself: the next delayed job is due, or a pause ends. `None` when nothing is pending.
    pub next_due: Option<Duration>,
    /// Number of jobs held by this owner after the turn.
    pub held: u64,
    /// Number of leasable waiting jobs after the turn: zero while the channel is paused. An estimate while a clear is
    /// running.
    pub waiting: u64,
    /// The lower priorities with waiting jobs after the turn; empty if the turn did not ask ([`Turn::overdue`]). On Redis, jobs
    /// that were removed while they waited count until they are passed.
    pub lower_waiting: LowerPriorities,
    /// The store's clock.
    pub now: Timestamp,
}

/// The reason why a settlement was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleConflict {
    /// Another owner or state holds the job.
    Stale,
    /// The job is gone.
    Cleared,
}

/// A leased job.
#[expect(clippy::large_enum_variant, reason = "nearly every value is a job")]
#[derive(Clone, Debug, PartialEq)]
pub enum Leased {
    /// A job to run.
    Job(JobRecord),
    /// A record that cannot be parsed. The channel settles it to `failed`, where the original text stays as its payload.
    Malformed {
        /// The id of the job.
        id: JobId,
        /// The parse error.
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

/// The owners to reap.
#[derive(Clone, Copy, Debug)]
pub enum Reap<'a> {
    /// All owners whose lease has expired. Reaps nothing while the driver cannot trust its view: on a fresh connection, or a
    /// freshly started server.
    Expired,
    /// An owner that is known to be dead, at once.
    Owner(&'a Owner),
}

/// The states in which a job can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Ready to run.
    Waiting,
    /// Not yet due: pushed for later, or waiting for a retry.
    Delayed,
    /// Held by a master.
    Reserved,
    /// Failed permanently; kept until reloaded or cleared.
    Failed,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 4] = [Self::Delayed, Self::Waiting, Self::Reserved, Self::Failed];

    /// The name of the state.
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

/// A job as shown to users.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// The id of the job.
    pub id: JobId,
    /// The state of the job.
    pub state: JobState,
    /// Due time of a delayed job, failure time of a failed one, otherwise the time of the push.
    pub at: Timestamp,
    /// The meta; [`JobMeta::malformed`] for a record that cannot be parsed.
    pub meta: JobMeta,
    /// The payload, or the original text of a record that cannot be parsed. At most 1 MiB, not necessarily JSON.
    pub payload: String,
}

/// A page of jobs. See [`Store::list`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The jobs, in the state's order.
    pub jobs: Vec<JobView>,
    /// Position of the next page; `None` at the end.
    pub next: Option<Cursor>,
}

/// A position in a listing; only the driver that made it can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    #[doc(hidden)]
    pub rank: u64,
    #[doc(hidden)]
    pub id: u64,
}

/// The limits of a channel. See [`Store::record_limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Most waiting and delayed jobs.
    pub max_waiting: Option<u64>,
    /// Most bytes of all stored jobs, as in [`JobCounts::bytes`].
    pub max_bytes: Option<u64>,
}

/// The number of jobs of a channel, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobCounts {
    /// Ready to run.
    pub waiting: u64,
    /// Held by masters.
    pub reserved: u64,
    /// Not yet due.
    pub delayed: u64,
    /// Finished since the channel was created.
    pub done: u64,
    /// Failed permanently.
    pub failed: u64,
    /// Removed by `clear` or `discard` since the channel was created.
    pub cleared: u64,
    /// Bytes of all jobs in the store, in any state: their options, errors and payloads, and the output of failed runs. `None`
    /// until a limit of bytes has been recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether leasing is paused for every master.
    pub paused: bool,
    /// End of the pause; `None` without a pause or without an end.
    #[serde(skip)]
    pub paused_until: Option<Timestamp>,
    /// The time from which the front waiting job has waited, the earliest of all priorities; `None` without one. On Redis also
    /// `None` behind 16 removed jobs.
    #[serde(skip)]
    pub front_ready_at: Option<Timestamp>,
    /// The time at which the next delayed job is due.
    #[serde(skip)]
    pub next_due: Option<Timestamp>,
    /// The store's clock.
    #[serde(skip)]
    pub now: Timestamp,
    /// How far the store's clock is behind the highest time that it has shown to a push or a turn; `None` below 0.1 s.
    #[serde(skip)]
    pub clock_behind: Option<Duration>,
}

impl JobCounts {
    /// The number of jobs in a state.
    #[must_use]
    pub fn of(&self, state: JobState) -> u64 {
        match state {
            JobState::Waiting => self.waiting,
            JobState::Delayed => self.delayed,
            JobState::Reserved => self.reserved,
            JobState::Failed => self.failed,
        }
    }

    /// Whether the store has any job.
    pub(crate) fn has_jobs(&self) -> bool {
        self.waiting + self.reserved + self.delayed + self.failed > 0
    }

    /// The sum of waiting, reserved, delayed, done and failed.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.waiting + self.reserved + self.delayed + self.done + self.failed
    }
}

/// The states to clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clear {
    /// Jobs ready to run.
    pub waiting: bool,
    /// Jobs not yet due.
    pub delayed: bool,
    /// Failed jobs.
    pub failed: bool,
    /// Jobs held by masters: their runs are cancelled, their settlements answered with [`SettleConflict::Cleared`].
    pub reserved: bool,
}

/// Number of jobs removed by a clear, by state.
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
