//! The results of the snapshot handlers of a channel, for `queue:alerts`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;
use serde::{Deserialize, Serialize};

/// The snapshots that a handler got since the start of the master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandlerStatus {
    /// Handled ones.
    pub done: u64,
    /// Failed ones.
    pub failed: u64,
    /// The failure of the last one; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The results of all handlers of a channel, by name.
#[derive(Debug, Default)]
pub struct HandlerStatuses(Mutex<BTreeMap<Arc<str>, HandlerStatus>>);

impl HandlerStatuses {
    /// Forgets all handlers but these.
    pub fn keep(&self, names: &[Arc<str>]) {
        lock(&self.0).retain(|name, _| names.contains(name));
    }

    /// Notes a result.
    pub(super) fn note(&self, name: &Arc<str>, error: Option<String>) {
        let mut all = lock(&self.0);
        let status = all.entry(Arc::clone(name)).or_default();
        *(if error.is_none() { &mut status.done } else { &mut status.failed }) += 1;
        status.error = error;
    }

    /// The results.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, HandlerStatus> {
        lock(&self.0).iter().map(|(name, status)| (name.to_string(), status.clone())).collect()
    }
}
