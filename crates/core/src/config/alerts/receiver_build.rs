//! Builds the settings of a receiver from its table.

use std::path::Path;

use super::keys::RECEIVER_KEYS;
use super::language::Language;
use super::receiver::{HeartbeatForm, HttpTarget, Mentions, Receiver, ReceiverKind};
use super::smtp_server::{self, SmtpServer, SmtpTls};
use crate::config::error::Diagnostics;
use crate::config::schema::Key;
use crate::config::spanned::{Node, Table, Value};
use crate::config::typed::{TypedTable, command_line};
use crate::config::validate;
use crate::config::webhook::{AllowedUrls, SigningKey, WebhookUrl, public_ip};
use crate::config::{Secret, spanned};

/// The URL of the API of PagerDuty.
const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// The keys that a receiver of a type must have, with an example.
const REQUIRED: &[(&str, &[(&str, &str)])] = &[
    ("dingtalk", &[("url", "\"${DINGTALK_URL}\"")]),
    ("wecom", &[("url", "\"${WECOM_URL}\"")]),
    ("feishu", &[("url", "\"${FEISHU_URL}\"")]),
    ("slack", &[("url", "\"${SLACK_URL}\"")]),
    ("teams", &[("url", "\"${TEAMS_URL}\"")]),
    ("discord", &[("url", "\"${DISCORD_URL}\"")]),
    ("pagerduty", &[("routing_key", "\"${PAGERDUTY_KEY}\"")]),
    ("alertmanager", &[("url", "\"http://127.0.0.1:9093\"")]),
    ("webhook", &[("url", "\"https://alerts.example.com/hook\"")]),
    (
        "email",
        &[
            ("to", "[\"ops@example.com\"]"),
            ("from", "\"queue@example.com\""),
            ("smtp", "\"smtps://user:${SMTP_PASSWORD}@smtp.example.com\""),
        ],
    ),
    ("command", &[("command", "[\"/path/to/program\"]")]),
    ("file", &[("path", "\"alerts.jsonl\"")]),
    ("heartbeat", &[("url", "\"${HEARTBEAT_URL}\"")]),
];

/// The receiver that `node` describes; `None` when it has a mistake, which is then reported.
pub(super) fn declared_receiver(
    name: &str,
    mut node: Node,
    language: Language,
    base: &Path,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Receiver> {
    if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let remedy = "use 1 to 64 bytes without spaces, such as team";
        diagnostics.problems.of_key(&node, "cannot be the name of a receiver", remedy);
    }
    receiver(name, &mut node, RECEIVER_KEYS, language, base, diagnostics)
}

/// The receiver in a table with these keys, of which wrong entries are removed.
pub(super) fn receiver(
    name: &str,
    node: &mut Node,
    keys: &'static [Key],
    language: Language,
    base: &Path,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Receiver> {
    let before = diagnostics.problems.len();
    let Value::Table(table) = &mut node.value else { return None };
    if !table.contains_key("type") {
        let types = RECEIVER_KEYS[0].range();
        diagnostics.problems.of_value(node, "has no type", format!("add type = with one of {types}"));
        return None;
    }
    let key = node.key.clone();
    let written: Vec<String> = table.keys().cloned().collect();
    validate::table(table, &key, keys, &mut diagnostics.problems);
    let Value::Table(table) = &node.value else { return None };
    let read = TypedTable::new(table, RECEIVER_KEYS);
    // A misspelt type has been reported, and says nothing about the other keys.
    let kind = match read.text("type")? {
        "lark" => "feishu",
        kind => kind,
    };
    check_keys(kind, node, table, &written, diagnostics);
    let language = read.text("language").and_then(Language::named).unwrap_or(language);
    let kind = Builder { read, base, diagnostics }.kind(kind, table);
    (diagnostics.problems.len() == before).then_some(kind).flatten().map(|kind| Receiver {
        name: name.to_owned(),
        language,
        kind,
        is_handler: false,
    })
}

/// Reports keys that the type does not use, and those that it lacks.
fn check_keys(kind: &str, node: &Node, table: &Table, written: &[String], diagnostics: &mut Diagnostics<'_>) {
    for key in RECEIVER_KEYS {
        let types = key.receiver_types();
        if let (Some(node), false) = (table.get(key.path), types.is_empty() || types.contains(&kind)) {
            let message = format!("has no meaning for a receiver of type \"{kind}\"");
            diagnostics.problems.of_key(node, message, "remove it, or correct the type");
        }
    }
    let required = REQUIRED.iter().find(|(of, _)| *of == kind).map_or(&[][..], |(_, keys)| keys);
    for (key, example) in required.iter().filter(|(key, _)| !written.iter().any(|name| name == key)) {
        let remedy = format!("add {key} = {example}");
        diagnostics.problems.of_value(node, format!("has no {key}"), remedy);
    }
}

struct Builder<'a, 'b, 'p> {
    read: TypedTable<'a>,
    base: &'b Path,
    diagnostics: &'b mut Diagnostics<'p>,
}

impl Builder<'_, '_, '_> {
    fn kind(mut self, kind: &str, table: &Table) -> Option<ReceiverKind> {
        let target = match (kind, self.read.node("url")) {
            ("pagerduty", None) => self.target(PAGERDUTY_URL, None),
            (_, Some(node)) => node.value.as_text().and_then(|text| self.target(text, Some(node))),
            (_, None) => None,
        };
        if let (Some(target), false) = (&target, ["alertmanager", "webhook", "heartbeat"].contains(&kind)) {
            self.warn_of_cleartext(target);
        }
        let mentions = self.mentions();
        Some(match kind {
            "dingtalk" => ReceiverKind::DingTalk { target: target?, secret: self.secret(), mentions },
            "wecom" => ReceiverKind::WeCom { target: target?, mentions },
            "feishu" => ReceiverKind::Feishu { target: target?, secret: self.secret(), mentions },
            "slack" => ReceiverKind::Slack { target: target?, mentions },
            "teams" => ReceiverKind::Teams { target: target? },
            "discord" => ReceiverKind::Discord { target: target?, mentions },
            "pagerduty" => ReceiverKind::PagerDuty {
                target: target?,
                routing_key: Secret::new(self.read.text("routing_key")?),
            },
            "alertmanager" => ReceiverKind::Alertmanager { target: target? },
            "webhook" => ReceiverKind::Webhook { target: target?, keys: self.signing_keys(table) },
            "email" => self.email()?,
            "command" => ReceiverKind::Command {
                command: command_line(self.read.node("command")?, self.base),
                timeout: self.read.seconds("timeout_seconds"),
                directory: self.base.to_owned(),
            },
            "log" => ReceiverKind::Log,
            "file" => ReceiverKind::File {
                path: self.read.path("path", self.base)?,
                max_bytes: self.read.integer("max_bytes"),
            },
            "heartbeat" => ReceiverKind::Heartbeat {
                target: target?,
                every: self.read.seconds("every"),
                form: match self.read.word("form").as_str() {
                    "uptime-kuma" => HeartbeatForm::UptimeKuma,
                    _ => HeartbeatForm::Plain,
                },
                fail: self.read.flag("fail"),
                per_host: self.read.flag("per_host"),
            },
            _ => return None,
        })
    }

    /// The target of requests. `node` is the URL in the file, `None` for one of this program.
    fn target(&mut self, text: &str, node: Option<&Node>) -> Option<HttpTarget> {
        let allow_private = self.read.flag("allow_private");
        let url = match WebhookUrl::parse(text, node.is_some(), AllowedUrls { http: true, private: true }) {
            Ok(url) => url,
            Err((message, remedy)) => {
                self.diagnostics.problems.of_value(node?, message, remedy);
                return None;
            }
        };
        if let (Some(node), Some((message, remedy))) = (node, refused_host(url.host(), allow_private)) {
            self.diagnostics.problems.of_value(node, message, remedy);
        }
        let headers = self.read.variables("headers").into_iter();
        Some(HttpTarget {
            url,
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
            allow_private,
            ca_file: self.read.path("ca_file", self.base),
        })
    }

    /// Warns of a bot whose URL, which is its password, other hosts of the network can read.
    fn warn_of_cleartext(&mut self, target: &HttpTarget) {
        let is_clear = target.url.uri().scheme_str() == Some("http") && !is_this_machine(target.url.host());
        if let (Some(node), true) = (self.read.node("url"), is_clear) {
            let message =
                "is sent without TLS: every host on the way can read it, and it is the password of the bot";
            self.diagnostics.warnings.of_value(node, message, "write https://");
        }
    }

    fn mentions(&self) -> Mentions {
        let names = |key: &str| self.read.names(key).into_iter().flatten().collect();
        Mentions { users: names("at_users"), mobiles: names("at_mobiles"), all: self.read.flag("at_all") }
    }

    /// The one secret of a bot.
    fn secret(&mut self) -> Option<Secret> {
        let node = self.read.node("secret")?;
        match &node.value {
            Value::Text(text) if !text.is_empty() => Some(Secret::new(text.as_str())),
            Value::Broken => None,
            _ => {
                let remedy = "write the one secret of the bot, best of all \"${NAME}\", or remove it";
                self.diagnostics.problems.of_value(node, "is no secret of a bot", remedy);
                None
            }
        }
    }

    fn signing_keys(&mut self, table: &Table) -> Vec<SigningKey> {
        let items: Vec<&spanned::Node> = match table.get("secret") {
            Some(node) => match &node.value {
                Value::Array(items) => items.iter().collect(),
                _ => vec![node],
            },
            None => Vec::new(),
        };
        let mut keys = Vec::new();
        for item in items {
            let Value::Text(text) = &item.value else { continue };
            match SigningKey::parse(text) {
                Ok(key) => keys.push(key),
                Err(message) => {
                    let remedy = "write \"whsec_\" and 24 to 64 random bytes in base64, as from openssl rand -base64 32";
                    self.diagnostics.problems.of_value(item, message, remedy);
                }
            }
        }
        keys
    }

    fn email(&mut self) -> Option<ReceiverKind> {
        let server = self.smtp_server();
        let mut check = |node: &Node| {
            if node.value.as_text().is_some_and(|text| !is_address(text)) {
                let remedy =
                    "write an address such as \"ops@example.com\" or \"Operations <ops@example.com>\"";
                self.diagnostics.problems.of_value(node, "is no mail address", remedy);
            }
        };
        self.read.node("from").into_iter().for_each(&mut check);
        let to = self.read.node("to")?;
        to.value.items().iter().for_each(&mut check);
        if to.value.items().is_empty() {
            self.diagnostics.problems.of_value(to, "is empty", "write at least one address");
        }
        Some(ReceiverKind::Email {
            server: server?,
            from: self.read.text("from")?.to_owned(),
            to: self.read.names("to")?.collect(),
        })
    }

    fn smtp_server(&mut self) -> Option<SmtpServer> {
        let (node, text) = (self.read.node("smtp")?, self.read.text("smtp")?);
        let problems = &mut self.diagnostics.problems;
        let mut server = match smtp_server::parse(text) {
            Ok(server) => server,
            Err((message, remedy)) => {
                problems.of_value(node, message, remedy);
                return None;
            }
        };
        for key in ["username", "password"] {
            let in_url =
                if key == "username" { server.username.is_some() } else { server.password.is_some() };
            if let (true, Some(extra)) = (in_url, self.read.node(key)) {
                problems.of_key(extra, "contradicts smtp, which says the same", "keep one of the two");
            }
        }
        server.username = server.username.or_else(|| self.read.text("username").map(str::to_owned));
        server.password = server.password.or_else(|| self.read.text("password").map(Secret::new));
        server.allow_private = self.read.flag("allow_private");
        server.ca_file = self.read.path("ca_file", self.base);
        if let Some((message, remedy)) = refused_host(&server.host, server.allow_private) {
            problems.of_value(node, message, remedy);
        }
        if server.password.is_some() != server.username.is_some() {
            problems.of_value(node, "has only one of user and password", "write both, or none of them");
        }
        if server.tls == SmtpTls::Off && !is_this_machine(&server.host) {
            if server.password.is_some() {
                let message = "would send the password without TLS to another host";
                problems.of_value(node, message, "write smtps://, or smtp:// without tls=none for STARTTLS");
            } else {
                let message = "sends mail without TLS to another host: every host on the way can read it";
                let remedy = "write smtps://, or smtp:// without tls=none for STARTTLS";
                self.diagnostics.warnings.of_value(node, message, remedy);
            }
        }
        Some(server)
    }
}

/// The mistake of a host that no request may go to, and its remedy.
fn refused_host(host: &str, allow_private: bool) -> Option<(String, &'static str)> {
    let address = public_ip::literal_ip(host)?;
    if let Some(kind) = public_ip::never_allowed(address) {
        return Some((format!("goes to {kind}"), "name another host: alerts are never sent there"));
    }
    let kind = public_ip::not_public(address).filter(|_| !allow_private)?;
    Some((format!("goes to {kind}"), "name a public host, or remove allow_private = false"))
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || public_ip::literal_ip(host).is_some_and(|address| address.is_loopback())
}

/// Whether `text` is an address, with or without a name before it.
fn is_address(text: &str) -> bool {
    let address = match text.strip_suffix('>').map(|inner| inner.rsplit_once('<')) {
        None => text.trim(),
        Some(Some((_, address))) => address,
        Some(None) => return false,
    };
    let is_part = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"<>,;@\"".contains(c))
    };
    !text.chars().any(char::is_control)
        && address.rsplit_once('@').is_some_and(|(user, host)| is_part(user) && is_part(host))
}
