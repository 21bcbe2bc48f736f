//! What people tell a running master: over its control socket, and beside it in the store.

mod cancel;
mod why;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::drain::redis_line;
use crate::redis::Server;
use crate::site::{SQLITE, Site, until};

/// Runs a test on an embedded store and on a Redis server.
pub fn on_both(channels: &str, test: impl Fn(&Site)) {
    test(&Site::new(SQLITE, channels));
    let server = Server::start();
    test(&Site::new(&redis_line(&server), channels));
}

/// How a channel's master says it stands.
pub fn report(site: &Site, channel: &str) -> Value {
    let mut socket = UnixStream::connect(site.file(&format!("run/{channel}.sock"))).unwrap();
    socket.write_all(b"{\"command\":\"status\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    answer["ok"]["status"]["report"].clone()
}

/// Waits until so many jobs are aboard workers.
pub fn running(site: &Site, channel: &str, jobs: u64) {
    until("the jobs to run", || (report(site, channel)["running"] == jobs).then_some(()));
}
