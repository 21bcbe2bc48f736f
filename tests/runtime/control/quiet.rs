//! `queue:quiet`, `queue:resume`, SIGTSTP, SIGCONT.

use nix::sys::signal::Signal;

use crate::fixture::{Fixture, text, until};

const POOL: &str =
    "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 2\n";

fn is_quiet(fixture: &Fixture, channel: &str) -> bool {
    fixture.json(&["queue:status", "-t", channel])["quiet"].as_bool().unwrap()
}

#[test]
fn quiet_ends_runs_and_resume_continues() {
    let fixture = Fixture::sqlite(POOL);
    let master = fixture.listen(&[]);
    for _ in 0..5 {
        fixture.push("sleep", r#"{"ms":1500}"#, &[]);
    }
    fixture.until("default", "two to run", |c| c.reserved == 2);
    let said = fixture.ok(&["queue:quiet"]);
    assert_eq!(
        said,
        "The master of channel \"default\" is quiet: it leases no more jobs until queue:resume. 2 jobs are still running.\n"
    );
    let counts = fixture.until("default", "those to end", |c| c.reserved == 0);
    assert_eq!((counts.done, counts.waiting), (2, 3));
    let again = fixture.json(&["queue:quiet"]);
    assert_eq!((&again[0]["was_quiet"], &again[0]["running"]), (&true.into(), &0.into()));
    let shown = fixture.ok(&["queue:status"]);
    assert!(shown.contains("\nQuiet: the master on this machine leases no jobs.\n"), "{shown}");
    assert!(fixture.ok(&["queue:status", "--metrics"]).contains("aint_queue_quiet{channel=\"default\"} 1"));
    assert_eq!(fixture.counts("default").waiting, 3);

    let said = fixture.ok(&["queue:resume"]);
    assert_eq!(said, "The master of channel \"default\" is no longer quiet; the channel was not paused.\n");
    fixture.until("default", "all to be done", |c| c.done == 5);
    assert!(!is_quiet(&fixture, "default"));
    let said = fixture.ok(&["queue:resume"]);
    assert!(said.starts_with("Nothing to resume: "), "{said}");
    fixture.ok(&["queue:quiet"]);
    let stopped = fixture.ok(&["queue:stop"]);
    assert_eq!(stopped, "Channel \"default\" has stopped.\n");
    assert!(master.wait().success());
}

#[test]
fn signals_quiet_and_resume_every_channel() {
    let fixture = Fixture::sqlite("[channels.default]\n[channels.mail.worker]\ntype = \"coroutine\"\n");
    let master = fixture.listen(&["--all"]);
    let both = |quiet| {
        move |fixture: &Fixture| ["default", "mail"].map(|channel| is_quiet(fixture, channel)) == [quiet; 2]
    };
    for _ in 0..2 {
        master.signal(Signal::SIGTSTP);
        until("both to be quiet", || both(true)(&fixture).then_some(()));
        fixture.push("noop", "{}", &[]);
        fixture.push("noop", "{}", &["-t", "mail"]);
        assert_eq!(["default", "mail"].map(|channel| fixture.counts(channel).waiting), [1, 1]);
        master.signal(Signal::SIGCONT);
        until("both to go on", || both(false)(&fixture).then_some(()));
        for channel in ["default", "mail"] {
            fixture.until(channel, "its job to be done", |c| c.waiting + c.reserved == 0);
        }
    }
    // Without quiet, resume has no effect.
    master.signal(Signal::SIGCONT);
    master.signal(Signal::SIGTSTP);
    until("both to be quiet", || both(true)(&fixture).then_some(()));
    assert_eq!(master.log().matches("no longer quiet").count(), 4);
    assert!(master.stop().success());
}

#[test]
fn signal_before_serving_is_not_lost() {
    let fixture = Fixture::sqlite(POOL);
    let mut command = fixture.listen_command(&[]);
    // The signal stays pending until the master installs its handlers.
    let own = std::process::id();
    use std::os::unix::process::CommandExt;
    #[expect(unsafe_code, reason = "the only way to be early enough")]
    // SAFETY: both calls may be made between fork and exec.
    unsafe {
        command.pre_exec(move || {
            assert_ne!(std::process::id(), own);
            nix::sys::signal::SigSet::from_iter([Signal::SIGTSTP]).thread_block()?;
            nix::sys::signal::raise(Signal::SIGTSTP)?;
            Ok(())
        });
    }
    let master = fixture.listening(command);
    until("it to be quiet", || is_quiet(&fixture, "default").then_some(()));
    assert!(master.stop().success());
}

#[test]
fn quiet_survives_reexec() {
    let channels: String = (0..30)
        .map(|n| format!("[channels.c{n}.worker]\ntype = \"process\"\ncommand = [\"true\"]\n"))
        .collect();
    let fixture = Fixture::sqlite(&format!("memory_limit = 16\n{POOL}{channels}"));
    let master = fixture.listen(&["--all"]);
    fixture.ok(&["queue:quiet", "-t", "default", "-t", "c3"]);
    fixture.push("noop", "{}", &[]);
    fixture.push("noop", "{}", &["-t", "c4"]);
    until("the re-exec", || (master.log().matches("\"message\":\"listening\"").count() == 2).then_some(()));
    let quiet: Vec<_> =
        ["default", "c3", "c4"].into_iter().filter(|channel| is_quiet(&fixture, channel)).collect();
    assert_eq!(quiet, ["default", "c3"]);
    fixture.until("c4", "its job to be done", |c| c.done == 1);
    assert_eq!(fixture.counts("default").waiting, 1);
    fixture.ok(&["queue:resume"]);
    fixture.until("default", "its job to be done", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn quiet_without_a_master_is_reported() {
    let fixture = Fixture::sqlite(POOL);
    let output = fixture.run(&["queue:quiet"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("its master is not running on this machine\nhint: queue:listen"));
    for args in [&["queue:quiet", "--all"][..], &["queue:quiet", "--all", "--json"]] {
        let output = fixture.run(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(text(&output.stderr).contains("no master"), "{}", text(&output.stderr));
    }
}
