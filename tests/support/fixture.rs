//! A temporary directory with a configuration, a store and a run directory, and the program under test running in it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "random.rs"]
pub(crate) mod random;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "wait.rs"]
mod wait;

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use wait::{WAIT_DEADLINE, until};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_aint-queue");

/// Copies the program under test with a separate process. A copy made by this process would be open for writing, a child
/// that another test forks at that moment would inherit the descriptor, and starting the copy would fail with ETXTBSY.
pub fn copy_binary(to: &Path) {
    assert!(Command::new("cp").arg(BINARY).arg(to).status().unwrap().success());
}

/// The directory; dropping it removes it. `driver` and `channels` are TOML.
pub struct Fixture {
    dir: TempDir,
    binary: PathBuf,
    config: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Fixture {
    /// A fixture whose channels use this driver.
    pub fn new(driver: &str, channels: &str) -> Self {
        let config = format!("[defaults]\npid_path = \"run\"\ndriver = {driver}\n{channels}\n");
        Self::with_binary(BINARY.into(), "aint-queue.toml", &config)
    }

    /// A fixture that runs another program; `name` is the file name of its configuration.
    pub fn with_binary(binary: PathBuf, name: &str, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, with_demo_jobs(config)).unwrap();
        Self { dir, binary, config: path, environment: Vec::new() }
    }

    /// Adds these variables to the environment of every command.
    pub fn with_environment(self, environment: impl Into<Vec<(&'static str, String)>>) -> Self {
        Self { environment: environment.into(), ..self }
    }

    /// A fixture whose channels use a SQLite file.
    pub fn sqlite(channels: &str) -> Self {
        Self::new(SQLITE, channels)
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file into the directory; text that begins with `#!` becomes an executable script, and a configuration switches
    /// the demo jobs on.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        let is_config = path.extension().is_some_and(|extension| extension == "toml");
        let text = if is_config { with_demo_jobs(text) } else { text.to_owned() };
        fs::write(&path, &text).unwrap();
        if text.starts_with("#!") {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--config").arg(&self.config).current_dir(self.path());
        command.env_remove("AINT_QUEUE_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed; returns its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?} failed: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let printed = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{args:?} printed {printed:?}: {e}"))
    }

    /// Pushes one job and returns its id.
    pub fn push(&self, job: &str, data: &str, more: &[&str]) -> u64 {
        let printed = self.ok(&[&["queue:push", job, "--data", data], more].concat());
        printed.trim().parse().unwrap_or_else(|_| panic!("not an id: {printed:?}"))
    }

    /// Pushes a file of jobs, one line of JSON each.
    pub fn push_lines(&self, channel: &str, lines: impl IntoIterator<Item = String>) {
        let path = self.file("jobs.jsonl");
        let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
        for line in lines {
            writeln!(file, "{line}").unwrap();
        }
        drop(file);
        self.ok(&["queue:push", "--file", path.to_str().unwrap(), "-t", channel]);
    }

    pub fn counts(&self, channel: &str) -> Counts {
        let status = self.json(&["queue:status", "-t", channel]);
        let count = |key: &str| status[key].as_u64().unwrap_or_else(|| panic!("no {key} in {status}"));
        Counts {
            waiting: count("waiting"),
            reserved: count("reserved"),
            delayed: count("delayed"),
            done: count("done"),
            failed: count("failed"),
            total: count("total"),
        }
    }

    /// Waits until the counts of a channel satisfy `wanted`.
    pub fn until(&self, channel: &str, what: &str, wanted: impl Fn(&Counts) -> bool) -> Counts {
        until(what, || Some(self.counts(channel)).filter(|counts| wanted(counts)))
    }

    /// Starts a master and waits until it serves.
    pub fn listen(&self, args: &[&str]) -> Master {
        self.listening(self.listen_command(args))
    }

    /// The command that starts a master; its log is JSON.
    pub fn listen_command(&self, args: &[&str]) -> Command {
        let mut command = self.command(&["queue:listen", "--log-format", "json"]);
        command.args(args);
        command
    }

    /// Starts a master with this command.
    pub fn start(&self, mut command: Command) -> Master {
        let log = self.file(&format!("listen-{}.log", random::unique_digits()));
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Master { child: command.spawn().unwrap(), log }
    }

    /// Starts a master with this command and waits until it serves.
    pub fn listening(&self, command: Command) -> Master {
        let mut master = self.start(command);
        until("the master to serve", || {
            if let Some(status) = master.child.try_wait().unwrap() {
                panic!("the master ended with {status}: {}", master.log());
            }
            master.log().contains("\"message\":\"listening\"").then_some(())
        });
        master
    }
}

/// The configuration with the demo jobs, which most tests run, in every channel. Lines before the end keep their numbers.
pub fn with_demo_jobs(config: &str) -> String {
    const TABLE: &str = "[defaults.worker]\n";
    if config.contains("demo_jobs") {
        return config.to_owned();
    }
    match config.split_once(TABLE) {
        Some((before, behind)) => format!("{before}{TABLE}demo_jobs = true\n{behind}"),
        None => format!("{config}\n{TABLE}demo_jobs = true\n"),
    }
}

/// The embedded store, as a line of TOML.
pub const SQLITE: &str = r#"{ type = "sqlite", path = "queue.db" }"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub waiting: u64,
    pub reserved: u64,
    pub delayed: u64,
    pub done: u64,
    pub failed: u64,
    pub total: u64,
}

/// A running `queue:listen`; dropping it kills it.
pub struct Master {
    child: Child,
    log: PathBuf,
}

impl Master {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn log_path(&self) -> PathBuf {
        self.log.clone()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Kills the master and reaps it, so that no other process can get its pid before.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Waits until the master exits.
    pub fn wait(mut self) -> ExitStatus {
        until("the master to end", || {
            let ended = self.child.try_wait().unwrap();
            ended.ok_or_else(|| Hang { pid: self.pid(), log: self.log_path() })
        })
    }

    /// Stops the master gracefully.
    pub fn stop(self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Stops the master with two signals; the second one kills the running jobs. The kernel merges two that are sent at
    /// once, so the second one follows the start of the stop.
    pub fn force_stop(self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        until("the stop to begin", || self.log().contains("\"stopping\"").then_some(()));
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// The pid of the guardian.
    pub fn guardian(&self) -> i32 {
        until("the guardian", || children(self.pid()).first().copied())
    }

    /// The pids of the workers.
    pub fn workers(&self) -> Vec<i32> {
        children(self.guardian())
    }
}

/// A master that does not exit. Such a hang is too rare to be reproduced, so the failure shows the log, the state of every
/// thread and the children.
struct Hang {
    pid: i32,
    log: PathBuf,
}

impl std::fmt::Debug for Hang {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |path: String| fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
        writeln!(f, "log:\n{}\nthreads:", read(self.log.display().to_string()))?;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten() {
            let of = |file: &str| read(thread.path().join(file).display().to_string());
            let status = of("status");
            let signals =
                status.lines().filter(|l| l.contains("Sig") || l.contains("State") || l.contains("ShdPnd"));
            let signals = signals.collect::<Vec<_>>().join(" ");
            writeln!(f, "{} {} {signals}", of("comm").trim(), of("wchan"))?;
        }
        let commands = children(self.pid).into_iter().map(|child| read(format!("/proc/{child}/cmdline")));
        write!(f, "children: {:?}", commands.collect::<Vec<_>>())
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The children of a process, except zombies.
pub fn children(pid: i32) -> Vec<i32> {
    processes().into_iter().filter(|p| p.parent == pid && p.state != 'Z').map(|p| p.pid).collect()
}

/// Processes, except zombies, whose command line contains this text.
pub fn with_command(text: &str) -> Vec<i32> {
    let holds = |pid: i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(text))
    };
    processes().into_iter().filter(|p| p.state != 'Z' && holds(p.pid)).map(|p| p.pid).collect()
}

struct Process {
    pid: i32,
    parent: i32,
    state: char,
}

fn processes() -> Vec<Process> {
    let read = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat[stat.rfind(')')? + 2..].split(' ');
        let state = fields.next()?.chars().next()?;
        Some(Process { pid, parent: fields.next()?.parse().ok()?, state })
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter_map(read).collect()
}
