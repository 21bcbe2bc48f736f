//! Wake-ups of masters that wait for work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::mutex::lock;

/// The wake counts of a file's channels, shared by its threads and its waiting masters.
#[derive(Clone, Default)]
pub(super) struct Wakeups {
    channels: Arc<Mutex<BTreeMap<i64, watch::Sender<i64>>>>,
    waiting: Arc<AtomicUsize>,
    writing: Arc<AtomicUsize>,
}

impl Wakeups {
    /// Publishes new wake counts.
    pub(super) fn publish(&self, counts: Vec<(i64, i64)>) {
        if counts.is_empty() {
            return;
        }
        let channels = lock(&self.channels);
        for (channel, count) in counts {
            if let Some(wakes) = channels.get(&channel) {
                // The reader thread may publish an older count after the writer: counts only grow.
                wakes.send_if_modified(|wakes| {
                    let newer = count > *wakes;
                    *wakes = count.max(*wakes);
                    newer
                });
            }
        }
    }

    /// Subscribes to the wake count of a channel, starting at the known one.
    pub(super) fn watch(&self, channel: i64, known: i64) -> watch::Receiver<i64> {
        lock(&self.channels).entry(channel).or_insert_with(|| watch::Sender::new(known)).subscribe()
    }

    /// Whether any master waits.
    pub(super) fn awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Registers a waiting master until the guard is dropped.
    pub(super) fn wait(&self) -> Registration {
        Registration::new(&self.waiting)
    }

    /// Whether this process has a write transaction: no other process writes meanwhile.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.load(Ordering::Relaxed) > 0
    }

    /// Registers a write transaction that has begun until the guard is dropped.
    pub(super) fn write(&self) -> Registration {
        Registration::new(&self.writing)
    }
}

/// Registration of a waiting master or a write transaction.
pub(super) struct Registration(Arc<AtomicUsize>);

impl Registration {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
