//! A message that tests of several files describe and send.

use std::collections::BTreeMap;
use std::time::Duration;

use aint_queue_core::condition::Field;

use super::{Alert, AlertStatus, Fingerprint, Notification};
use crate::config::alerts::Severity;
use crate::job::Timestamp;
use crate::snapshot::{Recent, Snapshot};
use crate::store::JobCounts;

/// 2023-11-14 22:13:20 UTC, the time of the fixed signatures.
pub(super) const AT: Timestamp = Timestamp(1_700_000_000_000_000);

/// A firing alert of the rule `backlog` in the channel `mail`.
pub(super) fn notification() -> Notification {
    let alert = Alert {
        rule: "backlog".into(),
        severity: Severity::Warning,
        status: AlertStatus::Firing,
        host: None,
        condition: "waiting > 1000".to_owned(),
        summary: None,
        runbook: Some("https://wiki.example/backlog".to_owned()),
        values: BTreeMap::from([(Field::Waiting, 1204.0), (Field::OldestWaiting, 720.0)]),
        fields: vec![Field::Waiting],
        started_at: Timestamp(AT.0 - 720_000_000),
        fingerprint: Fingerprint(0x0123_4567_89ab_cdef),
    };
    Notification {
        channel: "mail".into(),
        alerts: vec![alert],
        at: AT,
        sender: "web1".to_owned(),
        public_url: Some("https://queue.example.com".to_owned()),
        is_test: false,
    }
}

/// The end of the same alert, after twelve minutes.
pub(super) fn resolved() -> Notification {
    let mut notification = notification();
    let alert = &mut notification.alerts[0];
    alert.status = AlertStatus::Resolved(alert.started_at.after(Duration::from_secs(720)));
    notification
}

/// A snapshot of the channel `mail` at the same time.
pub(super) fn snapshot() -> Snapshot {
    let counts = JobCounts {
        waiting: 1_204,
        failed: 3,
        now: AT,
        front_ready_at: Some(Timestamp(AT.0 - 720_000_000)),
        ..JobCounts::default()
    };
    let at = jiff::Timestamp::from_microsecond(AT.0.cast_signed()).unwrap();
    Snapshot { at, ..Snapshot::now(&"mail".into(), counts, None, Recent::default()) }
}
