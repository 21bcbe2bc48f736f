//! The records of alerts: one watcher at a time, its state, the reports of the others, silences.

use std::sync::Arc;
use std::time::Duration;

use aint_queue::store::{AlertLook, AlertLooked, Store};

use crate::fixture::{Fixture, job};

conformance! {
    one_watcher_holds_the_watch,
    watch_ends_with_its_lease,
    state_passes_to_the_next_holder,
    state_of_a_watcher_without_the_watch_is_refused,
    reports_of_other_watchers_are_seen,
    silences_end_by_themselves,
    alerts_belong_to_one_channel,
    look_tells_counts_and_masters,
}

const LEASE: Duration = Duration::from_secs(2);

fn look(watcher: &str) -> AlertLook<'_> {
    AlertLook { watcher, lease: LEASE, report: Some("{}"), save: None }
}

async fn send(store: &Arc<dyn Store>, look: AlertLook<'_>) -> AlertLooked {
    store.look_at_alerts(look).await.unwrap()
}

async fn one_watcher_holds_the_watch(fixture: Fixture) {
    let store = &fixture.store;
    let first = send(store, look("a")).await;
    assert!(first.holds && first.taken && !first.saved);
    assert_eq!(first.state, None);
    let again = send(store, look("a")).await;
    assert!(again.holds && !again.taken);
    let other = send(&fixture.another_handle().await, look("b")).await;
    assert!(!other.holds && !other.taken);
    let (holder, left) = store.alerts().await.unwrap().holder.unwrap();
    assert_eq!(holder, "a");
    assert!(left <= LEASE && left > LEASE / 2, "{left:?}");

    let given_up = send(store, AlertLook { report: None, ..look("a") }).await;
    assert!(!given_up.holds);
    assert_eq!(store.alerts().await.unwrap().holder, None);
    assert!(send(store, look("b")).await.taken);
}

async fn watch_ends_with_its_lease(fixture: Fixture) {
    let store = &fixture.store;
    send(store, look("a")).await;
    fixture.driver.pass(LEASE / 2).await;
    assert!(send(store, look("a")).await.holds, "a look renews the lease");
    fixture.driver.pass(LEASE / 2 + Duration::from_millis(200)).await;
    assert!(!send(store, look("b")).await.holds);
    fixture.driver.pass(LEASE).await;
    assert!(send(store, look("b")).await.taken);
    assert!(!send(store, look("a")).await.holds, "the old holder learns of its loss");
}

async fn state_passes_to_the_next_holder(fixture: Fixture) {
    let store = &fixture.store;
    send(store, look("a")).await;
    let large = "ä".repeat(32 << 10);
    assert!(send(store, AlertLook { save: Some(&large), ..look("a") }).await.saved);
    assert_eq!(send(store, look("a")).await.state, None, "the holder knows it");
    send(store, AlertLook { save: Some("last"), report: None, ..look("a") }).await;
    let next = send(store, look("b")).await;
    assert_eq!(next.state.as_deref(), Some("last"));
    assert_eq!(store.alerts().await.unwrap().state.as_deref(), Some("last"));
}

async fn state_of_a_watcher_without_the_watch_is_refused(fixture: Fixture) {
    let store = &fixture.store;
    let early = send(store, AlertLook { save: Some("early"), ..look("a") }).await;
    assert!(early.taken && !early.saved, "a watcher must have read the state first");
    let other = send(store, AlertLook { save: Some("other"), ..look("b") }).await;
    assert!(!other.saved);
    assert_eq!(store.alerts().await.unwrap().state, None);
}

async fn reports_of_other_watchers_are_seen(fixture: Fixture) {
    let store = &fixture.store;
    send(store, AlertLook { report: Some("of a\nand more"), ..look("a") }).await;
    fixture.driver.pass(Duration::from_millis(300)).await;
    let seen = send(store, AlertLook { report: Some("of b"), ..look("b") }).await;
    assert_eq!(seen.reports.len(), 1);
    assert_eq!((seen.reports[0].watcher.as_str(), seen.reports[0].text.as_str()), ("a", "of a\nand more"));
    assert!(seen.reports[0].age >= Duration::from_millis(300), "{:?}", seen.reports[0].age);
    assert_eq!(store.alerts().await.unwrap().reports.len(), 2);
    send(store, AlertLook { report: None, ..look("b") }).await;
    assert_eq!(send(store, look("a")).await.reports, [], "a withdrawn report is gone");
    fixture.driver.pass(LEASE + Duration::from_millis(200)).await;
    assert_eq!(send(store, look("c")).await.reports, [], "a report lasts for a lease");
}

async fn silences_end_by_themselves(fixture: Fixture) {
    let store = &fixture.store;
    let until = store.silence("backlog", Some((LEASE, "known:\nthe import runs"))).await.unwrap();
    store.silence("slow", Some((Duration::from_secs(3600), ""))).await.unwrap();
    let seen = send(store, look("a")).await.silences;
    assert_eq!(seen.iter().map(|silence| silence.rule.as_str()).collect::<Vec<_>>(), ["backlog", "slow"]);
    assert_eq!((seen[0].until, seen[0].comment.as_str()), (until, "known:\nthe import runs"));
    assert_eq!(store.alerts().await.unwrap().silences, seen);
    store.silence("slow", None).await.unwrap();
    assert_eq!(send(store, look("a")).await.silences.len(), 1);
    fixture.driver.pass(LEASE + Duration::from_millis(200)).await;
    assert_eq!(send(store, look("a")).await.silences, []);
}

async fn alerts_belong_to_one_channel(fixture: Fixture) {
    send(&fixture.store, look("a")).await;
    fixture.store.silence("backlog", Some((LEASE, ""))).await.unwrap();
    let other = fixture.driver.open("other").await;
    let seen = send(&other, look("b")).await;
    assert!(seen.taken);
    assert_eq!((seen.silences.len(), seen.reports.len()), (0, 0));
}

async fn look_tells_counts_and_masters(fixture: Fixture) {
    let store = &fixture.store;
    assert_eq!(send(store, look("a")).await.masters, 0);
    let _master = fixture.master().await;
    store.push(&[job("one"), job("two")]).await.unwrap();
    let seen = send(store, look("a")).await;
    assert_eq!((seen.masters, seen.counts.waiting), (1, 2));
    assert_eq!(seen.counts.front_ready_at, store.status().await.unwrap().front_ready_at);
}
