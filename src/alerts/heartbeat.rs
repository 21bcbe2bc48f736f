//! The calls of heartbeat receivers: their absence tells a service outside that no master watches the channels.
//!
//! Of the masters with the same receiver, the holder of a watch calls. The watch that decides is that of the first channel by name
//! whose store answers. Where its holder does not have the receiver, the first watcher by name that has it calls.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::delivery::Deliveries;
use super::host_report::HostReport;
use crate::config::alerts::{Alerts, Receiver, ReceiverKind};

/// Looks of a watch that may fail before its channel counts as not watched.
const MISSED_LOOKS: u32 = 3;
/// Most heartbeats of a master that others learn of.
const MAX_REPORTED: usize = 20;

/// The identities of the heartbeats that one master calls for all.
pub(super) fn shared_heartbeats(settings: &Alerts) -> BTreeSet<String> {
    let is_shared = |kind: &&ReceiverKind| matches!(kind, ReceiverKind::Heartbeat { per_host: false, .. });
    let kinds = settings.receivers.values().map(|receiver| &receiver.kind);
    kinds.filter(is_shared).map(ReceiverKind::identity).take(MAX_REPORTED).collect()
}

/// A watcher of a channel, as it chooses the one that calls a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watcher<'a> {
    /// The name of the watcher.
    pub(super) name: &'a str,
    /// Whether it holds the watch.
    pub(super) holds: bool,
    /// The report of the watcher.
    pub(super) report: &'a HostReport,
}

/// Whether `own` calls this heartbeat, among these other watchers of the channel. A new holder says so with its second look only: until
/// then no other master calls in its place.
pub(super) fn is_chosen(heartbeat: &str, own: &Watcher<'_>, others: &[Watcher<'_>]) -> bool {
    let mut callers = others.iter().filter(|other| other.report.heartbeats().contains(heartbeat));
    let is_holder_known = others.iter().any(|other| other.holds);
    own.holds || (is_holder_known && callers.all(|other| !other.holds && own.name < other.name))
}

/// Signs of life of a watch.
#[derive(Debug)]
pub struct Pulse {
    channel: Arc<str>,
    state: Mutex<PulseState>,
}

#[derive(Clone, Debug)]
struct PulseState {
    /// The last look that the store has answered; the start before the first.
    looked: Instant,
    /// The heartbeats that this master calls, as far as this watch decides.
    called: BTreeSet<String>,
}

impl Pulse {
    pub(super) fn new(channel: Arc<str>) -> Arc<Self> {
        let state = PulseState { looked: Instant::now(), called: BTreeSet::new() };
        Arc::new(Self { channel, state: Mutex::new(state) })
    }

    /// Notes a look that the store has answered, and the heartbeats that this master calls.
    pub(super) fn looked(&self, called: BTreeSet<String>) {
        *lock(&self.state) = PulseState { looked: Instant::now(), called };
    }
}

/// The watches of a master.
#[derive(Debug, Default)]
pub struct Pulses(Mutex<Vec<Weak<Pulse>>>);

/// A call of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    Good,
    /// The reason why the channels are not watched as they should be.
    Trouble(String),
}

impl Pulses {
    /// Adds a watch.
    pub fn add(&self, pulse: &Arc<Pulse>) {
        let mut all = lock(&self.0);
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(pulse));
    }

    /// The call of a heartbeat that is due, if this master makes it; `None` for `heartbeat` stands for one that every host calls. A channel
    /// whose watch has had no answer for `patience` is trouble.
    fn call(&self, heartbeat: Option<&str>, patience: Duration, now: Instant) -> Option<Call> {
        let pulses: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        let mut states: Vec<_> =
            pulses.iter().map(|pulse| (&*pulse.channel, lock(&pulse.state).clone())).collect();
        states.sort_by_key(|(channel, _)| *channel);
        let is_late = |state: &PulseState| now.duration_since(state.looked) > patience;
        // A store that does not answer decides nothing, unless there is no other.
        let (_, deciding) = states.iter().find(|(_, state)| !is_late(state)).or(states.first())?;
        if heartbeat.is_some_and(|heartbeat| !deciding.called.contains(heartbeat)) {
            return None;
        }
        let late: Vec<_> =
            states.iter().filter(|(_, state)| is_late(state)).map(|(channel, _)| *channel).collect();
        Some(if late.is_empty() {
            Call::Good
        } else {
            Call::Trouble(format!("the store does not answer: {}", late.join(", ")))
        })
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
    let identity = receiver.kind.identity();
    let heartbeat = (!per_host).then_some(identity.as_str());
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, before any watch has looked.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match pulses.call(heartbeat, every.max(MISSED_LOOKS * evaluate_every), Instant::now()) {
            Some(Call::Good) => deliveries.beat(&receiver.name, None),
            Some(Call::Trouble(trouble)) if fail => deliveries.beat(&receiver.name, Some(trouble)),
            Some(Call::Trouble(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIVE: &str = "heartbeat-1";
    const PATIENCE: Duration = Duration::from_secs(60);

    fn chosen(is_chosen: bool) -> BTreeSet<String> {
        is_chosen.then(|| ALIVE.to_owned()).into_iter().collect()
    }

    #[test]
    fn chosen_master_calls_while_the_stores_answer() {
        let (pulses, now) = (Pulses::default(), Instant::now());
        assert_eq!(pulses.call(None, PATIENCE, now), None, "nothing is watched");
        let (mail, sms) = (Pulse::new("mail".into()), Pulse::new("sms".into()));
        pulses.add(&sms);
        pulses.add(&mail);
        assert_eq!(pulses.call(Some(ALIVE), PATIENCE, now), None, "another master is chosen");
        assert_eq!(pulses.call(None, PATIENCE, now), Some(Call::Good));
        sms.looked(chosen(true));
        assert_eq!(pulses.call(Some(ALIVE), PATIENCE, now), None, "the first channel decides");
        mail.looked(chosen(true));
        assert_eq!(pulses.call(Some(ALIVE), PATIENCE, now), Some(Call::Good));
        assert_eq!(pulses.call(Some("another"), PATIENCE, now), None);
        let later = Instant::now() + PATIENCE * 2;
        let trouble = Call::Trouble("the store does not answer: mail, sms".to_owned());
        assert_eq!(pulses.call(Some(ALIVE), PATIENCE, later), Some(trouble));
        drop((mail, sms));
        assert_eq!(pulses.call(None, PATIENCE, now), None, "an ended watch is none");
    }

    #[tokio::test(start_paused = true)]
    async fn channel_whose_store_is_silent_does_not_decide() {
        let (pulses, mail, sms) = (Pulses::default(), Pulse::new("mail".into()), Pulse::new("sms".into()));
        pulses.add(&mail);
        pulses.add(&sms);
        tokio::time::advance(PATIENCE * 2).await;
        sms.looked(chosen(true));
        let trouble = Call::Trouble("the store does not answer: mail".to_owned());
        assert_eq!(pulses.call(Some(ALIVE), PATIENCE, Instant::now()), Some(trouble));
    }

    #[test]
    fn holder_calls_or_the_first_that_has_the_receiver() {
        let (mut has, lacks) = (HostReport::nothing_of("a"), HostReport::nothing_of("b"));
        has.set_heartbeats(chosen(true));
        let own = |name, holds| Watcher { name, holds, report: &has };
        let other = |name, holds, report| Watcher { name, holds, report };
        for (wanted, own, others) in [
            (true, own("2", true), vec![other("1", false, &has)]),
            (false, own("1", false), vec![other("2", true, &has)]),
            (true, own("2", false), vec![other("1", true, &lacks)]),
            (true, own("1", false), vec![other("3", true, &lacks), other("2", false, &has)]),
            (false, own("2", false), vec![other("3", true, &lacks), other("1", false, &has)]),
            (false, own("1", false), vec![other("2", false, &has)]),
            (true, own("1", true), vec![]),
        ] {
            assert_eq!(is_chosen(ALIVE, &own, &others), wanted, "{own:?} {others:?}");
        }
    }
}
