//! Delivers messages: one task per receiver on a thread of its own, so that neither the master nor another receiver waits for one that
//! hangs.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::message_queue::{MessageQueue, TokenBucket, Waiting};
use super::notification::Notification;
use super::outbox::{Delivered, Outbox, ReceiverStatus};
use super::receivers::{NextAttempt, SendFailure, Sender};
use crate::config::alerts::{Receiver, ReceiverKind};
use crate::guardian::GuardianHandle;
use crate::job::Timestamp;
use aint_queue_core::mutex::lock;

/// Waits between the attempts to send one message.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];
/// The longest wait that a receiver can ask for.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// Time that a stop leaves for the messages that wait.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Time over which repeats to Feishu are spread.
const FEISHU_SPREAD: Duration = Duration::from_secs(20);

/// The receivers of a master.
#[derive(Debug)]
pub struct Deliveries {
    receivers: BTreeMap<String, Arc<Mailbox>>,
    stop: watch::Sender<bool>,
    /// The end of the thread, for the caller that waits for it.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// The messages and the state of one receiver, shared with its task.
#[derive(Debug, Default)]
struct Mailbox {
    contents: Mutex<Contents>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Contents {
    queue: MessageQueue,
    /// Whether a message has left the queue and has no result yet.
    is_sending: bool,
    /// The call of a heartbeat that is due: the trouble to report, if any.
    beat: Option<Option<String>>,
    status: ReceiverStatus,
}

impl Deliveries {
    /// Starts the thread of the receivers.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        receivers: impl IntoIterator<Item = Receiver>,
        guardian: Option<GuardianHandle>,
    ) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut mailboxes = BTreeMap::new();
        let mut tasks = Vec::new();
        for receiver in receivers {
            let mailbox = Arc::new(Mailbox::default());
            mailboxes.insert(receiver.name.clone(), Arc::clone(&mailbox));
            tasks.push(Task {
                bucket: is_chat(&receiver.kind).then(TokenBucket::new),
                receiver,
                guardian: guardian.clone(),
                mailbox,
                stopped: stopped.clone(),
                is_failing: false,
            });
        }
        std::thread::Builder::new().name("alerts".to_owned()).spawn(move || {
            runtime.block_on(run_all(tasks, stopped));
            // A write to a file system that hangs must not hold up the end of the master.
            runtime.shutdown_background();
            // The receiver of the end may be gone.
            let _ = end.send(());
        })?;
        Ok(Self { receivers: mailboxes, stop, ended: Mutex::new(Some(ended)) })
    }

    /// Sends one call of a heartbeat. A call that has not been sent yet is replaced. `trouble` is the reason why the channels are
    /// not watched as they should be.
    pub fn beat(&self, receiver: &str, trouble: Option<String>) {
        let Some(mailbox) = self.receivers.get(receiver) else { return };
        lock(&mailbox.contents).beat = Some(trouble);
        mailbox.arrived.notify_one();
    }

    /// Ends the deliveries: what waits is tried once, within two seconds.
    pub async fn stop(&self) {
        // The thread may have ended already.
        let _ = self.stop.send(true);
        let ended = lock(&self.ended).take();
        if let Some(ended) = ended {
            let _ = timeout(STOP_TIMEOUT + Duration::from_millis(500), ended).await;
        }
    }
}

/// Messages go out after those that wait. An unknown receiver is a failure.
impl Outbox for Deliveries {
    fn deliver(&self, receiver: &str, message: Notification, results: mpsc::UnboundedSender<Delivered>) {
        let waiting = Waiting { message, results: vec![results] };
        let Some(mailbox) = self.receivers.get(receiver) else {
            return report(receiver, &waiting, Some("the configuration has no such receiver"));
        };
        let dropped = {
            let mut contents = lock(&mailbox.contents);
            let dropped = contents.queue.push(waiting);
            contents.status.counts.dropped += u64::from(dropped.is_some());
            dropped
        };
        if let Some(dropped) = dropped {
            report(receiver, &dropped, Some("dropped: too many messages wait for this receiver"));
        }
        mailbox.arrived.notify_one();
    }

    fn status(&self) -> BTreeMap<String, ReceiverStatus> {
        let of = |(name, mailbox): (&String, &Arc<Mailbox>)| {
            let contents = lock(&mailbox.contents);
            let waiting = contents.queue.len() + usize::from(contents.is_sending);
            (name.clone(), ReceiverStatus { waiting, ..contents.status.clone() })
        };
        self.receivers.iter().map(of).collect()
    }
}

/// Reports the result of a message to those who wait for it, which may have ended.
fn report(receiver: &str, waiting: &Waiting, error: Option<&str>) {
    for results in &waiting.results {
        let _ = results.send(Delivered { receiver: receiver.to_owned(), error: error.map(str::to_owned) });
    }
}

/// Sends one message to a receiver at once, as `queue:alerts --test` does. A heartbeat gets a call.
///
/// # Errors
/// The failure of the only attempt.
pub async fn test_receiver(
    receiver: Receiver,
    notification: &Notification,
    guardian: Option<GuardianHandle>,
) -> Result<(), SendFailure> {
    let is_heartbeat = matches!(receiver.kind, ReceiverKind::Heartbeat { .. });
    let mut sender = Sender::new(receiver, guardian);
    if is_heartbeat { sender.beat(None).await } else { sender.send(notification, now()).await }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Whether the receiver is a chat service, which takes few messages in a minute.
fn is_chat(kind: &ReceiverKind) -> bool {
    matches!(
        kind,
        ReceiverKind::DingTalk { .. }
            | ReceiverKind::WeCom { .. }
            | ReceiverKind::Feishu { .. }
            | ReceiverKind::Slack { .. }
            | ReceiverKind::Teams { .. }
            | ReceiverKind::Discord { .. }
    )
}

/// The time over which repeats to a service are spread: Feishu is busy at full and half hours, when many programs repeat.
fn spread(kind: &ReceiverKind, message: &Notification) -> Option<Duration> {
    (matches!(kind, ReceiverKind::Feishu { .. }) && message.is_repeat()).then_some(FEISHU_SPREAD)
}

/// Runs the tasks until the stop, and then until what waits has been tried or the time is over.
async fn run_all(tasks: Vec<Task>, mut stopped: watch::Receiver<bool>) {
    let mut running = tokio::task::JoinSet::new();
    for task in tasks {
        running.spawn(task.run());
    }
    // An error means that the owner is gone without a stop.
    let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
    let _ = timeout(STOP_TIMEOUT, async { while running.join_next().await.is_some() {} }).await;
}

/// The task of one receiver.
struct Task {
    receiver: Receiver,
    guardian: Option<GuardianHandle>,
    mailbox: Arc<Mailbox>,
    bucket: Option<TokenBucket>,
    stopped: watch::Receiver<bool>,
    /// Whether the last message failed for good, which the log has said.
    is_failing: bool,
}

/// The next work of a receiver.
enum Work {
    Message(Box<Waiting>),
    Beat(Option<String>),
}

impl Task {
    async fn run(mut self) {
        let mut sender = Sender::new(self.receiver.clone(), self.guardian.take());
        let mut was_muted = false;
        loop {
            match self.next(was_muted) {
                Some(Work::Message(waiting)) => {
                    if let Some(spread) = spread(&self.receiver.kind, &waiting.message) {
                        let wait = spread.mul_f64(fastrand::f64());
                        wait_or_stop(wait, &mut self.stopped).await;
                    }
                    self.wait_for_token().await;
                    was_muted = self.deliver(&mut sender, &waiting).await;
                }
                Some(Work::Beat(trouble)) => {
                    let result = sender.beat(trouble.as_deref()).await;
                    self.note(&result.map_err(|failure| failure.message), true);
                }
                None if self.is_stopped() => return,
                None => {
                    let arrived = Arc::clone(&self.mailbox);
                    tokio::select! {
                        () = arrived.arrived.notified() => {}
                        () = stop_of(&mut self.stopped) => {}
                    }
                }
            }
        }
    }

    fn next(&self, joined: bool) -> Option<Work> {
        let mut contents = lock(&self.mailbox.contents);
        if let Some(trouble) = contents.beat.take() {
            return Some(Work::Beat(trouble));
        }
        let message = contents.queue.pop(joined);
        contents.is_sending = message.is_some();
        message.map(|message| Work::Message(Box::new(message)))
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.borrow() || self.stopped.has_changed().is_err()
    }

    /// Waits until the chat service takes another message.
    async fn wait_for_token(&mut self) {
        let Some(bucket) = &mut self.bucket else { return };
        while let Err(wait) = bucket.take(now()) {
            if wait_or_stop(wait, &mut self.stopped).await {
                return;
            }
        }
    }

    /// Sends a message, again after failures that may pass. Returns whether the receiver was muted meanwhile.
    async fn deliver(&mut self, sender: &mut Sender, waiting: &Waiting) -> bool {
        let mut was_muted = false;
        for attempt in 0.. {
            let failure = match sender.send(&waiting.message, now()).await {
                Ok(()) => {
                    self.note(&Ok(()), true);
                    report(&self.receiver.name, waiting, None);
                    return was_muted;
                }
                Err(failure) => failure,
            };
            let wait = wait_before_next(&failure, attempt).filter(|_| !self.is_stopped());
            self.note(&Err(failure.message.clone()), wait.is_none());
            let Some(wait) = wait else {
                report(&self.receiver.name, waiting, Some(&failure.message));
                return was_muted;
            };
            let is_muted = matches!(failure.next, NextAttempt::Muted(_));
            was_muted |= is_muted;
            lock(&self.mailbox.contents).status.muted_until = is_muted.then(|| now().after(wait));
            wait_or_stop(wait, &mut self.stopped).await;
            lock(&self.mailbox.contents).status.muted_until = None;
        }
        was_muted
    }

    /// Counts an attempt, and logs the first failure of several and the end of them.
    fn note(&mut self, result: &Result<(), String>, is_final: bool) {
        let receiver = self.receiver.name.as_str();
        {
            let mut contents = lock(&self.mailbox.contents);
            contents.is_sending &= !is_final;
            let status = &mut contents.status;
            status.last_at = Some(now());
            status.last_error = result.as_ref().err().cloned();
            match result {
                Ok(()) => status.counts.sent += 1,
                Err(_) if is_final => status.counts.failed += 1,
                Err(_) => {}
            }
        }
        match result {
            Err(error) if is_final && !self.is_failing => {
                self.is_failing = true;
                warn!(
                    receiver,
                    error,
                    "alert not delivered: correct the receiver, and try it with queue:alerts --test {receiver}"
                );
            }
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                info!(receiver, "alerts are delivered again");
            }
            _ => {}
        }
    }
}

/// The wait before the next attempt after this many; `None` when the message is given up.
fn wait_before_next(failure: &SendFailure, attempt: usize) -> Option<Duration> {
    let usual = *WAITS.get(attempt)?;
    match failure.next {
        NextAttempt::Never => None,
        NextAttempt::Usual => Some(usual),
        NextAttempt::After(wait) | NextAttempt::Muted(wait) => Some(wait.min(MAX_WAIT)),
    }
}

async fn stop_of(stopped: &mut watch::Receiver<bool>) {
    // An error means that the owner is gone, which is a stop.
    let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
}

/// Waits for this long or for the stop, which is then the result.
async fn wait_or_stop(wait: Duration, stopped: &mut watch::Receiver<bool>) -> bool {
    let until = Instant::now() + wait;
    tokio::select! {
        () = tokio::time::sleep_until(until) => false,
        () = stop_of(stopped) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::alerts::sample::{notification, resolved};

    #[test]
    fn repeats_to_feishu_are_spread_and_news_is_not() {
        let config = "[channels.a]\n[alerts.receivers]\nfeishu = { type = \"feishu\", url = \"https://open.feishu.cn/x\" }\nlog = { type = \"log\" }";
        let receivers =
            crate::config::Config::parse(config, "/srv/a.toml").unwrap().alerts.unwrap().receivers;
        let spread = |name: &str, message: &Notification| spread(&receivers[name].kind, message);
        let repeat = notification();
        assert_eq!((spread("feishu", &repeat), spread("log", &repeat)), (Some(FEISHU_SPREAD), None));
        assert_eq!(spread("feishu", &resolved()), None, "an end");
        let mut first = notification();
        first.at = first.alerts[0].started_at.after(Duration::from_secs(10));
        assert_eq!(spread("feishu", &first), None);
    }

    #[test]
    fn waits_grow_and_end_and_follow_the_receiver() {
        let wait = |next, attempt| {
            let failure = SendFailure { message: String::new(), next };
            wait_before_next(&failure, attempt).map(|wait| wait.as_secs())
        };
        let usual: Vec<_> = (0..4).map(|attempt| wait(NextAttempt::Usual, attempt)).collect();
        assert_eq!(usual, [Some(1), Some(5), Some(25), None]);
        assert_eq!(wait(NextAttempt::Never, 0), None);
        assert_eq!(wait(NextAttempt::After(Duration::from_secs(7)), 0), Some(7));
        assert_eq!(wait(NextAttempt::After(Duration::from_secs(86_400)), 0), Some(600));
        assert_eq!(wait(NextAttempt::Muted(Duration::from_secs(600)), 2), Some(600));
        assert_eq!(wait(NextAttempt::Muted(Duration::from_secs(600)), 3), None);
    }
}
