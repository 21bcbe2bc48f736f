//! The silence of the master, as its guardian measures it. Pure.
//!
//! A master that is stopped for longer than its lease, or frozen with its machine, has lost its jobs to other masters. Its runs
//! must not go on, and only the guardian can end them.

use std::time::Duration;

/// Interval at which the guardian measures while runs are under it. The clock of poll stands still while the machine sleeps,
/// so no single long wait would do.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The time since the last request of the master. Times are those of CLOCK_BOOTTIME, which counts the sleep of the machine.
#[derive(Debug, Default)]
pub(super) struct MasterSilence {
    /// The longest silence; `None` while no runs are under the guardian.
    limit: Option<Duration>,
    last_request_at: Duration,
}

impl MasterSilence {
    /// Records a request of the master.
    pub(super) fn request_arrived(&mut self, now: Duration) {
        self.last_request_at = now;
    }

    /// Sets the longest silence, which each beat of the master names.
    pub(super) fn set_limit(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// Whether the silence is measured.
    pub(super) fn is_measured(&self) -> bool {
        self.limit.is_some()
    }

    /// The silence, when it is too long. It is then not measured until the next beat.
    pub(super) fn take_excess(&mut self, now: Duration) -> Option<Duration> {
        let silence = now.saturating_sub(self.last_request_at);
        self.limit.take_if(|limit| silence >= *limit).map(|_| silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_excessive_once_until_the_next_beat() {
        let mut silence = MasterSilence::default();
        assert_eq!(silence.take_excess(900 * SECOND), None, "no runs");
        silence.request_arrived(100 * SECOND);
        silence.set_limit(Some(30 * SECOND));
        assert_eq!(silence.take_excess(129 * SECOND), None);
        silence.request_arrived(129 * SECOND);
        assert_eq!(silence.take_excess(158 * SECOND), None);
        assert_eq!(silence.take_excess(159 * SECOND), Some(30 * SECOND));
        assert_eq!((silence.take_excess(200 * SECOND), silence.is_measured()), (None, false));
        silence.request_arrived(200 * SECOND);
        silence.set_limit(Some(30 * SECOND));
        assert_eq!(silence.take_excess(231 * SECOND), Some(31 * SECOND));
    }
}
