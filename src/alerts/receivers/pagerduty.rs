//! Events of PagerDuty, version 2: one request per alert.

use serde_json::{Map, Value as Json, json};

use super::super::notification::{Alert, AlertStatus, Notification};
use super::super::text::{self, Text, escape};
use super::request::HttpRequest;
use super::rfc3339;
use crate::config::Secret;
use crate::config::alerts::{HttpTarget, Language, Severity};

/// Bytes of a summary.
const MAX_SUMMARY: usize = 1_024;

pub(super) fn requests(
    target: &HttpTarget,
    routing_key: &Secret,
    notification: &Notification,
    language: Language,
) -> Vec<HttpRequest> {
    let link = Text::of(notification, language).link;
    let event = |alert: &Alert| {
        let body = body(routing_key, alert, notification, language, link.as_ref());
        HttpRequest::post(target.url.uri().to_string(), &body)
    };
    notification.alerts.iter().map(event).collect()
}

fn body(
    routing_key: &Secret,
    alert: &Alert,
    notification: &Notification,
    language: Language,
    link: Option<&(&'static str, String)>,
) -> Json {
    let action = match alert.status {
        AlertStatus::Firing => "trigger",
        AlertStatus::Resolved(_) => "resolve",
    };
    let severity = match alert.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let test = if notification.is_test { "TEST: " } else { "" };
    let channel = &notification.channel;
    let summary = text::summary_of(alert, notification, language);
    let summary = format!("{test}{channel}: {}: {summary}", alert.rule);
    let mut details: Map<String, Json> =
        alert.values.iter().map(|(field, value)| (field.name().to_owned(), json!(value))).collect();
    details.insert("condition".to_owned(), json!(alert.condition));
    let mut links = Vec::new();
    links.extend(link.map(|(label, url)| json!({ "href": url, "text": label })));
    links.extend(alert.runbook.as_ref().map(|url| json!({ "href": url, "text": "runbook" })));
    let mut body = json!({
        "routing_key": routing_key.reveal(),
        "event_action": action,
        "dedup_key": alert.fingerprint.to_string(),
        "payload": {
            "summary": escape::truncated(&summary, MAX_SUMMARY),
            "source": alert.host.as_ref().unwrap_or(&notification.sender),
            "severity": severity,
            "timestamp": rfc3339(alert.started_at),
            "component": "aint-queue",
            "group": channel,
            "class": alert.rule,
            "custom_details": details,
        },
        "client": "aint-queue",
        "links": links,
    });
    if let Some((_, url)) = link {
        body["client_url"] = json!(url);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::tests::target;
    use super::*;
    use crate::engine::alerts::sample::{notification, resolved};

    #[test]
    fn each_alert_is_an_event_with_a_stable_key() {
        let url = "https://events.pagerduty.com/v2/enqueue";
        let of = |n: &Notification| {
            let requests = requests(&target(url), &Secret::new("hunter2"), n, Language::English);
            requests.iter().map(super::super::tests::body).collect::<Vec<_>>()
        };
        let mut two = notification();
        two.alerts.push(Alert {
            severity: Severity::Critical,
            host: Some("web2".into()),
            ..two.alerts[0].clone()
        });
        let events = of(&two);
        assert_eq!(events.len(), 2);
        assert_eq!(
            (&events[0]["event_action"], &events[0]["dedup_key"]),
            (&json!("trigger"), &json!("0123456789abcdef"))
        );
        assert_eq!(events[0]["routing_key"], "hunter2");
        let payload = &events[0]["payload"];
        assert_eq!(
            payload["summary"],
            "mail: backlog: Jobs pile up: 1204 wait, the front one for 12 min; all ? workers are busy."
        );
        assert_eq!((&payload["severity"], &payload["source"]), (&json!("warning"), &json!("web1")));
        assert_eq!(payload["custom_details"]["waiting"], 1204.0);
        assert_eq!(events[1]["payload"]["source"], "web2");
        assert_eq!(of(&resolved())[0]["event_action"], "resolve");
    }
}
