//! `queue:dashboard` and `queue:top --remote`: the pages that the command serves itself, and the view of a dashboard elsewhere.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::{HttpFixture, HttpResponse, Request};
use crate::fixture::{Fixture, until};

const TEAM: &str = "a-token-of-the-team-0123456789";

/// A running `queue:dashboard`; dropping it kills it.
struct OwnDashboard {
    child: Child,
    address: SocketAddr,
    secret: String,
}

impl OwnDashboard {
    fn start(fixture: &Fixture) -> Self {
        let mut command = fixture.command(&["queue:dashboard", "--no-open"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let rest = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{line:?}"));
        let (address, secret) = rest.split_once("/#t=").unwrap_or_else(|| panic!("{line:?}"));
        let address: SocketAddr = address.parse().unwrap();
        assert!(address.ip().is_loopback());
        Self { child, address, secret: secret.to_owned() }
    }

    fn send(&self, request: &Request) -> HttpResponse {
        request.send(self.address)
    }

    fn exchange(&self, secret: &str) -> HttpResponse {
        self.send(&page("/entrance").token(secret))
    }

    /// The cookie for the secret.
    fn cookie(&self) -> String {
        let reply = self.exchange(&self.secret);
        assert_eq!(reply.status, 204, "{reply:?}");
        let cookie = reply.header("set-cookie").unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Ends the command with a signal, and waits for it.
    fn end(mut self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        let status = until("the end of the command", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
        assert!(TcpStream::connect(self.address).is_err(), "the port is closed");
    }
}

impl Drop for OwnDashboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn page(path: &str) -> Request {
    Request::new("GET", path, "").header("Content-Type", "").header("Accept", "text/html,*/*;q=0.8")
}

#[test]
fn secret_opens_the_pages_once() {
    let fixture = Fixture::sqlite("[channels.default]\n[channels.idle]");
    fixture.push("noop", r#"{"password":"hunter2"}"#, &[]);
    let own = OwnDashboard::start(&fixture);
    for path in ["/", "/channels/default", "/api/v1/channels", "/events", "/login", "/metrics", "/health"] {
        let reply = own.send(&page(path));
        assert!(matches!(reply.status, 401 | 404), "{path}: {reply:?}");
        assert!(!reply.text.contains("idle") && !reply.text.contains("<form method=\"post\""), "{path}");
        assert!(reply.header("content-security-policy").is_some(), "{path}");
    }
    let entrance = own.send(&page("/"));
    assert!(entrance.text.contains("/assets/entrance.js"), "{entrance:?}");
    for wrong in ["", "x", &own.secret[1..], &format!("{}x", own.secret)] {
        let reply = own.exchange(wrong);
        assert_eq!((reply.status, reply.header("set-cookie")), (401, None), "{wrong}");
    }
    let cookie = own.cookie();
    let reply = own.exchange(&own.secret);
    assert_eq!((reply.status, reply.header("set-cookie")), (401, None), "a second exchange");
    let seen = own.send(&page("/").header("Cookie", &cookie));
    assert!(seen.status == 200 && seen.text.contains("no master") && seen.text.contains("idle"), "{seen:?}");
    let jobs = own.send(&page("/channels/default/jobs?state=waiting").header("Cookie", &cookie));
    assert!(jobs.status == 200 && jobs.text.contains("noop"), "{jobs:?}");
    assert_eq!(own.send(&page("/").header("Cookie", &cookie.replacen("v1.v.", "v1.o.", 1))).status, 401);
    own.end(Signal::SIGINT);
}

#[test]
fn no_request_changes_anything() {
    let fixture = Fixture::sqlite("[channels.default]");
    fixture.push("noop", "{}", &[]);
    let own = OwnDashboard::start(&fixture);
    let cookie = own.cookie();
    for path in [
        "/channels/default/jobs",
        "/channels/default/actions/pause",
        "/channels/default/jobs/1/remove",
        "/login",
        "/logout",
        "/entrance",
        "/",
    ] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let request = Request::new(method, path, r#"{"job":"noop"}"#)
                .header("Cookie", &cookie)
                .header("Sec-Fetch-Site", "same-origin");
            assert_eq!(own.send(&request).status, 405, "{method} {path}");
        }
    }
    assert_eq!(fixture.counts("default").total, 1);
    let forms = own.send(&page("/channels/default").header("Cookie", &cookie));
    assert!(!forms.text.contains("method=\"post\""), "{forms:?}");
    own.end(Signal::SIGTERM);
}

#[test]
fn master_that_runs_is_shown_with_its_workers() {
    let fixture = Fixture::sqlite("[channels.default.worker]\ntype = \"coroutine\"");
    let master = fixture.listen(&[]);
    let id = fixture.push("sleep", r#"{"ms":600000}"#, &[]);
    fixture.until("default", "it to run", |counts| counts.reserved == 1);
    let own = OwnDashboard::start(&fixture);
    let cookie = own.cookie();
    let seen = until("the running job", || {
        let seen = own.send(&page("/channels/default").header("Cookie", &cookie));
        seen.text.contains(&id.to_string()).then_some(seen)
    });
    assert!(seen.text.contains("Is the backlog growing?") && seen.text.contains("sleep"), "{seen:?}");
    let api = own.send(&page("/api/v1/channels/default").header("Cookie", &cookie)).json();
    assert_eq!((&api["served_here"], &api["status"]["running"]), (&true.into(), &1.into()), "{api}");
    own.end(Signal::SIGHUP);
    assert!(master.force_stop().success());
}

#[test]
fn missing_store_is_not_created() {
    let fixture = Fixture::sqlite("[channels.default]");
    let own = OwnDashboard::start(&fixture);
    let cookie = own.cookie();
    let seen = own.send(&page("/").header("Cookie", &cookie));
    assert_eq!(seen.status, 200);
    assert!(!fixture.file("queue.db").exists());
    own.end(Signal::SIGINT);
}

#[test]
fn dashboard_of_a_running_master_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let fixture = Fixture::sqlite(&format!(
        "[channels.default.worker]\ntype = \"coroutine\"\n[http]\nlisten = \"{address}\"\n[http.dashboard]\nenabled = true"
    ));
    let master = fixture.listen(&[]);
    assert_eq!(fixture.ok(&["queue:dashboard"]), format!("http://{address}/\n"));
    assert_eq!(fixture.json(&["queue:dashboard"])["own"], false);
    assert!(master.stop().success());
    let own = OwnDashboard::start(&fixture);
    assert_ne!(own.address, address, "without a master the command serves pages itself");
    own.end(Signal::SIGINT);
}

#[test]
fn top_shows_the_dashboard_of_another_machine() {
    let served =
        HttpFixture::with(&format!("[http.dashboard]\nenabled = true\nviewers = {{ team = \"{TEAM}\" }}"));
    let id = served.push("default", r#"{"job":"sleep","payload":{"ms":600000}}"#).json()["id"].to_string();
    served.until("default", "it to run", |counts| counts.reserved == 1);
    let url = format!("http://{}/", served.address);
    let top = |more: &[&str]| {
        let args = [&["queue:top", "--once", "--remote", &url], more].concat();
        let mut command = served.command(&args);
        command.env("LC_ALL", "C.UTF-8").env("COLUMNS", "120").output().unwrap()
    };
    let refused = top(&[]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--token"), "{refused:?}");
    let shown = top(&["--token", TEAM, "-t", "default"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(
        text.contains("default")
            && text.contains(&format!("…{} sleep", &id[id.len() - 3..]))
            && text.contains("read-only"),
        "{text}"
    );
    assert!(!text.contains(TEAM));
    for wrong in ["ftp://127.0.0.1", "127.0.0.1:1", "http://127.0.0.1/?a=b"] {
        let output = served.command(&["queue:top", "--once", "--remote", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}
