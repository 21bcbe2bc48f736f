//! A test double for the guardian and the workers of a pool: no processes, no descriptors, so that a pool can be tested on a
//! paused clock. The test plays both parts: it takes every worker the pool starts, sends events for it, and reads the frames
//! the pool has sent.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::actor::Pool;
use super::messages::{IoCommand, IoEvent};
use super::rollout::{Generation, GenerationSpec};
use super::spec::{PoolSpec, Program};
use super::workers::worker::IoLink;
use crate::config::plan::{Plan, Recycling, Scaling};
pub(crate) use crate::guardian::handle::Exit;
use crate::guardian::handle::{ChildEvent, ChildId};
use crate::guardian::scripted::ScriptedGuardian;
pub(crate) use crate::guardian::scripted::ScriptedSignal;
use crate::job::{JobOptions, Outcome};
use crate::producer_memory::WorkerMemory;
use crate::wire::{self, FromWorker, JobSpec, ReadFrame, RunId, WireError};

/// Takes the place of descriptors and I/O tasks in a launcher.
#[derive(Clone, Debug)]
pub(crate) struct ScriptSender(mpsc::UnboundedSender<ScriptedWorker>);

impl ScriptSender {
    /// Starts a worker in the script.
    pub(super) fn start(
        &self,
        generation: &Generation,
        children: mpsc::UnboundedSender<(ChildId, ChildEvent)>,
        io: mpsc::Sender<IoEvent>,
    ) -> (ChildId, IoLink) {
        let child = generation.guardian.reserve_id();
        let (to_worker, commands) = mpsc::unbounded_channel();
        let unread = Arc::new(AtomicUsize::new(0));
        let worker = ScriptedWorker {
            child,
            generation: generation.number,
            commands,
            children,
            io,
            unread: Arc::clone(&unread),
        };
        // The test may have ended.
        let _ = self.0.send(worker);
        (child, IoLink::new(to_worker, unread, Arc::default()))
    }
}

/// The part of a worker in a test.
#[derive(Debug)]
pub(crate) struct ScriptedWorker {
    pub(crate) child: ChildId,
    pub(crate) generation: u64,
    commands: mpsc::UnboundedReceiver<IoCommand>,
    children: mpsc::UnboundedSender<(ChildId, ChildEvent)>,
    io: mpsc::Sender<IoEvent>,
    unread: Arc<AtomicUsize>,
}

/// A frame of the pool, as a scripted worker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ScriptedFrame {
    Run(RunId),
    Failed(RunId),
    Cancel(RunId),
    Answer(u64),
    Stop,
}

impl ScriptedWorker {
    /// The guardian has started the process. Its id is one that no process has.
    pub(crate) fn spawned(&self) -> &Self {
        let pid = i32::MAX - i32::try_from(self.child.0).unwrap();
        self.child_event(ChildEvent::Spawned { pid })
    }

    /// The guardian could not start the process.
    pub(crate) fn spawn_failed(&self, error: &str) -> &Self {
        self.child_event(ChildEvent::SpawnFailed { error: error.to_owned(), errno: 2 })
    }

    /// The system had no process for the guardian to start.
    pub(crate) fn no_room(&self) -> &Self {
        let errno = nix::errno::Errno::EAGAIN as i32;
        self.child_event(ChildEvent::SpawnFailed { error: "no process".to_owned(), errno })
    }

    /// The guardian has died.
    pub(crate) fn abandoned(&self) -> &Self {
        self.child_event(ChildEvent::Abandoned);
        self.io_event(IoEvent::Closed { child: self.child, tail: String::new() })
    }

    /// The guardian has ended the process because the master was silent.
    pub(crate) fn interrupted(&self) -> &Self {
        self.child_event(ChildEvent::Interrupted(Exit::Signal(9)));
        self.io_event(IoEvent::Closed { child: self.child, tail: String::new() })
    }

    /// The process tree has ended; `tail` is the end of its stderr.
    pub(crate) fn exited(&self, exit: Exit, tail: &str) -> &Self {
        self.child_event(ChildEvent::Exited(exit));
        self.io_event(IoEvent::Closed { child: self.child, tail: tail.to_owned() })
    }

    /// The worker sends its hello, with a handler for the job "demo".
    pub(crate) fn hello(&self, slots: usize) -> &Self {
        let jobs = vec![JobSpec { name: "demo".to_owned(), options: JobOptions::default() }];
        self.frame(FromWorker::Hello { protocol: wire::PROTOCOL_VERSION, slots, jobs })
    }

    pub(crate) fn ended(&self, run: RunId, outcome: Outcome) -> &Self {
        self.frame(FromWorker::Ended { run, outcome })
    }

    pub(crate) fn frame(&self, frame: FromWorker) -> &Self {
        self.read_frame(ReadFrame::Whole(frame))
    }

    pub(crate) fn read_frame(&self, frame: ReadFrame) -> &Self {
        self.io_event(IoEvent::Frames(self.child, vec![frame.into()]))
    }

    /// The worker sends a line that is no frame.
    pub(crate) fn violates(&self, error: WireError) -> &Self {
        self.io_event(IoEvent::Violation(self.child, error))
    }

    /// The worker closes its socket.
    pub(crate) fn hung_up(&self) -> &Self {
        self.io_event(IoEvent::Hangup(self.child))
    }

    /// A memory sample arrives.
    pub(crate) fn uses(&self, bytes: u64) -> &Self {
        self.io_event(IoEvent::Memory(vec![(self.child, bytes)]))
    }

    fn child_event(&self, event: ChildEvent) -> &Self {
        // The pool may have ended.
        let _ = self.children.send((self.child, event));
        self
    }

    fn io_event(&self, event: IoEvent) -> &Self {
        let _ = self.io.try_send(event);
        self
    }

    /// The frames since the last call.
    pub(crate) fn frames(&mut self) -> Vec<ScriptedFrame> {
        let mut bytes = Vec::new();
        while let Ok(command) = self.commands.try_recv() {
            if let IoCommand::Send(frames) = command {
                self.unread.fetch_sub(frames.bytes.len(), std::sync::atomic::Ordering::Relaxed);
                bytes.extend(frames.bytes);
            }
        }
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| match wire::decode_from_master(line).unwrap() {
                wire::FromMaster::Run(frame) => ScriptedFrame::Run(frame.run),
                wire::FromMaster::Failed(frame, _) => ScriptedFrame::Failed(frame.run),
                wire::FromMaster::Cancel { run, .. } => ScriptedFrame::Cancel(run),
                wire::FromMaster::Answer { ask, .. } => ScriptedFrame::Answer(ask),
                wire::FromMaster::Stop => ScriptedFrame::Stop,
            })
            .collect()
    }
}

/// The workers a scripted pool has started, and the signals it sends to them.
#[derive(Debug)]
pub(crate) struct Script {
    started: mpsc::UnboundedReceiver<ScriptedWorker>,
    pub(crate) guardian: ScriptedGuardian,
}

impl Script {
    /// The next worker the pool has started, if there is one.
    pub(crate) fn started(&mut self) -> Option<ScriptedWorker> {
        self.started.try_recv().ok()
    }
}

/// A specification for tests: a pool of one long-lived worker of one slot.
pub(crate) fn spec() -> PoolSpec {
    PoolSpec {
        channel: "demo".into(),
        program: Program::Wire(vec!["worker".to_owned()]),
        plan: Plan::process_pool(1, 1, 0),
        scaling: Scaling::default(),
        recycling: Recycling::default(),
        env: Vec::new(),
        cwd: None,
        files: Vec::new(),
        log_rate: 0,
        boot_timeout: Duration::from_secs(10),
        timeout_grace: Duration::from_millis(300),
        stop_grace: Duration::from_secs(5),
        stop_wait: Duration::from_secs(30),
    }
}

/// A pool whose guardian and workers are played by the test.
pub(crate) fn pool(spec: PoolSpec) -> (Pool, Script) {
    let (guardian, receiver) = ScriptedGuardian::new();
    let (sender, started) = mpsc::unbounded_channel();
    let mut pool = Pool::new(GenerationSpec { spec, guardian }, WorkerMemory::new(1 << 20), Instant::now());
    pool.launcher.script = Some(ScriptSender(sender));
    (pool, Script { started, guardian: receiver })
}

/// The next generation of a scripted pool.
pub(crate) fn next_generation(pool: &Pool, spec: PoolSpec) -> GenerationSpec {
    GenerationSpec { spec, guardian: pool.generations.current().guardian.clone() }
}
