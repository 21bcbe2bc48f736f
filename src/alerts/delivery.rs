//! Delivers messages: one task per receiver on a thread of its own, so that neither the master nor another receiver waits for one that
//! hangs.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::Fingerprint;
use super::notification::Notification;
use super::outbox::{Outbox, TokenBucket};
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

/// The receivers of a master.
#[derive(Debug)]
pub struct Deliveries {
    receivers: BTreeMap<String, Arc<Mailbox>>,
    results: mpsc::UnboundedSender<Delivered>,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

/// The result of an attempt to deliver a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The name of the receiver.
    pub receiver: String,
    /// The alerts of the message.
    pub fingerprints: Vec<Fingerprint>,
    /// The time of the attempt.
    pub at: Timestamp,
    /// The verdict.
    pub result: Result<(), FailedDelivery>,
}

/// The failure of an attempt to deliver a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDelivery {
    /// The reason, without secrets.
    pub message: String,
    /// Whether no further attempt follows.
    pub is_final: bool,
}

/// The state of a receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReceiverStatus {
    /// Messages and calls that the receiver took.
    pub sent: u64,
    /// Messages and calls that failed for good.
    pub failed: u64,
    /// Messages that were dropped because too many waited.
    pub dropped: u64,
    /// Messages that wait.
    pub waiting: usize,
    /// The time of the last attempt.
    pub last_at: Option<Timestamp>,
    /// The failure of the last attempt; `None` after a success.
    pub last_error: Option<String>,
    /// The time until which the receiver is left alone.
    pub muted_until: Option<Timestamp>,
}

/// The messages and the state of one receiver, shared with its task.
#[derive(Debug, Default)]
struct Mailbox {
    contents: Mutex<Contents>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Contents {
    outbox: Outbox,
    /// The call of a heartbeat that is due: the trouble to report, if any.
    beat: Option<Option<String>>,
    status: ReceiverStatus,
}

impl Deliveries {
    /// Starts the thread of the receivers. The results of all attempts arrive at the second value.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        receivers: impl IntoIterator<Item = Receiver>,
        guardian: Option<GuardianHandle>,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<Delivered>)> {
        let (results, on_result) = mpsc::unbounded_channel();
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
                results: results.clone(),
                stopped: stopped.clone(),
                is_failing: false,
            });
        }
        std::thread::Builder::new().name("alerts".to_owned()).spawn(move || {
            runtime.block_on(run_all(tasks, stopped));
            // A write to a file system that hangs must not hold up the end of the master.
            runtime.shutdown_background();
            // Nobody may wait for the end.
            let _ = end.send(());
        })?;
        Ok((Self { receivers: mailboxes, results, stop, ended }, on_result))
    }

    /// Sends a message to a receiver, after those that wait. An unknown receiver is ignored.
    pub fn deliver(&self, receiver: &str, notification: Notification) {
        let Some(mailbox) = self.receivers.get(receiver) else { return };
        let dropped = {
            let mut contents = lock(&mailbox.contents);
            let dropped = contents.outbox.push(notification);
            contents.status.dropped += u64::from(dropped.is_some());
            dropped
        };
        if let Some(dropped) = dropped {
            let message = "dropped: too many messages wait for this receiver".to_owned();
            let failure = FailedDelivery { message, is_final: true };
            // The master may have ended its side.
            let _ = self.results.send(Delivered::of(receiver, &dropped, Err(failure)));
        }
        mailbox.arrived.notify_one();
    }

    /// Sends one call of a heartbeat. A call that has not been sent yet is replaced. `trouble` is the reason why the channels are
    /// not watched as they should be.
    pub fn beat(&self, receiver: &str, trouble: Option<String>) {
        let Some(mailbox) = self.receivers.get(receiver) else { return };
        lock(&mailbox.contents).beat = Some(trouble);
        mailbox.arrived.notify_one();
    }

    /// The state of each receiver.
    #[must_use]
    pub fn status(&self) -> BTreeMap<String, ReceiverStatus> {
        let of = |(name, mailbox): (&String, &Arc<Mailbox>)| {
            let contents = lock(&mailbox.contents);
            let status = ReceiverStatus { waiting: contents.outbox.len(), ..contents.status.clone() };
            (name.clone(), status)
        };
        self.receivers.iter().map(of).collect()
    }

    /// Ends the deliveries: what waits is tried once, within two seconds.
    pub async fn stop(self) {
        // The thread may have ended already.
        let _ = self.stop.send(true);
        let _ = timeout(STOP_TIMEOUT + Duration::from_millis(500), self.ended).await;
    }
}

impl Delivered {
    fn of(receiver: &str, notification: &Notification, result: Result<(), FailedDelivery>) -> Self {
        let fingerprints = notification.alerts.iter().map(|alert| alert.fingerprint).collect();
        Self { receiver: receiver.to_owned(), fingerprints, at: now(), result }
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
    results: mpsc::UnboundedSender<Delivered>,
    stopped: watch::Receiver<bool>,
    /// Whether the last message failed for good, which the log has said.
    is_failing: bool,
}

/// The next work of a receiver.
enum Work {
    Message(Box<Notification>),
    Beat(Option<String>),
}

impl Task {
    async fn run(mut self) {
        let mut sender = Sender::new(self.receiver.clone(), self.guardian.take());
        let mut was_muted = false;
        loop {
            match self.next(was_muted) {
                Some(Work::Message(message)) => {
                    self.wait_for_token().await;
                    was_muted = self.deliver(&mut sender, &message).await;
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
        contents.outbox.pop(joined).map(|message| Work::Message(Box::new(message)))
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
    async fn deliver(&mut self, sender: &mut Sender, message: &Notification) -> bool {
        let mut was_muted = false;
        for attempt in 0.. {
            let failure = match sender.send(message, now()).await {
                Ok(()) => {
                    self.report(message, Ok(()));
                    return was_muted;
                }
                Err(failure) => failure,
            };
            let wait = wait_before_next(&failure, attempt).filter(|_| !self.is_stopped());
            if let (NextAttempt::Muted(_), Some(wait)) = (failure.next, wait) {
                was_muted = true;
                lock(&self.mailbox.contents).status.muted_until = Some(now().after(wait));
            }
            let is_final = wait.is_none();
            self.report(message, Err(FailedDelivery { message: failure.message, is_final }));
            let Some(wait) = wait else { return was_muted };
            wait_or_stop(wait, &mut self.stopped).await;
            lock(&self.mailbox.contents).status.muted_until = None;
        }
        was_muted
    }

    fn report(&mut self, message: &Notification, result: Result<(), FailedDelivery>) {
        let is_final = result.as_ref().err().is_none_or(|failure| failure.is_final);
        self.note(&result.clone().map_err(|failure| failure.message), is_final);
        // The master may have ended its side.
        let _ = self.results.send(Delivered::of(&self.receiver.name, message, result));
    }

    /// Counts an attempt, and logs the first failure of several and the end of them.
    fn note(&mut self, result: &Result<(), String>, is_final: bool) {
        let receiver = self.receiver.name.as_str();
        {
            let status = &mut lock(&self.mailbox.contents).status;
            status.last_at = Some(now());
            status.last_error = result.as_ref().err().cloned();
            match result {
                Ok(()) => status.sent += 1,
                Err(_) if is_final => status.failed += 1,
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
