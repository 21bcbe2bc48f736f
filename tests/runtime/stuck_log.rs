//! A reader of the log that reads nothing: the service continues, and every way out ends in time.

use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{Fixture, children, until};

const POOL: &str =
    "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_execute_seconds = 120\n";

/// Longest time of a way out: one second for the flush, the rest for a busy machine.
const LONGEST_EXIT: Duration = Duration::from_secs(10);

/// A pipe without room. It breaks when its reader is dropped.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let set = |flags| fcntl(writer.as_fd(), FcntlArg::F_SETFL(flags)).unwrap();
    set(OFlag::O_NONBLOCK);
    for length in [4096, 1] {
        while (&mut &writer).write(&vec![b'x'; length]).is_ok() {}
    }
    set(OFlag::empty());
    (reader, writer)
}

/// Starts the command with a full pipe as its standard error.
fn start_stuck(mut command: Command) -> (Process, PipeReader) {
    let (reader, writer) = full_pipe();
    let child = command.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    (Process(child), reader)
}

/// A process that is killed when the test ends before it.
struct Process(Child);

impl std::ops::Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serving(fixture: &Fixture, master: &mut Child) {
    until("the control socket", || {
        assert_eq!(master.try_wait().unwrap(), None, "the master has ended");
        fixture.file("run/default.sock").exists().then_some(())
    });
}

/// Waits for the end of the process, which must come in time.
fn ended(mut child: Process, begun: Instant) -> ExitStatus {
    let status = until("the end", || child.try_wait().unwrap());
    assert!(begun.elapsed() < LONGEST_EXIT, "it took {:?}", begun.elapsed());
    status
}

#[test]
fn commands_and_signals_stop_a_master() {
    let fixture = Fixture::sqlite(POOL);
    for by_signal in [true, false] {
        let (mut master, _reader) = start_stuck(fixture.listen_command(&[]));
        serving(&fixture, &mut master);
        // The log of this job finds no room either.
        fixture.push("print", r#"{"kib":1024}"#, &[]);
        fixture.until("default", "the job", |c| c.done > 0 && c.reserved + c.waiting == 0);
        let begun = Instant::now();
        if by_signal {
            kill(Pid::from_raw(master.id().cast_signed()), Signal::SIGTERM).unwrap();
        } else {
            fixture.ok(&["queue:stop"]);
        }
        assert!(ended(master, begun).success());
    }
}

#[test]
fn refused_start_ends_with_its_exit_code() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    let begun = Instant::now();
    let (second, _reader) = start_stuck(fixture.listen_command(&[]));
    assert_eq!(ended(second, begun).code(), Some(3));
    assert!(master.stop().success());

    fixture.write("aint-queue.toml", "[channels.default]\nno_such_key = 1\n");
    for format in ["text", "json"] {
        let begun = Instant::now();
        let command = fixture.command(&["queue:listen", "--log-format", format]);
        let (third, _reader) = start_stuck(command);
        assert_eq!(ended(third, begun).code(), Some(4));
    }
}

#[test]
fn reexec_keeps_the_service_running() {
    let mut channels =
        String::from("memory_limit = 16\n[channels.default.worker]\ntype = \"process-pool\"\n");
    for i in 0..30 {
        channels.push_str(&format!("[channels.c{i}.worker]\ncommand = [\"true\"]\n"));
    }
    let fixture = Fixture::sqlite(&channels);
    let (mut master, _reader) = start_stuck(fixture.listen_command(&["--all"]));
    serving(&fixture, &mut master);
    let pid = master.id().cast_signed();
    let guardian = until("the guardian", || children(pid).first().copied());
    until("the re-exec", || children(pid).iter().any(|child| *child != guardian).then_some(()));
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    let begun = Instant::now();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert!(ended(master, begun).success());
}

#[test]
fn foreground_run_ends() {
    let fixture = Fixture::sqlite(POOL);
    fixture.push("print", r#"{"kib":1024}"#, &[]);
    let begun = Instant::now();
    let (run, _reader) = start_stuck(fixture.command(&["queue:run"]));
    assert!(ended(run, begun).success());
    assert_eq!(fixture.counts("default").done, 1);
}

#[test]
fn foreground_run_with_stuck_result_ends_at_a_signal() {
    let fixture = Fixture::sqlite(POOL);
    fixture.push("noop", "{}", &[]);
    let (reader, writer) = full_pipe();
    let mut command = fixture.command(&["queue:run"]);
    let mut run = Process(command.stdout(writer).stderr(Stdio::null()).spawn().unwrap());
    drop(command);
    fixture.until("default", "the job", |c| c.done == 1);
    let pid = run.id().cast_signed();
    until("the end of the guardian", || run.try_wait().unwrap().is_some() || children(pid).is_empty());
    let begun = Instant::now();
    until("the end", || {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        run.try_wait().unwrap()
    });
    assert!(begun.elapsed() < LONGEST_EXIT, "it took {:?}", begun.elapsed());
    drop(reader);
}

#[test]
fn slow_reader_gets_own_lines_and_a_report_of_drops() {
    let fixture = Fixture::sqlite(POOL);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = fixture.listen_command(&[]);
    let mut master = Process(command.stdout(Stdio::null()).stderr(writer).spawn().unwrap());
    drop(command);
    serving(&fixture, &mut master);
    fixture.push("print", r#"{"kib":4096}"#, &[]);
    fixture.until("default", "the noise", |c| c.done == 1);
    for _ in 0..20 {
        fixture.push("fail", "{}", &["--max-attempts", "1"]);
    }
    fixture.until("default", "the failures", |c| c.failed == 20);
    // The reader wakes up: the lines about the failures are there, and the drops are reported without a stop.
    let (lines, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(&mut reader)) {
            let _ = lines.send(line.unwrap());
        }
    });
    let mut failures = 0;
    let mut reported = false;
    while failures < 20 || !reported {
        let line = received.recv_timeout(crate::fixture::WAIT_DEADLINE).unwrap();
        failures += usize::from(line.contains("\"job failed\""));
        reported |= line.contains("log read too slowly: lines were dropped");
    }
    kill(Pid::from_raw(master.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(ended(master, Instant::now()).success());
}
