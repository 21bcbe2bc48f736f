//! How a settlement holds, and what becomes of one that does not.

use aint_queue::job::{AttemptError, ErrorKind, FailReason, JobId, Meta, Timestamp};
use aint_queue::store::{Clear, Exception, Place, State, StoreError};

use crate::harness::{World, done, done_id, end, failed};

const RESERVED: Clear = Clear { waiting: false, delayed: false, failed: false, reserved: true };

pub async fn each_place_holds(world: World) {
    let ids = world.push(5).await;
    let mut master = world.master().await;
    let leased = master.lease_exactly(&ids).await;
    let far = |meta| Place::Delayed(std::time::Duration::from_secs(60), meta);
    let ends = [
        done(&leased[0]),
        end(&leased[1], Place::Front),
        end(&leased[2], Place::Back),
        end(&leased[3], far),
        failed(&leased[4]),
    ];
    let reply = master.turn(&ends, 0).await.unwrap();
    assert_eq!((reply.exceptions, reply.held), (vec![], 0));
    assert_eq!(world.counts().await, [2, 0, 1, 1, 1, 0]);
    assert_eq!(world.store.get(ids[0]).await.unwrap(), None);
    for (id, state) in [(1, State::Waiting), (2, State::Waiting), (3, State::Delayed), (4, State::Failed)] {
        assert_eq!(world.store.get(ids[id]).await.unwrap().unwrap().state, state);
    }
}

pub async fn each_place_holds_alone(world: World) {
    let mut master = world.master().await;
    let far = |meta| Place::Delayed(std::time::Duration::from_secs(60), meta);
    let to: [fn(Meta) -> Place; 5] = [|_| Place::Done, Place::Front, Place::Back, far, Place::Failed];
    let expected = [[0, 0, 0, 1, 0], [1, 0, 0, 1, 0], [1, 0, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]];
    for (to, expected) in to.into_iter().zip(expected) {
        let id = world.push(1).await;
        let record = master.lease_exactly(&id).await.remove(0);
        let before = world.counts().await;
        assert_eq!(before[1], 1);
        assert_eq!(master.settle(&[end(&record, to)]).await, []);
        let counts = world.counts().await;
        assert_eq!(counts[..3], expected[..3], "{:?}", to(Meta::named("x")));
        if let Some(job) = world.store.get(record.id).await.unwrap() {
            world.store.discard(&[job.id]).await.unwrap();
        }
    }
}

pub async fn what_others_hold_is_stale_and_what_is_gone_is_cleared(world: World) {
    let ids = world.push(6).await;
    let (mut one, mut two) = (world.master().await, world.master().await);
    let mine = one.lease_exactly(&ids[..3]).await;
    let theirs = two.lease_exactly(&ids[3..5]).await;
    let never = JobId(7);

    // Alone.
    for (end, exception) in [
        (done(&theirs[0]), Exception::Stale),
        (failed(&theirs[1]), Exception::Stale),
        (done_id(ids[5]), Exception::Stale),
        (done_id(never), Exception::Cleared),
    ] {
        let id = end.id;
        assert_eq!(one.settle(&[end]).await, [(id, exception)]);
    }
    assert_eq!(world.counts().await, [1, 5, 0, 0, 0, 0]);

    // Inside a batch whose other items apply.
    let ends = [
        done(&mine[0]),
        done(&theirs[0]),
        end(&mine[1], Place::Back),
        done_id(never),
        end(&theirs[1], Place::Front),
        failed(&mine[2]),
    ];
    let mut exceptions = one.settle(&ends).await;
    exceptions.sort_unstable_by_key(|(id, _)| *id);
    let expected = [(never, Exception::Cleared), (ids[3], Exception::Stale), (ids[4], Exception::Stale)];
    assert_eq!(exceptions, expected);
    assert_eq!(world.counts().await, [2, 2, 0, 1, 1, 0]);
    assert_eq!(two.held().await, ids[3..5]);
}

pub async fn a_job_settled_twice_in_one_batch_is_settled_once(world: World) {
    let ids = world.push(2).await;
    let mut master = world.master().await;
    let leased = master.lease_exactly(&ids).await;
    let ends = [done(&leased[0]), end(&leased[1], Place::Back), done(&leased[0]), done(&leased[1])];
    let exceptions = master.settle(&ends).await;
    assert_eq!(exceptions, [(ids[0], Exception::Cleared), (ids[1], Exception::Stale)]);
    assert_eq!(world.counts().await, [1, 0, 0, 1, 0, 0]);
}

pub async fn cleared_while_it_ran(world: World) {
    let ids = world.push(3).await;
    let mut master = world.master().await;
    let leased = master.lease_exactly(&ids).await;
    assert_eq!(world.store.clear(RESERVED).await.unwrap().reserved, 3);
    assert_eq!(master.held().await, []);
    let more = world.push(1).await;
    let fresh = master.lease_exactly(&more).await.remove(0);
    let ends = [done(&leased[0]), failed(&leased[1]), done(&fresh), end(&leased[2], Place::Front)];
    let mut exceptions = master.settle(&ends).await;
    exceptions.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(exceptions, ids.iter().map(|id| (*id, Exception::Cleared)).collect::<Vec<_>>());
    assert_eq!(world.counts().await, [0, 0, 0, 1, 0, 3]);
}

pub async fn a_repeated_number_changes_nothing(world: World) {
    let ids = world.push(3).await;
    let mut master = world.master().await;
    let leased = master.lease(2).await;
    let before = world.counts().await;
    for seq in [0, master.seq] {
        let late = master.turn_as(seq, &[done(&leased[0])], 1).await;
        assert!(matches!(late, Err(StoreError::Replayed)), "{late:?}");
        assert!(matches!(master.store.held(&master.owner, seq).await, Err(StoreError::Replayed)));
        let take = master.store.take(&master.owner, seq, ids[2]).await;
        assert!(matches!(take, Err(StoreError::Replayed)), "{take:?}");
    }
    assert_eq!(world.counts().await, before);
    // Numbers may leave gaps.
    master.seq += 1_000_000;
    assert_eq!(master.settle(&[done(&leased[0])]).await, []);
}

pub async fn an_owner_that_is_gone_stays_gone(world: World) {
    let ids = world.push(4).await;
    let mut left = world.master().await;
    let record = left.lease(1).await.remove(0);
    left.store.leave(&left.owner).await.unwrap();
    let mut reaped = world.master().await;
    reaped.lease(1).await;
    world.driver.lapse(crate::harness::CHANNEL, &reaped.owner).await;
    world.store.reap(aint_queue::store::Reap::Expired).await.unwrap();
    let stranger = crate::harness::Master {
        store: world.store.clone(),
        owner: aint_queue::store::Owner::named("stranger"),
        seq: 0,
    };
    let before = world.counts().await;
    for mut gone in [left, reaped, stranger] {
        assert!(matches!(gone.turn(&[done(&record)], 5).await, Err(StoreError::Lost)));
        let seq = gone.next();
        assert!(matches!(gone.store.held(&gone.owner, seq).await, Err(StoreError::Lost)));
        let seq = gone.next();
        assert!(matches!(gone.store.take(&gone.owner, seq, ids[3]).await, Err(StoreError::Lost)));
        assert!(matches!(gone.store.fetch(&gone.owner, &ids).await, Err(StoreError::Lost)));
        assert!(matches!(gone.store.leave(&gone.owner).await, Err(StoreError::Lost)));
    }
    assert_eq!(world.counts().await, before);
}

pub async fn counts_and_errors_come_back_as_they_were_written(world: World) {
    let mut master = world.master().await;
    for (n, to) in [Place::Front as fn(Meta) -> Place, Place::Back].into_iter().enumerate() {
        let id = world.push(1).await;
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

    let id = world.push(1).await;
    let record = master.lease_exactly(&id).await.remove(0);
    let mut meta = record.meta.clone();
    meta.failed = Some(FailReason::Poison);
    meta.errors =
        vec![AttemptError { attempt: 3, at: Timestamp(5), kind: ErrorKind::Timeout, message: "slow".into() }];
    master.settle(&[end(&record, |_| Place::Failed(meta.clone()))]).await;
    let shown = world.store.get(record.id).await.unwrap().unwrap();
    assert_eq!(
        (shown.state, &shown.meta, shown.payload.as_str()),
        (State::Failed, &meta, record.payload.as_str())
    );
    assert_eq!(world.all(State::Failed).await, [shown]);
}
