//! Fixtures with a channel whose jobs go to a receiver.

use serde_json::Value;

use crate::fixture::Fixture;
use crate::receiver::Receiver;

/// A secret of 24 bytes.
pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u";

/// A fixture whose channel sends to this URL, with further lines of `[channels.default.worker]`.
pub fn sending(url: &str, more: &str) -> Fixture {
    Fixture::sqlite(&format!(
        "[channels.default]\nmax_attempts = 2\nstop_wait_seconds = 10\ntimeout_grace_ms = 3000\nbackoff = {{ kind = \"fixed\", base = 0.05, jitter = 0 }}\n\
         [channels.default.worker]\ntype = \"coroutine\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n{more}\n"
    ))
}

/// A fixture that may send to a receiver on loopback without TLS.
pub fn sending_to(receiver: &Receiver, more: &str) -> Fixture {
    let url = format!("http://127.0.0.1:{}/hook", receiver.port());
    sending(&url, &format!("allow_http = true\nallow_private = true\n{more}"))
}

/// A job in the JSON of `queue:show`.
pub fn shown(fixture: &Fixture, id: u64) -> Value {
    fixture.json(&["queue:show", &id.to_string()])
}

/// The error texts of a job.
pub fn errors(fixture: &Fixture, id: u64) -> Vec<String> {
    let shown = shown(fixture, id);
    let errors = shown["errors"].as_array().unwrap_or_else(|| panic!("no errors in {shown}"));
    errors
        .iter()
        .map(|error| error["message"].as_str().unwrap_or_else(|| panic!("{shown}")).to_owned())
        .collect()
}
