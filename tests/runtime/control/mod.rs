//! Operating a running master: quiet, pause, scale, and the socket it all goes through.

mod channels;
mod document;
mod guards;
mod pause;
mod quiet;
mod scale;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::site::Site;

/// A conversation with the master of a channel.
struct Line(BufReader<UnixStream>);

impl Line {
    fn to(site: &Site, channel: &str) -> Self {
        let stream = UnixStream::connect(site.file(&format!("run/{channel}.sock"))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(BufReader::new(stream))
    }

    /// Says this as it is.
    fn say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The next line, or nothing when the other end has gone.
    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(n) if n > 0 => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }

    /// Says a line and answers the last word on it.
    fn ask(&mut self, request: &str) -> Value {
        self.say(format!("{request}\n").as_bytes()).unwrap();
        loop {
            let line = self.hear().expect("an answer");
            let value: Value = serde_json::from_str(&line).unwrap();
            if value.get("progress").is_none() {
                return value;
            }
        }
    }
}
