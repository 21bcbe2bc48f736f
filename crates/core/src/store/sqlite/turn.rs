//! A turn of an owner in one transaction: settle, release, promote, lease.

use std::time::Duration;

use super::bucket::{self, Channel};
use super::error::SqliteError;
use super::owner::{self, OwnerCall};
use super::rank::{self, Fronts, WaitingEnds};
use super::record::{self, RawRecord};
use super::transaction::Tx;
use super::{kept, keys, limits, outputs};
use crate::job::{FailReason, JobId, MAX_DELAY, Priority, Timestamp};
use crate::store::driver_rules::{CLOCK_STEP, meta_text, output_text};
use crate::store::{
    Destination, KeptLimits, KeyRelease, LowerPriorities, MAX_BATCH, OutputChange, SettleConflict,
    Settlement, Summary, TurnReply,
};

/// A settlement as row values.
pub(super) struct PreparedSettlement {
    id: i64,
    to: Target,
    /// The new meta, or the text of a kept job; empty when nothing is left.
    meta: String,
    priority: Priority,
    output: Output,
}

/// The change of the stored output of a job, as row values.
enum Output {
    Keep,
    Remove,
    Set(String),
}

#[derive(Clone, Copy)]
enum Target {
    Done,
    Kept,
    Front,
    Back,
    Delayed(Duration),
    Failed,
    /// To failed, keeping the original text of an unreadable record.
    FailedUnparsed,
}

impl PreparedSettlement {
    pub(super) fn of(settlement: &Settlement) -> Self {
        let (to, meta) = match &settlement.to {
            Destination::Done => (Target::Done, None),
            Destination::Kept(_) => (Target::Kept, None),
            Destination::Front(meta) => (Target::Front, Some(meta)),
            Destination::Back(meta) => (Target::Back, Some(meta)),
            Destination::Delayed(delay, meta) => (Target::Delayed(*delay), Some(meta)),
            Destination::Failed(meta) if meta.failed == Some(FailReason::Malformed) => {
                (Target::FailedUnparsed, Some(meta))
            }
            Destination::Failed(meta) => (Target::Failed, Some(meta)),
        };
        Self {
            id: settlement.id.0.cast_signed(),
            to,
            meta: match &settlement.to {
                Destination::Kept(job) => job.text().to_owned(),
                _ => meta.map(meta_text).unwrap_or_default(),
            },
            priority: meta.map(|meta| meta.priority).unwrap_or_default(),
            output: match &settlement.output {
                OutputChange::Keep => Output::Keep,
                OutputChange::Drop => Output::Remove,
                OutputChange::Set(output) => Output::Set(output_text(output)),
            },
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.meta.len() + if let Output::Set(text) = &self.output { text.len() } else { 0 }
    }
}

/// The arguments of a turn.
pub(super) struct TurnArgs {
    pub(super) owner_call: OwnerCall,
    pub(super) settlements: Vec<PreparedSettlement>,
    pub(super) releases: Vec<KeyRelease>,
    pub(super) want: usize,
    pub(super) max_bytes: usize,
    pub(super) overdue: Option<LowerPriorities>,
    pub(super) publish: Option<Summary>,
    /// The limits of kept jobs, if a job is kept.
    pub(super) kept: Option<KeptLimits>,
}

/// Makes a turn; the leased jobs are beside the reply, because the caller parses them.
pub(super) fn turn(tx: &Tx<'_>, args: &TurnArgs) -> Result<(TurnReply, Vec<RawRecord>), SqliteError> {
    let own = owner::renew_lease(tx, &args.owner_call)?;
    record_clock(tx)?;
    if let Some(summary) = &args.publish {
        owner::publish(tx, own, summary)?;
    }
    let channel = Channel::read(tx, args.owner_call.channel)?;
    let mut ends = WaitingEnds::of(channel.waiting);
    let settled = settle(tx, &channel, own, &args.settlements, &mut ends)?;
    if let (Some(added), Some(limits)) = (settled.kept, args.kept) {
        kept::limit(tx, channel.id, added, limits)?;
        kept::trim(tx, channel.id)?;
    }
    free(tx, &args.owner_call, &args.releases)?;
    let promoted = promote(tx, &channel, &mut ends)?;
    if channel.pause_is_over {
        tx.execute("UPDATE channels SET paused = 0 WHERE id = ?1", [channel.id])?;
    }
    let leased = if channel.pause.is_some() {
        Vec::new()
    } else {
        // A raised job that is not leased in this turn would stay behind those that later turns raise.
        for priority in args.overdue.unwrap_or_default().lowest_first().take(args.want) {
            raise_front(tx, &channel, &mut ends, priority)?;
        }
        lease(tx, &channel, own, args)?
    };

    let taken = leased.len() as i64;
    bucket::count(tx, own, taken - settled.gone)?;
    bucket::count(tx, channel.waiting, settled.waiting + promoted - taken)?;
    bucket::count(tx, channel.delayed, settled.delayed - promoted)?;
    bucket::count(tx, channel.failed, settled.failed)?;
    channel.count_done(tx, settled.done)?;
    if settled.waiting + promoted > taken {
        // Some new waiting jobs are left for other masters.
        tx.wake(channel.id)?;
    }
    let due = tx.number("SELECT min(rank) FROM jobs WHERE lane = ?1", [channel.delayed])?;
    let due = due.map(|due| Timestamp(due.cast_unsigned()));
    let changes = due.into_iter().chain(channel.pause.and_then(|pause| pause.until));
    let reply = TurnReply {
        conflicts: settled.conflicts,
        leased: Vec::new(),
        next_due: changes.min().map(|next| next.since(tx.now)),
        held: bucket::jobs(tx, own)?.cast_unsigned(),
        waiting: if channel.pause.is_some() { 0 } else { bucket::jobs(tx, channel.waiting)?.cast_unsigned() },
        lower_waiting: match args.overdue {
            Some(_) => lower_waiting(tx, &channel)?,
            None => LowerPriorities::default(),
        },
        now: tx.now,
    };
    Ok((reply, leased))
}

/// Records the highest time that the clock has shown, from which a status knows a step back.
fn record_clock(tx: &Tx<'_>) -> Result<(), SqliteError> {
    let highest = tx.number("SELECT clock FROM store", [])?.unwrap_or(0).cast_unsigned();
    if tx.now.0 >= highest.saturating_add(CLOCK_STEP) {
        tx.execute("UPDATE store SET clock = ?1", [tx.now.0.cast_signed()])?;
    }
    Ok(())
}

/// Changes of the job counts by the settlements of a turn.
#[derive(Default)]
struct Settled {
    conflicts: Vec<(JobId, SettleConflict)>,
    gone: i64,
    done: i64,
    /// The change of the number of kept jobs; `None` when no done job is kept.
    kept: Option<i64>,
    waiting: i64,
    delayed: i64,
    failed: i64,
}

fn settle(
    tx: &Tx<'_>,
    channel: &Channel,
    own: i64,
    settlements: &[PreparedSettlement],
    ends: &mut WaitingEnds,
) -> Result<Settled, SqliteError> {
    let mut settled = Settled::default();
    let fronts = settlements.iter().filter(|ready| matches!(ready.to, Target::Front));
    let mut fronts = Fronts::of(tx, ends, fronts.map(|ready| ready.priority))?;
    for PreparedSettlement { id, to, meta, priority, output } in settlements {
        let place = |bucket, rank| bucket::place(tx, *id, own, bucket, rank, *priority);
        let (held, count) = match to {
            Target::Done | Target::Kept => (bucket::delete(tx, *id, own)?, &mut settled.done),
            Target::Front => (place(channel.waiting, fronts.next(*priority))?, &mut settled.waiting),
            Target::Back => (place(channel.waiting, ends.back(tx, *priority)?)?, &mut settled.waiting),
            Target::Delayed(delay) => {
                let due = tx.now.after((*delay).min(MAX_DELAY)).0.cast_signed();
                (place(channel.delayed, due)?, &mut settled.delayed)
            }
            Target::Failed | Target::FailedUnparsed => {
                (bucket::fail(tx, *id, own, channel.failed)?, &mut settled.failed)
            }
        };
        if !held {
            settled.conflicts.push((JobId(id.cast_unsigned()), conflict(tx, channel, *id)?));
            continue;
        }
        *count += 1;
        settled.gone += 1;
        match output {
            Output::Keep => {}
            Output::Remove => outputs::remove(tx, *id)?,
            Output::Set(text) => outputs::set(tx, *id, text)?,
        }
        match to {
            Target::Done => {}
            Target::Kept => {
                let added = kept::add(tx, channel.id, *id, meta)?;
                settled.kept = Some(settled.kept.unwrap_or(0) + added);
            }
            Target::FailedUnparsed => record::set_aside(tx, *id, meta)?,
            Target::Front | Target::Back | Target::Delayed(_) | Target::Failed => {
                record::rewrite(tx, *id, meta)?
            }
        }
    }
    Ok(settled)
}

/// Releases keys and locks.
fn free(tx: &Tx<'_>, owner_call: &OwnerCall, releases: &[KeyRelease]) -> Result<(), SqliteError> {
    for free in releases {
        match free {
            KeyRelease::Unique { id, key } => {
                keys::free(tx, id.0.cast_signed(), &keys::stored(owner_call.channel, key))?;
            }
            KeyRelease::Lock { id, key } => {
                let key = keys::stored(owner_call.channel, key);
                limits::free(tx, &owner_call.name, id.0.cast_signed(), &key)?;
            }
        }
    }
    Ok(())
}

/// The reason why a settlement was not applied.
fn conflict(tx: &Tx<'_>, channel: &Channel, id: i64) -> Result<SettleConflict, SqliteError> {
    let elsewhere = tx.number(
        "SELECT 1 FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = ?1 AND l.channel = ?2 AND l.state <> 0",
        [id, channel.id],
    )?;
    Ok(if elsewhere.is_some() { SettleConflict::Stale } else { SettleConflict::Cleared })
}

/// Moves due delayed jobs to the back of waiting.
fn promote(tx: &Tx<'_>, channel: &Channel, ends: &mut WaitingEnds) -> Result<i64, SqliteError> {
    let mut due = tx
        .prepare("SELECT id, priority FROM jobs WHERE lane = ?1 AND rank <= ?2 ORDER BY rank, id LIMIT ?3")?;
    let params = [channel.delayed, tx.now.0.cast_signed(), MAX_BATCH as i64];
    let due = due.query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?;
    // Collected first: moving rows under a running query could return them twice.
    let due = due.collect::<Result<Vec<(i64, i64)>, _>>()?;
    for (id, priority) in &due {
        let rank = ends.back(tx, rank::priority(*priority))?;
        bucket::shift(tx, *id, channel.delayed, channel.waiting, rank)?;
    }
    Ok(due.len() as i64)
}

/// Moves the front job of a priority before all other waiting jobs.
fn raise_front(
    tx: &Tx<'_>,
    channel: &Channel,
    ends: &mut WaitingEnds,
    priority: Priority,
) -> Result<(), SqliteError> {
    let Some(id) = front(tx, channel, priority)? else { return Ok(()) };
    let rank = ends.fronts(tx, Priority::High, 1)?;
    bucket::shift(tx, id, channel.waiting, channel.waiting, rank)?;
    Ok(())
}

fn lower_waiting(tx: &Tx<'_>, channel: &Channel) -> Result<LowerPriorities, SqliteError> {
    Ok(LowerPriorities {
        normal: front(tx, channel, Priority::Normal)?.is_some(),
        low: front(tx, channel, Priority::Low)?.is_some(),
    })
}

/// The first waiting job of a priority.
fn front(tx: &Tx<'_>, channel: &Channel, priority: Priority) -> Result<Option<i64>, SqliteError> {
    let (first, last) = rank::band(priority);
    tx.number(
        "SELECT id FROM jobs WHERE lane = ?1 AND rank BETWEEN ?2 AND ?3 ORDER BY rank, id LIMIT 1",
        [channel.waiting, first, last],
    )
}

fn lease(tx: &Tx<'_>, channel: &Channel, own: i64, args: &TurnArgs) -> Result<Vec<RawRecord>, SqliteError> {
    let want = args.want.min(MAX_BATCH);
    let mut leased = Vec::with_capacity(want);
    if want == 0 {
        return Ok(leased);
    }
    let mut front = tx.prepare(
        "SELECT j.id, j.rank, r.meta, r.payload FROM jobs j LEFT JOIN records r ON r.id = j.id
         WHERE j.lane = ?1 ORDER BY j.rank, j.id LIMIT ?2",
    )?;
    let mut rows = front.query([channel.waiting, want as i64])?;
    let (mut bytes, mut last) = (0, (0, 0));
    while (leased.is_empty() || bytes < args.max_bytes)
        && let Some(row) = rows.next()?
    {
        let raw = RawRecord::read(row.get(0)?, row, 2)?;
        bytes += raw.payload_bytes();
        last = (row.get(1)?, raw.id);
        leased.push(raw);
    }
    drop(rows);
    if leased.is_empty() {
        return Ok(leased);
    }
    let taken = tx.execute(
        "UPDATE jobs SET lane = ?2, rank = 0 WHERE lane = ?1 AND (rank, id) <= (?3, ?4)",
        [channel.waiting, own, last.0, last.1],
    )?;
    if taken != leased.len() {
        return Err(SqliteError::Corrupt(
            "the order of waiting is damaged: check the file with `PRAGMA integrity_check`".into(),
        ));
    }
    Ok(leased)
}
