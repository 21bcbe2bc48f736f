//! Random call sequences, applied to the model and a driver in step: every reply and the final state must agree.
//!
//! `PROPTEST_CASES` sets the number of sequences, `AINT_QUEUE_SEED` their seed.

mod steps;

use std::env;
use std::sync::Arc;
use std::time::Duration;

use aint_queue::job::{
    FailReason, JobId, JobMeta, JobOutput, NewJob, OutputLine, OutputStream, Priority, Timestamp,
};
use aint_queue::store::model::Model;
use aint_queue::store::{
    ChannelLimits, Claim, ClaimKind, Clear, Cleared, Destination, JobCounts, JobState, JobView, KeptJob,
    KeptLimits, KeyRelease, Leased, LimitDecision, OutputChange, Owner, Reap, SettleConflict, Settlement,
    Store, StoreError, Turn,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::steps::{End, FAR_FUTURE, Freed, Kind, MASTERS, Step, step};
use crate::fixture::{Driver, Fixture, job, later, of, unique, unique_for, unique_until_start};

conformance! {
    driver_matches_the_model,
}

/// The model and a driver, and what of theirs belongs together.
struct ModelAndDriver<'d> {
    model: Model,
    real: Arc<dyn Store>,
    driver: &'d dyn Driver,
    channel: String,
    /// The pushed jobs in order: the model's id, the driver's id, the options.
    jobs: Vec<(JobId, JobId, JobMeta)>,
    masters: Vec<(Owner, Owner)>,
    seq: u64,
    /// The jobs of interrupted clears, which the driver has yet to remove.
    unfinished: Option<Cleared>,
}

/// The comparable part of a job.
type Shown = (usize, JobState, JobMeta, String);

impl<'d> ModelAndDriver<'d> {
    async fn new(driver: &'d dyn Driver, channel: String) -> Self {
        let model = Model::at(Timestamp(1_790_000_000_000_000));
        let real = driver.open(&channel).await;
        let (jobs, masters) = (Vec::new(), Vec::new());
        let mut twins = Self { model, real, driver, channel, jobs, masters, seq: 0, unfinished: None };
        for _ in 0..MASTERS {
            let pair = twins.join().await;
            twins.masters.push(pair);
        }
        twins
    }

    async fn join(&self) -> (Owner, Owner) {
        (self.model.join().await.unwrap(), self.real.join().await.unwrap())
    }

    /// The index of a job by its id in either store.
    fn number(&self, id: JobId, real: bool) -> usize {
        let found = self.jobs.iter().position(|(model, driver, _)| id == if real { *driver } else { *model });
        found.expect("no store answers with an id it did not give")
    }

    /// The job that a step refers to.
    fn resolve(&self, job: usize) -> Option<(JobId, JobId, JobMeta)> {
        self.jobs.get(job.checked_rem(self.jobs.len())?).cloned()
    }

    fn plain(&self, mut meta: JobMeta) -> JobMeta {
        // Times differ between clocks.
        meta.errors.iter_mut().for_each(|error| error.at = Timestamp(0));
        meta
    }

    fn leased(&self, leased: Vec<Leased>, real: bool) -> Vec<(usize, JobMeta, String)> {
        let shown = |leased: Leased| match leased {
            Leased::Job(r) => (self.number(r.id, real), self.plain(r.meta), r.payload.as_str().to_owned()),
            Leased::Malformed { id, why } => panic!("job {id} cannot be read: {why}"),
        };
        leased.into_iter().map(shown).collect()
    }

    fn shown(&self, listed: JobView, real: bool) -> Shown {
        (self.number(listed.id, real), listed.state, self.plain(listed.meta), listed.payload)
    }

    async fn list(&self, state: JobState, real: bool) -> Vec<Shown> {
        let store: &dyn Store = if real { &*self.real } else { &self.model };
        let (mut jobs, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(state, after, 7).await.unwrap();
            jobs.extend(page.jobs.into_iter().map(|listed| self.shown(listed, real)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if state == JobState::Reserved {
            jobs.sort_unstable_by_key(|(number, ..)| *number);
        }
        jobs
    }

    fn settlements(&self, ends: &[(usize, End)], real: bool) -> Vec<Settlement> {
        let mut settlements = Vec::new();
        for (n, (job, end)) in ends.iter().enumerate() {
            let Some((model, driver, options)) = self.resolve(*job) else { continue };
            let unique = options.unique.clone();
            let mut meta = JobMeta { job: format!("settled{n}"), attempts: n as u32, ..options };
            let to = match end {
                End::Done => Destination::Done,
                End::Kept(count) => {
                    let limits = KeptLimits { count: u64::from(*count), age: FAR_FUTURE };
                    let text = format!("{} attempt {n}", meta.job);
                    Destination::Kept(Box::new(KeptJob::new(text, limits).unwrap()))
                }
                End::Front => Destination::Front(meta),
                End::Back => Destination::Back(meta),
                End::Later => Destination::Delayed(FAR_FUTURE, meta),
                End::Failed => {
                    meta.failed = Some(FailReason::Exhausted);
                    Destination::Failed(meta)
                }
            };
            settlements.push(Settlement {
                id: if real { driver } else { model },
                unique,
                to,
                output: output_change(n, *end),
            });
        }
        settlements
    }

    fn releases(&self, releases: &[(usize, Freed)], real: bool) -> Vec<KeyRelease> {
        let free = |(job, freed): &(usize, Freed)| {
            let (model, driver, options) = self.resolve(*job)?;
            let id = if real { driver } else { model };
            Some(match freed {
                Freed::Own => KeyRelease::Unique { id, key: options.unique? },
                Freed::Unique(key) => KeyRelease::Unique { id, key: format!("k{key}") },
                Freed::Lock(key) => KeyRelease::Lock { id, key: format!("k{key}") },
            })
        };
        releases.iter().filter_map(free).collect()
    }

    fn claims(&self, claims: &[(usize, u8, ClaimKind)], real: bool) -> Vec<Claim> {
        let claim = |(job, key, kind): &(usize, u8, ClaimKind)| {
            let (model, driver, _) = self.resolve(*job)?;
            Some(Claim { id: if real { driver } else { model }, key: format!("k{key}"), kind: *kind })
        };
        claims.iter().filter_map(claim).collect()
    }

    async fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.model.advance(Duration::from_millis(1));
        self.driver.pass(Duration::ZERO).await;
        self.seq += 1;
        let seq = self.seq;
        match step {
            Step::Push(kinds) => {
                let new = |(n, (kind, priority)): (usize, &(Kind, Priority))| -> NewJob {
                    let name = format!("j{}", self.jobs.len() + n);
                    let job = match kind {
                        Kind::Now => job(&name),
                        Kind::Later => later(&name, FAR_FUTURE),
                        Kind::Unique(key) => unique(&name, &format!("k{key}")),
                        Kind::UniqueUntilStart(key) => unique_until_start(&name, &format!("k{key}")),
                        Kind::UniqueFor(key) => unique_for(&name, &format!("k{key}"), 24 * FAR_FUTURE),
                    };
                    of(*priority, job)
                };
                let jobs: Vec<_> = kinds.iter().enumerate().map(new).collect();
                let model = self.model.push(&jobs).await.unwrap();
                let real = self.real.push(&jobs).await.unwrap();
                prop_assert_eq!(model.len(), real.len());
                for ((model, real), job) in model.into_iter().zip(real).zip(jobs) {
                    use aint_queue::store::Pushed::{Added, Existing};
                    match (model, real) {
                        (Added(model), Added(real)) => self.jobs.push((model, real, job.meta)),
                        (Existing(model), Existing(real)) => {
                            prop_assert_eq!(self.number(model, false), self.number(real, true));
                        }
                        (model, real) => prop_assert!(false, "model {model:?}, driver {real:?}"),
                    }
                }
            }
            Step::Turn { master, ends, releases, want, max_bytes, overdue } => {
                let (m, r) = (self.settlements(ends, false), self.settlements(ends, true));
                let (mf, rf) = (self.releases(releases, false), self.releases(releases, true));
                let (mo, ro) = self.masters[*master].clone();
                let turn = |owner, settlements, releases| Turn {
                    owner,
                    seq,
                    settlements,
                    releases,
                    want: *want,
                    max_bytes: *max_bytes,
                    overdue: *overdue,
                    publish: None,
                };
                let m = self.model.turn(turn(&mo, &m, &mf)).await.unwrap();
                let r = self.real.turn(turn(&ro, &r, &rf)).await.unwrap();
                // Until a clear has ended, a settlement of its job by another owner may count as stale.
                let is_exact = self.unfinished.is_none();
                let conflicts = |of: &[(JobId, SettleConflict)], real| -> Vec<_> {
                    let mut numbered: Vec<_> = of
                        .iter()
                        .map(|(id, e)| (self.number(*id, real), is_exact && *e == SettleConflict::Stale))
                        .collect();
                    numbered.sort_unstable();
                    numbered
                };
                prop_assert_eq!(conflicts(&m.conflicts, false), conflicts(&r.conflicts, true));
                prop_assert_eq!(self.leased(m.leased, false), self.leased(r.leased, true));
                prop_assert_eq!(m.held, r.held);
                prop_assert_eq!(m.waiting, r.waiting);
                prop_assert_eq!(m.next_due.is_some(), r.next_due.is_some());
            }
            Step::Replay { master, job } => {
                let (mo, ro) = self.masters[*master].clone();
                let ends = [(*job, End::Done)];
                let (m, r) = (self.settlements(&ends, false), self.settlements(&ends, true));
                let turn = |owner, settlements| Turn {
                    owner,
                    seq: 0,
                    settlements,
                    releases: &[],
                    want: 5,
                    max_bytes: 9,
                    overdue: None,
                    publish: None,
                };
                let replayed = |reply| matches!(reply, Err(StoreError::Replayed));
                prop_assert!(replayed(self.model.turn(turn(&mo, &m)).await));
                prop_assert!(replayed(self.real.turn(turn(&ro, &r)).await));
            }
            Step::Claim { master, claims } => {
                let (mo, ro) = &self.masters[*master];
                let (m, r) = (self.claims(claims, false), self.claims(claims, true));
                let m = self.model.claim(mo, &m).await.unwrap();
                let r = self.real.claim(ro, &r).await.unwrap();
                // The rates are so slow that both clocks stand still for them, up to a minute.
                let minutes = |answers: Vec<LimitDecision>| {
                    let minutes = |wait: Duration| (wait + Duration::from_secs(30)).as_secs() / 60;
                    let shown = |answer| match answer {
                        LimitDecision::Granted => None,
                        LimitDecision::Wait(wait) => Some(minutes(wait)),
                    };
                    answers.into_iter().map(shown).collect::<Vec<_>>()
                };
                prop_assert_eq!(minutes(m), minutes(r));
            }
            Step::Held { master } => {
                let (mo, ro) = &self.masters[*master];
                let number = |ids: Vec<JobId>, real| {
                    let mut numbers: Vec<_> = ids.into_iter().map(|id| self.number(id, real)).collect();
                    numbers.sort_unstable();
                    numbers
                };
                let (m, r) =
                    (self.model.held(mo, seq).await.unwrap(), self.real.held(ro, seq).await.unwrap());
                prop_assert_eq!(number(m, false), number(r, true));
            }
            Step::Fetch { master, jobs } => {
                let (mo, ro) = &self.masters[*master];
                let meant: Vec<_> = jobs.iter().filter_map(|job| self.resolve(*job)).collect();
                let (mi, ri): (Vec<_>, Vec<_>) = meant.into_iter().map(|(m, r, _)| (m, r)).unzip();
                let (m, r) =
                    (self.model.fetch(mo, &mi).await.unwrap(), self.real.fetch(ro, &ri).await.unwrap());
                prop_assert_eq!(self.leased(m, false), self.leased(r, true));
            }
            Step::Take { master, job } => {
                let (mo, ro) = &self.masters[*master];
                let Some((m, r, _)) = self.resolve(*job) else { return Ok(()) };
                let (m, r) =
                    (self.model.take(mo, seq, m).await.unwrap(), self.real.take(ro, seq, r).await.unwrap());
                let (m, r) = (m.into_iter().collect(), r.into_iter().collect());
                prop_assert_eq!(self.leased(m, false), self.leased(r, true));
            }
            Step::Leave { master } => {
                let (mo, ro) = &self.masters[*master];
                prop_assert_eq!(self.model.leave(mo).await.unwrap(), self.real.leave(ro).await.unwrap());
                self.replace(*master).await?;
            }
            Step::Lapse { master } => {
                let (mo, ro) = &self.masters[*master];
                self.model.expire_lease(mo);
                self.driver.expire_lease(&self.channel, ro).await;
                let (m, r) = (self.model.reap(Reap::Expired).await, self.real.reap(Reap::Expired).await);
                prop_assert_eq!(m.unwrap(), r.unwrap());
                self.replace(*master).await?;
            }
            Step::Bury { master } => {
                let (mo, ro) = &self.masters[*master];
                let (m, r) = (self.model.reap(Reap::Owner(mo)).await, self.real.reap(Reap::Owner(ro)).await);
                prop_assert_eq!(m.unwrap(), r.unwrap());
                self.replace(*master).await?;
            }
            Step::Requeue(jobs) => {
                let (mut m, mut r) = (Vec::new(), Vec::new());
                for (n, job) in jobs.iter().enumerate() {
                    let Some((model, real, options)) = self.resolve(*job) else { continue };
                    let meta = JobMeta { job: format!("again{n}"), ..options };
                    m.push((model, meta.clone()));
                    r.push((real, meta));
                }
                prop_assert_eq!(self.model.requeue(&m).await.unwrap(), self.real.requeue(&r).await.unwrap());
            }
            Step::Discard(jobs) => {
                let meant: Vec<_> = jobs.iter().filter_map(|job| self.resolve(*job)).collect();
                let (m, r): (Vec<_>, Vec<_>) = meant.into_iter().map(|(m, r, _)| (m, r)).unzip();
                prop_assert_eq!(self.model.discard(&m).await.unwrap(), self.real.discard(&r).await.unwrap());
            }
            Step::Clear { waiting, delayed, failed, reserved, cut } => {
                let which =
                    Clear { waiting: *waiting, delayed: *delayed, failed: *failed, reserved: *reserved };
                let mut m = self.model.clear(which).await.unwrap();
                if let Some(before) = self.unfinished.take() {
                    m.waiting += before.waiting;
                    m.delayed += before.delayed;
                    m.failed += before.failed;
                }
                let r = if *cut {
                    self.driver.cut_clear(&self.channel, &self.real, which).await
                } else {
                    Some(self.real.clear(which).await.unwrap())
                };
                match r {
                    Some(r) => prop_assert_eq!(m, r),
                    None => self.unfinished = Some(m),
                }
            }
            Step::Pause(time) => {
                let (m, r) = (self.model.pause(*time).await.unwrap(), self.real.pause(*time).await.unwrap());
                prop_assert_eq!(m.is_some(), r.is_some());
            }
            Step::Resume => {
                prop_assert_eq!(self.model.resume().await.unwrap(), self.real.resume().await.unwrap());
            }
            Step::LimitBytes => {
                let limits = ChannelLimits { max_waiting: None, max_bytes: Some(1 << 40) };
                self.model.record_limits(limits).await.unwrap();
                self.real.record_limits(limits).await.unwrap();
            }
            Step::Look(job) => {
                let Some((m, r, _)) = self.resolve(*job) else { return Ok(()) };
                let m = self.model.get(m).await.unwrap().map(|listed| self.shown(listed, false));
                let r = self.real.get(r).await.unwrap().map(|listed| self.shown(listed, true));
                prop_assert_eq!(m, r);
            }
        }
        let is_exact = self.unfinished.is_none();
        let status = async |store: &dyn Store| {
            let status = store.status().await.unwrap();
            // Times differ between clocks.
            JobCounts {
                paused_until: status.paused_until.map(|_| Timestamp(0)),
                front_ready_at: None,
                next_due: status.next_due.map(|_| Timestamp(0)),
                now: Timestamp(0),
                // During a clear the bytes are an estimate.
                bytes: status.bytes.filter(|_| is_exact),
                ..status
            }
        };
        prop_assert_eq!(status(&self.model).await, status(&*self.real).await);
        Ok(())
    }

    /// Replaces an owner that has ended by a new one.
    async fn replace(&mut self, master: usize) -> Result<(), TestCaseError> {
        let fresh = self.join().await;
        let (mo, ro) = std::mem::replace(&mut self.masters[master], fresh);
        let lost = |reply| matches!(reply, Err(StoreError::Lost));
        prop_assert!(lost(self.model.held(&mo, u64::MAX >> 16).await));
        prop_assert!(lost(self.real.held(&ro, u64::MAX >> 16).await));
        Ok(())
    }

    /// The kept jobs in pages, and each alone.
    async fn kept(&self, real: bool) -> Vec<(usize, String)> {
        let store: &dyn Store = if real { &*self.real } else { &self.model };
        let (mut jobs, mut after) = (Vec::new(), None);
        loop {
            let page = store.kept(after, 2).await.unwrap();
            assert!(page.next.is_none() || page.jobs.len() == 2);
            for job in page.jobs {
                assert_eq!(store.kept_job(job.id).await.unwrap().as_ref(), Some(&job));
                jobs.push((self.number(job.id, real), job.text));
            }
            assert!(page.next.is_some() || page.total == jobs.len() as u64, "nothing is too old");
            after = page.next;
            if after.is_none() {
                return jobs;
            }
        }
    }

    async fn assert_same_state(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.kept(false).await, self.kept(true).await);
        for state in [JobState::Waiting, JobState::Delayed, JobState::Reserved, JobState::Failed] {
            prop_assert_eq!(self.list(state, false).await, self.list(state, true).await, "{:?}", state);
        }
        Ok(())
    }
}

/// The output change of the nth settlement of a turn: a removal, nothing, or lines of different lengths.
fn output_change(n: usize, end: End) -> OutputChange {
    let line = OutputLine { stream: OutputStream::Stdout, text: "\u{e4}".repeat(n) };
    match n % 4 {
        _ if matches!(end, End::Done | End::Kept(_)) => OutputChange::Drop,
        0 => OutputChange::Drop,
        1 => OutputChange::Keep,
        _ => OutputChange::Set(Box::new(JobOutput {
            attempt: 1,
            lines: vec![line],
            dropped_lines: 0,
            dropped_bytes: 0,
        })),
    }
}

async fn attempt(driver: &dyn Driver, channel: String, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut twins = ModelAndDriver::new(driver, channel).await;
    for step in steps {
        let applied = twins.apply(step).await;
        applied.map_err(|error| TestCaseError::fail(format!("at {step:?}: {error}")))?;
    }
    twins.assert_same_state().await
}

async fn driver_matches_the_model(fixture: Fixture) {
    let number = |name, default| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (cases, seed): (u64, u64) = (number("PROPTEST_CASES", 32), number("AINT_QUEUE_SEED", 1));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let steps = vec(step(), 1..60);
    let mut tried = 0;
    let mut channel = || {
        tried += 1;
        format!("random{tried}")
    };
    for case in 0..cases {
        let mut tree = steps.new_tree(&mut runner).unwrap();
        let Err(mut error) = attempt(&*fixture.driver, channel(), &tree.current()).await else { continue };
        // Shrinks the sequence while it still fails.
        let mut smallest = tree.current();
        for _ in 0..400 {
            if !tree.simplify() {
                break;
            }
            match attempt(&*fixture.driver, channel(), &tree.current()).await {
                Err(simpler) => (error, smallest) = (simpler, tree.current()),
                Ok(()) => {
                    if !tree.complicate() {
                        break;
                    }
                }
            }
        }
        panic!("seed {seed}, case {case}: {error}\n{smallest:#?}");
    }
}
