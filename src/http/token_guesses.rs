//! Wrong tokens: requests of a peer that sent one are checked slowly for a while, right and wrong ones alike, and the log
//! says so.
//!
//! A response that came sooner for a right token would let a guesser abandon all slow ones. A delay for all requests of the
//! peer bounds the rate of its guesses; more than a few at once are refused without a check.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use aint_queue_core::mutex::lock;
use prometheus::IntCounter;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::event_log::EventCount;
use super::peer::Peer;
use crate::metrics::{RefusalReason, RequestMetrics};

/// Wrong tokens of a peer that have no consequence: a client may be misconfigured.
const FREE_GUESSES: u32 = 5;
/// Time after the last wrong token for which a peer is checked slowly.
const SLOW_TIME: Duration = Duration::from_secs(60);
/// Delay of one check.
const CHECK_DELAY: Duration = Duration::from_millis(250);
/// Checks of one peer that are delayed at once; further requests are refused.
const MAX_DELAYED: usize = 16;
/// Peers that are remembered; beyond, the one whose last wrong token is oldest is forgotten.
const MAX_PEERS: usize = 1024;

/// The peers that sent wrong tokens lately.
#[derive(Debug)]
pub struct TokenGuesses {
    guesses: Mutex<Guesses>,
    wrong: IntCounter,
    refused: IntCounter,
}

#[derive(Debug, Default)]
struct Guesses {
    by_peer: BTreeMap<Peer, Guesser>,
    wrong: EventCount,
}

#[derive(Debug)]
struct Guesser {
    wrong: u32,
    last: Instant,
    delayed: usize,
}

/// A delayed check.
struct Delay<'a> {
    guesses: &'a TokenGuesses,
    peer: Peer,
}

impl TokenGuesses {
    /// No wrong token yet.
    #[must_use]
    pub fn new(metrics: &RequestMetrics) -> Self {
        Self {
            guesses: Mutex::default(),
            wrong: metrics.refusals(RefusalReason::Token),
            refused: metrics.refusals(RefusalReason::Guesses),
        }
    }

    /// Waits as long as the earlier wrong tokens of a peer require. False when too many of its requests wait already.
    pub async fn delay(&self, peer: Peer) -> bool {
        let step = self.guesses().begin(peer, Instant::now());
        match step {
            Step::Check => true,
            Step::Refuse => {
                self.refused.inc();
                false
            }
            Step::Delay => {
                // A client that disconnects drops this future, and with it the delay.
                let _delay = Delay { guesses: self, peer };
                sleep(CHECK_DELAY).await;
                true
            }
        }
    }

    /// Records a wrong token at a listener.
    pub fn wrong(&self, peer: Peer, listener: SocketAddr) {
        let now = Instant::now();
        self.wrong.inc();
        let mut guesses = self.guesses();
        guesses.record(peer, now);
        if let Some(wrong) = guesses.wrong.take_due(now) {
            warn!(
                wrong,
                last = %peer,
                %listener,
                "HTTP requests with a missing or wrong token: refused; correct the token of the client, or close the port to the address"
            );
        }
    }

    fn guesses(&self) -> MutexGuard<'_, Guesses> {
        lock(&self.guesses)
    }
}

/// The treatment of a request.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Check,
    Delay,
    Refuse,
}

impl Guesses {
    fn begin(&mut self, peer: Peer, now: Instant) -> Step {
        let Some(guesser) = self.by_peer.get_mut(&peer) else { return Step::Check };
        if now.duration_since(guesser.last) >= SLOW_TIME {
            if guesser.delayed == 0 {
                self.by_peer.remove(&peer);
            }
            return Step::Check;
        }
        if guesser.wrong <= FREE_GUESSES {
            return Step::Check;
        }
        if guesser.delayed >= MAX_DELAYED {
            return Step::Refuse;
        }
        guesser.delayed += 1;
        Step::Delay
    }

    fn record(&mut self, peer: Peer, now: Instant) {
        self.wrong.add();
        if self.by_peer.len() >= MAX_PEERS && !self.by_peer.contains_key(&peer) {
            let oldest = self.by_peer.iter().min_by_key(|(_, guesser)| guesser.last).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.by_peer.remove(&oldest));
        }
        let guesser = self.by_peer.entry(peer).or_insert(Guesser { wrong: 0, last: now, delayed: 0 });
        guesser.wrong = guesser.wrong.saturating_add(1);
        guesser.last = now;
    }
}

impl Drop for Delay<'_> {
    fn drop(&mut self) {
        if let Some(guesser) = self.guesses.guesses().by_peer.get_mut(&self.peer) {
            guesser.delayed = guesser.delayed.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    fn peer(n: u32) -> Peer {
        Peer::of(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn wrong_tokens_slow_only_their_peer_for_a_minute() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..FREE_GUESSES {
            guesses.record(peer(1), now);
        }
        assert_eq!(guesses.begin(peer(1), now), Step::Check);
        guesses.record(peer(1), now);
        for _ in 0..MAX_DELAYED {
            assert_eq!(guesses.begin(peer(1), now), Step::Delay);
        }
        assert_eq!(guesses.begin(peer(1), now), Step::Refuse);
        assert_eq!(guesses.begin(peer(2), now), Step::Check);
        assert_eq!(guesses.begin(peer(1), now + SLOW_TIME), Step::Check);
    }

    #[test]
    fn remembered_peers_are_bounded() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..3000 {
            guesses.record(peer(n), now + Duration::from_millis(u64::from(n)));
        }
        assert_eq!(guesses.by_peer.len(), MAX_PEERS);
        assert!(guesses.by_peer.contains_key(&peer(2999)) && !guesses.by_peer.contains_key(&peer(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn delay_ends_with_its_request() {
        let guesses = Arc::new(TokenGuesses::new(&crate::metrics::Metrics::default().requests()));
        (0..=FREE_GUESSES).for_each(|_| guesses.wrong(peer(1), SocketAddr::from(([127, 0, 0, 1], 80))));
        for _ in 0..2 {
            let mut waiting = JoinSet::new();
            for _ in 0..MAX_DELAYED {
                let guesses = Arc::clone(&guesses);
                waiting.spawn(async move { guesses.delay(peer(1)).await });
            }
            assert!(waiting.join_all().await.into_iter().all(|checked| checked));
        }
        let abandoned = tokio::time::timeout(CHECK_DELAY / 2, guesses.delay(peer(1))).await;
        assert!(abandoned.is_err());
        assert_eq!(guesses.guesses().by_peer[&peer(1)].delayed, 0);
    }
}
