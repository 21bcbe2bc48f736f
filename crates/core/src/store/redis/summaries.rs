//! The summaries that masters publish: one key outside those that producers may write.
//!
//! A user with the permissions of an earlier version may not use that key. A summary is for display only, so its calls are
//! then made without the key, and the log names the remedy.

use std::sync::Mutex;
use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::RedisStore;
use super::call::Call;
use super::reply::{count, list, text};
use super::scripts::Script;
use crate::job::Timestamp;
use crate::log_macros::warn;
use crate::mutex::lock;
use crate::store::{Owner, OwnerView, Published, StoreError, Summary};

/// Time after which a refused key is tried again: an operator may have granted it.
const DENIAL_PERIOD: Duration = Duration::from_secs(60);

/// Whether the server lets this user use the key of the summaries.
#[derive(Debug, Default)]
pub(super) struct SummaryAccess(Mutex<Option<Instant>>);

impl SummaryAccess {
    fn is_denied(&self, now: Instant) -> bool {
        lock(&self.0).is_some_and(|at| now < at + DENIAL_PERIOD)
    }

    /// Records a refusal; returns whether it is the first.
    fn denied(&self, now: Instant) -> bool {
        lock(&self.0).replace(now).is_none()
    }

    fn allowed(&self) {
        *lock(&self.0) = None;
    }
}

impl RedisStore {
    /// Makes a call that `fill` completes, with the key of the summaries as its last one, or without that key if the server refuses
    /// it to this user. A refused call has run nothing. `fill` and `keys` are the same for both, apart from the flag.
    pub(super) async fn call_with_summaries<T>(
        &self,
        script: Script,
        doing: &'static str,
        mut keys: Vec<String>,
        fill: impl Fn(&mut Call<'_>, bool),
        parse: impl Fn(Value) -> Option<T>,
    ) -> Result<T, StoreError> {
        if !self.summary_access.is_denied(Instant::now()) {
            keys.push(self.keys.summaries().to_owned());
            let mut call = self.call(script, doing, &keys).await?;
            fill(&mut call, true);
            match call.attempt().await {
                Err(error) if error.denies_a_key() => {
                    if self.summary_access.denied(Instant::now()) {
                        warn!(
                            channel = self.keys.summaries(),
                            "summaries of masters refused by the server: other masters do not see this one; add the key pattern ~aint-queue-fleet:* to the user"
                        );
                    }
                    keys.pop();
                }
                reply => {
                    self.summary_access.allowed();
                    return call.parsed(reply, parse);
                }
            }
        }
        let mut call = self.call(script, doing, &keys).await?;
        fill(&mut call, false);
        call.read(parse).await
    }

    pub(super) async fn published(&self) -> Result<Vec<OwnerView>, StoreError> {
        let key = self.keys.summaries().to_owned();
        let call = self.call(Script::Masters, "listing masters", &[key]).await?;
        call.read(owners).await
    }
}

/// The owners in the reply of `masters.lua`.
fn owners(reply: Value) -> Option<Vec<OwnerView>> {
    let mut values = list(reply)?.into_iter();
    let now = Timestamp(count(values.next()?)?);
    let mut owners = Vec::new();
    while let Some(name) = values.next() {
        let deadline = Timestamp(count(values.next()?)?);
        owners.push(OwnerView {
            owner: Owner::named(text(name)?),
            lease_left: Some(deadline.since(now)).filter(|left| !left.is_zero()),
            published: published(&text(values.next()?)?, now),
        });
    }
    Some(owners)
}

/// A stored summary: its time, a newline, its text. `None` for another form, which only another program writes.
fn published(stored: &str, now: Timestamp) -> Option<Published> {
    let (at, summary) = stored.split_once('\n')?;
    let at = Timestamp(at.parse().ok()?);
    Some(Published { at, age: now.since(at), summary: Summary::new(summary) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MAX_SUMMARY_BYTES;

    #[test]
    fn stored_summary_of_another_form_is_unknown() {
        let now = Timestamp(9_000_000);
        let at = Timestamp(7_000_000);
        let expected = Published { at, age: Duration::from_secs(2), summary: Summary::new("{}\n{}") };
        assert_eq!(published("7000000\n{}\n{}", now), Some(expected));
        for other in ["", "7000000", "x\n{}", "-1\n{}"] {
            assert_eq!(published(other, now), None, "{other:?}");
        }
        let large = published(&format!("0\n{}", "x".repeat(MAX_SUMMARY_BYTES + 1)), now).unwrap();
        assert_eq!(large.summary, None);
        assert_eq!(published("99000000\n", now).unwrap().age, Duration::ZERO);
    }

    #[test]
    fn refused_key_is_tried_again_after_a_minute() {
        let (access, now) = (SummaryAccess::default(), Instant::now());
        assert!(!access.is_denied(now));
        assert!(access.denied(now) && !access.denied(now), "the first refusal is logged");
        assert!(access.is_denied(now + DENIAL_PERIOD - Duration::from_millis(1)));
        assert!(!access.is_denied(now + DENIAL_PERIOD));
        access.allowed();
        assert!(!access.is_denied(now) && access.denied(now));
    }
}
