//! Adding jobs.

use std::time::Duration;

use redis::Value;

use super::reply::{int, is_word, list};
use super::scripts::Script;
use super::{RedisStore, micros};
use crate::job::{JobId, MAX_DELAY, NewJob, NewJobError, Start};
use crate::store::batch::{self, MAX_ID_LEAD};
use crate::store::{PushError, Pushed, StoreError};

const DOING: &str = "pushing jobs";

impl RedisStore {
    pub(super) async fn add(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        batch::check(jobs)?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.call(Script::Push, DOING, &[]).await?;
        call.arg(micros(MAX_DELAY)).arg(MAX_ID_LEAD);
        let has_options = |job: &&NewJob| job.start != Start::Now || job.meta.unique.is_some();
        call.arg(jobs.iter().filter(has_options).count());
        for (index, job) in jobs.iter().enumerate().filter(|(_, job)| has_options(job)) {
            call.arg(index + 1).arg(start(job.start)).arg(job.meta.unique.as_deref().unwrap_or(""));
        }
        for job in jobs {
            let mut record = super::meta_text(&job.meta);
            record.push('\n');
            record.push_str(job.payload.as_str());
            call.arg(record);
        }
        let reply = call.send().await?;
        if is_word(&reply, "AHEAD") {
            let source = "the newest id is ahead of the server's clock: too many jobs at once, or the clock stepped back";
            let place = self.place().to_owned();
            return Err(StoreError::Unavailable { place, doing: DOING, source: source.into() }.into());
        }
        if let Some(index) = too_late(&reply) {
            return Err(PushError::Job { index, source: NewJobError::Delay });
        }
        Ok(self.understood(pushed(reply), DOING)?)
    }
}

/// When the job may run, as the script reads it.
fn start(start: Start) -> String {
    match start {
        Start::Now | Start::After(Duration::ZERO) => String::new(),
        Start::After(delay) => format!("+{}", micros(delay)),
        Start::At(time) => format!("@{}", time.0),
    }
}

/// The index of the job that starts too late.
fn too_late(reply: &Value) -> Option<usize> {
    let Value::Array(values) = reply else { return None };
    match values.as_slice() {
        [word, Value::Int(nth)] if is_word(word, "DELAY") => usize::try_from(*nth - 1).ok(),
        _ => None,
    }
}

fn pushed(reply: Value) -> Option<Vec<Pushed>> {
    let one = |value| {
        let number = int(value)?;
        let id = JobId(number.unsigned_abs());
        Some(if number < 0 { Pushed::Existing(id) } else { Pushed::Added(id) })
    };
    list(reply)?.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;

    #[test]
    fn a_start_is_now_relative_or_absolute() {
        assert_eq!(start(Start::Now), "");
        assert_eq!(start(Start::After(Duration::ZERO)), "");
        assert_eq!(start(Start::After(Duration::from_millis(5))), "+5000");
        assert_eq!(start(Start::At(Timestamp(17))), "@17");
    }

    #[test]
    fn a_negative_answer_is_the_job_that_holds_the_key() {
        let reply = Value::Array(vec![Value::Int(7), Value::Int(-3)]);
        assert_eq!(too_late(&reply), None);
        assert_eq!(pushed(reply), Some(vec![Pushed::Added(JobId(7)), Pushed::Existing(JobId(3))]));
        let late = Value::Array(vec![Value::BulkString(b"DELAY".to_vec()), Value::Int(2)]);
        assert_eq!(too_late(&late), Some(1));
    }
}
