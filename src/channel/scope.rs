//! The scope of a channel: all jobs, the next one, or one by id.

use crate::job::{JobId, Outcome};
use crate::store::Destination;

/// The jobs that a channel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All, until the channel is stopped.
    All,
    /// The next waiting job, or none when no job is waiting.
    Next,
    /// This job, whether it is waiting, delayed or failed.
    Only(JobId),
}

/// How far a channel is with its scope.
#[derive(Debug)]
pub(super) struct ScopeProgress {
    scope: Scope,
    /// The store was asked for the job of the scope.
    is_asked: bool,
    /// The job that ran and its outcome; a failed callback does not count.
    ended: Option<(JobId, Outcome)>,
}

impl ScopeProgress {
    pub(super) fn new(scope: Scope) -> Self {
        Self { scope, is_asked: false, ended: None }
    }

    /// The number of jobs to lease by turns: `wanted` for all jobs, at most one for the next job.
    pub(super) fn limit(&self, wanted: usize) -> usize {
        match self.scope {
            Scope::All => wanted,
            Scope::Next if !self.is_asked => wanted.min(1),
            Scope::Next | Scope::Only(_) => 0,
        }
    }

    /// The job to lease by id, while the store has not been asked for it.
    pub(super) fn job_to_take(&self) -> Option<JobId> {
        match self.scope {
            Scope::Only(id) if !self.is_asked => Some(id),
            Scope::All | Scope::Next | Scope::Only(_) => None,
        }
    }

    /// Whether the channel runs all jobs.
    pub(super) fn is_all(&self) -> bool {
        self.scope == Scope::All
    }

    /// Records that the store was asked for the job of the scope, or has leased it in a reply that was lost.
    pub(super) fn asked(&mut self) {
        self.is_asked = true;
    }

    /// Records the end of a run.
    pub(super) fn ended(&mut self, id: JobId, outcome: &Outcome, is_callback: bool) {
        if !self.is_all() && !is_callback {
            self.ended = Some((id, outcome.clone()));
        }
    }

    /// Records where a job goes after a run. The failed callback of the job belongs to the scope: it is taken next.
    pub(super) fn settles(&mut self, id: JobId, to: &Destination, is_callback: bool) {
        let callback_follows = matches!(to, Destination::Front(meta) if meta.failing.is_some());
        if !self.is_all() && !is_callback && callback_follows {
            (self.scope, self.is_asked) = (Scope::Only(id), false);
        }
    }

    /// Whether a channel that holds `held` jobs is done with its scope.
    pub(super) fn is_done(&self, held: usize) -> bool {
        !self.is_all() && self.is_asked && held == 0
    }

    /// The job that ran and its outcome.
    pub(super) fn ended_run(&self) -> Option<(JobId, Outcome)> {
        self.ended.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FailReason, JobMeta};

    const ID: JobId = JobId(7);

    #[test]
    fn all_is_never_done() {
        let mut scope = ScopeProgress::new(Scope::All);
        scope.asked();
        scope.ended(ID, &Outcome::Done, false);
        assert_eq!((scope.limit(4), scope.job_to_take(), scope.is_done(0)), (4, None, false));
        assert_eq!(scope.ended_run(), None);
    }

    #[test]
    fn next_leases_one_job_once() {
        let mut scope = ScopeProgress::new(Scope::Next);
        assert_eq!((scope.limit(4), scope.limit(0), scope.is_done(0)), (1, 0, false));
        scope.asked();
        assert_eq!((scope.limit(4), scope.is_done(1), scope.is_done(0)), (0, false, true));
    }

    #[test]
    fn only_takes_its_job_by_id() {
        let mut scope = ScopeProgress::new(Scope::Only(ID));
        assert_eq!((scope.limit(4), scope.job_to_take()), (0, Some(ID)));
        scope.asked();
        assert_eq!((scope.job_to_take(), scope.is_done(0)), (None, true));
    }

    #[test]
    fn failed_callback_belongs_to_the_scope() {
        let mut scope = ScopeProgress::new(Scope::Next);
        scope.asked();
        let failed = Outcome::Interrupted;
        scope.ended(ID, &failed, false);
        let failing = JobMeta { failing: Some(FailReason::Exhausted), ..JobMeta::named("x") };
        scope.settles(ID, &Destination::Front(failing.clone()), false);
        assert_eq!((scope.job_to_take(), scope.is_done(0)), (Some(ID), false));
        scope.asked();
        scope.ended(ID, &Outcome::Done, true);
        scope.settles(ID, &Destination::Front(failing), true);
        assert!(scope.is_done(0));
        assert_eq!(scope.ended_run(), Some((ID, failed)));
    }
}
