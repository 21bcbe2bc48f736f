//! Requests of running jobs: to push jobs, and to claim locks, rates and breakers.
//!
//! Owns: what each run was granted, the breakers of the channel, the requests that wait for a store, and the keys
//! that the next turn releases. A request that needs a store has a task of its own, beside the calls of the actor,
//! which never waits for it. A grant ends with its run; a grant that arrives after the run has ended is released at
//! once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use aint_queue_core::otel::{PushSpan, within_trace};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::run_traces::{RunTraces, TraceHeaders};
use super::settings::ChannelSettings;
use crate::job::{JobId, NewJob, Outcome, PushOptions, Response, error_chain, inherit_trace};
use crate::job_json::{self, PushDefaults};
use crate::limits::{Breakers, ClaimRoute, HeldLimits, claim_response};
use crate::metrics::ChannelMetrics;
use crate::pool::{ReplyTo, RequestKind, RunRequest};
use crate::store::{
    self, ClaimKind, CrossChannelPush, KeyRelease, MAX_BATCH, Owner, PushLimit, Pushed, Store,
};
use crate::wire::{MAX_PUSHED_JOBS, RunId};

/// Number of locks and breakers that one run may hold; each is kept in memory until the run ends.
const MAX_HELD_BY_RUN: usize = 64;

/// A response that the caller passes to the pool.
pub(super) type Reply = (ReplyTo, Response);

/// The requests of running jobs.
#[derive(Debug)]
pub(super) struct JobRequests {
    /// Name of the channel: a push into it goes to its own store.
    channel: Arc<str>,
    store: Arc<dyn Store>,
    /// Access to other channels; `None` when there are none.
    cross_channel: Option<Arc<dyn CrossChannelPush>>,
    metrics: ChannelMetrics,
    /// Requests that wait for a store.
    tasks: JoinSet<Vec<CompletedRequest>>,
    held: HashMap<RunId, HeldLimits>,
    breakers: Breakers,
    /// Keys for the next turns to release.
    releases: VecDeque<KeyRelease>,
}

/// A request that a store has answered.
#[derive(Debug)]
pub(super) struct CompletedRequest {
    run: RunId,
    reply: ReplyTo,
    response: Response,
    /// The lock that the request was for.
    lock: Option<KeyRelease>,
}

impl JobRequests {
    pub(super) fn new(
        channel: Arc<str>,
        store: Arc<dyn Store>,
        cross_channel: Option<Arc<dyn CrossChannelPush>>,
        metrics: ChannelMetrics,
    ) -> Self {
        Self {
            channel,
            store,
            cross_channel,
            metrics,
            tasks: JoinSet::new(),
            held: HashMap::new(),
            breakers: Breakers::default(),
            releases: VecDeque::new(),
        }
    }

    /// Starts requests and returns the responses that need no store. `owner` claims locks and rates; `settings` limit
    /// pushes; a pushed job inherits the trace of its run.
    pub(super) fn on_requests(
        &mut self,
        requests: Vec<RunRequest>,
        settings: &ChannelSettings,
        traces: &RunTraces,
        owner: Option<&Owner>,
        now: Instant,
    ) -> Vec<Reply> {
        let (mut replies, mut claims, mut claimants) = (Vec::new(), Vec::new(), Vec::new());
        for RunRequest { run, id, reply, request, memory } in requests {
            let claim = match request {
                RequestKind::Push { channel, jobs } => {
                    let destination = channel.as_deref().unwrap_or(&self.channel);
                    if let Err(why) = settings.may_push.check(&self.channel, destination) {
                        replies.push((reply, Response::Error(why)));
                        continue;
                    }
                    let channel = channel.filter(|channel| **channel != *self.channel);
                    let route = (Arc::clone(&self.store), settings.push_limit.clone());
                    let trace = traces.headers(run).cloned();
                    let jobs = PushedJobs { jobs, trace, own_channel: Arc::clone(&self.channel) };
                    let pushed = push(route, self.cross_channel.clone(), channel.clone(), jobs);
                    let metrics = self.metrics.clone();
                    self.tasks.spawn(async move {
                        let response = match pushed.await {
                            Ok(pushed) => {
                                let added = pushed.iter().filter(|pushed| matches!(pushed, Pushed::Added(_)));
                                metrics.pushed(channel.as_deref(), added.count());
                                Response::Pushed(pushed.into_iter().map(|pushed| pushed.id().0).collect())
                            }
                            Err(why) => Response::Error(why),
                        };
                        drop(memory);
                        vec![CompletedRequest { run, reply, response, lock: None }]
                    });
                    continue;
                }
                RequestKind::Claim(claim) => claim,
            };
            if self.held.get(&run).is_some_and(|held| held.len() >= MAX_HELD_BY_RUN) {
                let why = format!("run holds {MAX_HELD_BY_RUN} locks and breakers: claim fewer");
                replies.push((reply, Response::Error(why)));
                continue;
            }
            match ClaimRoute::from(claim) {
                ClaimRoute::Breaker { key, settings } => {
                    let held = self.held.entry(run).or_default();
                    replies.push((reply, held.claim_breaker(&mut self.breakers, run, key, settings, now)));
                }
                ClaimRoute::Store { key, kind } => {
                    claims.push(store::Claim { id, key, kind });
                    claimants.push((run, reply));
                }
            }
        }
        if !claims.is_empty() {
            match owner.cloned() {
                Some(owner) => {
                    drop(self.tasks.spawn(claim(Arc::clone(&self.store), owner, claims, claimants)))
                }
                None => {
                    let unavailable = || Response::Error("the store is unavailable".to_owned());
                    replies.extend(claimants.into_iter().map(|(_, reply)| (reply, unavailable())));
                }
            }
        }
        replies
    }

    /// The next requests that a store has answered; pending while none wait for a store.
    pub(super) async fn next(&mut self) -> Vec<CompletedRequest> {
        match self.tasks.join_next().await {
            Some(Ok(completed)) => completed,
            // A task that panicked sends no response; the time limit of the job ends the wait.
            Some(Err(_)) => Vec::new(),
            None => std::future::pending().await,
        }
    }

    /// Records what the store granted and returns the responses. `run_of` finds the present run of a job,
    /// `is_running` says whether a run has not ended.
    pub(super) fn on_completed(
        &mut self,
        completed: Vec<CompletedRequest>,
        run_of: impl Fn(JobId) -> Option<RunId>,
        is_running: impl Fn(RunId) -> bool,
    ) -> Vec<Reply> {
        let record = |CompletedRequest { run, reply, response, lock }| {
            // After an error the store may have granted the lock although the reply was lost.
            if let (Some(KeyRelease::Lock { id, key }), Response::Granted | Response::Error(_)) =
                (lock, &response)
            {
                // A lock belongs to the job, not to the run. A lock that comes too late for its run may be the one
                // that a later run of the job has claimed as well, and ends with that run.
                match [Some(run), run_of(id)].into_iter().flatten().find(|run| is_running(*run)) {
                    Some(run) => self.held.entry(run).or_default().add_lock(id, key),
                    None => self.releases.push_back(KeyRelease::Lock { id, key }),
                }
            }
            (reply, response)
        };
        completed.into_iter().map(record).collect()
    }

    /// Whether keys wait to be released.
    pub(super) fn has_releases(&self) -> bool {
        !self.releases.is_empty()
    }

    /// The keys for the next turn to release, at most one batch.
    pub(super) fn take_releases(&mut self) -> Vec<KeyRelease> {
        self.releases.drain(..self.releases.len().min(MAX_BATCH)).collect()
    }

    /// Adds keys to release. A key may be released twice: the store ignores the second time.
    pub(super) fn release(&mut self, releases: impl IntoIterator<Item = KeyRelease>) {
        self.releases.extend(releases);
    }

    /// Keeps the unique keys of jobs that do not start after all.
    pub(super) fn keep_unique_keys(&mut self, ids: &HashSet<JobId>) {
        self.releases.retain(|release| !matches!(release, KeyRelease::Unique { id, .. } if ids.contains(id)));
    }

    /// Releases what a run held, after its end.
    pub(super) fn run_ended(&mut self, run: RunId, outcome: &Outcome, now: Instant) {
        if let Some(held) = self.held.remove(&run) {
            self.releases.extend(held.release(&mut self.breakers, run, Some(outcome), now));
        }
    }

    /// Drops all requests and grants: the owner is gone, and with it its locks in the store.
    pub(super) fn lease_lost(&mut self, now: Instant) {
        self.tasks.abort_all();
        for (run, held) in self.held.drain() {
            // Breakers belong to the channel: a probe must not wait for a run whose end is not reported. The store has
            // released the locks with their owner.
            held.release(&mut self.breakers, run, None, now);
        }
        self.releases.clear();
    }
}

/// The jobs of a push.
struct PushedJobs {
    /// Each in its JSON form.
    jobs: Vec<String>,
    /// The trace of the run that pushes them.
    trace: Option<TraceHeaders>,
    /// The channel of the run.
    own_channel: Arc<str>,
}

impl PushedJobs {
    fn parse(&self) -> Result<Vec<NewJob>, String> {
        let jobs = &self.jobs;
        if jobs.len() > MAX_PUSHED_JOBS {
            return Err(format!("too many jobs for one push: at most {MAX_PUSHED_JOBS} are allowed"));
        }
        let options = PushOptions::new();
        let parse = |(index, job): (usize, &String)| {
            let job = job_json::parse(job, &PushDefaults { job: None, options: &options });
            let mut job = job.map_err(|error| format!("could not push job {index}: {error}"))?;
            self.trace.iter().for_each(|trace| inherit_trace(&mut job, trace));
            Ok(job)
        };
        jobs.iter().enumerate().map(parse).collect()
    }
}

/// Pushes jobs, into the own store or that of `channel`.
async fn push(
    (store, limit): (Arc<dyn Store>, PushLimit),
    cross_channel: Option<Arc<dyn CrossChannelPush>>,
    channel: Option<String>,
    jobs: PushedJobs,
) -> Result<Vec<Pushed>, String> {
    let PushedJobs { own_channel, trace, .. } = &jobs;
    let jobs = jobs.parse()?;
    match (channel, cross_channel) {
        (None, _) => {
            let span = PushSpan::begin(Some(own_channel), &jobs, trace.as_deref());
            let pushed = limit.push(&*store, span.jobs(&jobs)).await;
            span.end(&pushed);
            pushed.map_err(|error| error_chain(&error))
        }
        // The queue of the other channel records the push.
        (Some(channel), Some(cross_channel)) => {
            within_trace(trace.as_deref(), cross_channel.push(&channel, &jobs)).await
        }
        (Some(channel), None) => Err(format!("channel \"{channel}\" cannot be reached from this channel")),
    }
}

/// Makes claims; `claimants` are the runs that wait for them.
async fn claim(
    store: Arc<dyn Store>,
    owner: Owner,
    claims: Vec<store::Claim>,
    claimants: Vec<(RunId, ReplyTo)>,
) -> Vec<CompletedRequest> {
    let mut responses = Vec::with_capacity(claims.len());
    for batch in claims.chunks(MAX_BATCH) {
        let decisions = store.claim(&owner, batch).await;
        responses.extend((0..batch.len()).map(|index| claim_response(&decisions, index)));
    }
    let complete = |((store::Claim { id, key, kind }, (run, reply)), response)| {
        let lock = matches!(kind, ClaimKind::Lock { .. }).then_some(KeyRelease::Lock { id, key });
        CompletedRequest { run, reply, response, lock }
    };
    claims.into_iter().zip(claimants).zip(responses).map(complete).collect()
}

const _: () = assert!(MAX_PUSHED_JOBS <= MAX_BATCH, "a push of a job is one batch of the store");
