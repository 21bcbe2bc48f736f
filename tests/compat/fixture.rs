//! A directory with a configuration and a store, the program under test at work in it, and the recorded documents.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/wait.rs"]
mod wait;

pub(crate) use wait::until;

/// Written in place of the directory of a test.
const DIRECTORY: &str = "/srv/shop";
const RECORD: &str = "AINT_QUEUE_COMPAT_RECORD";

/// The program that answers: the one under test, or the one to record.
pub fn program() -> PathBuf {
    std::env::var_os(RECORD).map_or_else(|| env!("CARGO_BIN_EXE_aint-queue").into(), PathBuf::from)
}

/// The recorded document of this name.
pub fn load<T: DeserializeOwned>(name: &str) -> T {
    let path = path_of(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The recorded document of this name, to be compared with `now`, which becomes the document while recording.
pub fn recorded<T: Serialize + DeserializeOwned>(name: &str, now: &T) -> T {
    if std::env::var_os(RECORD).is_some() {
        fs::write(path_of(name), serde_json::to_string_pretty(now).unwrap() + "\n").unwrap();
    }
    load(name)
}

fn path_of(name: &str) -> PathBuf {
    Path::new("tests/compat/recorded").join(format!("{name}.json"))
}

/// The result of one command.
#[derive(Debug)]
pub struct Finished {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl Finished {
    /// The answer as JSON; text where it is none.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| Value::String(self.out.clone()))
    }
}

/// A directory with `aint-queue.toml` in it.
pub struct Fixture {
    dir: TempDir,
}

impl Fixture {
    pub fn new(config: &str) -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        fixture.write("aint-queue.toml", config);
        fixture
    }

    /// A fixture on an embedded store, with these channels.
    pub fn with_channels(channels: &str) -> Self {
        Self::new(&format!("[defaults]\npid_path = \"run\"\n{SQLITE}{channels}"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file; a configuration switches the demo jobs on, except for versions that are older than the key.
    pub fn write(&self, name: &str, text: &str) {
        let has_key = text.contains("demo_jobs") || std::env::var_os(RECORD).is_some();
        let is_config = name == "aint-queue.toml";
        let demo_jobs = if is_config && !has_key { "\n[defaults.worker]\ndemo_jobs = true\n" } else { "" };
        fs::write(self.path(name), format!("{text}{demo_jobs}")).unwrap();
    }

    /// A program in this directory, apart from the environment of the test.
    pub fn prepare(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["AINT_QUEUE_LOG", "AINT_QUEUE_CONFIG", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command.env("TZ", "UTC").env("NO_COLOR", "1").env_remove("COLUMNS");
        command
    }

    /// Runs a command, by the configuration of this name.
    pub fn run_with(&self, config: &str, args: &[&str]) -> Finished {
        let output = self.prepare(&program(), args).args(["--config", config]).output().unwrap();
        let text = |bytes| self.without_directory(String::from_utf8(bytes).unwrap());
        let exit = output.status.code().expect("no signal ends a command");
        Finished { exit, out: text(output.stdout), err: text(output.stderr) }
    }

    /// A text with a fixed name in place of this directory.
    pub fn without_directory(&self, text: String) -> String {
        let dir = fs::canonicalize(self.dir.path()).unwrap();
        text.replace(&*dir.to_string_lossy(), DIRECTORY)
    }

    pub fn run(&self, args: &[&str]) -> Finished {
        self.run_with("aint-queue.toml", args)
    }

    /// Runs a command that must succeed, and returns its answer.
    pub fn json(&self, args: &[&str]) -> Value {
        let finished = self.run(&[args, &["--json"]].concat());
        assert_eq!(finished.exit, 0, "{args:?}: {}", finished.err);
        finished.value()
    }

    /// Pushes a job and returns its id.
    pub fn push(&self, job: &str, data: &str, more: &[&str]) -> u64 {
        self.json(&[&["queue:push", job, "--data", data], more].concat())["id"].as_u64().unwrap()
    }

    /// Starts a master and waits until it runs, with `workers` workers ready in channel "default".
    pub fn listen(&self, args: &[&str], workers: u64) -> Master {
        let master = self.serve(args);
        self.until_workers(0, workers);
        master
    }

    /// Starts a master.
    pub fn serve(&self, args: &[&str]) -> Master {
        let listen = ["queue:listen", "--config", "aint-queue.toml"];
        self.start(self.prepare(&program(), &[&listen, args].concat()))
    }

    pub fn start(&self, mut command: Command) -> Master {
        let log = File::create(self.path("listen.log")).unwrap();
        Master(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Waits until the status of channel "default" is as wanted.
    pub fn until_status(&self, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(event, || Some(self.json(&["queue:status", "--workers"])).filter(&wanted))
    }

    /// Waits until so many workers run a job and so many others are ready.
    pub fn until_workers(&self, busy: u64, idle: u64) {
        self.until_status(&format!("{busy} busy and {idle} idle workers"), |status| {
            let counts = &status["workers"]["counts"];
            counts["busy"] == busy && counts["idle"] == idle && sampled(status)
        });
    }
}

/// Whether the memory of every worker is known.
fn sampled(status: &Value) -> bool {
    let rows = status["workers"]["rows"].as_array();
    rows.is_some_and(|rows| rows.iter().all(|row| row["memory"].as_u64() > Some(0)))
}

/// The embedded store, as a line of a configuration.
pub const SQLITE: &str = "driver = { type = \"sqlite\", path = \"queue.db\" }\n";

/// A running master; killed with the test.
pub struct Master(Child);

impl Master {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Kills the master and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.kill();
    }
}
