//! Stops: running jobs finish or are returned, and no process is left.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::fixture::{Fixture, text, until};

const POOL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";

#[test]
fn stop_waits_for_running_jobs() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        // A second worker could start the second job before the stop.
        let fixture = Fixture::sqlite(&format!("{POOL}max_worker_number = 1\n"));
        let master = fixture.listen(&[]);
        fixture.push("sleep", r#"{"ms":400}"#, &[]);
        fixture.push("sleep", r#"{"ms":400}"#, &[]);
        fixture.until("default", "one to run", |c| c.reserved == 1);
        master.signal(signal);
        assert!(master.wait().success());
        let counts = fixture.counts("default");
        assert_eq!((counts.done, counts.waiting, counts.reserved), (1, 1, 0));
    }
}

#[test]
fn second_signal_kills_and_releases_uncounted() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    let id = fixture.push("sleep", r#"{"ms":50000}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let begun = Instant::now();
    assert!(master.force_stop().success());
    assert!(begun.elapsed() < Duration::from_secs(3));
    let shown = fixture.json(&["queue:show", &id.to_string()]);
    assert_eq!((shown["state"].as_str(), shown["attempts"].as_u64()), (Some("waiting"), Some(0)), "{shown}");
}

#[test]
fn stopping_master_says_so() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    fixture.push("sleep", r#"{"ms":50000}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    master.signal(Signal::SIGINT);
    until("the notice", || {
        let notice = "stopping after 1 running job, within 30 s: a second signal kills it";
        master.log().contains(notice).then_some(())
    });
    let shown = fixture.ok(&["queue:status"]);
    assert!(shown.contains("is stopping, pid ") && shown.contains("Stopping: 1 job left"), "{shown}");
    master.signal(Signal::SIGINT);
    assert!(master.wait().success());
}

#[test]
fn cleared_job_is_no_silent_success() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process\"\nprotocol = \"exec\"\n\
         command = [\"sh\", \"-c\", \"until [ -e finish ]; do sleep 0.01; done\"]\n",
    );
    let master = fixture.listen(&[]);
    let id = fixture.push("x", "{}", &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    fixture.ok(&["queue:clear", "--state", "reserved", "--yes"]);
    fixture.write("finish", "");
    until("the warning", || {
        let log = master.log();
        let warning = log.lines().find(|line| line.contains("jobs cleared while they ran"))?;
        assert!(warning.contains("\"WARN\"") && warning.contains(&id.to_string()), "{warning}");
        Some(())
    });
    assert!(master.stop().success());
}

#[test]
fn second_master_is_refused_with_its_remedy() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    let second = fixture.run(&["queue:listen"]);
    assert_eq!(second.status.code(), Some(3));
    let said = text(&second.stderr);
    let expected = format!(
        "another master is running, pid {}\nhint: queue:status shows it, queue:stop stops it\n",
        master.pid()
    );
    assert!(said.ends_with(&expected), "{said}");
    assert!(master.stop().success());
}

#[test]
fn master_names_the_channels_that_it_does_not_serve() {
    let fixture = Fixture::sqlite(
        "[channels.mail]\n[channels.reports]\n[channels.now]\ndriver = { type = \"sync\" }\n",
    );
    let line = "declared channels not served by this master";
    let some = fixture.listen(&["-t", "mail"]);
    let found =
        until("the line", || some.log().lines().find(|found| found.contains(line)).map(str::to_owned));
    assert!(found.contains("\"channels\":\"reports\""), "{found}");
    assert!(some.stop().success());
    let all = fixture.listen(&["--all"]);
    let log = all.log_path();
    assert!(all.stop().success());
    assert!(!std::fs::read_to_string(log).unwrap().contains(line));
}

#[test]
fn runs_beyond_stop_wait_are_released() {
    let fixture = Fixture::sqlite(&format!(
        "[channels.default]\nstop_wait_seconds = 1\nstop_grace_seconds = 1\n{POOL}"
    ));
    let master = fixture.listen(&[]);
    fixture.push("sleep", r#"{"ms":50000}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let begun = Instant::now();
    let printed = fixture.ok(&["queue:stop"]);
    assert!(printed.contains("1 job did not finish and will run again"), "{printed}");
    assert!((1..5).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert!(master.wait().success());
    assert_eq!(fixture.counts("default").waiting, 1);
}

#[test]
fn stop_of_one_channel_leaves_others_running() {
    let fixture = Fixture::sqlite(
        "[channels.one.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n[channels.two.worker]\ntype = \"coroutine\"\n",
    );
    let master = fixture.listen(&["-t", "one", "-t", "two"]);
    fixture.ok(&["queue:stop", "-t", "one"]);
    assert!(!fixture.file("run/one.sock").exists(), "the socket is removed before the lock is free");
    assert_eq!(fixture.json(&["queue:status", "-t", "one"])["running"], false);
    assert_eq!(fixture.json(&["queue:status", "-t", "two"])["running"], true);
    fixture.ok(&["queue:push", "noop", "-t", "two"]);
    fixture.until("two", "its job", |c| c.done == 1);
    // Another master can serve the stopped channel.
    let other = fixture.listen(&["-t", "one"]);
    fixture.ok(&["queue:push", "noop", "-t", "one"]);
    fixture.until("one", "its job", |c| c.done == 1);
    assert_eq!(fixture.json(&["queue:status", "-t", "two"])["running"], true);
    assert!(other.stop().success());
    fixture.ok(&["queue:stop", "-t", "two"]);
    assert!(master.wait().success(), "the master ends with its last channel");
}

#[test]
fn stop_without_a_master_is_reported() {
    let fixture = Fixture::sqlite(POOL);
    let output = fixture.run(&["queue:stop"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(crate::fixture::text(&output.stderr).contains("not running"));
}

#[test]
fn stopped_master_leaves_nothing() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    let (guardian, workers) = (master.guardian(), master.workers());
    assert!(master.stop().success());
    for pid in workers.into_iter().chain([guardian]) {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} still runs");
    }
    let left: Vec<_> =
        std::fs::read_dir(fixture.file("run")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["default-master.lock"], "only the lock file stays");
}

#[test]
fn stop_gets_through_a_busy_control_socket() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    let socket = fixture.file("run/default.sock");
    let responses = AtomicUsize::new(0);
    let flood = || {
        let Ok(mut stream) = UnixStream::connect(&socket) else { return };
        let mut reader = stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            // The end of the master ends both commands.
            scope.spawn(move || while stream.write_all(b"{\"command\":\"status\"}\n").is_ok() {});
            let responses = &responses;
            scope.spawn(move || {
                while reader.read(&mut [0; 1 << 16]).is_ok_and(|n| n > 0) {
                    responses.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(flood);
        }
        // Not before requests come from many connections at a time.
        until("a busy socket", || responses.load(Ordering::Relaxed) >= 200);
        master.signal(Signal::SIGTERM);
        let begun = Instant::now();
        assert!(master.wait().success());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}

#[test]
fn waiting_stop_prints_lines_without_a_terminal() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    fixture.push("sleep", r#"{"ms":1500}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let output = fixture.run(&["queue:stop"]);
    let said = crate::fixture::text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "one line at once, the next after five seconds: {said}");
    assert!(lines[0].starts_with("default: 1 job left, 2"), "{said}");
    assert!(lines[0].ends_with(" s until it is interrupted"), "{said}");
    assert!(master.wait().success());

    let master = fixture.listen(&[]);
    fixture.push("sleep", r#"{"ms":1000}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let output = fixture.run(&["queue:stop", "--quiet"]);
    assert_eq!((output.stderr.len(), output.stdout.len()), (0, 0));
    assert!(master.wait().success());
}

#[test]
fn waiting_stop_draws_a_bar_on_a_terminal() {
    use std::io::Read;

    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    fixture.push("sleep", r#"{"ms":1500}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = fixture.command(&["queue:stop"]);
    command.env("TERM", "xterm").stderr(terminal.slave).stdout(std::process::Stdio::null());
    let mut stop = command.spawn().unwrap();
    // Now only the command has the terminal open.
    drop(command);
    let mut drawn = Vec::new();
    // Reading a terminal without writers fails.
    let _ = std::fs::File::from(terminal.master).read_to_end(&mut drawn);
    let drawn = crate::fixture::text(&drawn);
    assert!(stop.wait().unwrap().success());
    assert!(drawn.contains("default: 1 job left, 2"), "{drawn:?}");
    assert!(drawn.contains("\u{1b}["), "the line is redrawn: {drawn:?}");
    assert!(master.wait().success());
}
