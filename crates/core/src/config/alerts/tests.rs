//! From the table `[alerts]` to its settings, and every kind of mistake.

use std::time::Duration;

use super::*;
use crate::config::alerts::keys::{ALERT_KEYS, RECEIVER_KEYS};
use crate::config::{Config, ConfigError, SnapshotHandler};

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(&format!("{text}\n[channels.mail]\n[channels.reports]\n"), "/etc/app/aint-queue.toml")
}

fn alerts(text: &str) -> Alerts {
    parse(text).unwrap().alerts.unwrap()
}

/// Everything that is wrong with `text`: position, key, message, remedy.
fn wrong(text: &str) -> String {
    let Err(ConfigError::Invalid(problems)) = parse(text) else { panic!("no mistake in {text}") };
    let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
    all.join("\n").replace("/etc/app/aint-queue.toml:", "")
}

fn warnings(text: &str) -> Vec<String> {
    parse(text)
        .unwrap()
        .warnings
        .iter()
        .map(|warning| format!("{} {}", warning.key, warning.message))
        .collect()
}

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u";

/// A receiver of each type with every key that it has.
fn everything() -> String {
    format!(
        r#"
[alerts]
language = "zh-CN"
[alerts.receivers]
ding = {{ type = "dingtalk", url = "https://oapi.dingtalk.com/robot/send?access_token=hunter2", secret = "SEChunter2", at_users = ["u"], at_mobiles = ["13800000000"], at_all = true }}
wecom = {{ type = "wecom", url = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=hunter2", at_users = ["u"], at_mobiles = ["138"] }}
feishu = {{ type = "feishu", url = "https://open.feishu.cn/open-apis/bot/v2/hook/hunter2", secret = "hunter2" }}
lark = {{ type = "lark", url = "https://open.larksuite.com/open-apis/bot/v2/hook/hunter2", language = "en" }}
slack = {{ type = "slack", url = "https://hooks.slack.com/services/T0/B0/hunter2", at_users = ["U1"] }}
teams = {{ type = "teams", url = "https://prod.example.com/workflows/hunter2" }}
discord = {{ type = "discord", url = "https://discord.com/api/webhooks/1/hunter2" }}
pager = {{ type = "pagerduty", routing_key = "hunter2" }}
am = {{ type = "alertmanager", url = "http://127.0.0.1:9093", headers = {{ Authorization = "Bearer hunter2" }} }}
hook = {{ type = "webhook", url = "https://hook.example/a", secret = "{SECRET}", ca_file = "ca.pem", allow_private = false }}
mail = {{ type = "email", to = ["ops@example.com", "Ops Team <team@example.com>"], from = "queue@example.com", smtp = "smtps://ann:hunter2@smtp.example.com" }}
program = {{ type = "command", command = ["./notify.sh", "now"], timeout_seconds = 3 }}
log = {{ type = "log" }}
file = {{ type = "file", path = "alerts.jsonl", max_bytes = 1000 }}
alive = {{ type = "heartbeat", url = "https://hc-ping.com/hunter2", every = 30, form = "uptime-kuma", fail = true, per_host = true }}
"#
    )
}

#[test]
fn empty_table_has_every_default() {
    let alerts = alerts("[alerts]");
    let seconds = Duration::from_secs;
    assert_eq!((alerts.evaluate_every, alerts.group_wait), (seconds(5), seconds(10)));
    assert_eq!((alerts.group_interval, alerts.resend), (seconds(60), seconds(14_400)));
    assert!(alerts.send_resolved && alerts.receivers.is_empty() && alerts.routes.is_empty());
    assert_eq!(alerts.language, Language::English);
    assert!(parse("").unwrap().alerts.is_none());
}

#[test]
fn every_type_of_receiver_is_read() {
    let alerts = alerts(&everything());
    let kinds: Vec<_> =
        alerts.receivers.iter().map(|(name, r)| (name.as_str(), r.kind.type_name())).collect();
    assert_eq!(kinds.len(), 15, "{kinds:?}");
    let kind = |name: &str| &alerts.receivers[name].kind;
    assert_eq!(kind("lark").type_name(), "feishu");
    assert_eq!(
        (alerts.receivers["lark"].language, alerts.receivers["ding"].language),
        (Language::English, Language::Chinese)
    );
    let ReceiverKind::DingTalk { secret, mentions, .. } = kind("ding") else { panic!() };
    assert_eq!(secret.as_ref().unwrap().reveal(), "SEChunter2");
    assert!(mentions.all && mentions.mobiles == ["13800000000"] && mentions.users == ["u"]);
    let ReceiverKind::PagerDuty { target, .. } = kind("pager") else { panic!() };
    assert_eq!(target.url.to_string(), "https://events.pagerduty.com/v2/enqueue");
    let ReceiverKind::Webhook { keys, target } = kind("hook") else { panic!() };
    assert!(keys.len() == 1 && !target.allow_private);
    assert_eq!(target.ca_file.as_deref(), Some(std::path::Path::new("/etc/app/ca.pem")));
    let ReceiverKind::Email { server, to, .. } = kind("mail") else { panic!() };
    assert_eq!((server.host.as_str(), server.port, to.len()), ("smtp.example.com", 465, 2));
    let ReceiverKind::Command { command, timeout, .. } = kind("program") else { panic!() };
    assert_eq!((command.argv()[0].as_str(), timeout.as_secs()), ("/etc/app/notify.sh", 3));
    let ReceiverKind::Heartbeat { every, form, fail, per_host, .. } = kind("alive") else { panic!() };
    assert!(*fail && *per_host && every.as_secs() == 30 && *form == HeartbeatForm::UptimeKuma);
}

#[test]
fn effective_settings_have_every_key_and_no_secret() {
    let text = format!(
        "{}[[alerts.route]]\nseverity = \"critical\"\nchannel = \"mail\"\nrule = \"backlog\"\nto = [\"ding\"]\n[[alerts.route]]\nto = [\"log\"]\n[[alerts.quiet_hours]]\nfrom = \"22:00\"\nto = \"07:00\"\nzone = \"Asia/Shanghai\"\n",
        everything()
            .replace(
                "url = \"https://discord.com",
                "at_all = true, ca_file = \"x\", url = \"https://discord.com"
            )
            .replace(
                "smtps://ann:hunter2@smtp.example.com\"",
                "smtps://smtp.example.com\", username = \"ann\", password = \"hunter2\""
            )
    );
    let config = parse(&text).unwrap();
    let shown = config.to_json();
    for text in [config.to_toml(), shown.to_string(), format!("{config:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("MDEyMzQ1"), "{text}");
    }
    let table = &shown["alerts"];
    // The rules of all channels are shown as rules of each.
    for key in ALERT_KEYS.iter().filter(|key| key.path != "rule") {
        let (path, inner) = key.path.split_once("[].").unwrap_or((key.path, ""));
        let value = if inner.is_empty() { &table[path] } else { &table[path][0][inner] };
        assert!(!value.is_null(), "{} is not shown", key.path);
    }
    let receivers = table["receivers"].as_object().unwrap();
    for key in RECEIVER_KEYS {
        assert!(
            receivers.values().any(|receiver| receiver.get(key.path).is_some()),
            "{} is not shown",
            key.path
        );
        for receiver in receivers.values().filter(|receiver| receiver.get(key.path).is_some()) {
            let (types, own) = (key.receiver_types(), receiver["type"].as_str().unwrap());
            assert!(types.is_empty() || types.contains(&own), "{} of {own}", key.path);
        }
    }
    // The output is a configuration again, but for the secrets.
    let again = config.to_toml();
    assert!(again.contains("[alerts.receivers]\n") && again.contains("ding = { "), "{again}");
    toml::from_str::<toml::Table>(&again).unwrap();
}

#[test]
fn first_route_that_fits_decides() {
    let receivers = "[alerts]\nreceivers.team = { type = \"log\" }\nreceivers.mail = { type = \"log\" }\nreceivers.alive = { type = \"heartbeat\", url = \"https://a.example/x\" }\n";
    let all = alerts(receivers);
    assert_eq!(
        all.receivers_of("mail", "backlog", Severity::Info),
        ["mail", "team"],
        "a heartbeat gets no alert"
    );
    let routed = alerts(&format!(
        "{receivers}route = [ {{ severity = \"critical\", to = [\"team\", \"mail\"] }}, {{ channel = \"mail\", rule = \"slow\", to = [] }}, {{ to = [\"team\"] }} ]"
    ));
    assert_eq!(routed.receivers_of("mail", "slow", Severity::Critical), ["team", "mail"]);
    assert_eq!(routed.receivers_of("mail", "slow", Severity::Warning), [] as [&str; 0]);
    assert_eq!(routed.receivers_of("reports", "slow", Severity::Warning), ["team"]);
}

#[test]
fn mistakes_of_receivers_are_named_with_their_remedy() {
    for (receiver, expected) in [
        ("{ type = \"slak\", url = \"https://a\" }", "did you mean \"slack\"?"),
        ("{ type = \"mail\" }", "did you mean \"email\"?"),
        ("{ type = \"opsgenie\" }", "is not available in this version"),
        ("{ url = \"https://a\" }", "has no type: add type = with one of"),
        (
            "{ type = \"slack\", url = \"https://a\", ulr = \"https://a\" }",
            "ulr is not a known key: did you mean url?",
        ),
        ("{ type = \"slack\" }", "has no url: add url = \"${SLACK_URL}\""),
        ("{ type = \"email\", to = [\"a@b\"], from = \"a@b\" }", "has no smtp: add smtp ="),
        (
            "{ type = \"slack\", url = \"https://a\", path = \"x\" }",
            "path has no meaning for a receiver of type \"slack\"",
        ),
        ("{ type = \"slack\", url = \"hooks.slack.com\" }", "is not a complete URL"),
        ("{ type = \"slack\", url = \"https://ann:hunter2@a\" }", "holds a user name or password"),
        (
            "{ type = \"webhook\", url = \"http://169.254.169.254/latest\" }",
            "goes to an address of cloud metadata",
        ),
        ("{ type = \"webhook\", url = \"http://[fd00:ec2::254]/\" }", "goes to an address of cloud metadata"),
        ("{ type = \"webhook\", url = \"http://100.100.100.200/\" }", "goes to an address of cloud metadata"),
        ("{ type = \"webhook\", url = \"http://[fe80::1]/\" }", "goes to a link-local address"),
        (
            "{ type = \"webhook\", url = \"http://10.0.0.1/\", allow_private = false }",
            "remove allow_private = false",
        ),
        (
            "{ type = \"webhook\", url = \"http://a/\", secret = \"hunter2\" }",
            "does not begin with \"whsec_\"",
        ),
        ("{ type = \"dingtalk\", url = \"https://a/\", secret = [\"a\", \"b\"] }", "is no secret of a bot"),
        ("{ type = \"dingtalk\", url = \"https://a/\", at_mobiles = [138] }", "at_mobiles[0] is an integer"),
        (
            "{ type = \"email\", to = [\"ops\"], from = \"q@a\", smtp = \"smtps://a\" }",
            "to[0] is no mail address",
        ),
        ("{ type = \"email\", to = [], from = \"q@a\", smtp = \"smtps://a\" }", "to is empty"),
        (
            "{ type = \"email\", to = [\"a@b\"], from = \"a@b\\r\\nBcc: c@d\", smtp = \"smtps://a\" }",
            "from is no mail address",
        ),
        (
            "{ type = \"email\", to = [\"a@b\"], from = \"q@a\", smtp = \"smtp://u:hunter2@a?tls=none\" }",
            "without TLS to another host",
        ),
        (
            "{ type = \"email\", to = [\"a@b\"], from = \"q@a\", smtp = \"smtps://169.254.169.254\" }",
            "cloud metadata",
        ),
        (
            "{ type = \"email\", to = [\"a@b\"], from = \"q@a\", smtp = \"smtps://u:x@a\", password = \"y\" }",
            "contradicts smtp",
        ),
        (
            "{ type = \"email\", to = [\"a@b\"], from = \"q@a\", smtp = \"smtps://u@a\" }",
            "only one of user and password",
        ),
        ("{ type = \"command\" }", "has no command: add command = "),
        ("{ type = \"file\", path = \"\" }", "path is empty"),
        ("{ type = \"heartbeat\", url = \"https://a\", every = 0 }", "every is 0"),
        ("{ type = \"log\", language = \"zh\" }", "is not one of its values"),
        ("7", "is an integer: write a table, as in [alerts.receivers.x]"),
    ] {
        let found = wrong(&format!("[alerts]\nreceivers.x = {receiver}"));
        assert!(found.contains(expected) && found.starts_with("2:"), "{receiver}\n{found}");
        assert!(!found.contains("hunter2"), "{found}");
        assert_eq!(found.lines().count(), 1, "one mistake, one message: {found}");
    }
}

#[test]
fn mistakes_beside_receivers_are_named_with_their_remedy() {
    let two = "[alerts]\nreceivers.team = { type = \"log\" }\nreceivers.alive = { type = \"heartbeat\", url = \"https://a/x\" }\n";
    for (line, expected) in [
        ("route = [ { to = [\"taem\"] } ]", "= \"taem\" is not a declared receiver: did you mean \"team\"?"),
        ("route = [ { to = [\"alive\"] } ]", "is a heartbeat, which sends no alerts"),
        ("route = [ { severity = \"critical\" } ]", "has no receivers: add to = "),
        ("route = [ { severity = \"hot\", to = [\"team\"] } ]", "is not one of its values"),
        ("route = [ { sevrity = \"info\", to = [\"team\"] } ]", "did you mean severity?"),
        (
            "route = [ { channel = \"mial\", to = [\"team\"] } ]",
            "is not a declared channel: did you mean \"mail\"?",
        ),
        ("route = [ \"team\" ]", "is a string: write a table, as in { to"),
        ("quiet_hours = [ { from = \"22:00\" } ]", "has no to: write a time of day"),
        ("quiet_hours = [ { from = \"10pm\", to = \"07:00\" } ]", "from is no time of day"),
        ("quiet_hours = [ { from = \"07:00\", to = \"07:00\" } ]", "is the same as from"),
        ("quiet_hours = [ { from = \"22:00\", to = \"07:00\", days = \"weekdays\" } ]", "is no list of days"),
        (
            "quiet_hours = [ { from = \"22:00\", to = \"07:00\", zone = \"Asia/Shanghia\" } ]",
            "did you mean \"Asia/Shanghai\"?",
        ),
        ("evaluate_every = 0", "evaluate_every is 0"),
        ("evalute_every = 5", "did you mean evaluate_every?"),
        ("receivers = [\"team\"]", ""),
    ] {
        let found = wrong(&format!("{two}{line}"));
        assert!(found.contains(expected), "{line}\n{found}");
        assert_eq!(found.lines().count(), 1, "one mistake, one message: {found}");
    }
    assert!(wrong("[alert]").contains("did you mean alerts?"));
    // A receiver with a mistake is no missing one for the routes.
    let found = wrong("[alerts]\nreceivers.team = { type = \"slack\" }\nroute = [ { to = [\"team\"] } ]");
    assert_eq!(found.lines().count(), 1, "{found}");
}

#[test]
fn probable_mistakes_are_warned_of() {
    let team = "[alerts]\nreceivers.team = { type = \"log\" }\n";
    let of = |line: &str| warnings(&format!("{team}{line}")).join("\n");
    assert_eq!(of("route = [ { to = [\"team\"] } ]"), "");
    assert!(
        of("route = [ { severity = \"info\", to = [\"team\"] } ]")
            .contains("those that fit none reach no receiver")
    );
    assert!(
        of("route = [ { to = [\"team\"] }, { severity = \"info\", to = [] } ]").contains("takes every alert")
    );
    assert!(
        of("receivers.s = { type = \"slack\", url = \"http://hooks.example/x\" }").contains("without TLS")
    );
    assert_eq!(of("receivers.s = { type = \"slack\", url = \"http://127.0.0.1:1/x\" }"), "");
    assert_eq!(of("receivers.a = { type = \"alertmanager\", url = \"http://alertmanager:9093\" }"), "");
}

#[test]
fn base_of_links_is_a_url_without_a_slash_at_its_end() {
    let url = |text: &str| {
        let text = format!("[http]\nlisten = \"127.0.0.1:9465\"\npublic_url = \"{text}\"");
        parse(&text).map(|config| config.http.unwrap().public_url.unwrap())
    };
    assert_eq!(url("https://queue.example.com/jobs/").unwrap(), "https://queue.example.com/jobs");
    for wrong in ["queue.example.com", "ftp://queue.example.com", "https://a/?b=c"] {
        assert!(url(wrong).is_err(), "{wrong}");
    }
}

fn handlers(items: &str) -> String {
    format!("[channels.jobs]\njob_snapshot.handler = [{items}]\n")
}

#[test]
fn handler_with_a_condition_is_a_receiver_and_its_rule() {
    let config = parse(&handlers(
        r#"{ type = "webhook", url = "https://a.example/hunter2", when = "waiting > 10000", for = "60s", resend = "30m" },
           { type = "file", path = "counts.jsonl", max_bytes = 1000 }, { type = "slack", url = "https://b.example/x", name = "pile", when = "failed > 1", for = 5 }"#,
    ))
    .unwrap();
    let channel = &config.channels["jobs"];
    let [webhook, file, slack] = channel.snapshot.handlers.as_slice() else { panic!("{channel:?}") };
    assert!(file.rule.is_none());
    let rule = webhook.rule.as_ref().unwrap();
    let seconds = Duration::from_secs;
    assert_eq!((rule.for_time, rule.resend), (seconds(60), Some(seconds(1_800))));
    assert_eq!(rule.to.as_deref(), Some(&[format!("jobs/{}", rule.name)][..]));
    assert_eq!(slack.rule.as_ref().map(|rule| (&*rule.name, rule.for_time)), Some(("pile", seconds(5))));
    assert_eq!(channel.rules.len(), 2, "built-in rules are on with a declared receiver only");
    let alerts = config.alerts.as_ref().unwrap();
    let names: Vec<_> = alerts.receivers.keys().map(String::as_str).collect();
    assert!(names[0].starts_with("jobs/slack-") && names[1].starts_with("jobs/webhook-"), "{names:?}");
    assert_eq!(alerts.receivers_of("jobs", "backlog", Severity::Critical), [""; 0]);
    let shown = config.to_json();
    let handler = &shown["channels"]["jobs"]["job_snapshot"]["handler"];
    assert_eq!((&handler[0]["when"], &handler[0]["for"]), (&"waiting > 10000".into(), &60.into()));
    assert_eq!(
        handler[1],
        serde_json::json!({ "type": "file", "path": "/etc/app/counts.jsonl", "max_bytes": 1000 })
    );
    assert!(shown["channels"]["jobs"]["alerts"]["rule"].is_null(), "{shown}");
    assert!(!shown["alerts"].to_string().contains("webhook-"), "{shown}");
    assert!(!config.to_toml().contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

#[test]
fn name_of_an_alert_handler_is_that_of_its_target() {
    let named = |items: &[&str]| {
        let config = parse(&handlers(&items.join(", "))).unwrap();
        let of = |handler: &SnapshotHandler| {
            let (receiver, rule) = (&handler.receiver, handler.rule.as_ref().unwrap());
            assert_eq!(rule.to.as_deref(), Some(std::slice::from_ref(&receiver.name)));
            (receiver.name.clone(), rule.name.to_string())
        };
        config.channels["jobs"].snapshot.handlers.iter().map(of).collect::<Vec<_>>()
    };
    let a = r#"{ type = "webhook", url = "https://a.example/x", when = "waiting > 1" }"#;
    let b = r#"{ type = "webhook", url = "https://a.example/y", when = "waiting > 1" }"#;
    let other_condition =
        r#"{ type = "webhook", url = "https://a.example/x", when = "failed > 1", language = "zh-CN" }"#;
    let file = r#"{ type = "file", path = "a.jsonl", when = "failed > 1", name = "pile" }"#;
    let both = named(&[a, b, file]);
    assert_eq!(named(&[file, b, a]), [both[2].clone(), both[1].clone(), both[0].clone()]);
    assert_eq!(named(&[b])[0], both[1], "another one is removed");
    assert_eq!(named(&[other_condition])[0], both[0], "the target is the same");
    assert_ne!(both[0], both[1]);
    assert_eq!((both[0].0.as_str(), both[2].1.as_str()), (format!("jobs/{}", both[0].1).as_str(), "pile"));
    assert_eq!(named(&[a, other_condition])[1].1, format!("{}-2", both[0].1));
    assert_eq!(named(&[r#"{ type = "log", when = "failed > 1" }"#])[0].1, "log");
}

#[test]
fn mistakes_in_snapshot_handlers_are_named() {
    let team = "[alerts.receivers]\nteam = { type = \"log\" }\n";
    for (item, said) in [
        ("{}", "has no type"),
        ("7", "is an integer: write an array of tables"),
        (
            r#"{ type = "slack", url = "https://a.example/x" }"#,
            "of type \"slack\" gets no snapshots, only alerts: add when",
        ),
        (r#"{ type = "heartbeat", url = "https://a.example/x", when = "waiting > 1" }"#, "is a heartbeat"),
        (r#"{ type = "log", for = "60s" }"#, "for has no meaning without when"),
        (r#"{ type = "log", wen = "waiting > 1" }"#, "did you mean when?"),
        (r#"{ type = "log", when = "waiting > 1", for = "an hour" }"#, "for is a string: write a number"),
        (r#"{ type = "log", when = "wating > 1" }"#, "is no condition, column 1 of it"),
        (
            r#"{ type = "log", when = "waiting > 1", name = "slow" }"#,
            "has the name of another rule, \"slow\"",
        ),
        (r#"{ type = "webhook" }"#, "has no url"),
        (r#"{ type = "email", to = ["x"], from = "a@b", smtp = "smtps://h" }"#, "is no mail address"),
    ] {
        let all = wrong(&(team.to_owned() + &handlers(item)));
        assert!(all.contains(said) && !all.contains('\n'), "{item}: {all}");
    }
}

#[test]
fn rules_take_durations_as_text() {
    let text = "[alerts]\nreceivers.team = { type = \"log\" }\nrule = [{ name = \"slow\", for = \"1h30m\", resend = \"2h\" }]";
    let config = parse(text).unwrap();
    let slow = config.channels["mail"].rules.iter().find(|rule| &*rule.name == "slow").unwrap();
    assert_eq!((slow.for_time.as_secs(), slow.resend.unwrap().as_secs()), (5_400, 7_200));
}
