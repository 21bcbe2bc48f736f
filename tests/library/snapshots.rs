//! Handlers of snapshots that an application registers, in a real master.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aint_queue::{App, HandlerError, Snapshot, SnapshotHandler};

use crate::fixture::until_async;
use crate::jobs::LOG;

/// Environment variable with the path of the file of snapshots.
const SNAPSHOTS: &str = "LIBRARY_TEST_SNAPSHOTS";

/// Environment variable with the name of a further handler.
const NAME: &str = "LIBRARY_TEST_HANDLER_NAME";

pub fn register(app: App) -> App {
    let app = app
        .snapshot_handler("writes", Writes)
        .snapshot_handler("panics", Panics)
        .snapshot_handler("hangs", Hangs);
    match std::env::var(NAME) {
        Ok(name) => app.snapshot_handler(name, Panics),
        Err(_) => app,
    }
}

struct Writes;
struct Panics;
struct Hangs;

impl SnapshotHandler for Writes {
    async fn handle(&self, snapshot: Snapshot) -> Result<(), HandlerError> {
        std::fs::write(std::env::var(SNAPSHOTS)?, format!("{} {}", snapshot.channel, snapshot.status.done))?;
        Ok(())
    }
}

impl SnapshotHandler for Panics {
    async fn handle(&self, snapshot: Snapshot) -> Result<(), HandlerError> {
        panic!("no snapshot of {}", snapshot.channel)
    }
}

impl SnapshotHandler for Hangs {
    async fn handle(&self, _: Snapshot) -> Result<(), HandlerError> {
        loop {
            std::thread::park();
        }
    }
}

struct Master(Child);

impl Drop for Master {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn registered_handlers_get_snapshots_and_bad_ones_delay_no_job() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    std::fs::write(
        file("aint-queue.toml"),
        "[channels.default]\npid_path = \"run\"\njob_snapshot.interval = 1\nworker = { type = \"process-pool\", min_worker_number = 1 }\n",
    )
    .unwrap();
    let command = |args: &[&str]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(args)
            .arg("--config")
            .arg(file("aint-queue.toml"))
            .env(SNAPSHOTS, file("snapshots"))
            .env(LOG, file("jobs"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let log = std::fs::File::create(file("log")).unwrap();
    let mut master = Master(command(&["queue:listen"]).stderr(log).spawn().unwrap());
    let logged = || std::fs::read_to_string(file("log")).unwrap_or_default();
    until_async("the panic", || async {
        logged().contains("panicked: no snapshot of default").then_some(())
    })
    .await;
    let begun = Instant::now();
    for _ in 0..3 {
        let pushed = command(&["queue:push", "ticks", "--data", r#"{"n":1}"#]).stderr(Stdio::null()).status();
        assert!(pushed.unwrap().success());
    }
    let seen = || std::fs::read_to_string(file("snapshots")).unwrap_or_default();
    until_async("the jobs in a snapshot", || async { (seen() == "default 3").then_some(()) }).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let hangs = "no return within 10 s: snapshots are left out until it returns";
    until_async("the hang", || async { logged().contains(hangs).then_some(()) }).await;
    let log = logged();
    let failures = log.lines().filter(|line| line.contains("snapshot handler failed")).count();
    assert_eq!(failures, 2, "{log}");
    assert!(!log.contains("please report this bug"), "{log}");
    assert!(command(&["queue:stop"]).stderr(Stdio::null()).status().unwrap().success());
    assert!(master.0.wait().unwrap().success());
}

pub async fn handler_with_an_unusable_name_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("aint-queue.toml");
    std::fs::write(&file, "[channels.default]\npid_path = \"run\"\n").unwrap();
    for (name, why) in [
        ("writes", "the name \"writes\" of a snapshot handler of this program: another handler has it"),
        ("a\nb", "the name \"a\\nb\" of a snapshot handler of this program: use 1 to 60 of the characters"),
        ("", "the name \"\" of a snapshot handler"),
    ] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let listen =
            command.args(["queue:listen", "--config"]).arg(&file).env(NAME, name).stdin(Stdio::null());
        let ended = listen.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(4), "{said}");
        assert!(said.contains(why), "{said}");
    }
}
