//! Rules that every driver applies to its input and to stored records. Pure: no store, no clock.

use std::time::Duration;

use super::clock_watch::STEP_NOTICE;
use super::{JobState, JobView, Leased, MAX_BATCH, MAX_BATCH_BYTES, PushError};
use crate::job::{
    JobId, JobMeta, JobRecord, MAX_DELAY, MAX_PAYLOAD_BYTES, NewJob, NewJobError, Payload, Start, Timestamp,
    is_job_name, mend_surrogates, truncated,
};

/// Largest distance of an id from the time of its push, in microseconds, at which the id stands for that time.
pub(crate) const MAX_ID_LEAD: u64 = 1_000_000;
/// Smallest advance of the store's clock that is recorded by calls that change nothing else, in microseconds.
pub(crate) const CLOCK_STEP: u64 = 100_000;
/// Number of waiting jobs that [`super::Store::take`] searches.
pub(crate) const TAKE_DEPTH: usize = 10_000;

/// Checks a batch of new jobs before any of it reaches the store.
#[doc(hidden)]
pub fn check(jobs: &[NewJob]) -> Result<(), PushError> {
    let bytes: usize = jobs.iter().map(|job| job.payload.as_str().len()).sum();
    if jobs.len() > MAX_BATCH || (jobs.len() > 1 && bytes > MAX_BATCH_BYTES) {
        return Err(PushError::TooLarge);
    }
    for (index, job) in jobs.iter().enumerate() {
        job.check().map_err(|why| PushError::Job { index, why })?;
    }
    Ok(())
}

/// The due time of a job pushed at `now`; `None` when it may run at once.
pub(crate) fn due(start: Start, now: Timestamp) -> Result<Option<Timestamp>, NewJobError> {
    let due = match start {
        Start::Now => return Ok(None),
        Start::After(delay) => now.after(delay),
        Start::At(time) => time,
    };
    match due {
        due if due <= now => Ok(None),
        due if due > now.after(MAX_DELAY) => Err(NewJobError::Delay),
        due => Ok(Some(due)),
    }
}

/// The time of a push at `now` for the meta of the new job `id`; `None` while the id stands for it.
pub(crate) fn pushed_at(id: JobId, now: Timestamp) -> Option<Timestamp> {
    (id.0.abs_diff(now.0) > MAX_ID_LEAD).then_some(now)
}

/// The time from which a waiting job waits, by its stored meta; that of its push if the meta cannot be read.
pub(crate) fn ready_at(id: JobId, meta: &str) -> Timestamp {
    serde_json::from_str::<JobMeta>(meta).map_or(id.pushed_at(), |meta| meta.ready_at(id))
}

/// The store's clock is behind the highest time it has shown: by how much, if worth a word.
///
/// A clock that was years ahead once does not catch up in a useful time, and the store does not know when it was set right.
pub(crate) fn clock_behind(highest: Timestamp, now: Timestamp) -> Option<Duration> {
    Some(highest.since(now)).filter(|step| (Duration::from_micros(CLOCK_STEP)..=STEP_NOTICE).contains(step))
}

/// Parses a stored record for a run.
pub(crate) fn leased(id: JobId, meta: &str, payload: String) -> Leased {
    let meta = match serde_json::from_str::<JobMeta>(meta) {
        Ok(meta) => meta,
        Err(error) => {
            return Leased::Malformed { id, why: format!("the job's data cannot be read: {error}") };
        }
    };
    if !is_job_name(&meta.job) {
        // Foreign writers may store any name; such a one would fit neither an environment variable nor a frame.
        let why = format!("its name \"{}\" is not allowed", truncated(&meta.job, 160).escape_debug());
        return Leased::Malformed { id, why };
    }
    match Payload::parse(payload) {
        Ok(payload) => Leased::Job(JobRecord { id, meta, payload }),
        Err(error) => Leased::Malformed { id, why: error.to_string() },
    }
}

/// Parses a stored record for display. `rank` is the time of a delayed or failed job, and ignored in other states.
pub(crate) fn listed(id: JobId, state: JobState, rank: u64, meta: &str, payload: String) -> JobView {
    let (meta, mut payload) = match serde_json::from_str::<JobMeta>(meta) {
        Ok(understood) => (understood, payload),
        Err(error) => {
            let why = format!("the job's data cannot be read: {error}");
            (JobMeta::malformed(id.pushed_at(), &why), as_found(meta, &payload))
        }
    };
    let at = match state {
        JobState::Delayed | JobState::Failed => Timestamp(rank),
        JobState::Waiting | JobState::Reserved => meta.pushed_at(id),
    };
    payload.truncate(truncated(&payload, MAX_PAYLOAD_BYTES).len());
    // A producer that writes to Redis directly stores its text unchecked.
    let payload = mend_surrogates(payload);
    JobView { id, state, at, meta, payload }
}

/// The stored text of a job's output.
pub(crate) fn output_text(output: &crate::job::JobOutput) -> String {
    serde_json::to_string(output).expect("an output is plain data and always has a JSON form")
}

/// A stored output; `None` for a text that is none: another program may have stored anything.
#[cfg(any(test, feature = "sqlite", feature = "redis"))]
pub(crate) fn stored_output(text: &str) -> Option<crate::job::JobOutput> {
    serde_json::from_str(text).ok()
}

/// The time of the youngest kept job that is too old.
pub(crate) fn kept_since(age: Duration, now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(crate::durations::micros(age)))
}

/// The stored text of a meta.
pub(crate) fn meta_text(meta: &JobMeta) -> String {
    serde_json::to_string(meta).expect("meta is plain data and always has a JSON form")
}

/// The bytes of a record: the meta in a line of its own, and the payload.
pub(crate) fn record_bytes(meta: &str, payload: &str) -> usize {
    meta.len() + 1 + payload.len()
}

/// The bytes of the record of a new job.
pub(crate) fn new_record_bytes(job: &NewJob) -> usize {
    record_bytes(&new_meta_text(&job.meta), job.payload.as_str())
}

/// The stored text of a new job's meta, without the time of the push.
pub(crate) fn new_meta_text(meta: &JobMeta) -> String {
    match meta.pushed_at {
        None => meta_text(meta),
        Some(_) => meta_text(&JobMeta { pushed_at: None, ..meta.clone() }),
    }
}

/// The text of a new job's meta with the time of its push.
#[cfg(any(test, feature = "sqlite"))]
pub(crate) fn with_push_time(meta: &str, time: Timestamp) -> String {
    let fields = meta.strip_prefix('{').expect("a meta is an object with a name");
    format!("{{\"pushed_at\":{},{fields}", time.0)
}

/// The unique key that a job holds until its end or start, and takes again after a failure. A timed hold is independent of
/// the job.
pub(crate) fn lasting_key(meta: &JobMeta) -> Option<&str> {
    meta.unique.as_deref().filter(|_| meta.unique_for_ms.is_none())
}

/// Whether a job that no owner has leased will not run, and so holds no unique key: it has expired. A failed callback
/// does not expire.
pub(crate) fn has_expired(meta: &JobMeta, id: JobId, now: Timestamp) -> bool {
    meta.failing.is_none() && meta.expiry(id).is_some_and(|expiry| expiry <= now)
}

/// The original text of a record whose meta cannot be parsed; it becomes the payload of the failed job.
pub(crate) fn as_found(meta: &str, payload: &str) -> String {
    format!("{meta}\n{payload}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(payload: &str) -> NewJob {
        NewJob::new("noop", Payload::parse(payload).unwrap())
    }

    #[test]
    fn half_a_character_in_a_stored_payload_is_replaced() {
        let (meta, payload) = (r#"{"job":"x"}"#, r#"["\ud83d"]"#.to_owned());
        let view = listed(JobId(1), JobState::Waiting, 0, meta, payload.clone());
        assert_eq!(view.payload, r#"["\ufffd"]"#);
        let Leased::Job(record) = leased(JobId(1), meta, payload) else { panic!("the record is readable") };
        assert_eq!(record.payload.as_str(), r#"["\ufffd"]"#);
    }

    #[test]
    fn batch_is_bounded_but_admits_one_job() {
        assert!(check(&vec![job("1"); MAX_BATCH]).is_ok());
        assert!(matches!(check(&vec![job("1"); MAX_BATCH + 1]), Err(PushError::TooLarge)));
        let large = job(&format!("\"{}\"", "x".repeat(MAX_PAYLOAD_BYTES - 2)));
        assert!(check(&vec![large.clone(); 4]).is_ok());
        assert!(matches!(check(&vec![large; 5]), Err(PushError::TooLarge)));
    }

    #[test]
    fn first_invalid_job_is_named_by_index() {
        let mut jobs = vec![job("1"); 3];
        jobs[1].meta.job = "no spaces".into();
        assert!(matches!(check(&jobs), Err(PushError::Job { index: 1, why: NewJobError::Name(_) })));
    }

    #[test]
    fn job_is_due_delayed_or_expired() {
        let now = Timestamp(1_000);
        let later = now.after(Duration::from_secs(5));
        assert_eq!(due(Start::Now, now), Ok(None));
        assert_eq!(due(Start::After(Duration::ZERO), now), Ok(None));
        assert_eq!(due(Start::At(Timestamp(3)), now), Ok(None));
        assert_eq!(due(Start::After(Duration::from_secs(5)), now), Ok(Some(later)));
        assert_eq!(due(Start::At(later), now), Ok(Some(later)));
        assert_eq!(due(Start::At(Timestamp(u64::MAX)), now), Err(NewJobError::Delay));
    }

    #[test]
    fn push_time_is_stored_when_the_id_is_far_from_it() {
        let (now, far) = (Timestamp(5_000_000), JobId(6_000_001));
        assert_eq!(pushed_at(JobId(6_000_000), now), None);
        assert_eq!((pushed_at(far, now), pushed_at(JobId(3_999_999), now)), (Some(now), Some(now)));
        let forged = JobMeta { pushed_at: Some(Timestamp(1)), ..JobMeta::named("a") };
        let text = with_push_time(&new_meta_text(&forged), now);
        let read: JobMeta = serde_json::from_str(&text).unwrap();
        assert_eq!((read.pushed_at(far), read.job.as_str()), (now, "a"));
    }

    #[test]
    fn short_steps_of_the_clock_are_not_reported() {
        let now = Timestamp(5_000_000);
        assert_eq!(clock_behind(Timestamp(1), now), None);
        assert_eq!(clock_behind(Timestamp(5_099_999), now), None);
        assert_eq!(clock_behind(Timestamp(6_500_000), now), Some(Duration::from_millis(1_500)));
        assert_eq!(clock_behind(now.after(STEP_NOTICE), now), Some(STEP_NOTICE));
        assert_eq!(clock_behind(now.after(STEP_NOTICE + Duration::from_secs(1)), now), None);
    }

    #[test]
    fn malformed_record_is_shown_as_found() {
        let shown = listed(JobId(7), JobState::Waiting, 7, "{bad", "1".into());
        assert_eq!((shown.meta.job.as_str(), shown.payload.as_str()), ("?", "{bad\n1"));
        assert!(matches!(leased(JobId(7), "{bad", "1".into()), Leased::Malformed { .. }));
        assert!(matches!(leased(JobId(7), r#"{"job":"a"}"#, "1 2".into()), Leased::Malformed { .. }));
        assert!(matches!(leased(JobId(7), r#"{"job":"a\u0000b"}"#, "1".into()), Leased::Malformed { .. }));
        assert!(matches!(leased(JobId(7), r#"{"job":"a"}"#, "1".into()), Leased::Job(_)));
    }
}
