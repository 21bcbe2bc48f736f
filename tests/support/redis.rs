//! A Redis server of the tests' own: a private port, nothing on disk unless asked for, gone with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use aint_queue::config;
use tempfile::TempDir;

/// A shell between us and the server: it ends the server, and takes an empty directory away, when our end of its
/// stdin closes, which also happens when the test process is killed.
const WATCHDOG: &str =
    r#"dir=$1; shift; "$@" </dev/null & cat >/dev/null; kill -9 $!; wait $!; rmdir "$dir""#;

/// A running server.
pub struct Server {
    watchdog: Child,
    port: u16,
    args: Vec<String>,
    dir: TempDir,
}

impl Server {
    /// Starts a server that keeps everything in memory.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments, such as `["--appendonly", "yes"]`.
    pub fn start_with(args: &[&str]) -> Self {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut refusals = Vec::new();
        // Somebody may take the port between our look and the server's start.
        for _ in 0..10 {
            let port = free_port();
            match launch(port, &args, &dir) {
                Ok(watchdog) => return Self { watchdog, port, args, dir },
                Err(refusal) => refusals.push(refusal),
            }
        }
        panic!("no redis-server would start: {refusals:#?}");
    }

    /// How to reach it.
    pub fn config(&self) -> config::Redis {
        at(self.port)
    }

    /// A plain connection, to do what only a test does.
    pub fn connection(&self) -> redis::Connection {
        let url = format!("redis://127.0.0.1:{}/", self.port);
        redis::Client::open(url).unwrap().get_connection().expect("the server is up")
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        self.end();
    }

    /// Starts it again, on its port and with what it kept on disk.
    pub fn restart(&mut self) {
        self.end();
        self.watchdog = launch(self.port, &self.args, &self.dir).expect("the server starts again");
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

/// The configuration for a server on this port of this machine.
pub fn at(port: u16) -> config::Redis {
    config::Redis {
        host: "127.0.0.1".into(),
        port,
        database: 0,
        username: None,
        password: None,
        read_write_timeout: Duration::from_secs(5),
        allow_eviction: false,
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Answers once the server accepts connections, or with its log when it does not come up.
fn launch(port: u16, args: &[String], dir: &TempDir) -> Result<Child, String> {
    std::fs::create_dir_all(dir.path()).expect("the server's directory");
    let mut watchdog = Command::new("/bin/sh")
        .args(["-c", WATCHDOG, "sh"])
        .arg(dir.path())
        .arg(program())
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
        .arg(dir.path())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // An interrupt at the terminal is for the test, whose end is then seen on stdin.
        .process_group(0)
        .spawn()
        .expect("a shell");
    let log = BufReader::new(watchdog.stdout.take().expect("its stdout is a pipe"));
    let (sender, lines) = mpsc::channel();
    // Reads to the end, so that the server never waits for a full pipe.
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
