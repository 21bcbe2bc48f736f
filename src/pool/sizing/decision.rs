//! The number of workers a pool should have now, and why.
//!
//! [`decide`] is pure: it concludes a [`SizingDecision`] from a [`SizingInput`], which the decision carries. The autoscaler
//! remembers the part of the input that lies in the past.
//!
//! The rule: as many workers as run jobs, and as many more as clear the backlog within the wanted wait. The number rises at
//! once. It falls only to the most that was wanted at any moment of the last cool-down, so that a load that comes and goes
//! keeps its workers. Which workers stop is decided elsewhere, among the idle ones.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::config::plan::Scaling;

/// The facts behind a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SizingInput {
    /// Fewest workers, from the configuration or from `queue:scale`.
    pub min: usize,
    /// Most workers.
    pub max: usize,
    /// Jobs one worker runs at once.
    pub slots: usize,
    /// Workers that serve or are about to.
    pub serving: usize,
    /// Serving workers without a run.
    pub idle: usize,
    /// Jobs in workers.
    pub running: usize,
    /// Jobs that wait for a slot, in the store and leased.
    pub waiting: u64,
    /// Mean job duration in microseconds; `None` before the first job has ended.
    pub job_us: Option<u64>,
    /// Microseconds without the begin or end of a job while jobs wait and no worker is idle.
    pub stalled_us: u64,
    /// Most workers wanted at any moment of the cool-down.
    pub peak: usize,
    /// Bytes used by all workers together.
    pub memory: u64,
    /// The part of `memory` in workers that stop soon.
    pub memory_leaving: u64,
    /// Bytes one more worker is expected to use.
    pub memory_each: u64,
    /// Bytes all workers may use together; `None` for no limit.
    pub memory_limit: Option<u64>,
    /// Whether `min` is from `queue:scale`.
    pub by_hand: bool,
}

/// Why a decision asks for its number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizingReason {
    /// No more than the minimum are needed.
    Min,
    /// `queue:scale` set the minimum.
    #[serde(rename = "by_hand")]
    ManualMinimum,
    /// The backlog needs them.
    Backlog,
    /// All of them run jobs.
    Running,
    /// Fewer are needed, but not for long enough.
    CoolDown,
    /// More would be useful; the maximum is reached.
    Max,
    /// More would be useful; the memory limit is reached.
    Memory,
}

impl SizingReason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Min,
        Self::ManualMinimum,
        Self::Backlog,
        Self::Running,
        Self::CoolDown,
        Self::Max,
        Self::Memory,
    ];

    /// The word for metrics, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::ManualMinimum => "by_hand",
            Self::Backlog => "backlog",
            Self::Running => "running",
            Self::CoolDown => "cool_down",
            Self::Max => "max",
            Self::Memory => "memory",
        }
    }
}

/// How often decisions have changed the number of workers, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct SizingChanges {
    up: BTreeMap<SizingReason, u64>,
    down: BTreeMap<SizingReason, u64>,
}

impl SizingChanges {
    pub(crate) fn count(&mut self, is_up: bool, reason: SizingReason) {
        *if is_up { &mut self.up } else { &mut self.down }.entry(reason).or_default() += 1;
    }

    /// Whether nothing has changed it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How often it has risen.
    #[must_use]
    pub fn up(&self) -> u64 {
        self.up.values().sum()
    }

    /// How often it has fallen.
    #[must_use]
    pub fn down(&self) -> u64 {
        self.down.values().sum()
    }

    /// Every change: its direction, "up" or "down", its reason, and how often.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, SizingReason, u64)> {
        let of = |direction, changes: &BTreeMap<SizingReason, u64>| {
            changes.iter().map(move |(reason, number)| (direction, *reason, *number)).collect::<Vec<_>>()
        };
        of("up", &self.up).into_iter().chain(of("down", &self.down))
    }
}

/// The number of workers a pool should have, the reason, and the facts behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SizingDecision {
    /// The number of workers.
    pub workers: usize,
    /// The reason.
    pub why: SizingReason,
    /// The facts.
    pub load: SizingInput,
}

/// Number of workers this load could use now, without bounds.
pub(crate) fn wanted(load: &SizingInput, scaling: &Scaling) -> usize {
    let slots = load.slots.max(1);
    load.running.div_ceil(slots) + for_backlog(load, scaling)
}

/// Number of workers that clear the backlog in time, beside the busy ones.
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
    // No boot for work that the present workers finish before another has booted. When no job begins or ends, the mean
    // duration of short jobs says nothing about the long ones that block the slots.
    let soon = target / 10.0;
    let moves = load.stalled_us as f64 / 1e6 <= soon;
    if load.serving > 0 && moves && work / load.serving as f64 <= soon {
        return 0;
    }
    (((work / target).ceil() as usize).max(1)).min(most)
}

/// The rule. `scaling` is the configured part of it.
pub(crate) fn decide(load: SizingInput, scaling: &Scaling) -> SizingDecision {
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

/// Number of workers that fit into the memory limit: at least 1, so that jobs run at all.
fn fit_in_memory(load: &SizingInput) -> usize {
    let Some(limit) = load.memory_limit else { return usize::MAX };
    let each = load.memory_each.max(1);
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    // Memory of workers that stop soon makes no other worker stop, and makes room for a new one only once it is free.
    let staying = load.memory.saturating_sub(load.memory_leaving);
    let fit = if staying > limit {
        load.serving.saturating_sub(count((staying - limit).div_ceil(each)))
    } else {
        load.serving.saturating_add(count(limit.saturating_sub(load.memory) / each))
    };
    fit.max(1)
}

impl SizingDecision {
    /// The reason for the start of a worker by this decision.
    pub(crate) fn reason(&self) -> String {
        let SizingInput { waiting, job_us, running, .. } = self.load;
        match (self.why, job_us) {
            (SizingReason::Min, _) => "min".to_owned(),
            (SizingReason::ManualMinimum, _) => "by hand".to_owned(),
            // The worker replaces one that ended, because the peak may soon come back.
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

/// The reason with its numbers: "backlog 9,800, 50 ms a job".
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
pub(crate) fn grouped(number: u64) -> String {
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

/// A duration in a readable unit: `50 ms`, `1.5 s`.
pub(crate) fn shown(duration: Duration) -> String {
    match duration.as_millis() {
        0 => format!("{} µs", duration.as_micros()),
        ms @ 1..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}
