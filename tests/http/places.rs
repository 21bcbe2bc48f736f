//! Places of connections, and wrong tokens: clients that hold many do not keep others out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{HttpFixture, HttpResponse, Request, connect};
use crate::fixture::{Master, WAIT_DEADLINE};

const TOKEN: &str = "0123456789abcdef";
const JOB: &str = r#"{"job":"noop"}"#;

/// Sends `GET /health` on an open connection and reads the response; `None` when the connection has ended.
fn health(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
    let (mut response, mut byte) = (Vec::new(), [0]);
    while !response.ends_with(b"}") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        response.push(byte[0]);
    }
    Some(String::from_utf8(response).unwrap())
}

fn log_lines(master: &Master, part: &str) -> Vec<String> {
    master.log().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
}

#[test]
fn idle_keep_alive_clients_give_way_to_producers() {
    let served = HttpFixture::with(&format!("token = \"{TOKEN}\""));
    let mut idle: Vec<_> = (0..300).map(|_| connect(served.address).unwrap()).collect();
    let mut answered = 0;
    for stream in &mut idle {
        answered += usize::from(health(stream).is_some());
    }
    assert!(answered >= 256, "{answered}");
    let mut half_heads: Vec<_> = (0..300).map(|_| connect(served.address).unwrap()).collect();
    for stream in &mut half_heads {
        // The listener may have closed it for a later one.
        let _ = stream.write_all(b"POST /channels/idle/jobs HTTP/1.1\r\nHost: 127");
    }
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(served.send(&Request::push("idle", JOB).token(TOKEN)).status, 201);
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "no push waited for a time-out: {:?}", begun.elapsed());
    let said = log_lines(&served.master, "HTTP connections at their limit");
    assert!(said.len() == 1 && said[0].contains("of 127.0.0.1"), "{said:?}");
    // The latest ones have stayed.
    assert!(health(half_heads.last_mut().unwrap()).is_some());
}

#[test]
fn pushes_above_their_permits_are_refused_at_once() {
    let served = HttpFixture::with("max_connections = 2\ntimeout_seconds = 5");
    let head = Request::push("idle", JOB).header("Expect", "100-continue").head();
    let mut busy: Vec<_> = (0..2).map(|_| connect(served.address).unwrap()).collect();
    for stream in &mut busy {
        stream.write_all(head.as_bytes()).unwrap();
        // The listener asks for the body, which never comes.
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    for _ in 0..3 {
        let refused = served.push("idle", JOB);
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(refused.refused(503).contains("2 requests are under way"));
    }
    let said = log_lines(&served.master, "HTTP requests at their limit");
    assert!(said.len() == 1 && said[0].contains("raise max_connections"), "{said:?}");
    // Many more connections than permits.
    let mut open: Vec<_> = (0..100).map(|_| connect(served.address).unwrap()).collect();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(served.send(&Request::new("GET", path, "")).status, 200, "{path} needs no permit");
    }
    assert!(health(open.last_mut().unwrap()).is_some());
    for stream in &mut busy {
        HttpResponse::read(stream).unwrap().refused(408);
    }
    assert_eq!(served.push("idle", JOB).status, 201);
}

#[test]
fn idle_connections_delay_neither_pushes_nor_health_checks() {
    let served = HttpFixture::with("");
    let _idle: Vec<_> = (0..300).map(|_| connect(served.address).unwrap()).collect();
    let quickest = |request: &Request| {
        let time = |_| {
            let begun = Instant::now();
            assert!(served.send(request).status < 300);
            begun.elapsed()
        };
        // A loaded machine may delay some of them.
        (0..20).map(time).min().unwrap()
    };
    let (push, health) = (Request::push("idle", JOB), Request::new("GET", "/healthz", ""));
    assert!(quickest(&push) < Duration::from_millis(50));
    assert!(quickest(&health) < Duration::from_millis(20));
}

#[test]
fn kept_connection_has_a_bounded_life() {
    let served = HttpFixture::with("timeout_seconds = 0.1");
    let mut stream = connect(served.address).unwrap();
    let begun = Instant::now();
    while health(&mut stream).is_some() {
        assert!(begun.elapsed() < WAIT_DEADLINE, "the connection never ends");
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(served.push("idle", JOB).status, 201);
}

#[test]
fn wrong_tokens_are_logged_and_slow_their_peer() {
    let served = HttpFixture::with(&format!("token = \"{TOKEN}\""));
    let guess = |n: usize| Request::push("idle", JOB).token(&format!("guess-{n}-{n}-{n}-{n}"));
    let begun = Instant::now();
    for n in 0..14 {
        served.send(&guess(n)).refused(401);
    }
    // The first six are a client with a mistake, the others a guesser.
    assert!(begun.elapsed() >= Duration::from_millis(8 * 250), "{:?}", begun.elapsed());
    let address = served.address;
    let guesses: Vec<_> = (0..40).map(|n| thread::spawn(move || guess(n).send(address).status)).collect();
    let statuses: Vec<_> = guesses.into_iter().map(|guess| guess.join().unwrap()).collect();
    assert!(statuses.iter().all(|status| matches!(status, 401 | 503)), "{statuses:?}");
    assert_eq!(served.send(&Request::push("idle", JOB).token(TOKEN)).status, 201, "the right one is served");
    let said = log_lines(&served.master, "wrong token");
    assert_eq!(said.len(), 1, "one line a minute: {said:?}");
    assert!(said[0].contains("127.0.0.1") && !said[0].contains("guess-"), "{said:?}");
}

#[test]
fn weak_token_on_a_public_address_is_a_warning() {
    let served = HttpFixture::with("");
    for (token, part) in
        [("a", "has fewer than 16 characters"), ("aaaaaaaaaaaaaaaaaaaa", "has only 1 different")]
    {
        let config = format!("[http]\nlisten = \"0.0.0.0:0\"\ntoken = \"{token}\"\n[channels.default]\n");
        let file = served.write("weak.toml", &config);
        let output = std::process::Command::new(crate::fixture::BINARY)
            .args(["config:check", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let said = crate::fixture::text(&output.stderr);
        assert!(output.status.success() && said.contains(part), "{said}");
        assert!(
            said.contains("by every host that reaches this address")
                && !said.contains(&format!("\"{token}\""))
        );
    }
}
