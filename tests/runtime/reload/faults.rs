//! Whoever dies or stops in the middle of a reload.

use nix::sys::signal::Signal;

use crate::redis::Server;
use crate::site::{Master, Site, text, until};

use super::{
    Asked, TWO, configure, in_state, kill_9, program, reload, report, served_by, serving, site, wait,
};

/// A site with two workers whose next generation boots until the file "held" is gone.
fn held() -> (Site, Master, Asked) {
    let site = site(&format!("{TWO}command = [\"./worker.sh\"]\nprotocol = \"wire\""));
    program(&site, "worker.sh", "while [ -e held ]; do sleep 0.02; done");
    let master = site.listen(&[]);
    served_by(&site, "default", 2);
    site.write("held", "");
    let asked = Asked::reload(&site, "default");
    until("the first of the next generation", || {
        (in_state(&site, "default", "booting").len() == 1).then_some(())
    });
    (site, master, asked)
}

fn let_go(site: &Site) {
    std::fs::remove_file(site.file("held")).unwrap();
}

#[test]
fn a_first_worker_that_is_killed_is_a_reload_that_failed() {
    let (site, master, asked) = held();
    let old = serving(&site, "default");
    kill_9(in_state(&site, "default", "booting")[0]);
    let (why, invalid) = asked.refused();
    assert!(!invalid && why.contains("was killed by SIGKILL before it was ready"), "{why}");
    assert_eq!(serving(&site, "default"), old);
    let_go(&site);
    assert_eq!(reload(&site)["generation"], 3);
    assert!(master.stop().success());
}

#[test]
fn a_guardian_that_is_killed_takes_all_workers_along_and_the_reload_goes_on() {
    let (site, master, asked) = held();
    kill_9(master.guardian());
    let_go(&site);
    assert_eq!(asked.end()["ok"]["reloaded"]["generation"], 2);
    let now = served_by(&site, "default", 2);
    assert!(now.values().all(|generation| *generation == 2), "{now:?}");
    site.push("noop", "{}", &[]);
    site.until("default", "a job", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn a_stop_ends_a_reload_and_whoever_waits_for_it_is_told() {
    for forced in [false, true] {
        let (site, master, asked) = held();
        let mut more: Vec<_> = (0..3).map(|_| Asked::reload(&site, "default").begun()).collect();
        more.push(asked);
        let command = site.command(&["queue:reload"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let begun = std::time::Instant::now();
        if forced {
            site.ok(&["queue:stop", "--force"]);
        } else {
            master.signal(Signal::SIGTERM);
        }
        for asked in more {
            let (why, invalid) = asked.refused();
            assert!(!invalid && (why == "the channel is stopping"), "{why}");
        }
        let output = command.wait_with_output().unwrap();
        // It may have come too late to find anybody.
        assert!(matches!(output.status.code(), Some(1 | 3)), "{}", text(&output.stderr));
        assert!(master.wait().success());
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_reload_during_a_stop_is_refused_and_the_stop_goes_on() {
    let site = site(TWO);
    let socket = std::os::unix::net::UnixDatagram::bind(site.file("notify.sock")).unwrap();
    let mut command = site.listen_command(&[]);
    command.env("NOTIFY_SOCKET", site.file("notify.sock"));
    let master = site.listening(command);
    served_by(&site, "default", 2);
    site.push("sleep", r#"{"ms":1500}"#, &[]);
    site.until("default", "it to run", |c| c.reserved == 1);
    master.signal(Signal::SIGTERM);
    until("the stop", || (report(&site, "default")["stopping"] == true).then_some(()));
    let (code, said) = super::refused(&site);
    assert!(code == 1 && said.contains("the channel is stopping"), "{said}");
    assert!(!said.contains("as before"), "nothing goes on: {said}");
    master.signal(Signal::SIGUSR1);
    let log = master.log_path();
    assert!(master.wait().success());
    assert_eq!(site.counts("default").done, 1, "the stop waited");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.contains("goes on as before"), "{log}");
    let heard = std::iter::from_fn(|| {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).ok()?;
        Some(text(&buffer[..length]))
    });
    let heard: Vec<_> = heard.skip_while(|words| !words.contains("STOPPING=1")).collect();
    assert!(!heard.is_empty() && !heard.iter().any(|words| words.contains("RELOADING=1")), "{heard:?}");
}

#[test]
fn a_channel_whose_program_does_not_start_is_mended_by_a_reload() {
    let settings = |command: &str| {
        format!("[channels.default.worker]\n{TWO}command = [\"{command}\"]\nprotocol = \"wire\"")
    };
    let site = Site::sqlite(&settings("false"));
    program(&site, "good.sh", "");
    let master = site.listen(&[]);
    site.push("noop", "{}", &[]);
    until("it to be degraded", || (report(&site, "default")["pool"]["degraded"] == true).then_some(()));
    configure(&site, &settings("./good.sh"));
    assert_eq!(reload(&site)["generation"], 2);
    site.until("default", "the job", |c| c.done == 1);
    assert_eq!(served_by(&site, "default", 2).len(), 2);
    let shown = report(&site, "default");
    assert!(shown["pool"]["degraded"] == false && shown["worker_error"].is_null(), "{shown}");
    assert!(master.stop().success());
}

#[test]
fn a_first_worker_that_grows_beyond_the_hard_limit_is_a_reload_that_failed() {
    let settings = |limit: u32, command: &str| {
        format!(
            "[channels.default.worker]\n{TWO}memory_limit = 20\nmemory_hard_limit = {limit}\ncommand = [\"{command}\"]\nprotocol = \"wire\""
        )
    };
    let site = Site::sqlite(&settings(60, "./good.sh"));
    program(&site, "good.sh", "");
    site.write(
        "fat.sh",
        "#!/bin/sh\nexec python3 -c 'import time; x = bytearray(b\"x\" * (100 << 20)); time.sleep(60)'\n",
    );
    let master = site.listen(&[]);
    let old = served_by(&site, "default", 2);
    configure(&site, &settings(60, "./fat.sh"));
    let asked = Asked::reload(&site, "default");
    // Memory is looked at while there is work.
    site.push_lines("default", (0..40).map(|_| r#"{"job":"sleep","payload":{"ms":100}}"#.to_owned()));
    let (why, _) = asked.refused();
    assert!(why.contains("memory_hard_limit"), "{why}");
    assert_eq!(serving(&site, "default"), old);
    assert!(master.force_stop().success());
}

#[test]
fn a_first_worker_whose_hello_comes_beyond_the_hard_limit_is_a_reload_that_failed() {
    let settings = |command: &str| {
        format!(
            "[channels.default.worker]\n{TWO}memory_limit = 20\nmemory_hard_limit = 60\ncommand = [\"{command}\"]\nprotocol = \"wire\""
        )
    };
    let site = Site::sqlite(&settings("./good.sh"));
    program(&site, "good.sh", "");
    let worker = "import os, time\n\
        kept = b'x' * (100 << 20)\n\
        os.write(3, b'{\"type\":\"hello\",\"protocol\":1,\"jobs\":[\"noop\"]}\\n')\n\
        time.sleep(600)\n";
    site.write("fat.py", worker);
    site.write("fat.sh", "#!/bin/sh\nexec python3 fat.py\n");
    let master = site.listen(&[]);
    let old = served_by(&site, "default", 2);
    configure(&site, &settings("./fat.sh"));
    let (why, _) = Asked::reload(&site, "default").refused();
    assert!(why.contains("before its first job, more than memory_hard_limit = 60 MiB"), "{why}");
    assert_eq!(serving(&site, "default"), old);
    assert!(master.stop().success());
}

#[test]
fn workers_are_replaced_while_the_store_is_away() {
    let mut server = Server::start();
    let port = server.config().port;
    let site = Site::new(
        &format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#),
        &format!("[channels.default.worker]\n{TWO}"),
    );
    let master = site.listen(&[]);
    served_by(&site, "default", 2);
    site.push("sleep", r#"{"ms":700}"#, &[]);
    site.until("default", "it to run", |c| c.reserved == 1);
    server.kill();
    until("the master to notice", || master.log().contains("trying again").then_some(()));
    let reloading = site.command(&["queue:reload", "--quiet"]).spawn().unwrap();
    assert_eq!(wait(reloading), 0);
    let now = served_by(&site, "default", 2);
    assert!(now.values().all(|generation| *generation == 2), "{now:?}");
    assert!(master.force_stop().success());
}
