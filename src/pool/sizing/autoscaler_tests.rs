use proptest::prelude::*;

use super::*;
use crate::pool::sizing::decision::{grouped, shown};

const SECOND: Duration = Duration::from_secs(1);

fn load(serving: usize, running: usize, waiting: u64, job_ms: Option<u64>) -> SizingInput {
    SizingInput {
        min: 5,
        max: 50,
        slots: 1,
        serving,
        idle: serving.saturating_sub(running),
        running,
        waiting,
        job_us: job_ms.map(|ms| ms * 1000),
        ..SizingInput::default()
    }
}

fn decided(load: SizingInput) -> (usize, SizingReason) {
    let SizingDecision { workers, why, .. } = decide(load, &Scaling::default());
    (workers, why)
}

#[test]
fn backlog_gets_the_workers_that_clear_it_in_time() {
    assert_eq!(decided(load(5, 5, 10_000, Some(50))), (50, SizingReason::Max));
    // 1,000 jobs of 50 ms are 50 s of work: ten workers do it in 5 s, beside five busy ones.
    assert_eq!(decided(load(5, 5, 1_000, Some(50))), (15, SizingReason::Backlog));
    // Before any duration is known, ten jobs ask for one worker.
    assert_eq!(decided(load(5, 5, 101, None)), (16, SizingReason::Backlog));
    // A job uses one worker at most, however long it takes.
    assert_eq!(decided(load(5, 5, 3, Some(60_000))), (8, SizingReason::Backlog));
}

#[test]
fn short_backlog_starts_no_worker() {
    assert_eq!(decided(load(5, 5, 10, Some(1))), (5, SizingReason::Min));
    assert_eq!(decided(load(5, 0, 0, None)), (5, SizingReason::Min));
    assert_eq!(decided(load(9, 9, 0, Some(50))), (9, SizingReason::Running));
    // A stall means that long jobs block the slots.
    assert_eq!(
        decided(SizingInput { stalled_us: 500_000, ..load(5, 5, 10, Some(1)) }),
        (5, SizingReason::Min)
    );
    assert_eq!(
        decided(SizingInput { stalled_us: 500_001, ..load(5, 5, 10, Some(1)) }),
        (6, SizingReason::Backlog)
    );
    // Without a worker even the shortest job needs one.
    assert_eq!(decided(SizingInput { min: 0, ..load(0, 0, 1, Some(1)) }), (1, SizingReason::Backlog));
    assert_eq!(decided(SizingInput { min: 0, ..load(0, 0, 0, Some(1)) }), (0, SizingReason::Min));
}

#[test]
fn slots_divide_the_backlog() {
    let many = SizingInput { slots: 100, ..load(5, 450, 4_000, Some(1_000)) };
    // 4,000 s of work over 100 slots and 5 s are eight workers, beside five busy ones.
    assert_eq!(decided(many), (13, SizingReason::Backlog));
}

#[test]
fn memory_limit_outranks_demand_and_one_worker_fits() {
    const MIB: u64 = 1 << 20;
    let memory = |serving, memory, each, limit| SizingInput {
        memory: memory * MIB,
        memory_each: each * MIB,
        memory_limit: Some(limit * MIB),
        ..load(serving, serving, 10_000, Some(50))
    };
    assert_eq!(decided(memory(5, 100, 20, 200)), (10, SizingReason::Memory));
    assert_eq!(decided(memory(10, 230, 20, 200)), (8, SizingReason::Memory));
    // Memory of a worker that stops soon neither stops nor starts another one.
    let leaving = |mib| SizingInput { memory_leaving: mib * MIB, ..memory(9, 220, 20, 200) };
    assert_eq!([0, 10, 20, 40].map(|mib| decided(leaving(mib)).0), [8, 8, 9, 9]);
    assert_eq!(decided(memory(5, 100, 20, 2_000)), (50, SizingReason::Max));
    assert_eq!(decided(memory(1, 900, 900, 200)), (1, SizingReason::Memory));
    assert_eq!(
        decide(memory(10, 230, 20, 200), &Scaling::default()).to_string(),
        "pool_memory_limit, 230 MiB of 200 MiB in use"
    );
}

#[test]
fn reasons_carry_their_numbers() {
    let words = |load| decide(load, &Scaling::default()).to_string();
    assert_eq!(words(load(5, 5, 9_800, Some(50))), "max, backlog 9,800, 50 ms a job");
    assert_eq!(words(load(5, 5, 101, None)), "backlog 101");
    assert_eq!(words(load(5, 0, 0, None)), "min");
    assert_eq!(words(SizingInput { by_hand: true, ..load(5, 0, 0, None) }), "by hand");
    assert_eq!(words(SizingInput { peak: 12, ..load(12, 3, 0, None) }), "cool-down, 12 were wanted");
    let started = |load| decide(load, &Scaling::default()).reason();
    assert_eq!(started(SizingInput { peak: 12, ..load(11, 3, 0, Some(50)) }), "cool-down");
    assert_eq!(
        started(load(60, 60, 0, Some(50))),
        "60 running",
        "more than max_worker_number, since a reload"
    );
    assert_eq!(grouped(1_234_567), "1,234,567");
    assert_eq!(shown(Duration::from_micros(70)), "70 µs");
    assert_eq!(shown(Duration::from_millis(1_500)), "1.5 s");
}

#[test]
fn falls_after_the_cool_down_to_its_peak() {
    let begin = Instant::now();
    let mut scaler = Autoscaler::new(&Plan::process_pool(5, 50, 0), Scaling::default());
    scaler.update(load(5, 5, 10_000, Some(50)), begin);
    assert_eq!(scaler.target(), 50);
    scaler.update(load(50, 12, 0, Some(50)), begin + SECOND);
    scaler.update(load(50, 3, 0, Some(50)), begin + 20 * SECOND);
    assert_eq!(scaler.target(), 50);
    scaler.update(load(50, 3, 0, Some(50)), begin + 30 * SECOND);
    assert_eq!(scaler.target(), 12, "the peak of the cool-down: {:?}", scaler.decision());
    scaler.update(load(12, 0, 0, Some(50)), begin + 51 * SECOND);
    assert_eq!(scaler.target(), 5);
    assert_eq!(
        scaler.applied().map(|t| (t.from, t.decision.workers)).collect::<Vec<_>>(),
        [(5, 50), (50, 12), (12, 5)]
    );
    let changes = scaler.changes();
    assert_eq!((changes.up(), changes.down()), (1, 2));
}

#[test]
fn manual_minimum_is_clamped_to_the_bounds() {
    let now = Instant::now();
    let mut held =
        Autoscaler::new(&Plan::process_pool(5, 50, 0), Scaling { dynamic: false, ..Scaling::default() });
    assert_eq!((held.max_usable(), held.is_elastic()), (5, false));
    let floor = MinWorkers { fewest: 7, before: 5, min: 5, max: 50, dynamic: false, clamped: false };
    assert_eq!(held.set_minimum(ScaleOrder::Change(2)), floor);
    assert!(held.update(load(5, 5, 9_999, None), now).is_some());
    assert_eq!((held.target(), held.decision().why, held.max_usable()), (7, SizingReason::ManualMinimum, 7));
    let mut ordered = |order| {
        let MinWorkers { fewest, clamped, .. } = held.set_minimum(order);
        (fewest, clamped)
    };
    assert_eq!(ordered(ScaleOrder::Exactly(1000)), (50, true));
    assert_eq!(ordered(ScaleOrder::Change(i64::MAX)), (50, true));
    assert_eq!(ordered(ScaleOrder::Change(i64::MIN)), (0, true));
    assert_eq!(ordered(ScaleOrder::Change(-1)), (0, true));
    assert_eq!(ordered(ScaleOrder::Exactly(0)), (0, false));
    assert_eq!(ordered(ScaleOrder::Change(5)), (5, false));
    assert_eq!(held.manual_minimum(), None, "the configured minimum is not a manual one");
}

/// A moment of a pool: milliseconds since the last moment, running jobs, waiting jobs, job duration in microseconds.
fn moment() -> impl Strategy<Value = (u64, usize, u64, Option<u64>)> {
    (0u64..20_000, 0usize..80, 0u64..20_000, proptest::option::of(0u64..30_000_000))
}

proptest! {
    #[test]
    fn target_is_bounded_rises_at_once_and_does_not_flutter(
        min in 0usize..20,
        more in 0usize..50,
        slots in 1usize..4,
        cool_down in 0u64..60,
        memory in proptest::option::of((1u64..200, 1u64..50, 0u64..5_000)),
        moments in proptest::collection::vec(moment(), 1..60),
    ) {
        let max = (min + more).max(1);
        let scaling = Scaling { cool_down: Duration::from_secs(cool_down), ..Scaling::default() };
        let mut scaler = Autoscaler::new(&Plan { slots, ..Plan::process_pool(min, max, 0) }, scaling);
        let mut now = Instant::now();
        let mut seen: Vec<(Instant, usize)> = Vec::new();
        for (pause, running, waiting, job_us) in moments {
            now += Duration::from_millis(pause);
            let before = scaler.target();
            let load = SizingInput {
                min, max, slots, serving: before, running: running.min(before * slots), waiting, job_us,
                memory_limit: memory.map(|(limit, _, _)| limit),
                memory_each: memory.map_or(0, |(_, each, _)| each),
                memory: memory.map_or(0, |(_, _, used)| used),
                ..SizingInput::default()
            };
            scaler.update(load, now);
            let (target, wanted) = (scaler.target(), wanted(&load, &scaling));
            prop_assert!(target <= max, "{target} of {max}");
            if let Some((limit, each, used)) = memory {
                let added = target.saturating_sub(before) as u64;
                prop_assert!(added == 0 || target == 1 || used + added * each <= limit);
                prop_assert!(used <= limit || target < before.max(2), "above its memory limit it shrinks");
                prop_assert!(target >= min.min(1));
            } else {
                prop_assert!(target >= min, "{target} of {min}");
                prop_assert!(target >= wanted.min(max), "rises at once: {wanted} wanted, {target} decided");
                if target < before {
                    let recent = seen.iter().filter(|(at, _)| now.duration_since(*at) < scaling.cool_down);
                    let most = recent.map(|(_, wanted)| *wanted).max().unwrap_or(0);
                    prop_assert!(target >= most.min(max), "peak {most}, {target} decided");
                }
            }
            seen.push((now, wanted));
        }
    }

    #[test]
    fn steady_load_never_lowers_the_target(
        running in 0usize..50, waiting in 0u64..50_000, job_us in proptest::option::of(0u64..10_000_000),
    ) {
        let mut scaler = Autoscaler::new(&Plan::process_pool(2, 40, 0), Scaling::default());
        let begin = Instant::now();
        let mut changes = 0;
        for second in 0..120 {
            let serving = scaler.target();
            let busy = if waiting > 0 { serving } else { running.min(serving) };
            let load = SizingInput { slots: 1, serving, running: busy, waiting, job_us, ..SizingInput::default() };
            changes += usize::from(scaler.update(load, begin + second * SECOND).is_some_and(|t| t.decision.workers < t.from));
        }
        prop_assert_eq!(changes, 0, "the target fell under a steady load");
    }
}
