//! Silences of rules, as operators set and end them.

use std::time::Duration;

use crate::job::{MAX_DELAY, Timestamp};
use crate::store::{MAX_SILENCES, Silence, Store, StoreError};

/// Longest silence.
pub const MAX_SILENCE_TIME: Duration = MAX_DELAY;

/// Silences a rule of a channel for a time; returns the end by the store's clock, or `None` when the channel has as many silences as
/// it may have.
///
/// # Errors
/// An error of the store.
pub async fn silence_rule(
    store: &dyn Store,
    rule: &str,
    time: Duration,
    comment: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let silences = store.alerts().await?.silences;
    let is_new = !silences.iter().any(|silence| silence.rule == rule);
    if is_new && silences.len() >= MAX_SILENCES {
        return Ok(None);
    }
    store.silence(rule, Some((time, comment))).await.map(Some)
}

/// Ends the silence of a rule; returns the silences in force when the rule has none.
///
/// # Errors
/// An error of the store.
pub async fn end_silence(store: &dyn Store, rule: &str) -> Result<Result<(), Vec<Silence>>, StoreError> {
    let silences = store.alerts().await?.silences;
    if !silences.iter().any(|silence| silence.rule == rule) {
        return Ok(Err(silences));
    }
    store.silence(rule, None).await.map(|_| Ok(()))
}
