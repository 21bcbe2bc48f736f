//! Stored outputs: the last lines of failed runs, apart from the records.

use std::time::Duration;

use aint_queue::job::{JobId, JobOutput, OutputLine, OutputStream};
use aint_queue::store::{Clear, Destination, OutputChange, Settlement};

use crate::fixture::{Fixture, done, end, failed};

conformance! {
    output_of_a_failure_is_kept_until_the_job_is_done,
    later_output_replaces_an_earlier_one,
    requeue_drops_the_output,
    removed_jobs_leave_no_output,
    stale_settlement_changes_no_output,
}

fn printed(attempt: u32) -> JobOutput {
    let line = |text: &str| OutputLine { stream: OutputStream::Stderr, text: text.to_owned() };
    let lines = vec![line("one \u{e4}"), line(&format!("attempt {attempt}"))];
    JobOutput { attempt, lines, dropped_lines: 3, dropped_bytes: 17 }
}

fn with(output: OutputChange, settlement: Settlement) -> Settlement {
    Settlement { output, ..settlement }
}

fn set(attempt: u32) -> OutputChange {
    OutputChange::Set(Box::new(printed(attempt)))
}

async fn output(fixture: &Fixture, id: JobId) -> Option<JobOutput> {
    fixture.store.output(id).await.unwrap()
}

async fn output_of_a_failure_is_kept_until_the_job_is_done(fixture: Fixture) {
    let ids = fixture.push(2).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    let ends = [with(set(1), end(&leased[0], Destination::Front)), end(&leased[1], Destination::Front)];
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(output(&fixture, ids[0]).await, Some(printed(1)));
    assert_eq!(output(&fixture, ids[1]).await, None);
    assert_eq!(output(&fixture, JobId(7)).await, None);
    let leased = master.lease_exactly(&ids).await;
    assert_eq!(output(&fixture, ids[0]).await, Some(printed(1)), "it runs again");
    let ends = [with(OutputChange::Drop, done(&leased[0])), done(&leased[1])];
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(output(&fixture, ids[0]).await, None);
    assert_eq!(fixture.counts().await[3], 2, "both are done");
}

async fn later_output_replaces_an_earlier_one(fixture: Fixture) {
    let ids = fixture.push(2).await;
    let mut master = fixture.master().await;
    let far = |meta| Destination::Delayed(Duration::from_secs(60), meta);
    let leased = master.lease_exactly(&ids).await;
    let ends = [1, 1].into_iter().zip(&leased).map(|(n, job)| with(set(n), end(job, Destination::Front)));
    master.settle(&ends.collect::<Vec<_>>()).await;
    let leased = master.lease_exactly(&ids).await;
    master.settle(&[with(set(2), failed(&leased[0])), with(OutputChange::Drop, end(&leased[1], far))]).await;
    assert_eq!(output(&fixture, ids[0]).await, Some(printed(2)));
    assert_eq!(output(&fixture, ids[1]).await, None);
}

async fn requeue_drops_the_output(fixture: Fixture) {
    let ids = fixture.push(2).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    let ends: Vec<_> = leased.iter().map(|job| with(set(1), failed(job))).collect();
    master.settle(&ends).await;
    let moved = fixture.store.requeue(&[(ids[0], leased[0].meta.clone().reloaded())]).await.unwrap();
    assert_eq!(moved, 1);
    assert_eq!(output(&fixture, ids[0]).await, None);
    assert_eq!(output(&fixture, ids[1]).await, Some(printed(1)));
}

async fn removed_jobs_leave_no_output(fixture: Fixture) {
    let ids = fixture.push(4).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    let far = |meta| Destination::Delayed(Duration::from_secs(60), meta);
    let ends = [
        with(set(1), failed(&leased[0])),
        with(set(1), failed(&leased[1])),
        with(set(1), end(&leased[2], far)),
        with(set(1), end(&leased[3], Destination::Front)),
    ];
    master.settle(&ends).await;
    let leased = master.lease_exactly(&ids[3..]).await;
    assert_eq!(leased.len(), 1);
    assert_eq!(fixture.store.discard(&[ids[0], ids[2]]).await.unwrap(), 2);
    assert_eq!(output(&fixture, ids[0]).await, None);
    assert_eq!(output(&fixture, ids[1]).await, Some(printed(1)));
    let cleared =
        fixture.store.clear(Clear { failed: true, reserved: true, ..Clear::default() }).await.unwrap();
    assert_eq!((cleared.failed, cleared.reserved), (1, 1));
    for id in ids {
        assert_eq!(output(&fixture, id).await, None);
    }
}

async fn stale_settlement_changes_no_output(fixture: Fixture) {
    let ids = fixture.push(1).await;
    let (mut master, mut other) = (fixture.master().await, fixture.master().await);
    let leased = master.lease_exactly(&ids).await;
    assert_eq!(other.settle(&[with(set(9), failed(&leased[0]))]).await.len(), 1);
    assert_eq!(output(&fixture, ids[0]).await, None);
    master.settle(&[with(set(1), failed(&leased[0]))]).await;
    assert_eq!(other.settle(&[with(OutputChange::Drop, done(&leased[0]))]).await.len(), 1);
    assert_eq!(output(&fixture, ids[0]).await, Some(printed(1)));
}
