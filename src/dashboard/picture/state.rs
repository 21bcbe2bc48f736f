//! The state of a channel in one word.

use serde::Serialize;

use crate::channel::ChannelStatus;
use crate::store::JobCounts;

/// The state of a channel. When several apply, the first one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::engine::dashboard) enum ChannelState {
    /// The store cannot be used.
    StoreDown,
    /// No master serves the channel.
    NoMaster,
    /// The actor of the channel does not answer.
    Stuck,
    /// The channel stops.
    Stopping,
    /// Workers cannot be started.
    Degraded,
    /// `queue:pause` is in effect.
    Paused,
    /// `queue:quiet` is in effect on this machine.
    Quiet,
    /// Jobs run or wait.
    Works,
    /// No job runs or waits.
    Idle,
}

impl ChannelState {
    /// Every state, the worst first.
    #[cfg(test)]
    pub(in crate::engine::dashboard) const ALL: [Self; 9] = [
        Self::StoreDown,
        Self::NoMaster,
        Self::Stuck,
        Self::Stopping,
        Self::Degraded,
        Self::Paused,
        Self::Quiet,
        Self::Works,
        Self::Idle,
    ];

    /// The state of a channel that this process serves; `status` is `None` when the actor does not answer.
    pub(super) fn of_served(status: Option<&ChannelStatus>, counts: Option<&JobCounts>) -> Self {
        let Some(status) = status else { return Self::Stuck };
        let is_paused = counts.is_some_and(|counts| counts.paused);
        match status {
            status if status.store_error.is_some() => Self::StoreDown,
            status if status.stopping => Self::Stopping,
            status if status.pool.degraded => Self::Degraded,
            _ if is_paused => Self::Paused,
            status if status.quiet => Self::Quiet,
            status => Self::busy(counts, status.running > 0),
        }
    }

    /// The state of a channel that other masters serve, or none; `counts` are `None` when the store does not answer.
    pub(super) fn of_others(counts: Option<&JobCounts>, masters: usize) -> Self {
        match counts {
            None => Self::StoreDown,
            Some(_) if masters == 0 => Self::NoMaster,
            Some(counts) if counts.paused => Self::Paused,
            counts => Self::busy(counts, false),
        }
    }

    fn busy(counts: Option<&JobCounts>, is_running: bool) -> Self {
        let has_jobs = counts.is_some_and(|counts| counts.waiting > 0 || counts.reserved > 0);
        if is_running || has_jobs { Self::Works } else { Self::Idle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worst_state_counts() {
        let counts = JobCounts { waiting: 1, paused: true, ..JobCounts::default() };
        let of = |change: fn(&mut ChannelStatus)| {
            let mut status = ChannelStatus::default();
            change(&mut status);
            ChannelState::of_served(Some(&status), Some(&counts))
        };
        assert_eq!(ChannelState::of_served(None, Some(&counts)), ChannelState::Stuck);
        assert_eq!(of(|status| status.quiet = true), ChannelState::Paused);
        assert_eq!(of(|status| status.pool.degraded = true), ChannelState::Degraded);
        let all_at_once = |status: &mut ChannelStatus| {
            (status.quiet, status.stopping) = (true, true);
            status.store_error = Some("refused".to_owned());
        };
        assert_eq!(of(all_at_once), ChannelState::StoreDown);
        let running = ChannelStatus { running: 1, ..ChannelStatus::default() };
        let idle = JobCounts::default();
        assert_eq!(ChannelState::of_served(Some(&running), Some(&idle)), ChannelState::Works);
        assert_eq!(ChannelState::of_served(Some(&ChannelStatus::default()), Some(&idle)), ChannelState::Idle);
    }

    #[test]
    fn channel_of_other_masters_is_known_by_its_store() {
        let waiting = JobCounts { waiting: 1, ..JobCounts::default() };
        assert_eq!(ChannelState::of_others(None, 2), ChannelState::StoreDown);
        assert_eq!(ChannelState::of_others(Some(&waiting), 0), ChannelState::NoMaster);
        assert_eq!(ChannelState::of_others(Some(&waiting), 1), ChannelState::Works);
    }
}
