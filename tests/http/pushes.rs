//! Pushes and their responses.

use serde_json::{Value, json};

use crate::client::{HttpFixture, Request};

fn shown(served: &HttpFixture, id: &Value) -> Value {
    served.json(&["queue:show", &id.to_string(), "-t", "idle"])
}

#[test]
fn pushed_job_returns_its_id_and_runs() {
    let served = HttpFixture::with("");
    let reply = served.push("default", r#"{"job":"noop","payload":{"n":1}}"#);
    assert_eq!(reply.status, 201, "{reply:?}");
    let answer = reply.json();
    assert_eq!(answer["added"], true);
    assert!(answer["id"].as_u64().unwrap() > 1_700_000_000_000_000);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    served.until("default", "the job to run", |counts| counts.done == 1);
    assert!(served.master.stop().success());
}

#[test]
fn unserved_channel_takes_jobs_with_every_option() {
    let served = HttpFixture::with("");
    let job = json!({
        "job": "App\\Mail", "payload": [1, {"a": "ü"}], "delay": "1h", "max_attempts": 7, "timeout": 2.5,
        "unique": "k", "unique_until": "start", "priority": "high", "expires": "2h", "headers": {"tenant": "7"},
    });
    let reply = served.push("idle", &job.to_string());
    assert_eq!(reply.status, 201, "{reply:?}");
    let shown = shown(&served, &reply.json()["id"]);
    for (key, value) in [
        ("job", json!("App\\Mail")),
        ("payload", job["payload"].clone()),
        ("state", json!("delayed")),
        ("max_attempts", json!(7)),
        ("timeout_ms", json!(2500)),
        ("unique", json!("k")),
        ("unique_until", json!("start")),
        ("priority", json!("high")),
        ("headers", json!({"tenant": "7"})),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
}

#[test]
fn array_is_answered_in_order() {
    let served = HttpFixture::with("");
    let first = served.push("idle", r#"{"job":"noop","unique":"k"}"#).json()["id"].clone();
    let body = r#"[{"job":"a"}, {"job":"noop","unique":"k"}, {"job":"b","payload":null}]"#;
    let reply = served.push("idle", body);
    assert_eq!(reply.status, 201, "one job was added");
    let answer = reply.json();
    let added: Vec<_> = answer.as_array().unwrap().iter().map(|one| one["added"].clone()).collect();
    assert_eq!(added, [true, false, true]);
    assert_eq!(answer[1]["id"], first);
    assert_eq!(shown(&served, &answer[0]["id"])["job"], "a");
    let last = shown(&served, &answer[2]["id"]);
    assert_eq!((&last["job"], &last["payload"]), (&json!("b"), &Value::Null));
    assert_eq!(served.counts("idle").waiting, 3);
    let empty = served.push("idle", " [ ] ");
    assert_eq!((empty.status, empty.json()), (200, json!([])));
    let one = served.push("idle", r#"[{"job":"a"}]"#);
    assert_eq!(one.json().as_array().map(Vec::len), Some(1), "the response to an array is an array");
}

#[test]
fn held_unique_key_returns_200_with_its_holder() {
    let served = HttpFixture::with("");
    let push = || served.push("idle", r#"{"job":"noop","unique":"nightly"}"#);
    let (first, second) = (push(), push());
    assert_eq!((first.status, second.status), (201, 200));
    let id = first.json()["id"].clone();
    assert_eq!(second.json(), json!({ "id": id, "added": false }));
    assert_eq!(served.push("idle", r#"[{"job":"noop","unique":"nightly"}]"#).status, 200);
    assert_eq!(served.counts("idle").waiting, 1);
}

#[test]
fn large_array_is_pushed_in_batches() {
    let served = HttpFixture::with("");
    let many: Vec<_> = (0..1234).map(|n| json!({ "job": "noop", "payload": n })).collect();
    let answer = served.push("idle", &json!(many).to_string()).json();
    let ids: Vec<_> = answer.as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert!(ids.len() == 1234 && ids.is_sorted(), "{ids:?}");
    assert_eq!(shown(&served, &answer[1233]["id"])["payload"], 1233);

    let large = json!({ "job": "noop", "payload": "x".repeat(490 << 10) });
    let reply = served.push("idle", &json!(vec![large; 10]).to_string());
    assert_eq!((reply.status, served.counts("idle").waiting), (201, 1244));
}

#[test]
fn bad_job_of_array_pushes_nothing() {
    let served = HttpFixture::with("");
    let mut jobs: Vec<_> = (0..700).map(|n| json!({ "job": "noop", "payload": n })).collect();
    jobs[650]["delay"] = json!("soon");
    let reply = served.push("idle", &json!(jobs).to_string());
    let error = reply.refused(400);
    assert!(error.starts_with("job 650 of the array: \"delay\": write seconds"), "{error}");
    assert_eq!((&reply.json()["index"], &reply.json()["field"]), (&json!(650), &json!("delay")));
    assert_eq!(served.counts("idle").total, 0);
}

#[test]
fn chunked_body_and_kept_connection_work() {
    use std::io::{Read, Write};
    let served = HttpFixture::with("");
    let body = r#"{"job":"noop"}"#;
    let mut chunked = Request::push("idle", "").header("Transfer-Encoding", "chunked");
    chunked.body =
        format!("5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &body[..5], body.len() - 5, &body[5..]).into_bytes();
    assert_eq!(served.send(&chunked).status, 201);

    let mut stream = crate::client::connect(served.address).unwrap();
    let kept = Request::push("idle", body).head().replace("Connection: close\r\n", "") + body;
    for _ in 0..2 {
        stream.write_all(kept.as_bytes()).unwrap();
        let mut said = String::new();
        while !said.ends_with('}') {
            let mut bytes = [0; 512];
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "closed after {said:?}");
            said.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        assert!(said.starts_with("HTTP/1.1 201"), "{said}");
    }
    assert_eq!(served.counts("idle").waiting, 3);
}

#[test]
fn health_page_needs_no_token_and_leaks_nothing() {
    let served = HttpFixture::with("token = \"0123456789abcdef\"");
    let reply = served.send(&Request::new("GET", "/health", ""));
    assert_eq!((reply.status, reply.json()), (200, json!({ "status": "ok" })));
}
