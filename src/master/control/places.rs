//! The connections of a control socket: so many are served at once, and one that says nothing gives way to one that comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Connections served at once on one socket.
pub(super) const MOST: usize = 32;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Shared>);

#[derive(Default)]
struct Shared {
    taken: Mutex<Taken>,
    /// A place may have become free.
    changed: Notify,
}

#[derive(Default)]
struct Taken {
    next: u64,
    connections: BTreeMap<u64, Connection>,
}

struct Connection {
    /// `None` while it is being answered.
    silent_since: Option<Instant>,
    task: Option<AbortHandle>,
}

/// The place of one connection, free again when this is dropped.
pub(super) struct Seat {
    number: u64,
    places: Places,
}

impl Places {
    /// Whether one more can be served.
    pub(super) fn has_room(&self) -> bool {
        let taken = self.taken();
        taken.connections.len() < MOST || taken.most_silent().is_some()
    }

    /// Waits for a change that may have made room.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// A place for one more; where there is none, the connection that has said nothing for longest ends.
    pub(super) fn take(&self) -> Seat {
        let mut taken = self.taken();
        if taken.connections.len() >= MOST
            && let Some(silent) = taken.most_silent()
            && let Some(Connection { task: Some(task), .. }) = taken.connections.remove(&silent)
        {
            task.abort();
        }
        let number = taken.next;
        taken.next += 1;
        taken.connections.insert(number, Connection { silent_since: Some(Instant::now()), task: None });
        drop(taken);
        Seat { number, places: self.clone() }
    }

    /// What to end when this place is needed.
    pub(super) fn serves(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = self.taken().connections.get_mut(&number) {
            connection.task = Some(task);
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().expect("nothing panics while it holds this")
    }
}

impl Taken {
    fn most_silent(&self) -> Option<u64> {
        let silent = self.connections.iter().filter_map(|(n, c)| Some((c.silent_since?, *n)));
        silent.min().map(|(_, number)| number)
    }
}

impl Seat {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Something was said, and is being answered.
    pub(super) fn busy(&self) {
        self.set(None);
    }

    /// The answer is out.
    pub(super) fn silent(&self) {
        self.set(Some(Instant::now()));
        self.places.0.changed.notify_one();
    }

    fn set(&self, silent_since: Option<Instant>) {
        if let Some(connection) = self.places.taken().connections.get_mut(&self.number) {
            connection.silent_since = silent_since;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.taken().connections.remove(&self.number);
        self.places.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_is_silent_for_longest_gives_way_and_one_that_is_answered_never() {
        let places = Places::default();
        let mut tasks = Vec::new();
        let seats: Vec<_> = (0..MOST)
            .map(|_| {
                let seat = places.take();
                let task = tokio::spawn(std::future::pending::<()>());
                places.serves(seat.number(), task.abort_handle());
                tasks.push(task);
                seat
            })
            .collect();
        seats[0].busy();
        assert!(places.has_room());
        let next = places.take();
        assert!(tasks.remove(1).await.unwrap_err().is_cancelled());
        assert!(tasks.iter().all(|task| !task.is_finished()));

        seats.iter().chain([&next]).for_each(Seat::busy);
        assert!(!places.has_room(), "all are being answered");
        next.silent();
        places.changed().await;
        assert!(places.has_room());
        next.busy();
        drop(seats);
        assert!(places.has_room() && places.taken().connections.len() == 1);
    }
}
