//! Done jobs that stay in the store, apart from all others.

use std::time::Duration;

use aint_queue::job::{JobId, JobRecord};
use aint_queue::store::{
    ChannelLimits, Clear, Destination, KeptJob, KeptLimits, KeptTrim, KeptView, MAX_BATCH, SettleConflict,
    Settlement,
};

use crate::fixture::{CHANNEL, Fixture, Master, done, end, job, unique};

conformance! {
    done_jobs_stay_in_the_order_of_their_end,
    kept_job_is_in_no_count_but_done,
    kept_jobs_are_trimmed_by_count,
    kept_jobs_are_trimmed_by_age,
    at_most_one_batch_is_trimmed_at_a_time,
    refused_settlement_keeps_nothing,
    kept_job_outlives_its_master_and_a_clear,
    channels_keep_their_own_jobs,
    large_texts_shorten_a_page,
    channel_that_keeps_nothing_has_no_kept_jobs,
}

const DAY: Duration = Duration::from_secs(86_400);

fn kept(record: &JobRecord, text: &str, count: u64, age: Duration) -> Settlement {
    let job = KeptJob::new(text, KeptLimits { count, age }).unwrap();
    end(record, |_| Destination::Kept(Box::new(job)))
}

/// Leases jobs and keeps each in a turn of its own, with its id as the text.
async fn keep_one_by_one(master: &mut Master, ids: &[JobId], count: u64, age: Duration) {
    for record in master.lease_exactly(ids).await {
        let settlement = kept(&record, &record.id.to_string(), count, age);
        assert_eq!(master.settle(&[settlement]).await, []);
    }
}

/// All kept jobs, in pages of `limit`.
async fn all(fixture: &Fixture, limit: usize) -> Vec<KeptView> {
    let (mut jobs, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.store.kept(after, limit).await.unwrap();
        assert!(page.jobs.len() <= limit);
        jobs.extend(page.jobs);
        after = page.next;
        if after.is_none() {
            return jobs;
        }
    }
}

async fn ids(fixture: &Fixture) -> Vec<JobId> {
    all(fixture, 500).await.into_iter().map(|job| job.id).collect()
}

async fn total(fixture: &Fixture) -> u64 {
    fixture.store.kept(None, 1).await.unwrap().total
}

async fn done_jobs_stay_in_the_order_of_their_end(fixture: Fixture) {
    let pushed = fixture.push(5).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&pushed).await;
    for index in [2, 0, 4] {
        let settlement = kept(&leased[index], &format!("{{\"n\":\"{index} \u{e4}\"}}"), 9, DAY);
        assert_eq!(master.settle(&[settlement, done(&leased[1])]).await.len(), usize::from(index != 2));
        fixture.driver.pass(Duration::from_millis(1)).await;
    }
    for limit in [1, 2, 3, 500] {
        let seen = all(&fixture, limit).await;
        let expected: Vec<_> =
            [4, 0, 2].iter().map(|n| (pushed[*n], format!("{{\"n\":\"{n} \u{e4}\"}}"))).collect();
        assert_eq!(seen.iter().map(|job| (job.id, job.text.clone())).collect::<Vec<_>>(), expected);
        assert!(seen.is_sorted_by(|newer, older| newer.at > older.at));
        for job in seen {
            assert_eq!(fixture.store.kept_job(job.id).await.unwrap(), Some(job));
        }
    }
    assert_eq!(fixture.store.kept_job(pushed[1]).await.unwrap(), None, "it is done, and not kept");
    assert_eq!(fixture.store.kept_job(pushed[3]).await.unwrap(), None, "it runs");
    assert_eq!((total(&fixture).await, fixture.counts().await[3]), (3, 4));
}

async fn kept_job_is_in_no_count_but_done(fixture: Fixture) {
    let limits = ChannelLimits { max_waiting: None, max_bytes: Some(1 << 30) };
    fixture.store.record_limits(limits).await.unwrap();
    let id = fixture.push_all(&[unique("once", "key")]).await[0];
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&[id]).await;
    assert_eq!(master.settle(&[kept(&leased[0], &"x".repeat(16 << 10), 9, DAY)]).await, []);
    let counts = fixture.store.status().await.unwrap();
    assert_eq!((counts.total(), counts.done, counts.bytes), (1, 1, Some(0)));
    assert_eq!(fixture.store.get(id).await.unwrap(), None);
    assert_eq!(fixture.store.holder("key").await.unwrap(), None);
    assert_eq!(master.held().await, []);
    assert_eq!(fixture.store.unlisted().await.unwrap(), 0);
    assert_eq!(fixture.store.discard(&[id]).await.unwrap(), 0);
    assert_ne!(fixture.push_all(&[unique("once", "key")]).await[0], id, "its key is free");
    assert_eq!(ids(&fixture).await, [id]);
}

async fn kept_jobs_are_trimmed_by_count(fixture: Fixture) {
    let pushed = fixture.push(6).await;
    let mut master = fixture.master().await;
    keep_one_by_one(&mut master, &pushed[..4], 3, DAY).await;
    assert_eq!(ids(&fixture).await, [pushed[3], pushed[2], pushed[1]]);
    assert_eq!(fixture.store.kept_job(pushed[0]).await.unwrap(), None);
    // A turn obeys the limits of its own settlements.
    keep_one_by_one(&mut master, &pushed[4..5], 9, DAY).await;
    assert_eq!(total(&fixture).await, 4);
    keep_one_by_one(&mut master, &pushed[5..], 1, DAY).await;
    assert_eq!((ids(&fixture).await, total(&fixture).await), (vec![pushed[5]], 1));
    assert_eq!(fixture.store.trim_kept().await.unwrap(), KeptTrim { removed: 0, left: 1 });
}

async fn kept_jobs_are_trimmed_by_age(fixture: Fixture) {
    let (short, long) = (Duration::from_millis(20), Duration::from_millis(60));
    let pushed = fixture.push(3).await;
    let mut master = fixture.master().await;
    keep_one_by_one(&mut master, &pushed[..2], 9, DAY).await;
    fixture.driver.pass(long).await;
    assert_eq!(ids(&fixture).await, [pushed[1], pushed[0]]);
    keep_one_by_one(&mut master, &pushed[2..], 9, short).await;
    assert_eq!(total(&fixture).await, 1, "the old ones are removed by the turn");
    fixture.driver.pass(long).await;
    assert_eq!((ids(&fixture).await, total(&fixture).await), (vec![], 1), "too old, and not yet removed");
    assert_eq!(fixture.store.kept_job(pushed[2]).await.unwrap(), None);
    assert_eq!(fixture.store.trim_kept().await.unwrap(), KeptTrim { removed: 1, left: 0 });
    assert_eq!(fixture.store.trim_kept().await.unwrap(), KeptTrim::default());
}

async fn at_most_one_batch_is_trimmed_at_a_time(fixture: Fixture) {
    let count = 2 * MAX_BATCH + 3;
    let jobs: Vec<_> = (0..count).map(|n| job(&format!("j{n}"))).collect();
    let pushed = fixture.push_all(&jobs).await;
    let mut master = fixture.master().await;
    for batch in pushed.chunks(MAX_BATCH) {
        let records = master.lease_exactly(batch).await;
        let ends: Vec<_> = records.iter().map(|record| kept(record, "{}", count as u64, DAY)).collect();
        assert_eq!(master.settle(&ends).await, []);
    }
    assert_eq!(total(&fixture).await, count as u64);
    let newest: Vec<_> = pushed.iter().rev().copied().collect();
    assert_eq!(ids(&fixture).await, newest);
    let last = fixture.push(1).await;
    keep_one_by_one(&mut master, &last, 2, DAY).await;
    assert_eq!(total(&fixture).await, (count + 1 - MAX_BATCH) as u64);
    let left = (count + 1 - 2 * MAX_BATCH) as u64;
    let trim = fixture.store.trim_kept().await.unwrap();
    assert_eq!(trim, KeptTrim { removed: MAX_BATCH as u64, left });
    assert_eq!(fixture.store.trim_kept().await.unwrap(), KeptTrim { removed: left - 2, left: 2 });
    assert_eq!(ids(&fixture).await, [last[0], newest[0]]);
}

async fn refused_settlement_keeps_nothing(fixture: Fixture) {
    let pushed = fixture.push(2).await;
    let (mut one, mut two) = (fixture.master().await, fixture.master().await);
    let leased = one.lease_exactly(&pushed).await;
    let stale = two.settle(&[kept(&leased[0], "{}", 9, DAY)]).await;
    assert_eq!(stale, [(pushed[0], SettleConflict::Stale)]);
    fixture.store.clear(Clear { reserved: true, ..Clear::default() }).await.unwrap();
    let cleared = one.settle(&[kept(&leased[1], "{}", 9, DAY)]).await;
    assert_eq!(cleared, [(pushed[1], SettleConflict::Cleared)]);
    assert_eq!((ids(&fixture).await, total(&fixture).await), (vec![], 0));
    let again = fixture.push(1).await;
    let leased = one.lease_exactly(&again).await;
    let twice = [kept(&leased[0], "1", 9, DAY), kept(&leased[0], "2", 9, DAY)];
    assert_eq!(one.settle(&twice).await, [(again[0], SettleConflict::Cleared)]);
    assert_eq!(fixture.store.kept_job(again[0]).await.unwrap().unwrap().text, "1");
}

async fn kept_job_outlives_its_master_and_a_clear(fixture: Fixture) {
    let pushed = fixture.push(2).await;
    let mut master = fixture.master().await;
    keep_one_by_one(&mut master, &pushed[..1], 9, DAY).await;
    fixture.store.leave(&master.owner).await.unwrap();
    let which = Clear { waiting: true, delayed: true, failed: true, reserved: true };
    assert_eq!(fixture.store.clear(which).await.unwrap().waiting, 1);
    fixture.store.finish_clear().await.unwrap();
    assert_eq!(ids(&fixture).await, pushed[..1]);
}

async fn channels_keep_their_own_jobs(fixture: Fixture) {
    let other = Fixture { store: fixture.driver.open("other").await, driver: fixture.driver };
    let mine = Fixture { store: other.driver.open(CHANNEL).await, driver: other.driver };
    let (store, fixture) = (other.store, mine);
    let here = fixture.push(2).await;
    let there = store.push(&[job("a"), job("b")]).await.unwrap();
    let (mut one, mut two) = (fixture.master().await, Master::join(&store).await);
    keep_one_by_one(&mut one, &here, 9, DAY).await;
    let there: Vec<_> = there.into_iter().map(|pushed| pushed.id()).collect();
    keep_one_by_one(&mut two, &there, 1, DAY).await;
    assert_eq!(ids(&fixture).await, [here[1], here[0]]);
    let page = store.kept(None, 9).await.unwrap();
    assert_eq!((page.jobs.len(), page.jobs[0].id, page.total), (1, there[1], 1));
    let foreign = here.iter().find(|id| **id != there[1]).unwrap();
    assert_eq!(store.kept_job(*foreign).await.unwrap(), None);
}

async fn large_texts_shorten_a_page(fixture: Fixture) {
    let count = 300;
    let pushed = fixture.push(count).await;
    let mut master = fixture.master().await;
    let text = "x".repeat(16 << 10);
    let leased = master.lease_exactly(&pushed).await;
    let ends: Vec<_> = leased.iter().map(|record| kept(record, &text, 1_000, DAY)).collect();
    assert_eq!(master.settle(&ends).await, []);
    let page = fixture.store.kept(None, 500).await.unwrap();
    assert!(page.jobs.len() <= count && (page.jobs.len() == count) == page.next.is_none());
    assert_eq!(ids(&fixture).await.len(), count);
}

async fn channel_that_keeps_nothing_has_no_kept_jobs(fixture: Fixture) {
    let pushed = fixture.push(1).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&pushed).await;
    master.settle(&[done(&leased[0])]).await;
    assert_eq!((ids(&fixture).await, total(&fixture).await), (vec![], 0));
    assert_eq!(fixture.store.kept_job(pushed[0]).await.unwrap(), None);
    assert_eq!(fixture.store.trim_kept().await.unwrap(), KeptTrim::default());
}
