//! Summaries: published with turns that are made anyway, at most every five seconds, by each owner.

use super::*;
use crate::store::OwnerView;

impl Fixture {
    async fn masters(&self) -> Vec<OwnerView> {
        self.store.masters().await.unwrap()
    }

    /// The summary of the only master, and its age.
    async fn summary(&self) -> (MasterSummary, Duration) {
        let mut all = self.masters().await;
        assert_eq!(all.len(), 1, "{all:?}");
        let published = all.remove(0).published.expect("the master has published");
        (MasterSummary::read(&published.summary.unwrap()).unwrap(), published.age)
    }
}

#[tokio::test(start_paused = true)]
async fn idle_master_publishes_with_its_renewals_only() {
    // Nothing but renewals makes turns.
    let mut fixture = Fixture::with(spec(), async |setup| setup.settings.sleep = 600 * SECOND).await;
    let _worker = fixture.boot().await;
    let (summary, age) = fixture.summary().await;
    assert_eq!((summary.state, summary.mode.as_str()), (MasterCondition::Running, "process-pool"));
    assert!(age <= SECOND && !summary.single_job, "published with the first turn: {age:?}");
    fixture.take_calls();
    for _ in 0..60 {
        sleep(SECOND).await;
        let (_, age) = fixture.summary().await;
        assert!(age <= 10 * SECOND + 100 * MS, "{age:?}");
    }
    let calls = fixture.take_calls();
    assert_eq!(names(&calls), ["turn"; 6], "one renewal in ten seconds");
    assert_eq!(fixture.summary().await.0.workers, WorkerSummary { wanted: 1, serving: 1, busy: 0 });
}

#[tokio::test(start_paused = true)]
async fn busy_master_publishes_every_five_seconds() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let (mut publications, mut last) = (0, None);
    for run in 1..=300 {
        fixture.push(1).await;
        assert_eq!(worker.frames(), [ScriptedFrame::Run(run)]);
        worker.ended(run, Outcome::Done);
        sleep(100 * MS).await;
        let published = fixture.masters().await.remove(0).published.unwrap().summary;
        publications += u32::from(last != published);
        last = published;
    }
    assert!((6..=7).contains(&publications), "{publications} in 30 seconds");
    let runs = fixture.summary().await.0.runs;
    assert!(runs.totals.ended > 200 && runs.totals.failed == 0, "{runs:?}");
    assert!(runs.per_second.is_some_and(|rate| (9.0..11.0).contains(&rate)), "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn summary_names_running_jobs_and_the_state() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(1).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    let begun = fixture.store.model.now();
    fixture.ask(Command::Quiet).await;
    sleep(25 * SECOND).await;
    let (summary, _) = fixture.summary().await;
    assert_eq!((summary.running, summary.state), (1, MasterCondition::Quiet));
    let [job] = summary.jobs.as_slice() else { panic!("{:?}", summary.jobs) };
    assert_eq!((job.id, job.job.as_str(), job.attempt), (ids[0], "demo", Some(1)));
    assert!(begun.0.abs_diff(job.since.0) < 100_000, "{begun:?} {:?}", job.since);
    fixture.stop(false).await;
    sleep(11 * SECOND).await;
    assert_eq!(fixture.summary().await.0.state, MasterCondition::Stopping);
    worker.ended(1, Outcome::Done).exited(Exit::Code(0), "");
    fixture.settle().await;
    assert_eq!(fixture.masters().await, [], "gone with the owner");
}

#[tokio::test(start_paused = true)]
async fn new_owner_publishes_at_once() {
    let mut fixture = Fixture::new(spec()).await;
    let worker = fixture.boot().await;
    let owner = fixture.owners.lock().unwrap()[0].clone();
    sleep(SECOND).await;
    fixture.store.model.reap(Reap::Owner(&owner)).await.unwrap();
    assert_eq!(fixture.masters().await, []);
    // The push makes a turn, which finds the lease lost; its workers are replaced.
    fixture.push(1).await;
    sleep(SECOND).await;
    worker.exited(Exit::Signal(9), "");
    sleep(SECOND).await;
    let _successor = fixture.boot().await;
    // The last summary is less than five seconds old, and the store has none of this owner.
    let all = fixture.masters().await;
    assert!(all.len() == 1 && all[0].owner != owner && all[0].published.is_some(), "{all:?}");
}
