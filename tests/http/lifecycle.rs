//! Starts, stops and restarts of the listener.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::client::{CHANNELS, HttpFixture, Request, address, connect};
use crate::fixture::{Fixture, text, with_command};
use crate::redis::free_port;

const JOB: &str = r#"{"job":"noop"}"#;

fn on_port(port: u16) -> Fixture {
    Fixture::sqlite(&format!("{CHANNELS}[http]\nlisten = \"127.0.0.1:{port}\"\n"))
}

#[test]
fn port_in_use_refuses_start_cleanly() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let fixture = on_port(taken.local_addr().unwrap().port());
    let output = fixture.run(&["queue:listen"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("(http.listen)") && message.contains("in use"), "{message}");
    assert!(message.contains("hint: ") && message.contains("--no-http"), "{message}");
    assert!(!fixture.file("run/default-master.pid").exists());
    assert!(with_command(fixture.path().to_str().unwrap()).is_empty(), "no process is left");

    let master = fixture.listen(&["--no-http"]);
    assert!(!master.log().contains("http listening"));
    assert!(master.stop().success());
}

#[test]
fn taken_port_for_metrics_names_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let fixture = Fixture::sqlite(&format!("{CHANNELS}[metrics]\nlisten = \"127.0.0.1:{port}\"\n"));
    let output = fixture.run(&["queue:listen"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(&format!("could not listen on 127.0.0.1:{port} (metrics.listen)")), "{message}");
    assert!(message.contains("hint: change metrics.listen, or remove it"), "{message}");
    assert!(!message.contains("http.listen") && !message.contains("for HTTP"), "{message}");
}

#[test]
fn no_address_means_no_listener() {
    let fixture = Fixture::sqlite(CHANNELS);
    let master = fixture.listen(&[]);
    assert!(!master.log().contains("http listening"));
    assert!(master.stop().success());
}

#[test]
fn network_address_without_token_is_refused() {
    let fixture = Fixture::sqlite(&format!("{CHANNELS}[http]\nlisten = \"0.0.0.0:0\"\n"));
    let output = fixture.run(&["queue:listen"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("add token = "), "{message}");
    assert!(!fixture.file("run").exists());
}

#[test]
fn listener_closes_with_master_despite_clients() {
    let served = HttpFixture::with("");
    let address = served.address;
    assert_eq!(served.push("default", JOB).status, 201);
    let idle = connect(address).unwrap();
    let mut half = connect(address).unwrap();
    std::io::Write::write_all(&mut half, b"POST /channels/idle/jobs HTTP/1.1\r\nHost: lo").unwrap();
    let begun = Instant::now();
    assert!(served.master.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(connect(address).is_err(), "the port is free again");
    drop((idle, half));
}

#[test]
fn killed_master_restarts_on_the_same_port() {
    let fixture = on_port(free_port());
    let mut pushed = 0;
    for _ in 0..3 {
        let master = fixture.listen(&[]);
        let address = address(&master);
        for channel in ["default", "idle"] {
            assert_eq!(Request::push(channel, JOB).send(address).status, 201);
        }
        pushed += 1;
        // Connections that are open at the kill must not keep the port.
        let open: Vec<_> = (0..5).map(|_| connect(address).unwrap()).collect();
        master.kill();
        drop(open);
    }
    let master = fixture.listen(&[]);
    // A job that ran at each of the three kills has failed as lost.
    fixture.until("default", "the end of every acknowledged job", |c| c.done + c.failed == pushed);
    assert_eq!(fixture.counts("idle").waiting, pushed);
    assert!(master.stop().success());
}

#[test]
fn workers_and_guardian_do_not_inherit_listener() {
    let served = HttpFixture::with("");
    assert_eq!(served.push("default", JOB).status, 201);
    served.until("default", "the job to run", |counts| counts.done == 1);
    let port = format!(":{:04X} ", served.address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find(|line| line.contains(&port) && line.contains(" 0A ")).unwrap();
    let inode = line.split_whitespace().nth(9).unwrap();
    let socket = format!("socket:[{inode}]");
    let holds = |pid: i32| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|link| link.to_str() == Some(&*socket))
    };
    assert!(holds(served.master.pid()));
    let others = [vec![served.master.guardian()], served.master.workers()].concat();
    assert!(others.len() > 1 && !others.into_iter().any(holds));
}
