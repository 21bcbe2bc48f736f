//! Refused requests, with reason and remedy.

use serde_json::json;

use crate::client::{HttpFixture, Request};

const TOKEN: &str = "0123456789abcdef";
const JOB: &str = r#"{"job":"noop"}"#;

fn guarded() -> HttpFixture {
    HttpFixture::with(&format!("token = \"{TOKEN}\"\nhosts = [\"queue.internal\"]"))
}

#[test]
fn missing_token_pushes_and_reveals_nothing() {
    let served = guarded();
    for wrong in ["", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef", "Bearer", TOKEN] {
        for path in ["/channels/idle/jobs", "/channels/nowhere/jobs", "/", "/jobs"] {
            let reply = served.send(&Request::new("POST", path, JOB).header("Authorization", wrong));
            let error = reply.refused(401);
            assert!(error.contains("Authorization: Bearer") && !error.contains("idle"), "{error}");
            assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
    assert_eq!(served.counts("idle").total, 0);
    assert_eq!(served.send(&Request::push("idle", JOB).token(TOKEN)).status, 201);
    assert!(!served.master.log().contains(TOKEN));
}

#[test]
fn undeclared_channel_lists_declared_ones() {
    let served = guarded();
    for name in ["nowhere", "no%20where", "default%2Fjobs"] {
        let error = served.send(&Request::push(name, JOB).token(TOKEN)).refused(404);
        assert!(error.ends_with("is not declared; declared channels: default, idle"), "{error}");
    }
    // Percent encoding does not change the name of the channel.
    assert_eq!(served.send(&Request::push("%69dle", JOB).token(TOKEN)).status, 201);
}

#[test]
fn wrong_path_or_method_explains_pushing() {
    let served = guarded();
    for path in ["/", "/channels", "/channels/idle", "/channels/idle/jobs/", "/channels/%ff/jobs"] {
        let error = served.send(&Request::new("POST", path, JOB).token(TOKEN)).refused(404);
        assert!(error.contains("POST /channels/{name}/jobs"), "{path}: {error}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let reply = served.send(&Request::new(method, "/channels/idle/jobs", "").token(TOKEN));
        assert!(reply.refused(405).contains("POST"), "{reply:?}");
        assert_eq!(reply.header("allow"), Some("POST"));
    }
}

#[test]
fn body_must_be_json_with_content_type() {
    let served = guarded();
    let push = Request::push("idle", JOB).token(TOKEN);
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
        let error = served.send(&push.clone().header("Content-Type", kind)).refused(415);
        assert!(error.contains("Content-Type: application/json"), "{kind}: {error}");
    }
    let error = served.send(&push.clone().header("Content-Encoding", "gzip")).refused(415);
    assert!(error.contains("without Content-Encoding"), "{error}");
    assert_eq!(served.counts("idle").total, 0);
    assert_eq!(served.send(&push.header("Content-Type", "application/json; charset=utf-8")).status, 201);
}

#[test]
fn job_error_names_its_field() {
    let served = HttpFixture::with("");
    let deep = format!(r#"{{"job":"a","payload":{}{}}}"#, "[".repeat(129), "]".repeat(129));
    let large = json!({ "job": "a", "payload": "x".repeat(1 << 20) }).to_string();
    let cases: &[(&str, Option<&str>, &str)] = &[
        ("", None, "the body is empty"),
        ("nonsense", None, "not valid JSON"),
        ("7", None, "not an object"),
        ("{\"job\":\"a\"", None, "EOF"),
        ("[{\"job\":\"a\"}", None, "not valid JSON"),
        (r#"{"jop":"a"}"#, Some("jop"), "\"jop\" is no key of a job: did you mean \"job\"?"),
        (r#"{"job":"a","job":"b"}"#, Some("job"), "\"job\" is given twice"),
        (r#"{"payload":1}"#, Some("job"), "no job is named"),
        (r#"{"job":"no op"}"#, Some("job"), "is not allowed"),
        (r#"{"job":"a","delay":"11y"}"#, Some("delay"), "write seconds"),
        (r#"{"job":"a","delay":"9999d"}"#, Some("delay"), "ten years"),
        (r#"{"job":"a","at":"tomorrow"}"#, Some("at"), "write 2026"),
        (r#"{"job":"a","max_attempts":0}"#, Some("max_attempts"), "at least 1"),
        (r#"{"job":"a","unique":""}"#, Some("unique"), "1 to 256"),
        (r#"{"job":"a","priority":"urgent"}"#, Some("priority"), "\"high\""),
        (r#"{"job":"a","headers":{"Tenant":"7"}}"#, Some("headers"), "header name"),
        (&deep, Some("payload"), "nested deeper"),
        (&large, Some("payload"), "at most 1048576"),
    ];
    for (body, field, says) in cases {
        let reply = served.push("idle", body);
        let error = reply.refused(400);
        assert!(error.contains(says), "{body:.80}: {error}");
        assert_eq!(reply.json()["field"], json!(field), "{body:.80}");
    }
    let mut binary = Request::push("idle", "");
    binary.body = b"{\"job\":\"\xff\"}".to_vec();
    assert!(served.send(&binary).refused(400).contains("not UTF-8"));
    assert_eq!(served.counts("idle").total, 0);
}

#[test]
fn too_many_jobs_per_request_are_refused() {
    let served = HttpFixture::with("");
    let jobs = |count: usize| format!("[{}]", vec![JOB; count].join(","));
    assert!(served.push("idle", &jobs(10_001)).refused(413).contains("several requests"));
    assert_eq!(served.counts("idle").total, 0);
    assert_eq!(served.push("idle", &jobs(10_000)).status, 201);
    assert_eq!(served.counts("idle").waiting, 10_000);
}

#[test]
fn unknown_host_header_is_refused() {
    let served = guarded();
    let push = Request::push("idle", JOB).token(TOKEN);
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example"] {
        let error = served.send(&push.clone().header("Host", host)).refused(421);
        assert!(error.contains(host) && error.contains("hosts in [http]"), "{error}");
    }
    for path in ["/health", "/channels/idle/jobs"] {
        let rebound = Request::new("GET", path, "").header("Host", "evil.example");
        rebound.send(served.address).refused(421);
    }
    for host in ["localhost:9465", "[::1]", "queue.internal", "Queue.Internal:80"] {
        assert_eq!(served.send(&push.clone().header("Host", host)).status, 201, "{host}");
    }
    served.send(&push.header("Host", "")).refused(400);
}

#[test]
fn cross_origin_request_is_refused() {
    let served = HttpFixture::with("");
    let push = Request::push("idle", JOB);
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
    ] {
        assert!(served.send(&push.clone().header(name, value)).refused(403).contains("cross-site request"));
    }
    // The content types that a page may send without a preflight request.
    served.send(&push.clone().header("Content-Type", "text/plain")).refused(415);
    // The preflight request gets no permission.
    let asked = Request::new("OPTIONS", "/channels/idle/jobs", "")
        .header("Origin", "https://evil.example")
        .header("Access-Control-Request-Method", "POST");
    let answer = served.send(&asked);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
    assert_eq!(served.counts("idle").total, 0);
}
