//! Alerts in the forms of Alertmanager: for its API, and as the body of its webhooks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::super::notification::{Alert, AlertStatus, Notification};
use super::super::text;
use super::request::HttpRequest;
use super::{message_key, rfc3339, standard_headers};
use crate::config::alerts::{HttpTarget, Language};
use crate::config::webhook::SigningKey;
use crate::job::Timestamp;

/// The time after which Alertmanager takes a firing alert that is not sent again as ended.
const FIRES_FOR: Duration = Duration::from_secs(240);
/// The time that stands for "not ended" in webhooks.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// An alert with labels, as Alertmanager has it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LabelledAlert {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

fn labels(alert: &Alert, notification: &Notification) -> BTreeMap<&'static str, String> {
    let mut labels = BTreeMap::from([
        ("alertname", alert.rule.to_string()),
        ("severity", alert.severity.to_string()),
        ("channel", notification.channel.to_string()),
    ]);
    labels.extend(alert.host.clone().map(|host| ("host", host)));
    if notification.is_test {
        labels.insert("test", "true".to_owned());
    }
    labels
}

fn annotations(
    alert: &Alert,
    notification: &Notification,
    language: Language,
) -> BTreeMap<&'static str, String> {
    let test = if notification.is_test { "TEST: " } else { "" };
    let summary = text::summary_of(alert, notification, language);
    let values: Vec<_> = alert
        .fields
        .iter()
        .filter_map(|f| Some(format!("{} = {}", f.name(), alert.values.get(f)?)))
        .collect();
    let mut annotations = BTreeMap::from([
        ("summary", format!("{test}{summary}")),
        ("description", format!("{}; {}", alert.condition, values.join(", "))),
    ]);
    annotations.extend(alert.runbook.clone().map(|url| ("runbook_url", url)));
    annotations
}

fn generator(notification: &Notification) -> String {
    let base = notification.public_url.as_ref();
    base.map_or_else(String::new, |base| format!("{base}/channels/{}", notification.channel))
}

/// The request to the API of Alertmanager. A firing alert ends there by itself unless it is sent again within minutes.
pub(super) fn request(
    target: &HttpTarget,
    notification: &Notification,
    language: Language,
    now: Timestamp,
) -> HttpRequest {
    let alert = |alert: &Alert| LabelledAlert {
        status: None,
        labels: labels(alert, notification),
        annotations: annotations(alert, notification, language),
        starts_at: rfc3339(alert.started_at),
        ends_at: rfc3339(match alert.status {
            AlertStatus::Firing => now.after(FIRES_FOR),
            AlertStatus::Resolved(end) => end,
        }),
        generator_url: generator(notification),
        fingerprint: None,
    };
    let alerts: Vec<_> = notification.alerts.iter().map(alert).collect();
    let url = format!("{}/api/v2/alerts", target.url.uri().to_string().trim_end_matches('/'));
    HttpRequest { headers: target.headers.clone(), ..HttpRequest::post(url, &json!(alerts)) }
}

/// The request of a webhook, with Alertmanager's body of version 4.
pub(super) fn webhook(
    target: &HttpTarget,
    keys: &[SigningKey],
    receiver: &str,
    notification: &Notification,
    language: Language,
) -> HttpRequest {
    let alert = |alert: &Alert| {
        let (status, ends_at) = match alert.status {
            AlertStatus::Firing => ("firing", NO_END.to_owned()),
            AlertStatus::Resolved(end) => ("resolved", rfc3339(end)),
        };
        LabelledAlert {
            status: Some(status),
            labels: labels(alert, notification),
            annotations: annotations(alert, notification, language),
            starts_at: rfc3339(alert.started_at),
            ends_at,
            generator_url: generator(notification),
            fingerprint: Some(alert.fingerprint.to_string()),
        }
    };
    let alerts: Vec<_> = notification.alerts.iter().map(alert).collect();
    let is_firing = notification.alerts.iter().any(|alert| alert.status == AlertStatus::Firing);
    let common = |of: fn(&LabelledAlert) -> &BTreeMap<&'static str, String>| {
        let mut common = alerts.first().map(|first| of(first).clone()).unwrap_or_default();
        common.retain(|name, value| alerts.iter().all(|alert| of(alert).get(name) == Some(value)));
        common
    };
    let channel = &notification.channel;
    let body = json!({
        "version": "4",
        "groupKey": format!("{{}}:{{channel=\"{channel}\"}}"),
        "truncatedAlerts": 0,
        "status": if is_firing { "firing" } else { "resolved" },
        "receiver": receiver,
        "groupLabels": { "channel": channel },
        "commonLabels": common(|alert| &alert.labels),
        "commonAnnotations": common(|alert| &alert.annotations),
        "externalURL": notification.public_url.clone().unwrap_or_default(),
        "alerts": alerts,
    })
    .to_string();
    let mut headers = target.headers.clone();
    headers.extend(standard_headers(keys, message_key(notification), notification.at, &body));
    HttpRequest { method: "POST", url: target.url.uri().to_string(), headers, body }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{body, target};
    use super::*;
    use crate::engine::alerts::sample::{AT, notification, resolved};

    #[test]
    fn api_gets_labels_and_a_near_end_of_firing_alerts() {
        let of = |n: &Notification| request(&target("http://127.0.0.1:9093/"), n, Language::English, AT);
        let firing = of(&notification());
        assert_eq!(firing.url, "http://127.0.0.1:9093/api/v2/alerts");
        let alert = &body(&firing)[0];
        assert_eq!(
            alert["labels"],
            json!({ "alertname": "backlog", "severity": "warning", "channel": "mail" })
        );
        assert_eq!(
            (&alert["startsAt"], &alert["endsAt"]),
            (&json!("2023-11-14T22:01:20Z"), &json!("2023-11-14T22:17:20Z"))
        );
        assert_eq!(alert["annotations"]["runbook_url"], "https://wiki.example/backlog");
        assert_eq!(alert["generatorURL"], "https://queue.example.com/channels/mail");
        assert!(alert.get("status").is_none() && alert.get("fingerprint").is_none());
        assert_eq!(body(&of(&resolved()))[0]["endsAt"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn webhook_has_the_body_of_version_four_and_signatures() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let url = "https://hook.example/a";
        let mut two = notification();
        two.alerts.push(Alert { rule: "slow".into(), ..two.alerts[0].clone() });
        let signed = webhook(&target(url), std::slice::from_ref(&key), "hook", &two, Language::English);
        let sent = body(&signed);
        assert_eq!(
            (&sent["version"], &sent["status"], &sent["receiver"]),
            (&json!("4"), &json!("firing"), &json!("hook"))
        );
        assert_eq!(sent["groupKey"], "{}:{channel=\"mail\"}");
        assert_eq!(sent["commonLabels"], json!({ "severity": "warning", "channel": "mail" }));
        let alert = &sent["alerts"][0];
        assert_eq!(
            (&alert["status"], &alert["endsAt"], &alert["fingerprint"]),
            (&json!("firing"), &json!(NO_END), &json!("0123456789abcdef"))
        );
        let header = |name: &str| &signed.headers.iter().find(|(known, _)| known == name).unwrap().1;
        let expected = crate::webhook::signature::signature(
            &[key],
            header("webhook-id"),
            1_700_000_000,
            signed.body.as_bytes(),
        );
        assert_eq!(
            (header("webhook-timestamp").as_str(), header("webhook-signature")),
            ("1700000000", &expected)
        );
        let again = webhook(&target(url), &[], "hook", &two, Language::English);
        assert_eq!(again.body, signed.body, "a retry has the same id and body");
        let plain = webhook(&target(url), &[], "hook", &resolved(), Language::English);
        assert!(plain.headers.is_empty() && body(&plain)["status"] == "resolved");
    }
}
