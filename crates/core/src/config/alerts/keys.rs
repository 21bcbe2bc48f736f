//! The declaration of every key of `[alerts]` and of a receiver.

#[cfg(feature = "server")]
use std::sync::LazyLock;

#[cfg(feature = "server")]
use crate::config::schema::Getter;
use crate::config::schema::Kind::{
    Argv, Choice, Flag, Headers, Integer, Named, Number, Path, Secret, Secrets, Tables, Text, Texts,
};
use crate::config::schema::Property::{For, Restart};
use crate::config::schema::{Key, Kind, Property};

/// A day in seconds.
const DAY: f64 = 86_400.0;
/// The values of `severity`.
const SEVERITIES: Kind = Choice(&["info", "warning", "critical"], &[]);
/// The values of `language`.
const LANGUAGES: Kind = Choice(&["en", "zh-CN"], &[]);
/// The values of `type`; `lark` is another name of `feishu`.
const TYPES: Kind = Choice(
    &[
        "dingtalk",
        "wecom",
        "feishu",
        "lark",
        "slack",
        "teams",
        "discord",
        "pagerduty",
        "alertmanager",
        "webhook",
        "email",
        "command",
        "log",
        "file",
        "heartbeat",
    ],
    &["opsgenie", "telegram"],
);

const fn key(
    path: &'static str,
    kind: Kind,
    unit: &'static str,
    default: &'static str,
    properties: &'static [Property],
    meaning: &'static str,
) -> Key {
    Key {
        path,
        kind,
        unit,
        default,
        properties,
        #[cfg(feature = "server")]
        value: Getter::Elsewhere,
        meaning,
    }
}

/// Every key of `[alerts]`, in the order of the reference file.
#[rustfmt::skip]
pub(in crate::config) static ALERT_KEYS: &[Key] = &[
    key("evaluate_every", Number(1.0, 3_600.0), "seconds", "5", &[Restart],
        "time between two evaluations of the rules"),
    key("group_wait", Number(0.0, 3_600.0), "seconds", "10", &[Restart],
        "time between the first alert of a channel and the message about it; an alert that ends earlier is no message"),
    key("group_interval", Number(0.0, DAY), "seconds", "60", &[Restart],
        "shortest time between two messages about changes in a channel"),
    key("resend", Number(1.0, 30.0 * DAY), "seconds", "14400", &[Restart],
        "time between two messages about alerts that have not changed"),
    key("send_resolved", Flag, "", "true", &[Restart],
        "send a message at the end of an alert"),
    key("language", LANGUAGES, "", "\"en\"", &[Restart],
        "language of messages; a receiver may have its own"),
    key("receivers", Named, "", "{}", &[Restart],
        "receivers of alerts, by name: `receivers.team = { type = \"slack\", url = \"${SLACK_URL}\" }`; their keys are below"),
    key("route", Tables, "", "[]", &[Restart],
        "who gets which alerts; the first route that fits an alert decides; without routes every receiver gets every alert"),
    key("route[].severity", SEVERITIES, "", "", &[Restart],
        "severity of the alerts; any by default"),
    key("route[].channel", Text, "", "", &[Restart],
        "channel of the alerts; any by default"),
    key("route[].rule", Text, "", "", &[Restart],
        "rule of the alerts; any by default"),
    key("route[].to", Texts, "", "", &[Restart],
        "names of the receivers; `[]` = no receiver"),
    key("rule", Tables, "", "[]", &[Restart],
        "rules of all channels: an item with the name of a built-in rule changes that rule; their keys are below"),
    key("quiet_hours", Tables, "", "[]", &[Restart],
        "times at which alerts of lower severities wait; those that still fire at the end are sent then"),
    key("quiet_hours[].from", Text, "", "", &[Restart],
        "time of day of the beginning, as in \"22:00\""),
    key("quiet_hours[].to", Text, "", "", &[Restart],
        "time of day of the end; one that is not after `from` is of the next day"),
    key("quiet_hours[].days", Text, "", "\"mon-sun\"", &[Restart],
        "days of the beginning, as in \"mon-fri\" or \"sat,sun\""),
    key("quiet_hours[].zone", Text, "", "", &[Restart],
        "time zone of the times, as in \"Asia/Shanghai\"; that of the machine by default"),
    key("quiet_hours[].below", SEVERITIES, "", "\"critical\"", &[Restart],
        "lowest severity that does not wait"),
];

/// Every key of a rule, in the order of the reference file.
#[rustfmt::skip]
pub(in crate::config) static RULE_KEYS: &[Key] = &[
    key("name", Text, "", "", &[],
        "name of the rule, unique in its channel"),
    key("enabled", Flag, "", "true", &[],
        "`false` removes the rule of this name"),
    key("when", Text, "", "", &[],
        "condition under which the alert fires; see [conditions](alerts.md)"),
    key("until", Text, "", "", &[],
        "condition under which the alert ends; when `when` is false by default"),
    key("for", Number(0.0, 30.0 * DAY), "seconds", "0", &[],
        "time for which the condition must hold before the alert fires"),
    key("keep_firing_for", Number(0.0, 30.0 * DAY), "seconds", "0", &[],
        "time for which the alert fires on after its end"),
    key("severity", SEVERITIES, "", "\"warning\"", &[],
        "severity of the alert"),
    key("summary", Text, "", "", &[],
        "first sentence of the message, a template: `{{ waiting }} jobs wait`"),
    key("runbook", Text, "", "", &[],
        "URL of the instructions for this alert"),
    key("resend", Number(1.0, 30.0 * DAY), "seconds", "", &[],
        "time between two repetitions, in place of `alerts.resend`"),
    key("to", Texts, "", "", &[],
        "names of the receivers, in place of those of the routes"),
];

/// The types of receivers.
pub(in crate::config) const RECEIVER_TYPES: &[&str] = &[
    "dingtalk",
    "wecom",
    "feishu",
    "slack",
    "teams",
    "discord",
    "pagerduty",
    "alertmanager",
    "webhook",
    "email",
    "command",
    "log",
    "file",
    "heartbeat",
];

/// The types of receivers behind a URL.
const BY_HTTP: Property = For(&[
    "dingtalk",
    "wecom",
    "feishu",
    "slack",
    "teams",
    "discord",
    "pagerduty",
    "alertmanager",
    "webhook",
    "heartbeat",
]);
/// The types of receivers that connect to a server.
const BY_NETWORK: Property = For(&[
    "dingtalk",
    "wecom",
    "feishu",
    "slack",
    "teams",
    "discord",
    "pagerduty",
    "alertmanager",
    "webhook",
    "heartbeat",
    "email",
]);

/// Every key of a receiver, in the order of the reference file.
#[rustfmt::skip]
pub(in crate::config) static RECEIVER_KEYS: &[Key] = &[
    key("type", TYPES, "", "", &[],
        "the service; `lark` is `feishu`"),
    key("language", LANGUAGES, "", "", &[],
        "language of the messages, in place of `alerts.language`"),
    key("url", Secret, "", "", &[BY_HTTP],
        "URL of the bot, webhook or server; never shown; by default that of the API of `pagerduty`"),
    key("secret", Secrets, "", "", &[For(&["dingtalk", "feishu", "webhook"])],
        "key that signs requests; for `webhook` `whsec_…`, several during a change of keys; never shown"),
    key("headers", Headers, "", "{}", &[For(&["alertmanager", "webhook", "heartbeat"])],
        "further headers of requests; values are never shown"),
    key("routing_key", Secret, "", "", &[For(&["pagerduty"])],
        "integration key of the service; never shown"),
    key("at_users", Texts, "", "[]", &[For(&["dingtalk", "wecom", "feishu", "slack", "discord"])],
        "ids of users that firing alerts mention"),
    key("at_mobiles", Texts, "", "[]", &[For(&["dingtalk", "wecom"])],
        "mobile numbers of users that firing alerts mention; such a message of `wecom` is plain text"),
    key("at_all", Flag, "", "false", &[For(&["dingtalk", "wecom", "feishu", "slack", "discord"])],
        "firing alerts mention everybody; such a message of `wecom` is plain text"),
    key("to", Texts, "", "", &[For(&["email"])],
        "addressees"),
    key("from", Text, "", "", &[For(&["email"])],
        "sender"),
    key("smtp", Secret, "", "", &[For(&["email"])],
        "server: `smtps://user:password@host`, `smtp://user:password@host:587` with STARTTLS, `smtp://localhost:25?tls=none`; never shown"),
    key("username", Text, "", "", &[For(&["email"])],
        "user, in place of the one in `smtp`"),
    key("password", Secret, "", "", &[For(&["email"])],
        "password, in place of the one in `smtp`; never shown"),
    key("allow_private", Flag, "", "true", &[BY_NETWORK],
        "allow loopback and private addresses; those of metadata services and link-local ones are never allowed"),
    key("ca_file", Path, "", "", &[BY_NETWORK],
        "certificate authorities (PEM) that verify the server, in place of those of the machine"),
    key("command", Argv, "", "", &[For(&["command"])],
        "program that gets each message as JSON on its standard input"),
    key("timeout_seconds", Number(0.1, 3_600.0), "seconds", "10", &[For(&["command"])],
        "longest run of the program"),
    key("path", Path, "", "", &[For(&["file"])],
        "file that gets each message as a line of JSON; opened again when it has been renamed"),
    key("max_bytes", Integer(0, 1 << 40), "bytes", "104857600", &[For(&["file"])],
        "size at which the file is renamed to `<path>.1`; 0 = no limit"),
    key("every", Number(1.0, DAY), "seconds", "60", &[For(&["heartbeat"])],
        "time between two calls; they end when no master watches the channels"),
    key("form", Choice(&["plain", "uptime-kuma"], &[]), "", "\"plain\"", &[For(&["heartbeat"])],
        "`plain`: the URL alone; `uptime-kuma`: with `?status=up&msg=OK`"),
    key("fail", Flag, "", "false", &[For(&["heartbeat"])],
        "report trouble at once, by a call of `<url>/fail` or with `?status=down`, and not only by the absence of calls"),
    key("per_host", Flag, "", "false", &[For(&["heartbeat"])],
        "a call from every host, in place of one from the host that sends the alerts"),
];

/// The keys of a rule that a receiver with a rule of its own, a handler of snapshots, has beside those of a receiver.
#[cfg(feature = "server")]
pub(super) const HANDLER_RULE_KEYS: &[&str] =
    &["name", "when", "until", "for", "keep_firing_for", "severity", "summary", "runbook", "resend"];

/// Every key of a handler of snapshots.
#[cfg(feature = "server")]
pub(super) static HANDLER_KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let of_rule = RULE_KEYS.iter().filter(|key| HANDLER_RULE_KEYS.contains(&key.path));
    RECEIVER_KEYS.iter().chain(of_rule).cloned().collect()
});
