//! Outcomes by status, headers and body of a response.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::channel::{errors, sending, sending_to, shown};
use crate::receiver::{CannedResponse, ReceivedRequest, Receiver, status};

fn wanted(got: &ReceivedRequest) -> Value {
    serde_json::from_str(&got.body).unwrap()
}

#[test]
fn each_status_class_is_done_retried_or_final() {
    let receiver = Receiver::start(|got| {
        let status = u16::try_from(wanted(got)["status"].as_u64().unwrap()).unwrap();
        CannedResponse::Whole(
            status,
            vec![("location", "/elsewhere".to_owned())],
            format!("as told, {status}"),
        )
    });
    let fixture = sending_to(&receiver, "");
    let master = fixture.listen(&[]);
    let (done, again, last) = (
        [200, 201, 202, 204],
        [408, 425, 429, 500, 502, 503],
        [301, 302, 307, 308, 304, 400, 401, 404, 410, 422],
    );
    let push = |status: &u16| (*status, fixture.push("hook", &format!("{{\"status\":{status}}}"), &[]));
    let ids: BTreeMap<u16, u64> = done.iter().chain(&again).chain(&last).map(push).collect();
    fixture.until("default", "the end of all jobs", |c| c.done == 4 && c.failed == 16);

    let mut attempts = BTreeMap::<u64, Vec<String>>::new();
    for got in receiver.requests() {
        assert_eq!(got.path, "/hook", "no redirect is followed");
        let status = wanted(&got)["status"].as_u64().unwrap();
        attempts.entry(status).or_default().push(got.header("aint-queue-attempt").to_owned());
    }
    for status in done.iter().chain(&last) {
        assert_eq!(attempts[&u64::from(*status)], ["1"], "{status}");
    }
    for status in again {
        assert_eq!(attempts[&u64::from(status)], ["1", "2"], "{status}");
        assert_eq!(shown(&fixture, ids[&status])["reason"], "exhausted");
    }
    for status in last {
        assert_eq!(shown(&fixture, ids[&status])["reason"], "final");
        let error = errors(&fixture, ids[&status]).concat();
        assert!(error.starts_with(&format!("the receiver answered {status} ")), "{error}");
        let redirect = (300..400).contains(&status);
        assert_eq!(error.contains("redirects are not followed"), redirect, "{error}");
        // A response with status 304 has no body.
        assert_eq!(error.contains(&format!(": as told, {status}")), status != 304, "{error}");
    }
    assert!(master.stop().success());
}

/// The first response requests a wait, the second succeeds.
fn waits(first: u16, value: impl Fn() -> String + Send + Sync + 'static) -> Duration {
    let receiver = Receiver::start(move |got| match got.header("aint-queue-attempt") {
        "1" => CannedResponse::Whole(first, vec![("retry-after", value())], "busy".to_owned()),
        _ => status(200),
    });
    let fixture = sending_to(&receiver, "");
    let master = fixture.listen(&[]);
    fixture.push("hook", "{}", &[]);
    fixture.until("default", "the second attempt", |c| c.done == 1);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert!(master.stop().success());
    requests[1].at - requests[0].at
}

#[test]
fn retry_after_in_seconds_delays_the_job() {
    for status in [429, 503] {
        let waited = waits(status, || "2".to_owned());
        assert!(waited >= Duration::from_secs(2), "{waited:?}");
    }
}

#[test]
fn retry_after_as_a_date_delays_the_job() {
    // A date has whole seconds, so up to one of the three seconds is lost.
    let waited = waits(503, || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3)));
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
}

#[test]
fn response_body_is_bounded_and_does_not_decide() {
    let receiver = Receiver::start(|got| {
        let status = u16::try_from(wanted(got)["status"].as_u64().unwrap()).unwrap();
        match got.header("aint-queue-job") {
            "endless" => CannedResponse::Endless(status),
            _ => CannedResponse::Stalled(status),
        }
    });
    let fixture = sending_to(&receiver, "");
    let master = fixture.listen(&[]);
    for job in ["endless", "halting"] {
        fixture.push(job, r#"{"status":200}"#, &[]);
    }
    let failed = ["endless", "halting"].map(|job| fixture.push(job, r#"{"status":404}"#, &[]));
    fixture.until("default", "the end of all jobs", |c| c.done == 2 && c.failed == 2);
    for id in failed {
        let error = errors(&fixture, id).concat();
        assert!(
            error.starts_with("the receiver answered 404 Not Found: xxx") && error.len() < 1200,
            "{error}"
        );
    }
    // Bytes sent beyond those read stay in the buffers of two sockets.
    assert!(receiver.body_bytes_sent() < 32 << 20, "{}", receiver.body_bytes_sent());
    assert!(master.stop().success());
}

#[test]
fn connection_without_response_is_retried() {
    let receiver = Receiver::start(|got| match got.header("aint-queue-attempt") {
        "1" => CannedResponse::Close,
        _ => status(204),
    });
    let fixture = sending_to(&receiver, "");
    let master = fixture.listen(&[]);
    fixture.push("hook", "{}", &[]);
    fixture.until("default", "the second attempt", |c| c.done == 1);
    assert_eq!(receiver.requests().len(), 2);
    assert!(master.stop().success());
}

#[test]
fn refused_connection_and_non_http_name_the_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let no_http = other.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in other.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    for (address, wanted) in [(nobody, "could not connect to"), (no_http, "got no response from")] {
        let fixture = sending(&format!("http://{address}/a?b=c"), "allow_http = true\nallow_private = true");
        let master = fixture.listen(&[]);
        let id = fixture.push("hook", "{}", &[]);
        fixture.until("default", "the failure", |c| c.failed == 1);
        let errors = errors(&fixture, id);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with(&format!("{wanted} http://{address}: ")), "{errors:?}");
        assert!(master.stop().success());
    }
}

#[test]
fn response_before_body_is_read_counts() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answered = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Sends the head and a part of the body, then stops.
        stream.read_exact(&mut [0; 2048]).unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 6\r\n\r\nnot so").unwrap();
        stream
    });
    let fixture = sending(&format!("http://{address}/"), "allow_http = true\nallow_private = true");
    let payload = format!("\"{}\"", "x".repeat(1_000_000));
    fixture.push_lines("default", [format!(r#"{{"job":"hook","payload":{payload}}}"#)]);
    let master = fixture.listen(&[]);
    fixture.until("default", "the failure", |c| c.failed == 1);
    let failed = fixture.json(&["queue:failed"]).to_string();
    assert!(failed.contains("the receiver answered 413 Payload Too Large: not so"), "{failed}");
    drop(answered.join().unwrap());
    assert!(master.stop().success());
}
