//! The records of alerts: the fields of a channel, see `store::alerts`.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::params;

use super::error::SqliteError;
use super::transaction::Tx;
use super::{clock, queries};
use crate::job::Timestamp;
use crate::store::alerts::{AlertFields, silence_field, silence_value};
use crate::store::{AlertLook, AlertLooked, AlertRecords};

/// An [`AlertLook`] on its way to the writing thread.
#[derive(Clone, Debug)]
pub(super) struct OwnedLook {
    watcher: String,
    lease: Duration,
    report: Option<String>,
    save: Option<String>,
}

impl OwnedLook {
    pub(super) fn of(look: AlertLook<'_>) -> Self {
        let AlertLook { watcher, lease, report, save } = look;
        Self {
            watcher: watcher.to_owned(),
            lease,
            report: report.map(str::to_owned),
            save: save.map(str::to_owned),
        }
    }

    fn borrowed(&self) -> AlertLook<'_> {
        AlertLook {
            watcher: &self.watcher,
            lease: self.lease,
            report: self.report.as_deref(),
            save: self.save.as_deref(),
        }
    }
}

pub(super) fn look(
    tx: &Tx<'_>,
    channel: i64,
    boot: &str,
    look: &OwnedLook,
) -> Result<AlertLooked, SqliteError> {
    let before = fields(tx, channel)?;
    let mut after = before.clone();
    let looked = after.look(&look.borrowed(), tx.now);
    for field in before.0.keys().filter(|field| !after.0.contains_key(*field)) {
        tx.execute("DELETE FROM alerts WHERE channel = ?1 AND field = ?2", params![channel, field])?;
    }
    for (field, value) in after.0.iter().filter(|(field, value)| before.0.get(*field) != Some(*value)) {
        set(tx, channel, field, value)?;
    }
    let masters = tx.number(
        "SELECT count(*) FROM owners WHERE channel = ?1 AND boot = ?2 AND deadline > ?3",
        params![channel, boot, clock::since_boot()],
    )?;
    let masters = u64::try_from(masters.unwrap_or(0)).unwrap_or(0);
    Ok(AlertLooked { masters, counts: queries::status(tx, channel)?, ..looked })
}

pub(super) fn records(tx: &Tx<'_>, channel: i64) -> Result<AlertRecords, SqliteError> {
    Ok(fields(tx, channel)?.records(tx.now))
}

/// Sets a silence in place of an earlier one of the rule; `None` ends it. Returns its end.
pub(super) fn silence(
    tx: &Tx<'_>,
    channel: i64,
    rule: &str,
    time: Option<(Duration, &str)>,
) -> Result<Timestamp, SqliteError> {
    let field = silence_field(rule);
    let Some((time, comment)) = time else {
        tx.execute("DELETE FROM alerts WHERE channel = ?1 AND field = ?2", params![channel, field])?;
        return Ok(tx.now);
    };
    let until = tx.now.after(time);
    set(tx, channel, &field, &silence_value(until, comment))?;
    Ok(until)
}

fn fields(tx: &Tx<'_>, channel: i64) -> Result<AlertFields, SqliteError> {
    let mut statement = tx.prepare("SELECT field, value FROM alerts WHERE channel = ?1")?;
    let fields = statement.query_map([channel], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(AlertFields(fields.collect::<Result<BTreeMap<_, _>, _>>()?))
}

fn set(tx: &Tx<'_>, channel: i64, field: &str, value: &str) -> Result<(), SqliteError> {
    tx.execute(
        "INSERT OR REPLACE INTO alerts (channel, field, value) VALUES (?1, ?2, ?3)",
        params![channel, field, value],
    )?;
    Ok(())
}
