//! Places of connections: a new connection above a limit takes the place of the one that is idle for longest.
//!
//! A connection is busy from the permit of a request to its response, and idle otherwise: between two requests, while
//! the head of a request arrives, and during requests that need no permit. So clients without a token never keep
//! others out. Only busy connections keep a place. There are more places than permits, so that one is always idle or free: a
//! health check is answered while all permits are taken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aint_queue_core::mutex::lock;
use prometheus::{IntCounter, IntGauge};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::warn;

use super::event_log::EventCount;
use super::peer::Peer;
use super::permits::Used;
use crate::config::Http;
use crate::metrics::{RefusalReason, RequestMetrics};

/// Places beside those of connections with a permit: for health checks, scrapes and refusals.
const FURTHER_PLACES: usize = 64;

/// The places of a listener.
#[derive(Clone)]
pub(super) struct Admission(Arc<Shared>);

struct Shared {
    max: usize,
    max_per_peer: usize,
    places: Mutex<Places>,
    metrics: ConnectionMetrics,
}

/// The metrics of connections.
struct ConnectionMetrics {
    open: IntGauge,
    refused: IntCounter,
    closed_idle: IntCounter,
}

impl ConnectionMetrics {
    fn of(metrics: &RequestMetrics) -> Self {
        Self {
            open: metrics.connections(),
            refused: metrics.refusals(RefusalReason::PeerConnections),
            closed_idle: metrics.refusals(RefusalReason::IdleConnection),
        }
    }
}

#[derive(Default)]
struct Places {
    next: u64,
    by_number: BTreeMap<u64, Connection>,
    events: Events,
}

/// Events to log.
#[derive(Default)]
struct Events {
    closed_idle: EventCount,
    closed_of_peer: EventCount,
    refused: EventCount,
}

struct Connection {
    peer: Peer,
    /// `None` while a request with a permit is served.
    idle_since: Option<Instant>,
    task: Option<AbortHandle>,
}

/// The place of one connection, released on drop.
pub struct Place {
    number: u64,
    peer: Peer,
    admission: Admission,
}

impl Admission {
    pub(super) fn new(settings: &Http, metrics: &RequestMetrics) -> Self {
        Self(Arc::new(Shared {
            max: settings.max_connections + FURTHER_PLACES,
            max_per_peer: settings.max_connections_per_peer,
            places: Mutex::default(),
            metrics: ConnectionMetrics::of(metrics),
        }))
    }

    /// Takes a place for a connection of `peer`. At a limit, ends the connection that is idle for longest, of this peer or of
    /// all. `None` when the peer has too many connections and all are busy.
    pub(super) fn take(&self, peer: Peer, now: Instant) -> Option<Place> {
        let mut places = self.places();
        // All programs of this machine share one address.
        let is_full = !peer.is_local() && places.of(peer) >= self.0.max_per_peer;
        if is_full {
            if !self.close_idle(&mut places, |connection| connection.peer == peer) {
                self.0.metrics.refused.inc();
                places.events.refused.add();
                places.log(now);
                return None;
            }
            places.events.closed_of_peer.add();
        }
        if places.by_number.len() >= self.0.max && self.close_idle(&mut places, |_| true) {
            places.events.closed_idle.add();
        }
        places.log(now);
        let number = places.next;
        places.next += 1;
        self.0.metrics.open.inc();
        places.by_number.insert(number, Connection { peer, idle_since: Some(now), task: None });
        Some(Place { number, peer, admission: self.clone() })
    }

    /// Sets the task to abort when the place of connection `number` is needed.
    pub(super) fn attach(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = self.places().by_number.get_mut(&number) {
            connection.task = Some(task);
        }
    }

    /// Ends the connection that is idle for longest among some; false when none of them is idle.
    fn close_idle(&self, places: &mut Places, is_eligible: impl Fn(&Connection) -> bool) -> bool {
        let is_closed = places.close_idle(is_eligible);
        if is_closed {
            self.0.metrics.closed_idle.inc();
        }
        is_closed
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        lock(&self.0.places)
    }
}

impl Places {
    fn of(&self, peer: Peer) -> usize {
        self.by_number.values().filter(|connection| connection.peer == peer).count()
    }

    fn longest_idle(&self, is_eligible: impl Fn(&Connection) -> bool) -> Option<u64> {
        let eligible = self.by_number.iter().filter(|(_, connection)| is_eligible(connection));
        eligible.filter_map(|(number, c)| Some((c.idle_since?, *number))).min().map(|(_, number)| number)
    }

    fn close_idle(&mut self, is_eligible: impl Fn(&Connection) -> bool) -> bool {
        let idle = self.longest_idle(is_eligible).and_then(|number| self.by_number.remove(&number));
        let Some(Connection { task, .. }) = idle else { return false };
        if let Some(task) = task {
            task.abort();
        }
        true
    }

    /// Logs events that are due.
    fn log(&mut self, now: Instant) {
        let (most, open) = (self.peer_with_most(), self.by_number.len());
        let Events { closed_idle, closed_of_peer, refused } = &mut self.events;
        if let Some(closed) = closed_idle.take_due(now) {
            warn!(
                closed,
                open,
                most,
                "HTTP connections at their limit: closed those that were idle for longest; raise max_connections in [http], or \
                 close idle connections earlier in the clients"
            );
        }
        if let Some(closed) = closed_of_peer.take_due(now) {
            warn!(
                closed,
                most,
                "HTTP connections of one address at their limit: closed those that were idle for longest; raise max_connections_per_peer \
                 in [http] if the address is a proxy, or close idle connections earlier in its clients"
            );
        }
        if let Some(refused) = refused.take_due(now) {
            warn!(
                refused,
                most,
                "HTTP connections of one address at their limit: refused more; raise max_connections_per_peer in [http] if the \
                 address is a proxy"
            );
        }
    }

    /// The peer with most connections and their number, for the log.
    fn peer_with_most(&self) -> String {
        let mut counts = BTreeMap::<Peer, usize>::new();
        for connection in self.by_number.values() {
            *counts.entry(connection.peer).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map_or_else(String::new, |(peer, count)| format!("{count} of {peer}"))
    }
}

impl Place {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The connections of the listener.
    #[must_use]
    pub fn connections(&self) -> Used {
        Used { taken: self.admission.places().by_number.len(), limit: self.admission.0.max }
    }

    /// A request with a permit has begun.
    pub(super) fn mark_busy(&self) {
        self.set(None);
    }

    /// The request has its response.
    pub(super) fn mark_idle(&self, now: Instant) {
        self.set(Some(now));
    }

    fn set(&self, idle_since: Option<Instant>) {
        if let Some(connection) = self.admission.places().by_number.get_mut(&self.number) {
            connection.idle_since = idle_since;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.places().by_number.remove(&self.number);
        self.admission.0.metrics.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::metrics::Metrics;

    fn admission(max: usize, max_per_peer: usize) -> Admission {
        let metrics = ConnectionMetrics::of(&Metrics::default().requests());
        Admission(Arc::new(Shared { max, max_per_peer, places: Mutex::default(), metrics }))
    }

    fn peer(last: u8) -> Peer {
        Peer::of(IpAddr::from([10, 0, 0, last]))
    }

    /// A place with a task that lasts until it is aborted.
    fn take(admission: &Admission, peer: Peer) -> Option<(Place, tokio::task::JoinHandle<()>)> {
        let place = admission.take(peer, Instant::now())?;
        let task = tokio::spawn(std::future::pending::<()>());
        admission.attach(place.number(), task.abort_handle());
        Some((place, task))
    }

    #[tokio::test]
    async fn longest_idle_gives_way_and_busy_ones_stay() {
        let admission = admission(3, 3);
        let mut held: Vec<_> = (0..3).map(|n| take(&admission, peer(n)).unwrap()).collect();
        held[0].0.mark_busy();
        held[1].0.mark_busy();
        held[1].0.mark_idle(Instant::now());
        held.push(take(&admission, peer(9)).unwrap());
        let (_, ended) = held.remove(2);
        assert!(ended.await.unwrap_err().is_cancelled(), "idle since its start");
        assert!(held.iter().all(|(_, task)| !task.is_finished()));
    }

    #[tokio::test]
    async fn one_peer_never_holds_every_place() {
        let admission = admission(4, 2);
        let first = take(&admission, peer(1)).unwrap();
        let second = take(&admission, peer(1)).unwrap();
        let other = take(&admission, peer(2)).unwrap();
        let third = take(&admission, peer(1)).unwrap();
        assert!(first.1.await.unwrap_err().is_cancelled(), "the idle one of the same peer");
        [&second, &third].iter().for_each(|(place, _)| place.mark_busy());
        assert!(take(&admission, peer(1)).is_none());
        assert!(take(&admission, peer(3)).is_some() && !other.1.is_finished());

        let local = Peer::of(IpAddr::from([127, 0, 0, 1]));
        let many: Vec<_> = (0..4).map(|_| take(&admission, local)).collect();
        assert!(many.iter().all(Option::is_some), "programs of this machine share one address");
    }
}
