//! The longest wait of lower priorities.

use super::*;
use crate::job::Priority;
use crate::store::JobState;

#[tokio::test(start_paused = true)]
async fn low_job_starts_once_per_longest_wait_among_endless_high_ones() {
    let mut fixture = Fixture::with(spec(), async |setup| {
        setup.settings.priority_max_wait = Some(10 * SECOND);
    })
    .await;
    let mut worker = fixture.boot().await;
    let of = |priority| with_priority(job(), priority);
    let high = vec![of(Priority::High); 400];
    fixture.store.push(&high).await.unwrap();
    let low = fixture.store.push(&vec![of(Priority::Low); 3]).await.unwrap();
    let mut waiting: Vec<_> = low.iter().map(|pushed| pushed.id()).collect();
    fixture.settle().await;

    let (begin, mut starts) = (Instant::now(), Vec::new());
    while begin.elapsed() < 35 * SECOND {
        for frame in worker.frames() {
            let ScriptedFrame::Run(run) = frame else { continue };
            sleep(100 * MS).await;
            worker.ended(run, Outcome::Done);
        }
        fixture.settle().await;
        let front = fixture.store.get(waiting[0]).await.unwrap();
        if front.is_none_or(|job| job.state != JobState::Waiting) {
            starts.push(begin.elapsed().as_secs());
            waiting.remove(0);
            if waiting.is_empty() {
                break;
            }
        }
    }
    assert_eq!(starts, [10, 20, 30]);
}

fn with_priority(mut job: NewJob, priority: Priority) -> NewJob {
    job.meta.priority = priority;
    job
}
