//! Settings, messages and results of the tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aint_queue::config::Config;
use aint_queue::config::alerts::{Receiver, Severity};
use aint_queue::engine::alerts::{
    Alert, AlertStatus, Delivered, Deliveries, Fingerprint, Notification, Outbox, ReceiverStatus,
    SendFailure, test_receiver,
};
use aint_queue::engine::guardian::GuardianHandle;
use aint_queue::job::Timestamp;
use aint_queue_core::condition::Field;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Longest wait for a result.
const LIMIT: Duration = Duration::from_secs(20);

/// The receivers of a table `[alerts.receivers]`.
pub fn receivers(lines: &str) -> BTreeMap<String, Receiver> {
    let text = format!("[channels.mail]\n[alerts.receivers]\n{lines}\n");
    Config::parse(&text, "/srv/aint-queue.toml").unwrap().alerts.unwrap().receivers
}

/// The one receiver of a line.
pub fn receiver(line: &str) -> Receiver {
    receivers(&format!("r = {{ {line} }}")).remove("r").unwrap()
}

pub fn firing(number: u64) -> Notification {
    let alert = Alert {
        rule: "backlog".into(),
        severity: Severity::Critical,
        status: AlertStatus::Firing,
        host: None,
        condition: "waiting > 1000".to_owned(),
        summary: None,
        runbook: None,
        values: BTreeMap::from([(Field::Waiting, 1204.0)]),
        fields: vec![Field::Waiting],
        started_at: Timestamp(1_700_000_000_000_000),
        fingerprint: Fingerprint(number),
    };
    Notification {
        channel: "mail".into(),
        alerts: vec![alert],
        at: Timestamp(1_700_000_000_000_000),
        sender: "web1".to_owned(),
        public_url: None,
        is_test: false,
    }
}

pub fn resolved(number: u64) -> Notification {
    let mut message = firing(number);
    message.alerts[0].status = AlertStatus::Resolved(Timestamp(1_700_000_060_000_000));
    message
}

/// The result of one attempt.
pub async fn send(line: &str, message: &Notification) -> Result<(), SendFailure> {
    test_receiver(receiver(line), message, None).await
}

/// The message of the failure of one attempt.
pub async fn refusal(line: &str) -> String {
    send(line, &firing(1)).await.unwrap_err().message
}

/// The receivers of a master, and the results of its messages.
pub struct Running {
    pub deliveries: Deliveries,
    sender: UnboundedSender<Delivered>,
    results: UnboundedReceiver<Delivered>,
}

impl Running {
    pub fn start(lines: &str, guardian: Option<GuardianHandle>) -> Self {
        let deliveries = Deliveries::start(receivers(lines).into_values(), guardian).unwrap();
        let (sender, results) = unbounded_channel();
        Self { deliveries, sender, results }
    }

    pub fn deliver(&self, receiver: &str, message: Notification) {
        self.deliveries.deliver(receiver, message, self.sender.clone());
    }

    /// The next result of a message: its receiver and the error.
    pub async fn next(&mut self) -> (String, Option<String>) {
        let next = tokio::time::timeout(LIMIT, self.results.recv());
        let Delivered { receiver, error } = next.await.expect("a result within the limit").unwrap();
        (receiver, error)
    }

    pub fn status(&self, receiver: &str) -> ReceiverStatus {
        self.deliveries.status().remove(receiver).unwrap()
    }

    /// Waits until the state of a receiver is as wanted.
    pub async fn until(&self, receiver: &str, wanted: impl Fn(&ReceiverStatus) -> bool) -> ReceiverStatus {
        let waiting = async {
            loop {
                let status = self.status(receiver);
                if wanted(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{:?}", self.status(receiver)))
    }
}

/// A server with a certificate for `localhost` outside of all trust stores, and that certificate as PEM.
pub fn self_signed() -> (Arc<rustls::ServerConfig>, String) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    (Arc::new(tls), own.cert.pem())
}
