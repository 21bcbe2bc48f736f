//! Requests as the receiver sees and verifies them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::channel::{SECRET, sending_to};
use crate::fixture::Fixture;
use crate::receiver::{ReceivedRequest, Receiver, status};

const NEW: &str = "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldw==";

/// A signature computed as in the specification.
pub fn sign(secret: &str, id: &str, seconds: u64, body: &str) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let tag =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

/// Verifies the signatures like a receiver with one secret.
fn verified(got: &ReceivedRequest, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = format!("{}.{}.{}", got.header("webhook-id"), got.header("webhook-timestamp"), got.body);
    got.header("webhook-signature").split(' ').any(|signature| {
        let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&key, signed.as_bytes(), &tag).is_ok()
    })
}

#[test]
fn request_is_verified_by_its_receiver() {
    let receiver = Receiver::start(|_| status(200));
    let fixture = sending_to(&receiver, "headers = { X-Tenant = \"blue\" }");
    let master = fixture.listen(&[]);
    // Spaces, characters beyond ASCII and large numbers arrive unchanged.
    let payload = "{ \"to\" : \"Zoë\",\"n\":12345678901234567890 }";
    let id = fixture.push(
        "App\\Mail",
        payload,
        &["--header", "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    );
    fixture.until("default", "the job", |c| c.done == 1);
    let got = &receiver.requests()[0];
    assert_eq!(got.body, payload);
    assert!(verified(got, SECRET));
    assert!(!verified(&ReceivedRequest { body: "{}".into(), ..got.clone() }, SECRET));
    assert!(!verified(got, NEW));
    let header = |name| got.header(name);
    assert_eq!(header("webhook-id"), format!("default-{id}"));
    assert_eq!((header("aint-queue-job"), header("aint-queue-channel")), ("App\\Mail", "default"));
    assert_eq!((header("aint-queue-attempt"), header("aint-queue-max-attempts")), ("1", "2"));
    assert_eq!((header("content-type"), header("x-tenant")), ("application/json", "blue"));
    assert_eq!(header("traceparent"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    fixture.push("hook", "{}", &["--header", "traceparent=00-1", "--header", "tracestate=a=1"]);
    fixture.until("default", "the job with an invalid trace", |c| c.done == 2);
    let invalid = &receiver.requests()[1].headers;
    assert!(!invalid.contains_key("traceparent") && !invalid.contains_key("tracestate"), "{invalid:?}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(header("webhook-timestamp").parse::<u64>().unwrap().abs_diff(now) < 60);
    assert!(master.stop().success());
}

#[test]
fn two_secrets_verify_old_and_new_receivers() {
    let receiver = Receiver::start(|_| status(200));
    let fixture = Fixture::sqlite(&format!(
        "[channels.default.worker]\ntype = \"coroutine\"\nurl = \"http://127.0.0.1:{}/\"\nallow_http = true\n\
         allow_private = true\nsecret = [\"{NEW}\", \"{SECRET}\"]\n",
        receiver.port()
    ));
    let master = fixture.listen(&[]);
    fixture.push("hook", "{}", &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    let got = &receiver.requests()[0];
    assert!(verified(got, NEW) && verified(got, SECRET));
    assert!(master.stop().success());
}
