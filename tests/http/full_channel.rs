//! Channels with `max_waiting` and `max_bytes`, on every way to push.

use crate::client::{Request, address};
use crate::fixture::{Fixture, text, until};

const JOB: &str = r#"{"job":"noop"}"#;

#[test]
fn full_channel_refuses_pushes_with_reason() {
    let fixture = Fixture::sqlite(
        "[http]\nlisten = \"127.0.0.1:0\"\n[channels.default.worker]\ntype = \"coroutine\"\n[channels.idle]\nmax_waiting = 3\n",
    );
    let master = fixture.listen(&["-t", "default", "-t", "idle"]);
    fixture.ok(&["queue:pause", "-t", "idle"]);
    let address = address(&master);
    fixture.push("noop", "{}", &["-t", "idle", "--delay", "1h"]);
    let push = |body: &str| Request::push("idle", body).send(address);
    assert_eq!(push(JOB).status, 201);
    let reply = push(&format!("[{JOB},{JOB}]"));
    let why = reply.refused(503);
    assert!(why.contains("channel \"idle\" is full") && why.contains("max_waiting"), "{why}");
    assert_eq!(reply.header("retry-after"), Some("30"));
    assert_eq!(push(JOB).status, 201, "one fits");
    // More jobs than the limit never fit: no retry helps, and none of them is pushed.
    let reply = push(&format!("[{}]", [JOB; 4].join(",")));
    let why = reply.refused(413);
    assert!(
        why.contains("can never fit into channel \"idle\"") && why.contains("push at most 3 jobs"),
        "{why}"
    );
    assert_eq!(reply.header("retry-after"), None);
    let refused = fixture.run(&["queue:push", "noop", "--data", "{}", "-t", "idle"]);
    let why = text(&refused.stderr);
    assert!(refused.status.code() == Some(5) && why.contains("max_waiting"), "{:?} {why}", refused.status);
    assert_eq!(fixture.counts("idle").total, 3);
    // A push whose key is held adds nothing, so it is answered as in a channel with room.
    fixture.ok(&["queue:clear", "-t", "idle", "--state", "delayed", "--yes"]);
    let id = fixture.push("noop", "{}", &["-t", "idle", "--unique", "k"]);
    let reply = push(r#"{"job":"noop","unique":"k"}"#);
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(reply.text.contains(&id.to_string()), "{}", reply.text);
    assert_eq!(fixture.push("noop", "{}", &["-t", "idle", "--unique", "k"]), id);
    let mixed = push(&format!("[{{\"job\":\"noop\",\"unique\":\"k\"}},{JOB}]"));
    assert!(mixed.refused(503).contains("max_waiting"));
    assert_eq!(fixture.counts("idle").total, 3);
    let metrics = fixture.ok(&["queue:status", "--metrics", "-t", "idle"]);
    assert!(metrics.contains("aint_queue_max_waiting{channel=\"idle\"} 3"), "{metrics}");
    // Three refusals were those of the listener; another one was that of a command, which has no metrics.
    let refused = "aint_queue_pushes_refused_total{channel=\"idle\",reason=\"max_waiting\"} 3";
    assert!(metrics.contains(refused), "{metrics}");
    let shown = fixture.ok(&["queue:status", "-t", "idle"]);
    assert!(shown.contains("Refused pushes: 3 by max_waiting; the last one "), "{shown}");
    let shown = fixture.ok(&["queue:status", "-t", "idle", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["refused_pushes"]["max_waiting"], 3, "{shown}");
    assert!(shown["refused_pushes"]["last_ms"].is_u64(), "{shown}");
    let shown = fixture.ok(&["queue:status", "-t", "default"]);
    assert!(!shown.contains("Refused pushes"), "{shown}");
    until("the line about refused pushes", || master.log().contains(" by max_waiting; queue:status"));
    assert!(master.stop().success());
}

#[test]
fn channel_with_too_many_bytes_refuses_pushes_with_reason() {
    let fixture = Fixture::sqlite(
        "[http]\nlisten = \"127.0.0.1:0\"\n[channels.default]\nmax_bytes = 400\n[channels.default.worker]\ntype = \"coroutine\"\n[channels.other]\nmax_bytes = 400\n",
    );
    // Before a master has started, a push begins the count.
    fixture.push("noop", "{}", &["--delay", "1h"]);
    let status = |option: &[&str]| fixture.ok(&[&["queue:status", "-t", "default"], option].concat());
    let counted = |status: &str| {
        let status: serde_json::Value = serde_json::from_str(status).unwrap();
        (status["bytes"].as_u64().unwrap(), status["max_bytes"].as_u64().unwrap())
    };
    let (one, most) = counted(&status(&["--json"]));
    assert!(one > 10 && most == 400, "{one} {most}");
    let master = fixture.listen(&[]);
    let address = address(&master);
    let large = format!("{{\"job\":\"noop\",\"payload\":\"{}\",\"delay\":\"1h\"}}", "x".repeat(250));
    assert_eq!(Request::push("default", &large).send(address).status, 201);
    let reply = Request::push("default", &large).send(address);
    let why = reply.refused(503);
    assert!(why.contains("channel \"default\" is full: its jobs take"), "{why}");
    assert!(why.contains("max_bytes allows 400: retry later"), "{why}");
    let refused = fixture.run(&["queue:push", "noop", "--data", &format!("\"{}\"", "x".repeat(500))]);
    let why = text(&refused.stderr);
    assert!(
        refused.status.code() == Some(5) && why.contains("push a smaller job, or raise max_bytes"),
        "{why}"
    );
    let shown = status(&[]);
    assert!(shown.contains("Stored: ") && shown.contains(" of at most 400 bytes (max_bytes)"), "{shown}");
    let (stored, _) = counted(&status(&["--json"]));
    let metrics = status(&["--metrics"]);
    for metric in [
        format!("aint_queue_stored_bytes{{channel=\"default\"}} {stored}"),
        "aint_queue_max_bytes{channel=\"default\"} 400".to_owned(),
        "aint_queue_pushes_refused_total{channel=\"default\",reason=\"max_bytes\"} 1".to_owned(),
    ] {
        assert!(metrics.contains(&metric), "{metric}: {metrics}");
    }
    // Refusals of a channel that the master does not serve are counted too.
    let other = format!("{{\"job\":\"noop\",\"payload\":\"{}\"}}", "x".repeat(500));
    let reply = Request::push("other", &other).send(address);
    let why = reply.refused(413);
    assert!(why.contains("can never fit") && why.contains("push a smaller job, or raise max_bytes"), "{why}");
    assert_eq!(reply.header("retry-after"), None);
    let metrics = status(&["--metrics"]);
    let refused = "aint_queue_pushes_refused_total{channel=\"other\",reason=\"max_bytes\"} 1";
    assert!(metrics.contains(refused), "{metrics}");
    fixture.ok(&["queue:clear", "--state", "delayed", "--yes"]);
    assert_eq!(counted(&status(&["--json"])).0, 0);
    assert_eq!(Request::push("default", &large).send(address).status, 201);
    assert!(master.stop().success());
}
