//! The worker's side: a process that runs the jobs registered in this binary.
//!
//! Duties: say hello, run what arrives, answer every run exactly once, leave when told to or when the
//! master is gone. It never talks to a store and keeps no clock of its own; being killed at any moment is
//! part of its life.

mod events;
mod link;
mod socket;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::executor::{self, CancelHandle, HandlerSet};
use crate::job::{
    AppState, Context, ContextParts, Failure, JobId, Outcome, Payload, Registry, Response, install_panic_hook,
};
use crate::wire::{self, FromMaster, FromWorker, JobSpec, PROTOCOL_VERSION, RequestId, RunFrame, RunId};
use link::{FrameReceiver, FrameSender, OutgoingFrame};
use socket::Socket;

/// Threads beside those of blocking handlers, for what these and asynchronous ones wait for: files, names of hosts. They
/// are started when needed.
const EXTRA_BLOCKING_THREADS: usize = 512;

/// Serves the master on the inherited socket until it says stop or goes away.
#[must_use]
pub fn main(registry: &Registry) -> ExitCode {
    install_panic_hook();
    let slots = variable(wire::SLOTS_VARIABLE).and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(slots.saturating_add(EXTRA_BLOCKING_THREADS))
        .build()
        .expect("a runtime needs only memory and an epoll descriptor");
    // Made, and at last dropped, where blocking is allowed, as clients with a runtime of their own need it; those that are
    // asynchronous find ours.
    let state = {
        let _inside = runtime.enter();
        registry.state()
    };
    let served = state.clone().and_then(|state| {
        runtime.block_on(async {
            let socket = Socket::inherited().map_err(|e| e.to_string())?;
            Worker::new(registry, state, socket, slots).serve(registry).await.map_err(|e| e.to_string())
        })
    });
    // Blocking handlers cannot be stopped from inside; whoever ended the service has no use for them.
    runtime.shutdown_background();
    drop(state);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: could not serve as a worker: {error}");
            if variable(wire::FD_VARIABLE).is_none() {
                eprintln!("hint: a worker is started by its master; to run jobs use queue:listen");
            }
            ExitCode::FAILURE
        }
    }
}

/// The end of a run.
struct EndedRun {
    run: RunId,
    outcome: Outcome,
}

struct Worker {
    handler_set: HandlerSet,
    state: AppState,
    socket: Socket,
    slots: usize,
    channel: Arc<str>,
    runs: HashMap<RunId, CancelHandle>,
    ended: mpsc::UnboundedReceiver<EndedRun>,
    ends: mpsc::UnboundedSender<EndedRun>,
    sender: FrameSender,
    frames: FrameReceiver,
    /// The questions that wait for their answer.
    pending: HashMap<RequestId, oneshot::Sender<Response>>,
    /// Questions that wait until fewer are open than the master admits: a run that asks much must not have others refused.
    deferred: VecDeque<OutgoingFrame>,
}

impl Worker {
    fn new(registry: &Registry, state: AppState, socket: Socket, slots: usize) -> Self {
        // At most `slots` runs are aboard, so the queue of their ends is bounded by them.
        let (ends, ended) = mpsc::unbounded_channel();
        let (sender, frames) = link::frame_channel();
        events::forward(&sender);
        Self {
            handler_set: HandlerSet::of(registry),
            state,
            socket,
            slots,
            channel: variable(wire::CHANNEL_VARIABLE).unwrap_or_default().into(),
            runs: HashMap::new(),
            ended,
            ends,
            sender,
            frames,
            pending: HashMap::new(),
            deferred: VecDeque::new(),
        }
    }

    async fn serve(mut self, registry: &Registry) -> std::io::Result<()> {
        let jobs =
            registry.specs().map(|(name, options)| JobSpec { name: name.to_owned(), options }).collect();
        self.socket.send(&FromWorker::Hello { protocol: PROTOCOL_VERSION, slots: self.slots, jobs });
        let mut stopping = false;
        let mut ends = Vec::new();
        loop {
            if stopping && self.runs.is_empty() {
                return self.socket.flush().await;
            }
            tokio::select! {
                n = self.ended.recv_many(&mut ends, 512) => {
                    debug_assert!(n > 0, "the worker itself holds a sender");
                    // What a run said comes before its end, which is all the master waits for.
                    while let Some(frame) = self.frames.try_next() {
                        self.send(frame, None);
                    }
                    for end in ends.drain(..) {
                        self.finish(end);
                    }
                }
                Some(frame) = self.frames.next() => self.send(frame, None),
                open = self.socket.exchange() => {
                    if !open? {
                        return Ok(());
                    }
                    stopping |= self.take_frames()?;
                }
            }
        }
    }

    /// Acts on every whole frame that has arrived; answers whether the master said stop.
    fn take_frames(&mut self) -> std::io::Result<bool> {
        let mut stop = false;
        while let Some(frame) = self.socket.next_frame()? {
            match frame {
                Incoming::Run(start) => {
                    let run = start.run;
                    if let Some(outcome) = self.start(start) {
                        while let Some(frame) = self.frames.try_next() {
                            self.send(frame, Some(run));
                        }
                        self.socket.send(&FromWorker::Ended { run, outcome });
                    }
                }
                Incoming::Cancel(run, grace) => {
                    if let Some(cancel) = self.runs.get(&run) {
                        cancel.cancel(grace);
                    }
                }
                Incoming::Answer(ask, answer) => {
                    if let Some(pending) = self.pending.remove(&ask) {
                        // Whoever asked may not want to know any more.
                        let _ = pending.send(answer);
                    }
                    self.send_deferred();
                }
                Incoming::Stop => stop = true,
            }
        }
        Ok(stop)
    }

    /// Starts a run; answers its outcome when it has ended already.
    fn start(&mut self, start: StartRun) -> Option<Outcome> {
        let StartRun { run, id, job, attempt, max_attempts, timeout_ms, headers, failure, payload } = start;
        let service = self.handler_set.get(&job);
        let ctx = Context::new(ContextParts {
            id,
            job: job.into(),
            channel: Arc::clone(&self.channel),
            attempt,
            max_attempts,
            timeout: (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms)),
            headers,
            state: self.state.clone(),
            host: self.sender.of(run),
        });
        let ends = self.ends.clone();
        let ends = move |outcome| {
            // Nobody hears it when this process is about to end.
            let _ = ends.send(EndedRun { run, outcome });
        };
        let scope = events::Scope::of(run, &ctx);
        match executor::start(service, executor::RunInput { payload, failure, ctx }, scope, ends) {
            executor::Started::Ended(outcome) => Some(outcome),
            executor::Started::Running(cancel) => {
                self.runs.insert(run, cancel);
                None
            }
        }
    }

    /// Passes on what was said; `ending` is a run that was never aboard, because it has ended where it began.
    fn send(&mut self, frame: OutgoingFrame, ending: Option<RunId>) {
        if let Some((run, ask, sender)) = frame.pending {
            if ending != Some(run) && !self.runs.contains_key(&run) {
                // Its run has ended: the master would take the question for a breach of the protocol. Whoever asked hears
                // that nobody answers, as the sender is dropped.
                return;
            }
            if self.pending.len() >= wire::MAX_OPEN_REQUESTS * self.slots {
                let pending = Some((run, ask, sender));
                return self.deferred.push_back(OutgoingFrame { frame: frame.frame, pending });
            }
            self.pending.insert(ask, sender);
        }
        self.socket.send(&frame.frame);
    }

    /// Asks what was held back, as far as there is room.
    fn send_deferred(&mut self) {
        while self.pending.len() < wire::MAX_OPEN_REQUESTS * self.slots
            && let Some(frame) = self.deferred.pop_front()
        {
            self.send(frame, None);
        }
    }

    fn finish(&mut self, end: EndedRun) {
        if self.runs.remove(&end.run).is_some() {
            self.socket.send(&FromWorker::Ended { run: end.run, outcome: end.outcome });
        }
    }
}

/// A frame from the master, owned.
enum Incoming {
    Run(StartRun),
    Cancel(RunId, Duration),
    Answer(RequestId, Response),
    Stop,
}

/// What a run needs.
struct StartRun {
    run: RunId,
    id: JobId,
    job: String,
    attempt: u32,
    max_attempts: u32,
    timeout_ms: u64,
    headers: BTreeMap<String, String>,
    failure: Option<Failure>,
    payload: Payload,
}

impl StartRun {
    fn of(frame: RunFrame<'_>, failure: Option<Failure>) -> Self {
        let RunFrame { run, id, job, attempt, max_attempts, timeout_ms, headers, payload } = frame;
        let payload = Payload::from_raw(payload);
        let (id, job, headers) = (JobId(id), job.into_owned(), headers.into_owned());
        Self { run, id, job, attempt, max_attempts, timeout_ms, headers, failure, payload }
    }
}

impl From<FromMaster<'_>> for Incoming {
    fn from(frame: FromMaster<'_>) -> Self {
        match frame {
            FromMaster::Run(frame) => Self::Run(StartRun::of(frame, None)),
            FromMaster::Failed(frame, failure) => Self::Run(StartRun::of(frame, Some(failure))),
            FromMaster::Cancel { run, grace } => Self::Cancel(run, grace),
            FromMaster::Answer { ask, answer } => Self::Answer(ask, answer),
            FromMaster::Stop => Self::Stop,
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
