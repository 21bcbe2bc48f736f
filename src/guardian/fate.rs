//! What becomes of a stray: a process whose parents have died, so that it became the guardian's own child.
//!
//! Pure decisions; [`super::trees`] looks and signals.

use super::handle::ChildId;

/// Which worker a stray came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This one, by cookie or process group.
    Worker(ChildId),
    /// Its environment was wiped or is somebody else's: any worker that is older than it.
    Unknown,
    /// It has no environment at this moment. An exec looks the same for an instant, so one look is not enough.
    Unclear,
}

/// What to do with a stray.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It may belong to a job that runs.
    Leave,
    /// Look once more before killing.
    LookAgain,
    /// Its worker has ended.
    Kill,
}

/// A worker as far as strays are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parent {
    /// Which.
    pub(super) child: ChildId,
    /// When it started, in clock ticks since boot.
    pub(super) born: u64,
    /// Whether it is to live: neither ended nor being killed.
    pub(super) lives: bool,
}

/// Decides over a stray that started at `born`.
pub(super) fn fate(origin: Origin, born: u64, workers: &[Parent]) -> Fate {
    let guilty = match origin {
        Origin::Worker(child) => !workers.iter().any(|w| w.child == child && w.lives),
        Origin::Unknown | Origin::Unclear => {
            let of_an_ended_one = workers.iter().any(|w| !w.lives && may_be_of(origin, born, w));
            of_an_ended_one || !workers.iter().any(|w| w.lives)
        }
    };
    match (guilty, origin) {
        (false, _) => Fate::Leave,
        (true, Origin::Unclear) => Fate::LookAgain,
        (true, _) => Fate::Kill,
    }
}

/// Whether a stray may have come from this worker: nothing is older than what it came from.
pub(super) fn may_be_of(origin: Origin, born: u64, worker: &Parent) -> bool {
    match origin {
        Origin::Worker(child) => child == worker.child,
        Origin::Unknown | Origin::Unclear => worker.born <= born,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(child: u64, born: u64, lives: bool) -> Parent {
        Parent { child: ChildId(child), born, lives }
    }

    #[test]
    fn a_stray_lives_as_long_as_its_worker() {
        let of_one = Origin::Worker(ChildId(1));
        assert_eq!(fate(of_one, 5, &[worker(1, 0, true), worker(2, 0, false)]), Fate::Leave);
        assert_eq!(fate(of_one, 5, &[worker(1, 0, false), worker(2, 0, true)]), Fate::Kill);
        assert_eq!(fate(of_one, 5, &[worker(2, 0, true)]), Fate::Kill);
    }

    #[test]
    fn a_wiped_stray_dies_with_the_first_worker_it_can_be_of() {
        let workers = [worker(1, 10, true), worker(2, 20, false)];
        assert_eq!(fate(Origin::Unknown, 15, &workers), Fate::Leave, "it is older than the one that ended");
        assert_eq!(fate(Origin::Unknown, 20, &workers), Fate::Kill);
        assert_eq!(fate(Origin::Unknown, 25, &workers), Fate::Kill);
    }

    #[test]
    fn a_wiped_stray_dies_when_no_worker_is_alive() {
        assert_eq!(fate(Origin::Unknown, 1, &[]), Fate::Kill);
        assert_eq!(fate(Origin::Unknown, 1, &[worker(1, 10, false)]), Fate::Kill);
        assert_eq!(fate(Origin::Unknown, 1, &[worker(1, 10, true)]), Fate::Leave);
    }

    #[test]
    fn an_empty_environment_is_looked_at_twice() {
        assert_eq!(fate(Origin::Unclear, 25, &[worker(2, 20, false)]), Fate::LookAgain);
        assert_eq!(fate(Origin::Unclear, 25, &[worker(2, 20, true)]), Fate::Leave);
    }
}
