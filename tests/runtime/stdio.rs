//! A master without standard streams, or with unusable ones.

use std::fs;
use std::process::{Command, Stdio};

use crate::fixture::{Fixture, text, until};

const POOL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";

/// The command, started by a shell that first changes its streams.
fn through_shell(what: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{what} exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell.env("NO_COLOR", "1").stdin(Stdio::null());
    shell
}

fn serves(fixture: &Fixture) {
    until("the control socket", || fixture.file("run/default.sock").exists().then_some(()));
    fixture.push("print", r#"{"text":"said on standard output"}"#, &["--max-attempts", "1"]);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the jobs", |c| c.done + c.failed == 2);
}

#[test]
fn closed_standard_streams_are_not_reused() {
    let fixture = Fixture::sqlite(POOL);
    let mut command = through_shell("exec 0<&- 1>&- 2>&-;", &fixture.listen_command(&[]));
    command.current_dir(fixture.path());
    let master = fixture.start(command);
    serves(&fixture);
    let guardian = master.guardian();
    for (pid, name) in [(master.pid(), "master"), (guardian, "guardian")] {
        for fd in 0..3 {
            let leads = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
            assert_eq!(leads.to_str(), Some("/dev/null"), "{fd} of the {name}");
        }
    }
    assert!(master.stop().success());
    // No output went into another open file, such as a database.
    fixture.push("noop", "{}", &[]);
    assert_eq!(fixture.counts("default").total, 3);
}

#[test]
fn refusal_without_streams_keeps_exit_code() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    let mut second = through_shell("exec 0<&- 1>&- 2>&-;", &fixture.listen_command(&[]));
    assert_eq!(second.status().unwrap().code(), Some(3));
    assert!(master.stop().success());
}

#[test]
fn unread_log_pipe_stops_nothing() {
    let fixture = Fixture::sqlite(POOL);
    let mut command = fixture.listen_command(&[]);
    let (read, write) = std::io::pipe().unwrap();
    let mut master = command.stderr(write).spawn().unwrap();
    drop(command);
    drop(read);
    serves(&fixture);
    let used = || fs::read_to_string(format!("/proc/{}/stat", master.id())).unwrap();
    let before = ticks(&used());
    fixture.push("sleep", r#"{"ms":1000}"#, &[]);
    fixture.until("default", "a second to pass", |c| c.reserved + c.waiting == 0);
    assert!(ticks(&used()) < before + 50, "the master does not spin");
    let printed = fixture.ok(&["queue:stop"]);
    assert!(printed.contains("has stopped"), "{printed}");
    assert!(until("its end", || master.try_wait().unwrap()).success());
}

#[test]
fn log_on_full_disk_stops_nothing() {
    let fixture = Fixture::sqlite(POOL);
    let mut command = fixture.listen_command(&[]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut master = command.stderr(full).spawn().unwrap();
    serves(&fixture);
    let output = fixture.run(&["queue:stop"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(until("its end", || master.try_wait().unwrap()).success());
}

/// The CPU time of a process, in hundredths of a second.
fn ticks(stat: &str) -> u64 {
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
