//! Who holds a unique key, and for how long, in a sentence. Pure.

use std::time::Duration;

use super::blockers::Explanation;
use super::facts::JobFacts;
use crate::cli::{sanitize, time};
use crate::job::{JobId, UniqueUntil};

/// Most characters of a key that are shown.
const MAX_KEY_CHARS: usize = 80;

/// Who holds a key. `why` is what is said of that job, if it has a record.
pub(super) fn answer(
    key: &str,
    channel: &str,
    holder: Option<JobId>,
    job: Option<(&JobFacts, Explanation)>,
) -> Explanation {
    let key = sanitize::truncated(key, MAX_KEY_CHARS);
    let Some(id) = holder else {
        let text =
            format!("No job of channel \"{channel}\" holds the key \"{key}\": a push with it adds a job.");
        return Explanation::new("free", text);
    };
    let Some((job, why)) = job else {
        let text = format!(
            "Job {id} has taken the key \"{key}\" for a time that is not over, and is gone: a push with it adds nothing \
             until then."
        );
        return Explanation::new("unique_key", text);
    };
    let until = match (job.meta.unique_for_ms, job.meta.unique_until) {
        (Some(ms), _) => {
            let until = id.pushed_at().after(Duration::from_millis(ms));
            format!("until {}", time::local(until))
        }
        (None, UniqueUntil::Start) => "until it begins".to_owned(),
        (None, UniqueUntil::End) => "until it has ended".to_owned(),
    };
    let text = format!(
        "The key \"{key}\" is held by job {id} {until}, so a push with it adds nothing. {}",
        why.text
    );
    Explanation::new("unique_key", text)
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
        let job = JobFacts { id: ID, state: JobState::Waiting, at: Timestamp(0), meta, before: None };
        let why = Explanation::new("no_slot", "Job 1 (x) waits for a slot.");
        let answer = answer("k\x1b", "mail", Some(ID), Some((&job, why)));
        assert_eq!(answer.reason, "unique_key");
        answer.text
    }

    #[test]
    fn key_is_held_until_end_start_or_expiry() {
        let by = format!("The key \"k\\u{{1b}}\" is held by job {ID}");
        let rest = "so a push with it adds nothing. Job 1 (x) waits for a slot.";
        assert_eq!(said(|_| {}), format!("{by} until it has ended, {rest}"));
        let start = said(|meta| meta.unique_until = UniqueUntil::Start);
        assert_eq!(start, format!("{by} until it begins, {rest}"));
        let time = time::local(Timestamp(ID.0 + 60_000_000));
        assert_eq!(said(|meta| meta.unique_for_ms = Some(60_000)), format!("{by} until {time}, {rest}"));
    }

    #[test]
    fn key_without_job_is_free_or_timed() {
        let free = answer("k", "mail", None, None);
        assert_eq!(free.reason, "free");
        assert_eq!(free.text, "No job of channel \"mail\" holds the key \"k\": a push with it adds a job.");
        let gone = answer("k", "mail", Some(ID), None);
        assert!(gone.text.contains("for a time that is not over, and is gone"), "{gone:?}");
    }
}
