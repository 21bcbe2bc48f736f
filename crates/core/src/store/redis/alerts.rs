//! The records of alerts: one hash outside the keys that producers may write.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::listing::job_counts;
use super::reply::{count, fields, list, text};
use super::scripts::Script;
use crate::durations::micros;
use crate::job::Timestamp;
use crate::store::alerts::AlertFields;
use crate::store::{AlertLook, AlertLooked, AlertRecords, StoreError};

const LOOKING: &str = "looking at alerts";

impl RedisStore {
    pub(super) async fn looked_at_alerts(&self, look: AlertLook<'_>) -> Result<AlertLooked, StoreError> {
        let key = self.keys.alerts().to_owned();
        let mut call = self.call(Script::LookAtAlerts, LOOKING, &[key]).await?;
        call.arg(look.watcher).arg(micros(look.lease)).arg(u8::from(look.report.is_some()));
        call.arg(look.report.unwrap_or_default()).arg(look.save.unwrap_or_default());
        call.read(looked).await
    }

    pub(super) async fn alert_records(&self) -> Result<AlertRecords, StoreError> {
        let key = self.keys.alerts().to_owned();
        let call = self.call(Script::Alerts, "reading alerts", &[key]).await?;
        let records = |reply| {
            let [now, found] = fields(reply)?;
            Some(alert_fields(found)?.records(Timestamp(count(now)?)))
        };
        call.read(records).await
    }

    pub(super) async fn silenced(
        &self,
        rule: &str,
        time: Option<(Duration, &str)>,
    ) -> Result<Timestamp, StoreError> {
        let key = self.keys.alerts().to_owned();
        let mut call = self.call(Script::Silence, "silencing a rule", &[key]).await?;
        call.arg(rule);
        match time {
            Some((time, comment)) => call.arg(micros(time)).arg(comment),
            None => call.arg("").arg(""),
        };
        call.read(|reply| count(reply).map(Timestamp)).await
    }
}

/// The reply of `look_at_alerts.lua`.
fn looked(reply: Value) -> Option<AlertLooked> {
    let [holds, taken, saved, state, masters, counts, found] = fields(reply)?;
    let counts = job_counts(counts)?;
    let found = alert_fields(found)?;
    let records = found.records(counts.now);
    Some(AlertLooked {
        holds: count(holds)? == 1,
        taken: count(taken)? == 1,
        saved: count(saved)? == 1,
        state: text(state).filter(|state| !state.is_empty()),
        silences: records.silences,
        reports: records.reports,
        masters: count(masters)?,
        counts,
    })
}

/// Fields and their values in turn.
fn alert_fields(reply: Value) -> Option<AlertFields> {
    let mut values = list(reply)?.into_iter();
    let mut fields = BTreeMap::new();
    while let Some(field) = values.next() {
        fields.insert(text(field)?, text(values.next()?)?);
    }
    Some(AlertFields(fields))
}
