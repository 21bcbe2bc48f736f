//! The pages that `queue:dashboard` serves itself.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BROWSER, CHANNELS, folder, packages};
use crate::fixture::Fixture;

#[test]
fn own_pages_open_once_in_one_browser() {
    let _turn = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    let fixture = Fixture::sqlite(CHANNELS);
    fixture.push("noop", "{}", &["-t", "legacy"]);
    let mut serving =
        fixture.command(&["queue:dashboard", "--no-open"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let (server, _) = address.split_once("/#").unwrap();
    let judged = Command::new("node")
        .arg(folder().join("own_pages.mjs"))
        .env("DASHBOARD_URL", server)
        .env("DASHBOARD_ADDRESS", address.trim())
        .env("DASHBOARD_PACKAGES", packages())
        .output()
        .expect("node is there: tests/services.sh installs it");
    kill(Pid::from_raw(i32::try_from(serving.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(serving.wait().unwrap().success());
    assert!(judged.status.success(), "{}", crate::fixture::text(&judged.stderr));
}
