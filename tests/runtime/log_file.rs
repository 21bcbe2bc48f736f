//! The log of a master in a file, as JSON throughout, and its lines about jobs.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fixture::{Fixture, text, until};

const POOL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";

/// The lines of a JSON log, each of which must be JSON.
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

#[test]
fn file_takes_the_log_and_is_opened_again() {
    let fixture = Fixture::sqlite(&format!("{POOL}[log]\nfile = \"logs/queue.log\"\n"));
    fs::create_dir(fixture.file("logs")).unwrap();
    let master = fixture.start(fixture.listen_command(&[]));
    let read = |name: &str| fs::read_to_string(fixture.file(name)).unwrap_or_default();
    until("the master to serve", || read("logs/queue.log").contains("\"listening\"").then_some(()));
    let said = lines(&master.log());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0]["message"].as_str().unwrap().contains("logging to ")
            && master.log().contains("logs/queue.log")
    );
    // What a program for log rotation does: rename, then signal.
    let moved = |number: u32| format!("logs/moved.{number}");
    fs::rename(fixture.file("logs/queue.log"), fixture.file(&moved(1))).unwrap();
    master.signal(Signal::SIGUSR2);
    until("the file to be opened again", || {
        read("logs/queue.log").contains("log file opened again").then_some(())
    });
    fs::rename(fixture.file("logs/queue.log"), fixture.file(&moved(2))).unwrap();
    fixture.ok(&["queue:reload"]);
    until("the reload in a new file", || read("logs/queue.log").contains("\"reloaded\"").then_some(()));
    assert!(master.stop().success());
    assert!(read("logs/queue.log").contains("\"stopped\""));
    for name in ["logs/queue.log".to_owned(), moved(1), moved(2)] {
        assert!(!lines(&read(&name)).is_empty());
    }
}

#[test]
fn file_that_cannot_be_opened_again_stays_in_use() {
    let fixture = Fixture::sqlite(&format!("{POOL}[log]\nfile = \"queue.log\"\n"));
    let master = fixture.start(fixture.listen_command(&[]));
    let read = |name: &str| fs::read_to_string(fixture.file(name)).unwrap_or_default();
    until("the master to serve", || read("queue.log").contains("\"listening\"").then_some(()));
    let differences = || fixture.json(&["queue:status"])["differences"].clone();
    let obstacles: [&dyn Fn(); 3] = [
        &|| fs::create_dir(fixture.file("queue.log")).unwrap(),
        &|| nix::unistd::mkfifo(&fixture.file("queue.log"), nix::sys::stat::Mode::S_IRWXU).unwrap(),
        &|| std::os::unix::fs::symlink("other.log", fixture.file("queue.log")).unwrap(),
    ];
    let warnings = |name: &str| read(name).matches("not opened again: writing to the previous file").count();
    fs::rename(fixture.file("queue.log"), fixture.file("moved.log")).unwrap();
    for (number, obstacle) in obstacles.into_iter().enumerate() {
        obstacle();
        master.signal(Signal::SIGUSR2);
        until("the warning", || (warnings("moved.log") == 2 * number + 1).then_some(()));
        let shown = differences();
        assert!(shown[0].as_str().unwrap().contains("queue.log\" not opened again"), "{shown}");
        let reloaded = fixture.run(&["queue:reload"]);
        let (shown, said) = (text(&reloaded.stdout), text(&reloaded.stderr));
        assert_eq!(reloaded.status.code(), Some(1), "{said}");
        assert!(shown.contains("is reloaded: generation "), "{shown}");
        assert!(
            said.contains("could not open the log file again")
                && said.contains("queue.log\" not opened again"),
            "{said}"
        );
        until("the warning of the reload", || (warnings("moved.log") == 2 * number + 2).then_some(()));
        let path = fixture.file("queue.log");
        fs::remove_dir(&path).or_else(|_| fs::remove_file(&path)).unwrap();
    }
    until("the warning on standard error", || master.log().contains("not opened again").then_some(()));
    assert!(!read("moved.log").contains("log file opened again") && !fixture.file("other.log").exists());
    master.signal(Signal::SIGUSR2);
    until("the new file", || read("queue.log").contains("log file opened again").then_some(()));
    assert!(differences().is_null());
    assert!(master.stop().success());
}

#[test]
fn links_and_directories_of_others_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::sqlite(&format!("{POOL}[log]\nfile = \"logs/queue.log\"\n"));
    fs::create_dir(fixture.file("logs")).unwrap();
    let refused = |why: &str| {
        let refused = fixture.listen_command(&[]).output().unwrap();
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(4), "{said}");
        assert!(said.contains(why) && said.contains("--trust-files"), "{said}");
    };
    std::os::unix::fs::symlink(fixture.write("target", "kept"), fixture.file("logs/queue.log")).unwrap();
    refused("queue.log\\\" is a symbolic link");
    assert_eq!(fs::read_to_string(fixture.file("target")).unwrap(), "kept");
    let mode = |mode| fs::set_permissions(fixture.file("logs"), fs::Permissions::from_mode(mode)).unwrap();
    fs::remove_file(fixture.file("logs/queue.log")).unwrap();
    mode(0o777);
    refused("may be written by other users");
    assert!(!fixture.file("logs/queue.log").exists());
    let master = fixture.start(fixture.listen_command(&["--trust-files"]));
    let read = || fs::read_to_string(fixture.file("logs/queue.log")).unwrap_or_default();
    until("the master to serve", || read().contains("\"listening\"").then_some(()));
    assert!(master.stop().success());
}

#[test]
fn refused_second_start_forges_no_line() {
    let fixture = Fixture::sqlite(&format!("{POOL}[log]\nfile = \"queue.log\"\n"));
    let listen = || fixture.command(&["queue:listen"]);
    let master = fixture.start(listen());
    let read = || fs::read_to_string(fixture.file("queue.log")).unwrap_or_default();
    until("the master to serve", || read().contains("listening").then_some(()));
    let refused = listen().output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    let said = text(&refused.stderr);
    assert!(
        said.starts_with("note: logging to ") && said.contains("\nerror: could not run the jobs"),
        "{said}"
    );
    assert!(master.stop().success());
    for line in read().lines() {
        assert!(line.starts_with("20") && line.contains('T'), "a line without its time: {line}");
    }
}

#[test]
fn file_is_renamed_at_its_limit() {
    let fixture = Fixture::sqlite(&format!(
        "{POOL}max_execute_seconds = 120\nlog_bytes_per_second = 0\n[log]\nfile = \"queue.log\"\n\
         max_bytes = 200000\nkeep = 2\n"
    ));
    let master = fixture.start(fixture.listen_command(&[]));
    fixture.push("print", r#"{"kib":256}"#, &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    assert!(master.stop().success());
    let size = |name: &str| fs::metadata(fixture.file(name)).map(|file| file.len());
    for name in ["queue.log", "queue.log.1", "queue.log.2"] {
        assert!((1..=200_000).contains(&size(name).unwrap()), "{name}: {:?}", size(name));
    }
    assert!(size("queue.log.3").is_err());
    assert!(fs::read_to_string(fixture.file("queue.log")).unwrap().contains("\"stopped\""));
}

#[test]
fn unusable_log_file_refuses_the_start() {
    for file in ["nowhere/queue.log", "/dev/null"] {
        let fixture = Fixture::sqlite(&format!("{POOL}[log]\nfile = \"{file}\"\n"));
        let refused = fixture.listen_command(&[]).output().unwrap();
        assert_eq!(refused.status.code(), Some(4));
        let line = lines(&text(&refused.stderr)).pop().unwrap();
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("could not open the log file") && message.contains(file), "{line}");
        assert!(line["hint"].as_str().unwrap().contains("log.file"), "{line}");
    }
}

#[test]
fn json_log_is_json_in_every_line() {
    let warning = format!("{POOL}max_execute_seconds = 120\n");
    let fixture = Fixture::sqlite(&warning);
    for verbose in [&[][..], &["-v"], &["-vv"]] {
        let master = fixture.listen(verbose);
        fixture.push("fail", "{}", &["--max-attempts", "1"]);
        fixture.push("print", r#"{"kib":1}"#, &[]);
        fixture.until("default", "the jobs", |c| c.waiting + c.reserved == 0);
        // The lock is held.
        let refused = fixture.listen_command(verbose).output().unwrap();
        assert_eq!(refused.status.code(), Some(3));
        assert!(lines(&text(&refused.stderr)).iter().any(|line| line["level"] == "ERROR"));
        let path = master.log_path();
        assert!(master.stop().success());
        let log = lines(&fs::read_to_string(path).unwrap());
        let warnings = log.iter().filter(|line| line["message"].as_str().unwrap().contains("lets jobs be"));
        assert_eq!(warnings.count(), 1, "the warning of the configuration is a line, once");
        let foreign = |line: &&Value| !line["target"].as_str().unwrap().starts_with("aint_queue");
        let foreign: Vec<_> = log.iter().filter(foreign).filter(|line| line["target"] != "worker").collect();
        assert!(verbose == ["-vv"] || foreign.is_empty(), "lines of libraries: {foreign:?}");
    }
    fixture.write("aint-queue.toml", "[channels.default]\nno_such_key = 1\n");
    let invalid = fixture.listen_command(&[]).output().unwrap();
    assert_eq!(invalid.status.code(), Some(4));
    assert_eq!(lines(&text(&invalid.stderr)).len(), 1);
}

#[test]
fn each_job_has_a_line_with_its_duration() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&["-v"]);
    let id = fixture.push("sleep", r#"{"ms":20}"#, &[]);
    let failed = fixture.push("fail", "{}", &["--max-attempts", "1"]);
    fixture.until("default", "the jobs", |c| c.done == 1 && c.failed == 1);
    let of = |message: &str, id: u64| {
        until(message, || {
            lines(&master.log()).into_iter().find(|line| line["message"] == message && line["job"] == id)
        })
    };
    let line = of("job done", id);
    assert_eq!(
        (&line["name"], &line["attempt"], &line["level"]),
        (&"sleep".into(), &1.into(), &"INFO".into())
    );
    assert!(line["took_ms"].as_u64().unwrap() >= 20, "{line}");
    assert!(of("job failed", failed)["took_ms"].as_u64().is_some());
    assert_eq!(of("job started", id)["level"], "DEBUG");
    assert!(master.stop().success());
}

#[test]
fn job_lines_have_a_level_and_a_limit() {
    let channel = |name: &str, job_log: &str| {
        format!("[channels.{name}.worker]\ntype = \"coroutine\"\n[channels.{name}.job_log]\n{job_log}\n")
    };
    let channels = [channel("few", "lines_per_second = 1"), channel("none", "level = \"off\"")].concat();
    let fixture = Fixture::sqlite(&channels);
    let master = fixture.listen(&["--all", "-v"]);
    for name in ["few", "none"] {
        fixture.push_lines(name, (0..300).map(|_| r#"{"job":"noop"}"#.to_owned()));
        fixture.until(name, "the jobs", |c| c.done == 300);
    }
    let of = |name: &str| {
        let all = lines(&master.log()).into_iter();
        all.filter(|line| line["channel"] == name && line["message"] == "job done").collect::<Vec<_>>()
    };
    let few = of("few");
    assert!((1..100).contains(&few.len()), "{} lines", few.len());
    let counted: u64 = few.iter().map(|line| 1 + line["unlisted"].as_u64().unwrap_or(0)).sum();
    assert!(counted <= 300, "{counted}");
    assert!(of("none").is_empty() && !master.log().contains(r#""message":"job started","channel":"none""#));
    assert!(master.stop().success());
}
