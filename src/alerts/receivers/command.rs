//! Programs that get a message as JSON.

use super::super::notification::{Alert, AlertStatus, Notification};
use super::super::text::{Text, summary_of};
use super::request::{SendFailure, excerpt};
use super::rfc3339;
use crate::config::CommandLine;
use crate::config::alerts::Language;
use crate::guardian::GuardianHandle;
use crate::guardian::program_run::{ProgramError, ProgramRun};
use serde_json::{Map, Value as Json, json};
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

/// A message as JSON, for programs and files.
pub(super) fn json(notification: &Notification, language: Language) -> Json {
    let text = Text::of(notification, language);
    let alert = |alert: &Alert| {
        let values: Map<String, Json> =
            alert.values.iter().map(|(field, value)| (field.name().to_owned(), json!(value))).collect();
        let (status, ended_at) = match alert.status {
            AlertStatus::Firing => ("firing", None),
            AlertStatus::Resolved(end) => ("resolved", Some(rfc3339(end))),
        };
        json!({
            "rule": alert.rule,
            "severity": alert.severity,
            "status": status,
            "host": alert.host,
            "condition": alert.condition,
            "summary": summary_of(alert, notification, language),
            "runbook": alert.runbook,
            "values": values,
            "started_at": rfc3339(alert.started_at),
            "ended_at": ended_at,
            "fingerprint": alert.fingerprint.to_string(),
        })
    };
    json!({
        "kind": "alert",
        "channel": notification.channel,
        "at": rfc3339(notification.at),
        "sender": notification.sender,
        "title": text.title,
        "url": text.link.map(|(_, url)| url),
        "test": notification.is_test,
        "alerts": notification.alerts.iter().map(alert).collect::<Vec<_>>(),
    })
}

/// Runs a program with one line of JSON about a channel on its standard input.
pub(super) async fn run(
    program: Program<'_>,
    channel: &str,
    guardian: &GuardianHandle,
    line: impl Display,
) -> Result<(), SendFailure> {
    let run = ProgramRun {
        argv: program.command.argv().to_vec(),
        env: vec![("AINT_QUEUE_CHANNEL".to_owned(), channel.to_owned())],
        directory: program.directory.to_owned(),
        input: format!("{line}\n"),
        limit: program.limit,
    };
    run.run(guardian).await.map_err(|error| match error {
        ProgramError::Start(_) | ProgramError::Failed(_) => SendFailure::passing(excerpt(&error.to_string())),
        // A program that hangs would hang again, and holds up the messages behind this one.
        ProgramError::Timeout(_) => SendFailure::last(excerpt(&error.to_string())),
    })
}

/// A program of the configuration.
#[derive(Clone, Copy)]
pub(super) struct Program<'a> {
    pub(super) command: &'a CommandLine,
    pub(super) limit: Duration,
    pub(super) directory: &'a Path,
}
