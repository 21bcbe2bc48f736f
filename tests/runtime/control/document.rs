//! The transcripts of `docs/control-socket.md`, run against a real master.
//!
//! Each is a file beside this one: client lines after `> `, lines of the master after `< `, notes after `# `. Values that change from
//! run to run are in angle brackets. `UPDATE_EXAMPLES=1` writes the actual lines.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use super::ControlConnection;
use crate::fixture::{Fixture, until};

/// The text of a note that selects the channel of the following lines.
const TO: &str = "# To the socket of channel ";
/// Values that change from run to run, by their keys. A placeholder is no JSON, so larger values are replaced first.
const VOLATILE: [(&str, &str); 17] = [
    ("points", "[<point>, …]"),
    ("recent", "<recent>"),
    ("store", "<store>"),
    ("progress", "<report>"),
    ("pid", "<pid>"),
    ("pids", "[<pid>]"),
    ("uptime_seconds", "<seconds>"),
    ("id", "<id>"),
    ("age_ms", "<ms>"),
    ("ago_ms", "<ms>"),
    ("ms", "<ms>"),
    ("memory", "<bytes>"),
    ("metrics", "<text>"),
    ("at", "<time>"),
    ("took_ms", "<ms>"),
    ("wait_ms", "<ms>"),
    ("rss_peak", "<bytes>"),
];

fn fixtures() -> Vec<PathBuf> {
    let entries = fs::read_dir("tests/runtime/control").unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    found.sort();
    assert!(found.len() > 5, "the directory has transcripts");
    found
}

/// A line of the master with placeholders for changing values.
fn steady(line: &str) -> String {
    let mut line = line.to_owned();
    for (key, word) in VOLATILE {
        let (mark, mut from) = (format!("\"{key}\":"), 0);
        while let Some(at) = line[from..].find(&mark).map(|at| from + at + mark.len()) {
            let mut value = serde_json::Deserializer::from_str(&line[at..]).into_iter::<IgnoredAny>();
            // The progress of a job is part of the example.
            let is_value = value.next().is_some_and(|value| value.is_ok());
            let end = at + value.byte_offset();
            // The progress of a job and the count of workers recycled for memory are part of the example.
            let tells = (key == "progress" && at > 15) || (key == "memory" && &line[at..end] == "0");
            if is_value && !tells {
                line.replace_range(at..end, word);
            }
            from = at;
        }
    }
    // The list of commands grows with versions.
    if let (Some(from), Some(to)) = (line.find(", expected one of "), line.find(" at line ")) {
        line.replace_range(from..to, ", expected one of <commands>");
    }
    line
}

/// The transcript as the master answers it.
fn replay(text: &str) -> String {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\ndynamic_mode = false\nmin_worker_number = 1\nmax_worker_number = 4\n\
         [channels.mail.worker]\ntype = \"coroutine\"\n",
    );
    let _master = fixture.listen(&["--all"]);
    // A slow request needs a job that ends later.
    let ms = if text.contains("{\"progress\"") || text.contains("{\"lines\"") { 2_000 } else { 60_000 };
    let job = fixture.push("sleep", &format!(r#"{{"ms":{ms}}}"#), &[]).to_string();
    let (mut line, mut said) = (ControlConnection::to(&fixture, "default"), String::new());
    let running = |report: &serde_json::Value| report["ok"]["status"]["report"]["running"] == 1;
    until("the job to run", || running(&line.request(r#"{"command":"status"}"#)).then_some(()));
    let mut expected = text.lines().peekable();
    while let Some(next) = expected.next() {
        if let Some(channel) = next.strip_prefix(TO) {
            line = ControlConnection::to(
                &fixture,
                channel.split_once('"').unwrap().1.split_once('"').unwrap().0,
            );
        }
        if next.starts_with("# ") {
            said.push_str(&format!("{next}\n"));
        }
        let Some(request) = next.strip_prefix("> ") else { continue };
        said.push_str(&format!("{next}\n"));
        line.send(format!("{}\n", request.replace("<id>", &job)).as_bytes()).unwrap();
        let shows_progress = expected
            .peek()
            .is_some_and(|line| line.starts_with("< {\"progress\"") || line.starts_with("< {\"lines\""));
        let mut progressed = false;
        loop {
            let reply = steady(&line.receive().expect("an answer"));
            let is_progress = reply.starts_with("{\"progress\"") || reply.starts_with("{\"lines\"");
            // The number of progress lines varies.
            if !is_progress || (shows_progress && !progressed) {
                said.push_str(&format!("< {reply}\n"));
            }
            progressed |= is_progress;
            if !is_progress {
                break;
            }
        }
    }
    said
}

fn check(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let said = replay(&text);
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        fs::write(path, &said).unwrap();
    }
    assert!(said == text, "{} differs from the master's lines:\n{said}", path.display());
}

#[test]
fn control_responses_match_the_document() {
    std::thread::scope(|scope| {
        let checks: Vec<_> = fixtures().into_iter().map(|path| scope.spawn(move || check(&path))).collect();
        let failed = checks.into_iter().filter_map(|check| check.join().err()).count();
        assert_eq!(failed, 0, "each is shown above");
    });
}

#[test]
fn document_shows_every_transcript_and_command() {
    let document = fs::read_to_string("docs/control-socket.md").unwrap();
    for path in fixtures() {
        assert!(document.contains(&format!("```text {}\n", path.display())), "{}", path.display());
    }
    let fixture = Fixture::sqlite("[channels.default]\n");
    let _master = fixture.listen(&[]);
    let answer = ControlConnection::to(&fixture, "default").request(r#"{"command":"?"}"#);
    let commands = answer["error"].as_str().unwrap().split('`').skip(3).step_by(2).map(str::to_owned);
    let commands: Vec<_> = commands.collect();
    assert!(commands.len() >= 7, "{commands:?}");
    for command in commands {
        assert!(document.contains(&format!("\"command\":\"{command}\"")), "{command} is not in the document");
    }
}
