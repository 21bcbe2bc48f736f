//! The start of a worker: its descriptors, its environment, its I/O task.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use nix::errno::Errno;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::io::{IoMemory, WorkerIo};
use super::log_share::OutputDrops;
use super::output::{Output, WorkerLog};
use super::program_files::ProgramFiles;
use super::start_reason::StartReason;
use super::state::{Role, WorkerState};
use super::worker::{IoLink, Origin, Worker};
use crate::guardian::handle::{ChildEvent, ChildId, ChildSpec};
use crate::guardian::stdio::{input_file, output_pipe};
use crate::job::{OutputStream, TraceContext};
use crate::open_files;
use crate::pool::messages::IoEvent;
use crate::pool::rollout::Generation;
use crate::pool::runs::Run;
use crate::pool::spec::Program;
use crate::producer_memory::WorkerMemory;
use crate::wire;

/// Starts workers and connects them with the pool's inboxes.
#[derive(Debug)]
pub(crate) struct Launcher {
    children: mpsc::UnboundedSender<(ChildId, ChildEvent)>,
    pub(crate) io: mpsc::Sender<IoEvent>,
    /// Lines of the workers that are not in the log.
    pub(crate) drops: Arc<OutputDrops>,
    memory: WorkerMemory,
    /// Takes the place of descriptors and I/O tasks in tests on a paused clock.
    #[cfg(test)]
    pub(crate) script: Option<crate::pool::scripted::ScriptSender>,
}

/// The receiving ends of the pool's inboxes.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) children: mpsc::UnboundedReceiver<(ChildId, ChildEvent)>,
    pub(crate) io: mpsc::Receiver<IoEvent>,
}

/// The origin of a worker that is started now.
fn origin(generation: &Generation, role: Role, reason: StartReason, now: Instant) -> Origin {
    // Read before the program starts: a change from now on is noticed.
    let files = ProgramFiles::of(&generation.spec);
    Origin { role, generation: generation.number, reason, started_at: now, files }
}

impl Launcher {
    pub(crate) fn new(memory: WorkerMemory) -> (Self, Inbox) {
        // The number of workers bounds the events of children; the bounded channel holds frames back.
        let (to_children, children) = mpsc::unbounded_channel();
        let (to_io, io) = mpsc::channel(256);
        let launcher = Self {
            children: to_children,
            io: to_io,
            drops: Arc::default(),
            memory,
            #[cfg(test)]
            script: None,
        };
        (launcher, Inbox { children, io })
    }

    /// Starts a worker of a generation. A failure is reported in the inbox, as if the guardian could not start the
    /// program: a run of the worker then ends as interrupted.
    fn start(
        &self,
        generation: &Generation,
        origin: Origin,
        state: WorkerState,
        env: Vec<(String, String)>,
        stdin: Option<&str>,
    ) -> Worker {
        let (child, link) = self.try_start(generation, origin.role, env, stdin).unwrap_or_else(|error| {
            // No descriptors left, most likely.
            let child = generation.guardian.reserve_id();
            let errno = error.raw_os_error().unwrap_or_default();
            let error = format!("its descriptors could not be prepared: {error}");
            let failed = ChildEvent::SpawnFailed { error, errno };
            let _ = self.children.send((child, failed));
            (child, IoLink::disconnected())
        });
        Worker::new(child, origin, state, link)
    }

    /// Starts a worker that speaks the protocol.
    pub(crate) fn start_wire(
        &self,
        generation: &Generation,
        role: Role,
        reason: StartReason,
        now: Instant,
    ) -> Worker {
        let slots = if role.is_beside_plan() { 1 } else { generation.spec.plan.slots };
        let state = WorkerState::Booting { deadline: now + generation.spec.boot_timeout, early_hello: None };
        let env = vec![(wire::SLOTS_VARIABLE.to_owned(), slots.to_string())];
        self.start(generation, origin(generation, role, reason, now), state, env, None)
    }

    /// Starts a program for one run.
    pub(crate) fn start_exec(&self, generation: &Generation, role: Role, run: &Run, now: Instant) -> Worker {
        let timeout = run.timeout.map_or(0, |timeout| timeout.as_millis());
        let env = [
            ("AINT_QUEUE_JOB", run.job.clone()),
            ("AINT_QUEUE_JOB_ID", run.id.to_string()),
            ("AINT_QUEUE_ATTEMPT", run.attempt.to_string()),
            ("AINT_QUEUE_MAX_ATTEMPTS", run.max_attempts.to_string()),
            ("AINT_QUEUE_TIMEOUT_MS", timeout.to_string()),
        ];
        let mut env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
        // Only a valid context, whose characters are harmless, becomes part of an environment.
        if let Some(trace) = TraceContext::of(&run.headers) {
            env.extend(trace.headers().map(|(name, value)| (name.to_ascii_uppercase(), value.to_owned())));
        }
        let origin = origin(generation, role, StartReason::Job, now);
        self.start(generation, origin, WorkerState::Serving, env, Some(run.payload.as_str()))
    }

    fn try_start(
        &self,
        generation: &Generation,
        role: Role,
        mut env: Vec<(String, String)>,
        stdin: Option<&str>,
    ) -> io::Result<(ChildId, IoLink)> {
        #[cfg(test)]
        if let Some(script) = &self.script {
            return Ok(script.start(generation, self.children.clone(), self.io.clone()));
        }
        let spec = &generation.spec;
        let (stdout, child_stdout) = output_pipe()?;
        let (stderr, child_stderr) = output_pipe()?;
        if open_files::is_reserved(child_stderr.as_raw_fd()) {
            return Err(io::Error::from_raw_os_error(Errno::EMFILE as i32));
        }
        let (argv, socket, child_socket) = match &spec.program {
            Program::Exec(argv) => (argv.clone(), None, None),
            Program::Wire(argv) => {
                let (ours, theirs) = StdUnixStream::pair()?;
                ours.set_nonblocking(true)?;
                (argv.clone(), Some(UnixStream::from_std(ours)?), Some(OwnedFd::from(theirs)))
            }
        };
        env.push((wire::CHANNEL_VARIABLE.to_owned(), spec.channel.to_string()));
        env.extend(spec.env.iter().cloned());
        let child_spec = ChildSpec {
            argv,
            env,
            cwd: spec.cwd.clone(),
            stdin: stdin.map(input_file).transpose()?,
            stdout: child_stdout,
            stderr: child_stderr,
            wire: child_socket,
        };
        let child = match role {
            Role::Exclusive => generation.guardian.apart().spawn(child_spec, self.children.clone()),
            _ => generation.guardian.spawn(child_spec, self.children.clone()),
        };
        let log = Arc::new(WorkerLog::new(&spec.channel, spec.log_rate, &self.drops, Instant::now()));
        let (to_task, commands) = mpsc::unbounded_channel();
        let unread = Arc::new(AtomicUsize::new(0));
        let task = WorkerIo {
            child,
            socket,
            stdout: Output::new(stdout, OutputStream::Stdout, &log),
            stderr: Output::new(stderr, OutputStream::Stderr, &log),
            commands,
            unread: Arc::clone(&unread),
            events: self.io.clone(),
            memory: IoMemory::new(&self.memory),
        };
        tokio::spawn(task.serve());
        Ok((child, IoLink::new(to_task, unread, log)))
    }
}
