//! The settings of the receivers of alerts.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::language::Language;
use super::smtp_server::SmtpServer;
use crate::config::webhook::{SigningKey, WebhookUrl};
use crate::config::{CommandLine, Secret, stable_hash};

/// A receiver of alerts.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// The name in the configuration.
    pub name: String,
    /// The language of its messages.
    pub language: Language,
    /// The service, and the settings for it.
    pub kind: ReceiverKind,
    /// Whether a snapshot handler declares it: it gets alerts of the rule beside it alone.
    pub is_handler: bool,
}

/// The service behind a receiver.
#[derive(Clone, Debug, PartialEq)]
pub enum ReceiverKind {
    /// A bot of a DingTalk group.
    DingTalk {
        /// The URL of the bot.
        target: HttpTarget,
        /// The key that signs requests, for a bot that asks for signatures.
        secret: Option<Secret>,
        /// The people to mention.
        mentions: Mentions,
    },
    /// A bot of a WeCom group.
    WeCom {
        /// The URL of the bot.
        target: HttpTarget,
        /// The people to mention.
        mentions: Mentions,
    },
    /// A bot of a Feishu or Lark group.
    Feishu {
        /// The URL of the bot.
        target: HttpTarget,
        /// The key that signs requests, for a bot that asks for signatures.
        secret: Option<Secret>,
        /// The people to mention.
        mentions: Mentions,
    },
    /// An incoming webhook of Slack, or of a service with the same interface.
    Slack {
        /// The URL of the webhook.
        target: HttpTarget,
        /// The people to mention.
        mentions: Mentions,
    },
    /// A workflow of Microsoft Teams.
    Teams {
        /// The URL of the workflow.
        target: HttpTarget,
    },
    /// A webhook of a Discord channel.
    Discord {
        /// The URL of the webhook.
        target: HttpTarget,
        /// The people to mention.
        mentions: Mentions,
    },
    /// A service of PagerDuty, Events API version 2.
    PagerDuty {
        /// The URL of the API.
        target: HttpTarget,
        /// The integration key of the service.
        routing_key: Secret,
    },
    /// An Alertmanager of Prometheus.
    Alertmanager {
        /// The base URL.
        target: HttpTarget,
    },
    /// A server that takes the webhook body of Alertmanager.
    Webhook {
        /// The URL.
        target: HttpTarget,
        /// The keys that sign requests, by Standard Webhooks; empty for requests without signatures.
        keys: Vec<SigningKey>,
    },
    /// Mail.
    Email {
        /// The server that takes the mail.
        server: SmtpServer,
        /// The sender.
        from: String,
        /// The addressees.
        to: Vec<String>,
    },
    /// A program that gets the message as JSON on standard input.
    Command {
        /// The program and its arguments.
        command: CommandLine,
        /// How long it may run.
        timeout: Duration,
        /// The working directory: that of the configuration file.
        directory: PathBuf,
    },
    /// A line in the log of the master.
    Log,
    /// A file of JSON lines.
    File {
        /// The file, as an absolute path.
        path: PathBuf,
        /// The size at which the file is renamed; 0 = no limit.
        max_bytes: u64,
    },
    /// A service that alarms when it is not called: the absence of calls means that no master watches the channels.
    Heartbeat {
        /// The URL to call.
        target: HttpTarget,
        /// Time between two calls.
        every: Duration,
        /// The form of the calls.
        form: HeartbeatForm,
        /// Whether trouble is reported by a call, too, and not only by the absence of calls.
        fail: bool,
        /// Whether every host calls, in place of the one that sends the alerts.
        per_host: bool,
    },
}

impl ReceiverKind {
    /// The value of `type`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::DingTalk { .. } => "dingtalk",
            Self::WeCom { .. } => "wecom",
            Self::Feishu { .. } => "feishu",
            Self::Slack { .. } => "slack",
            Self::Teams { .. } => "teams",
            Self::Discord { .. } => "discord",
            Self::PagerDuty { .. } => "pagerduty",
            Self::Alertmanager { .. } => "alertmanager",
            Self::Webhook { .. } => "webhook",
            Self::Email { .. } => "email",
            Self::Command { .. } => "command",
            Self::Log => "log",
            Self::File { .. } => "file",
            Self::Heartbeat { .. } => "heartbeat",
        }
    }

    /// The target of requests, for a receiver behind a URL.
    #[must_use]
    pub fn target(&self) -> Option<&HttpTarget> {
        match self {
            Self::DingTalk { target, .. }
            | Self::WeCom { target, .. }
            | Self::Feishu { target, .. }
            | Self::Slack { target, .. }
            | Self::Teams { target }
            | Self::Discord { target, .. }
            | Self::PagerDuty { target, .. }
            | Self::Alertmanager { target }
            | Self::Webhook { target, .. }
            | Self::Heartbeat { target, .. } => Some(target),
            Self::Email { .. } | Self::Command { .. } | Self::Log | Self::File { .. } => None,
        }
    }

    /// A short name that follows from type and target alone: the same in each master, and after each change of other settings.
    #[must_use]
    pub fn identity(&self) -> String {
        let url = |target: &HttpTarget| target.url.uri().to_string();
        let place = match self {
            Self::PagerDuty { target, routing_key } => format!("{} {}", url(target), routing_key.reveal()),
            Self::Email { server, to, .. } => format!("{}:{} {}", server.host, server.port, to.join(" ")),
            Self::Command { command, directory, .. } => format!("{directory:?} {:?}", command.argv()),
            Self::File { path, .. } => format!("{path:?}"),
            Self::Log => return self.type_name().to_owned(),
            _ => self.target().map(url).unwrap_or_default(),
        };
        // A target may be a secret, of which so few bits of a hash betray nothing.
        format!("{}-{:06x}", self.type_name(), stable_hash(place.as_bytes()) & 0xff_ffff)
    }

    /// The words that no log line, no error and no output may show.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let mut words = self.target().map(HttpTarget::secrets).unwrap_or_default();
        match self {
            Self::DingTalk { secret, .. } | Self::Feishu { secret, .. } => {
                words.extend(secret.iter().map(|secret| secret.reveal().to_owned()));
            }
            Self::PagerDuty { routing_key, .. } => words.push(routing_key.reveal().to_owned()),
            Self::Webhook { keys, .. } => words.extend(keys.iter().cloned().map(String::from)),
            Self::Email { server, .. } => {
                words.extend(server.password.iter().map(|password| password.reveal().to_owned()));
            }
            _ => {}
        }
        words
    }
}

/// The target of HTTP requests, and their contents beside the message.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpTarget {
    /// The URL, whose path and query are secret.
    pub url: WebhookUrl,
    /// Additional headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whether addresses outside the public internet are allowed.
    pub allow_private: bool,
    /// Certificate authorities that replace those of the system.
    pub ca_file: Option<PathBuf>,
}

impl HttpTarget {
    /// The words that no log line, no error and no output may show.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (_, value) in &self.headers {
            // A receiver may echo the token of "Bearer …" without its scheme.
            words.extend(value.split_whitespace().last().map(str::to_owned));
            words.push(value.clone());
        }
        let uri = self.url.uri();
        words.extend(uri.path_and_query().map(|all| all.as_str().trim_start_matches('/').to_owned()));
        // The last part of a path and each value of a query are tokens, as in /services/T0/B0/TOKEN and ?key=TOKEN.
        words.extend(uri.path().rsplit('/').next().map(str::to_owned));
        let values = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        words.extend(values.map(|(_, value)| value.to_owned()));
        words.retain(|word| !word.is_empty());
        words
    }
}

impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("HttpTarget")
            .field("url", &self.url)
            .field("headers", &names)
            .field("allow_private", &self.allow_private)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// The people that a message mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Ids of users.
    pub users: Vec<String>,
    /// Mobile numbers.
    pub mobiles: Vec<String>,
    /// All members.
    pub all: bool,
}

/// The form of the calls of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatForm {
    /// The URL alone, and `/fail` below it for trouble, as Healthchecks and its kin have it.
    Plain,
    /// The state as the query `status` and `msg`, as Uptime Kuma has it.
    UptimeKuma,
}

impl HeartbeatForm {
    /// The value of `form`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::UptimeKuma => "uptime-kuma",
        }
    }
}
