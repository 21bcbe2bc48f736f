//! Reloads that were asked for: one at a time per channel. What is asked while one is under way is one more afterwards, for it
//! may be about something that the one under way has not seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{ReloadChanges, ReloadError, ReloadTask, Reloaded, reload};

/// Hears how a reload ended.
pub(in crate::engine::master) type ReloadReply = oneshot::Sender<Result<ReloadChanges, ReloadError>>;

/// A reload that is asked for.
pub(in crate::engine::master) struct ReloadRequest {
    pub(in crate::engine::master) channel: Arc<str>,
    /// Absent when a signal asked.
    pub(in crate::engine::master) reply: Option<ReloadReply>,
}

/// Something happened to [`ReloadQueue`].
pub(in crate::engine::master) enum ReloadEvent {
    /// A reload should begin: answer with [`ReloadQueue::begin`].
    Due(Arc<str>),
    /// One has ended.
    Ended(Arc<str>, Box<Result<Reloaded, ReloadError>>),
}

/// See the module.
pub(in crate::engine::master) struct ReloadQueue {
    requests: mpsc::Receiver<ReloadRequest>,
    sender: mpsc::Sender<ReloadRequest>,
    running: JoinSet<(Arc<str>, Result<Reloaded, ReloadError>)>,
    channels: BTreeMap<Arc<str>, ChannelReloads>,
}

#[derive(Default)]
struct ChannelReloads {
    /// Who hears of the reload under way.
    current: Vec<ReloadReply>,
    /// One more was asked for, by these.
    queued: Option<Vec<ReloadReply>>,
}

impl Default for ReloadQueue {
    fn default() -> Self {
        let (sender, requests) = mpsc::channel(16);
        Self { requests, sender, running: JoinSet::new(), channels: BTreeMap::new() }
    }
}

impl ReloadQueue {
    /// Where to ask.
    pub(in crate::engine::master) fn sender(&self) -> mpsc::Sender<ReloadRequest> {
        self.sender.clone()
    }

    /// Waits for the next thing to do. Nothing is lost when it is dropped before.
    pub(in crate::engine::master) async fn next(&mut self) -> ReloadEvent {
        loop {
            tokio::select! {
                Some(ReloadRequest { channel, reply }) = self.requests.recv() => {
                    if let Some(due) = self.enqueue(channel, reply) {
                        return ReloadEvent::Due(due);
                    }
                }
                Some(ended) = self.running.join_next() => {
                    // What could fail in there is a task of its own.
                    if let Ok((channel, result)) = ended {
                        return ReloadEvent::Ended(channel, Box::new(result));
                    }
                }
            }
        }
    }

    /// Notes an order; answers the channel if its reload is to begin now.
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

    /// Begins the reload of a channel.
    pub(in crate::engine::master) fn begin(&mut self, channel: Arc<str>, task: ReloadTask) {
        self.run(channel, reload(task));
    }

    fn run(
        &mut self,
        channel: Arc<str>,
        reload: impl Future<Output = Result<Reloaded, ReloadError>> + Send + 'static,
    ) {
        // In a task of its own: a panic is a bug of ours, and must not keep the channel's next reload waiting for ever.
        let reload = tokio::spawn(reload);
        let bug = |error| Err(ReloadError::Workers(format!("a bug of aint-queue: {error}")));
        self.running.spawn(async move { (channel, reload.await.unwrap_or_else(bug)) });
    }

    /// Tells whoever waits for the reload that has ended; answers whether another one is to begin.
    pub(in crate::engine::master) fn end(
        &mut self,
        channel: &Arc<str>,
        result: &Result<ReloadChanges, ReloadError>,
    ) -> bool {
        let Some(ChannelReloads { current, queued }) = self.channels.remove(channel) else { return false };
        for reply in current {
            // Whoever asked may have gone.
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

    /// Whether no reload is under way.
    pub(in crate::engine::master) fn is_idle(&self) -> bool {
        self.channels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            assert!(queue.enqueue(Arc::clone(&name), Some(reply)).is_none(), "one is under way");
            others.push(end);
        }
        assert!(queue.enqueue("other".into(), None).is_some(), "channels do not wait for each other");
        let failed = Err(ReloadError::Config("no".to_owned()));
        assert!(queue.end(&name, &failed), "one more, for all that have asked meanwhile");
        assert!(first_end.await.unwrap().is_err());
        assert!(others[0].try_recv().is_err(), "nothing is known of the second one yet");
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
        queue.run(Arc::clone(&name), async { panic!("as the test wants it") });
        let event = tokio::time::timeout(Duration::from_secs(10), queue.next()).await.expect("it ends");
        let ReloadEvent::Ended(ended, result) = event else { panic!("nobody has asked for another") };
        assert!(!queue.end(&ended, &result.map(|reloaded| reloaded.changes)) && queue.is_idle());
        assert!(matches!(end.await.unwrap(), Err(ReloadError::Workers(why)) if why.contains("a bug")));
    }
}
