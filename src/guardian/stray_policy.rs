//! What becomes of a stray: a process whose parents have died, so that it became the guardian's own child.
//!
//! Pure decisions; [`super::process_trees`] looks and signals.

use super::handle::ChildId;

/// Which worker a stray came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This one, by cookie or process group.
    Worker(ChildId),
    /// Its environment was wiped or is somebody else's: any worker that is older than it.
    Unknown,
    /// It has no environment at this moment. An exec looks the same for an instant, so one look is not enough.
    Undetermined,
}

/// What to do with a stray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StrayAction {
    /// It may belong to a job that runs.
    Leave,
    /// Look once more before killing.
    Recheck,
    /// Its worker has ended.
    Kill,
}

/// A worker as far as strays are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParentWorker {
    /// Which.
    pub(super) child: ChildId,
    /// When it started, in clock ticks since boot.
    pub(super) start_time: u64,
    /// Whether it is to live: neither ended nor being killed.
    pub(super) alive: bool,
}

/// Decides over a stray that started at `start_time`.
pub(super) fn decide(origin: Origin, start_time: u64, workers: &[ParentWorker]) -> StrayAction {
    let guilty = match origin {
        Origin::Worker(child) => !workers.iter().any(|w| w.child == child && w.alive),
        Origin::Unknown | Origin::Undetermined => {
            let of_an_ended_one = workers.iter().any(|w| !w.alive && may_descend_from(origin, start_time, w));
            of_an_ended_one || !workers.iter().any(|w| w.alive)
        }
    };
    match (guilty, origin) {
        (false, _) => StrayAction::Leave,
        (true, Origin::Undetermined) => StrayAction::Recheck,
        (true, _) => StrayAction::Kill,
    }
}

/// Whether a stray may have come from this worker: nothing is older than what it came from.
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
            "it is older than the one that ended"
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
