//! Snapshots as receivers get them.

use tracing::info;

use super::request::HttpRequest;
use super::standard_headers;
use crate::config::alerts::HttpTarget;
use crate::config::stable_hash;
use crate::config::webhook::SigningKey;
use crate::job::Timestamp;
use crate::snapshot::Snapshot;

/// A snapshot on one line, for programs, files and webhooks.
pub(super) fn json(snapshot: &Snapshot) -> String {
    serde_json::to_string(snapshot).expect("a snapshot is plain data")
}

/// The request of a webhook. Its id is that of the snapshot.
pub(super) fn webhook(target: &HttpTarget, keys: &[SigningKey], snapshot: &Snapshot) -> HttpRequest {
    let at = Timestamp(u64::try_from(snapshot.at.as_microsecond()).unwrap_or_default());
    let body = json(snapshot);
    let mut headers = target.headers.clone();
    headers.extend(standard_headers(keys, id(snapshot), at, &body));
    HttpRequest { method: "POST", url: target.url.uri().to_string(), headers, body }
}

/// The identity of a snapshot.
pub(super) fn id(snapshot: &Snapshot) -> String {
    format!("snapshot-{:016x}-{}", stable_hash(snapshot.channel.as_bytes()), snapshot.at.as_microsecond())
}

/// Writes a snapshot to the log.
pub(super) fn log(snapshot: &Snapshot) {
    let s = &snapshot.status;
    info!(
        channel = %snapshot.channel, waiting = s.waiting, reserved = s.reserved, delayed = s.delayed,
        done = s.done, failed = s.failed, cleared = s.cleared, total = snapshot.total, "snapshot"
    );
}

#[cfg(test)]
mod tests {
    use super::super::tests::{body, target};
    use super::*;
    use crate::engine::alerts::sample::snapshot;

    #[test]
    fn webhook_is_signed_and_has_the_snapshot_as_its_body() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let request = webhook(&target("https://hook.example/a"), std::slice::from_ref(&key), &snapshot());
        let sent = body(&request);
        assert_eq!((&sent["channel"], &sent["waiting"]), (&"mail".into(), &1_204.into()));
        let header = |name: &str| &request.headers.iter().find(|(known, _)| known == name).unwrap().1;
        let id = header("webhook-id");
        assert!(id.ends_with("-1700000000000000") && !id.contains('.'), "{id}");
        let expected =
            crate::webhook::signature::signature(&[key], id, 1_700_000_000, request.body.as_bytes());
        assert_eq!(header("webhook-signature"), &expected);
        assert_eq!(webhook(&target("https://hook.example/a"), &[], &snapshot()).headers, []);
    }
}
