//! Signals in random order and at random moments: no hang, no process left, the right exit code.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{self, *};
use serde_json::Value;

use crate::fixture::random::seeded;
use crate::fixture::{Fixture, Master, until};
use crate::measurements::{MARK, inherited, mark, size};

const POOL: &str = "[channels.default]\nstop_wait_seconds = 5\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 2\n";
/// Signals that reload or do nothing. SIGHUP is a reload here, because the master has no terminal.
const HARMLESS: [Signal; 10] =
    [SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGCHLD, SIGWINCH, SIGPIPE, SIGTSTP, SIGCONT];
const STOPS: [Signal; 3] = [SIGTERM, SIGINT, SIGQUIT];
/// The time within which a master must exit after a stop signal.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

/// A random sequence of signals; about every third contains stop signals.
fn sequence(random: &mut fastrand::Rng) -> Vec<Signal> {
    let stops = random.usize(..3) == 0;
    let one = |random: &mut fastrand::Rng| {
        if stops && random.usize(..4) == 0 { STOPS[random.usize(..3)] } else { HARMLESS[random.usize(..10)] }
    };
    (0..random.usize(1..12)).map(|_| one(random)).collect()
}

/// The stop signals that this process does not ignore. A shell starts background processes with some of them ignored, and a
/// master inherits that until it installs its handlers.
fn unignored_signals() -> Vec<Signal> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let ignored = u64::from_str_radix(mask, 16).unwrap();
    STOPS.into_iter().filter(|signal| ignored & (1 << (*signal as u32 - 1)) == 0).collect()
}

/// The pool's status; an error means that the master is exiting.
fn pool(fixture: &Fixture) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(fixture.file("run/default.sock"))?;
    stream.set_read_timeout(Some(EXIT_LIMIT))?;
    stream.write_all(b"{\"command\":\"status\"}\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let mut answer: Value = serde_json::from_str(&line)?;
    Ok(answer["ok"]["status"]["report"]["pool"].take())
}

/// Waits for the end of all reloads; returns the number of reloads of this master.
fn reloaded(fixture: &Fixture) -> u64 {
    until("the reloads to end", || {
        let pool = pool(fixture).unwrap();
        let (generation, rows) = (pool["generation"].as_u64().unwrap(), pool["rows"].as_array().unwrap());
        let is_new = |row: &Value| {
            row["generation"] == generation && (row["state"] == "idle" || row["state"] == "busy")
        };
        if generation > 1 && pool["reload"].is_null() && rows.len() == 2 && rows.iter().all(is_new) {
            Ok(generation - 1)
        } else {
            Err(pool)
        }
    })
}

#[test]
fn random_signals_never_hang_the_master() {
    let mut random = seeded("random_signals_never_hang_the_master");
    let fixture = Fixture::sqlite(POOL);
    fixture.push_lines("default", (0..2_000).map(|_| r#"{"job":"sleep","payload":{"ms":10}}"#.to_owned()));
    let mark = mark();
    let listen = || {
        let mut command = fixture.listen_command(&[]);
        command.env(MARK, &mark);
        fixture.listening(command)
    };
    let mut master: Option<Master> = None;
    // Whether a reload was requested of the running master; the number of reloads of all masters.
    let (mut asked_to_reload, mut reloads) = (false, 0);
    let (mut ended, rounds) = (0, size(200, 10_000));
    for round in 0..rounds {
        let serving = master.get_or_insert_with(listen);
        let sent = sequence(&mut random);
        for signal in &sent {
            // The master may have exited; its pid stays reserved until it is reaped.
            serving.signal(*signal);
            if random.bool() {
                std::thread::sleep(Duration::from_micros(random.u64(..3_000)));
            }
        }
        asked_to_reload |= sent.iter().any(|signal| matches!(signal, SIGHUP | SIGUSR1));
        if !sent.iter().any(|signal| STOPS.contains(signal)) {
            let said = pool(&fixture).unwrap_or_else(|e| panic!("round {round}: {sent:?} ended it: {e}"));
            assert!(said.is_object(), "round {round}: {sent:?}: {said}");
            // From time to time all requested reloads must end, with every worker serving.
            if asked_to_reload && random.usize(..8) == 0 {
                reloads += reloaded(&fixture);
            }
            continue;
        }
        asked_to_reload = false;
        let asked = Instant::now();
        let status = master.take().unwrap().wait();
        assert!(asked.elapsed() < EXIT_LIMIT, "round {round}: {sent:?} took {:?}", asked.elapsed());
        assert!(status.success(), "round {round}: {sent:?} ended it with {status}");
        assert_eq!(inherited(&mark), [0i32; 0], "round {round}: {sent:?}");
        ended += 1;
    }
    println!("{rounds} sequences, {ended} of them ended the master, at least {reloads} reloads to the end");
    assert!(reloads > 0, "no reload was seen: nothing was tested");
    if let Some(master) = master {
        assert!(master.stop().success());
    }
    let counts = fixture.counts("default");
    assert_eq!((counts.total, counts.failed, counts.reserved), (2_000, 0, 0));
}

#[test]
fn stop_signals_during_startup_end_the_master() {
    let rounds = size(60, 3_000);
    let offsets = Duration::from_millis(300);
    let stops = unignored_signals();
    let (mut early, mut before, mut served) = (0, 0, 0);
    for round in 0..rounds {
        let fixture = Fixture::sqlite(POOL);
        let mark = mark();
        let signal = stops[round % stops.len()];
        let mut command = fixture.listen_command(&[]);
        command.env(MARK, &mark);
        let master = fixture.start(command);
        std::thread::sleep(offsets * u32::try_from(round).unwrap() / u32::try_from(rounds).unwrap());
        master.signal(signal);
        let asked = Instant::now();
        let log = master.log_path();
        let status = master.wait();
        assert!(asked.elapsed() < EXIT_LIMIT, "{signal} in round {round} took {:?}", asked.elapsed());
        let log = std::fs::read_to_string(log).unwrap();
        match status.signal() {
            // The default action of the kernel, before the program has installed its handlers.
            Some(by) => {
                assert_eq!(by, signal as i32, "round {round}: {log}");
                assert!(log.is_empty() && !fixture.file("run").exists(), "round {round}: {log}");
                early += 1;
            }
            None => assert!(status.success(), "{signal} in round {round} ended it with {status}: {log}"),
        }
        before += usize::from(log.contains("stopped during start"));
        served += usize::from(log.contains("\"listening\""));
        until("no process to be left", || inherited(&mark).is_empty().then_some(()));
        assert!(!fixture.file("run/default-master.pid").exists(), "round {round}: {log}");
        assert!(!fixture.file("run/default.sock").exists(), "round {round}: {log}");
    }
    println!(
        "{rounds} starts: {early} before the signal handlers, {before} before they served, {served} while serving"
    );
    assert!(early < rounds / 2 && before + served > 0);
}
