//! The store on a Redis server: many machines, one queue.
//!
//! Duties:
//! * every change is one script of `scripts/`, whose head documents keys, arguments, reply and order of steps;
//! * `errors.rs` classifies the server's errors by the caller's next step;
//! * every connect and every call has a deadline, a connection with an error is abandoned, no call is sent twice;
//! * two connections: one for calls, one for the blocking wait.
//!
//! The driver holds no policy: metas come from the caller. It requires Redis 6.2 or newer, or Valkey, with
//! `maxmemory-policy noeviction`. An ACL user with these rules can do everything; with `+info +config|get` the
//! driver also reads version, policy and durability:
//!
//! ```text
//! ~aint-queue:* ~aint-queue-fleet:* resetchannels -@all +select +evalsha +script|load +blpop +smembers +type +time +get +set
//! +exists +rename +hget +hset +hmget +hdel +hexists +hlen +hscan +hstrlen +hkeys +hincrby +lrange +lpush +rpush +ltrim
//! +llen +lpos +lrem +sadd +srem +scard +sismember +smismember +zadd +zrem +zscore +zcard +zcount +zrange
//! +zrangebyscore +zrevrange +zlexcount +zrandmember
//! ```
//!
//! All keys of a channel are named `aint-queue:{channel}:…`, behind the prefix of the configuration, if any, which the
//! pattern of the ACL user needs as well; `scripts/lib/channel_keys.lua` lists them. The summaries of masters are under
//! `aint-queue-fleet:{channel}:summaries`, because producers may write all keys of the other pattern.

mod alerts;
mod call;
mod clear;
mod connection;
mod errors;
mod foreign;
mod kept;
mod keys;
mod limits;
mod listing;
mod owner;
mod push;
mod reply;
mod scripts;
mod server;
mod summaries;
mod turn;
mod wait;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use self::connection::{Connector, ServerAddress};
use self::keys::Keys;
use self::reply::{Entries, count, entries, int};
use self::scripts::Script;
use self::summaries::SummaryAccess;
use self::wait::WorkWaiter;
use super::{
    AlertLook, AlertLooked, AlertRecords, ChannelLimits, Claim, Clear, Cleared, ClockStep, ClockWatch,
    Cursor, JobCounts, JobState, JobView, KeptPage, KeptTrim, KeptView, LEASE, Leased, LimitDecision, Owner,
    OwnerView, Page, PushError, Pushed, Reap, Store, StoreError, StoreIdentity, Turn, TurnReply,
};
use crate::config;
use crate::durations::micros;
use crate::job::{JobId, JobMeta, JobOutput, MAX_DELAY, NewJob, Priority, Timestamp};
use crate::mutex::lock;

/// A channel on a Redis server.
#[derive(Debug)]
pub struct RedisStore {
    keys: Keys,
    calls: Connector,
    waiter: WorkWaiter,
    lease: Duration,
    reap_delay: Duration,
    /// Recently known owners, for scripts that need all of them. The scripts verify the list.
    owners: Mutex<Vec<Owner>>,
    /// The server's clock, and when it last went forward.
    clock: Mutex<ServerClock>,
    summary_access: SummaryAccess,
    /// The fronts of renamed lists and zsets at the last look for interrupted clears.
    clear_fronts: Mutex<BTreeMap<String, Vec<String>>>,
    /// Average size of the records leased last, an estimate for the next ones.
    record_bytes: AtomicUsize,
}

/// The server's clock as calls of this handle have seen it.
#[derive(Debug, Default)]
struct ServerClock {
    watch: ClockWatch,
    /// When a step forward was noticed.
    forward_at: Option<Instant>,
}

/// Estimated record size before the first lease.
const INITIAL_RECORD_BYTES: usize = 64 << 10;

/// Options beside the server's address.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Life of an owner after its last call.
    pub lease: Duration,
    /// Uptime of connection and server before [`Reap::Expired`] trusts expired leases; a third of a lease when `None`.
    pub reap_delay: Option<Duration>,
    /// Whether the server supports script flags, as Redis 7 and Valkey do; derived from its version when `None`.
    pub script_flags: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        Self { lease: LEASE, reap_delay: None, script_flags: None }
    }
}

impl RedisStore {
    /// Connects to a channel, with leases of 30 seconds.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server cannot be reached; [`StoreError::Refused`] for a wrong password, a
    /// missing permission, an old server, or an eviction policy that may drop jobs; [`StoreError::Corrupt`] for keys of
    /// another program or version.
    pub async fn connect(config: &config::Redis, channel: &str) -> Result<Self, StoreError> {
        Self::connect_with(config, channel, Options::default()).await
    }

    /// Connects to a channel with options.
    ///
    /// # Errors
    /// See [`RedisStore::connect`].
    pub async fn connect_with(
        config: &config::Redis,
        channel: &str,
        options: Options,
    ) -> Result<Self, StoreError> {
        let target = Arc::new(ServerAddress::new(config, options.script_flags));
        let keys = Keys::of(&config.prefix, channel);
        let waiter = WorkWaiter::new(Arc::clone(&target), keys.notify());
        let store = Self {
            keys,
            calls: Connector::new(target),
            waiter,
            lease: options.lease,
            reap_delay: options.reap_delay.unwrap_or(options.lease / 3),
            owners: Mutex::default(),
            clock: Mutex::default(),
            summary_access: SummaryAccess::default(),
            clear_fronts: Mutex::default(),
            record_bytes: AtomicUsize::new(INITIAL_RECORD_BYTES),
        };
        store.check_server(config.allow_eviction).await?;
        Ok(store)
    }

    /// The server for messages, without credentials.
    fn place(&self) -> &str {
        &self.calls.target.place
    }

    /// Records the server's clock from a call that began at `began`.
    fn observe_clock(&self, time: Timestamp, began: Instant) {
        let now = Instant::now();
        let mut clock = lock(&self.clock);
        if let Some(ClockStep::Forward(_)) = clock.watch.observe(time, began, now) {
            clock.forward_at = Some(now);
        }
    }

    /// Whether the server's clock went forward less than `time` ago: leases of living masters then look expired.
    fn went_forward_within(&self, time: Duration) -> bool {
        lock(&self.clock).forward_at.is_some_and(|at| at.elapsed() < time)
    }

    fn known_owners(&self) -> Vec<Owner> {
        lock(&self.owners).clone()
    }

    fn know_owners(&self, owners: Vec<Owner>) {
        *lock(&self.owners) = owners;
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        self.add(jobs).await
    }

    async fn join(&self) -> Result<Owner, StoreError> {
        let owner = Owner::random();
        let mut call = self.call(Script::Join, "joining", &[]).await?;
        call.arg(owner.as_str()).arg(micros(self.lease));
        call.read(int).await?;
        Ok(owner)
    }

    async fn record_limits(&self, limits: ChannelLimits) -> Result<(), StoreError> {
        let keys = [self.keys.outputs()];
        let mut call = self.call(Script::RecordLimits, "recording the limits of the channel", &keys).await?;
        for limit in [limits.max_waiting, limits.max_bytes] {
            call.arg(limit.map_or_else(String::new, |limit| limit.to_string()));
        }
        call.read(int).await?;
        Ok(())
    }

    async fn turn(&self, turn: Turn<'_>) -> Result<TurnReply, StoreError> {
        self.take_turn(turn).await
    }

    async fn claim(&self, owner: &Owner, claims: &[Claim]) -> Result<Vec<LimitDecision>, StoreError> {
        self.claims(owner, claims).await
    }

    async fn held(&self, owner: &Owner, seq: u64) -> Result<Vec<JobId>, StoreError> {
        let mut call = self.call(Script::Held, "asking for held jobs", &[self.keys.reserved(owner)]).await?;
        call.arg(owner.as_str()).arg(seq).arg(micros(self.lease));
        let Entries { ids, foreign } = call.read(entries).await?;
        self.try_quarantine(owner, &foreign).await;
        Ok(ids)
    }

    async fn fetch(&self, owner: &Owner, ids: &[JobId]) -> Result<Vec<Leased>, StoreError> {
        self.records(owner, ids).await
    }

    async fn take(&self, owner: &Owner, seq: u64, id: JobId) -> Result<Option<Leased>, StoreError> {
        self.lease_one(owner, seq, id).await
    }

    async fn masters(&self) -> Result<Vec<OwnerView>, StoreError> {
        self.published().await
    }

    async fn leave(&self, owner: &Owner) -> Result<u64, StoreError> {
        self.end_and_give_back(owner, "leave").await
    }

    async fn reap(&self, target: Reap<'_>) -> Result<u64, StoreError> {
        match target {
            Reap::Owner(owner) => self.end_and_give_back(owner, "force").await,
            Reap::Expired if !self.can_trust_leases().await? => Ok(0),
            Reap::Expired => {
                let mut freed = 0;
                for owner in self.expired().await? {
                    freed += self.end_and_give_back(&owner, "expired").await?;
                }
                Ok(freed)
            }
        }
    }

    async fn wait(&self, timeout: Duration) -> Result<(), StoreError> {
        self.waiter.wait(timeout).await
    }

    async fn status(&self) -> Result<JobCounts, StoreError> {
        self.counts().await
    }

    async fn look_at_alerts(&self, look: AlertLook<'_>) -> Result<AlertLooked, StoreError> {
        self.looked_at_alerts(look).await
    }

    async fn alerts(&self) -> Result<AlertRecords, StoreError> {
        self.alert_records().await
    }

    async fn silence(&self, rule: &str, time: Option<(Duration, &str)>) -> Result<Timestamp, StoreError> {
        self.silenced(rule, time).await
    }

    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        Ok(self.find_many(&[id]).await?.pop())
    }

    async fn output(&self, id: JobId) -> Result<Option<JobOutput>, StoreError> {
        self.stored_output_of(id).await
    }

    async fn kept(&self, after: Option<Cursor>, limit: usize) -> Result<KeptPage, StoreError> {
        self.page_of_kept(after, limit).await
    }

    async fn kept_job(&self, id: JobId) -> Result<Option<KeptView>, StoreError> {
        self.one_kept(id).await
    }

    async fn trim_kept(&self) -> Result<KeptTrim, StoreError> {
        self.remove_surplus_kept().await
    }

    async fn holder(&self, key: &str) -> Result<Option<JobId>, StoreError> {
        self.holder_of(key).await
    }

    async fn list(&self, state: JobState, after: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.page(state, after, limit).await
    }

    async fn requeue(&self, jobs: &[(JobId, JobMeta)]) -> Result<u64, StoreError> {
        self.requeue_failed(jobs).await
    }

    async fn discard(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        self.remove(ids).await
    }

    async fn clear(&self, which: Clear) -> Result<Cleared, StoreError> {
        self.empty(which).await
    }

    async fn finish_clear(&self) -> Result<(), StoreError> {
        self.finish_clears().await
    }

    async fn pause(&self, time: Option<Duration>) -> Result<Option<Timestamp>, StoreError> {
        let mut call = self.call(Script::Pause, "pausing", &[]).await?;
        call.arg("pause").arg(time.map_or_else(String::new, |time| micros(time.min(MAX_DELAY)).to_string()));
        let until = call.read(count).await?;
        Ok((until > 0).then_some(Timestamp(until)))
    }

    async fn resume(&self) -> Result<bool, StoreError> {
        let mut call = self.call(Script::Pause, "resuming", &[]).await?;
        call.arg("resume").arg("");
        Ok(call.read(int).await? == 1)
    }

    async fn unlisted(&self) -> Result<u64, StoreError> {
        self.unlisted_records().await
    }

    async fn durability(&self) -> Result<String, StoreError> {
        self.durability_in_force().await
    }

    fn identity(&self) -> Option<StoreIdentity> {
        Some(self.calls.identity())
    }
}

/// The script form of a job's priority.
fn priority(meta: &JobMeta) -> &'static str {
    match meta.priority {
        Priority::Normal => "",
        other => other.as_str(),
    }
}
