//! The turn as one script call.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::call::Call;
use super::foreign::{log_removed, names};
use super::kept;
use super::reply::{count, fields, id, int, jobs, list};
use super::scripts::Script;
use super::{RedisStore, micros};
use crate::job::{FailReason, JobId, JobMeta, MAX_DELAY, Timestamp};
use crate::store::driver_rules::{meta_text, output_text};
use crate::store::kept::limits_of;
use crate::store::{
    Destination, KeyRelease, LowerPriorities, MAX_BATCH, MAX_BATCH_BYTES, OutputChange, SettleConflict,
    Settlement, StoreError, Summary, Turn, TurnReply,
};

/// Largest byte bound that Lua represents exactly; in effect no bound.
const MAX_LUA_INTEGER: usize = 1 << 52;

const DOING: &str = "taking a turn";

impl RedisStore {
    pub(super) async fn take_turn(&self, turn: Turn<'_>) -> Result<TurnReply, StoreError> {
        let mut keys = vec![self.keys.reserved(turn.owner)];
        let kept = limits_of(turn.settlements);
        if kept.is_some() || turn.settlements.iter().any(|settlement| settlement.output != OutputChange::Keep)
        {
            keys.push(self.keys.outputs());
        }
        if kept.is_some() {
            keys.extend(self.keys.kept());
        }
        let (once, again) = split(turn.settlements);
        let fill = |call: &mut Call<'_>, publishes: bool| {
            self.fill_turn(call, &turn, &once, turn.publish.filter(|_| publishes));
        };
        let began = Instant::now();
        let (mut reply, (foreign, bytes, (removed, first))) = match turn.publish {
            Some(_) => self.call_with_summaries(Script::Turn, DOING, keys, fill, read).await?,
            None => {
                let mut call = self.call(Script::Turn, DOING, &keys).await?;
                fill(&mut call, false);
                call.read(read).await?
            }
        };
        self.observe_clock(reply.now, began);
        log_removed(removed, &first);
        reply.held = reply.held.saturating_sub(self.try_quarantine(turn.owner, &foreign).await);
        if let Some(average) = bytes.checked_div(reply.leased.len()) {
            self.record_bytes.store(average, Ordering::Relaxed);
        }
        let answered = repeated(&once, &again, &reply.conflicts);
        reply.conflicts.extend(answered);
        Ok(reply)
    }

    /// Adds the arguments of a turn to its call.
    fn fill_turn(
        &self,
        call: &mut Call<'_>,
        turn: &Turn<'_>,
        once: &[&Settlement],
        publish: Option<&Summary>,
    ) {
        call.arg(turn.owner.as_str()).arg(turn.seq).arg(micros(self.lease));
        call.arg(turn.want.min(MAX_BATCH)).arg(turn.max_bytes.min(MAX_LUA_INTEGER));
        call.arg(first_step(self.record_bytes.load(Ordering::Relaxed)));
        call.arg(overdue_argument(turn.overdue));
        settle(call, once);
        for free in turn.releases {
            let (kind, id, key) = match free {
                KeyRelease::Unique { id, key } => ("unique", id, key),
                KeyRelease::Lock { id, key } => ("lock", id, key),
            };
            call.arg(kind).arg(id.0).arg(key);
        }
        if let Some(limits) = limits_of(turn.settlements) {
            kept::fill(call, limits);
        }
        if let Some(summary) = publish {
            call.arg("publish").arg(summary.as_str()).arg("");
        }
    }
}

/// The script form of the lower priorities whose front job goes first.
fn overdue_argument(overdue: Option<LowerPriorities>) -> &'static str {
    match overdue {
        None => "",
        Some(LowerPriorities { normal: false, low: false }) => "none",
        Some(LowerPriorities { normal: true, low: false }) => "normal",
        Some(LowerPriorities { normal: false, low: true }) => "low",
        Some(LowerPriorities { normal: true, low: true }) => "low,normal",
    }
}

/// Splits off second settlements of the same job.
fn split(settlements: &[Settlement]) -> (Vec<&Settlement>, Vec<&Settlement>) {
    if settlements.len() < 2 {
        return (settlements.iter().collect(), Vec::new());
    }
    let mut seen = HashSet::with_capacity(settlements.len());
    settlements.iter().partition(|settlement| seen.insert(settlement.id))
}

/// The conflicts of second settlements, as if each had arrived in a later turn.
fn repeated(
    once: &[&Settlement],
    again: &[&Settlement],
    conflicts: &[(JobId, SettleConflict)],
) -> Vec<(JobId, SettleConflict)> {
    let answer = |second: &&Settlement| {
        let refused = conflicts.iter().find(|(id, _)| *id == second.id).map(|(_, exception)| *exception);
        let done = once.iter().any(|first| first.id == second.id && first.to.is_done());
        let applied = if done { SettleConflict::Cleared } else { SettleConflict::Stale };
        (second.id, refused.unwrap_or(applied))
    };
    again.iter().map(answer).collect()
}

fn settle(call: &mut Call<'_>, settlements: &[&Settlement]) {
    let is_plain =
        |s: &&&Settlement| s.to == Destination::Done && s.unique.is_none() && s.output == OutputChange::Keep;
    let done = settlements.iter().filter(is_plain).count();
    call.arg(done).arg(settlements.len() - done);
    for settlement in settlements.iter().filter(is_plain) {
        call.arg(settlement.id.0);
    }
    for settlement in settlements.iter().filter(|s| !is_plain(s)) {
        let (kind, delay, meta) = written(&settlement.to);
        let unique = settlement.unique.as_deref().unwrap_or("");
        call.arg(kind).arg(settlement.id.0).arg(unique).arg(delay);
        call.arg(meta.map(super::priority).unwrap_or_default());
        match &settlement.to {
            Destination::Kept(job) => call.arg(job.text()),
            _ => call.arg(meta.map(meta_text).unwrap_or_default()),
        };
        match &settlement.output {
            OutputChange::Keep => call.arg(""),
            OutputChange::Drop => call.arg("-"),
            OutputChange::Set(output) => call.arg(output_text(output)),
        };
    }
}

/// The script form of a destination: kind, delay in µs, new meta.
fn written(place: &Destination) -> (&'static str, u64, Option<&JobMeta>) {
    match place {
        Destination::Done => ("done", 0, None),
        Destination::Kept(_) => ("kept", 0, None),
        Destination::Front(meta) => ("front", 0, Some(meta)),
        Destination::Back(meta) => ("back", 0, Some(meta)),
        Destination::Delayed(delay, meta) => ("delayed", micros((*delay).min(MAX_DELAY)), Some(meta)),
        Destination::Failed(meta) if meta.failed == Some(FailReason::Malformed) => ("found", 0, Some(meta)),
        Destination::Failed(meta) => ("failed", 0, Some(meta)),
    }
}

/// Number of records to read first, so that about 4 MiB are read if they are as large as the last ones.
fn first_step(record_bytes: usize) -> usize {
    (MAX_BATCH_BYTES / record_bytes.max(1)).clamp(16, MAX_BATCH)
}

/// The parts of a reply beside the parsed one: the foreign entries that were leased, the bytes of all records, and how many ids
/// without a record were removed, with the first ones.
type ReplyRest = (Vec<Vec<u8>>, usize, (u64, Vec<Vec<u8>>));

fn read(reply: Value) -> Option<(TurnReply, ReplyRest)> {
    let [conflicts, ids, records, next_due, held, waiting, now, lower, removed, first] = fields(reply)?;
    let lower = int(lower)?;
    let bytes = records.as_sequence()?.iter().map(bytes_of).sum();
    let conflicts = list(conflicts)?
        .chunks_exact(2)
        .map(|pair| {
            let exception =
                if pair[1] == Value::Int(0) { SettleConflict::Cleared } else { SettleConflict::Stale };
            Some((id(&pair[0])?, exception))
        })
        .collect::<Option<_>>()?;
    let (leased, foreign) = jobs(ids, records)?;
    let reply = TurnReply {
        conflicts,
        leased,
        next_due: u64::try_from(int(next_due)?).ok().map(Duration::from_micros),
        held: count(held)?,
        waiting: count(waiting)?,
        lower_waiting: LowerPriorities { normal: lower & 1 != 0, low: lower & 2 != 0 },
        now: Timestamp(count(now)?),
    };
    Some((reply, (foreign, bytes, (count(removed)?, names(first)?))))
}

fn bytes_of(record: &Value) -> usize {
    match record {
        Value::BulkString(bytes) => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settlement(id: u64, to: Destination) -> Settlement {
        Settlement { id: JobId(id), unique: None, to, output: OutputChange::Keep }
    }

    #[test]
    fn double_settlement_in_batch_is_sequential() {
        let back = || Destination::Back(JobMeta::named("a"));
        let all = [
            settlement(1, Destination::Done),
            settlement(1, back()),
            settlement(2, back()),
            settlement(2, Destination::Done),
            settlement(3, Destination::Done),
            settlement(3, Destination::Done),
        ];
        let (once, again) = split(&all);
        assert_eq!((once.len(), again.len()), (3, 3));
        let answers = repeated(&once, &again, &[(JobId(3), SettleConflict::Stale)]);
        let expected = [
            (JobId(1), SettleConflict::Cleared),
            (JobId(2), SettleConflict::Stale),
            (JobId(3), SettleConflict::Stale),
        ];
        assert_eq!(answers, expected);
    }

    #[test]
    fn malformed_record_is_kept_as_found() {
        let meta = JobMeta::malformed(Timestamp(1), "why");
        assert_eq!(written(&Destination::Failed(meta)).0, "found");
        assert_eq!(written(&Destination::Failed(JobMeta::named("a"))).0, "failed");
        let long = Destination::Delayed(Duration::MAX, JobMeta::named("a"));
        assert_eq!(written(&long).1, micros(MAX_DELAY));
    }

    #[test]
    fn first_step_reads_about_four_mebibytes() {
        assert_eq!(first_step(0), MAX_BATCH);
        assert_eq!(first_step(150), MAX_BATCH);
        assert_eq!(first_step(64 << 10), 64);
        assert_eq!(first_step(1 << 20), 16);
    }

    #[test]
    fn malformed_turn_reply_is_an_error() {
        assert_eq!(read(Value::Nil), None);
        assert_eq!(read(Value::Array(vec![Value::Int(1); 8])), None);
    }
}
