//! Steps of the store's clock, as by a time server or a restored machine.

use std::time::Duration;

use aint_queue::job::{JobId, Timestamp};
use aint_queue::store::{Claim, ClaimKind, JobState, LimitDecision, Pushed};

use crate::fixture::{Fixture, Master, done, job, later, unique_for};

conformance! { @clock
    pushes_work_after_a_step_back,
    ids_are_bounded_by_the_highest_clock,
    push_time_is_right_while_the_clock_is_behind,
    delayed_jobs_are_late_by_at_most_the_step,
    pauses_end_late_by_at_most_the_step,
    timed_keys_are_held_by_at_most_the_step_longer,
    rates_wait_for_one_period_at_most_after_a_step,
    status_says_the_step,
    status_forgets_a_clock_far_ahead,
    no_period_has_more_grants_than_the_rate,
    rate_of_an_old_version_is_read,
}

/// Steps back, in microseconds: 0.5 s, 1.5 s, 3 s, an hour.
const BACK: [i64; 4] = [-500_000, -1_500_000, -3_000_000, -HOUR];
const HOUR: i64 = 3_600_000_000;
const SECOND: Duration = Duration::from_secs(1);
/// More than calls of a test take.
const MARGIN: Duration = Duration::from_secs(2);

async fn clock(master: &mut Master) -> Timestamp {
    master.turn(&[], 0).await.unwrap().now
}

async fn pushes_work_after_a_step_back(fixture: Fixture) {
    let mut last = JobId(0);
    let mut all = 0;
    for step in [0].into_iter().chain(BACK).chain([HOUR, -HOUR, -HOUR]) {
        fixture.driver.step_clock(step).await;
        for count in [1, 20, 300] {
            for id in fixture.push(count).await {
                assert!(id > last, "{id} after {last}, step {step}");
                last = id;
                all += 1;
            }
        }
    }
    assert_eq!(fixture.counts().await[0], all);
    let mut master = fixture.master().await;
    let mut leased = Vec::new();
    while (leased.len() as u64) < all {
        leased.extend(master.lease(500).await);
    }
    assert!(leased.is_sorted_by_key(|job| job.id), "first in, first out");
    for batch in leased.chunks(500) {
        assert_eq!(master.settle(&batch.iter().map(done).collect::<Vec<_>>()).await, []);
    }
}

async fn ids_are_bounded_by_the_highest_clock(fixture: Fixture) {
    let mut master = fixture.master().await;
    let mut highest = Timestamp(0);
    for step in [0, HOUR].into_iter().chain(BACK).chain([HOUR, -2 * HOUR]) {
        fixture.driver.step_clock(step).await;
        let id = *fixture.push(100).await.last().unwrap();
        highest = highest.max(clock(&mut master).await);
        assert!(id.0 <= highest.0 + 1_000_000, "{id} is ahead of {highest:?}");
    }
}

async fn push_time_is_right_while_the_clock_is_behind(fixture: Fixture) {
    let mut master = fixture.master().await;
    fixture.push(1).await;
    for step in BACK {
        fixture.driver.step_clock(step).await;
        let before = clock(&mut master).await;
        let mut expiring = job("expires");
        expiring.meta.expires_in_ms = Some(60_000);
        let ids = fixture.push_all(&[job("a"), expiring, later("b", 9 * SECOND)]).await;
        let range = Timestamp(before.0 - 1_000_000)..=before.after(MARGIN);
        for id in &ids {
            let view = fixture.store.get(*id).await.unwrap().unwrap();
            let pushed = view.meta.pushed_at(*id);
            assert!(range.contains(&pushed), "{pushed:?} is not near {before:?} after {step}");
            if view.state == JobState::Waiting {
                assert_eq!(view.at, pushed);
            }
        }
        let listed = fixture.all(JobState::Waiting).await;
        assert!(range.contains(&listed.iter().find(|view| view.id == ids[0]).unwrap().at));
        let expiry = fixture.store.get(ids[1]).await.unwrap().unwrap().meta.expiry(ids[1]).unwrap();
        assert!(range.contains(&Timestamp(expiry.0 - 60_000_000)), "{expiry:?}");
        // The time survives a settlement and arrives with the lease.
        let leased = master.lease(500).await;
        let own = leased.iter().find(|job| job.id == ids[1]).unwrap();
        assert_eq!(own.meta.expiry(own.id), Some(expiry));
    }
}

async fn delayed_jobs_are_late_by_at_most_the_step(fixture: Fixture) {
    let mut master = fixture.master().await;
    for step in BACK {
        let early = fixture.push_all(&[later("early", 60 * SECOND)]).await;
        fixture.driver.step_clock(step).await;
        // Pushed after the step: due by the clock as it is now.
        let ids = fixture.push_all(&[later("late", 30 * SECOND)]).await;
        assert!(master.lease(9).await.is_empty());
        fixture.driver.step_clock(29_000_000 - MARGIN.as_micros() as i64).await;
        assert!(master.lease(9).await.is_empty(), "{step}");
        fixture.driver.step_clock(1_000_000 + MARGIN.as_micros() as i64).await;
        let leased = master.lease_exactly(&ids).await;
        assert_eq!(master.settle(&[done(&leased[0])]).await, []);
        fixture.driver.step_clock(30_000_000 - step).await;
        let leased = master.lease_exactly(&early).await;
        assert_eq!(master.settle(&[done(&leased[0])]).await, []);
    }
    // Forward and back: a job of that hour waits for it.
    fixture.driver.step_clock(HOUR).await;
    let ids = fixture.push_all(&[later("ahead", SECOND)]).await;
    fixture.driver.step_clock(-HOUR).await;
    assert!(master.lease(9).await.is_empty());
    fixture.driver.step_clock(HOUR + 1_000_000).await;
    master.lease_exactly(&ids).await;
}

async fn pauses_end_late_by_at_most_the_step(fixture: Fixture) {
    let mut master = fixture.master().await;
    for step in BACK {
        fixture.push(1).await;
        fixture.store.pause(Some(30 * SECOND)).await.unwrap();
        fixture.driver.step_clock(step).await;
        assert!(fixture.store.status().await.unwrap().paused && master.lease(1).await.is_empty());
        fixture.driver.step_clock(30_000_000 - step).await;
        assert!(!fixture.store.status().await.unwrap().paused);
        let leased = master.lease(1).await;
        assert_eq!(master.settle(&[done(&leased[0])]).await, []);
        // A pause that begins while the clock is behind has its own length.
        fixture.driver.step_clock(step).await;
        fixture.store.pause(Some(30 * SECOND)).await.unwrap();
        fixture.driver.step_clock(30_000_001).await;
        assert!(!fixture.store.status().await.unwrap().paused);
    }
}

async fn timed_keys_are_held_by_at_most_the_step_longer(fixture: Fixture) {
    for (n, step) in BACK.into_iter().enumerate() {
        let (before, behind) = (format!("before{n}"), format!("behind{n}"));
        let hold = |key: &str| unique_for("once", key, 30 * SECOND);
        let first = fixture.store.push(&[hold(&before)]).await.unwrap()[0].id();
        fixture.driver.step_clock(step).await;
        assert_eq!(fixture.store.push(&[hold(&before)]).await.unwrap(), [Pushed::Existing(first)]);
        let second = fixture.store.push(&[hold(&behind)]).await.unwrap()[0].id();
        assert_eq!(fixture.store.holder(&behind).await.unwrap(), Some(second));
        fixture.driver.step_clock(30_100_000).await;
        assert_eq!(fixture.store.holder(&behind).await.unwrap(), None);
        assert!(matches!(fixture.store.push(&[hold(&behind)]).await.unwrap()[..], [Pushed::Added(_)]));
        fixture.driver.step_clock(-step).await;
        assert_eq!(fixture.store.holder(&before).await.unwrap(), None);
        assert!(matches!(fixture.store.push(&[hold(&before)]).await.unwrap()[..], [Pushed::Added(_)]));
    }
}

async fn rates_wait_for_one_period_at_most_after_a_step(fixture: Fixture) {
    let mut master = fixture.master().await;
    let id = fixture.push(1).await[0];
    master.lease_exactly(&[id]).await;
    for (n, step) in BACK.into_iter().enumerate() {
        let kind = ClaimKind::Rate { count: 1, burst: 1, per: 30 * SECOND };
        let claim = Claim { id, key: format!("k{n}"), kind };
        assert_eq!(master.claim(claim.clone()).await, LimitDecision::Granted);
        fixture.driver.step_clock(step).await;
        let LimitDecision::Wait(time) = master.claim(claim.clone()).await else { panic!("{step}") };
        assert!(time > 27 * SECOND && time <= 30 * SECOND, "{time:?} after {step}");
        fixture.driver.step_clock(30_000_001 - step).await;
        assert_eq!(master.claim(claim).await, LimitDecision::Granted, "{step}");
    }
}

async fn status_says_the_step(fixture: Fixture) {
    let mut master = fixture.master().await;
    assert_eq!(fixture.store.status().await.unwrap().clock_behind, None);
    fixture.push(1).await;
    for step in BACK {
        clock(&mut master).await;
        fixture.driver.step_clock(step).await;
        let behind = fixture.store.status().await.unwrap().clock_behind.unwrap();
        let wanted = Duration::from_micros(step.unsigned_abs());
        assert!(
            behind <= wanted && behind + 500 * Duration::from_millis(1) > wanted,
            "{behind:?}, {wanted:?}"
        );
        // A push changes nothing about that.
        fixture.push(1).await;
        assert!(fixture.store.status().await.unwrap().clock_behind.is_some());
        fixture.driver.step_clock(-step).await;
        assert_eq!(fixture.store.status().await.unwrap().clock_behind, None);
    }
}

async fn status_forgets_a_clock_far_ahead(fixture: Fixture) {
    let mut master = fixture.master().await;
    const DAY: i64 = 24 * HOUR;
    for ahead in [3 * DAY, 400 * DAY] {
        fixture.driver.step_clock(ahead).await;
        fixture.push(1).await;
        clock(&mut master).await;
        fixture.driver.step_clock(-ahead).await;
        assert_eq!(fixture.store.status().await.unwrap().clock_behind, None);
        let id = fixture.push(1).await[0];
        let view = fixture.store.get(id).await.unwrap().unwrap();
        assert!(view.at.since(clock(&mut master).await) < MARGIN, "the time of the push is right");
    }
}

/// Arrivals at random times, on the real clocks that run on between them.
async fn no_period_has_more_grants_than_the_rate(fixture: Fixture) {
    let mut master = fixture.master().await;
    let id = fixture.push(1).await[0];
    master.lease_exactly(&[id]).await;
    let mut random = fastrand::Rng::with_seed(17);
    for (round, (count, burst)) in [(5, 1), (5, 2), (5, 5), (1, 1), (7, 3), (20, 4)].into_iter().enumerate() {
        let per = Duration::from_micros(random.u64(400_000..4_000_000));
        let kind = ClaimKind::Rate { count, burst, per };
        let claim = Claim { id, key: format!("r{round}"), kind };
        let (mut granted, mut refused) = (Vec::new(), 0);
        for _ in 0..60 {
            if random.bool() {
                let longest = 3 * per.as_micros() as u64 / u64::from(count);
                fixture.driver.step_clock(random.u64(0..longest) as i64).await;
            }
            let before = clock(&mut master).await;
            let decision = master.claim(claim.clone()).await;
            let after = clock(&mut master).await;
            match decision {
                LimitDecision::Granted => granted.push((before, after)),
                LimitDecision::Wait(time) => {
                    assert!(!time.is_zero() && time <= per, "{time:?}");
                    refused += 1;
                }
            }
        }
        for ((first, _), (_, next)) in granted.iter().zip(granted.iter().skip(count as usize)) {
            assert!(next.since(*first) >= per, "more than {count} in {per:?}, burst {burst}, round {round}");
        }
        assert!(
            granted.len() > count as usize && refused > 0,
            "{} granted, {refused} refused",
            granted.len()
        );
    }
}

/// The stored form is as old as rates: a full burst of an older version reaches far into the future.
async fn rate_of_an_old_version_is_read(fixture: Fixture) {
    let mut master = fixture.master().await;
    let id = fixture.push(1).await[0];
    master.lease_exactly(&[id]).await;
    let claim = |count, burst, per| {
        let kind = ClaimKind::Rate { count, burst, per };
        Claim { id, key: "k".to_owned(), kind }
    };
    let old = claim(1, 1, 5 * 60 * SECOND);
    assert_eq!(master.claim(old).await, LimitDecision::Granted);
    // Five minutes ahead are one claim of this rate at most.
    let new = claim(5, 1, 300 * SECOND);
    let LimitDecision::Wait(time) = master.claim(new.clone()).await else { panic!("the rate is in use") };
    assert_eq!(time, 60 * SECOND);
    fixture.driver.step_clock(5 * 60_000_000).await;
    assert_eq!(master.claim(new).await, LimitDecision::Granted);
}
