//! The worker's side: a process that runs the jobs registered in this binary.
//!
//! Duties: say hello, run what arrives, answer every run exactly once, leave when told to or when the
//! master is gone. It never talks to a store and keeps no clock of its own; being killed at any moment is
//! part of its life.

mod run;
mod socket;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::job::{Context, JobId, Outcome, Payload, Registry};
use crate::wire::{self, FromMaster, FromWorker, JobSpec, PROTOCOL, RunFrame, RunId};
use run::{Cancel, Ended};
use socket::Socket;

/// Serves the master on the inherited socket until it says stop or goes away.
#[must_use]
pub fn main(registry: &Registry) -> ExitCode {
    run::remember_panics();
    let slots = variable(wire::SLOTS_VARIABLE).and_then(|n| n.parse().ok()).unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(slots)
        .build()
        .expect("a runtime needs only memory and an epoll descriptor");
    let served = runtime.block_on(async {
        let socket = Socket::inherited().map_err(|e| e.to_string())?;
        Worker::new(registry, socket, slots).serve().await.map_err(|e| e.to_string())
    });
    // Blocking handlers cannot be stopped from inside; whoever ended the service has no use for them.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: could not serve as a worker: {error}");
            eprintln!("a worker is started by its master; to run jobs use queue:listen");
            ExitCode::FAILURE
        }
    }
}

struct Worker<'a> {
    registry: &'a Registry,
    socket: Socket,
    slots: usize,
    channel: Arc<str>,
    aboard: HashMap<RunId, Cancel>,
    ended: mpsc::UnboundedReceiver<Ended>,
    report: mpsc::UnboundedSender<Ended>,
}

impl<'a> Worker<'a> {
    fn new(registry: &'a Registry, socket: Socket, slots: usize) -> Self {
        // At most `slots` runs are aboard, so the queue of their ends is bounded by them.
        let (report, ended) = mpsc::unbounded_channel();
        let channel = variable(wire::CHANNEL_VARIABLE).unwrap_or_default().into();
        Self { registry, socket, slots, channel, aboard: HashMap::new(), ended, report }
    }

    async fn serve(mut self) -> std::io::Result<()> {
        let jobs =
            self.registry.specs().map(|(name, options)| JobSpec { name: name.to_owned(), options }).collect();
        self.socket.send(&FromWorker::Hello { protocol: PROTOCOL, slots: self.slots, jobs });
        let mut stopping = false;
        let mut ends = Vec::new();
        loop {
            if stopping && self.aboard.is_empty() {
                return self.socket.flush().await;
            }
            tokio::select! {
                n = self.ended.recv_many(&mut ends, 512) => {
                    debug_assert!(n > 0, "the worker itself holds a sender");
                    for end in ends.drain(..) {
                        self.answer(end);
                    }
                }
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
                Incoming::Run(run, start) => {
                    if let Some(outcome) = self.start(run, start) {
                        self.socket.send(&FromWorker::Ended { run, outcome });
                    }
                }
                Incoming::Cancel(run) => {
                    if let Some(aboard) = self.aboard.get(&run) {
                        aboard.cancel();
                    }
                }
                Incoming::Stop => stop = true,
            }
        }
        Ok(stop)
    }

    /// Starts a run; answers its outcome when it has ended already.
    fn start(&mut self, run: RunId, start: Start) -> Option<Outcome> {
        let timeout = (start.timeout_ms > 0).then(|| std::time::Duration::from_millis(start.timeout_ms));
        let ctx =
            Context::new(start.id, Arc::clone(&self.channel), start.attempt, start.max_attempts, timeout);
        match run::start(self.registry.get(&start.job), &start, ctx, run, &self.report) {
            run::Started::Ended(outcome) => Some(outcome),
            run::Started::Aboard(cancel) => {
                self.aboard.insert(run, cancel);
                None
            }
        }
    }

    fn answer(&mut self, end: Ended) {
        if self.aboard.remove(&end.run).is_some() {
            self.socket.send(&FromWorker::Ended { run: end.run, outcome: end.outcome });
        }
    }
}

/// A frame from the master, owned.
enum Incoming {
    Run(RunId, Start),
    Cancel(RunId),
    Stop,
}

/// What a run needs.
struct Start {
    id: JobId,
    job: String,
    attempt: u32,
    max_attempts: u32,
    timeout_ms: u64,
    payload: Payload,
}

impl From<FromMaster<'_>> for Incoming {
    fn from(frame: FromMaster<'_>) -> Self {
        match frame {
            FromMaster::Run(RunFrame {
                run, id, job, attempt, max_attempts, timeout_ms, payload, ..
            }) => {
                let payload = Payload::from_raw(payload);
                let job = job.into_owned();
                Self::Run(run, Start { id: JobId(id), job, attempt, max_attempts, timeout_ms, payload })
            }
            FromMaster::Cancel { run } => Self::Cancel(run),
            FromMaster::Stop => Self::Stop,
            FromMaster::Failed(..) | FromMaster::Answer { .. } => {
                unimplemented!("comes with the worker's next commit")
            }
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
