//! Runs the binary in a temporary directory and records a transcript.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aint_queue::job::{ErrorKind, FailReason, JobId, JobMeta, NewJob, Payload, Timestamp};
use aint_queue::store::sqlite::SqliteStore;
use aint_queue::store::{Destination, Leased, OutputChange, Settlement, Store, Turn};
use tempfile::TempDir;

/// A temporary directory in which the binary runs.
pub struct Fixture {
    dir: TempDir,
    transcript: String,
}

/// Output and exit code of one run.
pub struct CommandOutput {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Fixture {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), transcript: String::new() }
    }

    /// A directory with these channels and its own run directory, so that no other master of this machine is visible.
    pub fn with_channels(names: &[&str]) -> Self {
        let channels: String = names.iter().map(|name| format!("[channels.{name}]\n")).collect();
        Self::with_config(&format!("[defaults]\npid_path = \"run\"\n{channels}"))
    }

    /// A directory with this text as its `config/aint-queue.toml`.
    pub fn with_config(text: &str) -> Self {
        let fixture = Self::new();
        fs::create_dir(fixture.path("config")).unwrap();
        fixture.write("config/aint-queue.toml", text);
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// A command in this directory, independent of the environment of the test run.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aint-queue"));
        command.args(args).current_dir(self.dir.path()).env("TZ", "UTC");
        for name in ["COLUMNS", "AINT_QUEUE_CONFIG", "NO_COLOR", "CLICOLOR_FORCE", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the binary and adds its output to the transcript.
    pub fn run(&mut self, args: &[&str]) -> CommandOutput {
        self.run_with_stdin(args, b"")
    }

    /// Runs the binary with `input` on its standard input, which is not a terminal.
    pub fn run_with_stdin(&mut self, args: &[&str], input: &[u8]) -> CommandOutput {
        let command = self.command(args);
        self.finish(command, args, input)
    }

    /// Runs a prepared command and adds its output to the transcript.
    pub fn finish(&mut self, mut command: Command, args: &[&str], input: &[u8]) -> CommandOutput {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let input = input.to_owned();
        // A command that fails early does not read its input.
        let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
        let output = child.wait_with_output().expect("the binary ends");
        writer.join().expect("writing does not panic");
        let said = CommandOutput {
            code: output.status.code().expect("no signal ends a command"),
            out: String::from_utf8(output.stdout).expect("output is UTF-8"),
            err: String::from_utf8(output.stderr).expect("errors are UTF-8"),
        };
        let shown: Vec<_> = args.iter().map(|arg| shown(arg)).collect();
        self.transcript.push_str(&format!("$ aint-queue {}\n", shown.join(" ")));
        for (label, text) in [("", &said.out), ("! ", &said.err)] {
            for line in text.lines() {
                self.transcript.push_str(&format!("{label}{line}\n"));
            }
        }
        self.transcript.push_str(&format!("=> {}\n\n", said.code));
        said
    }

    /// The transcript so far, with values that differ between runs replaced.
    pub fn transcript(&self) -> String {
        let dir = fs::canonicalize(self.dir.path()).unwrap();
        self.transcript.replace(&*dir.to_string_lossy(), "[DIR]")
    }

    /// Pushes a job and returns its id.
    pub fn push(&mut self, args: &[&str]) -> JobId {
        let args: Vec<_> = ["queue:push"].iter().chain(args).copied().collect();
        let said = self.run(&args);
        assert_eq!(said.code, 0, "{}", said.err);
        said.out.trim().parse().expect("a push prints the id")
    }

    /// Number of waiting jobs, read while another command is running.
    pub fn status_of(fixture: &Self) -> u64 {
        let output = fixture.command(&["queue:status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the status is JSON");
        status["waiting"].as_u64().expect("a count")
    }

    /// The counts of `queue:status --json`.
    pub fn status(&mut self) -> serde_json::Value {
        let kept = self.transcript.len();
        let said = self.run(&["queue:status", "--json"]);
        self.transcript.truncate(kept);
        assert_eq!(said.code, 0, "{}", said.err);
        serde_json::from_str(&said.out).expect("the status is JSON")
    }

    /// Fails one job per error in the channel `default`, as a master would.
    pub fn fail(&self, jobs: &[(&str, &str)]) -> Vec<JobId> {
        self.fail_in("default", jobs)
    }

    /// Fails one job per error, as a master would.
    pub fn fail_in(&self, channel: &str, jobs: &[(&str, &str)]) -> Vec<JobId> {
        let store = SqliteStore::open(&self.path("aint-queue.db"), channel).unwrap();
        runtime().block_on(async {
            let owner = store.join().await.unwrap();
            let new: Vec<_> = jobs
                .iter()
                .map(|(job, _)| NewJob::new(*job, Payload::parse(r#"{"to":"ann"}"#).unwrap()))
                .collect();
            store.push(&new).await.unwrap();
            let turn = |seq, settlements, want| Turn {
                owner: &owner,
                seq,
                settlements,
                releases: &[],
                want,
                max_bytes: 1 << 20,
                overdue: None,
                publish: None,
            };
            let leased = store.turn(turn(1, &[], jobs.len())).await.unwrap().leased;
            let settle = |(leased, (_, error)): (&Leased, &(&str, &str))| {
                let Leased::Job(record) = leased else { panic!("the records are ours") };
                let mut meta: JobMeta = record.meta.clone();
                meta.record_error(1, Timestamp(1_796_029_200_000_000), ErrorKind::Error, error);
                (meta.attempts, meta.failed) = (1, Some(FailReason::Exhausted));
                Settlement {
                    id: record.id,
                    unique: None,
                    to: Destination::Failed(meta),
                    output: OutputChange::Keep,
                }
            };
            let settlements: Vec<_> = leased.iter().zip(jobs).map(settle).collect();
            store.turn(turn(2, &settlements, 0)).await.unwrap();
            store.leave(&owner).await.unwrap();
            settlements.iter().map(|settlement| settlement.id).collect()
        })
    }
}

/// An async runtime for tests that use the library.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// An argument as typed in a shell.
fn shown(arg: &str) -> String {
    let short: String = arg.chars().take(100).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_:./@=,".contains(c);
    if !short.is_empty() && short.chars().all(plain) { short } else { format!("'{}'", short.escape_debug()) }
}

/// Compares the transcript of a fixture with its snapshot.
macro_rules! assert_transcript {
    ($fixture:expr) => {
        insta::with_settings!({
            filters => vec![
                (r"\b1[78]\d{14}\b", "[ID]"),
                (r#"("(front_waiting|next_due)_seconds":)[\d.]+"#, "${1}[SECONDS]"),
                (r"\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?", "[TIME]"),
            ],
            omit_expression => true,
            prepend_module_to_snapshot => true,
        }, { insta::assert_snapshot!($fixture.transcript()) })
    };
}
pub(crate) use assert_transcript;

/// Whether a directory contains only the named entries.
pub fn holds_only(dir: &Path, names: &[&str]) -> bool {
    let mut found: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    found == names
}
