//! Starts, stops and restarts.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::client::{CHANNELS, Request, Served, address, connect};
use crate::redis::free_port;
use crate::site::{Site, text, with_command};

const JOB: &str = r#"{"job":"noop"}"#;

fn on_port(port: u16) -> Site {
    Site::sqlite(&format!("{CHANNELS}[http]\nlisten = \"127.0.0.1:{port}\"\n"))
}

#[test]
fn a_port_in_use_refuses_the_start_and_leaves_nothing_behind() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = on_port(taken.local_addr().unwrap().port());
    let output = site.run(&["queue:listen"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("could not listen on 127.0.0.1:") && message.contains("in use"), "{message}");
    assert!(message.contains("hint: ") && message.contains("--no-http"), "{message}");
    assert!(!site.file("run/default-master.pid").exists());
    assert!(with_command(site.path().to_str().unwrap()).is_empty(), "nothing is left running");

    let master = site.listen(&["--no-http"]);
    assert!(!master.log().contains("http listening"));
    assert!(master.stop().success());
}

#[test]
fn without_an_address_there_is_no_listener() {
    let site = Site::sqlite(CHANNELS);
    let master = site.listen(&[]);
    assert!(!master.log().contains("http listening"));
    assert!(master.stop().success());
}

#[test]
fn an_address_on_the_network_without_a_token_refuses_the_start() {
    let site = Site::sqlite(&format!("{CHANNELS}[http]\nlisten = \"0.0.0.0:0\"\n"));
    let output = site.run(&["queue:listen"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(message.contains("add token = "), "{message}");
    assert!(!site.file("run").exists());
}

#[test]
fn the_listener_ends_with_the_master_whoever_is_connected() {
    let served = Served::with("");
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
fn a_master_that_was_killed_is_started_again_on_the_same_port() {
    let site = on_port(free_port());
    let mut pushed = 0;
    for _ in 0..3 {
        let master = site.listen(&[]);
        let address = address(&master);
        for channel in ["default", "idle"] {
            assert_eq!(Request::push(channel, JOB).send(address).status, 201);
        }
        pushed += 1;
        // Connections that are open when it dies must not keep the port.
        let open: Vec<_> = (0..5).map(|_| connect(address).unwrap()).collect();
        master.kill();
        drop(open);
    }
    let master = site.listen(&[]);
    site.until("default", "every acknowledged job to run", |counts| counts.done == pushed);
    assert_eq!(site.counts("idle").waiting, pushed);
    assert!(master.stop().success());
}

#[test]
fn workers_and_the_guardian_do_not_have_the_port() {
    let served = Served::with("");
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
