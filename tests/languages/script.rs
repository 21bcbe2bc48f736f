//! The script for Redis clients, `examples/redis/push.lua`: accepted and refused jobs, required permissions.

use std::fs;
use std::sync::LazyLock;

use ::redis::{self, Connection, RedisError, Value};

use crate::redis::Server;

static SCRIPT: LazyLock<String> = LazyLock::new(|| fs::read_to_string("examples/redis/push.lua").unwrap());

fn keys(channel: &str) -> Vec<String> {
    let names = SCRIPT.split_once("local NAMES = {").unwrap().1.split_once('}').unwrap().0;
    let names = names.split(',').map(|name| name.trim().trim_matches('\'')).filter(|name| !name.is_empty());
    names.map(|name| format!("aint-queue:{{{channel}}}:{name}")).collect()
}

/// Pushes with the unique key of the options, if they have one.
fn keys_for(channel: &str, options: &str) -> Vec<String> {
    let options: serde_json::Value = serde_json::from_str(options).unwrap_or_default();
    let own = options["unique"].as_str().map(|key| format!("aint-queue:{{{channel}}}:unique:{key}"));
    keys(channel).into_iter().chain(own).collect()
}

fn call(connection: &mut Connection, keys: &[String], args: &[&[u8]]) -> Result<(u64, u64), RedisError> {
    let mut command = redis::cmd("EVAL");
    command.arg(&*SCRIPT).arg(keys.len()).arg(keys);
    for arg in args {
        command.arg(*arg);
    }
    command.query(connection)
}

fn push(
    connection: &mut Connection,
    payload: impl AsRef<[u8]>,
    options: &str,
) -> Result<(u64, u64), RedisError> {
    call(connection, &keys_for("default", options), &[b"noop", payload.as_ref(), options.as_bytes()])
}

fn refusal(result: Result<(u64, u64), RedisError>) -> String {
    let error = result.expect_err("it is refused");
    format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default())
}

fn is_empty(connection: &mut Connection) -> bool {
    redis::cmd("DBSIZE").query::<u64>(connection).unwrap() == 0
}

#[test]
fn script_refuses_bad_input_without_effect() {
    let server = Server::start();
    let mut redis = server.connection();
    let long = "k".repeat(257);
    let many: String = (0..65).map(|n| format!(r#"{}"h{n}":"""#, if n > 0 { "," } else { "" })).collect();
    for (options, says) in [
        ("nonsense", "AINTARG options: give a JSON object"),
        ("[]", "AINTARG options: give a JSON object"),
        ("7", "AINTARG options: give a JSON object"),
        (r#"{"prio":1}"#, r#"AINTARG options: "prio" is not known; known are delay, at,"#),
        (r#"{"delay":"5m"}"#, "AINTARG delay: give a number of seconds"),
        (r#"{"delay":-1}"#, "AINTARG delay: give a number of seconds"),
        (r#"{"delay":316224001}"#, "AINTARG delay: it is more than ten years away"),
        (r#"{"delay":1e300}"#, "AINTARG delay: it is more than ten years away"),
        (r#"{"delay":1,"at":1}"#, "AINTARG delay: it and at exclude each other"),
        (r#"{"at":4000000000}"#, "AINTARG at: it is more than ten years away"),
        (r#"{"expires":316224001}"#, "AINTARG expires: it is more than ten years away"),
        (r#"{"retry_until":4000000000}"#, "AINTARG retry_until: it is more than ten years away"),
        (
            r#"{"retry_until":1700000000}"#,
            "AINTARG retry_until: the retry window ends before the job can start",
        ),
        (
            r#"{"retry_for":60,"delay":3600}"#,
            "AINTARG retry_for: the retry window ends before the job can start",
        ),
        (
            r#"{"retry_for":1,"retry_until":2}"#,
            "AINTARG retry_for: it and retry_until exclude each other: keep one of the two",
        ),
        (r#"{"expires_at":4000000000}"#, "AINTARG expires_at: it is more than ten years away"),
        (r#"{"timeout":true}"#, "AINTARG timeout: give a number of seconds"),
        (r#"{"max_attempts":0}"#, "AINTARG max_attempts: give a whole number, at least 1"),
        (r#"{"max_attempts":1.5}"#, "AINTARG max_attempts: give a whole number, at least 1"),
        (r#"{"max_attempts":"3"}"#, "AINTARG max_attempts: give a whole number, at least 1"),
        (r#"{"unique":""}"#, "AINTARG unique: give a text of 1 to 256 bytes"),
        (&format!(r#"{{"unique":"{long}"}}"#), "AINTARG unique: give a text of 1 to 256 bytes"),
        (r#"{"unique":7}"#, "AINTARG unique: give a text of 1 to 256 bytes"),
        (
            r#"{"unique_until":"start"}"#,
            "AINTARG unique_until and unique_for: they say how long a key is held",
        ),
        (r#"{"unique_for":7}"#, "AINTARG unique_until and unique_for: they say how long a key is held"),
        (r#"{"unique":"k","unique_until":"noon"}"#, r#"AINTARG unique_until: give "start" or "end""#),
        (
            r#"{"unique":"k","unique_until":"end","unique_for":7}"#,
            "AINTARG unique_until: it and unique_for exclude",
        ),
        (r#"{"unique":"k","unique_for":0}"#, "AINTARG unique_for: it is zero"),
        (r#"{"priority":"urgent"}"#, r#"AINTARG priority: give "high", "normal" or "low""#),
        (r#"{"headers":7}"#, "AINTARG headers: give an object of texts"),
        (r#"{"headers":["a"]}"#, "AINTARG headers: give an object of texts"),
        (r#"{"headers":{"a":7}}"#, "AINTARG headers: give an object of texts"),
        (r#"{"headers":{"Upper":""}}"#, "AINTARG headers: a name is not allowed"),
        (r#"{"headers":{"a":"x\ny"}}"#, r#"AINTARG headers: "a" has a control character"#),
        (r#"{"headers":{"a":"\u0085"}}"#, r#"AINTARG headers: "a" has a control character"#),
        (&format!(r#"{{"headers":{{{many}}}}}"#), "AINTARG headers: there are 65"),
    ] {
        let refused = refusal(push(&mut redis, "{}", options));
        assert!(refused.starts_with(says), "{options}: {refused}");
    }
    for name in ["", "a b", "a\0b", "ä", &"x".repeat(129)] {
        let refused = refusal(call(&mut redis, &keys("default"), &[name.as_bytes(), b"{}"]));
        assert!(refused.starts_with("AINTARG name: it is not allowed"), "{name:?}: {refused}");
    }
    for args in [&[b"noop".as_slice()][..], &[b"noop", b"{}", b"{}", b"{}"]] {
        let refused = refusal(call(&mut redis, &keys("default"), args));
        assert!(refused.starts_with("AINTARG arguments: there are "), "{refused}");
    }
    assert!(is_empty(&mut redis));
}

/// The script and the master accept the same payloads, except for nesting deeper than JSON libraries of producers write.
#[test]
fn script_checks_payloads_like_the_master() {
    let server = Server::start();
    let mut redis = server.connection();
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let good = [
        "null",
        "true",
        "0",
        "-0",
        "-1.5e-07",
        "1E+05",
        "10.01",
        "1e5",
        "\"\"",
        "[]",
        "{}",
        " [ 1 ,\n\t2\r\n]",
        r#""\u00e4\n\"\\\/ nan 01 +1 .5 0x1 [[[{""#,
        r#"{"a":{"b":[{},[],"nan"]}}"#,
        "\"ä☃😀\u{2028}\u{7f}\"",
        "123456789012345678901234567890.5",
        r#"{"nan":1,"x":false}"#,
    ];
    for payload in good.into_iter().map(str::to_owned).chain([nested(128), text(1 << 20)]) {
        assert!(aint_queue::job::Payload::parse(payload.clone()).is_ok(), "{payload:.100}");
        let pushed = push(&mut redis, &payload, "").unwrap_or_else(|e| panic!("{payload:.100}: {e}"));
        let record: String =
            redis::cmd("HGET").arg(&keys("default")[1]).arg(pushed.0).query(&mut redis).unwrap();
        // The stored record has one line break, before the payload.
        assert_eq!(record.matches(['\n', '\r']).count(), 1, "{payload:.100}");
        assert_eq!(record.split_once('\n').unwrap().1, payload.replace(['\n', '\r'], " "));
    }
    redis::cmd("FLUSHALL").exec(&mut redis).unwrap();
    let bad = [
        "",
        " ",
        "{",
        "1 2",
        "nul",
        "'x'",
        "{\"a\":}",
        "[1,]",
        "nan",
        "NaN",
        "-nan",
        "inf",
        "-Infinity",
        "0x1F",
        "01",
        "-01",
        "+1",
        ".5",
        "-.5",
        "1.",
        "[1.e5]",
        "1e",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"\0\"",
        r#""\x""#,
        r#""\u12""#,
        "[01]",
        "[+1]",
        "[nan]",
    ];
    for payload in bad.into_iter().map(str::to_owned).chain([nested(129), text((1 << 20) + 1)]) {
        assert!(aint_queue::job::Payload::parse(payload.clone()).is_err(), "{payload:.100}");
        let refused = refusal(push(&mut redis, &payload, ""));
        assert!(refused.starts_with("AINTARG payload: it "), "{payload:.100}: {refused}");
    }
    for payload in
        [&b"\"\xff\""[..], b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\"\xf4\x90\x80\x80\"", b"\"\xe4\""]
    {
        let refused = refusal(push(&mut redis, payload, ""));
        assert!(refused.starts_with("AINTARG payload: it is not valid JSON: it is not UTF-8"), "{refused}");
    }
    assert!(is_empty(&mut redis));
}

#[test]
fn script_refuses_foreign_keys() {
    let server = Server::start();
    let mut redis = server.connection();
    let (right, other) = (keys("default"), keys("other"));
    let mixed = [&right[..3], &other[3..]].concat();
    for keys in [&right[..right.len() - 1], &mixed, &[]] {
        let refused = refusal(call(&mut redis, keys, &[b"noop", b"{}"]));
        assert!(refused.starts_with("AINTARG keys: key "), "{refused}");
        assert!(refused.contains("aint-queue:{channel}: before each of schema records waiting"), "{refused}");
    }
    let more = |key: &str| [&right[..], &[key.to_owned()]].concat();
    let own = "aint-queue:{default}:unique:k";
    let unique = br#"{"unique":"k"}"#;
    for (keys, options) in
        [(more(own), &b""[..]), (right.clone(), unique), (more("aint-queue:{default}:unique:j"), unique)]
    {
        let refused = refusal(call(&mut redis, &keys, &[b"noop", b"{}", options]));
        assert!(refused.starts_with("AINTARG keys: there are 1"), "{refused}");
        assert_eq!(
            refused.ends_with(&format!("of the channel and, last, {own}")),
            !options.is_empty(),
            "{refused}"
        );
    }
    assert!(is_empty(&mut redis));
    redis::cmd("SET").arg(&right[0]).arg("999").exec(&mut redis).unwrap();
    assert_eq!(refusal(push(&mut redis, "{}", "")), "AINTSCHEMA 999");
    redis::cmd("DEL").arg(&right[0]).exec(&mut redis).unwrap();
    redis::cmd("SET").arg(&right[2]).arg("mine").exec(&mut redis).unwrap();
    assert!(refusal(push(&mut redis, "{}", "")).contains("is a string where a list belongs"));
}

/// The ACL rules of docs/redis-producers.md.
#[test]
fn documented_permissions_are_exact() {
    let document = fs::read_to_string("docs/redis-producers.md").unwrap();
    let rules =
        document.lines().find_map(|line| line.strip_prefix("ACL SETUSER ")).expect("the rules are shown");
    let server = Server::start();
    let mut admin = server.connection();
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg(rules.split(' ').collect::<Vec<_>>()).exec(&mut admin).unwrap();
    let mut producer = server.connection();
    let password = rules.split(' ').find_map(|rule| rule.strip_prefix('>')).unwrap();
    let name = rules.split(' ').next().unwrap();
    redis::cmd("AUTH").arg(name).arg(password).exec(&mut producer).unwrap();

    let mut mail = |options: &str| {
        call(&mut producer, &keys_for("mail", options), &[b"noop", b"{}", options.as_bytes()])
            .unwrap_or_else(|e| panic!("{options}: {e}"))
    };
    let first = mail(r#"{"unique":"k"}"#);
    assert_eq!(mail(r#"{"unique":"k"}"#), (first.0, 0));
    for options in [
        "",
        r#"{"delay":60}"#,
        r#"{"delay":1}"#,
        r#"{"priority":"high"}"#,
        r#"{"priority":"low"}"#,
        r#"{"unique":"j","unique_for":60}"#,
        r#"{"unique":"j","unique_for":60}"#,
        r#"{"unique":"s","unique_until":"start"}"#,
    ] {
        mail(options);
    }
    // A unique key whose job was lost goes to the next push.
    redis::cmd("HDEL").arg(&keys("mail")[1]).arg(first.0).exec(&mut admin).unwrap();
    assert_eq!(mail(r#"{"unique":"k"}"#).1, 1);

    let refused = refusal(call(&mut producer, &keys("other"), &[b"noop", b"{}"]));
    assert!(refused.contains("NOPERM") || refused.contains("permission"), "{refused}");
    let read: Result<Value, _> = redis::cmd("HGETALL").arg(&keys("mail")[1]).query(&mut producer);
    assert!(read.is_err(), "what the script does not need is not allowed");
}
