//! Entries of another program in the lists of Redis: each leaves a trace, in `failed` or in the log, and counts are exact.

use crate::fixture::{Fixture, until};
use crate::redis::Server;

const CHANNEL: &str = "[channels.default.worker]\ntype = \"coroutine\"\n";

#[test]
fn foreign_entries_leave_a_trace_and_can_be_removed() {
    let server = Server::start();
    let port = server.config().port;
    let driver = format!("{{ type = \"redis\", connection = {{ host = \"127.0.0.1\", port = {port} }} }}");
    let fixture = Fixture::new(&driver, CHANNEL);
    let send = |parts: &[&str]| {
        let mut connection = server.connection();
        let mut command = ::redis::cmd(parts[0]);
        command.arg(format!("aint-queue:{{default}}:{}", parts[1])).arg(&parts[2..]);
        command.query::<::redis::Value>(&mut connection).unwrap()
    };
    let status = || {
        let status = fixture.json(&["queue:status"]);
        ["waiting", "reserved", "done", "failed"].map(|state| status[state].as_u64().unwrap())
    };
    fixture.push("noop", "{}", &[]);
    send(&["RPUSH", "waiting", r#"{"job":"mail"}"#, "x1", "\u{1b}[31m", "17"]);
    assert_eq!(status(), [5, 0, 0, 0]);

    let master = fixture.listen(&[]);
    until("the entries to leave waiting", || (status() == [0, 0, 1, 3]).then_some(()));
    let log = master.log();
    assert!(log.contains("moved to failed") && !log.contains("mail") && !log.contains('\u{1b}'), "{log}");
    assert!(log.contains("removed ids without a record") && log.contains("17"), "{log}");

    // An owner's set: the comparison of the held jobs finds the entry.
    let ::redis::Value::Array(owners) = send(&["ZRANGE", "owners", "0", "-1"]) else { panic!("a list") };
    let ::redis::Value::BulkString(owner) = &owners[0] else { panic!("a name") };
    send(&["SADD", &format!("reserved:{}", String::from_utf8_lossy(owner)), "garbage"]);
    until("the entry to leave the owner's set", || (status() == [0, 0, 1, 4]).then_some(()));

    send(&["ZADD", "failed", "5", "junk"]);
    assert_eq!(status(), [0, 0, 1, 5]);
    let failed = fixture.json(&["queue:failed"]).to_string();
    for text in ["mail", "x1", "garbage", "junk"] {
        assert!(failed.contains(text), "{text}: {failed}");
    }
    assert_eq!(failed.matches("\"malformed\"").count() % 5, 0, "{failed}");
    assert_eq!(status(), [0, 0, 1, 5]);
    assert!(fixture.ok(&["queue:flush", "-y"]).contains('5'));
    assert_eq!(status(), [0, 0, 1, 0]);

    send(&["ZADD", "failed", "5", "junk"]);
    let cleared = fixture.ok(&["queue:clear", "--failed", "-y"]);
    assert!(cleared.contains("1 failed job"), "{cleared}");
    assert_eq!(status(), [0, 0, 1, 0]);
    assert!(master.stop().success());
}
