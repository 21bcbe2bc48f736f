//! What each kind of answer means for the job.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::channel::{errors, sending, sending_to, shown};
use crate::receiver::{Got, Receiver, Reply, status};

fn wanted(got: &Got) -> Value {
    serde_json::from_str(&got.body).unwrap()
}

#[test]
fn each_class_of_answer_is_done_tried_again_or_final() {
    let receiver = Receiver::start(|got| {
        let status = u16::try_from(wanted(got)["status"].as_u64().unwrap()).unwrap();
        Reply::Answer(status, vec![("location", "/elsewhere".to_owned())], format!("as told, {status}"))
    });
    let site = sending_to(&receiver, "");
    let master = site.listen(&[]);
    let (done, again, last) = (
        [200, 201, 202, 204],
        [408, 425, 429, 500, 502, 503],
        [301, 302, 307, 308, 304, 400, 401, 404, 410, 422],
    );
    let push = |status: &u16| (*status, site.push("hook", &format!("{{\"status\":{status}}}"), &[]));
    let ids: BTreeMap<u16, u64> = done.iter().chain(&again).chain(&last).map(push).collect();
    site.until("default", "the end of all", |c| c.done == 4 && c.failed == 16);

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
        assert_eq!(shown(&site, ids[&status])["reason"], "exhausted");
    }
    for status in last {
        assert_eq!(shown(&site, ids[&status])["reason"], "final");
        let error = errors(&site, ids[&status]).concat();
        assert!(error.starts_with(&format!("the receiver answered {status} ")), "{error}");
        let redirect = (300..400).contains(&status);
        assert_eq!(error.contains("redirects are not followed"), redirect, "{error}");
        // 304 has no body.
        assert_eq!(error.contains(&format!(": as told, {status}")), status != 304, "{error}");
    }
    assert!(master.stop().success());
}

/// The first answer asks for a wait, the second is well.
fn waits(first: u16, value: impl Fn() -> String + Send + Sync + 'static) -> Duration {
    let receiver = Receiver::start(move |got| match got.header("aint-queue-attempt") {
        "1" => Reply::Answer(first, vec![("retry-after", value())], "busy".to_owned()),
        _ => status(200),
    });
    let site = sending_to(&receiver, "");
    let master = site.listen(&[]);
    site.push("hook", "{}", &[]);
    site.until("default", "the second attempt", |c| c.done == 1);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert!(master.stop().success());
    requests[1].at - requests[0].at
}

#[test]
fn a_receiver_says_in_seconds_when_it_wants_the_job_again() {
    for status in [429, 503] {
        let waited = waits(status, || "2".to_owned());
        assert!(waited >= Duration::from_secs(2), "{waited:?}");
    }
}

#[test]
fn a_receiver_says_with_a_date_when_it_wants_the_job_again() {
    // A date has whole seconds, so up to one of the three is lost.
    let waited = waits(503, || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3)));
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
}

#[test]
fn what_follows_the_status_is_bounded_in_bytes_and_time_and_decides_nothing() {
    let receiver = Receiver::start(|got| {
        let status = u16::try_from(wanted(got)["status"].as_u64().unwrap()).unwrap();
        match got.header("aint-queue-job") {
            "endless" => Reply::Endless(status),
            _ => Reply::Halting(status),
        }
    });
    let site = sending_to(&receiver, "");
    let master = site.listen(&[]);
    for job in ["endless", "halting"] {
        site.push(job, r#"{"status":200}"#, &[]);
    }
    let failed = ["endless", "halting"].map(|job| site.push(job, r#"{"status":404}"#, &[]));
    site.until("default", "all ends", |c| c.done == 2 && c.failed == 2);
    for id in failed {
        let error = errors(&site, id).concat();
        assert!(
            error.starts_with("the receiver answered 404 Not Found: xxx") && error.len() < 1200,
            "{error}"
        );
    }
    // What was poured beyond what was read stood in the buffers of two sockets.
    assert!(receiver.poured() < 32 << 20, "{}", receiver.poured());
    assert!(master.stop().success());
}

#[test]
fn a_connection_without_an_answer_is_an_error_that_is_tried_again() {
    let receiver = Receiver::start(|got| match got.header("aint-queue-attempt") {
        "1" => Reply::Close,
        _ => status(204),
    });
    let site = sending_to(&receiver, "");
    let master = site.listen(&[]);
    site.push("hook", "{}", &[]);
    site.until("default", "the second attempt", |c| c.done == 1);
    assert_eq!(receiver.requests().len(), 2);
    assert!(master.stop().success());
}

#[test]
fn nobody_there_and_no_http_are_errors_that_name_the_place() {
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
    for (address, wanted) in [(nobody, "could not connect to"), (no_http, "got no answer from")] {
        let site = sending(&format!("http://{address}/a?b=c"), "allow_http = true\nallow_private = true");
        let master = site.listen(&[]);
        let id = site.push("hook", "{}", &[]);
        site.until("default", "the failure", |c| c.failed == 1);
        let errors = errors(&site, id);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with(&format!("{wanted} http://{address}: ")), "{errors:?}");
        assert!(master.stop().success());
    }
}

#[test]
fn an_answer_that_comes_before_the_body_was_read_counts() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answered = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The head and a part of the body, no more.
        stream.read_exact(&mut [0; 2048]).unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 6\r\n\r\nnot so").unwrap();
        stream
    });
    let site = sending(&format!("http://{address}/"), "allow_http = true\nallow_private = true");
    let payload = format!("\"{}\"", "x".repeat(1_000_000));
    site.push_lines("default", [format!(r#"{{"job":"hook","payload":{payload}}}"#)]);
    let master = site.listen(&[]);
    site.until("default", "the failure", |c| c.failed == 1);
    let failed = site.json(&["queue:failed"]).to_string();
    assert!(failed.contains("the receiver answered 413 Payload Too Large: not so"), "{failed}");
    drop(answered.join().unwrap());
    assert!(master.stop().success());
}
