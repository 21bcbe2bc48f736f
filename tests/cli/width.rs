//! Text fits the terminal: no line is wider, and no id is broken.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use console::measure_text_width;
use nix::pty::{Winsize, openpty};

use crate::fixture::Fixture;
use crate::support::until;

/// The widths of the terminals.
const WIDTHS: [usize; 2] = [80, 60];

/// Channels whose jobs and workers have long names and texts.
fn fixture() -> Fixture {
    let fixture = Fixture::with_config(
        r#"
[defaults]
pid_path = "run"
driver.path = "../aint-queue.db"
[channels.default.worker]
type = "process-pool"
command = ["sh", "-c", "exec sleep 600"]
protocol = "exec"
min_worker_number = 2
max_execute_seconds = 0
[channels.reports_reports_reports_reports_reports_reports_reports_reports_]
"#,
    );
    fixture
        .write("long.json", format!(r#"{{"text":"{}","words":"{}"}}"#, "x".repeat(300), "word ".repeat(60)));
    fixture
}

fn names() -> [String; 3] {
    ["n".repeat(100), format!("{}@task1", "app\\lib\\job\\".repeat(7)), "short".to_owned()]
}

/// Runs a command for a terminal of `width` columns, and checks the lines of its text.
fn check(fixture: &Fixture, args: &[&str], width: usize) -> String {
    let output = fixture.command(args).env("COLUMNS", width.to_string()).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    check_lines(args, &shown, width);
    shown
}

fn check_lines(args: &[&str], shown: &str, width: usize) {
    assert!(!shown.is_empty(), "{args:?} printed nothing");
    for line in shown.lines() {
        let columns = measure_text_width(line);
        assert!(columns <= width, "{args:?} at {width}: {columns} columns: {line}");
    }
}

#[test]
fn lists_and_sentences_fit_the_terminal() {
    let mut fixture = fixture();
    let errors = [
        format!("no route to {}", "host".repeat(50)),
        "数据库连接失败，请检查网络。".repeat(10),
        format!("{}\nsecond line of the error", "a long explanation of the failure ".repeat(8)),
    ];
    let failing: Vec<_> = names().into_iter().zip(&errors).collect();
    let failing: Vec<_> = failing.iter().map(|(name, error)| (name.as_str(), error.as_str())).collect();
    let failed = fixture.fail(&failing);
    let mut ids: Vec<_> = failed.iter().map(ToString::to_string).collect();
    let data = format!("@{}", fixture.path("long.json").display());
    for name in names() {
        ids.push(fixture.push(&[&name, "--data", &data]).to_string());
        let late = ["--delay", "1h", "--priority", "high", "--unique", &name];
        ids.push(fixture.push(&[&[name.as_str()], &late[..]].concat()).to_string());
    }
    for width in WIDTHS {
        let jobs = check(&fixture, &["queue:jobs", "--state", "waiting,delayed,failed"], width);
        let failed = check(&fixture, &["queue:failed"], width);
        for id in &ids {
            assert!(jobs.contains(id), "{id} at {width}: {jobs}");
            check(&fixture, &["queue:show", id], width);
            assert!(check(&fixture, &["queue:why", id], width).contains(id), "{id} at {width}");
        }
        assert!(ids.iter().filter(|id| failed.contains(*id)).count() == 3, "{failed}");
        for args in [
            &["queue:status", "--all"][..],
            &["queue:why"],
            &["list"],
            &["--help"],
            &["queue:failed", "--help"],
        ] {
            check(&fixture, args, width);
        }
    }
    // A pipe has whole lines, and JSON is whole everywhere.
    let piped = fixture.run(&["queue:show", &ids[0]]).out;
    assert!(piped.contains(&format!("no route to {}", "host".repeat(50))), "{piped}");
    let output = fixture.command(&["queue:show", &ids[0], "--json"]).env("COLUMNS", "60").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
    let key = fixture.command(&["config:check"]).env("COLUMNS", "60").output().unwrap();
    assert_eq!(String::from_utf8(key.stdout).unwrap(), fixture.run(&["config:check"]).out);
}

/// A master; dropping it ends it.
struct Master(Child);

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn tables_of_workers_fit_the_terminal() {
    let mut fixture = fixture();
    let log = || Stdio::from(File::create(fixture.path("log")).unwrap());
    let command = ["queue:listen", "-t", "default"];
    let mut listen = fixture.command(&command);
    let _master = Master(listen.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().unwrap());
    let id = fixture.push(&[&names()[1], "-t", "default"]).to_string();
    fixture.push(&[&names()[0], "-t", "default"]);
    until("both jobs to run", || {
        let status = fixture.run(&["queue:status", "--json", "-t", "default"]).out;
        status.contains("\"reserved\":2").then_some(())
    });
    for width in WIDTHS {
        let shown = check(&fixture, &["queue:status", "--workers", "-t", "default"], width);
        assert!(shown.contains(&id), "{shown}");
        check(&fixture, &["queue:why", &id, "-t", "default"], width);
        assert!(check(&fixture, &["queue:running", "-t", "default"], width).contains(&id));
        check(&fixture, &["queue:running", "--tree", "-t", "default"], width);
        check(&fixture, &["queue:history", "-t", "default"], width);
    }
}

#[test]
fn size_of_a_terminal_is_used() {
    let fixture = fixture();
    fixture.fail(&[(&names()[0], &"word ".repeat(100))]);
    let long = names()[0].clone() + " ";
    for (args, code) in [
        (&["queue:jobs", "--state", "failed"][..], 0),
        (&["queue:jobs", "-t", "a-channel-that-is-not-declared"], 2),
        (&["queue:push", &long], 2),
    ] {
        let size = Winsize { ws_row: 24, ws_col: 64, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let mut command = fixture.command(args);
        command.stdin(Stdio::null()).stdout(end(&pty.slave)).stderr(end(&pty.slave));
        let mut child = command.spawn().unwrap();
        drop((command, pty.slave));
        let (mut terminal, mut shown) = (File::from(pty.master), Vec::new());
        // The read fails once the last process has closed the terminal.
        let _ = terminal.read_to_end(&mut shown);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?}");
        check_lines(args, &String::from_utf8_lossy(&shown), 64);
    }
}
