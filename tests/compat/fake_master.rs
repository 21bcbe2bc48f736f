//! A master that holds its lock and answers with recorded lines.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use serde_json::Value;

/// A channel of this process that looks served, until the value is dropped.
pub struct FakeMaster {
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
    requests: Receiver<Value>,
}

impl FakeMaster {
    /// Takes the lock of a channel, writes `record` with the numbers of this process into it, and answers every request
    /// with these lines.
    pub fn start(run_dir: &Path, record: &Value, replies: &[Value]) -> Self {
        fs::create_dir_all(run_dir).unwrap();
        let mut lock = Some(lock(run_dir, record));
        let socket = run_dir.join("default.sock");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let (send, requests) = channel();
        let lines: String = replies.iter().map(|reply| format!("{reply}\n")).collect();
        let ends = replies.iter().any(|reply| reply["ok"].get("stopped").is_some());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut line) = (stream.unwrap(), String::new());
                BufReader::new(&stream).read_line(&mut line).unwrap();
                // An empty connection is the end of this value.
                if line.is_empty() {
                    break;
                }
                send.send(serde_json::from_str(&line).unwrap()).unwrap();
                if ends {
                    lock.take();
                }
                // A command may leave before the last line.
                let _ = stream.write_all(lines.as_bytes());
            }
        });
        Self { socket, thread: Some(thread), requests }
    }

    /// The first request so far.
    pub fn request(&self) -> Option<Value> {
        self.requests.try_recv().ok()
    }
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        drop(UnixStream::connect(&self.socket));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(run_dir: &Path, record: &Value) -> File {
    let path = run_dir.join("default-master.lock");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path).unwrap();
    // A process that another test starts in this moment may hold a copy of the last lock until its exec: wait for it.
    file.lock().unwrap();
    let mut record = record.clone();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start_time: u64 = stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(19).unwrap().parse().unwrap();
    for (key, value) in [
        ("pid", u64::from(std::process::id())),
        ("start_time", start_time),
        ("pid_namespace", fs::metadata("/proc/self/ns/pid").unwrap().ino()),
    ] {
        assert!(record.get(key).is_some(), "the record has no {key}");
        record[key] = value.into();
    }
    file.write_all(format!("{record}\n").as_bytes()).unwrap();
    file
}
