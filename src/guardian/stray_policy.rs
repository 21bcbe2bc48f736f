//! Policy for strays: descendants of workers that the kernel re-parented to the guardian after their parent died.
//!
//! Pure decisions; [`super::process_trees`] scans processes and sends signals.

use super::handle::ChildId;

/// The worker that a stray descends from, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This worker, by cookie or process group.
    Worker(ChildId),
    /// Any worker older than the stray: the stray has no cookie of this guardian in its environment.
    Unknown,
    /// The stray has no environment at the moment. An exec looks the same for an instant, so a second check follows.
    Undetermined,
}

/// Decision about a stray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StrayAction {
    /// Leave it alive: it may belong to a running job.
    Leave,
    /// Check its environment again before a kill.
    Recheck,
    /// Kill it: its worker has ended.
    Kill,
}

/// A worker that strays may descend from.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParentWorker {
    /// Id of the worker.
    pub(super) child: ChildId,
    /// Start time in clock ticks since boot.
    pub(super) start_time: u64,
    /// Whether the worker has neither ended nor been killed.
    pub(super) alive: bool,
}

/// Decides about a stray that started at `start_time`.
pub(super) fn decide(origin: Origin, start_time: u64, workers: &[ParentWorker]) -> StrayAction {
    let orphaned = match origin {
        Origin::Worker(child) => !workers.iter().any(|w| w.child == child && w.alive),
        Origin::Unknown | Origin::Undetermined => {
            let from_ended = workers.iter().any(|w| !w.alive && may_descend_from(origin, start_time, w));
            from_ended || !workers.iter().any(|w| w.alive)
        }
    };
    match (orphaned, origin) {
        (false, _) => StrayAction::Leave,
        (true, Origin::Undetermined) => StrayAction::Recheck,
        (true, _) => StrayAction::Kill,
    }
}

/// Whether a stray may descend from this worker: no process is older than its ancestors.
pub(super) fn may_descend_from(origin: Origin, start_time: u64, worker: &ParentWorker) -> bool {
    match origin {
        Origin::Worker(child) => child == worker.child,
        Origin::Unknown | Origin::Undetermined => worker.start_time <= start_time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(child: u64, start_time: u64, alive: bool) -> ParentWorker {
        ParentWorker { child: ChildId(child), start_time, alive }
    }

    #[test]
    fn stray_lives_as_long_as_its_worker() {
        let of_one = Origin::Worker(ChildId(1));
        assert_eq!(decide(of_one, 5, &[worker(1, 0, true), worker(2, 0, false)]), StrayAction::Leave);
        assert_eq!(decide(of_one, 5, &[worker(1, 0, false), worker(2, 0, true)]), StrayAction::Kill);
        assert_eq!(decide(of_one, 5, &[worker(2, 0, true)]), StrayAction::Kill);
    }

    #[test]
    fn stray_without_cookie_dies_with_a_possible_worker() {
        let workers = [worker(1, 10, true), worker(2, 20, false)];
        assert_eq!(
            decide(Origin::Unknown, 15, &workers),
            StrayAction::Leave,
            "older than the worker that ended"
        );
        assert_eq!(decide(Origin::Unknown, 20, &workers), StrayAction::Kill);
        assert_eq!(decide(Origin::Unknown, 25, &workers), StrayAction::Kill);
    }

    #[test]
    fn stray_without_cookie_dies_without_workers() {
        assert_eq!(decide(Origin::Unknown, 1, &[]), StrayAction::Kill);
        assert_eq!(decide(Origin::Unknown, 1, &[worker(1, 10, false)]), StrayAction::Kill);
        assert_eq!(decide(Origin::Unknown, 1, &[worker(1, 10, true)]), StrayAction::Leave);
    }

    #[test]
    fn empty_environment_is_read_twice() {
        assert_eq!(decide(Origin::Undetermined, 25, &[worker(2, 20, false)]), StrayAction::Recheck);
        assert_eq!(decide(Origin::Undetermined, 25, &[worker(2, 20, true)]), StrayAction::Leave);
    }
}
