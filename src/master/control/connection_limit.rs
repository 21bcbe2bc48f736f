//! The connection limit of a control socket: a new connection above the limit closes the one that is idle for longest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aint_queue_core::mutex::lock;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Connections served at once on one socket.
pub(super) const MAX_CONNECTIONS: usize = 32;

/// Slow requests at once on one socket. The remaining connections stay free for status and stop.
pub(super) const MAX_SLOW_REQUESTS: usize = 24;

/// The open connections of one socket.
#[derive(Clone, Default)]
pub(super) struct ConnectionLimit(Arc<Shared>);

#[derive(Default)]
struct Shared {
    connections: Mutex<Connections>,
    /// A slot may have become free.
    changed: Notify,
}

#[derive(Default)]
struct Connections {
    next: u64,
    by_number: BTreeMap<u64, Connection>,
}

struct Connection {
    /// `None` while a request is answered.
    idle_since: Option<Instant>,
    /// A slow request is being answered.
    is_slow: bool,
    task: Option<AbortHandle>,
}

/// The slot of one connection, released on drop.
pub(super) struct ConnectionSlot {
    number: u64,
    limit: ConnectionLimit,
}

impl ConnectionLimit {
    /// Whether one more connection can be served.
    pub(super) fn has_room(&self) -> bool {
        let all = self.connections();
        all.by_number.len() < MAX_CONNECTIONS || all.longest_idle().is_some()
    }

    /// Waits until a slot may have become free.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Takes a slot for one more connection; at the limit, ends the connection that is idle for longest.
    pub(super) fn take(&self, now: Instant) -> ConnectionSlot {
        let mut all = self.connections();
        if all.by_number.len() >= MAX_CONNECTIONS
            && let Some(idle) = all.longest_idle()
            && let Some(Connection { task: Some(task), .. }) = all.by_number.remove(&idle)
        {
            task.abort();
        }
        let number = all.next;
        all.next += 1;
        all.by_number.insert(number, Connection { idle_since: Some(now), is_slow: false, task: None });
        drop(all);
        ConnectionSlot { number, limit: self.clone() }
    }

    /// Sets the task to abort when the slot of connection `number` is needed.
    pub(super) fn attach(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = self.connections().by_number.get_mut(&number) {
            connection.task = Some(task);
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.0.connections)
    }
}

impl Connections {
    fn longest_idle(&self) -> Option<u64> {
        let idle = self.by_number.iter().filter_map(|(n, c)| Some((c.idle_since?, *n)));
        idle.min().map(|(_, number)| number)
    }
}

impl ConnectionSlot {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// A request has arrived.
    pub(super) fn mark_busy(&self) {
        self.set(None);
    }

    /// Counts the request as slow; false when the limit is reached.
    pub(super) fn begin_slow_request(&self) -> bool {
        let mut all = self.limit.connections();
        if all.by_number.values().filter(|connection| connection.is_slow).count() >= MAX_SLOW_REQUESTS {
            return false;
        }
        if let Some(connection) = all.by_number.get_mut(&self.number) {
            connection.is_slow = true;
        }
        true
    }

    /// The answer has been sent.
    pub(super) fn mark_idle(&self, now: Instant) {
        self.set(Some(now));
        self.limit.0.changed.notify_one();
    }

    fn set(&self, idle_since: Option<Instant>) {
        if let Some(connection) = self.limit.connections().by_number.get_mut(&self.number) {
            (connection.idle_since, connection.is_slow) = (idle_since, false);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.limit.connections().by_number.remove(&self.number);
        self.limit.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn longest_silent_connection_is_evicted_first() {
        let limit = ConnectionLimit::default();
        let mut tasks = Vec::new();
        let slots: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| {
                let slot = limit.take(Instant::now());
                let task = tokio::spawn(std::future::pending::<()>());
                limit.attach(slot.number(), task.abort_handle());
                tasks.push(task);
                slot
            })
            .collect();
        slots[0].mark_busy();
        assert!(limit.has_room());
        let next = limit.take(Instant::now());
        assert!(tasks.remove(1).await.unwrap_err().is_cancelled());
        assert!(tasks.iter().all(|task| !task.is_finished()));

        slots.iter().chain([&next]).for_each(ConnectionSlot::mark_busy);
        assert!(!limit.has_room(), "every connection is being answered");
        next.mark_idle(Instant::now());
        limit.changed().await;
        assert!(limit.has_room());
        next.mark_busy();
        drop(slots);
        assert!(limit.has_room() && limit.connections().by_number.len() == 1);
    }
}
