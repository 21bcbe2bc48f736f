//! Receivers with TLS: always verified.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;

use crate::channel::{errors, sending};
use crate::receiver::{Receiver, status};

/// A receiver with a certificate for this name, and the certificate as PEM.
fn with_certificate(name: &str) -> (Receiver, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (Receiver::start_with(Some(Arc::new(config)), |_| status(200)), cert.pem())
}

#[test]
fn private_authority_certificate_is_verified() {
    let (receiver, pem) = with_certificate("localhost");
    let url = format!("https://localhost:{}/hook", receiver.port());
    let fixture = sending(&url, "allow_private = true\nca_file = \"ca.pem\"");
    fixture.write("ca.pem", &pem);
    let master = fixture.listen(&[]);
    fixture.push("hook", r#"{"a":1}"#, &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    assert_eq!(receiver.requests()[0].body, r#"{"a":1}"#);
    assert!(master.stop().success());
}

#[test]
fn unknown_authority_certificate_is_refused() {
    let (receiver, _) = with_certificate("localhost");
    let url = format!("https://localhost:{}/hook", receiver.port());
    let fixture = sending(&url, "allow_private = true");
    // The machine may have no certificate authorities; either way it does not trust this one.
    let (_, other) = with_certificate("elsewhere");
    fixture.write("other.pem", &other);
    let mut command = fixture.command(&["queue:run"]);
    command.env("SSL_CERT_FILE", fixture.file("other.pem"));
    let id = fixture.push("hook", "{}", &["--max-attempts", "1"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", crate::fixture::text(&output.stderr));
    let errors = errors(&fixture, id);
    assert!(errors[0].contains("invalid peer certificate"), "{errors:?}");
    assert!(receiver.requests().is_empty());
}

#[test]
fn certificate_for_another_name_is_refused() {
    let (receiver, pem) = with_certificate("elsewhere");
    let url = format!("https://localhost:{}/hook", receiver.port());
    let fixture = sending(&url, "allow_private = true\nca_file = \"ca.pem\"");
    fixture.write("ca.pem", &pem);
    let master = fixture.listen(&[]);
    let id = fixture.push("hook", "{}", &["--max-attempts", "1"]);
    fixture.until("default", "the failure", |c| c.failed == 1);
    let errors = errors(&fixture, id);
    assert!(errors[0].contains("not valid for name"), "{errors:?}");
    assert!(receiver.requests().is_empty());
    assert!(master.stop().success());
}

#[test]
fn worker_reports_file_without_authorities() {
    let fixture = sending("https://localhost:1/hook", "ca_file = \"ca.pem\"");
    let said = crate::fixture::text(&fixture.run(&["config:check"]).stderr);
    assert!(said.contains("worker.ca_file cannot be read"), "{said}");
    fixture.write("ca.pem", "nothing\n");
    let master = fixture.listen(&[]);
    fixture.push("hook", "{}", &[]);
    crate::fixture::until("the worker's error", || {
        master.log().contains("no PEM certificate found").then_some(())
    });
    assert_eq!(fixture.counts("default").failed, 0);
    assert!(master.stop().success());
}
