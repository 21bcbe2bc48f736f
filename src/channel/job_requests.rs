//! What runs ask of their channel: to push jobs, and to go on.
//!
//! Whatever needs a store is asked by a task of its own, beside the calls of the actor, which never waits for it. What a run
//! was granted is noted here and given back when the run ends; a grant that comes too late is given back at once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Channel, CrossChannelPush};
use crate::breaker::{BreakerSettings, Breakers};
use crate::job::{JobId, LimitClaim, LimitDecision, NewJob, Outcome, PushOptions, Response, error_chain};
use crate::job_json::{self, PushDefaults};
use crate::pool::{ReplyTo, RequestKind, RunRequest};
use crate::store::{self, ClaimKind, KeyRelease, MAX_BATCH, Owner, Store};
use crate::wire::RunId;

/// So many locks and breakers a run may hold; each is kept in memory until its end.
const MAX_HELD_BY_RUN: usize = 64;

/// What runs hold, and what is being asked for them.
#[derive(Debug, Default)]
pub(super) struct JobRequests {
    tasks: JoinSet<Vec<RequestDone>>,
    held: HashMap<RunId, Vec<Held>>,
    breakers: Breakers,
    /// What the store is to be told is free.
    releases: VecDeque<KeyRelease>,
}

/// Something a run was granted.
#[derive(Debug)]
enum Held {
    Lock { id: JobId, key: String },
    Breaker { key: String, limits: BreakerSettings },
}

/// A question that was asked of a store.
#[derive(Debug)]
pub(super) struct RequestDone {
    run: RunId,
    reply: ReplyTo,
    answer: Response,
    /// The lock it may have got.
    lock: Option<KeyRelease>,
}

/// A claim on its way to the store.
struct PendingClaim {
    run: RunId,
    reply: ReplyTo,
    claim: store::Claim,
}

impl JobRequests {
    /// The next answers; never, when nothing is asked.
    pub(super) async fn next(&mut self) -> Vec<RequestDone> {
        match self.tasks.join_next().await {
            Some(Ok(done)) => done,
            // A task that panicked answers nobody; whoever asked has a time limit.
            Some(Err(_)) => Vec::new(),
            None => std::future::pending().await,
        }
    }

    fn is_at_limit(&self, run: RunId) -> bool {
        self.held.get(&run).is_some_and(|held| held.len() >= MAX_HELD_BY_RUN)
    }

    /// Whether the store has something to hear.
    pub(super) fn has_frees(&self) -> bool {
        !self.releases.is_empty()
    }

    /// What the next turn says; the rest follows.
    pub(super) fn take_releases(&mut self) -> Vec<KeyRelease> {
        self.releases.drain(..self.releases.len().min(MAX_BATCH)).collect()
    }

    /// Says these again: the turn may not have been heard. Saying it twice does no harm.
    pub(super) fn free(&mut self, releases: impl IntoIterator<Item = KeyRelease>) {
        self.releases.extend(releases);
    }

    /// These jobs do not begin yet: their unique keys are not to be freed.
    pub(super) fn keep_keys(&mut self, ids: &HashSet<JobId>) {
        self.releases.retain(|free| !matches!(free, KeyRelease::Unique { id, .. } if ids.contains(id)));
    }

    /// A run has ended: what it held is free.
    pub(super) fn end(&mut self, run: RunId, outcome: &Outcome) {
        let success = match outcome {
            Outcome::Done => Some(true),
            Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Crashed { .. } => Some(false),
            Outcome::Released { .. }
            | Outcome::Interrupted
            | Outcome::Cancelled { .. }
            | Outcome::CrashedInCompany => None,
        };
        for held in self.held.remove(&run).unwrap_or_default() {
            match held {
                Held::Lock { id, key } => self.releases.push_back(KeyRelease::Lock { id, key }),
                Held::Breaker { key, limits } => {
                    self.breakers.ended(&key, limits, run, success, Instant::now());
                }
            }
        }
    }

    /// The owner is gone, and with it all it held in the store.
    pub(super) fn forget(&mut self) {
        self.tasks.abort_all();
        for (run, held) in self.held.drain() {
            for held in held {
                // Breakers are ours, and one must not wait for the end of a run that nobody will hear of.
                if let Held::Breaker { key, limits } = held {
                    self.breakers.ended(&key, limits, run, None, Instant::now());
                }
            }
        }
        self.releases.clear();
    }
}

impl Channel {
    pub(super) fn on_asked(&mut self, asked: Vec<RunRequest>) {
        let mut claims = Vec::new();
        for RunRequest { run, id, reply, question } in asked {
            if matches!(question, RequestKind::Claim(_)) && self.job_requests.is_at_limit(run) {
                let why = format!("this run holds {MAX_HELD_BY_RUN} locks and breakers: claim fewer");
                self.pool.respond(reply, Response::Error(why));
                continue;
            }
            let (key, kind) = match question {
                RequestKind::Push { channel, jobs } => {
                    self.push_for(run, reply, channel, &jobs);
                    continue;
                }
                RequestKind::Claim(LimitClaim::Breaker { key, failures, cooldown }) => {
                    self.claim_breaker(run, reply, key, BreakerSettings { failures, cooldown });
                    continue;
                }
                RequestKind::Claim(LimitClaim::Lock { key, limit }) => (key, ClaimKind::Lock { limit }),
                RequestKind::Claim(LimitClaim::Rate { key, count, per }) => {
                    (key, ClaimKind::Rate { count, per })
                }
            };
            claims.push(PendingClaim { run, reply, claim: store::Claim { id, key, kind } });
        }
        if claims.is_empty() {
            return;
        }
        match self.store_calls.owner.clone() {
            Some(owner) => drop(self.job_requests.tasks.spawn(claim(Arc::clone(&self.store), owner, claims))),
            None => {
                for PendingClaim { reply, .. } in claims {
                    self.pool.respond(reply, Response::Error("the store is away".to_owned()));
                }
            }
        }
    }

    pub(super) fn on_answers(&mut self, done: Vec<RequestDone>) {
        for RequestDone { run, reply, answer, lock } in done {
            // Without a reply it may have been granted.
            if let (Some(KeyRelease::Lock { id, key }), Response::Granted | Response::Error(_)) =
                (lock, &answer)
            {
                // A lock is the job's, not the run's: what comes too late for its run may be what a later run of the job
                // has asked for as well, and goes with that.
                let mut runs = [Some(run), self.held_jobs.run(id)].into_iter().flatten();
                match runs.find(|run| self.pool.has_run(*run)) {
                    Some(now) => self.job_requests.held.entry(now).or_default().push(Held::Lock { id, key }),
                    None => self.job_requests.free([KeyRelease::Lock { id, key }]),
                }
            }
            self.pool.respond(reply, answer);
        }
    }

    fn claim_breaker(&mut self, run: RunId, reply: ReplyTo, key: String, limits: BreakerSettings) {
        let answer = match self.job_requests.breakers.claim(&key, run, Instant::now()) {
            LimitDecision::Wait(time) => Response::Wait(time),
            LimitDecision::Granted => {
                self.job_requests.held.entry(run).or_default().push(Held::Breaker { key, limits });
                Response::Granted
            }
        };
        self.pool.respond(reply, answer);
    }

    fn push_for(&mut self, run: RunId, reply: ReplyTo, channel: Option<String>, jobs: &[String]) {
        let channel = channel.filter(|channel| **channel != *self.name);
        match parse(jobs) {
            Err(why) => self.pool.respond(reply, Response::Error(why)),
            Ok(jobs) => {
                let (store, cross_channel) = (Arc::clone(&self.store), self.cross_channel.clone());
                self.job_requests.tasks.spawn(async move {
                    let answer = push(store, cross_channel, channel, &jobs).await;
                    vec![RequestDone { run, reply, answer, lock: None }]
                });
            }
        }
    }
}

fn parse(jobs: &[String]) -> Result<Vec<NewJob>, String> {
    if jobs.len() > MAX_BATCH {
        return Err(format!("{} jobs are too many for one push: send at most {MAX_BATCH}", jobs.len()));
    }
    let options = PushOptions::new();
    let one = |(index, job): (usize, &String)| {
        let job = job_json::parse(job, &PushDefaults { job: None, options: &options });
        job.map_err(|error| format!("job {index} cannot be pushed: {error}"))
    };
    jobs.iter().enumerate().map(one).collect()
}

async fn push(
    store: Arc<dyn Store>,
    cross_channel: Option<Arc<dyn CrossChannelPush>>,
    channel: Option<String>,
    jobs: &[NewJob],
) -> Response {
    let pushed = match (channel, cross_channel) {
        (None, _) => store.push(jobs).await.map_err(|error| error_chain(&error)),
        (Some(channel), Some(cross_channel)) => cross_channel.push(&channel, jobs).await,
        (Some(channel), None) => Err(format!("the channel \"{channel}\" cannot be reached from here")),
    };
    match pushed {
        Ok(pushed) => Response::Pushed(pushed.into_iter().map(|pushed| pushed.id().0).collect()),
        Err(why) => Response::Error(why),
    }
}

async fn claim(store: Arc<dyn Store>, owner: Owner, claims: Vec<PendingClaim>) -> Vec<RequestDone> {
    let mut all = Vec::with_capacity(claims.len());
    let mut claims = claims.into_iter().peekable();
    while claims.peek().is_some() {
        let batch: Vec<_> = claims.by_ref().take(MAX_BATCH).collect();
        let asked: Vec<_> = batch.iter().map(|pending| pending.claim.clone()).collect();
        let claimed = store.claim(&owner, &asked).await;
        for (index, PendingClaim { run, reply, claim }) in batch.into_iter().enumerate() {
            let answer = match &claimed {
                Ok(claimed) => match claimed.get(index) {
                    Some(LimitDecision::Granted) => Response::Granted,
                    Some(LimitDecision::Wait(time)) => Response::Wait(*time),
                    None => Response::Error("the store answered too little".to_owned()),
                },
                Err(error) => Response::Error(error_chain(error)),
            };
            let store::Claim { id, key, kind } = claim;
            let lock = matches!(kind, ClaimKind::Lock { .. }).then_some(KeyRelease::Lock { id, key });
            all.push(RequestDone { run, reply, answer, lock });
        }
    }
    all
}
