//! Locks and rates of running jobs.

use std::time::Duration;

use aint_queue::job::{JobId, MAX_DELAY};
use aint_queue::store::{
    Claim, ClaimKind, Clear, Destination, KeyRelease, LimitDecision, Owner, Reap, StoreError,
};

use crate::fixture::{CHANNEL, Fixture, Master, done, end, job};

conformance! {
    lock_is_granted_up_to_its_limit,
    claims_of_one_call_are_answered_in_order,
    release_frees_only_keys_of_that_job_and_owner,
    lock_outlives_its_run_until_released,
    ended_owner_has_no_locks,
    claim_for_an_unheld_job_is_denied,
    rate_grants_a_burst_then_returns_the_wait,
    rate_has_room_after_exactly_the_returned_wait,
    largest_and_smallest_rates_hold,
    channels_do_not_share_locks_and_rates,
    any_text_is_a_valid_limit_key,
    concurrent_owners_never_exceed_the_lock_limit,
}

const HOUR: Duration = Duration::from_secs(3600);
const DENIED: LimitDecision = LimitDecision::Wait(Duration::ZERO);

fn lock(id: JobId, key: &str, limit: u32) -> Claim {
    Claim { id, key: key.to_owned(), kind: ClaimKind::Lock { limit } }
}

fn rate(id: JobId, key: &str, count: u32, per: Duration) -> Claim {
    Claim { id, key: key.to_owned(), kind: ClaimKind::Rate { count, burst: count, per } }
}

fn free(id: JobId, key: &str) -> KeyRelease {
    KeyRelease::Lock { id, key: key.to_owned() }
}

/// An owner that holds this many jobs.
async fn running(fixture: &Fixture, jobs: usize) -> (Master, Vec<JobId>) {
    let ids = fixture.push(jobs).await;
    let mut master = fixture.master().await;
    master.lease_exactly(&ids).await;
    (master, ids)
}

async fn lock_is_granted_up_to_its_limit(fixture: Fixture) {
    let (mut one, a) = running(&fixture, 3).await;
    let (mut two, b) = running(&fixture, 2).await;
    assert_eq!(one.claim(lock(a[0], "k", 1)).await, LimitDecision::Granted);
    assert_eq!(one.claim(lock(a[0], "k", 1)).await, LimitDecision::Granted, "it has it already");
    assert_eq!(one.claim(lock(a[1], "k", 1)).await, DENIED);
    assert_eq!(two.claim(lock(b[0], "k", 1)).await, DENIED);
    assert_eq!(two.claim(lock(b[0], "other", 1)).await, LimitDecision::Granted);

    // The limit of the claim counts; holders with other limits are included.
    assert_eq!(two.claim(lock(b[0], "k", 2)).await, LimitDecision::Granted);
    assert_eq!(two.claim(lock(b[1], "k", 2)).await, DENIED);
    assert_eq!(two.claim(lock(b[0], "k", 0)).await, LimitDecision::Granted, "it has it already");
    assert_eq!(two.claim(lock(b[1], "new", 0)).await, DENIED);

    one.free(&[], &[free(a[0], "k")]).await;
    assert_eq!(one.claim(lock(a[2], "k", 1)).await, DENIED);
    assert_eq!(one.claim(lock(a[2], "k", 2)).await, LimitDecision::Granted);
    two.free(&[], &[free(b[0], "k")]).await;
    one.free(&[], &[free(a[2], "k")]).await;
    assert_eq!(one.claim(lock(a[1], "k", 1)).await, LimitDecision::Granted);
    assert_eq!(one.claim(lock(a[1], "k", u32::MAX)).await, LimitDecision::Granted);
}

async fn claims_of_one_call_are_answered_in_order(fixture: Fixture) {
    let (master, ids) = running(&fixture, 3).await;
    let claims = [
        lock(ids[2], "k", 2),
        lock(ids[1], "k", 2),
        lock(ids[0], "k", 2),
        rate(ids[0], "k", 1, HOUR),
        lock(ids[0], "j", 1),
        lock(ids[2], "k", 1),
        rate(ids[1], "other", 1, HOUR),
    ];
    let answers = master.store.claim(&master.owner, &claims).await.unwrap();
    let yes = LimitDecision::Granted;
    // Locks and rates have separate key spaces.
    assert_eq!(answers, [yes, yes, DENIED, yes, yes, yes, yes]);
    assert_eq!(master.store.claim(&master.owner, &[]).await.unwrap(), []);
}

async fn release_frees_only_keys_of_that_job_and_owner(fixture: Fixture) {
    let (mut one, a) = running(&fixture, 2).await;
    let (mut two, b) = running(&fixture, 1).await;
    assert_eq!(one.claim(lock(a[0], "k", 1)).await, LimitDecision::Granted);
    one.free(&[], &[free(a[1], "k"), free(a[0], "other"), free(JobId(7), "k")]).await;
    two.free(&[], &[free(a[0], "k"), free(b[0], "k")]).await;
    one.free(&[], &[KeyRelease::Unique { id: a[0], key: "k".into() }]).await;
    assert_eq!(two.claim(lock(b[0], "k", 1)).await, DENIED);
    // A repeated release, even in the same turn, does not release the lock of the next holder.
    one.free(&[], &[free(a[0], "k"), free(a[0], "k")]).await;
    assert_eq!(two.claim(lock(b[0], "k", 1)).await, LimitDecision::Granted);
    one.free(&[], &[free(a[0], "k")]).await;
    assert_eq!(one.claim(lock(a[0], "k", 1)).await, DENIED);
}

async fn lock_outlives_its_run_until_released(fixture: Fixture) {
    let (mut master, ids) = running(&fixture, 5).await;
    for (n, place) in
        [None, Some(Destination::Back as fn(_) -> _), Some(Destination::Failed)].into_iter().enumerate()
    {
        let records = master.store.fetch(&master.owner, &[ids[n]]).await.unwrap();
        let record = crate::fixture::record(records.into_iter().next().unwrap());
        let settlement = place.map_or_else(|| done(&record), |place| end(&record, place));
        assert_eq!(master.claim(lock(ids[n], "k", 1)).await, LimitDecision::Granted);
        assert_eq!(master.settle(std::slice::from_ref(&settlement)).await, []);
        assert_eq!(master.claim(lock(ids[4], "k", 1)).await, DENIED, "it was not freed");
        master.free(&[], &[free(ids[n], "k")]).await;
    }
    // Releases work in the settling turn, and after a clear.
    assert_eq!(master.claim(lock(ids[3], "k", 1)).await, LimitDecision::Granted);
    let records = master.store.fetch(&master.owner, &ids[3..4]).await.unwrap();
    let record = crate::fixture::record(records.into_iter().next().unwrap());
    master.free(&[done(&record)], &[free(ids[3], "k")]).await;
    assert_eq!(master.claim(lock(ids[4], "k", 1)).await, LimitDecision::Granted);
    fixture.store.clear(Clear { reserved: true, waiting: true, ..Clear::default() }).await.unwrap();
    let next = fixture.push(1).await;
    master.lease_exactly(&next).await;
    assert_eq!(master.claim(lock(next[0], "k", 1)).await, DENIED);
    master.free(&[], &[free(ids[4], "k")]).await;
    assert_eq!(master.claim(lock(next[0], "k", 1)).await, LimitDecision::Granted);
}

async fn ended_owner_has_no_locks(fixture: Fixture) {
    for ending in 0..3 {
        let (one, ids) = running(&fixture, 2).await;
        for id in &ids {
            assert_eq!(one.claim(lock(*id, "k", 2)).await, LimitDecision::Granted);
        }
        match ending {
            0 => assert_eq!(one.store.leave(&one.owner).await.unwrap(), 2),
            1 => assert_eq!(fixture.store.reap(Reap::Owner(&one.owner)).await.unwrap(), 2),
            _ => {
                fixture.driver.expire_lease(CHANNEL, &one.owner).await;
                assert_eq!(
                    one.claim(lock(ids[0], "k", 2)).await,
                    LimitDecision::Granted,
                    "the owner is not reaped yet"
                );
                assert_eq!(fixture.store.reap(Reap::Expired).await.unwrap(), 2);
            }
        }
        let claim = [lock(ids[0], "k", 9)];
        assert!(matches!(one.store.claim(&one.owner, &claim).await, Err(StoreError::Lost)));

        // The same jobs, held by another owner.
        let mut two = fixture.master().await;
        let leased = two.lease_exactly(&ids).await;
        assert_eq!(two.claim(lock(ids[1], "k", 1)).await, LimitDecision::Granted);
        assert_eq!(two.claim(lock(ids[0], "k", 1)).await, DENIED);
        let ends: Vec<_> = leased.iter().map(done).collect();
        two.free(&ends, &[free(ids[1], "k")]).await;
    }
    let stranger = Owner::named("stranger");
    assert!(matches!(fixture.store.claim(&stranger, &[]).await, Err(StoreError::Lost)));
}

async fn claim_for_an_unheld_job_is_denied(fixture: Fixture) {
    let (mut one, a) = running(&fixture, 2).await;
    let (_two, b) = running(&fixture, 1).await;
    let waiting = fixture.push(1).await[0];
    let records = one.store.fetch(&one.owner, &a[..1]).await.unwrap();
    let record = crate::fixture::record(records.into_iter().next().unwrap());
    one.settle(&[done(&record)]).await;
    for id in [a[0], b[0], waiting, JobId(1), JobId(u64::MAX >> 1)] {
        assert_eq!(one.claim(lock(id, "k", 1)).await, DENIED, "{id}");
        assert_eq!(one.claim(rate(id, "k", 1, HOUR)).await, DENIED, "{id}");
    }
    assert_eq!(one.claim(lock(a[1], "k", 1)).await, LimitDecision::Granted);
    assert_eq!(one.claim(rate(a[1], "k", 1, HOUR)).await, LimitDecision::Granted);
}

async fn rate_grants_a_burst_then_returns_the_wait(fixture: Fixture) {
    let (one, a) = running(&fixture, 1).await;
    let (two, b) = running(&fixture, 1).await;
    let claims = [0; 2].map(|_| rate(a[0], "k", 3, HOUR));
    assert_eq!(one.store.claim(&one.owner, &claims).await.unwrap(), [LimitDecision::Granted; 2]);
    assert_eq!(two.claim(rate(b[0], "k", 3, HOUR)).await, LimitDecision::Granted);
    // A refused claim takes no room: the wait does not grow.
    for master in [(&one, a[0]), (&two, b[0])].into_iter().cycle().take(6) {
        let wait = master.0.claim(rate(master.1, "k", 3, HOUR)).await;
        let near = |wait| wait <= HOUR && wait > HOUR - Duration::from_secs(60);
        assert!(matches!(wait, LimitDecision::Wait(wait) if near(wait)), "{wait:?}");
    }
    assert_eq!(one.claim(rate(a[0], "another", 1, HOUR)).await, LimitDecision::Granted);

    // Claims with other numbers count as at most one full burst of this rate.
    let LimitDecision::Wait(wait) = one.claim(rate(a[0], "k", 10, Duration::from_secs(600))).await else {
        panic!("a full burst of these, too, was taken");
    };
    assert_eq!(wait, Duration::from_secs(600));
}

async fn rate_has_room_after_exactly_the_returned_wait(fixture: Fixture) {
    let (master, ids) = running(&fixture, 1).await;
    let claim = rate(ids[0], "k", 2, Duration::from_millis(60));
    let mut granted = 0;
    for _ in 0..5 {
        let wait = loop {
            match master.claim(claim.clone()).await {
                LimitDecision::Granted => granted += 1,
                LimitDecision::Wait(wait) => break wait,
            }
        };
        assert!(!wait.is_zero() && wait <= Duration::from_millis(60), "{wait:?}");
        fixture.driver.pass(wait).await;
        assert_eq!(master.claim(claim.clone()).await, LimitDecision::Granted, "after {wait:?}");
        granted += 1;
    }
    assert!(granted >= 7, "a burst of two, and one after each wait");
    // After a long pause the rate has room for one burst only.
    fixture.driver.pass(Duration::from_millis(130)).await;
    let claims = [0; 2].map(|_| claim.clone());
    assert_eq!(master.store.claim(&master.owner, &claims).await.unwrap(), [LimitDecision::Granted; 2]);
}

async fn largest_and_smallest_rates_hold(fixture: Fixture) {
    let (master, ids) = running(&fixture, 1).await;
    let years = rate(ids[0], "years", 1, MAX_DELAY);
    assert_eq!(master.claim(years.clone()).await, LimitDecision::Granted);
    let LimitDecision::Wait(wait) = master.claim(years).await else { panic!("twice in ten years") };
    assert!(wait <= MAX_DELAY && wait > MAX_DELAY - Duration::from_secs(60), "{wait:?}");

    let micro = Duration::from_micros(1);
    let claims = vec![rate(ids[0], "many", u32::MAX, micro); 100];
    assert_eq!(master.store.claim(&master.owner, &claims).await.unwrap(), [LimitDecision::Granted; 100]);
    let often = rate(ids[0], "often", 1, micro);
    assert_eq!(master.claim(often.clone()).await, LimitDecision::Granted);
    fixture.driver.pass(micro).await;
    assert_eq!(master.claim(often).await, LimitDecision::Granted);
    // Also where the parts are not whole microseconds.
    let thirds = |burst| {
        let kind = ClaimKind::Rate { count: 3, burst, per: HOUR / 3600 };
        vec![Claim { id: ids[0], key: format!("thirds {burst}"), kind }; burst as usize + 1]
    };
    for (burst, spacing) in [(1, 333_334), (2, 500_000), (3, 1_000_000)] {
        let mut answers = master.store.claim(&master.owner, &thirds(burst)).await.unwrap();
        let last = answers.pop().unwrap();
        assert_eq!(answers, vec![LimitDecision::Granted; burst as usize]);
        let near = Duration::from_micros(spacing - 100_000)..=Duration::from_micros(spacing);
        assert!(matches!(last, LimitDecision::Wait(wait) if near.contains(&wait)), "{burst}: {last:?}");
    }
}

async fn channels_do_not_share_locks_and_rates(fixture: Fixture) {
    let (master, ids) = running(&fixture, 1).await;
    let other = fixture.driver.open("other").await;
    let id = other.push(&[job("a")]).await.unwrap()[0].id();
    let mut theirs = Master::join(&other).await;
    theirs.lease_exactly(&[id]).await;
    for claim in [|id| lock(id, "k", 1), |id| rate(id, "k", 1, HOUR)] {
        assert_eq!(master.claim(claim(ids[0])).await, LimitDecision::Granted);
        assert_eq!(theirs.claim(claim(id)).await, LimitDecision::Granted);
    }
    theirs.free(&[], &[free(id, "k")]).await;
    let (next, ids) = running(&fixture, 1).await;
    assert_eq!(next.claim(lock(ids[0], "k", 1)).await, DENIED);
}

async fn any_text_is_a_valid_limit_key(fixture: Fixture) {
    let (mut master, ids) = running(&fixture, 2).await;
    let keys = ["", " ", ":", "1:k", "é \u{0} \"'\\\n", "%", &*"x".repeat(256)];
    for key in keys {
        assert_eq!(master.claim(lock(ids[0], key, 1)).await, LimitDecision::Granted, "{key:?}");
        assert_eq!(master.claim(lock(ids[1], key, 1)).await, DENIED, "{key:?}");
        assert_eq!(master.claim(rate(ids[0], key, 1, HOUR)).await, LimitDecision::Granted, "{key:?}");
    }
    let releases: Vec<_> = keys.iter().map(|key| free(ids[0], key)).collect();
    master.free(&[], &releases).await;
    for key in keys {
        assert_eq!(master.claim(lock(ids[1], key, 1)).await, LimitDecision::Granted, "{key:?}");
    }
}

async fn concurrent_owners_never_exceed_the_lock_limit(fixture: Fixture) {
    let mut owners = Vec::new();
    for _ in 0..20 {
        let mut master = Master::join(&fixture.another_handle().await).await;
        let id = fixture.push(1).await[0];
        master.lease_exactly(&[id]).await;
        owners.push((master, id));
    }
    let mut claims = tokio::task::JoinSet::new();
    for (master, id) in owners {
        claims.spawn(async move { master.claim(lock(id, "k", 3)).await });
    }
    let answers = claims.join_all().await;
    assert_eq!(answers.iter().filter(|answer| **answer == LimitDecision::Granted).count(), 3);
    assert_eq!(answers.iter().filter(|answer| **answer == DENIED).count(), 17);
}
