//! Sends messages to one receiver.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tracing::{info, warn};

use super::super::notification::{AlertStatus, Notification};
use super::super::text::Text;
use super::command::Program;
use super::file::FileWriter;
use super::request::{HttpRequest, SendFailure, by_status};
use super::{
    alertmanager, command, dingtalk, discord, email, feishu, heartbeat, pagerduty, slack, snapshot, teams,
    wecom,
};
use crate::config::alerts::{HttpTarget, Receiver, ReceiverKind};
use crate::guardian::GuardianHandle;
use crate::job::Timestamp;
use crate::snapshot::Snapshot;
use crate::webhook::connector::{AddressRule, Target};
use crate::webhook::http_client::{HttpClient, ReceivedResponse};

/// Longest attempt to send one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends messages to one receiver, one after the other.
pub(crate) struct Sender {
    receiver: Receiver,
    guardian: Option<GuardianHandle>,
    file: Option<FileWriter>,
    http: Option<Result<HttpClient, String>>,
}

impl Sender {
    /// Prepares the receiver; a failure of that is the result of each message. Without a guardian no program can be started.
    pub(crate) fn new(receiver: Receiver, guardian: Option<GuardianHandle>) -> Self {
        let http = receiver.kind.target().map(|target| client(target, &receiver.kind));
        let file = match &receiver.kind {
            ReceiverKind::File { path, max_bytes } => Some(FileWriter::new(path.clone(), *max_bytes)),
            _ => None,
        };
        Self { receiver, guardian, file, http }
    }

    /// Sends a message within the time limit. The answer of a receiver that takes it is of no interest.
    pub(crate) async fn send(
        &mut self,
        notification: &Notification,
        now: Timestamp,
    ) -> Result<(), SendFailure> {
        if let Some(program) = self.program() {
            let line = command::json(notification, self.receiver.language);
            return command::run(program, &notification.channel, self.guardian()?, line).await;
        }
        let sending = self.send_without_limit(notification, now);
        tokio::time::timeout(SEND_TIMEOUT, sending).await.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Sends a snapshot, once and within the time limit: the next one is newer.
    pub(crate) async fn send_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), SendFailure> {
        if let Some(program) = self.program() {
            return command::run(program, &snapshot.channel, self.guardian()?, snapshot::json(snapshot))
                .await;
        }
        let sending = self.send_snapshot_without_limit(snapshot);
        tokio::time::timeout(SEND_TIMEOUT, sending).await.unwrap_or_else(|_| Err(no_answer()))
    }

    async fn send_snapshot_without_limit(&mut self, snapshot: &Snapshot) -> Result<(), SendFailure> {
        match &self.receiver.kind {
            ReceiverKind::Log => {
                snapshot::log(snapshot);
                Ok(())
            }
            ReceiverKind::File { .. } => match &mut self.file {
                Some(file) => file.append(snapshot::json(snapshot)).await,
                None => Ok(()),
            },
            ReceiverKind::Email { server, from, to } => {
                let message = email::snapshot_message(from, to, snapshot, self.receiver.language);
                email::send(server, &message.map_err(SendFailure::last)?).await
            }
            ReceiverKind::Webhook { target, keys } => {
                by_status(&self.exchange(snapshot::webhook(target, keys, snapshot)).await?)
            }
            _ => Err(SendFailure::last("the receiver takes no snapshots")),
        }
    }

    /// The program of a receiver that is one. A program has a time limit of its own.
    fn program(&self) -> Option<Program<'_>> {
        match &self.receiver.kind {
            ReceiverKind::Command { command, timeout, directory } => {
                Some(Program { command, limit: *timeout, directory })
            }
            _ => None,
        }
    }

    fn guardian(&self) -> Result<&GuardianHandle, SendFailure> {
        self.guardian.as_ref().ok_or_else(|| SendFailure::last("only a master can start the program"))
    }

    /// Sends one call of a heartbeat; `trouble` is the reason why the channels are not watched as they should be.
    pub(crate) async fn beat(&mut self, trouble: Option<&str>) -> Result<(), SendFailure> {
        let ReceiverKind::Heartbeat { target, form, .. } = &self.receiver.kind else {
            return Err(SendFailure::last("the receiver is no heartbeat"));
        };
        let request = heartbeat::request(target, *form, trouble);
        let answered = tokio::time::timeout(SEND_TIMEOUT, self.exchange(request));
        by_status(&answered.await.unwrap_or_else(|_| Err(no_answer()))?)
    }

    async fn send_without_limit(
        &mut self,
        notification: &Notification,
        now: Timestamp,
    ) -> Result<(), SendFailure> {
        let language = self.receiver.language;
        match &self.receiver.kind {
            ReceiverKind::Log => {
                log(notification, &Text::of(notification, language));
                Ok(())
            }
            ReceiverKind::File { .. } => {
                let line = command::json(notification, language).to_string();
                match &mut self.file {
                    Some(file) => file.append(line).await,
                    None => Ok(()),
                }
            }
            ReceiverKind::Email { server, from, to } => {
                let message = email::message(from, to, notification, language).map_err(SendFailure::last)?;
                email::send(server, &message).await
            }
            ReceiverKind::Heartbeat { .. } => Err(SendFailure::last("a heartbeat takes no alerts")),
            _ => {
                let verdict = self.verdict();
                for request in self.requests(notification, now) {
                    verdict(&self.exchange(request).await?)?;
                }
                Ok(())
            }
        }
    }

    /// The requests of a message: one, but for services that take one alert each.
    fn requests(&self, notification: &Notification, now: Timestamp) -> Vec<HttpRequest> {
        let (language, name) = (self.receiver.language, &self.receiver.name);
        let text = || Text::of(notification, language);
        vec![match &self.receiver.kind {
            ReceiverKind::DingTalk { target, secret, mentions } => {
                dingtalk::request(target, secret.as_ref(), mentions, &text(), now)
            }
            ReceiverKind::WeCom { target, mentions } => wecom::request(target, mentions, &text()),
            ReceiverKind::Feishu { target, secret, mentions } => {
                feishu::request(target, secret.as_ref(), mentions, &text(), now)
            }
            ReceiverKind::Slack { target, mentions } => slack::request(target, mentions, &text()),
            ReceiverKind::Teams { target } => teams::request(target, &text()),
            ReceiverKind::Discord { target, mentions } => discord::request(target, mentions, &text()),
            ReceiverKind::Alertmanager { target } => {
                alertmanager::request(target, notification, language, now)
            }
            ReceiverKind::Webhook { target, keys } => {
                alertmanager::webhook(target, keys, name, notification, language)
            }
            ReceiverKind::PagerDuty { target, routing_key } => {
                return pagerduty::requests(target, routing_key, notification, language);
            }
            ReceiverKind::Email { .. }
            | ReceiverKind::Command { .. }
            | ReceiverKind::Log
            | ReceiverKind::File { .. }
            | ReceiverKind::Heartbeat { .. } => return Vec::new(),
        }]
    }

    /// The verdict of the service on an answer.
    fn verdict(&self) -> fn(&ReceivedResponse) -> Result<(), SendFailure> {
        match &self.receiver.kind {
            ReceiverKind::DingTalk { .. } => dingtalk::verdict,
            ReceiverKind::WeCom { .. } => wecom::verdict,
            ReceiverKind::Feishu { .. } => feishu::verdict,
            ReceiverKind::Slack { .. } => slack::verdict,
            ReceiverKind::Discord { .. } => discord::verdict,
            _ => by_status,
        }
    }

    async fn exchange(&self, request: HttpRequest) -> Result<ReceivedResponse, SendFailure> {
        let client = match &self.http {
            Some(Ok(client)) => client,
            Some(Err(why)) => return Err(SendFailure::last(why.clone())),
            None => return Err(SendFailure::last("the receiver has no URL")),
        };
        let request = hyper_request(request).map_err(SendFailure::last)?;
        client.send(request, std::future::pending()).await.map_err(connection_failure)
    }
}

fn no_answer() -> SendFailure {
    SendFailure::passing(format!("no answer within {} s", SEND_TIMEOUT.as_secs()))
}

/// A certificate that is not trusted stays so; other failures to connect may pass.
fn connection_failure(message: String) -> SendFailure {
    let is_lasting = message.contains("certificate") || message.contains("requests never go there");
    if is_lasting { SendFailure::last(message) } else { SendFailure::passing(message) }
}

fn client(target: &HttpTarget, kind: &ReceiverKind) -> Result<HttpClient, String> {
    let connect = Target {
        host: target.url.host(),
        is_https: target.url.uri().scheme_str() == Some("https"),
        allow_http: true,
        addresses: if target.allow_private { AddressRule::Harmless } else { AddressRule::Public },
        ca_file: target.ca_file.as_deref(),
        keys: "",
    };
    HttpClient::new(&connect, target.url.origin(), kind.secrets()).map_err(|error| error.to_string())
}

fn hyper_request(request: HttpRequest) -> Result<Request<Full<Bytes>>, String> {
    let wrong = |_| "the request could not be built".to_owned();
    let HttpRequest { method, url, headers, body } = request;
    let mut built = Request::new(Full::new(Bytes::from(body)));
    *built.method_mut() = if method == "GET" { Method::GET } else { Method::POST };
    *built.uri_mut() = url.parse().map_err(|_| "the URL could not be built".to_owned())?;
    let into = built.headers_mut();
    into.insert(USER_AGENT, HeaderValue::from_static(concat!("aint-queue/", env!("CARGO_PKG_VERSION"))));
    if method != "GET" {
        into.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in headers {
        let mut value = HeaderValue::try_from(value).map_err(wrong)?;
        value.set_sensitive(true);
        into.insert(
            HeaderName::try_from(name).map_err(|_| "the request could not be built".to_owned())?,
            value,
        );
    }
    Ok(built)
}

/// Writes a message to the log, one line per alert.
fn log(notification: &Notification, text: &Text) {
    for (alert, words) in notification.alerts.iter().zip(&text.alerts) {
        let (channel, rule, severity) = (&*notification.channel, &*alert.rule, alert.severity.as_str());
        let (summary, test) = (words.summary.as_str(), notification.is_test);
        match alert.status {
            AlertStatus::Firing => warn!(channel, rule, severity, summary, test, "alert fires"),
            AlertStatus::Resolved(_) => info!(channel, rule, severity, summary, test, "alert has ended"),
        }
    }
}
