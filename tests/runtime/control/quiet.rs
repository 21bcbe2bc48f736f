//! `queue:quiet`, `queue:resume`, SIGTSTP, SIGCONT.

use nix::sys::signal::Signal;

use crate::site::{Site, text, until};

const POOL: &str =
    "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 2\n";

fn is_quiet(site: &Site, channel: &str) -> bool {
    site.json(&["queue:status", "-t", channel])["quiet"].as_bool().unwrap()
}

#[test]
fn what_runs_ends_nothing_begins_and_resume_goes_on() {
    let site = Site::sqlite(POOL);
    let master = site.listen(&[]);
    for _ in 0..5 {
        site.push("sleep", r#"{"ms":500}"#, &[]);
    }
    site.until("default", "two to run", |c| c.reserved == 2);
    let said = site.ok(&["queue:quiet"]);
    assert_eq!(
        said,
        "The master of channel \"default\" is quiet: it takes no more jobs until queue:resume. 2 jobs still run.\n"
    );
    let counts = site.until("default", "those to end", |c| c.reserved == 0);
    assert_eq!((counts.done, counts.waiting), (2, 3));
    let again = site.json(&["queue:quiet"]);
    assert_eq!((&again[0]["was_quiet"], &again[0]["running"]), (&true.into(), &0.into()));
    let shown = site.ok(&["queue:status"]);
    assert!(shown.contains("\nQuiet: the master on this machine takes no jobs.\n"), "{shown}");
    assert!(site.ok(&["queue:status", "--metrics"]).contains("aint_queue_quiet{channel=\"default\"} 1"));
    assert_eq!(site.counts("default").waiting, 3);

    let said = site.ok(&["queue:resume"]);
    assert_eq!(said, "The master of channel \"default\" is no longer quiet; there was no pause.\n");
    site.until("default", "all to be done", |c| c.done == 5);
    assert!(!is_quiet(&site, "default"));
    let said = site.ok(&["queue:resume"]);
    assert!(said.starts_with("There is nothing to end: "), "{said}");
    site.ok(&["queue:quiet"]);
    let stopped = site.ok(&["queue:stop"]);
    assert_eq!(stopped, "Channel \"default\" has stopped.\n");
    assert!(master.wait().success());
}

#[test]
fn signals_quiet_every_channel_and_let_them_go_on() {
    let site = Site::sqlite("[channels.default]\n[channels.mail.worker]\ntype = \"coroutine\"\n");
    let master = site.listen(&["--all"]);
    let both =
        |quiet| move |site: &Site| ["default", "mail"].map(|channel| is_quiet(site, channel)) == [quiet; 2];
    for _ in 0..2 {
        master.signal(Signal::SIGTSTP);
        until("both to be quiet", || both(true)(&site).then_some(()));
        site.push("noop", "{}", &[]);
        site.push("noop", "{}", &["-t", "mail"]);
        assert_eq!(["default", "mail"].map(|channel| site.counts(channel).waiting), [1, 1]);
        master.signal(Signal::SIGCONT);
        until("both to go on", || both(false)(&site).then_some(()));
        for channel in ["default", "mail"] {
            site.until(channel, "its job to be done", |c| c.waiting + c.reserved == 0);
        }
    }
    // One that is not quiet has nothing to go on with.
    master.signal(Signal::SIGCONT);
    master.signal(Signal::SIGTSTP);
    until("both to be quiet", || both(true)(&site).then_some(()));
    assert_eq!(master.log().matches("no longer quiet").count(), 4);
    assert!(master.stop().success());
}

#[test]
fn a_signal_that_comes_before_it_serves_is_not_lost() {
    let site = Site::sqlite(POOL);
    let mut command = site.listen_command(&[]);
    // Held back by the system until the master takes its signals over, as any that comes so early.
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
    let master = site.listening(command);
    until("it to be quiet", || is_quiet(&site, "default").then_some(()));
    assert!(master.stop().success());
}

#[test]
fn a_master_that_begins_anew_stays_quiet() {
    let channels: String = (0..30)
        .map(|n| format!("[channels.c{n}.worker]\ntype = \"process\"\ncommand = [\"true\"]\n"))
        .collect();
    let site = Site::sqlite(&format!("memory_limit = 16\n{POOL}{channels}"));
    let master = site.listen(&["--all"]);
    site.ok(&["queue:quiet", "-t", "default", "-t", "c3"]);
    site.push("noop", "{}", &[]);
    site.push("noop", "{}", &["-t", "c4"]);
    until("it to begin anew", || {
        (master.log().matches("\"message\":\"listening\"").count() == 2).then_some(())
    });
    let quiet: Vec<_> =
        ["default", "c3", "c4"].into_iter().filter(|channel| is_quiet(&site, channel)).collect();
    assert_eq!(quiet, ["default", "c3"]);
    site.until("c4", "its job to be done", |c| c.done == 1);
    assert_eq!(site.counts("default").waiting, 1);
    site.ok(&["queue:resume"]);
    site.until("default", "its job to be done", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn without_a_master_it_says_so() {
    let site = Site::sqlite(POOL);
    let output = site.run(&["queue:quiet"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("its master is not running on this machine\nhint: queue:listen"));
    assert_eq!(site.ok(&["queue:quiet", "--all"]), "No master is running.\n");
    assert_eq!(site.ok(&["queue:quiet", "--all", "--json"]), "[]\n");
}
