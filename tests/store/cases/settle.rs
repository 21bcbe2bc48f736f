//! Settlements: applied ones, and conflicts.

use aint_queue::job::{AttemptError, ErrorKind, FailReason, JobId, JobMeta, Timestamp};
use aint_queue::store::{Clear, Destination, JobState, SettleConflict, StoreError};

use crate::fixture::{Fixture, done, done_id, end, failed};

conformance! {
    each_destination_holds,
    each_destination_holds_alone,
    foreign_jobs_are_stale_and_missing_ones_cleared,
    double_settlement_in_one_batch_counts_once,
    job_cleared_while_running,
    repeated_sequence_number_changes_nothing,
    ended_owner_stays_ended,
    counts_and_errors_round_trip,
}

const RESERVED: Clear = Clear { waiting: false, delayed: false, failed: false, reserved: true };

async fn each_destination_holds(fixture: Fixture) {
    let ids = fixture.push(5).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    let far = |meta| Destination::Delayed(std::time::Duration::from_secs(60), meta);
    let ends = [
        done(&leased[0]),
        end(&leased[1], Destination::Front),
        end(&leased[2], Destination::Back),
        end(&leased[3], far),
        failed(&leased[4]),
    ];
    let reply = master.turn(&ends, 0).await.unwrap();
    assert_eq!((reply.conflicts, reply.held), (vec![], 0));
    assert_eq!(fixture.counts().await, [2, 0, 1, 1, 1, 0]);
    assert_eq!(fixture.store.get(ids[0]).await.unwrap(), None);
    for (id, state) in
        [(1, JobState::Waiting), (2, JobState::Waiting), (3, JobState::Delayed), (4, JobState::Failed)]
    {
        assert_eq!(fixture.store.get(ids[id]).await.unwrap().unwrap().state, state);
    }
}

async fn each_destination_holds_alone(fixture: Fixture) {
    let mut master = fixture.master().await;
    let far = |meta| Destination::Delayed(std::time::Duration::from_secs(60), meta);
    let to: [fn(JobMeta) -> Destination; 5] =
        [|_| Destination::Done, Destination::Front, Destination::Back, far, Destination::Failed];
    let expected = [[0, 0, 0, 1, 0], [1, 0, 0, 1, 0], [1, 0, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]];
    for (to, expected) in to.into_iter().zip(expected) {
        let id = fixture.push(1).await;
        let record = master.lease_exactly(&id).await.remove(0);
        let before = fixture.counts().await;
        assert_eq!(before[1], 1);
        assert_eq!(master.settle(&[end(&record, to)]).await, []);
        let counts = fixture.counts().await;
        assert_eq!(counts[..3], expected[..3], "{:?}", to(JobMeta::named("x")));
        if let Some(job) = fixture.store.get(record.id).await.unwrap() {
            fixture.store.discard(&[job.id]).await.unwrap();
        }
    }
}

async fn foreign_jobs_are_stale_and_missing_ones_cleared(fixture: Fixture) {
    let ids = fixture.push(6).await;
    let (mut one, mut two) = (fixture.master().await, fixture.master().await);
    let mine = one.lease_exactly(&ids[..3]).await;
    let theirs = two.lease_exactly(&ids[3..5]).await;
    let never = JobId(7);

    // A conflict in a batch of its own.
    for (end, exception) in [
        (done(&theirs[0]), SettleConflict::Stale),
        (failed(&theirs[1]), SettleConflict::Stale),
        (done_id(ids[5]), SettleConflict::Stale),
        (done_id(never), SettleConflict::Cleared),
    ] {
        let id = end.id;
        assert_eq!(one.settle(&[end]).await, [(id, exception)]);
    }
    assert_eq!(fixture.counts().await, [1, 5, 0, 0, 0, 0]);

    // Conflicts in a batch whose other items apply.
    let ends = [
        done(&mine[0]),
        done(&theirs[0]),
        end(&mine[1], Destination::Back),
        done_id(never),
        end(&theirs[1], Destination::Front),
        failed(&mine[2]),
    ];
    let mut conflicts = one.settle(&ends).await;
    conflicts.sort_unstable_by_key(|(id, _)| *id);
    let expected =
        [(never, SettleConflict::Cleared), (ids[3], SettleConflict::Stale), (ids[4], SettleConflict::Stale)];
    assert_eq!(conflicts, expected);
    assert_eq!(fixture.counts().await, [2, 2, 0, 1, 1, 0]);
    assert_eq!(two.held().await, ids[3..5]);
}

async fn double_settlement_in_one_batch_counts_once(fixture: Fixture) {
    let ids = fixture.push(2).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    let ends = [done(&leased[0]), end(&leased[1], Destination::Back), done(&leased[0]), done(&leased[1])];
    let conflicts = master.settle(&ends).await;
    assert_eq!(conflicts, [(ids[0], SettleConflict::Cleared), (ids[1], SettleConflict::Stale)]);
    assert_eq!(fixture.counts().await, [1, 0, 0, 1, 0, 0]);
}

async fn job_cleared_while_running(fixture: Fixture) {
    let ids = fixture.push(3).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&ids).await;
    assert_eq!(fixture.store.clear(RESERVED).await.unwrap().reserved, 3);
    assert_eq!(master.held().await, []);
    let more = fixture.push(1).await;
    let fresh = master.lease_exactly(&more).await.remove(0);
    let ends = [done(&leased[0]), failed(&leased[1]), done(&fresh), end(&leased[2], Destination::Front)];
    let mut conflicts = master.settle(&ends).await;
    conflicts.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(conflicts, ids.iter().map(|id| (*id, SettleConflict::Cleared)).collect::<Vec<_>>());
    assert_eq!(fixture.counts().await, [0, 0, 0, 1, 0, 3]);
}

async fn repeated_sequence_number_changes_nothing(fixture: Fixture) {
    let ids = fixture.push(3).await;
    let mut master = fixture.master().await;
    let leased = master.lease(2).await;
    let before = fixture.counts().await;
    for seq in [0, master.seq] {
        let late = master.turn_as(seq, &[done(&leased[0])], 1).await;
        assert!(matches!(late, Err(StoreError::Replayed)), "{late:?}");
        assert!(matches!(master.store.held(&master.owner, seq).await, Err(StoreError::Replayed)));
        let take = master.store.take(&master.owner, seq, ids[2]).await;
        assert!(matches!(take, Err(StoreError::Replayed)), "{take:?}");
    }
    assert_eq!(fixture.counts().await, before);
    // Call numbers may have gaps.
    master.seq += 1_000_000;
    assert_eq!(master.settle(&[done(&leased[0])]).await, []);
}

async fn ended_owner_stays_ended(fixture: Fixture) {
    let ids = fixture.push(4).await;
    let mut left = fixture.master().await;
    let record = left.lease(1).await.remove(0);
    left.store.leave(&left.owner).await.unwrap();
    let mut reaped = fixture.master().await;
    reaped.lease(1).await;
    fixture.driver.expire_lease(crate::fixture::CHANNEL, &reaped.owner).await;
    fixture.store.reap(aint_queue::store::Reap::Expired).await.unwrap();
    let stranger = crate::fixture::Master {
        store: fixture.store.clone(),
        owner: aint_queue::store::Owner::named("stranger"),
        seq: 0,
    };
    let before = fixture.counts().await;
    for mut gone in [left, reaped, stranger] {
        assert!(matches!(gone.turn(&[done(&record)], 5).await, Err(StoreError::Lost)));
        let seq = gone.next();
        assert!(matches!(gone.store.held(&gone.owner, seq).await, Err(StoreError::Lost)));
        let seq = gone.next();
        assert!(matches!(gone.store.take(&gone.owner, seq, ids[3]).await, Err(StoreError::Lost)));
        assert!(matches!(gone.store.fetch(&gone.owner, &ids).await, Err(StoreError::Lost)));
        assert!(matches!(gone.store.leave(&gone.owner).await, Err(StoreError::Lost)));
    }
    assert_eq!(fixture.counts().await, before);
}

async fn counts_and_errors_round_trip(fixture: Fixture) {
    let mut master = fixture.master().await;
    for (n, to) in
        [Destination::Front as fn(JobMeta) -> Destination, Destination::Back].into_iter().enumerate()
    {
        let id = fixture.push(1).await;
        let record = master.lease_exactly(&id).await.remove(0);
        assert_eq!((record.meta.attempts, record.meta.crashes, record.meta.lost), (0, 0, 0));
        let mut meta = record.meta.clone();
        (meta.attempts, meta.crashes, meta.suspect) = (2, 1, true);
        meta.max_attempts = Some(u32::MAX);
        meta.timeout_ms = Some(u64::MAX);
        meta.record_error(
            2,
            Timestamp(1_790_000_000_123_456),
            ErrorKind::Crash,
            "é \"quoted\"\n\u{0} \u{1F600} {}[]",
        );
        let end = end(&record, |_| to(meta.clone()));
        assert_eq!(master.settle(&[end]).await, []);
        let again = master.lease_exactly(&id).await.remove(0);
        assert_eq!((again.meta, again.payload), (meta, record.payload), "place {n}");
    }

    let id = fixture.push(1).await;
    let record = master.lease_exactly(&id).await.remove(0);
    let mut meta = record.meta.clone();
    meta.failed = Some(FailReason::Poison);
    meta.errors = vec![AttemptError {
        attempt: 3,
        at: Timestamp(5),
        kind: ErrorKind::Timeout,
        message: "slow".into(),
        process: None,
    }];
    master.settle(&[end(&record, |_| Destination::Failed(meta.clone()))]).await;
    let shown = fixture.store.get(record.id).await.unwrap().unwrap();
    assert_eq!(
        (shown.state, &shown.meta, shown.payload.as_str()),
        (JobState::Failed, &meta, record.payload.as_str())
    );
    assert_eq!(fixture.all(JobState::Failed).await, [shown]);
}
