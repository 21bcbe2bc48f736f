//! Adds jobs.

use std::time::Duration;

use redis::Value;

use super::reply::{int, is_word, list};
use super::scripts::Script;
use super::{RedisStore, micros, priority};
use crate::job::{JobId, JobMeta, MAX_DELAY, NewJob, NewJobError, Priority, Start, UniqueUntil};
use crate::store::driver_rules::{self, MAX_ID_LEAD};
use crate::store::{PushError, Pushed};

const DOING: &str = "pushing jobs";

impl RedisStore {
    pub(super) async fn add(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        driver_rules::check(jobs)?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let options = || jobs.iter().enumerate().filter(|(_, job)| has_options(job));
        let names: Vec<_> = options()
            .filter_map(|(_, job)| job.meta.unique.as_deref())
            .map(|key| self.keys.unique(key))
            .collect();
        let mut call = self.call(Script::Push, DOING, &names).await?;
        call.arg(micros(MAX_DELAY)).arg(MAX_ID_LEAD);
        call.arg(if jobs.iter().any(|job| needs_layout_2(&job.meta)) { "2" } else { "1" });
        call.arg(options().count());
        for (index, job) in options() {
            call.arg(index + 1).arg(start(job.start)).arg(job.meta.unique.as_deref().unwrap_or(""));
            let held = job.meta.unique_for_ms.map(|ms| ms.to_string()).unwrap_or_default();
            call.arg(held).arg(priority(&job.meta));
        }
        for job in jobs {
            let mut record = driver_rules::new_meta_text(&job.meta);
            record.push('\n');
            record.push_str(job.payload.as_str());
            call.arg(record);
        }
        let reply = call.send().await?;
        if let Some(index) = too_late(&reply) {
            return Err(PushError::Job { index, why: NewJobError::Delay });
        }
        Ok(self.parsed(pushed(reply), DOING)?)
    }
}

/// Whether the script needs data of the job beyond its record.
fn has_options(job: &NewJob) -> bool {
    job.start != Start::Now || job.meta.unique.is_some() || job.meta.priority != Priority::Normal
}

/// Whether a program that knows layout 1 only would mistreat the job or drop part of its meta.
fn needs_layout_2(meta: &JobMeta) -> bool {
    meta.unique_until != UniqueUntil::End
        || meta.unique_for_ms.is_some()
        || meta.priority != Priority::Normal
        || meta.expires_in_ms.is_some()
        || meta.expires_at.is_some()
        || !meta.headers.is_empty()
}

/// The script form of the earliest start.
fn start(start: Start) -> String {
    match start {
        Start::Now | Start::After(Duration::ZERO) => String::new(),
        Start::After(delay) => format!("+{}", micros(delay)),
        Start::At(time) => format!("@{}", time.0),
    }
}

/// The index of a job whose start is too late.
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
    fn start_is_now_relative_or_absolute() {
        assert_eq!(start(Start::Now), "");
        assert_eq!(start(Start::After(Duration::ZERO)), "");
        assert_eq!(start(Start::After(Duration::from_millis(5))), "+5000");
        assert_eq!(start(Start::At(Timestamp(17))), "@17");
    }

    #[test]
    fn negative_reply_is_the_key_holder() {
        let reply = Value::Array(vec![Value::Int(7), Value::Int(-3)]);
        assert_eq!(too_late(&reply), None);
        assert_eq!(pushed(reply), Some(vec![Pushed::Added(JobId(7)), Pushed::Existing(JobId(3))]));
        let late = Value::Array(vec![Value::BulkString(b"DELAY".to_vec()), Value::Int(2)]);
        assert_eq!(too_late(&late), Some(1));
    }
}
