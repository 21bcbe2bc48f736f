use std::time::Duration;

use super::*;

/// One that said hello so long ago.
fn ready(ago: Duration) -> Worker {
    let mut worker = Worker::new(
        ChildId(1),
        (Role::Plan, 1),
        WorkerState::Booting,
        "min".to_owned(),
        IoLink::disconnected(),
    );
    worker.hello(1);
    worker.ready_at = Instant::now().checked_sub(ago);
    assert!(worker.ready_at.is_some());
    worker
}

#[test]
fn early_unused_exit_is_a_failed_boot() {
    let (soon, exit) = (Duration::from_millis(1_200), Some(Exit::Code(0)));
    assert!(ready(Duration::ZERO).is_failed_start(exit) && ready(soon).is_failed_start(exit));
    assert!(!ready(boot_backoff::MIN_USEFUL_LIFE).is_failed_start(exit), "it has lived for long enough");
    assert!(!ready(soon).is_failed_start(None), "nobody knows how it ended");
    let mut stopped = ready(soon);
    stopped.state = WorkerState::Stopping;
    assert!(!stopped.is_failed_start(exit), "we told it to go");
    let mut killed = ready(soon);
    killed.kill_reason = Some(KillReason::Stopping);
    assert!(!killed.is_failed_start(exit), "we killed it");
    let mut used = ready(soon);
    used.take(1, JobId(1));
    used.leave(1);
    assert!(!used.is_failed_start(exit), "it has run a job, and may have had enough");
}

#[test]
fn slots_are_bounded_by_remaining_runs() {
    let mut worker = ready(Duration::ZERO);
    worker.slots = 10;
    assert_eq!((worker.usable_slots(0), worker.usable_slots(100), worker.usable_slots(3)), (10, 10, 3));
    for run in 1..=3 {
        worker.take(run, JobId(run));
    }
    assert_eq!((worker.usable_slots(0), worker.usable_slots(5), worker.usable_slots(3)), (10, 5, 3));
    worker.leave(1);
    assert_eq!(
        (worker.usable_slots(5), worker.usable_slots(3)),
        (4, 2),
        "what it has had it does not get again"
    );
}
