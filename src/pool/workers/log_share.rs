//! The share of a worker in the log: bytes per second, and the count of lines beyond it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A worker may print this many seconds' worth of its rate at once.
const BURST_SECONDS: u64 = 4;
/// Bytes counted for a line beside its text: the log adds time, channel, process and job.
const LINE_OVERHEAD: usize = 160;
/// Least time between two reports of dropped lines of a channel.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Lines of workers that are not in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DroppedOutput {
    /// Lines beyond `worker.log_bytes_per_second`.
    pub over_rate: u64,
    /// Lines without room, because the log was read too slowly.
    pub slow_reader: u64,
}

impl DroppedOutput {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The dropped lines of all workers of a channel.
#[derive(Debug, Default)]
pub(crate) struct OutputDrops {
    over_rate: AtomicU64,
    pub(super) slow_reader: Arc<AtomicU64>,
    over_rate_reports: Reports,
    damage_reports: Reports,
}

/// Events that are counted, and reported once a minute.
#[derive(Debug, Default)]
struct Reports(Mutex<Report>);

#[derive(Debug, Default)]
struct Report {
    last: Option<Instant>,
    /// Events since the last report.
    unreported: u64,
}

impl Reports {
    /// Counts an event. Returns the events since the last report when a report is due.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut report = lock(&self.0);
        report.unreported += 1;
        if report.last.is_some_and(|last| now.duration_since(last) < REPORT_INTERVAL) {
            return None;
        }
        report.last = Some(now);
        Some(std::mem::take(&mut report.unreported))
    }
}

impl OutputDrops {
    pub(crate) fn counts(&self) -> DroppedOutput {
        DroppedOutput {
            over_rate: self.over_rate.load(Ordering::Relaxed),
            slow_reader: self.slow_reader.load(Ordering::Relaxed),
        }
    }

    /// Counts a line beyond the rate. Returns the lines dropped since the last report when a report is due.
    pub(super) fn over_rate(&self, now: Instant) -> Option<u64> {
        self.over_rate.fetch_add(1, Ordering::Relaxed);
        self.over_rate_reports.count(now)
    }

    /// Counts a damaged frame without a warning of its own. Returns those since the last report when a report is due.
    pub(super) fn damaged(&self, now: Instant) -> Option<u64> {
        self.damage_reports.count(now)
    }
}

/// The bytes that a worker may log now: a token bucket. Pure.
#[derive(Debug)]
pub(super) struct LogShare {
    /// Bytes per second; 0 = no limit.
    rate: u64,
    available: u64,
    filled_at: Instant,
}

impl LogShare {
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        Self { rate, available: rate.saturating_mul(BURST_SECONDS), filled_at: now }
    }

    /// Takes the bytes of a line; answers whether the line may be logged.
    pub(super) fn admit(&mut self, line: usize, now: Instant) -> bool {
        if self.rate == 0 {
            return true;
        }
        let micros = u64::try_from(now.duration_since(self.filled_at).as_micros()).unwrap_or(u64::MAX);
        let refill = self.rate.saturating_mul(micros) / 1_000_000;
        if refill > 0 {
            self.available =
                self.available.saturating_add(refill).min(self.rate.saturating_mul(BURST_SECONDS));
            self.filled_at = now;
        }
        let cost = (line + LINE_OVERHEAD) as u64;
        let is_admitted = cost <= self.available;
        if is_admitted {
            self.available -= cost;
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(share: &mut LogShare, lines: usize, now: Instant) -> usize {
        (0..lines).filter(|_| share.admit(840, now)).count()
    }

    #[test]
    fn worker_logs_a_burst_then_its_rate() {
        let start = Instant::now();
        let mut share = LogShare::new(10_000, start);
        assert_eq!(admitted(&mut share, 1000, start), 40);
        assert_eq!(admitted(&mut share, 1000, start + Duration::from_secs(1)), 10);
        assert_eq!(admitted(&mut share, 1000, start + Duration::from_secs(3600)), 40, "a burst at most");
        let mut unlimited = LogShare::new(0, start);
        assert_eq!(admitted(&mut unlimited, 1000, start), 1000);
    }

    #[test]
    fn slow_refill_is_not_lost_to_rounding() {
        let start = Instant::now();
        let mut share = LogShare::new(1000, start);
        while share.admit(40, start) {}
        let looks = (1..=10_000u64).map(|i| start + Duration::from_micros(200 * i));
        let logged = looks.filter(|now| share.admit(40, *now)).count();
        assert_eq!(logged, 10, "2000 bytes in two seconds");
    }

    #[test]
    fn drops_of_a_channel_are_reported_once_a_minute() {
        let (drops, start) = (OutputDrops::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(drops.over_rate(start), Some(1));
        assert_eq!(drops.over_rate(after(1)), None);
        assert_eq!(drops.over_rate(after(2)), None);
        assert_eq!(drops.over_rate(after(61)), Some(3));
        assert_eq!(drops.counts(), DroppedOutput { over_rate: 4, slow_reader: 0 });
    }
}
