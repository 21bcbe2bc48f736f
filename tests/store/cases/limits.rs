//! Bounds of a single call.

use aint_queue::job::{MAX_PAYLOAD_BYTES, NewJob, NewJobError, Payload, Start, Timestamp};
use aint_queue::store::{MAX_BATCH, PushError, Turn};

use crate::fixture::{Fixture, job};

conformance! {
    oversized_batch_is_refused_whole,
    invalid_job_is_named_and_nothing_is_added,
    leasing_stops_at_max_bytes,
    largest_payload_round_trips,
    unusual_text_round_trips,
    turn_wanting_zero_leases_nothing,
}

fn sized(bytes: usize) -> NewJob {
    NewJob::new("sized", Payload::parse(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap())
}

async fn oversized_batch_is_refused_whole(fixture: Fixture) {
    let too_many: Vec<_> = (0..=MAX_BATCH).map(|n| job(&format!("j{n}"))).collect();
    assert!(matches!(fixture.store.push(&too_many).await, Err(PushError::TooLarge)));
    let too_heavy = vec![sized(MAX_PAYLOAD_BYTES); 5];
    assert!(matches!(fixture.store.push(&too_heavy).await, Err(PushError::TooLarge)));
    assert_eq!(fixture.counts().await, [0; 6]);
    assert_eq!(fixture.store.push(&too_heavy[..4]).await.unwrap().len(), 4);
    assert_eq!(fixture.store.push(&too_many[1..]).await.unwrap().len(), MAX_BATCH);
    assert_eq!(fixture.store.push(&[]).await.unwrap(), []);
    assert_eq!(fixture.counts().await[0], 504);
}

async fn invalid_job_is_named_and_nothing_is_added(fixture: Fixture) {
    let rule = |edit: fn(&mut NewJob)| {
        let mut bad = job("bad");
        edit(&mut bad);
        bad
    };
    type Expected = fn(&NewJobError) -> bool;
    let cases: [(NewJob, Expected); 4] = [
        (rule(|j| j.meta.job = "a b".into()), |e| matches!(e, NewJobError::Name(_))),
        (rule(|j| j.meta.unique = Some(String::new())), |e| matches!(e, NewJobError::UniqueKey(0))),
        (rule(|j| j.meta.max_attempts = Some(0)), |e| matches!(e, NewJobError::Attempts)),
        (rule(|j| j.start = Start::At(Timestamp(u64::MAX))), |e| matches!(e, NewJobError::Delay)),
    ];
    for (bad, expected) in cases {
        let batch = [job("a"), job("b"), bad, job("c")];
        match fixture.store.push(&batch).await {
            Err(PushError::Job { index: 2, why }) if expected(&why) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fixture.counts().await, [0; 6]);
}

async fn leasing_stops_at_max_bytes(fixture: Fixture) {
    let ids = fixture.push_all(&vec![sized(100_000); 6]).await;
    let mut master = fixture.master().await;
    let mut lease = async |max_bytes| {
        let seq = master.next();
        let turn = Turn {
            owner: &master.owner,
            seq,
            settlements: &[],
            releases: &[],
            want: 10,
            max_bytes,
            overdue: None,
            publish: None,
        };
        let leased = master.store.turn(turn).await.unwrap().leased;
        leased.iter().map(|l| l.id()).collect::<Vec<_>>()
    };
    assert_eq!(lease(0).await, ids[..1], "one job always fits");
    assert_eq!(lease(200_000).await, ids[1..3]);
    assert_eq!(lease(200_001).await, ids[3..6]);
}

async fn largest_payload_round_trips(fixture: Fixture) {
    let big = sized(MAX_PAYLOAD_BYTES);
    let id = fixture.push_all(std::slice::from_ref(&big)).await[0];
    let mut master = fixture.master().await;
    let record = master.lease_exactly(&[id]).await.remove(0);
    assert!(record.payload == big.payload);
    master.settle(&[crate::fixture::failed(&record)]).await;
    assert_eq!(fixture.store.get(id).await.unwrap().unwrap().payload.len(), MAX_PAYLOAD_BYTES);
}

async fn unusual_text_round_trips(fixture: Fixture) {
    let payloads = [
        r#""é \u0000 \" \\ \ud83d\ude00 😀""#,
        "[1.0, -0, 1e400, 123456789012345678901234567890]",
        "null",
        "  {} ",
        "0",
    ];
    let jobs: Vec<_> = payloads
        .iter()
        .map(|text| NewJob::new("App\\Jobs\\Ünfug".replace('Ü', "U"), Payload::parse(*text).unwrap()))
        .collect();
    let ids = fixture.push_all(&jobs).await;
    for (record, job) in fixture.master().await.lease_exactly(&ids).await.iter().zip(&jobs) {
        assert_eq!(record.payload.as_str(), job.payload.as_str());
        assert_eq!(record.meta, job.meta);
    }
}

async fn turn_wanting_zero_leases_nothing(fixture: Fixture) {
    fixture.push(3).await;
    let mut master = fixture.master().await;
    assert!(master.lease(0).await.is_empty());
    assert_eq!(master.lease(2).await.len(), 2);
    assert_eq!(master.lease(10).await.len(), 1);
    fixture.push(MAX_BATCH).await;
    fixture.push(MAX_BATCH).await;
    assert_eq!(master.lease(usize::MAX).await.len(), MAX_BATCH);
}
