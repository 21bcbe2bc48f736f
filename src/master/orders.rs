//! Reloads that were asked for: one at a time per channel. What is asked while one is under way is one more afterwards, for it
//! may be about something that the one under way has not seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::reload::{Changes, NotReloaded, Reloaded, Task, reload};

/// Hears how a reload ended.
pub(super) type Reply = oneshot::Sender<Result<Changes, NotReloaded>>;

/// A reload that is asked for.
pub(super) struct Order {
    pub(super) channel: Arc<str>,
    /// Absent when a signal asked.
    pub(super) reply: Option<Reply>,
}

/// Something happened to [`Orders`].
pub(super) enum Event {
    /// A reload should begin: answer with [`Orders::begin`].
    Due(Arc<str>),
    /// One has ended.
    Ended(Arc<str>, Box<Result<Reloaded, NotReloaded>>),
}

/// See the module.
pub(super) struct Orders {
    asked: mpsc::Receiver<Order>,
    ask: mpsc::Sender<Order>,
    under_way: JoinSet<(Arc<str>, Result<Reloaded, NotReloaded>)>,
    channels: BTreeMap<Arc<str>, Channel>,
}

#[derive(Default)]
struct Channel {
    /// Who hears of the reload under way.
    now: Vec<Reply>,
    /// One more was asked for, by these.
    next: Option<Vec<Reply>>,
}

impl Default for Orders {
    fn default() -> Self {
        let (ask, asked) = mpsc::channel(16);
        Self { asked, ask, under_way: JoinSet::new(), channels: BTreeMap::new() }
    }
}

impl Orders {
    /// Where to ask.
    pub(super) fn sender(&self) -> mpsc::Sender<Order> {
        self.ask.clone()
    }

    /// Waits for the next thing to do. Nothing is lost when it is dropped before.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                Some(Order { channel, reply }) = self.asked.recv() => {
                    if let Some(due) = self.take(channel, reply) {
                        return Event::Due(due);
                    }
                }
                Some(ended) = self.under_way.join_next() => {
                    // What could fail in there is a task of its own.
                    if let Ok((channel, result)) = ended {
                        return Event::Ended(channel, Box::new(result));
                    }
                }
            }
        }
    }

    /// Notes an order; answers the channel if its reload is to begin now.
    pub(super) fn take(&mut self, channel: Arc<str>, reply: Option<Reply>) -> Option<Arc<str>> {
        match self.channels.get_mut(&channel) {
            Some(busy) => {
                busy.next.get_or_insert_default().extend(reply);
                None
            }
            None => {
                let now = reply.into_iter().collect();
                self.channels.insert(Arc::clone(&channel), Channel { now, next: None });
                Some(channel)
            }
        }
    }

    /// Begins the reload of a channel.
    pub(super) fn begin(&mut self, channel: Arc<str>, task: Task) {
        self.run(channel, reload(task));
    }

    fn run(
        &mut self,
        channel: Arc<str>,
        reload: impl Future<Output = Result<Reloaded, NotReloaded>> + Send + 'static,
    ) {
        // In a task of its own: a panic is a bug of ours, and must not keep the channel's next reload waiting for ever.
        let reload = tokio::spawn(reload);
        let bug = |error| Err(NotReloaded::Workers(format!("a bug of aint-queue: {error}")));
        self.under_way.spawn(async move { (channel, reload.await.unwrap_or_else(bug)) });
    }

    /// Tells whoever waits for the reload that has ended; answers whether another one is to begin.
    pub(super) fn end(&mut self, channel: &Arc<str>, result: &Result<Changes, NotReloaded>) -> bool {
        let Some(Channel { now, next }) = self.channels.remove(channel) else { return false };
        for reply in now {
            // Whoever asked may have gone.
            let _ = reply.send(result.clone());
        }
        match next {
            None => false,
            Some(now) => {
                self.channels.insert(Arc::clone(channel), Channel { now, next: None });
                true
            }
        }
    }

    /// Whether no reload is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.channels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_meanwhile_is_one_more_reload() {
        let mut orders = Orders::default();
        let name: Arc<str> = "default".into();
        let order = || oneshot::channel();
        let (first, first_end) = order();
        assert!(orders.take(Arc::clone(&name), Some(first)).is_some());
        let mut others = Vec::new();
        for _ in 0..9 {
            let (reply, end) = order();
            assert!(orders.take(Arc::clone(&name), Some(reply)).is_none(), "one is under way");
            others.push(end);
        }
        assert!(orders.take("other".into(), None).is_some(), "channels do not wait for each other");
        let failed = Err(NotReloaded::Config("no".to_owned()));
        assert!(orders.end(&name, &failed), "one more, for all that have asked meanwhile");
        assert!(first_end.await.unwrap().is_err());
        assert!(others[0].try_recv().is_err(), "nothing is known of the second one yet");
        assert!(!orders.end(&name, &failed));
        for end in others {
            assert!(end.await.unwrap().is_err());
        }
        assert!(!orders.is_idle() && !orders.end(&"other".into(), &failed) && orders.is_idle());
    }

    #[tokio::test]
    async fn a_reload_that_panics_has_ended_too() {
        let mut orders = Orders::default();
        let name: Arc<str> = "default".into();
        let (reply, end) = oneshot::channel();
        assert!(orders.take(Arc::clone(&name), Some(reply)).is_some());
        orders.run(Arc::clone(&name), async { panic!("as the test wants it") });
        let event = tokio::time::timeout(Duration::from_secs(10), orders.next()).await.expect("it ends");
        let Event::Ended(ended, result) = event else { panic!("nobody has asked for another") };
        assert!(!orders.end(&ended, &result.map(|reloaded| reloaded.changes)) && orders.is_idle());
        assert!(matches!(end.await.unwrap(), Err(NotReloaded::Workers(why)) if why.contains("a bug")));
    }
}
