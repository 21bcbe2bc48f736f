//! Services behind a URL: bodies as they arrive, and every kind of answer.

use serde_json::Value as Json;

use crate::fixture::{firing, refusal, resolved, self_signed, send};
use crate::receiver::{CannedResponse, Receiver, status};

/// A server that answers each request alike.
fn answering(code: u16, body: &str) -> Receiver {
    let body = body.to_owned();
    Receiver::start(move |_| CannedResponse::Whole(code, Vec::new(), body.clone()))
}

#[tokio::test]
async fn every_service_gets_its_form_and_takes_its_answer() {
    for (kind, more, answer, pointer, expected) in [
        ("dingtalk", ", secret = \"SECx\"", r#"{"errcode":0}"#, "/msgtype", "markdown"),
        ("wecom", "", r#"{"errcode":0,"errmsg":"ok"}"#, "/msgtype", "markdown"),
        ("feishu", ", secret = \"x\"", r#"{"code":0}"#, "/msg_type", "interactive"),
        ("slack", "", "ok", "/text", "[FIRING] mail: backlog · 1,204 waiting"),
        ("teams", "", "", "/type", "message"),
        ("discord", "", "", "/embeds/0/title", "[FIRING] mail: backlog · 1,204 waiting"),
        ("pagerduty", ", routing_key = \"hunter2\"", "{}", "/event_action", "trigger"),
        ("alertmanager", "", "", "/0/labels/alertname", "backlog"),
        ("webhook", "", "", "/alerts/0/status", "firing"),
    ] {
        let server = answering(200, answer);
        let line = format!(
            "type = \"{kind}\", url = \"http://127.0.0.1:{}/hunter2?key=hunter2\"{more}",
            server.port()
        );
        send(&line, &firing(1)).await.unwrap_or_else(|failure| panic!("{kind}: {failure:?}"));
        let requests = server.requests();
        assert_eq!((requests.len(), requests[0].header("content-type")), (1, "application/json"), "{kind}");
        let body: Json = serde_json::from_str(&requests[0].body).unwrap();
        assert_eq!(body.pointer(pointer).and_then(Json::as_str), Some(expected), "{kind}: {body}");
        if kind == "dingtalk" {
            assert!(requests[0].path.contains("&timestamp=") && requests[0].path.contains("&sign="));
        }
    }
}

#[tokio::test]
async fn refusals_within_a_good_status_are_failures() {
    for (kind, answer) in [
        ("dingtalk", r#"{"errcode":310000,"errmsg":"sign not match"}"#),
        ("wecom", r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#),
        ("feishu", r#"{"code":19021,"msg":"sign match fail"}"#),
    ] {
        let server = answering(200, answer);
        let said =
            refusal(&format!("type = \"{kind}\", url = \"http://127.0.0.1:{}/x\"", server.port())).await;
        assert!(said.starts_with("the receiver refused with code "), "{kind}: {said}");
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let other = answering(200, "ok");
    let place = format!("http://127.0.0.1:{}/stolen", other.port());
    let server = Receiver::start(move |_| {
        CannedResponse::Whole(302, vec![("location", place.clone())], String::new())
    });
    let said = refusal(&format!("type = \"slack\", url = \"http://127.0.0.1:{}/x\"", server.port())).await;
    assert!(said.contains("302 Found") && said.contains("redirects are never followed"), "{said}");
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn answer_that_repeats_the_secret_or_floods_is_cut_and_hidden() {
    let server = answering(400, &format!("key=hunter2token\u{1b}[2J {}", "x".repeat(5_000)));
    let url = format!("http://127.0.0.1:{}/services/hunter2token", server.port());
    let said = refusal(&format!("type = \"slack\", url = \"{url}\"")).await;
    assert!(!said.contains("hunter2token") && !said.contains('\u{1b}'), "{said}");
    assert!(said.chars().count() < 300, "{said}");
    let endless = Receiver::start(|_| CannedResponse::Endless(500));
    let said = refusal(&format!("type = \"slack\", url = \"http://127.0.0.1:{}/x\"", endless.port())).await;
    assert!(said.contains("500 Internal Server Error"), "{said}");
}

#[tokio::test]
async fn unreachable_server_is_named_without_the_path() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let said = refusal(&format!("type = \"slack\", url = \"http://127.0.0.1:{port}/hunter2\"")).await;
    assert!(said.starts_with(&format!("could not connect to http://127.0.0.1:{port}: ")), "{said}");
    assert!(!said.contains("hunter2"));
}

#[tokio::test]
async fn untrusted_certificate_ends_the_attempts() {
    let (tls, authority) = self_signed();
    let server = Receiver::start_with(Some(tls), |_| status(200));
    let url = format!("https://localhost:{}/x", server.port());
    let said = refusal(&format!("type = \"slack\", url = \"{url}\"")).await;
    assert!(said.contains("certificate"), "{said}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let line = format!("type = \"slack\", url = \"{url}\", ca_file = \"{}\"", file.display());
    send(&line, &firing(1)).await.unwrap();
}

#[tokio::test]
async fn heartbeat_is_a_call_in_the_form_of_its_service() {
    let server = answering(200, "OK");
    let line = format!(
        "type = \"heartbeat\", url = \"http://127.0.0.1:{}/x\", form = \"uptime-kuma\"",
        server.port()
    );
    send(&line, &firing(1)).await.unwrap();
    assert_eq!(
        (server.requests()[0].path.as_str(), server.requests()[0].body.as_str()),
        ("/x?status=up&msg=OK", "")
    );
}

#[tokio::test]
async fn file_gets_lines_and_a_device_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let line = format!("type = \"file\", path = \"{}\"", path.display());
    send(&line, &firing(1)).await.unwrap();
    send(&line, &resolved(1)).await.unwrap();
    let lines: Vec<Json> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["alerts"][0]["status"], &lines[1]["alerts"][0]["status"]),
        (&Json::from("firing"), &Json::from("resolved"))
    );
    assert_eq!(lines[0]["alerts"][0]["fingerprint"], "0000000000000001");
    let said = refusal("type = \"file\", path = \"/dev/full\"").await;
    assert!(said.contains("\"/dev/full\" could not be written: "), "{said}");
}
