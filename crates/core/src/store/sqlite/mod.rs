//! The embedded store: one SQLite file, any number of channels, any number of processes of one machine.
//!
//! | file | duty |
//! |---|---|
//! | `path_checks.rs`, `connect.rs` | checks the location of the file; opens it |
//! | `schema.sql`, `upgrade_2.sql` to `upgrade_8.sql` | the tables; the upgrades of older files |
//! | `file_watch.rs`, `file_holders.rs`, `cut_files.rs`, `rescue.rs` | files that are removed, replaced or cut while they are in use |
//! | `file.rs` | the open file of this process, shared by all handles |
//! | `writer_thread.rs` | the only writing thread: groups waiting calls into one transaction, replies after the commit |
//! | `reader_thread.rs`, `commit_watch.rs`, `poll_schedule.rs` | the only reading thread; also watches for commits of other processes |
//! | `transaction.rs`, `error.rs` | a call on its way to a thread; the errors it can end in |
//! | `push.rs`, `turn.rs`, `limits.rs`, `owner.rs`, `commands.rs`, `queries.rs`, `alerts.rs` | the contract, inside a transaction |
//! | `bucket.rs`, `rank.rs`, `keys.rs`, `record.rs`, `outputs.rs`, `kept.rs` | the rows |
//!
//! An acknowledged call is on disk: WAL with `synchronous=FULL`. Leases are measured from the boot of the machine: neither
//! clock steps nor suspends affect them, and a reboot ends them all.

mod alerts;
mod bucket;
mod clock;
mod commands;
mod commit_watch;
mod connect;
mod cut_files;
mod error;
mod file;
mod file_holders;
mod file_watch;
mod job_bytes;
mod kept;
mod keys;
mod limits;
mod outputs;
mod owner;
mod path_checks;
mod pause;
mod poll_schedule;
mod push;
mod queries;
mod rank;
mod reader_thread;
mod record;
mod rescue;
#[cfg(test)]
mod tests;
mod transaction;
mod turn;
mod wakeups;
mod writer_thread;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use self::bucket::Channel;
use self::error::SqliteError;
use self::file::File;
use self::owner::OwnerCall;
use self::record::RawRecord;
use super::kept::limits_of;
use super::{
    AlertLook, AlertLooked, AlertRecords, ChannelLimits, Claim, Clear, Cleared, Cursor, JobCounts, JobState,
    JobView, KeptPage, KeptTrim, KeptView, LEASE, Leased, LimitDecision, MAX_BATCH, Owner, OwnerView, Page,
    PushError, Pushed, Reap, Store, StoreError, StoreIdentity, Turn, TurnReply, driver_rules,
};
use crate::job::{JobId, JobMeta, JobOutput, NewJob, Timestamp};

/// Options of a handle.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Life of an owner of this handle without a turn.
    pub lease: Duration,
    /// Whether a configuration names the file; one that is merely found must belong to this user or root.
    pub named: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { lease: LEASE, named: true }
    }
}

/// A channel in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    file: Arc<File>,
    /// The path as configured.
    configured: PathBuf,
    channel: i64,
    options: Options,
    /// The boot of this machine, to which the leases belong.
    boot: String,
    wakes: watch::Receiver<i64>,
    /// The wake count at which a wait of this handle last returned.
    seen: AtomicI64,
}

impl SqliteStore {
    /// Opens a channel in the file at `path`, creating either if missing.
    ///
    /// Blocks on the disk, and up to a few seconds on other processes.
    ///
    /// # Errors
    /// When the path, the file system or the file is unsuitable; the error names the path and the remedy.
    pub fn open(path: &Path, channel: &str) -> Result<Self, StoreError> {
        Self::open_with(path, channel, Options::default())
    }

    /// Opens a channel as [`SqliteStore::open`] does, with options.
    ///
    /// # Errors
    /// See [`SqliteStore::open`].
    pub fn open_with(path: &Path, channel: &str, options: Options) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let opened = File::open(path, options.named).and_then(|file| {
            let boot = clock::boot().map_err(|error| {
                SqliteError::Refused(format!("the boot of this machine has no name ({error}): mount /proc"))
            })?;
            let name = channel.to_owned();
            let (channel, seen) = file.write_blocking(move |tx| {
                let channel = Channel::find(tx, &name)?;
                Ok((channel, tx.number("SELECT wakes FROM channels WHERE id = ?1", [channel])?))
            })?;
            let seen = seen.unwrap_or(0);
            let wakes = file.watch(channel, seen);
            Ok(Self {
                file,
                configured: path.to_owned(),
                channel,
                options,
                boot,
                wakes,
                seen: AtomicI64::new(seen),
            })
        });
        opened.map_err(|fault| fault.at(&place, "opening it"))
    }

    /// Steps the clock of the file, as seen by this process, by microseconds forward or back. For tests.
    #[doc(hidden)]
    pub fn step_clock(&self, micros: i64) {
        self.file.clock.step(micros);
    }

    fn owner_call(&self, owner: &Owner, seq: u64) -> OwnerCall {
        OwnerCall {
            channel: self.channel,
            name: owner.as_str().to_owned(),
            seq,
            lease: self.options.lease,
            boot: self.boot.clone(),
        }
    }

    /// Recovers the jobs of dead owners in batches; other writers run between the batches.
    async fn free(&self, only: Option<i64>) -> Result<u64, StoreError> {
        let (channel, mut lost) = (self.channel, 0);
        while let Some(freed) =
            self.file.write("freeing jobs", 0, move |tx| owner::free(tx, channel, only)).await?
        {
            lost += freed;
        }
        Ok(lost)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        driver_rules::check(jobs)?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.file.has_room("pushing jobs")?;
        let channel = self.channel;
        let items: Vec<_> = jobs.iter().map(|job| push::PreparedJob::of(channel, job)).collect();
        let bytes = items.iter().map(push::PreparedJob::bytes).sum();
        self.file.write("pushing jobs", bytes, move |tx| push::push(tx, channel, &items)).await?
    }

    async fn join(&self) -> Result<Owner, StoreError> {
        let owner = Owner::random();
        let owner_call = self.owner_call(&owner, 0);
        self.file.write("joining", 0, move |tx| owner::join(tx, &owner_call)).await?;
        Ok(owner)
    }

    async fn record_limits(&self, limits: ChannelLimits) -> Result<(), StoreError> {
        // Every producer of a file reads the configuration, so only the count is needed.
        if limits.max_bytes.is_none() {
            return Ok(());
        }
        let channel = self.channel;
        self.file.write("counting bytes", 0, move |tx| job_bytes::begin(tx, channel)).await
    }

    async fn turn(&self, turn: Turn<'_>) -> Result<TurnReply, StoreError> {
        let settlements: Vec<_> = turn.settlements.iter().map(turn::PreparedSettlement::of).collect();
        let published = turn.publish.map_or(0, |summary| summary.as_str().len());
        let bytes = published + settlements.iter().map(turn::PreparedSettlement::bytes).sum::<usize>();
        let args = turn::TurnArgs {
            owner_call: self.owner_call(turn.owner, turn.seq),
            settlements,
            releases: turn.releases.to_vec(),
            want: turn.want,
            max_bytes: turn.max_bytes,
            overdue: turn.overdue,
            publish: turn.publish.cloned(),
            kept: limits_of(turn.settlements),
        };
        let (reply, leased) =
            self.file.write("taking a turn", bytes, move |tx| turn::turn(tx, &args)).await?;
        Ok(TurnReply { leased: leased.into_iter().map(RawRecord::leased).collect(), ..reply })
    }

    async fn claim(&self, owner: &Owner, claims: &[Claim]) -> Result<Vec<LimitDecision>, StoreError> {
        let (channel, name) = (self.channel, owner.as_str().to_owned());
        let with_stored_key = |claim: &Claim| Claim { key: keys::stored(channel, &claim.key), ..*claim };
        let claims: Vec<_> = claims.iter().map(with_stored_key).collect();
        self.file.write("claiming", 0, move |tx| limits::claim(tx, channel, &name, &claims)).await
    }

    async fn held(&self, owner: &Owner, seq: u64) -> Result<Vec<JobId>, StoreError> {
        let owner_call = self.owner_call(owner, seq);
        let held = self.file.write("asking what is held", 0, move |tx| {
            let bucket = owner::renew_lease(tx, &owner_call)?;
            owner::held(tx, bucket)
        });
        Ok(held.await?.into_iter().map(|id| JobId(id.cast_unsigned())).collect())
    }

    async fn fetch(&self, owner: &Owner, ids: &[JobId]) -> Result<Vec<Leased>, StoreError> {
        let (channel, name, ids) = (self.channel, owner.as_str().to_owned(), numbers(ids));
        let found = self.file.read("fetching records", move |tx| {
            let bucket = bucket::of_owner(tx, channel, &name)?;
            owner::fetch(tx, bucket, &ids)
        });
        Ok(found.await?.into_iter().map(RawRecord::leased).collect())
    }

    async fn take(&self, owner: &Owner, seq: u64, id: JobId) -> Result<Option<Leased>, StoreError> {
        let owner_call = self.owner_call(owner, seq);
        let id = id.0.cast_signed();
        let taken = self.file.write("taking a job", 0, move |tx| owner::take(tx, &owner_call, id)).await?;
        Ok(taken.map(RawRecord::leased))
    }

    async fn masters(&self) -> Result<Vec<OwnerView>, StoreError> {
        let (channel, boot) = (self.channel, self.boot.clone());
        self.file.read("listing masters", move |tx| owner::masters(tx, channel, &boot)).await
    }

    async fn leave(&self, owner: &Owner) -> Result<u64, StoreError> {
        let (channel, name) = (self.channel, owner.as_str().to_owned());
        let (bucket, held) =
            self.file.write("leaving", 0, move |tx| owner::leave(tx, channel, &name)).await?;
        self.free(Some(bucket)).await?;
        Ok(held.cast_unsigned())
    }

    async fn reap(&self, target: Reap<'_>) -> Result<u64, StoreError> {
        let channel = self.channel;
        match target {
            Reap::Owner(owner) => {
                let name = owner.as_str().to_owned();
                self.file.write("reaping", 0, move |tx| owner::expire(tx, channel, &name)).await?;
            }
            Reap::Expired => {
                let boot = self.boot.clone();
                self.file.write("reaping", 0, move |tx| owner::expire_overdue(tx, channel, &boot)).await?;
            }
        }
        self.free(None).await
    }

    async fn wait(&self, timeout: Duration) -> Result<(), StoreError> {
        let seen = self.seen.load(Ordering::Relaxed);
        let woken = self.file.woken(self.wakes.clone(), seen);
        if let Ok(wakes) = tokio::time::timeout(timeout, woken).await {
            self.seen.store(wakes, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn status(&self) -> Result<JobCounts, StoreError> {
        let channel = self.channel;
        self.file.read("counting jobs", move |tx| queries::status(tx, channel)).await
    }

    async fn look_at_alerts(&self, look: AlertLook<'_>) -> Result<AlertLooked, StoreError> {
        let (channel, boot, look) = (self.channel, self.boot.clone(), alerts::OwnedLook::of(look));
        self.file.write("looking at alerts", 0, move |tx| alerts::look(tx, channel, &boot, &look)).await
    }

    async fn alerts(&self) -> Result<AlertRecords, StoreError> {
        let channel = self.channel;
        self.file.read("reading alerts", move |tx| alerts::records(tx, channel)).await
    }

    async fn silence(&self, rule: &str, time: Option<(Duration, &str)>) -> Result<Timestamp, StoreError> {
        let (channel, rule) = (self.channel, rule.to_owned());
        let time = time.map(|(time, comment)| (time, comment.to_owned()));
        let silence = self.file.write("silencing a rule", 0, move |tx| {
            let time = time.as_ref().map(|(time, comment)| (*time, comment.as_str()));
            alerts::silence(tx, channel, &rule, time)
        });
        silence.await
    }

    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let (channel, id) = (self.channel, id.0.cast_signed());
        let seen = self.file.read("reading a job", move |tx| queries::get(tx, channel, id)).await?;
        Ok(seen.map(|(state, rank, raw)| raw.listed(state, rank)))
    }

    async fn output(&self, id: JobId) -> Result<Option<JobOutput>, StoreError> {
        let (channel, id) = (self.channel, id.0.cast_signed());
        let text = self.file.read("reading an output", move |tx| outputs::get(tx, channel, id)).await?;
        Ok(text.as_deref().and_then(driver_rules::stored_output))
    }

    async fn kept(&self, after: Option<Cursor>, limit: usize) -> Result<KeptPage, StoreError> {
        let channel = self.channel;
        self.file.read("listing kept jobs", move |tx| kept::page(tx, channel, after, limit)).await
    }

    async fn kept_job(&self, id: JobId) -> Result<Option<KeptView>, StoreError> {
        let (channel, id) = (self.channel, id.0.cast_signed());
        self.file.read("reading a kept job", move |tx| kept::get(tx, channel, id)).await
    }

    async fn trim_kept(&self) -> Result<KeptTrim, StoreError> {
        let channel = self.channel;
        // A channel without kept jobs costs no transaction that writes.
        if !self.file.read("looking for kept jobs", move |tx| kept::has_any(tx, channel)).await? {
            return Ok(KeptTrim::default());
        }
        self.file.write("removing kept jobs", 0, move |tx| kept::trim(tx, channel)).await
    }

    async fn holder(&self, key: &str) -> Result<Option<JobId>, StoreError> {
        let key = keys::stored(self.channel, key);
        let found = self.file.read("looking for a key", move |tx| keys::look_for_holder(tx, &key)).await?;
        Ok(found.map(|id| JobId(id.cast_unsigned())))
    }

    async fn list(&self, state: JobState, after: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        let channel = self.channel;
        let listing =
            self.file.read("listing jobs", move |tx| queries::list(tx, channel, state, after, limit));
        let (jobs, next) = listing.await?;
        Ok(Page { jobs: jobs.into_iter().map(|(state, rank, raw)| raw.listed(state, rank)).collect(), next })
    }

    async fn requeue(&self, jobs: &[(JobId, JobMeta)]) -> Result<u64, StoreError> {
        let (channel, mut moved) = (self.channel, 0);
        for jobs in jobs.chunks(MAX_BATCH) {
            let jobs = jobs.to_vec();
            let requeue =
                self.file.write("requeueing jobs", 0, move |tx| commands::requeue(tx, channel, &jobs));
            moved += requeue.await?;
        }
        Ok(moved)
    }

    async fn discard(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        let (channel, mut removed) = (self.channel, 0);
        for ids in ids.chunks(MAX_BATCH) {
            let ids = numbers(ids);
            let discard = self.file.write("removing jobs", 0, move |tx| commands::discard(tx, channel, &ids));
            removed += discard.await?;
        }
        Ok(removed)
    }

    async fn clear(&self, which: Clear) -> Result<Cleared, StoreError> {
        let channel = self.channel;
        let cleared = self.file.write("clearing", 0, move |tx| commands::clear(tx, channel, which)).await?;
        // The jobs are cleared already; this deletes their rows, and those that an interrupted clear left behind.
        while !self.file.write("clearing", 0, move |tx| commands::sweep(tx, channel)).await? {}
        Ok(cleared)
    }

    async fn finish_clear(&self) -> Result<(), StoreError> {
        let channel = self.channel;
        // The count of a clear under way is known already, so that both may delete its rows.
        while self.file.read("looking for cleared jobs", move |tx| commands::has_remnant(tx, channel)).await?
        {
            self.file.write("clearing", 0, move |tx| commands::sweep(tx, channel)).await?;
        }
        Ok(())
    }

    async fn pause(&self, time: Option<Duration>) -> Result<Option<Timestamp>, StoreError> {
        let channel = self.channel;
        self.file.write("pausing", 0, move |tx| commands::pause(tx, channel, time)).await
    }

    async fn resume(&self) -> Result<bool, StoreError> {
        let channel = self.channel;
        self.file.write("resuming", 0, move |tx| commands::resume(tx, channel)).await
    }

    async fn durability(&self) -> Result<String, StoreError> {
        Ok("fsync".to_owned())
    }

    fn identity(&self) -> Option<StoreIdentity> {
        Some(self.file.identity(&self.configured))
    }

    fn damage(&self) -> Option<String> {
        self.file.damage()
    }
}

fn numbers(ids: &[JobId]) -> Vec<i64> {
    ids.iter().map(|id| id.0.cast_signed()).collect()
}
