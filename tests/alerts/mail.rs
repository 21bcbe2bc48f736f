//! Mail: what a server gets, and every way in which it can fail.

use std::time::{Duration, Instant};

use aint_queue::engine::alerts::NextAttempt;

use crate::fixture::{firing, resolved, self_signed, send};
use crate::smtp_sink::{Behaviour, SmtpSink};

fn line(server: &SmtpSink, query: &str) -> String {
    format!(
        "type = \"email\", to = [\"ops@example.com\"], from = \"queue@example.com\", smtp = \"smtp://127.0.0.1:{}{query}\", username = \"ann\", password = \"hunter2\"",
        server.port()
    )
}

#[tokio::test]
async fn alert_and_its_end_are_a_thread() {
    let server = SmtpSink::start(Behaviour::Takes);
    send(&line(&server, "?tls=none"), &firing(1)).await.unwrap();
    send(&line(&server, "?tls=none"), &resolved(1)).await.unwrap();
    let mails = server.mails();
    let header = |mail: &str, name: &str| {
        mail.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned)
    };
    assert_eq!(header(&mails[0], "Auto-Submitted").as_deref(), Some("auto-generated"));
    let id = header(&mails[0], "Message-ID").unwrap();
    assert_eq!(id, "<0000000000000001.1700000000000000@example.com>", "the first message of the thread");
    assert_eq!(header(&mails[1], "In-Reply-To"), Some(id));
    assert!(mails[0].contains("text/plain") && mails[0].contains("text/html"));
}

#[tokio::test]
async fn refusals_are_final_and_failures_on_the_way_are_not() {
    for (behaviour, next, said) in [
        (Behaviour::Refuses, NextAttempt::Never, "no such user"),
        (Behaviour::Later, NextAttempt::Usual, "greylisted"),
        (Behaviour::BreaksOff, NextAttempt::Usual, "did not take the mail"),
    ] {
        let server = SmtpSink::start(behaviour);
        let failure = send(&line(&server, "?tls=none"), &firing(1)).await.unwrap_err();
        assert_eq!(failure.next, next, "{failure:?}");
        assert!(failure.message.contains(said) && !failure.message.contains("hunter2"), "{failure:?}");
        assert_eq!(server.mails().len(), 0);
    }
}

#[tokio::test]
async fn no_mail_is_sent_without_the_tls_that_is_asked_for() {
    let server = SmtpSink::start(Behaviour::Takes);
    let failure = send(&line(&server, ""), &firing(1)).await.unwrap_err();
    assert!(failure.message.contains("offers no STARTTLS"), "{failure:?}");
    let wrapped = line(&server, "").replace("smtp://", "smtps://");
    assert!(send(&wrapped, &firing(1)).await.is_err());
    assert_eq!(server.mails().len(), 0);
}

#[tokio::test]
async fn silent_server_costs_ten_seconds_at_most() {
    let server = SmtpSink::start(Behaviour::Silent);
    let started = Instant::now();
    let failure = send(&line(&server, "?tls=none"), &firing(1)).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.next), ("no answer within 10 s", NextAttempt::Usual));
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn certificate_of_the_server_is_verified() {
    let (tls, authority) = self_signed();
    let server = SmtpSink::start_with(Behaviour::Takes, Some(tls));
    let wrapped = line(&server, "").replace("smtp://127.0.0.1", "smtps://localhost");
    let failure = send(&wrapped, &firing(1)).await.unwrap_err();
    assert!(failure.message.contains("certificate") && failure.next == NextAttempt::Never, "{failure:?}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    send(&format!("{wrapped}, ca_file = \"{}\"", file.display()), &firing(1)).await.unwrap();
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn starttls_is_a_handshake_with_the_trusted_authority_only() {
    let (tls, authority) = self_signed();
    let server = SmtpSink::start_with_starttls(tls);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let line = line(&server, "").replace("127.0.0.1", "localhost");
    let untrusted = send(&line, &firing(1)).await.unwrap_err();
    assert!(
        untrusted.message.contains("certificate") && untrusted.next == NextAttempt::Never,
        "{untrusted:?}"
    );
    send(&format!("{line}, ca_file = \"{}\"", file.display()), &firing(1)).await.unwrap();
    assert_eq!(server.mails().len(), 1);
}
