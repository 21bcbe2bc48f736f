//! The memory of a master under large requests of many clients.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;

use crate::client::{HttpFixture, HttpResponse, Request, connect};
use crate::fixture::{Master, until};

/// The default `memory_limit` of a master, in MiB.
const MEMORY_LIMIT: u64 = 96;

/// The largest resident set of a process so far, in MiB.
fn peak_mib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// Sends a request as curl sends a large one: the body follows when the listener asks for it.
fn send_when_asked(request: &Request, address: SocketAddr) -> HttpResponse {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut stream = connect(address).unwrap();
    stream.write_all(request.clone().header("Expect", "100-continue").head().as_bytes()).unwrap();
    let mut begin = [0; CONTINUE.len()];
    while stream.peek(&mut begin).unwrap() < begin.len() {
        thread::yield_now();
    }
    if begin == CONTINUE {
        // The listener ends the connection of a body that comes too late.
        let _ = stream.write_all(&request.body);
    }
    HttpResponse::read(&mut stream).unwrap()
}

/// Sends the body from several clients at once; returns the number of accepted requests. The others are asked to retry.
fn flood(served: &HttpFixture, clients: usize, body: &str) -> usize {
    let request = Request::push("idle", body);
    let send = |_| {
        let (request, address) = (request.clone(), served.address);
        thread::spawn(move || send_when_asked(&request, address))
    };
    let clients: Vec<_> = (0..clients).map(send).collect();
    let responses: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    for response in responses.iter().filter(|response| response.status != 201) {
        // On a loaded machine a body may come too late.
        if response.status != 408 {
            assert!(response.refused(503).contains("too many bytes at once"), "{response:?}");
            assert_eq!(response.header("retry-after"), Some("1"));
        }
    }
    responses.iter().filter(|response| response.status == 201).count()
}

fn interrupted_nothing(master: &Master) {
    let log = master.log();
    for word in ["re-exec", "above its memory_limit", "interrupted"] {
        assert!(!log.contains(word), "{log}");
    }
}

// Before jobs were parsed batch by batch, each of these bodies of 1.3 MB took 20 MB.
#[test]
fn many_small_headers_stay_below_the_memory_limit() {
    let served = HttpFixture::with("");
    let before = peak_mib(served.master.pid());
    served.fixture.push("sleep", r#"{"ms":3000}"#, &[]);
    let headers: Vec<_> = (10..70).map(|n| format!("\"{n}\":\"\"")).collect();
    let job = format!("{{\"job\":\"noop\",\"headers\":{{{}}}}}", headers.join(","));
    let body = format!("[{}]", vec![job; 2_500].join(","));
    let accepted = flood(&served, 10, &body);
    assert!(accepted > 0);
    assert_eq!(served.counts("idle").waiting, accepted as u64 * 2_500);
    let growth = peak_mib(served.master.pid()) - before;
    assert!(growth < MEMORY_LIMIT / 2, "{growth} MiB more with {accepted} requests");
    served.until("default", "the job", |counts| counts.done == 1);
    interrupted_nothing(&served.master);
}

#[test]
fn largest_bodies_stay_below_the_memory_limit() {
    let served = HttpFixture::with("max_body_bytes = 67108864\ntimeout_seconds = 45");
    let before = peak_mib(served.master.pid());
    let job = format!("{{\"job\":\"noop\",\"payload\":\"{}\"}}", "x".repeat(1_000_000));
    let body = format!("[{}]", vec![job; 30].join(","));
    let accepted = flood(&served, 3, &body);
    assert!(accepted > 0);
    let growth = peak_mib(served.master.pid()) - before;
    // Two bodies fit the budget. Four of them, each twice in memory, do not.
    assert!(growth < MEMORY_LIMIT + 16, "{growth} MiB more with {accepted} requests");
    // Small requests have memory of their own.
    assert_eq!(served.push("idle", r#"{"job":"noop"}"#).status, 201);
    interrupted_nothing(&served.master);
}

#[test]
fn body_of_unknown_length_is_bounded_too() {
    let served = HttpFixture::with("timeout_seconds = 1");
    let chunked = Request::push("idle", "").header("Transfer-Encoding", "chunked");
    let mut stuck: Vec<_> = (0..8).map(|_| connect(served.address).unwrap()).collect();
    for stream in &mut stuck {
        stream.write_all(chunked.head().as_bytes()).unwrap();
    }
    let refused = stuck.iter_mut().map(|stream| HttpResponse::read(stream).unwrap().status);
    assert!(refused.into_iter().all(|status| matches!(status, 408 | 503)));
    until("room again", || (served.push("idle", r#"{"job":"noop"}"#).status == 201).then_some(()));
}

// Each of these responses has 400 KB. Before they were counted, every connection kept its own.
#[test]
fn unread_responses_are_counted() {
    const CLIENTS: usize = 24;
    let served = HttpFixture::with("timeout_seconds = 60");
    // All are one job, so that the store does not grow.
    let body = format!("[{}]", vec![r#"{"job":"n","unique":"k"}"#; 10_000].join(","));
    let request = Request::push("idle", &body);
    assert_eq!(request.send(served.address).status, 201);
    let before = peak_mib(served.master.pid());
    let answered = || {
        let metrics = Request::new("GET", "/metrics", "").send(served.address).text;
        let line = r#"aint_queue_http_requests_total{code="2xx",route="/channels/{channel}/jobs"} "#;
        metrics.lines().find_map(|l| l.strip_prefix(line)).map_or(0, |count| count.parse::<usize>().unwrap())
    };
    let deaf: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut stream = connect(served.address).unwrap();
            // The system would keep a response of this size for the client.
            setsockopt(&stream, RcvBuf, &4096).unwrap();
            stream.write_all(&[request.head().as_bytes(), request.body.as_ref()].concat()).unwrap();
            stream
        })
        .collect();
    until("every answer", || (answered() > CLIENTS).then_some(()));
    let grown = peak_mib(served.master.pid()) - before;
    assert!(grown < 10, "{grown} MiB for {CLIENTS} unread responses");
    drop(deaf);
    interrupted_nothing(&served.master);
}

// Each of these bodies took two to three times its size, because a long part was copied.
#[test]
fn body_with_one_long_part_is_never_copied() {
    const LONG: usize = 24 << 20;
    let served = HttpFixture::with("max_body_bytes = 67108864\ntimeout_seconds = 45");
    let fitting = format!("{{\"job\":\"noop\",{}\"payload\":1}}", " ".repeat(LONG));
    assert_eq!(served.push("idle", &fitting).status, 201);
    let before = peak_mib(served.master.pid());
    let (long, escaped) = ("a".repeat(LONG), "\\u0041".repeat(LONG / 6));
    for body in [
        format!("{{\"job\":\"a\",\"unique\":\"{long}\"}}"),
        format!("{{\"{long}\":1}}"),
        format!("{{\"{escaped}\":1}}"),
        format!("{{\"job\":\"{escaped}\"}}"),
        format!("{{\"job\":\"a\",\"max_attempts\":\"{long}\"}}"),
        format!("[{{\"job\":\"noop\",\"payload\":\"{escaped}\"}}]"),
        "[".repeat(LONG),
        format!("\"{long}\""),
    ] {
        let response = served.push("idle", &body);
        assert_eq!(response.status, 400, "{response:?}");
        let grown = peak_mib(served.master.pid()) - before;
        assert!(grown < 4, "{grown} MiB more than for a valid body: {}", &body[..40]);
    }
    assert_eq!(served.counts("idle").waiting, 1);
}
