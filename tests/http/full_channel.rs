//! A channel with `max_waiting`, on every way to push.

use crate::client::{Request, address};
use crate::fixture::{Fixture, text};

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
    // Two refusals were those of the listener; another one was that of a command, which has no metrics.
    let refused = "aint_queue_pushes_refused_total{channel=\"idle\",reason=\"max_waiting\"} 2";
    assert!(metrics.contains(refused), "{metrics}");
    assert!(master.stop().success());
}
