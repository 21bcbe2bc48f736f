//! The worker process: runs the jobs registered in this binary.
//!
//! - Sends `hello`, runs the jobs that arrive, and reports the end of every run exactly once.
//! - Exits after a `stop` frame when its runs have ended, or at once when the master is gone.
//!
//! A worker never connects to a store and enforces no deadline of its own. The master may kill it at any moment.

mod current_run;
mod frame_queue;
mod run_tracing;
mod socket;

use std::collections::{HashMap, VecDeque};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::executor::{self, CancelHandle, HandlerSet};
use crate::job::{
    AppState, Context, ContextParts, JobId, Outcome, Payload, Registry, Response, install_panic_hook,
};
use crate::wire::{self, FromMaster, FromWorker, JobSpec, PROTOCOL_VERSION, RequestId, RunFrame, RunId};
use frame_queue::{FrameReceiver, FrameSender, OutgoingFrame};
use socket::Socket;

/// Blocking threads in addition to one per slot, for blocking calls of the runtime such as file access and name resolution.
/// The runtime starts them on demand.
const EXTRA_BLOCKING_THREADS: usize = 512;

/// Runs jobs of the master on the inherited socket until it sends `stop` or closes the socket.
#[must_use]
pub fn main(registry: &Registry) -> ExitCode {
    install_panic_hook();
    let slots = variable(wire::SLOTS_VARIABLE).and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(slots.saturating_add(EXTRA_BLOCKING_THREADS))
        .build()
        .expect("a runtime needs only memory and an epoll descriptor");
    // Create and drop the shared state outside of async code: blocking clients own a runtime, which must not be created or
    // dropped inside another. The guard lets asynchronous clients find this runtime.
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
    // Do not wait for blocking handlers: they cannot be interrupted, and their results are no longer needed.
    runtime.shutdown_background();
    drop(state);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: could not run as a worker: {error}");
            if variable(wire::FD_VARIABLE).is_none() {
                eprintln!("hint: the master starts workers; run queue:listen to run jobs");
            }
            ExitCode::FAILURE
        }
    }
}

struct Worker {
    handler_set: HandlerSet,
    state: AppState,
    socket: Socket,
    slots: usize,
    channel: Arc<str>,
    runs: HashMap<RunId, CancelHandle>,
    /// The outcomes of runs.
    ended: mpsc::UnboundedReceiver<(RunId, Outcome)>,
    ends: mpsc::UnboundedSender<(RunId, Outcome)>,
    sender: FrameSender,
    frames: FrameReceiver,
    /// Requests without a response, with the receivers of their responses.
    pending: HashMap<RequestId, oneshot::Sender<Response>>,
    /// Requests held back while the number of open requests is at the master's limit, so that a run with many requests
    /// cannot make the master refuse those of other runs.
    deferred: VecDeque<OutgoingFrame>,
}

impl Worker {
    fn new(registry: &Registry, state: AppState, socket: Socket, slots: usize) -> Self {
        // At most `slots` runs exist at once, which bounds this channel.
        let (ends, ended) = mpsc::unbounded_channel();
        let (sender, frames) = frame_queue::frame_channel();
        run_tracing::forward(&sender);
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
                    // Send the frames of a run before its end, after which the master accepts none.
                    while let Some(frame) = self.frames.try_next() {
                        self.send(frame, None);
                    }
                    for (run, outcome) in ends.drain(..) {
                        if self.runs.remove(&run).is_some() {
                            self.socket.send(&FromWorker::Ended { run, outcome });
                        }
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

    /// Handles every complete frame that has arrived; true when one of them was `stop`.
    fn take_frames(&mut self) -> std::io::Result<bool> {
        let mut stop = false;
        while let Some(frame) = self.socket.next_frame()? {
            let (frame, failure) = match frame {
                FromMaster::Run(frame) => (frame, None),
                FromMaster::Failed(frame, failure) => (frame, Some(failure)),
                FromMaster::Cancel { run, grace } => {
                    if let Some(cancel) = self.runs.get(&run) {
                        cancel.cancel(grace);
                    }
                    continue;
                }
                FromMaster::Answer { ask, answer } => {
                    if let Some(pending) = self.pending.remove(&ask) {
                        // The run may have stopped waiting for the response.
                        let _ = pending.send(answer);
                    }
                    self.send_deferred();
                    continue;
                }
                FromMaster::Stop => {
                    stop = true;
                    continue;
                }
            };
            let RunFrame { run, id, job, attempt, max_attempts, timeout_ms, headers, payload } = frame;
            let ctx = Context::new(ContextParts {
                id: JobId(id),
                job: job.into(),
                channel: Arc::clone(&self.channel),
                attempt,
                max_attempts,
                timeout: (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms)),
                headers: headers.into_owned(),
                state: self.state.clone(),
                host: self.sender.of(run),
            });
            let input = executor::RunInput { payload: Payload::from_raw(payload), failure, ctx };
            if let Some(outcome) = self.start(run, input) {
                while let Some(frame) = self.frames.try_next() {
                    self.send(frame, Some(run));
                }
                self.socket.send(&FromWorker::Ended { run, outcome });
            }
        }
        Ok(stop)
    }

    /// Starts a run; returns its outcome if it has ended already.
    fn start(&mut self, run: RunId, input: executor::RunInput) -> Option<Outcome> {
        let service = self.handler_set.get(input.ctx.job());
        let ends = self.ends.clone();
        let ends = move |outcome| {
            // A closed channel means that this process is about to exit.
            let _ = ends.send((run, outcome));
        };
        let scope = run_tracing::Scope::of(run, &input.ctx);
        match executor::start(service, input, scope, ends) {
            executor::Started::Ended(outcome) => Some(outcome),
            executor::Started::Running(cancel) => {
                self.runs.insert(run, cancel);
                None
            }
        }
    }

    /// Sends a frame of a run. `ending` is a run that ended while it was started, so that `runs` does not contain it.
    fn send(&mut self, frame: OutgoingFrame, ending: Option<RunId>) {
        if let Some((run, ask, sender)) = frame.pending {
            if ending != Some(run) && !self.runs.contains_key(&run) {
                // Drop a request whose run has ended: the master would treat it as a protocol violation. The receiver of the
                // response sees a closed channel.
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

    /// Sends deferred requests up to the limit of open requests.
    fn send_deferred(&mut self) {
        while self.pending.len() < wire::MAX_OPEN_REQUESTS * self.slots
            && let Some(frame) = self.deferred.pop_front()
        {
            self.send(frame, None);
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
