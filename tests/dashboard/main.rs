//! The dashboard of a real master in a real browser: scripts of this folder open its pages with Chromium and judge them.
//!
//! `AINT_QUEUE_SCREENSHOTS=1` keeps pictures of all pages in `target/dashboard-screenshots`.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;
#[path = "../support/prometheus.rs"]
mod prometheus_server;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/redis.rs"]
mod redis;

mod own_pages;
mod pictures;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use fixture::{BINARY, Fixture, Master, SQLITE, until};

/// Two channels with a master and one without.
const CHANNELS: &str = r#"
[channels.default]
worker = { type = "process-pool", min_worker_number = 1, max_worker_number = 2 }
[channels.mail]
worker = { type = "coroutine", max_coroutine = 4 }
[channels.legacy]
[[alerts.rule]]
name = "pile"
when = "waiting > 1000"
[alerts]
evaluate_every = 1
receivers = { log = { type = "log" } }
"#;

#[test]
fn pages_are_whole_quiet_and_accessible() {
    Site::open().run("pages.mjs");
}

#[test]
fn pages_follow_the_master_and_the_keys() {
    Site::open().run("live.mjs");
}

/// A master under load with a dashboard.
struct Site {
    fixture: Fixture,
    master: Option<Master>,
    address: String,
    /// Two browsers at once would take each other's time.
    _turn: MutexGuard<'static, ()>,
}

static BROWSER: Mutex<()> = Mutex::new(());

impl Site {
    fn open() -> Self {
        let fixture = Fixture::new(SQLITE, &format!("{CHANNELS}{}", http("127.0.0.1:0")));
        let site = Self::with(fixture, &["-t", "default", "-t", "mail"]);
        let job = |job: &str, data: &str| format!("{{\"job\":\"{job}\",\"payload\":{data}}}");
        site.fixture.push_lines("default", (0..3_000).map(|_| job("sleep", r#"{"ms":80}"#)));
        let hopeless = r#"{"message":"no such address","final":true}"#;
        site.fixture.push_lines("mail", (0..5).map(|_| job("fail", hopeless)));
        site.fixture.until("default", "jobs that ended", |counts| counts.done > 5);
        // A master that starts later has the same address.
        let own = http(&site.address);
        let config = format!("[defaults]\npid_path = \"run\"\ndriver = {SQLITE}\n{CHANNELS}{own}");
        site.fixture.write("aint-queue.toml", &config);
        site
    }

    /// Starts a master of some channels.
    fn with(fixture: Fixture, channels: &[&str]) -> Self {
        let turn = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
        let master = fixture.listen(channels);
        let address = until("the address of the listener", || {
            let log = master.log();
            let line = log.lines().find(|line| line.contains("\"http listening\""))?;
            let line: Value = serde_json::from_str(line).unwrap();
            Some(line.pointer("/fields/address").or_else(|| line.get("address"))?.as_str()?.to_owned())
        });
        Self { fixture, master: Some(master), address, _turn: turn }
    }

    /// The command that runs a script of this folder against the master.
    fn script(&self, name: &str) -> Command {
        let mut command = Command::new("node");
        command
            .arg(folder().join(name))
            .env("DASHBOARD_URL", format!("http://{}", self.address))
            .env("DASHBOARD_PACKAGES", packages());
        command
    }

    /// Runs a script to its end, and makes the changes that the script asks for by lines of its output.
    fn run(mut self, name: &str) {
        let complaints = self.fixture.file("complaints");
        let mut command = self.script(name);
        if std::env::var_os("AINT_QUEUE_SCREENSHOTS").is_some() {
            let pictures = target().join("dashboard-screenshots");
            fs::create_dir_all(&pictures).unwrap();
            command.env("DASHBOARD_PICTURES", pictures);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&complaints).unwrap());
        let mut browser = command.spawn().expect("node is there: tests/services.sh installs it");
        let mut answers = browser.stdin.take().unwrap();
        for change in BufReader::new(browser.stdout.take().unwrap()).lines() {
            match change.unwrap().as_str() {
                "stop" => assert!(self.master.take().unwrap().stop().success()),
                "start" => self.master = Some(self.fixture.listen(&["-t", "default", "-t", "mail"])),
                other => panic!("{name} asks for {other:?}"),
            }
            writeln!(answers, "made").unwrap();
        }
        let status = browser.wait().unwrap();
        let complaints = fs::read_to_string(&complaints).unwrap();
        assert!(status.success(), "{name} ended with {status}:\n{complaints}");
    }
}

/// The listener with a dashboard.
fn http(address: &str) -> String {
    format!(
        "[http]\nlisten = \"{address}\"\n[http.dashboard]\nenabled = true\ntitle = \"prod-1\"\n\
         anonymous = \"viewer\"\nviewers = {{ team = \"the-token-of-the-team\" }}\noperators = {{ ann = \"the-token-of-ann-1\" }}\n"
    )
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboard")
}

/// The folder of all that cargo builds.
fn target() -> PathBuf {
    Path::new(BINARY).ancestors().nth(2).unwrap().to_owned()
}

/// The packages of `package.json`.
fn packages() -> PathBuf {
    let packages = target().join("dashboard-test");
    let installed = packages.join("node_modules/playwright-core").exists();
    assert!(
        installed,
        "{} has no browser driver: run tests/services.sh, which installs it",
        packages.display()
    );
    packages
}
