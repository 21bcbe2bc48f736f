//! Explains which job holds a unique key, and until when. Pure.

use std::time::Duration;

use crate::cli::{sanitize, time};
use crate::job::{JobId, UniqueUntil};
use crate::store::JobView;
use crate::why::{Explanation, reasons};

/// Most characters of a key in a sentence.
const MAX_KEY_CHARS: usize = 80;

/// The holder of a key. `job` is the holder's record, if it still exists, with the explanation of its state.
pub(super) fn explain(
    key: &str,
    channel: &str,
    holder: Option<JobId>,
    job: Option<(&JobView, Explanation)>,
) -> Explanation {
    let key = sanitize::truncated(key, MAX_KEY_CHARS);
    let Some(id) = holder else {
        return reasons::KEY_FREE.explain(&[("channel", &channel), ("key", &key)]);
    };
    let Some((job, state)) = job else {
        return reasons::KEY_WITHOUT_JOB.explain(&[("key", &key), ("id", &id)]);
    };
    let until = match (job.meta.unique_for_ms, job.meta.unique_until) {
        (Some(ms), _) => time::local(job.meta.pushed_at(id).after(Duration::from_millis(ms))),
        (None, UniqueUntil::Start) => "it starts".to_owned(),
        (None, UniqueUntil::End) => "it has ended".to_owned(),
    };
    reasons::KEY_HELD.explain(&[("key", &key), ("id", &id), ("until", &until), ("job", &state.text)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobMeta, Timestamp};
    use crate::store::JobState;

    const ID: JobId = JobId(1_796_029_200_000_000);

    fn said(edit: impl FnOnce(&mut JobMeta)) -> String {
        let mut meta = JobMeta::named("x");
        edit(&mut meta);
        let (state, at, payload) = (JobState::Waiting, Timestamp(0), "{}".to_owned());
        let job = JobView { id: ID, state, at, meta, payload };
        let state = Explanation { reason: "no_slot", text: "Job 1 (x) is waiting for a slot.".to_owned() };
        let explained = explain("k\x1b", "mail", Some(ID), Some((&job, state)));
        assert_eq!(explained.reason, "unique_key");
        explained.text
    }

    #[test]
    fn key_is_held_until_end_start_or_expiry() {
        let by = format!("The key \"k\\u{{1b}}\" is held by job {ID}");
        let rest = "a push with it adds no job. Job 1 (x) is waiting for a slot.";
        assert_eq!(said(|_| {}), format!("{by} until it has ended: {rest}"));
        let start = said(|meta| meta.unique_until = UniqueUntil::Start);
        assert_eq!(start, format!("{by} until it starts: {rest}"));
        let time = time::local(Timestamp(ID.0 + 60_000_000));
        assert_eq!(said(|meta| meta.unique_for_ms = Some(60_000)), format!("{by} until {time}: {rest}"));
    }

    #[test]
    fn key_without_job_is_free_or_timed() {
        let free = explain("k", "mail", None, None);
        assert_eq!(free.reason, "free");
        assert_eq!(free.text, "No job of channel \"mail\" holds the key \"k\": a push with it adds a job.");
        let gone = explain("k", "mail", Some(ID), None);
        assert!(gone.text.contains("is held for a fixed time by job"), "{gone:?}");
    }
}
