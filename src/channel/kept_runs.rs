//! The done runs of a channel that keeps them in its store: their stored form, and their removal once they are too old.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::done_runs::DoneRun;
use crate::job::{JobMeta, JobOutput};
use crate::store::{KeptJob, KeptLimits, KeptView, MAX_BATCH, Store};

/// Time between two removals; a job that is too old is not listed in the meantime.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// A done run with the lines that it printed, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRun {
    /// The run.
    #[serde(flatten)]
    pub run: DoneRun,
    /// The lines; `None` when it printed nothing, and where outputs are not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<JobOutput>,
}

impl KeptRun {
    /// The run that a store has kept, with the store's time of its end. A text of another program is shown as an unknown job.
    #[must_use]
    pub fn of(view: &KeptView) -> Self {
        let read = serde_json::from_str(&view.text);
        let mut kept = read.unwrap_or_else(|_| Self { run: DoneRun::unknown(view), output: None });
        (kept.run.id, kept.run.at) = (view.id, view.at);
        kept
    }

    /// The settlement that keeps the run. Of lines that are too long in their stored form, the first ones are dropped.
    pub(super) fn keep(mut self, limits: KeptLimits) -> Option<KeptJob> {
        loop {
            let text = serde_json::to_string(&self).expect("a run is plain data and always has a JSON form");
            if let Some(kept) = KeptJob::new(text, limits) {
                return Some(kept);
            }
            let output = self.output.as_mut()?;
            let dropped = output.lines.len().div_ceil(4);
            if dropped == 0 {
                self.output = None;
                continue;
            }
            output.dropped_lines += dropped as u64;
            output.dropped_bytes +=
                output.lines.drain(..dropped).map(|line| line.text.len() as u64).sum::<u64>();
        }
    }
}

impl DoneRun {
    /// A run that nothing is known of.
    fn unknown(view: &KeptView) -> Self {
        Self {
            id: view.id,
            job: JobMeta::malformed(view.at, "").job,
            attempt: 1,
            at: view.at,
            wait_ms: None,
            took_ms: 0,
            pid: None,
            rss_peak: None,
            asked: false,
        }
    }
}

/// Has the store remove kept jobs that have become too old, also in a channel whose jobs do not end. A channel that keeps none looks
/// once for those of an earlier configuration, and repeats it until none is left.
#[derive(Debug)]
pub(super) struct KeptCleanUp {
    /// The store may have kept jobs.
    is_needed: bool,
    next_at: Option<Instant>,
    /// Ends with whether kept jobs are left.
    removal: JoinSet<bool>,
}

impl KeptCleanUp {
    pub(super) fn new() -> Self {
        Self { is_needed: true, next_at: None, removal: JoinSet::new() }
    }

    /// Starts a removal, if one is due, in a task of its own: many jobs take longer than the lease may wait.
    pub(super) fn start(&mut self, store: &Arc<dyn Store>, keeps: bool, now: Instant) {
        while let Some(ended) = self.removal.try_join_next() {
            self.is_needed = ended.unwrap_or(true);
        }
        self.is_needed |= keeps;
        if !self.is_needed || !self.removal.is_empty() || self.next_at.is_some_and(|at| now < at) {
            return;
        }
        self.next_at = Some(now + TRIM_INTERVAL);
        let store = Arc::clone(store);
        self.removal.spawn(async move {
            loop {
                match store.trim_kept().await {
                    Ok(trim) if trim.removed == MAX_BATCH as u64 => {}
                    Ok(trim) => return trim.left > 0,
                    // An error of the store is met by the next turn, which reports it.
                    Err(_) => return true,
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobId, NewJob, OutputLine, OutputStream, Payload, Timestamp};
    use crate::store::model::Model;
    use crate::store::{Destination, MAX_KEPT_BYTES, OutputChange, Settlement, Turn};

    const LIMITS: KeptLimits = KeptLimits { count: 9, age: Duration::from_secs(3_600) };

    fn run() -> DoneRun {
        DoneRun {
            id: JobId(7),
            job: "x".repeat(100),
            attempt: 2,
            at: Timestamp(9),
            wait_ms: Some(5),
            took_ms: 6,
            pid: Some(4711),
            rss_peak: Some(61 << 20),
            asked: true,
        }
    }

    fn view(text: &str) -> KeptView {
        KeptView { id: JobId(17), at: Timestamp(19), text: text.to_owned() }
    }

    #[test]
    fn kept_run_is_read_as_stored_with_the_time_of_the_store() {
        let line = OutputLine { stream: OutputStream::Log, text: "ä\n".to_owned() };
        let output = JobOutput { attempt: 2, lines: vec![line], dropped_lines: 1, dropped_bytes: 3 };
        let kept = KeptRun { run: run(), output: Some(output.clone()) };
        let read = KeptRun::of(&view(kept.clone().keep(LIMITS).unwrap().text()));
        assert_eq!(read.output, Some(output));
        assert_eq!(read.run, DoneRun { id: JobId(17), at: Timestamp(19), ..run() });
        for foreign in ["", "{}", "[1]", "{\"id\":1}"] {
            let read = KeptRun::of(&view(foreign));
            assert_eq!((read.run.id, read.run.job.as_str()), (JobId(17), "?"), "{foreign}");
        }
    }

    #[test]
    fn last_lines_stay_when_their_stored_form_is_too_long() {
        // A quote takes two bytes in JSON, so that a full output of quotes does not fit.
        let line = |n: usize| OutputLine {
            stream: OutputStream::Stdout,
            text: format!("{n}{}", "\"".repeat(1_020)),
        };
        let lines: Vec<_> = (0..8).map(line).collect();
        let output = JobOutput { attempt: 2, lines, dropped_lines: 3, dropped_bytes: 3 };
        let kept = KeptRun { run: run(), output: Some(output) }.keep(LIMITS).unwrap();
        assert!(kept.text().len() <= MAX_KEPT_BYTES);
        let output = KeptRun::of(&view(kept.text())).output.unwrap();
        assert_eq!((output.lines.len(), output.lines[0].text.chars().next()), (6, Some('2')));
        assert_eq!((output.dropped_lines, output.dropped_bytes), (5, 3 + 2 * 1_021));
    }

    async fn keep_one(store: &Model) {
        store.push(&[NewJob::new("x", Payload::parse("1").unwrap())]).await.unwrap();
        let owner = store.join().await.unwrap();
        let turn = |seq, settlements, want| Turn {
            owner: &owner,
            seq,
            settlements,
            releases: &[],
            want,
            max_bytes: 9,
            overdue: None,
            publish: None,
        };
        let id = store.turn(turn(1, &[], 1)).await.unwrap().leased[0].id();
        let to = Destination::Kept(Box::new(KeptJob::new("{}", LIMITS).unwrap()));
        let done = [Settlement { id, unique: None, to, output: OutputChange::Keep }];
        store.turn(turn(2, &done, 0)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn removal_is_repeated_until_nothing_is_left() {
        let model = Model::at(Timestamp(1_790_000_000_000_000));
        let store: Arc<dyn Store> = Arc::new(model.clone());
        let (mut clean_up, start) = (KeptCleanUp::new(), Instant::now());
        let mut look = async |keeps, now| {
            clean_up.start(&store, keeps, now);
            while let Some(left) = clean_up.removal.join_next().await {
                clean_up.is_needed = left.unwrap();
            }
            (clean_up.next_at, clean_up.is_needed)
        };
        keep_one(&model).await;
        let minute = |n: u32| start + n * TRIM_INTERVAL;
        assert_eq!(
            look(false, minute(0)).await,
            (Some(minute(1)), true),
            "an earlier configuration kept one"
        );
        model.advance(LIMITS.age);
        assert_eq!(look(false, minute(1) - Duration::from_millis(1)).await, (Some(minute(1)), true));
        assert_eq!(look(false, minute(1)).await, (Some(minute(2)), false));
        assert_eq!(model.kept(None, 1).await.unwrap().total, 0);
        assert_eq!(look(false, minute(9)).await, (Some(minute(2)), false), "no call any more");
        assert_eq!(look(true, minute(9)).await, (Some(minute(10)), false));
        assert_eq!(look(true, minute(10)).await, (Some(minute(11)), false), "as long as jobs are kept");
    }
}
