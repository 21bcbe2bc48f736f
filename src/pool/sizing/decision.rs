//! How many workers there should be now, and why.
//!
//! [`decide`] is pure: what it knows is a [`SizingInput`], what it says a [`SizingDecision`] that carries it. What the rule needs of
//! the past is remembered in `scaler`.
//!
//! The rule: as many as run jobs, and as many more as clear the backlog within the wanted wait. That goes up at once. It
//! goes down only to the most that was wanted at any moment of the last cool-down, so that a load that comes and goes
//! keeps its workers. Who goes is decided elsewhere, among those that are idle.

use std::fmt;
use std::time::Duration;

use crate::pool::plan::Scaling;

/// What is known when a decision is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SizingInput {
    /// Fewest workers, by configuration or by hand.
    pub min: usize,
    /// Most workers.
    pub max: usize,
    /// Jobs one worker runs at once.
    pub slots: usize,
    /// Workers that serve or are about to.
    pub serving: usize,
    /// Those of them with nothing to do.
    pub idle: usize,
    /// Jobs aboard workers.
    pub running: usize,
    /// Jobs that wait for a slot, in the store and leased.
    pub waiting: u64,
    /// How long a job takes, in microseconds; `None` before the first has ended.
    pub job_us: Option<u64>,
    /// For how long, in microseconds, no job has begun or ended although jobs wait and no worker is idle.
    pub stalled_us: u64,
    /// Most workers that were wanted at any moment of the cool-down.
    pub peak: usize,
    /// Bytes that all workers use together.
    pub memory: u64,
    /// Those of them that are in workers which are on their way out, and will be free soon.
    pub memory_leaving: u64,
    /// Bytes that one more worker is expected to use.
    pub memory_each: u64,
    /// Bytes they may use together; `None` for no limit.
    pub memory_limit: Option<u64>,
    /// Whether the fewest were ordered by hand.
    pub by_hand: bool,
}

/// Why there should be so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizingReason {
    /// No more are needed than the fewest.
    Min,
    /// Somebody ordered at least so many.
    #[serde(rename = "by_hand")]
    ManualMinimum,
    /// The backlog needs them.
    Backlog,
    /// All of them run jobs.
    Running,
    /// Fewer are needed, but not for long enough.
    CoolDown,
    /// More would be useful, and the configuration allows no more.
    Max,
    /// More would be useful, and would use too much memory.
    Memory,
}

/// How many workers there should be, why, and what that was concluded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SizingDecision {
    /// How many.
    pub workers: usize,
    /// Why.
    pub why: SizingReason,
    /// What was known.
    pub load: SizingInput,
}

/// How many workers this load could use now, whatever the bounds.
pub(in crate::engine::pool) fn wanted(load: &SizingInput, scaling: &Scaling) -> usize {
    let slots = load.slots.max(1);
    load.running.div_ceil(slots) + for_backlog(load, scaling)
}

/// How many workers clear the backlog in time, beside those that are busy.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, bounded by the number of jobs"
)]
fn for_backlog(load: &SizingInput, scaling: &Scaling) -> usize {
    let most = usize::try_from(load.waiting).unwrap_or(usize::MAX).div_ceil(load.slots.max(1));
    let Some(job_us) = load.job_us else {
        return most
            .min(usize::try_from(load.waiting.div_ceil(scaling.capacity.max(1))).unwrap_or(usize::MAX));
    };
    let work = load.waiting as f64 * (job_us as f64 / 1e6) / load.slots.max(1) as f64;
    let target = scaling.target_wait.as_secs_f64().max(0.001);
    // What those that are there have done by the time another has booted is no reason to boot one, unless they do not
    // get to it: the pace of the short jobs says nothing about those that they wait for.
    let soon = target / 10.0;
    let moves = load.stalled_us as f64 / 1e6 <= soon;
    if load.serving > 0 && moves && work / load.serving as f64 <= soon {
        return 0;
    }
    (((work / target).ceil() as usize).max(1)).min(most)
}

/// The rule. `scaling` holds what does not change from one decision to the next.
pub(in crate::engine::pool) fn decide(load: SizingInput, scaling: &Scaling) -> SizingDecision {
    let answer = |workers, why| SizingDecision { workers, why, load };
    let min = load.min.min(load.max);
    let floor = || answer(min, if load.by_hand { SizingReason::ManualMinimum } else { SizingReason::Min });
    let now = wanted(&load, scaling);
    let decision = if !scaling.dynamic || now.max(load.peak) <= min {
        floor()
    } else if now > load.max {
        answer(load.max, SizingReason::Max)
    } else if now >= load.peak {
        answer(
            now,
            if for_backlog(&load, scaling) > 0 { SizingReason::Backlog } else { SizingReason::Running },
        )
    } else {
        answer(load.peak.min(load.max), SizingReason::CoolDown)
    };
    let most = fit_in_memory(&load);
    if decision.workers > most { answer(most, SizingReason::Memory) } else { decision }
}

/// How many workers fit into the memory they may use together. One always does: nothing would run without.
fn fit_in_memory(load: &SizingInput) -> usize {
    let Some(limit) = load.memory_limit else { return usize::MAX };
    let each = load.memory_each.max(1);
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    // Nobody more has to go for what is about to be free, and nobody comes for it before it is.
    let staying = load.memory.saturating_sub(load.memory_leaving);
    let fit = if staying > limit {
        load.serving.saturating_sub(count((staying - limit).div_ceil(each)))
    } else {
        load.serving.saturating_add(count(limit.saturating_sub(load.memory) / each))
    };
    fit.max(1)
}

impl SizingDecision {
    /// Why a worker is started that this decision asks for.
    pub(in crate::engine::pool) fn reason(&self) -> String {
        let SizingInput { waiting, job_us, running, .. } = self.load;
        match (self.why, job_us) {
            (SizingReason::Min, _) => "min".to_owned(),
            (SizingReason::ManualMinimum, _) => "by hand".to_owned(),
            // In place of one that has gone, while so many may soon be wanted again.
            (SizingReason::CoolDown, _) => "cool-down".to_owned(),
            (why, _) if why == SizingReason::Running || waiting == 0 => {
                format!("{} running", grouped(running as u64))
            }
            (_, None) => format!("backlog {}", grouped(waiting)),
            (_, Some(us)) => {
                format!("backlog {}, {} a job", grouped(waiting), shown(Duration::from_micros(us)))
            }
        }
    }
}

/// The decision in a few words: "backlog 9,800, 50 ms a job".
impl fmt::Display for SizingDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| grouped(bytes >> 20);
        match self.why {
            SizingReason::Max => write!(f, "max, {}", self.reason()),
            SizingReason::CoolDown => write!(f, "cool-down, {} were wanted", self.load.peak),
            SizingReason::Memory => write!(
                f,
                "pool_memory_limit, {} MiB of {} MiB in use",
                mib(self.load.memory),
                mib(self.load.memory_limit.unwrap_or_default())
            ),
            SizingReason::Min
            | SizingReason::ManualMinimum
            | SizingReason::Backlog
            | SizingReason::Running => f.write_str(&self.reason()),
        }
    }
}

/// `9,800`.
pub(in crate::engine::pool) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A duration as people say it: `50 ms`, `1.5 s`.
pub(in crate::engine::pool) fn shown(duration: Duration) -> String {
    match duration.as_millis() {
        0 => format!("{} µs", duration.as_micros()),
        ms @ 1..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}
