//! Priorities: high before normal before low; within one priority the usual order.

use std::time::Duration;

use aint_queue::job::{JobId, NewJob, Priority};
use aint_queue::store::{
    Clear, Destination, JobState, LowerPriorities, MAX_BATCH, OutputChange, Reap, Settlement, Turn,
    TurnReply, reload_failed,
};

use crate::fixture::{CHANNEL, Fixture, Master, end, failed, job, later, of};

conformance! {
    high_precedes_normal_precedes_low,
    front_and_back_are_per_priority,
    due_jobs_go_to_the_back_of_their_priority,
    reaped_jobs_come_first_within_their_priority,
    reloaded_jobs_go_to_the_back_of_their_priority,
    pages_are_contiguous_across_priorities,
    job_behind_ten_thousand_higher_ones_is_not_taken,
    taken_job_returns_to_its_priority,
    discard_and_clear_cover_all_priorities,
    turn_is_bounded_over_all_priorities,
    job_of_any_priority_wakes_waiters,
    front_and_back_of_one_turn_keep_their_order,
    overdue_front_goes_before_all_others,
    overdue_jobs_stay_in_order_when_only_one_is_leased,
    turn_without_a_lease_raises_no_overdue_job,
}

/// Jobs of these priorities: `h`, `n` or `l` for each.
fn jobs(letters: &str) -> Vec<NewJob> {
    letters.chars().enumerate().map(|(n, letter)| of(priority(letter), job(&format!("j{n}")))).collect()
}

fn priority(letter: char) -> Priority {
    Priority::ALL[['h', 'n', 'l'].iter().position(|known| *known == letter).unwrap()]
}

async fn push(fixture: &Fixture, letters: &str) -> Vec<JobId> {
    fixture.push_all(&jobs(letters)).await
}

/// The ids at these positions.
fn at<const N: usize>(ids: &[JobId], places: [usize; N]) -> [JobId; N] {
    places.map(|place| ids[place])
}

async fn high_precedes_normal_precedes_low(fixture: Fixture) {
    let ids = push(&fixture, "lnhlnh").await;
    let order = at(&ids, [2, 5, 1, 4, 0, 3]);
    assert_eq!(fixture.ids(JobState::Waiting).await, order);
    assert_eq!(fixture.counts().await, [6, 0, 0, 0, 0, 0]);
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&order[..1]).await;
    assert_eq!(leased[0].meta.priority, Priority::High);

    // Later jobs of a higher priority overtake older ones.
    let more = push(&fixture, "lhn").await;
    let order = [ids[5], more[1], ids[1], ids[4], more[2], ids[0], ids[3], more[0]];
    assert_eq!(fixture.ids(JobState::Waiting).await, order);
    master.lease_exactly(&order[..2]).await;
    master.lease_exactly(&order[2..6]).await;
    master.lease_exactly(&order[6..]).await;
    assert!(master.lease(1).await.is_empty());
}

async fn front_and_back_are_per_priority(fixture: Fixture) {
    let ids = push(&fixture, "hhhhnnnnllll").await;
    let mut master = fixture.master().await;
    master.lease_exactly(&ids[..2]).await;
    let order = at(&ids, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(master.store.leave(&master.owner).await.unwrap(), 2);
    assert_eq!(fixture.ids(JobState::Waiting).await, order);

    // A job of each priority to the front and to the back, in one turn.
    let mut master = fixture.master().await;
    let leased = master.lease_exactly(&order).await;
    let places = [Destination::Back, Destination::Front, Destination::Front, Destination::Back];
    let ends: Vec<_> = leased.iter().zip(places.iter().cycle()).map(|(r, to)| end(r, to)).collect();
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(
        fixture.ids(JobState::Waiting).await,
        at(&ids, [1, 2, 0, 3, 5, 6, 4, 7, 9, 10, 8, 11]),
        "the fronts keep their order, and so do the backs"
    );
    let more = push(&fixture, "hnl").await;
    let waiting = fixture.ids(JobState::Waiting).await;
    assert_eq!([waiting[4], waiting[9], waiting[14]], more[..]);
}

async fn due_jobs_go_to_the_back_of_their_priority(fixture: Fixture) {
    const SHORT_DELAY: Duration = Duration::from_millis(40);
    let first = push(&fixture, "lh").await;
    // The last call alone moves due jobs, however slow this test is, and the job delayed by a settlement is due before those
    // pushed with a delay.
    let mut master = fixture.master().await;
    let leased = master.lease(1).await;
    master.settle(&[end(&leased[0], |meta| Destination::Delayed(SHORT_DELAY, meta))]).await;
    let delayed: Vec<_> = ['l', 'h', 'n']
        .iter()
        .zip([1, 2, 3])
        .map(|(letter, n)| of(priority(*letter), later("later", SHORT_DELAY + Duration::from_millis(n))))
        .collect();
    let delayed = fixture.push_all(&delayed).await;
    fixture.driver.pass(SHORT_DELAY * 3).await;
    let last = push(&fixture, "hl").await;
    let order = [last[0], first[1], delayed[1], delayed[2], first[0], last[1], delayed[0]];
    master.lease_exactly(&order).await;
    assert_eq!(leased[0].id, first[1]);
}

async fn reaped_jobs_come_first_within_their_priority(fixture: Fixture) {
    let letters = "lnh".repeat(2 * MAX_BATCH / 3 + 50);
    let sorted = |ids: &[JobId]| {
        let mut sorted: Vec<_> = letters.chars().map(priority).zip(ids.iter().copied()).collect();
        sorted.sort_unstable();
        sorted.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
    };
    let ids = push(&fixture, &letters).await;
    let behind = push(&fixture, "lhn").await;
    let third = letters.len() / 3;
    let order = sorted(&ids);
    let order = [&order[..third], &behind[1..2], &order[third..2 * third], &behind[2..], &order[2 * third..]];
    let order = [order.concat(), behind[..1].to_vec()].concat();
    assert_eq!(fixture.ids(JobState::Waiting).await, order);
    for ending in 0..3 {
        let mut master = fixture.master().await;
        let mut held = 0;
        while held < order.len() - 1 {
            held += master.lease((order.len() - 1 - held).min(400)).await.len();
        }
        let freed = match ending {
            0 => master.store.leave(&master.owner).await,
            1 => fixture.store.reap(Reap::Owner(&master.owner)).await,
            _ => {
                fixture.driver.expire_lease(CHANNEL, &master.owner).await;
                fixture.store.reap(Reap::Expired).await
            }
        };
        assert_eq!(freed.unwrap(), order.len() as u64 - 1);
        assert_eq!(fixture.ids(JobState::Waiting).await, order, "{ending}");
    }
}

async fn reloaded_jobs_go_to_the_back_of_their_priority(fixture: Fixture) {
    let ids = push(&fixture, "lnh").await;
    let mut master = fixture.master().await;
    let leased = master.lease(3).await;
    let ends: Vec<_> = leased.iter().map(failed).collect();
    assert_eq!(master.settle(&ends).await, []);
    let waiting = push(&fixture, "lnh").await;
    assert_eq!(reload_failed(&*fixture.store, &Default::default()).await.unwrap(), 3);
    master.lease_exactly(&[waiting[2], ids[2], waiting[1], ids[1], waiting[0], ids[0]]).await;
}

async fn pages_are_contiguous_across_priorities(fixture: Fixture) {
    let ids = push(&fixture, &"lnnhhh".repeat(7)).await;
    let whole: Vec<_> = fixture.store.list(JobState::Waiting, None, MAX_BATCH).await.unwrap().jobs;
    let whole: Vec<_> = whole.into_iter().map(|job| job.id).collect();
    assert_eq!(whole.len(), ids.len());
    for size in [1, 2, 3, 5, 7, 21, 41] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = fixture.store.list(JobState::Waiting, after, size).await.unwrap();
            assert!(page.jobs.len() <= size);
            found.extend(page.jobs.iter().map(|job| job.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, whole, "pages of {size}");
    }
    fixture.master().await.lease_exactly(&whole).await;
}

async fn job_behind_ten_thousand_higher_ones_is_not_taken(fixture: Fixture) {
    let low = push(&fixture, "l").await[0];
    let normal = push(&fixture, "n").await[0];
    let high: Vec<_> = (0..9_999).map(|_| of(Priority::High, job("high"))).collect();
    let high = fixture.push_all(&high).await;
    let mut master = fixture.master().await;
    let mut take = async |id| {
        let seq = master.next();
        master.store.take(&master.owner, seq, id).await.unwrap().map(|leased| leased.id())
    };
    assert_eq!(take(low).await, None);
    assert_eq!(take(normal).await, Some(normal));
    assert_eq!(take(low).await, Some(low));
    assert_eq!(take(high[9_998]).await, Some(high[9_998]));
    let last = push(&fixture, "nn").await;
    assert_eq!(take(last[1]).await, Some(last[1]));
    assert_eq!(fixture.counts().await, [9_999, 4, 0, 0, 0, 0]);
}

async fn taken_job_returns_to_its_priority(fixture: Fixture) {
    let ids = push(&fixture, "lnhlnh").await;
    let delayed = fixture.push_all(&[of(Priority::High, later("later", Duration::from_secs(3600)))]).await;
    let mut master = fixture.master().await;
    for id in [ids[3], ids[4], ids[5], delayed[0]] {
        let seq = master.next();
        assert!(master.store.take(&master.owner, seq, id).await.unwrap().is_some());
    }
    assert_eq!(master.store.leave(&master.owner).await.unwrap(), 4);
    let order = [ids[5], delayed[0], ids[2], ids[4], ids[1], ids[3], ids[0]];
    assert_eq!(fixture.ids(JobState::Waiting).await, order);
}

async fn discard_and_clear_cover_all_priorities(fixture: Fixture) {
    let ids = push(&fixture, "lnhlnhlnh").await;
    assert_eq!(fixture.store.discard(&at(&ids, [0, 4, 8])).await.unwrap(), 3);
    assert_eq!(fixture.counts().await, [6, 0, 0, 0, 0, 3]);
    let order = at(&ids, [2, 5, 1, 7, 3, 6]);
    assert_eq!(fixture.ids(JobState::Waiting).await, order);
    let mut master = fixture.master().await;
    master.lease_exactly(&order[..1]).await;
    let cleared = fixture.store.clear(Clear { waiting: true, ..Clear::default() }).await.unwrap();
    assert_eq!(cleared.waiting, 5);
    assert_eq!(fixture.counts().await, [0, 1, 0, 0, 0, 8]);
    assert!(master.lease(5).await.is_empty());
    let more = push(&fixture, "lnh").await;
    master.lease_exactly(&at(&more, [2, 1, 0])).await;
}

async fn turn_is_bounded_over_all_priorities(fixture: Fixture) {
    let ids = push(&fixture, "lllnnnhhh").await;
    let mut master = fixture.master().await;
    master.lease_exactly(&at(&ids, [6, 7, 8, 3])).await;
    let seq = master.next();
    // Each payload has more than one byte, so the second one reaches the bound.
    let turn = Turn {
        owner: &master.owner,
        seq,
        settlements: &[],
        releases: &[],
        want: 9,
        max_bytes: 14,
        overdue: None,
        publish: None,
    };
    let leased = master.store.turn(turn).await.unwrap().leased;
    assert_eq!(leased.iter().map(|l| l.id()).collect::<Vec<_>>(), at(&ids, [4, 5]));
    assert_eq!(master.lease(9).await.iter().map(|r| r.id).collect::<Vec<_>>(), at(&ids, [0, 1, 2]));

    fixture.push_all(&vec![of(Priority::High, job("high")); MAX_BATCH - 1]).await;
    let last = push(&fixture, "ln").await;
    let leased = master.lease(usize::MAX).await;
    assert_eq!((leased.len(), leased[MAX_BATCH - 1].id), (MAX_BATCH, last[1]));
    assert_eq!(fixture.ids(JobState::Waiting).await, last[..1]);
}

async fn job_of_any_priority_wakes_waiters(fixture: Fixture) {
    let waiter = fixture.another_handle().await;
    for priority in Priority::ALL {
        fixture.push_all(&[of(priority, job("a"))]).await;
        // All waits return immediately; none runs into its time limit.
        let begin = std::time::Instant::now();
        waiter.wait(Duration::from_secs(20)).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10), "{priority:?}");
        fixture.master().await.lease(1).await;
    }
}

async fn front_and_back_of_one_turn_keep_their_order(fixture: Fixture) {
    let ids = push(&fixture, "hhhhhllnn").await;
    let mut master = fixture.master().await;
    let leased = master.lease(9).await;
    let front = |n: usize| end(&leased[n], Destination::Front);
    let back = |n: usize| end(&leased[n], Destination::Back);
    // Leased by priority: five high, two normal, two low.
    let ends = [front(0), back(1), front(2), back(3), front(4), back(6), front(5), back(7), front(8)];
    assert_eq!(master.settle(&ends).await, []);
    assert_eq!(fixture.ids(JobState::Waiting).await, at(&ids, [0, 2, 4, 1, 3, 7, 8, 6, 5]));
}

const NONE: LowerPriorities = LowerPriorities { normal: false, low: false };
const LOW: LowerPriorities = LowerPriorities { normal: false, low: true };
const BOTH: LowerPriorities = LowerPriorities { normal: true, low: true };

/// A turn that leases up to `want` jobs, those of `overdue` priorities first.
async fn overdue_turn(master: &mut Master, overdue: LowerPriorities, want: usize) -> (Vec<JobId>, TurnReply) {
    let seq = master.next();
    let turn = Turn {
        owner: &master.owner,
        seq,
        settlements: &[],
        releases: &[],
        want,
        max_bytes: usize::MAX,
        overdue: Some(overdue),
        publish: None,
    };
    let reply = master.store.turn(turn).await.unwrap();
    (reply.leased.iter().map(|leased| leased.id()).collect(), reply)
}

async fn overdue_front_goes_before_all_others(fixture: Fixture) {
    let ids = push(&fixture, "hhnnll").await;
    let mut master = fixture.master().await;
    let (leased, reply) = overdue_turn(&mut master, NONE, 1).await;
    assert_eq!((leased, reply.lower_waiting), (vec![ids[0]], BOTH));
    let (leased, reply) = overdue_turn(&mut master, BOTH, 2).await;
    assert_eq!((leased, reply.lower_waiting), (at(&ids, [2, 4]).to_vec(), BOTH));
    let (leased, reply) = overdue_turn(&mut master, LOW, 2).await;
    assert_eq!(
        (leased, reply.lower_waiting),
        (at(&ids, [5, 1]).to_vec(), LowerPriorities { normal: true, low: false })
    );
    // A returned job has its own priority again.
    let low = of(Priority::Low, job("j5")).meta;
    master
        .settle(&[Settlement {
            id: ids[5],
            unique: None,
            to: Destination::Front(low),
            output: OutputChange::Keep,
        }])
        .await;
    let (leased, reply) = overdue_turn(&mut master, NONE, 9).await;
    assert_eq!((leased, reply.lower_waiting), (at(&ids, [3, 5]).to_vec(), NONE));
    assert!(overdue_turn(&mut master, BOTH, 9).await.0.is_empty());
}

async fn overdue_jobs_stay_in_order_when_only_one_is_leased(fixture: Fixture) {
    let ids = push(&fixture, "hhnnll").await;
    let mut master = fixture.master().await;
    let mut order = Vec::new();
    for overdue in [BOTH, BOTH, LowerPriorities { normal: true, low: false }, NONE, NONE, NONE] {
        order.extend(overdue_turn(&mut master, overdue, 1).await.0);
    }
    assert_eq!(order, at(&ids, [4, 5, 2, 0, 1, 3]));
}

async fn turn_without_a_lease_raises_no_overdue_job(fixture: Fixture) {
    let ids = push(&fixture, "hl").await;
    let mut master = fixture.master().await;
    assert!(overdue_turn(&mut master, LOW, 0).await.0.is_empty());
    fixture.store.pause(None).await.unwrap();
    assert!(overdue_turn(&mut master, LOW, 1).await.0.is_empty());
    fixture.store.resume().await.unwrap();
    assert_eq!(fixture.ids(JobState::Waiting).await, ids);
}
