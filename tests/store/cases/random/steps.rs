//! The steps of a random sequence.

use std::time::Duration;

use aint_queue::job::Priority;
use aint_queue::store::{ClaimKind, LowerPriorities};
use proptest::collection::vec;
use proptest::{option, prelude::*};

/// Number of participating masters.
pub const MASTERS: usize = 3;
pub const FAR_FUTURE: Duration = Duration::from_secs(3600);

/// A step. Jobs are selected by push order, modulo their number.
#[derive(Clone, Debug)]
pub enum Step {
    Push(Vec<(Kind, Priority)>),
    Turn {
        master: usize,
        ends: Vec<(usize, End)>,
        releases: Vec<(usize, Freed)>,
        want: usize,
        max_bytes: usize,
        overdue: Option<LowerPriorities>,
    },
    /// A repeated `seq`.
    Replay {
        master: usize,
        job: usize,
    },
    Claim {
        master: usize,
        claims: Vec<(usize, u8, ClaimKind)>,
    },
    Held {
        master: usize,
    },
    Fetch {
        master: usize,
        jobs: Vec<usize>,
    },
    Take {
        master: usize,
        job: usize,
    },
    Leave {
        master: usize,
    },
    Lapse {
        master: usize,
    },
    Bury {
        master: usize,
    },
    Requeue(Vec<usize>),
    Discard(Vec<usize>),
    Clear {
        waiting: bool,
        delayed: bool,
        failed: bool,
        reserved: bool,
        /// Only its first step; the next clear does the rest.
        cut: bool,
    },
    /// Without an end, longer than a run of this test, or of length zero.
    Pause(Option<Duration>),
    Resume,
    /// A limit of bytes, which begins their count.
    LimitBytes,
    Look(usize),
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Now,
    Later,
    Unique(u8),
    UniqueUntilStart(u8),
    /// A timed hold that outlasts every run of this test.
    UniqueFor(u8),
}

#[derive(Clone, Copy, Debug)]
pub enum Freed {
    /// The unique key of the job itself.
    Own,
    Unique(u8),
    Lock(u8),
}

#[derive(Clone, Copy, Debug)]
pub enum End {
    Done,
    /// Done and kept, among at most so many.
    Kept(u8),
    Front,
    Back,
    Later,
    Failed,
}

fn kind() -> impl Strategy<Value = (Kind, Priority)> {
    let kind = prop_oneof![
        10 => Just(Kind::Now),
        2 => Just(Kind::Later),
        3 => (0..4_u8).prop_map(Kind::Unique),
        1 => (0..4_u8).prop_map(Kind::UniqueUntilStart),
        1 => (0..4_u8).prop_map(Kind::UniqueFor),
    ];
    let priority =
        prop_oneof![3 => Just(Priority::Normal), 1 => Just(Priority::High), 1 => Just(Priority::Low)];
    (kind, priority)
}

fn freed() -> impl Strategy<Value = Freed> {
    prop_oneof![Just(Freed::Own), (0..4_u8).prop_map(Freed::Unique), (0..2_u8).prop_map(Freed::Lock)]
}

fn claim_kind() -> impl Strategy<Value = ClaimKind> {
    prop_oneof![
        3 => (0..4_u32).prop_map(|limit| ClaimKind::Lock { limit }),
        1 => (1..4_u32).prop_map(|count| ClaimKind::Rate { count, burst: count, per: FAR_FUTURE }),
    ]
}

fn ending() -> impl Strategy<Value = End> {
    prop_oneof![
        2 => Just(End::Done),
        2 => (1..6_u8).prop_map(End::Kept),
        1 => Just(End::Front),
        1 => Just(End::Back),
        1 => Just(End::Later),
        2 => Just(End::Failed)
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let master = 0..MASTERS;
    let job = 0..64_usize;
    let max_bytes = prop_oneof![4 => Just(usize::MAX), 1 => Just(0), 1 => Just(40)];
    let releases = vec((job.clone(), freed()), 0..5);
    let overdue =
        option::of((any::<bool>(), any::<bool>()).prop_map(|(normal, low)| LowerPriorities { normal, low }));
    let turn =
        (master.clone(), vec((job.clone(), ending()), 0..12), releases, 0..6_usize, max_bytes, overdue);
    let claims = vec((job.clone(), 0..2_u8, claim_kind()), 0..12);
    prop_oneof![
        6 => vec(kind(), 1..6).prop_map(Step::Push),
        12 => turn.prop_map(|(master, ends, releases, want, max_bytes, overdue)| {
            Step::Turn { master, ends, releases, want, max_bytes, overdue }
        }),
        4 => (master.clone(), claims).prop_map(|(master, claims)| Step::Claim { master, claims }),
        1 => (master.clone(), job.clone()).prop_map(|(master, job)| Step::Replay { master, job }),
        1 => master.clone().prop_map(|master| Step::Held { master }),
        1 => (master.clone(), vec(job.clone(), 0..5)).prop_map(|(master, jobs)| Step::Fetch { master, jobs }),
        2 => (master.clone(), job.clone()).prop_map(|(master, job)| Step::Take { master, job }),
        1 => master.clone().prop_map(|master| Step::Leave { master }),
        1 => master.clone().prop_map(|master| Step::Lapse { master }),
        1 => master.prop_map(|master| Step::Bury { master }),
        2 => vec(job.clone(), 0..6).prop_map(Step::Requeue),
        1 => vec(job.clone(), 0..6).prop_map(Step::Discard),
        1 => any::<[bool; 5]>().prop_map(|[waiting, delayed, failed, reserved, cut]| Step::Clear {
            waiting: waiting && delayed,
            delayed: delayed && failed,
            failed: failed && reserved,
            reserved: reserved && waiting && !cut,
            cut
        }),
        1 => prop_oneof![Just(None), Just(Some(FAR_FUTURE)), Just(Some(Duration::ZERO))].prop_map(Step::Pause),
        2 => Just(Step::Resume),
        2 => Just(Step::LimitBytes),
        1 => job.prop_map(Step::Look),
    ]
}
