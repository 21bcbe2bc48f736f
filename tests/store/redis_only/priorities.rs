//! Priorities in Redis, which uses several lists.

use std::time::Duration;

use aint_queue::job::{JobId, NewJob, Payload, Priority, Start};
use aint_queue::store::{Clear, JobState, Reap, Turn};

use super::{key, open, open_plain, send};
use crate::fixture::{Master, job};
use crate::support::redis::Server;

fn of(priority: Priority, mut job: NewJob) -> NewJob {
    job.meta.priority = priority;
    job
}

fn due_soon(mut job: NewJob) -> NewJob {
    job.start = Start::After(Duration::from_micros(1));
    job
}

/// A job whose headers contain the word "priority".
fn job_with_misleading_text() -> NewJob {
    let mut job = job("talks");
    job.meta.headers.insert("priority".into(), "high".into());
    job.meta.headers.insert("x".into(), "\"priority\":\"high\"".into());
    job
}

#[tokio::test]
async fn priority_is_read_from_the_meta_only() {
    let server = Server::start();
    for store in [open(&server).await, open_plain(&server).await] {
        let mut master = Master::join(&store).await;
        let jobs = [
            due_soon(of(Priority::Low, job_with_misleading_text())),
            due_soon(job_with_misleading_text()),
            due_soon(of(Priority::High, job("high"))),
            job("first"),
        ];
        let ids: Vec<_> = store.push(&jobs).await.unwrap().iter().map(|pushed| pushed.id()).collect();
        // Promoted, returned by a leaving master, and recovered from a lost one.
        let order = [ids[2], ids[3], ids[1], ids[0]];
        master.lease_exactly(&order).await;
        store.leave(&master.owner).await.unwrap();
        let order = [ids[2], ids[1], ids[3], ids[0]];
        let mut lost = Master::join(&store).await;
        lost.lease_exactly(&order).await;
        store.reap(Reap::Owner(&lost.owner)).await.unwrap();
        let mut last = Master::join(&store).await;
        last.lease_exactly(&order).await;
        store.clear(Clear { reserved: true, ..Clear::default() }).await.unwrap();
        store.leave(&last.owner).await.unwrap();
    }
}

#[tokio::test]
async fn large_due_jobs_are_moved_in_bounded_steps() {
    let server = Server::start();
    let store = open(&server).await;
    let large = Payload::parse(format!("\"{}\"", "x".repeat(1_000_000))).unwrap();
    let large = due_soon(of(Priority::Low, NewJob::new("large", large)));
    let mut ids = Vec::new();
    for _ in 0..4 {
        let batch = vec![large.clone(); 4];
        ids.extend(store.push(&batch).await.unwrap().iter().map(|pushed| pushed.id()));
    }
    let mut master = Master::join(&store).await;
    let mut leased: Vec<JobId> = Vec::new();
    let mut turns = 0;
    while leased.len() < ids.len() {
        let seq = master.next();
        let turn = Turn {
            owner: &master.owner,
            seq,
            settlements: &[],
            releases: &[],
            want: 500,
            max_bytes: usize::MAX,
            overdue: None,
            publish: None,
        };
        let reply = store.turn(turn).await.unwrap();
        assert!(reply.leased.len() <= 5);
        assert_eq!(reply.next_due.is_some(), leased.len() + reply.leased.len() < ids.len());
        leased.extend(reply.leased.iter().map(|leased| leased.id()));
        turns += 1;
    }
    assert_eq!(turns, 4);
    leased.sort_unstable();
    assert_eq!(leased, ids);
}

#[tokio::test]
async fn high_jobs_behind_tombstones_precede_normal_ones() {
    let server = Server::start();
    let store = open(&server).await;
    let mut gone = Vec::new();
    for _ in 0..8 {
        let batch = vec![of(Priority::High, job("gone")); 500];
        gone.extend(store.push(&batch).await.unwrap().iter().map(|pushed| pushed.id()));
    }
    let jobs = [job("normal"), of(Priority::High, job("high"))];
    let ids: Vec<_> = store.push(&jobs).await.unwrap().iter().map(|pushed| pushed.id()).collect();
    assert_eq!(store.discard(&gone).await.unwrap(), 4000);
    let mut master = Master::join(&store).await;
    let mut leased = Vec::new();
    for _ in 0..4 {
        leased.extend(master.lease(2).await.iter().map(|record| record.id));
        assert_eq!(store.status().await.unwrap().waiting, 2 - leased.len() as u64);
    }
    assert_eq!(leased, [ids[1], ids[0]]);
}

#[tokio::test]
async fn interrupted_clear_of_priorities_is_finished_by_next() {
    let server = Server::start();
    let store = open(&server).await;
    let jobs = Priority::ALL.map(|priority| of(priority, job("j")));
    store.push(&jobs).await.unwrap();
    // The state after a clear that was interrupted behind its first step.
    for name in ["waiting:5", "waiting:5:high", "waiting:5:low"] {
        let from = name.replace(":5", "");
        send(&server, &["RENAME", &key(&from), &key(&format!("clearing:{name}"))]);
        send(&server, &["HSET", &key("clearing"), name, "waiting"]);
        send(&server, &["HINCRBY", &key("stats"), "clearing_waiting", "1"]);
    }
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.cleared), (0, 3));
    assert_eq!(store.list(JobState::Waiting, None, 5).await.unwrap().jobs, []);
    let kept = store.push(&jobs).await.unwrap();
    assert_eq!(store.clear(Clear { delayed: true, ..Clear::default() }).await.unwrap().waiting, 3);
    let left = store.list(JobState::Waiting, None, 5).await.unwrap().jobs;
    assert_eq!(
        left.iter().map(|job| job.id).collect::<Vec<_>>(),
        kept.iter().map(|pushed| pushed.id()).collect::<Vec<_>>()
    );
}
