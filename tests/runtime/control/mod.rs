//! Operating a running master: quiet, pause, scale, cancel, why, and the control socket itself.

mod cancel;
mod channels;
mod connection_limits;
mod document;
mod pause;
mod quiet;
mod scale;
mod why;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::drain::redis_line;
use crate::fixture::{Fixture, SQLITE, WAIT_DEADLINE, until};
use crate::redis::Server;

/// A connection to the control socket of a channel.
struct ControlConnection(BufReader<UnixStream>);

impl ControlConnection {
    fn to(fixture: &Fixture, channel: &str) -> Self {
        let stream = UnixStream::connect(fixture.file(&format!("run/{channel}.sock"))).unwrap();
        stream.set_read_timeout(Some(WAIT_DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends these bytes.
    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The next line; `None` after the end of the connection.
    fn receive(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(n) if n > 0 => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }

    /// Sends a line and returns the final line of the answer.
    fn request(&mut self, request: &str) -> Value {
        self.send(format!("{request}\n").as_bytes()).unwrap();
        loop {
            let line = self.receive().expect("an answer");
            let mut value: Value = serde_json::from_str(&line).unwrap();
            if value.get("progress").is_none() {
                // Every answer names the store.
                value.as_object_mut().unwrap().remove("store").expect("the store");
                return value;
            }
        }
    }
}

/// Runs a test on an embedded store and on a Redis server.
fn on_both(channels: &str, test: impl Fn(&Fixture)) {
    test(&Fixture::new(SQLITE, channels));
    let server = Server::start();
    test(&Fixture::new(&redis_line(&server), channels));
}

/// The status of a channel from its master.
fn report(fixture: &Fixture, channel: &str) -> Value {
    ControlConnection::to(fixture, channel).request(r#"{"command":"status"}"#)["ok"]["status"]["report"]
        .clone()
}

/// Waits until this many jobs run.
fn running(fixture: &Fixture, channel: &str, jobs: u64) {
    until("the jobs to run", || (report(fixture, channel)["running"] == jobs).then_some(()));
}
