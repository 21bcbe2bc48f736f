//! Samples the master's own memory and decides when it re-execs: after several samples above `memory_limit`.
//!
//! A limit below the need of a fresh master must not cause a loop of re-execs: a re-executed master that was never below
//! the limit only warns, and the pause between two re-execs doubles.

use std::time::Duration;

use tokio::time::Instant;

/// Time between two samples.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Consecutive samples above the limit that trigger a re-exec; fewer are a spike.
const SAMPLES_OVER_LIMIT: u32 = 5;
/// Time a process needs to reach its usual size.
const WARM_UP: Duration = Duration::from_secs(10);
/// First and longest pause between two re-execs; the pause doubles with each. A process that lived for the longest pause
/// resets the count.
const REEXEC_PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// The consequence of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MemoryAction {
    /// No action.
    None,
    /// A warning in the log.
    Warn(&'static str),
    /// Drain and re-exec.
    Reexec,
}

/// The samples of one process and its place in a series of re-execs.
#[derive(Debug)]
pub(super) struct OwnMemory {
    limit: u64,
    /// Number of re-execs in quick succession before this process.
    reexec_count: u32,
    started: Instant,
    not_before: Instant,
    /// Number of re-execs that were given up for running jobs.
    given_way: u32,
    samples_over: u32,
    was_below_limit: bool,
    warned: bool,
}

impl OwnMemory {
    /// Starts at `now`. The limit is in MiB; `reexec_count` comes from the previous program of this process.
    pub(super) fn new(limit: u64, reexec_count: u32, now: Instant) -> Self {
        let pause = if reexec_count == 0 { Duration::ZERO } else { pause_after(reexec_count) };
        Self {
            limit: limit << 20,
            reexec_count,
            started: now,
            not_before: now + pause,
            given_way: 0,
            samples_over: 0,
            was_below_limit: false,
            warned: false,
        }
    }

    /// Whether the allocator is to return freed memory to the system before this sample is recorded: what a load has left there is no
    /// reason for a re-exec. Once per series of samples, because it costs time.
    pub(super) fn needs_trim(&self, used: u64) -> bool {
        used > self.limit && (self.samples_over + 1).is_multiple_of(SAMPLES_OVER_LIMIT)
    }

    /// Whether a sample is so far above the limit that jobs which do not end are interrupted for a re-exec.
    pub(super) fn is_far_above(&self, used: u64) -> bool {
        used > self.limit.saturating_mul(2)
    }

    /// Records a sample, in bytes.
    pub(super) fn sample(&mut self, used: u64, now: Instant) -> MemoryAction {
        if used <= self.limit {
            self.samples_over = 0;
            self.warned = false;
            self.was_below_limit |= now.duration_since(self.started) >= WARM_UP;
            return MemoryAction::None;
        }
        self.samples_over += 1;
        if self.samples_over < SAMPLES_OVER_LIMIT {
            return MemoryAction::None;
        }
        let why = if self.reexec_count > 0 && !self.was_below_limit {
            "memory_limit is below the need of a fresh master: not re-executing again; raise memory_limit"
        } else if now < self.not_before {
            "above memory_limit again soon after a re-exec: re-executing later; raise memory_limit if this repeats"
        } else {
            return MemoryAction::Reexec;
        };
        if std::mem::replace(&mut self.warned, true) { MemoryAction::None } else { MemoryAction::Warn(why) }
    }

    /// Delays the re-exec, because a preflight check has failed.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.not_before = now + REEXEC_PAUSE.0;
        self.warned = true;
    }

    /// Delays the re-exec, because running jobs have not ended; returns the pause, which doubles each time.
    pub(super) fn give_way(&mut self, now: Instant) -> Duration {
        self.given_way += 1;
        let pause = pause_after(self.given_way);
        self.not_before = now + pause;
        self.warned = true;
        pause
    }

    /// The re-exec count of the next program.
    pub(super) fn next_count(&self, now: Instant) -> u32 {
        if now.duration_since(self.started) >= REEXEC_PAUSE.1 { 1 } else { self.reexec_count + 1 }
    }
}

fn pause_after(reexec_count: u32) -> Duration {
    REEXEC_PAUSE.0.saturating_mul(1 << (reexec_count - 1).min(10)).min(REEXEC_PAUSE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Samples once per second; returns each action with its second, without `None`.
    fn samples(
        memory: &mut OwnMemory,
        from: Instant,
        used: impl Fn(u64) -> u64,
        seconds: u64,
    ) -> Vec<(u64, MemoryAction)> {
        let at = |second| memory.sample(used(second) * MIB, from + Duration::from_secs(second));
        (1..=seconds)
            .zip((1..=seconds).map(at))
            .filter(|(_, verdict)| *verdict != MemoryAction::None)
            .collect()
    }

    #[test]
    fn only_sustained_excess_triggers_reexec() {
        let now = Instant::now();
        let mut memory = OwnMemory::new(96, 0, now);
        assert_eq!(samples(&mut memory, now, |s| if s % 5 == 0 { 96 } else { 500 }, 60), []);
        let later = now + Duration::from_secs(60);
        assert_eq!(samples(&mut memory, later, |_| 97, 5), [(5, MemoryAction::Reexec)]);
    }

    #[test]
    fn freed_memory_is_returned_before_the_sample_that_decides() {
        let now = Instant::now();
        let mut memory = OwnMemory::new(96, 0, now);
        let trims = |memory: &mut OwnMemory, kept: u64| {
            let at = |second| now + Duration::from_secs(second);
            let mut trims = Vec::new();
            for second in 1..=12 {
                let trimmed = memory.needs_trim(120 * MIB);
                trims.extend(trimmed.then_some(second));
                let used = if trimmed { kept } else { 120 };
                assert_eq!(memory.sample(used * MIB, at(second)), MemoryAction::None);
            }
            trims
        };
        assert_eq!(trims(&mut memory, 40), [5, 10]);
    }

    #[test]
    fn pause_grows_while_jobs_do_not_end() {
        let now = Instant::now();
        let mut memory = OwnMemory::new(96, 0, now);
        let pauses: Vec<_> = (0..8).map(|_| memory.give_way(now).as_secs()).collect();
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        let last = now + Duration::from_secs(3600);
        assert_eq!(
            samples(&mut memory, last - Duration::from_secs(60), |_| 100, 60),
            [(60, MemoryAction::Reexec)]
        );
        assert!(memory.is_far_above(193 * MIB) && !memory.is_far_above(192 * MIB));
    }

    #[test]
    fn limit_below_baseline_reexecs_and_warns_once() {
        let now = Instant::now();
        let mut first = OwnMemory::new(16, 0, now);
        assert_eq!(samples(&mut first, now, |_| 30, 5), [(5, MemoryAction::Reexec)]);
        let reexec_count = first.next_count(now + Duration::from_secs(5));
        let mut second = OwnMemory::new(16, reexec_count, now);
        // Every process is small in its first seconds.
        let words = samples(&mut second, now, |s| if s < 3 { 10 } else { 30 }, 100_000);
        assert_eq!(words.len(), 1, "{words:?}");
        assert!(
            matches!(words[0], (7, MemoryAction::Warn(why)) if why.contains("below the need of a fresh master"))
        );
    }

    #[test]
    fn repeated_growth_backs_off_reexecs() {
        let mut now = Instant::now();
        let (mut reexec_count, mut lives) = (0, Vec::new());
        for _ in 0..9 {
            let mut memory = OwnMemory::new(96, reexec_count, now);
            let all = samples(&mut memory, now, |s| if s < 20 { 50 } else { 200 }, 4000);
            let (life, _) = all.iter().find(|(_, verdict)| *verdict == MemoryAction::Reexec).unwrap();
            lives.push(*life);
            now += Duration::from_secs(*life);
            reexec_count = memory.next_count(now);
        }
        assert_eq!(
            lives,
            [24, 60, 120, 240, 480, 960, 1920, 3600, 60],
            "an hour without a re-exec resets the pause"
        );
    }
}
