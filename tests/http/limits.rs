//! Clients that send too much, send too slowly or never read.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::client::{HttpFixture, HttpResponse, Request, connect};

const JOB: &str = r#"{"job":"noop"}"#;

fn job_of(bytes: usize) -> String {
    format!(r#"{{"job":"noop","payload":"{}"}}"#, "x".repeat(bytes - 27))
}

#[test]
fn body_limit_is_exact() {
    let served = HttpFixture::with("max_body_bytes = 100000");
    assert_eq!(job_of(100_000).len(), 100_000);
    assert_eq!(served.push("idle", &job_of(100_000)).status, 201);
    assert!(served.push("idle", &job_of(100_001)).refused(413).contains("more than 100000 bytes"));
    // A client that sends far more than announced still gets the response.
    let reply = served.push("idle", &job_of(20 << 20));
    assert_eq!(reply.header("connection"), Some("close"));
    reply.refused(413);
    // A body without a length.
    let mut chunked = Request::push("idle", "").header("Transfer-Encoding", "chunked");
    chunked.body = format!("{:x}\r\n{}\r\n0\r\n\r\n", 300_000, job_of(300_000)).into_bytes();
    served.send(&chunked).refused(413);
    assert_eq!(served.counts("idle").waiting, 1);
}

#[test]
fn expect_continue_is_answered_at_once() {
    let served = HttpFixture::with("max_body_bytes = 100000");
    let asking =
        Request::push("idle", "").header("Content-Length", "5000000000").header("Expect", "100-continue");
    // The refusal arrives before the body is sent.
    served.send(&asking).refused(413);
    assert_eq!(served.send(&Request::push("idle", JOB).header("Expect", "100-continue")).status, 201);
}

#[test]
fn oversized_head_is_refused() {
    let served = HttpFixture::with("");
    let long = Request::push("idle", JOB).header("X-Long", &"x".repeat(1 << 20));
    assert_eq!(served.send(&long).status, 431);
    let many = (0..200).fold(Request::push("idle", JOB), |request, n| request.header(&format!("X-{n}"), "x"));
    assert_eq!(served.send(&many).status, 431);
    let path = Request::new("POST", &format!("/{}", "x".repeat(100_000)), JOB);
    assert!(matches!(served.send(&path).status, 414 | 431));
    assert_eq!(served.push("idle", JOB).status, 201);
}

#[test]
fn non_http_ends_only_its_connection() {
    let served = HttpFixture::with("timeout_seconds = 1");
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"\r\n\r\n",
    ] {
        let mut stream = connect(served.address).unwrap();
        stream.write_all(garbage).unwrap();
        let mut said = Vec::new();
        // The connection may end with a reset.
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{said:?}");
    }
    let twice = "POST /channels/idle/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 14\r\nContent-Length: 2\r\n\r\n{\"job\":\"noop\"}";
    let both = twice.replace("Content-Length: 2", "Transfer-Encoding: chunked");
    for smuggled in [twice, &both] {
        let mut stream = connect(served.address).unwrap();
        stream.write_all(smuggled.as_bytes()).unwrap();
        assert_eq!(HttpResponse::read(&mut stream).unwrap().status, 400);
    }
    assert_eq!(served.counts("idle").total, 0);
}

#[test]
fn slow_client_is_cut_off_alone() {
    let served = HttpFixture::with("timeout_seconds = 1");
    let head = Request::push("idle", JOB).head();
    let begun = Instant::now();
    let mut silent = connect(served.address).unwrap();
    let mut half_a_head = connect(served.address).unwrap();
    half_a_head.write_all(&head.as_bytes()[..20]).unwrap();
    let mut half_a_body = connect(served.address).unwrap();
    half_a_body.write_all(head.as_bytes()).unwrap();
    half_a_body.write_all(&JOB.as_bytes()[..5]).unwrap();
    assert_eq!(served.push("idle", JOB).status, 201, "other clients are served");

    let late = HttpResponse::read(&mut half_a_body).unwrap();
    assert!(late.refused(408).contains("within 1 seconds"), "{late:?}");
    for stream in [&mut silent, &mut half_a_head] {
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{said:?}");
    }
    let took = begun.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert_eq!(served.counts("idle").waiting, 1);
}

#[test]
fn client_not_reading_responses_is_cut_off() {
    let served = HttpFixture::with("timeout_seconds = 1");
    let mut stream = connect(served.address).unwrap();
    let asked = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(1000);
    let error = loop {
        if let Err(error) = stream.write_all(asked.as_bytes()) {
            break error;
        }
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    assert_eq!(served.push("idle", JOB).status, 201);
}

#[test]
fn missing_large_bodies_delay_others_one_timeout() {
    let served = HttpFixture::with("timeout_seconds = 2");
    let announced = Request::push("idle", "").header("Content-Length", "1000000").head();
    let mut stuck: Vec<_> = (0..4).map(|_| connect(served.address).unwrap()).collect();
    for stream in &mut stuck {
        stream.write_all(announced.as_bytes()).unwrap();
    }
    assert_eq!(served.push("idle", JOB).status, 201);
    let reply = served.push("idle", &job_of(200_000));
    assert!(matches!(reply.status, 201 | 503), "{reply:?}");
    if reply.status == 503 {
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    for stream in &mut stuck {
        HttpResponse::read(stream).unwrap().refused(408);
    }
    assert_eq!(served.push("idle", &job_of(200_000)).status, 201);
}
