//! Bytes of the stored jobs, and the limit on them.

use aint_queue::config::{self, Config};
use aint_queue::job::{JobOutput, OutputLine, OutputStream};
use aint_queue::store::{
    ChannelLimits, Clear, Destination, OutputChange, PushError, PushLimit, Pushed, Settlement, Store,
    StoreError,
};

use crate::fixture::{Fixture, done, end, failed, job, of_payload, unique};

conformance! {
    bytes_are_counted_from_the_first_limit_on,
    bytes_follow_every_change_of_a_job,
    full_channel_refuses_bytes,
}

const ENDLESS: ChannelLimits = ChannelLimits { max_waiting: None, max_bytes: Some(1 << 40) };

async fn bytes(store: &dyn Store) -> Option<u64> {
    store.status().await.unwrap().bytes
}

async fn bytes_are_counted_from_the_first_limit_on(fixture: Fixture) {
    let store = &*fixture.store;
    let other = fixture.driver.open("other").await;
    fixture.push(1).await;
    other.push(&[job("j0")]).await.unwrap();
    assert_eq!(bytes(store).await, None);
    store.record_limits(ChannelLimits { max_waiting: Some(3), max_bytes: None }).await.unwrap();
    assert_eq!(bytes(store).await, None, "a limit of jobs counts no bytes");

    // Jobs of the time before count.
    store.record_limits(ENDLESS).await.unwrap();
    let one = bytes(store).await.unwrap();
    assert!(one >= 10, "{one}");
    fixture.push(1).await;
    assert_eq!(bytes(&*fixture.another_handle().await).await, Some(2 * one));

    // The count goes on while there is no limit, and a second limit does not begin it again.
    store.record_limits(ChannelLimits::default()).await.unwrap();
    fixture.push(1).await;
    store.record_limits(ENDLESS).await.unwrap();
    assert_eq!(bytes(store).await, Some(3 * one));
    assert_eq!(bytes(&*other).await, None, "each channel has a count of its own");
    other.record_limits(ENDLESS).await.unwrap();
    assert_eq!(bytes(&*other).await, Some(one));
}

async fn bytes_follow_every_change_of_a_job(fixture: Fixture) {
    let store = &*fixture.store;
    store.record_limits(ENDLESS).await.unwrap();
    assert_eq!(bytes(store).await, Some(0));
    store.push(&[of_payload("a", &format!("\"{}\"", "\u{e4}".repeat(500)))]).await.unwrap();
    let pushed = bytes(store).await.unwrap();
    assert!((1_000..1_100).contains(&pushed), "bytes, not characters: {pushed}");
    let mut master = fixture.master().await;
    let leased = master.lease(1).await.remove(0);
    assert_eq!(bytes(store).await, Some(pushed), "a lease changes nothing");

    // A failure adds its error and its output; a requeue drops the output.
    let line = OutputLine { stream: OutputStream::Stderr, text: "x".repeat(300) };
    let output = JobOutput { attempt: 1, lines: vec![line], dropped_lines: 0, dropped_bytes: 0 };
    let set = |settlement| Settlement { output: OutputChange::Set(Box::new(output.clone())), ..settlement };
    master.settle(&[set(failed(&leased))]).await;
    let with_output = bytes(store).await.unwrap();
    assert!(with_output > pushed + 300, "{with_output}");
    let view = store.get(leased.id).await.unwrap().unwrap();
    store.requeue(&[(leased.id, view.meta.reloaded())]).await.unwrap();
    let requeued = bytes(store).await.unwrap();
    assert!(requeued < with_output - 300, "{requeued}");

    // A second output replaces the first.
    let leased = master.lease(1).await.remove(0);
    master.settle(&[set(end(&leased, Destination::Front))]).await;
    let first = bytes(store).await.unwrap();
    let leased = master.lease(1).await.remove(0);
    master.settle(&[set(end(&leased, Destination::Front))]).await;
    assert_eq!(bytes(store).await, Some(first));
    let leased = master.lease(1).await.remove(0);
    master.settle(&[Settlement { output: OutputChange::Drop, ..done(&leased) }]).await;
    assert_eq!(bytes(store).await, Some(0));

    // Every way of removal gives the bytes back.
    let ids = fixture.push(4).await;
    let leased = master.lease(2).await;
    master.settle(&[set(failed(&leased[0]))]).await;
    store.discard(&[ids[0], ids[2]]).await.unwrap();
    assert!(bytes(store).await.unwrap() > 0);
    store.clear(Clear { waiting: true, delayed: true, failed: true, reserved: true }).await.unwrap();
    assert_eq!(bytes(store).await, Some(0));
    assert_eq!(fixture.counts().await, [0, 0, 0, 1, 0, 4]);
}

async fn full_channel_refuses_bytes(fixture: Fixture) {
    let store = &*fixture.store;
    let limit = PushLimit::of(&config::Channel {
        name: "bytes".to_owned(),
        max_bytes: Some(3_000),
        ..Config::built_in(std::path::Path::new("/srv")).channels["default"].clone()
    });
    let large = || of_payload("a", &format!("\"{}\"", "x".repeat(1_400)));
    let refused = |pushed: Result<Vec<Pushed>, PushError>| match pushed {
        Err(PushError::Store(error @ StoreError::Full { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    };
    // No master has recorded the limit: the first push does.
    limit.push(store, &[large()]).await.unwrap();
    let held = limit.push(store, &[unique("held", "k")]).await.unwrap()[0].id();
    let text = refused(limit.push(store, &[large(), large()]).await);
    assert!(
        text.starts_with("channel \"bytes\" is full: its jobs take 14")
            && text.contains("max_bytes allows 3000: retry"),
        "{text}"
    );
    assert_eq!(fixture.counts().await[0], 2, "a refused batch adds nothing");
    limit.push(store, &[large()]).await.unwrap();
    refused(limit.push(store, &[large()]).await);
    // A push that adds nothing needs no room, however large it is.
    let same = unique("held", "k");
    let again = aint_queue::job::NewJob { payload: large().payload, ..same };
    assert_eq!(limit.push(store, &[again]).await.unwrap(), [Pushed::Existing(held)]);
    // A job that never fits says so.
    let never = limit.push(store, &[large(), large(), large()]).await.unwrap_err();
    assert!(matches!(never, PushError::NeverFits { .. }), "{never:?}");
    let text = never.to_string();
    assert!(text.ends_with("push fewer or smaller jobs at once, or raise max_bytes"), "{text}");
    // Reserved and failed jobs count until they are gone.
    let mut master = fixture.master().await;
    let leased = master.lease(3).await;
    refused(limit.push(store, &[large()]).await);
    let ends: Vec<_> = leased.iter().map(failed).collect();
    master.settle(&ends).await;
    refused(limit.push(store, &[large()]).await);
    store.clear(Clear { failed: true, ..Clear::default() }).await.unwrap();
    limit.push(store, &[large(), large()]).await.unwrap();
}
