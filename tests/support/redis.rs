//! A Redis server for tests: on a private port, without files unless a test wants them, and gone with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use aint_queue::config;
use tempfile::TempDir;

#[path = "clock.rs"]
pub mod clock;

use self::clock::Clock;

/// A shell that is the parent of the server. When its stdin closes, which also happens when the test process is killed, the
/// shell kills the server and removes the server's directory if that is empty.
const WATCHDOG: &str =
    r#"dir=$1; shift; "$@" </dev/null & cat >/dev/null; kill -9 $!; wait $!; rmdir "$dir""#;

/// A running server.
pub struct Server {
    watchdog: Child,
    port: u16,
    args: Vec<String>,
    dir: TempDir,
    clock: Option<Clock>,
}

impl Server {
    /// Starts a server that keeps everything in memory.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments, such as `["--appendonly", "yes"]`.
    pub fn start_with(args: &[&str]) -> Self {
        Self::launch_with(args, None)
    }

    /// Starts a server whose clock [`Server::step_clock`] moves.
    pub fn start_with_clock() -> Self {
        Self::launch_with(&[], Some(Clock::new()))
    }

    /// Steps the server's clock by microseconds, forward or back.
    pub fn step_clock(&self, micros: i64) {
        self.clock.as_ref().expect("the server was started with a clock").step(micros);
    }

    fn launch_with(args: &[&str], clock: Option<Clock>) -> Self {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut refusals = Vec::new();
        // Another process may take the port before the server binds it.
        for _ in 0..10 {
            let port = free_port();
            match launch(port, &args, &dir, clock.as_ref()) {
                Ok(watchdog) => return Self { watchdog, port, args, dir, clock },
                Err(refusal) => refusals.push(refusal),
            }
        }
        panic!("no redis-server would start: {refusals:#?}");
    }

    /// The configuration of a store on this server.
    pub fn config(&self) -> config::Redis {
        at(self.port)
    }

    /// A plain connection, for commands that the driver does not send.
    pub fn connection(&self) -> redis::Connection {
        let url = format!("redis://127.0.0.1:{}/", self.port);
        redis::Client::open(url).unwrap().get_connection().expect("the server is up")
    }

    /// Kills the server, as a power failure would.
    pub fn kill(&mut self) {
        self.end();
    }

    /// Starts the server again on its port, with the data it has on disk.
    pub fn restart(&mut self) {
        self.end();
        self.watchdog =
            launch(self.port, &self.args, &self.dir, self.clock.as_ref()).expect("the server starts again");
    }

    fn end(&mut self) {
        drop(self.watchdog.stdin.take());
        self.watchdog.wait().expect("the watchdog ends with its stdin");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The configuration of a store on this port of this machine.
pub fn at(port: u16) -> config::Redis {
    config::Redis {
        host: "127.0.0.1".into(),
        port,
        database: 0,
        username: None,
        password: None,
        read_write_timeout: Duration::from_secs(5),
        allow_eviction: false,
        prefix: String::new(),
    }
}

/// A port without a listener.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server; returns when it accepts connections, or its log when it exits.
fn launch(port: u16, args: &[String], dir: &TempDir, clock: Option<&Clock>) -> Result<Child, String> {
    std::fs::create_dir_all(dir.path()).expect("the server's directory");
    let mut watchdog = Command::new("/bin/sh")
        .args(["-c", WATCHDOG, "sh"])
        .arg(dir.path())
        .arg("env")
        .args(clock.map(server_environment).unwrap_or_default())
        .arg(program())
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
        .arg(dir.path())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Without a process group of its own the server would get an interrupt of the terminal before the test has ended.
        .process_group(0)
        .spawn()
        .expect("a shell");
    let log = BufReader::new(watchdog.stdout.take().expect("its stdout is a pipe"));
    let (sender, lines) = mpsc::channel();
    // Read to the end: the server would block on a full pipe.
    std::thread::spawn(move || {
        log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line).or(Ok::<_, ()>(())))
    });
    let mut said = String::new();
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(20)) {
        if line.contains("Ready to accept connections") {
            return Ok(watchdog);
        }
        said.push_str(&line);
        said.push('\n');
        if line.contains("aborting") || line.contains("FATAL CONFIG FILE ERROR") || line.contains("not found")
        {
            break;
        }
    }
    drop(watchdog.stdin.take());
    watchdog.wait().expect("the watchdog ends with its stdin");
    Err(said)
}

/// The environment of a server with this clock. The C library comes before jemalloc, which reads the clock while it starts
/// and so would enter libfaketime too early.
fn server_environment(clock: &Clock) -> Vec<String> {
    let with_libc = |(name, value): (&str, String)| match name {
        "LD_PRELOAD" => format!("{name}={value} libc.so.6"),
        _ => format!("{name}={value}"),
    };
    clock.environment().into_iter().map(with_libc).collect()
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("REDIS_SERVER") {
        return program.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|dir| ["redis-server", "valkey-server"].map(|name| dir.join(name)))
        .find(|program| program.is_file());
    found.expect("redis-server is not installed: run tests/services.sh, which installs it")
}
