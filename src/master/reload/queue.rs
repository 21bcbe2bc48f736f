//! The queue of reloads: one at a time per channel. All requests during a reload share one further reload afterwards, because
//! the running one may have read an older configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::messages::{ReloadChanges, ReloadError, ReloadReply, ReloadRequest};
use super::task::Reloaded;

/// Reload requests that may wait in the queue of the service loop.
const REQUEST_QUEUE: usize = 16;

/// An event of [`ReloadQueue::next`].
pub(in crate::engine::master) enum ReloadEvent {
    /// A reload is due: call [`ReloadQueue::begin`].
    Due(Arc<str>),
    /// A reload has ended: call [`ReloadQueue::end`].
    Ended(Arc<str>, Box<Result<Reloaded, ReloadError>>),
}

/// The running and the requested reloads of all channels.
pub(in crate::engine::master) struct ReloadQueue {
    requests: mpsc::Receiver<ReloadRequest>,
    sender: mpsc::Sender<ReloadRequest>,
    running: JoinSet<(Arc<str>, Result<Reloaded, ReloadError>)>,
    channels: BTreeMap<Arc<str>, ChannelReloads>,
}

#[derive(Default)]
struct ChannelReloads {
    /// Requests that wait for the running reload.
    current: Vec<ReloadReply>,
    /// Requests that wait for one further reload; `None` when none is due.
    queued: Option<Vec<ReloadReply>>,
}

impl Default for ReloadQueue {
    fn default() -> Self {
        let (sender, requests) = mpsc::channel(REQUEST_QUEUE);
        Self { requests, sender, running: JoinSet::new(), channels: BTreeMap::new() }
    }
}

impl ReloadQueue {
    /// The queue for requests of the control socket.
    pub(in crate::engine::master) fn sender(&self) -> mpsc::Sender<ReloadRequest> {
        self.sender.clone()
    }

    /// Waits for the next event. Cancel safe.
    pub(in crate::engine::master) async fn next(&mut self) -> ReloadEvent {
        loop {
            tokio::select! {
                Some(ReloadRequest { channel, reply }) = self.requests.recv() => {
                    if let Some(due) = self.enqueue(channel, reply) {
                        return ReloadEvent::Due(due);
                    }
                }
                Some(ended) = self.running.join_next() => {
                    // An error cannot occur: `begin` catches the panics of a reload in an inner task.
                    if let Ok((channel, result)) = ended {
                        return ReloadEvent::Ended(channel, Box::new(result));
                    }
                }
            }
        }
    }

    /// Adds a request; returns the channel if its reload is due now.
    pub(in crate::engine::master) fn enqueue(
        &mut self,
        channel: Arc<str>,
        reply: Option<ReloadReply>,
    ) -> Option<Arc<str>> {
        match self.channels.get_mut(&channel) {
            Some(busy) => {
                busy.queued.get_or_insert_default().extend(reply);
                None
            }
            None => {
                let current = reply.into_iter().collect();
                self.channels.insert(Arc::clone(&channel), ChannelReloads { current, queued: None });
                Some(channel)
            }
        }
    }

    /// Starts the reload of a channel.
    pub(in crate::engine::master) fn begin(
        &mut self,
        channel: Arc<str>,
        reload: impl Future<Output = Result<Reloaded, ReloadError>> + Send + 'static,
    ) {
        // An inner task, so that a panic, which is a bug, ends as an error and does not block the channel's next reload.
        let reload = tokio::spawn(reload);
        let bug = |error| Err(ReloadError::Workers(format!("a bug of aint-queue: {error}")));
        self.running.spawn(async move { (channel, reload.await.unwrap_or_else(bug)) });
    }

    /// Answers the requests that wait for the ended reload; returns whether another one is due.
    pub(in crate::engine::master) fn end(
        &mut self,
        channel: &Arc<str>,
        result: &Result<ReloadChanges, ReloadError>,
    ) -> bool {
        let Some(ChannelReloads { current, queued }) = self.channels.remove(channel) else { return false };
        for reply in current {
            // The requester may have disconnected.
            let _ = reply.send(result.clone());
        }
        match queued {
            None => false,
            Some(current) => {
                self.channels.insert(Arc::clone(channel), ChannelReloads { current, queued: None });
                true
            }
        }
    }

    /// Whether no reload runs or waits.
    pub(in crate::engine::master) fn is_idle(&self) -> bool {
        self.channels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn requests_during_a_reload_become_one_more() {
        let mut queue = ReloadQueue::default();
        let name: Arc<str> = "default".into();
        let request = || oneshot::channel();
        let (first, first_end) = request();
        assert!(queue.enqueue(Arc::clone(&name), Some(first)).is_some());
        let mut others = Vec::new();
        for _ in 0..9 {
            let (reply, end) = request();
            assert!(queue.enqueue(Arc::clone(&name), Some(reply)).is_none(), "a reload is running");
            others.push(end);
        }
        assert!(queue.enqueue("other".into(), None).is_some(), "channels do not wait for each other");
        let failed = Err(ReloadError::Config("no".to_owned()));
        assert!(queue.end(&name, &failed), "one further reload for all requests in between");
        assert!(first_end.await.unwrap().is_err());
        assert!(others[0].try_recv().is_err(), "the further reload has not ended");
        assert!(!queue.end(&name, &failed));
        for end in others {
            assert!(end.await.unwrap().is_err());
        }
        assert!(!queue.is_idle() && !queue.end(&"other".into(), &failed) && queue.is_idle());
    }

    #[tokio::test]
    async fn panicking_reload_ends() {
        let mut queue = ReloadQueue::default();
        let name: Arc<str> = "default".into();
        let (reply, end) = oneshot::channel();
        assert!(queue.enqueue(Arc::clone(&name), Some(reply)).is_some());
        queue.begin(Arc::clone(&name), async { panic!("expected by the test") });
        let event =
            tokio::time::timeout(Duration::from_secs(10), queue.next()).await.expect("the reload ends");
        let ReloadEvent::Ended(ended, result) = event else { panic!("no other reload is due") };
        assert!(!queue.end(&ended, &result.map(|reloaded| reloaded.changes)) && queue.is_idle());
        assert!(matches!(end.await.unwrap(), Err(ReloadError::Workers(why)) if why.contains("a bug")));
    }
}
