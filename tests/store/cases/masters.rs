//! Summaries that masters publish: stamped by the store's clock, shown to all, gone with their owner.

use std::sync::Arc;
use std::time::Duration;

use aint_queue::job::Timestamp;
use aint_queue::store::{
    MAX_MASTERS, MAX_SUMMARY_BYTES, Owner, OwnerView, Reap, Store, StoreError, Summary, Turn, TurnReply,
};

use crate::fixture::{Fixture, Master, done};

conformance! {
    summary_is_shown_with_its_age,
    later_summary_replaces_an_earlier_one,
    summary_ends_with_its_owner,
    expired_lease_is_not_alive,
    owner_without_summary_is_listed,
    refused_turn_publishes_nothing,
    any_text_up_to_8_kib_is_kept,
    summaries_belong_to_one_channel,
    list_of_masters_is_bounded,
}

async fn publish_as(master: &Master, seq: u64, text: &str) -> Result<TurnReply, StoreError> {
    let summary = Summary::new(text).unwrap();
    let turn = Turn {
        owner: &master.owner,
        seq,
        settlements: &[],
        releases: &[],
        want: 0,
        max_bytes: usize::MAX,
        overdue: None,
        publish: Some(&summary),
    };
    master.store.turn(turn).await
}

async fn publish(master: &mut Master, text: &str) -> Timestamp {
    let seq = master.next();
    publish_as(master, seq, text).await.unwrap().now
}

async fn masters(store: &Arc<dyn Store>) -> Vec<OwnerView> {
    store.masters().await.unwrap()
}

/// The text that an owner shows.
fn text(all: &[OwnerView], owner: &Owner) -> Option<String> {
    let view = all.iter().find(|view| view.owner == *owner).unwrap_or_else(|| panic!("{owner:?} in {all:?}"));
    Some(view.published.clone()?.summary.unwrap().as_str().to_owned())
}

async fn summary_is_shown_with_its_age(fixture: Fixture) {
    assert_eq!(masters(&fixture.store).await, []);
    let (mut one, mut two) = (fixture.master().await, fixture.master().await);
    publish(&mut one, "{\"host\":\"a\"}").await;
    fixture.driver.pass(Duration::from_millis(300)).await;
    publish(&mut two, "{\"host\":\"b\"}").await;
    // By another process, which is no owner.
    let all = masters(&fixture.another_handle().await).await;
    assert_eq!(all.len(), 2);
    assert_eq!(text(&all, &one.owner).as_deref(), Some("{\"host\":\"a\"}"));
    assert_eq!(text(&all, &two.owner).as_deref(), Some("{\"host\":\"b\"}"));
    assert!(all.iter().all(OwnerView::is_alive), "{all:?}");
    assert_eq!(all[0].owner, two.owner, "the longest lease comes first");
    let age = |view: &OwnerView| view.published.as_ref().unwrap().age;
    assert!(age(&all[1]) >= Duration::from_millis(300) && age(&all[1]) < Duration::from_secs(50), "{all:?}");
    assert!(age(&all[0]) < age(&all[1]), "{all:?}");
}

async fn later_summary_replaces_an_earlier_one(fixture: Fixture) {
    let ids = fixture.push(1).await;
    let mut master = fixture.master().await;
    publish(&mut master, "first").await;
    let leased = master.lease_exactly(&ids).await;
    master.settle(&[done(&leased[0])]).await;
    master.held().await;
    assert_eq!(text(&masters(&fixture.store).await, &master.owner).as_deref(), Some("first"));
    publish(&mut master, "second").await;
    let all = masters(&fixture.store).await;
    assert_eq!((all.len(), text(&all, &master.owner).as_deref()), (1, Some("second")));
    assert_eq!(fixture.counts().await, [0, 0, 0, 1, 0, 0], "a summary is no job");
}

async fn summary_ends_with_its_owner(fixture: Fixture) {
    let mut all = Vec::new();
    for n in 0..4 {
        let mut master = fixture.master().await;
        publish(&mut master, &n.to_string()).await;
        all.push(master);
    }
    fixture.store.leave(&all[0].owner).await.unwrap();
    fixture.store.reap(Reap::Owner(&all[1].owner)).await.unwrap();
    fixture.driver.expire_lease(crate::fixture::CHANNEL, &all[2].owner).await;
    fixture.store.reap(Reap::Expired).await.unwrap();
    let left = masters(&fixture.store).await;
    assert_eq!((left.len(), text(&left, &all[3].owner).as_deref()), (1, Some("3")));
    for ended in &mut all[..3] {
        let seq = ended.next();
        assert!(matches!(publish_as(ended, seq, "again").await, Err(StoreError::Lost)));
    }
    assert_eq!(masters(&fixture.store).await.len(), 1);
}

async fn expired_lease_is_not_alive(fixture: Fixture) {
    let (mut one, mut two) = (fixture.master().await, fixture.master().await);
    publish(&mut one, "one").await;
    publish(&mut two, "two").await;
    fixture.driver.expire_lease(crate::fixture::CHANNEL, &two.owner).await;
    let all = masters(&fixture.store).await;
    assert_eq!(all.iter().map(OwnerView::is_alive).collect::<Vec<_>>(), [true, false], "{all:?}");
    assert_eq!(text(&all, &two.owner).as_deref(), Some("two"), "shown until a master reaps it");
    publish(&mut two, "back").await;
    assert!(masters(&fixture.store).await.iter().all(OwnerView::is_alive));
}

async fn owner_without_summary_is_listed(fixture: Fixture) {
    let mut master = fixture.master().await;
    let view = masters(&fixture.store).await.remove(0);
    assert_eq!((&view.owner, view.is_alive(), view.published), (&master.owner, true, None));
    publish(&mut master, "now").await;
    assert_eq!(text(&masters(&fixture.store).await, &master.owner).as_deref(), Some("now"));
}

async fn refused_turn_publishes_nothing(fixture: Fixture) {
    let mut master = fixture.master().await;
    publish(&mut master, "first").await;
    assert!(matches!(publish_as(&master, 1, "late copy").await, Err(StoreError::Replayed)));
    assert_eq!(text(&masters(&fixture.store).await, &master.owner).as_deref(), Some("first"));
}

async fn any_text_up_to_8_kib_is_kept(fixture: Fixture) {
    let mut master = fixture.master().await;
    let long = format!("\n\0{}", "\u{1b}\"ü\n7".repeat(1_200));
    assert!(long.len() < MAX_SUMMARY_BYTES && long.len() > MAX_SUMMARY_BYTES / 2);
    for published in [long.as_str(), &"x".repeat(MAX_SUMMARY_BYTES), ""] {
        publish(&mut master, published).await;
        assert_eq!(text(&masters(&fixture.store).await, &master.owner).as_deref(), Some(published));
    }
}

async fn summaries_belong_to_one_channel(fixture: Fixture) {
    let other = fixture.driver.open("other").await;
    let (mut here, mut there) = (fixture.master().await, Master::join(&other).await);
    publish(&mut here, "here").await;
    publish(&mut there, "there").await;
    let all = masters(&other).await;
    assert_eq!((all.len(), text(&all, &there.owner).as_deref()), (1, Some("there")));
}

async fn list_of_masters_is_bounded(fixture: Fixture) {
    for _ in 0..=MAX_MASTERS {
        fixture.master().await;
    }
    assert_eq!(masters(&fixture.store).await.len(), MAX_MASTERS);
}
