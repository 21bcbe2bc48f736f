//! The calls of heartbeat receivers: their absence tells a service outside that no master watches the channels.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::delivery::Deliveries;
use crate::config::alerts::{Receiver, ReceiverKind};

/// Looks of a watch that may fail before its channel counts as not watched.
const MISSED_LOOKS: u32 = 3;

/// Signs of life of a watch.
#[derive(Debug)]
pub struct Pulse {
    channel: Arc<str>,
    state: Mutex<PulseState>,
}

#[derive(Clone, Copy, Debug)]
struct PulseState {
    /// The last look that the store has answered; the start before the first.
    looked: Instant,
    holds: bool,
}

impl Pulse {
    pub(super) fn new(channel: Arc<str>) -> Arc<Self> {
        Arc::new(Self { channel, state: Mutex::new(PulseState { looked: Instant::now(), holds: false }) })
    }

    /// Notes a look that the store has answered.
    pub(super) fn looked(&self, holds: bool) {
        *lock(&self.state) = PulseState { looked: Instant::now(), holds };
    }
}

/// The watches of a master.
#[derive(Debug, Default)]
pub struct Pulses(Mutex<Vec<Weak<Pulse>>>);

impl Pulses {
    /// Adds a watch.
    pub fn add(&self, pulse: &Arc<Pulse>) {
        let mut all = lock(&self.0);
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(pulse));
    }

    /// Whether a call is due, and the trouble that it reports: the channels whose watch has had no answer for `patience`. Without
    /// `per_host`, only the master that holds the watch of the first channel by name calls. Masters of one configuration watch the same
    /// channels, so one of them calls, also while each holds the watch of another channel.
    fn call(&self, per_host: bool, patience: Duration, now: Instant) -> Option<Option<String>> {
        let pulses: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        let states: Vec<_> = pulses.iter().map(|pulse| (&pulse.channel, *lock(&pulse.state))).collect();
        let first = states.iter().min_by_key(|(channel, _)| Arc::clone(channel));
        let calls = first.is_some_and(|(_, state)| per_host || state.holds);
        let is_late = |state: &PulseState| now.duration_since(state.looked) > patience;
        let late: Vec<_> = states
            .iter()
            .filter(|(_, state)| is_late(state))
            .map(|(channel, _)| channel.to_string())
            .collect();
        calls.then(|| (!late.is_empty()).then(|| format!("the store does not answer: {}", late.join(", "))))
    }
}

/// Calls a heartbeat receiver at its times, until the future is dropped. A call with trouble is made only by a receiver that asks for it.
pub async fn run(
    receiver: Receiver,
    pulses: Arc<Pulses>,
    deliveries: Arc<Deliveries>,
    evaluate_every: Duration,
) {
    let ReceiverKind::Heartbeat { every, fail, per_host, .. } = receiver.kind else { return };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, before any watch has looked.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match pulses.call(per_host, every.max(MISSED_LOOKS * evaluate_every), Instant::now()) {
            Some(None) => deliveries.beat(&receiver.name, None),
            Some(Some(trouble)) if fail => deliveries.beat(&receiver.name, Some(trouble)),
            Some(Some(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_holder_calls_and_only_while_the_store_answers() {
        let (pulses, patience) = (Pulses::default(), Duration::from_secs(60));
        let now = Instant::now();
        assert_eq!(pulses.call(true, patience, now), None, "nothing is watched");
        let (mail, sms) = (Pulse::new("mail".into()), Pulse::new("sms".into()));
        pulses.add(&mail);
        pulses.add(&sms);
        assert_eq!(pulses.call(false, patience, now), None, "another master holds both");
        assert_eq!(pulses.call(true, patience, now), Some(None));
        sms.looked(true);
        assert_eq!(pulses.call(false, patience, now), None, "the holder of the first channel calls");
        mail.looked(true);
        assert_eq!(pulses.call(false, patience, now), Some(None));
        let later = Instant::now() + Duration::from_secs(61);
        let trouble = Some("the store does not answer: mail, sms".to_owned());
        assert_eq!(pulses.call(false, patience, later), Some(trouble));
        drop((mail, sms));
        assert_eq!(pulses.call(true, patience, now), None, "an ended watch is none");
    }
}
