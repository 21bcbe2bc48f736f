//! Producers in other languages: the examples push with real clients, and their jobs equal those of `queue:push`.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use ::redis;

use crate::fixture::{Fixture, text, until};
use crate::redis::Server;

/// The examples, and the programs that run them.
const PUSHERS: [(&str, &[&str]); 3] = [
    ("push.php", &["php"]),
    // The python3 of Debian finds the redis-py package of Debian; another python3 may have its own.
    ("push.py", &["/usr/bin/python3", "python3"]),
    ("push.cjs", &["node"]),
];

fn pusher(example: &str, programs: &[&str], port: u16, args: &[&str]) -> Output {
    let run = |program: &&str| {
        let mut command = Command::new(program);
        command.arg(format!("examples/redis/{example}")).args(args);
        command.env("REDIS_URL", format!("redis://127.0.0.1:{port}/0"));
        command.env("NODE_PATH", "/usr/share/nodejs").env("PYTHONDONTWRITEBYTECODE", "1");
        command.output().unwrap_or_else(|error| panic!("{program}: {error}: run tests/services.sh"))
    };
    let outputs = programs.iter().map(run);
    outputs.into_iter().find(|output| !text(&output.stderr).contains("No module named 'redis'")).unwrap()
}

fn site_on(server: &Server, channels: &str) -> Fixture {
    let port = server.config().port;
    Fixture::new(
        &format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#),
        channels,
    )
}

/// The record of a job without its id and the times derived from it.
fn shown(fixture: &Fixture, id: u64) -> Value {
    let mut job = fixture.json(&["queue:show", &id.to_string()]);
    for key in ["due_at", "expires_at", "retry_until"] {
        let later = job[key].as_str().map(|_| "later");
        job[key] = json!(later);
    }
    for key in ["id", "pushed_at"] {
        job[key] = Value::Null;
    }
    job
}

fn id_of(output: &Output) -> u64 {
    let printed = text(&output.stdout);
    let id = printed.split(' ').next().and_then(|id| id.parse().ok());
    id.unwrap_or_else(|| panic!("{printed}{}", text(&output.stderr)))
}

#[test]
fn examples_push_the_same_as_queue_push() {
    let server = Server::start();
    let fixture = site_on(&server, "[channels.default.worker]\ntype = \"process-pool\"\n");
    let cases: [(&str, &str, &[&str]); 4] = [
        (r#"{"to":"ann@example.com"}"#, "{}", &[]),
        (
            r#"{"text":"ä/\"\\é\u2028 ☃"}"#,
            r#"{"delay":300,"max_attempts":7}"#,
            &["--delay", "5m", "--max-attempts", "7"],
        ),
        (
            "[1,2.5,null]",
            r#"{"timeout":1.5,"headers":{"tenant":"7","trace":"a/b é"},"expires":60,"retry_for":90}"#,
            &[
                "--timeout",
                "1500ms",
                "--header",
                "tenant=7",
                "--header",
                "trace=a/b é",
                "--expires",
                "60",
                "--retry-until",
                "90",
            ],
        ),
        (
            "\"x\"",
            r#"{"at":4000000000,"priority":"high"}"#,
            &["--at", "2096-10-02T07:06:40Z", "--priority", "high"],
        ),
    ];
    for (payload, options, flags) in &cases[..3] {
        let own = shown(&fixture, fixture.push("App\\Jobs\\Send:v1.0", payload, flags));
        for (example, programs) in PUSHERS {
            let args = ["default", "App\\Jobs\\Send:v1.0", payload, options];
            let output = pusher(example, programs, server.config().port, &args);
            assert_eq!(shown(&fixture, id_of(&output)), own, "{example}");
        }
    }
    // Ten years is the limit of all producers.
    let (payload, options, flags) = cases[3];
    assert!(!fixture.run(&[&["queue:push", "x", "--data", payload], flags].concat()).status.success());
    for (example, programs) in PUSHERS {
        let output = pusher(example, programs, server.config().port, &["default", "x", payload, options]);
        assert!(
            text(&output.stderr).contains("AINTARG at: it is more than ten years away"),
            "{example}: {output:?}"
        );
    }
}

#[test]
fn example_priorities_and_keys_match_queue_push() {
    let server = Server::start();
    let channels = ["own", "push.php", "push.py", "push.cjs"];
    let tables = channels.map(|channel| format!("[channels.\"{channel}\".worker]\ntype = \"process\"\n"));
    let fixture = site_on(&server, &tables.concat());
    let cases: [(&str, &[&str]); 4] = [
        (r#"{"priority":"high"}"#, &["--priority", "high"]),
        (r#"{"priority":"low","delay":300}"#, &["--priority", "low", "--delay", "300"]),
        (r#"{"unique":"a b","unique_for":60}"#, &["--unique", "a b", "--unique-for", "60"]),
        (r#"{"unique":"é","unique_until":"start"}"#, &["--unique", "é", "--unique-until", "start"]),
    ];
    for (options, flags) in cases {
        fixture.ok(&[&["queue:push", "x", "-t", "own"], flags].concat());
        for (example, programs) in PUSHERS {
            id_of(&pusher(example, programs, server.config().port, &[example, "x", "{}", options]));
        }
    }
    let mut redis = server.connection();
    let mut kept = |channel: &str| {
        let prefix = format!("aint-queue:{{{channel}}}:");
        let mut keys: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}*")).query(&mut redis).unwrap();
        keys.sort();
        let mut dump: Vec<String> = Vec::new();
        for key in keys {
            let ttl: i64 = redis::cmd("TTL").arg(&key).query(&mut redis).unwrap();
            dump.push(format!("{} {}", &key[prefix.len()..], if ttl > 50 { "for a time" } else { "" }));
        }
        let records: Vec<String> =
            redis::cmd("HVALS").arg(format!("{prefix}records")).query(&mut redis).unwrap();
        let high: u64 = redis::cmd("LLEN").arg(format!("{prefix}waiting:high")).query(&mut redis).unwrap();
        let schema: String = redis::cmd("GET").arg(format!("{prefix}schema")).query(&mut redis).unwrap();
        (dump, records, high, schema)
    };
    let own = kept("own");
    assert!(own.0.contains(&"unique:a b for a time".to_owned()), "{own:?}");
    assert_eq!((own.2, own.3.as_str()), (1, "2"));
    for channel in &channels[1..] {
        assert_eq!(kept(channel), own, "{channel}");
    }
}

#[test]
fn half_a_character_is_replaced_as_by_queue_push() {
    let server = Server::start();
    let fixture = site_on(&server, "[channels.default.worker]\ntype = \"process-pool\"\n");
    // Halves behind and before whole characters and escaped backslashes.
    let payload = r#"{"a":"\ud83d","b":"\ud83d\ude00\uDE00\\ud83d\\\uD83D","c":"\ud83d\ud83d\ude00"}"#;
    let own = shown(&fixture, fixture.push("x", payload, &["--header", "name=half \u{fffd}"]));
    assert_eq!(own["payload"]["c"], "\u{fffd}\u{1f600}");
    // PHP refuses the half itself.
    for (example, programs) in &PUSHERS[1..] {
        let args = ["default", "x", payload, r#"{"headers":{"name":"half \ud83d"}}"#];
        let output = pusher(example, programs, server.config().port, &args);
        assert_eq!(shown(&fixture, id_of(&output)), own, "{example}");
    }
}

#[test]
fn unique_key_holds_across_producers() {
    let server = Server::start();
    let fixture = site_on(&server, "[channels.default.worker]\ntype = \"process-pool\"\n");
    let id = fixture.push("nightly", "{}", &["--unique", "nightly"]);
    for (example, programs) in PUSHERS {
        let args = ["default", "nightly", "{}", r#"{"unique":"nightly"}"#];
        let output = pusher(example, programs, server.config().port, &args);
        assert_eq!(text(&output.stdout).trim(), format!("{id} was there"), "{example}: {output:?}");
    }
    assert_eq!(fixture.counts("default").total, 1);
}

/// The number of clients in a blocking call.
fn blocked_clients(server: &Server) -> usize {
    let info: String = redis::cmd("INFO").arg("clients").query(&mut server.connection()).unwrap();
    info.lines().find_map(|line| line.strip_prefix("blocked_clients:")).unwrap().trim().parse().unwrap()
}

#[test]
fn push_wakes_an_idle_master() {
    let server = Server::start();
    let fixture = site_on(
        &server,
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nsleep_seconds = 60\n",
    );
    let master = fixture.listen(&[]);
    // The master runs and is idle.
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the first job", |c| c.done == 1);
    for (n, (example, programs)) in (2..).zip(PUSHERS) {
        until("the master to wait at the server", || blocked_clients(&server) == 1);
        let begun = Instant::now();
        id_of(&pusher(example, programs, server.config().port, &["default", "noop", "{}"]));
        fixture.until("default", "the next job", |c| c.done == n);
        assert!(begun.elapsed() < Duration::from_secs(10), "{example}: {:?}", begun.elapsed());
    }
    // A delayed job that is due before the next wake-up of the master wakes it as well.
    id_of(&pusher(
        "push.php",
        &["php"],
        server.config().port,
        &["default", "noop", "{}", r#"{"delay":0.5}"#],
    ));
    until("the delayed job", || (fixture.counts("default").done == 5).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn invalid_pushes_fail_in_every_language() {
    let server = Server::start();
    for (example, programs) in PUSHERS {
        let output = pusher(example, programs, server.config().port, &["default", "send mail", "{}"]);
        assert!(!output.status.success(), "{example}");
        assert!(text(&output.stderr).contains("AINTARG name: it is not allowed"), "{example}: {output:?}");
    }
}

#[test]
fn full_channel_refuses_every_language() {
    let server = Server::start();
    let limited = |limit: &str| {
        format!("[channels.default]\n{limit}\n[channels.default.worker]\ntype = \"coroutine\"\n")
    };
    let fixture = site_on(&server, &limited("max_waiting = 2"));
    // The master has joined, and recorded the limit, when a job is done.
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    assert!(master.stop().success());
    // Waiting and delayed jobs count.
    fixture.push("noop", "{}", &["--delay", "1h"]);
    let push =
        |(example, programs)| pusher(example, programs, server.config().port, &["default", "noop", "{}"]);
    id_of(&push(PUSHERS[0]));
    for one in PUSHERS {
        let output = push(one);
        assert!(!output.status.success(), "{}", one.0);
        let said = text(&output.stderr);
        assert!(
            said.contains("AINTFULL the channel is full: 2 jobs wait, and max_waiting allows 2"),
            "{said}"
        );
    }
    assert_eq!(fixture.counts("default").total, 3);
    // A job whose key is held needs no room.
    fixture.ok(&["queue:clear", "--state", "delayed", "--yes"]);
    let options = |key: &str| format!("{{\"unique\":\"{key}\"}}");
    let keyed = |(example, programs), key: &str| {
        pusher(example, programs, server.config().port, &["default", "noop", "{}", &options(key)])
    };
    let held = id_of(&keyed(PUSHERS[0], "k"));
    for one in PUSHERS {
        assert_eq!(id_of(&keyed(one, "k")), held, "{}", one.0);
        assert!(text(&keyed(one, "other").stderr).contains("AINTFULL"), "{}", one.0);
    }
    // A limit of bytes counts all jobs, whatever their state. The master records it when it starts.
    let limits = limited("max_bytes = 600");
    let port = server.config().port;
    let driver = format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#);
    let with = |limits: &str| format!("[defaults]\npid_path = \"run\"\ndriver = {driver}\n{limits}");
    fixture.write("aint-queue.toml", &with(&limits));
    fixture.ok(&["queue:pause"]);
    let master = fixture.listen(&[]);
    id_of(&push(PUSHERS[0]));
    let refusals = [
        (570, "AINTFULL the channel is full: its jobs take", "and max_bytes allows 600: retry later"),
        (
            600,
            "AINTARG the job can never fit into the channel",
            "allows 600: push a smaller job, or raise max_bytes",
        ),
    ];
    for ((example, programs), (bytes, what, remedy)) in
        PUSHERS.into_iter().flat_map(|pusher| refusals.map(|refusal| (pusher, refusal)))
    {
        let large = format!("\"{}\"", "x".repeat(bytes));
        let output = pusher(example, programs, port, &["default", "noop", &large]);
        let said = text(&output.stderr);
        assert!(said.contains(what) && said.contains(remedy), "{example}: {said}");
    }
    assert!(master.stop().success());
    fixture.ok(&["queue:resume"]);
    // A master without the limits removes them.
    fixture.write("aint-queue.toml", &with(&limited("")));
    let master = fixture.listen(&[]);
    fixture.until("default", "the waiting jobs", |c| c.done == 4);
    assert!(master.stop().success());
    for one in PUSHERS {
        id_of(&push(one));
    }
}
