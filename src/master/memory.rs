//! The master's own memory: sampled, compared with `memory_limit`, and when it stays above, a reason to begin anew.
//!
//! A limit below what a fresh master needs must not become a loop: one that began anew and was never below the limit
//! only warns, and the pauses between two beginnings grow.

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

/// How often it is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// So many samples in a row have to be above the limit: one spike is none of our business.
const IN_A_ROW: u32 = 5;
/// After this long a process has grown to its ordinary size.
const GROWN: Duration = Duration::from_secs(10);
/// The pause after the first beginning, doubled with each, up to the longest. A process that lived for that long
/// counts as the first again.
const PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// What a sample leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// A word in the log.
    Warn(&'static str),
    /// Drain and begin anew.
    Recycle,
}

/// The samples of one process.
#[derive(Debug)]
pub(super) struct Memory {
    limit: u64,
    /// How many beginnings in quick succession this process is the last of.
    count: u32,
    began: Instant,
    not_before: Instant,
    over: u32,
    was_below: bool,
    warned: bool,
}

impl Memory {
    /// Begins now. The limit is in MiB; `count` comes from the process before.
    pub(super) fn new(limit: u64, count: u32, now: Instant) -> Self {
        let pause = if count == 0 { Duration::ZERO } else { pause(count) };
        Self {
            limit: limit << 20,
            count,
            began: now,
            not_before: now + pause,
            over: 0,
            was_below: false,
            warned: false,
        }
    }

    /// Takes a sample, in bytes.
    pub(super) fn sample(&mut self, used: u64, now: Instant) -> Verdict {
        if used <= self.limit {
            self.over = 0;
            self.warned = false;
            self.was_below |= now.duration_since(self.began) >= GROWN;
            return Verdict::Fine;
        }
        self.over += 1;
        if self.over < IN_A_ROW {
            return Verdict::Fine;
        }
        let why = if self.count > 0 && !self.was_below {
            "a fresh master needs more than memory_limit: raise it; nothing is done about it any more"
        } else if now < self.not_before {
            "the master is above its memory_limit again so soon: it begins anew later; raise the limit if this goes on"
        } else {
            return Verdict::Recycle;
        };
        if std::mem::replace(&mut self.warned, true) { Verdict::Fine } else { Verdict::Warn(why) }
    }

    /// Beginning anew is not possible now; asks again later.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.not_before = now + PAUSE.0;
        self.warned = true;
    }

    /// The count for the next process.
    pub(super) fn next_count(&self, now: Instant) -> u32 {
        if now.duration_since(self.began) >= PAUSE.1 { 1 } else { self.count + 1 }
    }
}

fn pause(count: u32) -> Duration {
    PAUSE.0.saturating_mul(1 << (count - 1).min(10)).min(PAUSE.1)
}

/// What this process has in memory, in bytes.
pub(super) fn used() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Samples second by second; answers what each led to that was not fine, with its second.
    fn samples(
        memory: &mut Memory,
        from: Instant,
        used: impl Fn(u64) -> u64,
        seconds: u64,
    ) -> Vec<(u64, Verdict)> {
        let at = |second| memory.sample(used(second) * MIB, from + Duration::from_secs(second));
        (1..=seconds).zip((1..=seconds).map(at)).filter(|(_, verdict)| *verdict != Verdict::Fine).collect()
    }

    #[test]
    fn one_spike_is_nothing_and_staying_above_is_a_reason() {
        let now = Instant::now();
        let mut memory = Memory::new(96, 0, now);
        assert_eq!(samples(&mut memory, now, |s| if s % 5 == 0 { 96 } else { 500 }, 60), []);
        let later = now + Duration::from_secs(60);
        assert_eq!(samples(&mut memory, later, |_| 97, 5), [(5, Verdict::Recycle)]);
    }

    #[test]
    fn a_limit_below_what_a_fresh_master_needs_leads_to_one_beginning_and_one_word() {
        let now = Instant::now();
        let mut first = Memory::new(16, 0, now);
        assert_eq!(samples(&mut first, now, |_| 30, 5), [(5, Verdict::Recycle)]);
        let count = first.next_count(now + Duration::from_secs(5));
        let mut second = Memory::new(16, count, now);
        // Small in its first moments, as every process is.
        let words = samples(&mut second, now, |s| if s < 3 { 10 } else { 30 }, 100_000);
        assert_eq!(words.len(), 1, "{words:?}");
        assert!(matches!(words[0], (7, Verdict::Warn(why)) if why.contains("a fresh master needs more")));
    }

    #[test]
    fn one_that_grows_again_and_again_begins_anew_ever_less_often() {
        let mut now = Instant::now();
        let (mut count, mut lives) = (0, Vec::new());
        for _ in 0..9 {
            let mut memory = Memory::new(96, count, now);
            let all = samples(&mut memory, now, |s| if s < 20 { 50 } else { 200 }, 4000);
            let (life, _) = all.iter().find(|(_, verdict)| *verdict == Verdict::Recycle).unwrap();
            lives.push(*life);
            now += Duration::from_secs(*life);
            count = memory.next_count(now);
        }
        assert_eq!(lives, [24, 60, 120, 240, 480, 960, 1920, 3600, 60], "an hour of life makes good");
    }

    #[test]
    fn the_kernels_words_are_understood() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   12345 kB\nRssAnon: 1 kB\n"), Some(12_345 << 10));
        assert_eq!(resident("Name:\tx\n"), None);
        assert!(used().unwrap() > MIB);
    }
}
