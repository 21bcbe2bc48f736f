//! Commands on many jobs: requeue, discard, clear, and commands built from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aint_queue::job::{FailReason, JobId, NewJob};
use aint_queue::store::{
    Clear, Cleared, JobFilter, JobState, MAX_BATCH, Pushed, Store, count_failed, list, reload_failed,
    remove_failed,
};

use crate::fixture::{CHANNEL, Fixture, Master, done, failed, job, later, unique};

conformance! {
    requeue_moves_failed_jobs_only,
    discard_removes_all_but_reserved_jobs,
    discard_leaves_no_trace_in_waiting,
    clear_empties_the_given_states,
    clear_reload_and_remove_count_exactly_under_load,
    jobs_pushed_after_a_clear_began_survive,
    interrupted_clear_is_finished_by_the_next,
    job_of_a_begun_clear_is_gone_at_once,
    clear_of_one_state_keeps_keys_of_others,
    reload_and_remove_obey_their_filter,
    reload_ends_while_jobs_fail_again,
    filtered_pages_hold_every_selected_job_once,
    filter_selects_by_time_reason_and_text,
}

const FAR_FUTURE: Duration = Duration::from_secs(3600);
const ALL: Clear = Clear { waiting: true, delayed: true, failed: true, reserved: false };

/// Pushes jobs that all fail at once.
async fn fail(fixture: &Fixture, count: usize) -> Vec<JobId> {
    let ids = fixture.push(count).await;
    let mut master = fixture.master().await;
    for batch in ids.chunks(MAX_BATCH) {
        let ends: Vec<_> = master.lease_exactly(batch).await.iter().map(failed).collect();
        assert_eq!(master.settle(&ends).await, []);
    }
    master.store.leave(&master.owner).await.unwrap();
    ids
}

async fn requeue_moves_failed_jobs_only(fixture: Fixture) {
    let ids = fail(&fixture, 4).await;
    let waiting = fixture.push(1).await;
    let meta = |id: JobId| (id, aint_queue::job::JobMeta::named(format!("again{id}")));
    let jobs = [meta(ids[2]), meta(waiting[0]), meta(ids[0]), meta(JobId(9)), meta(ids[2])];
    assert_eq!(fixture.store.requeue(&jobs).await.unwrap(), 2);
    assert_eq!(fixture.ids(JobState::Waiting).await, [waiting[0], ids[2], ids[0]]);
    assert_eq!(fixture.counts().await, [3, 0, 0, 0, 2, 0]);
    let leased = fixture.master().await.lease(3).await;
    assert_eq!(leased[0].meta.job, "j0", "a job that is not failed keeps its meta");
    assert_eq!(leased[1].meta.job, format!("again{}", ids[2]));
    assert_eq!(leased[1].payload.as_str(), "{\"name\":\"j2\"}");
    assert_eq!(fixture.store.requeue(&[]).await.unwrap(), 0);
}

async fn discard_removes_all_but_reserved_jobs(fixture: Fixture) {
    let failed = fail(&fixture, 2).await;
    let waiting = fixture.push(5).await;
    let delayed = fixture.push_all(&[later("d", FAR_FUTURE)]).await;
    let mut master = fixture.master().await;
    master.lease_exactly(&waiting[..1]).await;
    let ids = [failed[0], waiting[0], waiting[2], delayed[0], JobId(5), waiting[2], waiting[3]];
    assert_eq!(fixture.store.discard(&ids).await.unwrap(), 4);
    assert_eq!(fixture.counts().await, [2, 1, 0, 0, 1, 4]);
    assert_eq!(fixture.store.discard(&ids).await.unwrap(), 0);
    assert_eq!(fixture.counts().await, [2, 1, 0, 0, 1, 4]);
}

async fn discard_leaves_no_trace_in_waiting(fixture: Fixture) {
    let ids = fixture.push(20).await;
    let gone: Vec<_> = ids.iter().copied().filter(|id| id.0 % 2 == 0).collect();
    let kept: Vec<_> = ids.iter().copied().filter(|id| id.0 % 2 == 1).collect();
    assert_eq!(fixture.store.discard(&gone).await.unwrap(), 10);
    assert_eq!(fixture.counts().await, [10, 0, 0, 0, 0, 10]);
    assert_eq!(fixture.ids(JobState::Waiting).await, kept);
    assert_eq!(fixture.store.get(gone[0]).await.unwrap(), None);

    let mut master = fixture.master().await;
    master.lease_exactly(&kept[..3]).await;
    assert_eq!(fixture.counts().await, [7, 3, 0, 0, 0, 10]);
    let more = fixture.push(2).await;
    let rest: Vec<_> = kept[3..].iter().chain(&more).copied().collect();
    assert_eq!(fixture.ids(JobState::Waiting).await, rest);
    master.lease_exactly(&rest).await;
    assert!(master.lease(5).await.is_empty());
    assert_eq!(fixture.counts().await, [0, 12, 0, 0, 0, 10]);

    // A lease whose first candidates are gone still finds later jobs.
    let ids = fixture.push(600).await;
    for gone in ids[..599].chunks(MAX_BATCH) {
        fixture.store.discard(gone).await.unwrap();
    }
    let mut found = Vec::new();
    for _ in 0..3 {
        found.extend(master.lease(1).await.into_iter().map(|r| r.id));
    }
    assert_eq!(found, ids[599..]);
    assert_eq!(fixture.counts().await[0], 0);
}

async fn clear_empties_the_given_states(fixture: Fixture) {
    let failed = fail(&fixture, 3).await;
    let waiting = fixture.push(4).await;
    fixture.push_all(&[later("d", FAR_FUTURE), later("e", FAR_FUTURE)]).await;
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&waiting[..2]).await;
    assert_eq!(fixture.counts().await, [2, 2, 2, 0, 3, 0]);

    assert_eq!(fixture.store.clear(Clear::default()).await.unwrap(), Cleared::default());
    let only = Clear { delayed: true, ..Clear::default() };
    assert_eq!(fixture.store.clear(only).await.unwrap(), Cleared { delayed: 2, ..Cleared::default() });
    let only = Clear { failed: true, ..Clear::default() };
    assert_eq!(fixture.store.clear(only).await.unwrap(), Cleared { failed: 3, ..Cleared::default() });
    assert_eq!(fixture.store.get(failed[0]).await.unwrap(), None);
    assert_eq!(fixture.counts().await, [2, 2, 0, 0, 0, 5]);
    assert_eq!(fixture.store.clear(ALL).await.unwrap(), Cleared { waiting: 2, ..Cleared::default() });
    assert_eq!(master.settle(&[done(&leased[0])]).await, [], "running jobs continue");
    let only = Clear { reserved: true, ..Clear::default() };
    assert_eq!(fixture.store.clear(only).await.unwrap(), Cleared { reserved: 1, ..Cleared::default() });
    assert_eq!(fixture.counts().await, [0, 0, 0, 1, 0, 8]);
    // The owner continues after the clear.
    let more = fixture.push(1).await;
    master.lease_exactly(&more).await;
}

/// Pushes single jobs and settles most of its leased ones, until stopped. Returns the numbers pushed and settled.
async fn churn(store: Arc<dyn Store>, stop: Arc<AtomicBool>) -> (u64, u64) {
    let mut master = Master::join(&store).await;
    let (mut pushed, mut settled) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let jobs: Vec<_> = (0..20).map(|n| job(&format!("c{n}"))).chain([later("d", FAR_FUTURE)]).collect();
        pushed += store.push(&jobs).await.unwrap().len() as u64;
        let leased = master.lease(8).await;
        let ends: Vec<_> =
            leased.iter().enumerate().map(|(n, r)| if n % 4 == 0 { failed(r) } else { done(r) }).collect();
        assert_eq!(master.settle(&ends).await, []);
        settled += ends.iter().filter(|e| e.to == aint_queue::store::Destination::Done).count() as u64;
        tokio::task::yield_now().await;
    }
    (pushed, settled)
}

async fn clear_reload_and_remove_count_exactly_under_load(fixture: Fixture) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut churners = tokio::task::JoinSet::new();
    for _ in 0..3 {
        churners.spawn(churn(fixture.another_handle().await, Arc::clone(&stop)));
    }
    let mut cleared = 0;
    for round in 0..6 {
        tokio::task::yield_now().await;
        let answer = fixture.store.clear(Clear { failed: false, ..ALL }).await.unwrap();
        cleared += answer.waiting + answer.delayed + answer.failed;
        if round % 2 == 0 {
            cleared += remove_failed(&*fixture.store, &JobFilter::default()).await.unwrap();
        } else {
            reload_failed(&*fixture.store, &JobFilter::default()).await.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (mut pushed, mut done) = (0, 0);
    for (p, d) in churners.join_all().await {
        (pushed, done) = (pushed + p, done + d);
    }
    let status = fixture.store.status().await.unwrap();
    assert_eq!(status.cleared, cleared, "what the commands said is what was counted");
    assert_eq!((status.done, status.reserved), (done, 0));
    assert_eq!(status.total() + status.cleared, pushed, "{status:?}");
    for (state, count) in [
        (JobState::Waiting, status.waiting),
        (JobState::Delayed, status.delayed),
        (JobState::Failed, status.failed),
    ] {
        assert_eq!(fixture.all(state).await.len() as u64, count, "{state:?}");
    }
}

async fn jobs_pushed_after_a_clear_began_survive(fixture: Fixture) {
    fixture.push(2500).await;
    let other = fixture.another_handle().await;
    let clear = tokio::spawn(async move { other.clear(ALL).await.unwrap() });
    // Pushes continue until the clear has ended; jobs that it did not count remain.
    let mut pushed = 2500;
    while !clear.is_finished() {
        pushed += fixture.push(1).await.len() as u64;
        tokio::task::yield_now().await;
    }
    let cleared = clear.await.unwrap();
    assert!(cleared.waiting >= 2500);
    let survivors = fixture.all(JobState::Waiting).await.len() as u64;
    assert_eq!(survivors, pushed - cleared.waiting);
    assert_eq!(fixture.counts().await, [survivors, 0, 0, 0, 0, cleared.waiting]);
}

async fn interrupted_clear_is_finished_by_the_next(fixture: Fixture) {
    let mut total = 0;
    for micros in [0, 100, 500, 2_000, 5_000, 20_000] {
        fixture.push(1500).await;
        total += 1500;
        let cut = Duration::from_micros(micros);
        let _ = tokio::time::timeout(cut, fixture.store.clear(ALL)).await;
        let halfway = fixture.store.status().await.unwrap();
        assert!(halfway.cleared + halfway.waiting <= total, "{halfway:?}");
        let kept = fixture.push_all(&[later("d", FAR_FUTURE)]).await;
        let rest = Clear { delayed: false, ..ALL };
        fixture.another_handle().await.clear(rest).await.unwrap();
        assert_eq!(fixture.counts().await, [0, 0, 1, 0, 0, total], "interrupted after {micros} µs");
        assert_eq!(fixture.ids(JobState::Delayed).await, kept);
        assert!(fixture.all(JobState::Waiting).await.is_empty());
        fixture.store.clear(ALL).await.unwrap();
        total += 1;
        assert_eq!(fixture.counts().await, [0, 0, 0, 0, 0, total]);
    }
}

/// Jobs with unique keys, reserved, waiting and delayed, and a removed one, whose id is still in the list of waiting on Redis.
async fn push_with_keys(fixture: &Fixture) -> (Master, [JobId; 3]) {
    let held = fixture.push_all(&[unique("held", "k-held")]).await[0];
    let mut master = fixture.master().await;
    master.lease_exactly(&[held]).await;
    let late = NewJob { start: later("late", FAR_FUTURE).start, ..unique("late", "k-late") };
    let jobs = [unique("removed", "k-removed"), unique("waits", "k-waits"), late];
    let [removed, waits, late] = fixture.push_all(&jobs).await.try_into().unwrap();
    assert_eq!(fixture.store.discard(&[removed]).await.unwrap(), 1);
    (master, [held, waits, late])
}

async fn job_of_a_begun_clear_is_gone_at_once(fixture: Fixture) {
    let (mut master, [held, waits, late]) = push_with_keys(&fixture).await;
    let which = Clear { waiting: true, delayed: true, ..Clear::default() };
    fixture.driver.cut_clear(CHANNEL, &fixture.store, which).await;
    assert_eq!(fixture.counts().await, [0, 1, 0, 0, 0, 3]);
    for id in [waits, late] {
        assert_eq!(fixture.store.get(id).await.unwrap(), None);
    }
    assert_eq!(fixture.store.discard(&[waits, late]).await.unwrap(), 0);
    assert_eq!(fixture.store.holder("k-waits").await.unwrap(), None);
    assert_eq!(fixture.store.holder("k-held").await.unwrap(), Some(held));

    let jobs = [unique("waits", "k-waits"), unique("late", "k-late"), unique("held", "k-held")];
    let pushed = fixture.store.push(&jobs).await.unwrap();
    let [Pushed::Added(waits), Pushed::Added(late), Pushed::Existing(kept)] = pushed[..] else {
        panic!("{pushed:?}")
    };
    assert_eq!(kept, held);
    assert_eq!(fixture.counts().await, [2, 1, 0, 0, 0, 3]);
    assert_eq!(master.turn(&[], 0).await.unwrap().waiting, 2);
    // Another clear ends the interrupted one, and takes no key from the new jobs.
    fixture.another_handle().await.clear(Clear::default()).await.unwrap();
    assert_eq!(fixture.counts().await, [2, 1, 0, 0, 0, 3]);
    assert_eq!(fixture.store.holder("k-late").await.unwrap(), Some(late));
    master.lease_exactly(&[waits, late]).await;
    assert_eq!(fixture.store.unlisted().await.unwrap(), 0);
}

async fn clear_of_one_state_keeps_keys_of_others(fixture: Fixture) {
    for state in ["waiting", "delayed"] {
        let (master, ids) = push_with_keys(&fixture).await;
        let is_waiting = state == "waiting";
        let which = Clear { waiting: is_waiting, delayed: !is_waiting, ..Clear::default() };
        fixture.driver.cut_clear(CHANNEL, &fixture.store, which).await;
        for (key, id, is_kept) in
            [("k-held", ids[0], true), ("k-waits", ids[1], !is_waiting), ("k-late", ids[2], is_waiting)]
        {
            let holder = fixture.store.holder(key).await.unwrap();
            assert_eq!(holder, is_kept.then_some(id), "{key} after a clear of {state}");
        }
        fixture.store.clear(Clear { reserved: true, ..ALL }).await.unwrap();
        fixture.store.leave(&master.owner).await.unwrap();
        assert_eq!(fixture.counts().await[..5], [0; 5]);
    }
}

async fn reload_and_remove_obey_their_filter(fixture: Fixture) {
    let ids = fail(&fixture, 1200).await;
    let one =
        JobFilter { ids: vec![ids[7], JobId(3), ids[8]], job: Some("j8".into()), ..JobFilter::default() };
    assert_eq!(reload_failed(&*fixture.store, &one).await.unwrap(), 1);
    assert_eq!(fixture.ids(JobState::Waiting).await, [ids[8]]);
    assert_eq!(fixture.store.get(ids[8]).await.unwrap().unwrap().meta.attempts, 0);
    let some = JobFilter { job: Some("j9".into()), ..JobFilter::default() };
    assert_eq!(remove_failed(&*fixture.store, &some).await.unwrap(), 1);
    assert_eq!(fixture.store.get(ids[9]).await.unwrap(), None);
    assert_eq!(reload_failed(&*fixture.store, &JobFilter::default()).await.unwrap(), 1198);
    assert_eq!(fixture.counts().await, [1199, 0, 0, 0, 0, 1]);
    assert_eq!(remove_failed(&*fixture.store, &JobFilter::default()).await.unwrap(), 0);
}

async fn reload_ends_while_jobs_fail_again(fixture: Fixture) {
    let ids = fail(&fixture, 700).await;
    let stop = Arc::new(AtomicBool::new(false));
    let refailed = Arc::new(AtomicU64::new(0));
    let other = fixture.another_handle().await;
    let failing = tokio::spawn({
        let (stop, refailed) = (Arc::clone(&stop), Arc::clone(&refailed));
        async move {
            let mut master = Master::join(&other).await;
            while !stop.load(Ordering::Relaxed) {
                let ends: Vec<_> = master.lease(100).await.iter().map(failed).collect();
                refailed.fetch_add(ends.len() as u64, Ordering::Relaxed);
                master.settle(&ends).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let moved = reload_failed(&*fixture.store, &JobFilter::default()).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    failing.await.unwrap();
    assert_eq!(moved, ids.len() as u64);
    assert_eq!(fixture.counts().await[4], refailed.load(Ordering::Relaxed));
}

async fn filtered_pages_hold_every_selected_job_once(fixture: Fixture) {
    let ids = fail(&fixture, 1100).await;
    // A page of the store holds selected jobs and others, so that pages of the filter end in its middle.
    let filter = JobFilter { text: Some("J1".into()), ..JobFilter::default() };
    let selected = ids.iter().enumerate().filter(|(n, _)| format!("j{n}").starts_with("j1"));
    let expected: Vec<_> = selected.map(|(_, id)| *id).rev().collect();
    for limit in [1, 7, 111, 500] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = list(&*fixture.store, JobState::Failed, &filter, after, limit).await.unwrap();
            assert!(page.jobs.len() <= limit);
            found.extend(page.jobs.iter().map(|job| job.id));
            after = page.next;
            if after.is_none() {
                break;
            }
            assert_eq!(page.jobs.len(), limit, "only the last page is short");
        }
        assert_eq!(found, expected, "pages of {limit}");
    }
    assert_eq!(count_failed(&*fixture.store, &filter).await.unwrap(), expected.len() as u64);
}

async fn filter_selects_by_time_reason_and_text(fixture: Fixture) {
    let ids = fail(&fixture, 4).await;
    let at = fixture.store.get(ids[0]).await.unwrap().unwrap().at;
    let count = async |filter: JobFilter| count_failed(&*fixture.store, &filter).await.unwrap();
    let all = JobFilter::default;
    assert_eq!(count(all()).await, 4);
    assert_eq!(count(JobFilter { since: Some(at), ..all() }).await, 4);
    assert_eq!(count(JobFilter { before: Some(at), ..all() }).await, 0);
    assert_eq!(count(JobFilter { before: Some(at.after(FAR_FUTURE)), ..all() }).await, 4);
    assert_eq!(count(JobFilter { since: Some(at.after(FAR_FUTURE)), ..all() }).await, 0);
    assert_eq!(count(JobFilter { reason: Some(FailReason::Lost), ..all() }).await, 0);
    assert_eq!(count(JobFilter { text: Some("NAME\":\"J3".into()), ..all() }).await, 1, "the payload counts");
    let both = JobFilter { ids: vec![ids[1], ids[2]], text: Some("j2".into()), ..all() };
    assert_eq!(remove_failed(&*fixture.store, &both).await.unwrap(), 1);
    assert_eq!(fixture.counts().await, [0, 0, 0, 0, 3, 1]);
}
