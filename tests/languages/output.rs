//! The last lines of a job and the end of its process, in every language: a job that prints and fails, is killed, exceeds its time
//! limit or its memory.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::fixture::{Fixture, text, until};

/// A program for one job: its interpreter, the file, and its text. The payload says what the program does.
struct Program {
    interpreter: &'static str,
    file: &'static str,
    text: &'static str,
}

const SH: Program = Program {
    interpreter: "sh",
    file: "job.sh",
    text: r#"
do=$(cat)
echo "begin in sh"
case $do in
    *fail*) echo "no route" >&2; exit 3 ;;
    *kill*) echo "last words"; kill -SEGV $$ ;;
    *hang*) trap '' TERM; echo "hangs"; while :; do sleep 1; done ;;
    *memory*) echo "fills memory"; v=$(head -c 150000000 /dev/zero | tr '\0' x); sleep 60 ;;
    *) for n in 1 2 3; do echo "line $n"; sleep 0.3; done ;;
esac
"#,
};

const PYTHON: Program = Program {
    interpreter: "python3",
    file: "job.py",
    text: r#"
import os, signal, sys, time
do = sys.stdin.read()
print("begin in python", flush=True)
if "fail" in do:
    print("no route", file=sys.stderr)
    sys.exit(3)
elif "kill" in do:
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
elif "hang" in do:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("hangs", flush=True)
    while True:
        time.sleep(1)
elif "memory" in do:
    print("fills memory", flush=True)
    kept = bytearray(b"x") * (200 << 20)
    time.sleep(60)
else:
    for n in 1, 2, 3:
        print("line", n, flush=True)
        time.sleep(0.3)
"#,
};

const PHP: Program = Program {
    interpreter: "php",
    file: "job.php",
    text: r#"<?php
ini_set('memory_limit', '-1');
$do = stream_get_contents(STDIN);
echo "begin in php\n";
if (str_contains($do, 'fail')) {
    fwrite(STDERR, "no route\n");
    exit(3);
} elseif (str_contains($do, 'kill')) {
    echo "last words\n";
    posix_kill(getmypid(), SIGSEGV);
    sleep(5);
} elseif (str_contains($do, 'hang')) {
    pcntl_signal(SIGTERM, SIG_IGN);
    echo "hangs\n";
    while (true) { sleep(1); }
} elseif (str_contains($do, 'memory')) {
    echo "fills memory\n";
    $kept = str_repeat('x', 200 << 20);
    sleep(60);
} else {
    for ($n = 1; $n <= 3; $n++) { echo "line $n\n"; usleep(300000); }
}
"#,
};

const NODE: Program = Program {
    interpreter: "node",
    file: "job.mjs",
    text: r#"
import { readFileSync } from 'node:fs';
const job = readFileSync(0, 'utf8');
const wait = ms => new Promise(done => setTimeout(done, ms));
console.log('begin in node');
if (job.includes('fail')) {
    console.error('no route');
    process.exit(3);
} else if (job.includes('kill')) {
    console.log('last words');
    process.kill(process.pid, 'SIGKILL');
    await wait(5000);
} else if (job.includes('hang')) {
    process.on('SIGTERM', () => {});
    console.log('hangs');
    await wait(60000);
} else if (job.includes('memory')) {
    console.log('fills memory');
    const kept = Buffer.alloc(200 << 20, 'x');
    await wait(60000 + kept.length % 2);
} else {
    for (let n = 1; n <= 3; n++) { console.log('line ' + n); await wait(300); }
}
"#,
};

impl Program {
    fn fixture(&self) -> Fixture {
        let Self { interpreter, file, text } = self;
        let fixture = Fixture::sqlite(&format!(
            "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"process-pool\"\n\
             min_worker_number = 1\nmax_worker_number = 4\nmemory_hard_limit = 120\nmax_execute_seconds = 30\n\
             protocol = \"exec\"\ncommand = [\"{interpreter}\", \"{file}\"]\n"
        ));
        fixture.write(file, text);
        fixture
    }
}

fn lines(shown: &Value) -> Vec<&str> {
    shown["output"]["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect()
}

fn last_line_and_end_are_shown(program: &Program) {
    let fixture = program.fixture();
    let master = fixture.listen(&[]);
    let push = |what: &str, more: &[&str]| fixture.push(what, &format!("{{\"do\":\"{what}\"}}"), more);
    let fail = push("fail", &[]);
    let kill = push("kill", &[]);
    let hang = push("hang", &["--timeout", "5s"]);
    let memory = push("memory", &[]);
    fixture.until("default", "all to fail", |counts| counts.failed == 4);
    let show = |id: u64| fixture.json(&["queue:show", &id.to_string()]);
    let in_text = |id: u64, parts: &[&str]| {
        let shown = fixture.ok(&["queue:show", &id.to_string()]);
        parts.iter().for_each(|part| assert!(shown.contains(part), "{part}: {shown}"));
    };

    let shown = show(fail);
    let process = &shown["errors"][0]["process"];
    assert_eq!((&process["exit"], &process["signal"]), (&3.into(), &Value::Null), "{shown}");
    let mut printed = lines(&shown);
    printed.sort_unstable();
    assert_eq!(printed, [format!("begin in {}", program.file_language()).as_str(), "no route"], "{shown}");
    assert_eq!(shown["output"]["of"], "last_failure");
    in_text(fail, &["process exited with 3, alone\n", "output of attempt 1\n", "  no route\n"]);

    let shown = show(kill);
    let process = &shown["errors"][0]["process"];
    let signal = if program.interpreter == "node" { "SIGKILL" } else { "SIGSEGV" };
    assert_eq!((&process["exit"], &process["signal"]), (&Value::Null, &signal.into()), "{shown}");
    assert_eq!((&process["others"], &process["killed_at"]), (&0.into(), &Value::Null), "{shown}");
    assert_eq!(lines(&shown).last(), Some(&"last words"), "{shown}");
    in_text(kill, &[&format!("process killed by {signal}"), "  last words\n"]);

    let shown = show(hang);
    let process = &shown["errors"][0]["process"];
    assert_eq!((&shown["errors"][0]["kind"], &process["signal"]), (&"timeout".into(), &"SIGKILL".into()));
    assert!(process["asked_at"].as_str() < process["killed_at"].as_str(), "{shown}");
    assert!(process["rss_peak"].as_u64().unwrap() > 0, "{shown}");
    assert_eq!(lines(&shown).last(), Some(&"hangs"), "{shown}");
    in_text(hang, &["asked to end 2", ", killed ", " later\n", "memory peak ", "  hangs\n"]);

    let shown = show(memory);
    let process = &shown["errors"][0]["process"];
    assert_eq!(process["memory_limit"], 120 << 20, "{shown}");
    assert!(process["rss_peak"].as_u64() > process["memory_limit"].as_u64(), "{shown}");
    assert!(process["killed_at"].is_string(), "{shown}");
    assert_eq!(lines(&shown).last(), Some(&"fills memory"), "{shown}");
    in_text(memory, &[", limit 120 MiB\n", "killed by its master "]);
    assert!(master.stop().success());
}

impl Program {
    fn file_language(&self) -> &str {
        if self.interpreter == "python3" { "python" } else { self.interpreter }
    }
}

#[test]
fn sh_output_and_end_are_shown() {
    last_line_and_end_are_shown(&SH);
}

#[test]
fn python_output_and_end_are_shown() {
    last_line_and_end_are_shown(&PYTHON);
}

#[test]
fn php_output_and_end_are_shown() {
    last_line_and_end_are_shown(&PHP);
}

#[test]
fn node_output_and_end_are_shown() {
    last_line_and_end_are_shown(&NODE);
}

#[test]
fn running_job_is_followed_to_its_end() {
    for program in [&SH, &PYTHON, &PHP, &NODE] {
        let fixture = program.fixture();
        let master = fixture.listen(&[]);
        let id = fixture.push("count", "{\"do\":\"count\"}", &[]).to_string();
        until("it to run", || (fixture.counts("default").reserved == 1).then_some(()));
        let mut follow = fixture.command(&["queue:show", &id, "--output", "--follow"]);
        let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(follow.stdout.take().unwrap()).lines();
        let first = out.next().unwrap().unwrap();
        assert_eq!(first, format!("begin in {}", program.file_language()));
        assert_eq!(fixture.counts("default").done, 0, "the line came before the end");
        let rest: Vec<_> = out.map(Result::unwrap).collect();
        assert_eq!(rest, ["line 1", "line 2", "line 3"]);
        assert!(follow.wait().unwrap().success());

        // A done job is in the memory of its master.
        let shown = fixture.json(&["queue:show", &id]);
        assert_eq!((&shown["state"], &shown["attempts"]), (&"done".into(), &1.into()), "{shown}");
        assert!(shown["took_ms"].as_u64().unwrap() >= 900, "{shown}");
        assert_eq!(lines(&shown)[1..], ["line 1", "line 2", "line 3"]);
        assert!(master.stop().success());
    }
}

#[test]
fn follow_of_a_failing_job_fails_with_it() {
    let fixture = SH.fixture();
    fixture.write("job.sh", "echo begins; sleep 1; echo ends; exit 7\n");
    let master = fixture.listen(&[]);
    let id = fixture.push("x", "{}", &[]).to_string();
    until("it to run", || (fixture.counts("default").reserved == 1).then_some(()));
    let followed = fixture.run(&["queue:show", &id, "--output", "--follow"]);
    assert_eq!(followed.status.code(), Some(1));
    assert_eq!(text(&followed.stdout), "begins\nends\n");
    assert!(text(&followed.stderr).contains("ended: failed"), "{}", text(&followed.stderr));
    fixture.until("default", "it to fail", |counts| counts.failed == 1);
    assert_eq!(fixture.ok(&["queue:show", &id, "--output"]), "begins\nends\n");
    // A requeue drops the lines.
    fixture.ok(&["queue:pause"]);
    fixture.ok(&["queue:retry", &id]);
    assert_eq!(fixture.json(&["queue:show", &id, "--output"]), Value::Null);
    assert!(master.stop().success());
}

/// A channel of programs that sh runs.
fn programs(settings: &str, script: &str) -> Fixture {
    let fixture = Fixture::sqlite(&format!(
        "[channels.default]\n{settings}\nbackoff = {{ base = 0, jitter = 0 }}\n[channels.default.worker]\n\
         type = \"process-pool\"\nmin_worker_number = 1\nprotocol = \"exec\"\ncommand = [\"sh\", \"job.sh\"]\n"
    ));
    fixture.write("job.sh", script);
    fixture
}

fn stored_outputs(fixture: &Fixture) -> i64 {
    let store = rusqlite::Connection::open(fixture.file("queue.db")).unwrap();
    store.query_row("SELECT count(*) FROM outputs", [], |row| row.get(0)).unwrap()
}

#[test]
fn kept_lines_are_those_of_the_last_failure() {
    let fixture = programs(
        "max_attempts = 3",
        "[ $AINT_QUEUE_JOB$AINT_QUEUE_ATTEMPT = late3 ] && exit 0\n\
         [ $AINT_QUEUE_JOB$AINT_QUEUE_ATTEMPT = silent3 ] && exit 1\necho attempt $AINT_QUEUE_ATTEMPT; exit 1\n",
    );
    let master = fixture.listen(&[]);
    let push = |name: &str| fixture.push(name, "{}", &[]).to_string();
    let [late, silent, loud] = ["late", "silent", "loud"].map(push);
    fixture.until("default", "all to end", |counts| counts.failed == 2 && counts.done == 1);
    let shown = fixture.json(&["queue:show", &loud]);
    assert_eq!((lines(&shown), &shown["output"]["attempt"]), (vec!["attempt 3"], &3.into()), "{shown}");
    assert_eq!(shown["errors"].as_array().unwrap().len(), 3);
    assert_eq!(
        fixture.json(&["queue:show", &silent])["output"],
        Value::Null,
        "its last failure printed nothing"
    );
    assert_eq!(fixture.json(&["queue:show", &late])["attempts"], 3, "done in the third attempt");
    assert_eq!(stored_outputs(&fixture), 1, "the lines of done and silent jobs are gone");
    fixture.ok(&["queue:forget", &loud]);
    assert_eq!(stored_outputs(&fixture), 0);
    assert!(master.stop().success());
}

#[test]
fn keep_output_off_stores_no_lines() {
    let fixture = programs("max_attempts = 1\nkeep_output = false", "echo secret; sleep 1; exit 1\n");
    let master = fixture.listen(&[]);
    let id = fixture.push("x", "{}", &[]).to_string();
    let running = until("its line", || {
        Some(fixture.json(&["queue:show", &id])).filter(|shown| shown["output"]["of"] == "running")
    });
    assert_eq!(lines(&running), ["secret"]);
    fixture.until("default", "it to fail", |counts| counts.failed == 1);
    assert_eq!(fixture.json(&["queue:show", &id])["output"], Value::Null);
    assert_eq!(stored_outputs(&fixture), 0);
    assert!(master.stop().success());
}

#[test]
fn running_jobs_are_listed_with_their_processes() {
    let fixture = programs("", "sleep 31 & wait\n");
    let missing = fixture.run(&["queue:running"]);
    assert_eq!(missing.status.code(), Some(3), "{}", text(&missing.stderr));
    let master = fixture.listen(&[]);
    let id = fixture.push("report", "{}", &["--timeout", "40s"]);
    let row = until("the process below its worker", || {
        let rows = fixture.json(&["queue:running", "--tree"]);
        let row = rows.as_array().unwrap().first()?.clone();
        (row["processes"].as_array().unwrap().len() == 2).then_some(row)
    });
    assert_eq!(
        (&row["id"], &row["job"], &row["attempt"]),
        (&id.into(), &"report".into(), &1.into()),
        "{row}"
    );
    assert_eq!((&row["channel"], &row["limit_ms"]), (&"default".into(), &40_000.into()), "{row}");
    assert_eq!(row["processes"][0]["pid"], row["worker_pid"], "{row}");
    assert_eq!(row["processes"][1]["command"], "sleep 31", "{row}");
    assert_eq!(row["processes"][1]["parent"], row["worker_pid"], "{row}");
    let shown = fixture.ok(&["queue:running", "--tree"]);
    assert!(shown.contains(" report ") && shown.contains("sleep 31"), "{shown}");
    fixture.ok(&["queue:cancel", &id.to_string()]);
    assert_eq!(fixture.ok(&["queue:running"]), "No job is running on this machine.\n");
    assert!(master.stop().success());
}

#[test]
fn done_jobs_are_listed_and_explained() {
    let fixture = programs("", "echo made $AINT_QUEUE_JOB\n");
    let master = fixture.listen(&[]);
    let ids = ["one", "two", "three"].map(|name| {
        let id = fixture.push(name, "{}", &[]);
        fixture.until("default", "it to be done", |counts| counts.waiting + counts.reserved == 0);
        id
    });
    let page = fixture.json(&["queue:jobs", "--state", "done", "--limit", "2"]);
    let listed: Vec<_> =
        page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect();
    assert_eq!(listed, [ids[2], ids[1]], "{page}");
    let next = page["next"].as_str().unwrap();
    let page = fixture.json(&["queue:jobs", "--state", "done", "--page-after", next]);
    assert_eq!((&page["jobs"][0]["job"], &page["next"]), (&"one".into(), &Value::Null), "{page}");
    let page = fixture.json(&["queue:jobs", "--state", "done", "--job", "two", "--limit", "1"]);
    assert_eq!(page["jobs"][0]["id"], ids[1], "{page}");

    let found = fixture.json(&["queue:jobs", "--state", "done", "--search", "TW"]);
    assert_eq!((&found["jobs"][0]["id"], &found["jobs"][1]), (&ids[1].into(), &Value::Null), "{found}");
    let refused = fixture.run(&["queue:jobs", "--state", "done", "--grep", "two"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));

    let id = ids[0].to_string();
    let why = fixture.json(&["queue:why", &id]);
    assert_eq!((&why["reason"], &why["facts"]["job"]["state"]), (&"done".into(), &"done".into()), "{why}");
    assert!(why["sentence"].as_str().unwrap().starts_with(&format!("Job {id} (one) is done: ")), "{why}");
    assert_eq!(fixture.ok(&["queue:show", &id, "--output"]), "made one\n");
    let shown = fixture.ok(&["queue:show", &id]);
    assert!(shown.contains("state       done at ") && shown.ends_with("output\n  made one\n"), "{shown}");
    assert!(master.stop().success());
}

/// A worker with two slots: both runs log and print, then fail together.
const TWO_SLOTS: &str = r#"
import json, os, socket, sys
channel = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
lines = channel.makefile("r")
def send(**frame):
    channel.sendall(json.dumps(frame).encode() + b"\n")
send(type="hello", protocol=1, slots=2, jobs=["x"])
runs = []
for line in lines:
    frame = json.loads(line)
    if frame["type"] == "stop":
        break
    if frame["type"] != "run":
        continue
    runs.append(frame)
    if len(runs) == 1:
        print("alone", flush=True)
    else:
        print("in company", flush=True)
        for run in runs:
            send(type="log", run=run["run"], message="log of %s" % run["payload"]["n"])
        for run in runs:
            send(type="failed", run=run["run"], error="no")
"#;

#[test]
fn lines_of_many_slot_workers_are_attributed_by_frames() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 2\n\
         command = [\"python3\", \"worker.py\"]\n",
    );
    fixture.write("worker.py", TWO_SLOTS);
    let master = fixture.listen(&[]);
    let first = fixture.push("x", r#"{"n":1}"#, &[]).to_string();
    until("its line", || (fixture.json(&["queue:show", &first])["output"]["of"] == "running").then_some(()));
    let second = fixture.push("x", r#"{"n":2}"#, &[]).to_string();
    fixture.until("default", "both to fail", |counts| counts.failed == 2);
    let [first, second] = [first, second].map(|id| fixture.json(&["queue:show", &id]));
    assert_eq!(lines(&first), ["alone", "log of 1"], "{first}");
    assert_eq!(lines(&second), ["log of 2"], "{second}");
    assert_eq!(second["output"]["lines"][0]["stream"], "log");
    assert!(master.stop().success());
}
