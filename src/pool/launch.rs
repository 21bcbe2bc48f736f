//! Starting a worker: its descriptors, its environment, its I/O task.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tracing::error;

use super::worker::{IoLink, Role, Worker, WorkerState};
use super::worker_io::WorkerIo;
use super::worker_output::{LogTag, Output};
use super::{Pool, Program, Run};
use crate::guardian::handle::{ChildEvent, ChildId, ChildSpec};
use crate::guardian::stdio::{input_file, output_pipe};
use crate::wire;

impl Pool {
    /// Boots a worker that speaks the protocol.
    pub(super) fn launch_wire(&mut self, role: Role, why: String) -> ChildId {
        let slots = if role == Role::Isolated { 1 } else { self.spec.plan.slots };
        let env = vec![(wire::SLOTS_VARIABLE.to_owned(), slots.to_string())];
        let child = self.launch(role, WorkerState::Booting, env, None, why);
        self.set_worker_timer(child, self.spec.boot_timeout);
        child
    }

    /// Starts a program for one run, which is aboard from its birth.
    pub(super) fn launch_exec(&mut self, mut run: Run) {
        let timeout = run.timeout.map_or(0, |t| t.as_millis());
        let env = [
            ("AINT_QUEUE_JOB", run.job.clone()),
            ("AINT_QUEUE_JOB_ID", run.id.to_string()),
            ("AINT_QUEUE_ATTEMPT", run.attempt.to_string()),
            ("AINT_QUEUE_MAX_ATTEMPTS", run.max_attempts.to_string()),
            ("AINT_QUEUE_TIMEOUT_MS", timeout.to_string()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let child = self.launch(
            Role::Plan,
            WorkerState::Serving,
            env,
            Some(run.payload.as_str()),
            "its job".to_owned(),
        );
        self.track(&mut run, child);
    }

    fn launch(
        &mut self,
        role: Role,
        state: WorkerState,
        env: Vec<(String, String)>,
        stdin: Option<&str>,
        why: String,
    ) -> ChildId {
        // Before the program starts: what changes from now on is seen.
        let files = self.files_now();
        let (child, io_link) = self.try_launch(env, stdin).unwrap_or_else(|error| {
            // No descriptors left, most likely. The run, if there is one, ends as interrupted when the failure is
            // read back, exactly as if the program could not be started.
            error!(channel = %self.spec.channel, %error, "could not prepare a worker");
            let child = self.guardian.reserve_id();
            let failed = ChildEvent::SpawnFailed { error: error.to_string(), errno: 0 };
            let _ = self.to_children.send((child, failed));
            (child, IoLink::disconnected())
        });
        let mut worker = Worker::new(child, (role, self.generation), state, why, io_link);
        worker.files = files;
        self.workers.insert(child, worker);
        child
    }

    fn try_launch(
        &mut self,
        mut env: Vec<(String, String)>,
        stdin: Option<&str>,
    ) -> io::Result<(ChildId, IoLink)> {
        let (stdout, child_stdout) = output_pipe()?;
        let (stderr, child_stderr) = output_pipe()?;
        let (argv, socket, child_socket) = match &self.spec.program {
            Program::Exec(argv) => (argv.clone(), None, None),
            Program::Wire(argv) => {
                let (ours, theirs) = StdUnixStream::pair()?;
                ours.set_nonblocking(true)?;
                (argv.clone(), Some(UnixStream::from_std(ours)?), Some(OwnedFd::from(theirs)))
            }
        };
        env.push((wire::CHANNEL_VARIABLE.to_owned(), self.spec.channel.to_string()));
        env.extend(self.spec.env.iter().cloned());
        let spawn = ChildSpec {
            argv,
            env,
            cwd: self.spec.cwd.clone(),
            stdin: stdin.map(input_file).transpose()?,
            stdout: child_stdout,
            stderr: child_stderr,
            wire: child_socket,
        };
        let child = self.guardian.spawn(spawn, self.to_children.clone());
        let tag = Arc::new(LogTag::default());
        let (io, commands) = mpsc::unbounded_channel();
        let unread = Arc::new(AtomicUsize::new(0));
        let task = WorkerIo {
            child,
            socket,
            stdout: Output::new(stdout, "stdout", &self.spec.channel, &tag),
            stderr: Output::new(stderr, "stderr", &self.spec.channel, &tag),
            commands,
            unread: Arc::clone(&unread),
            events: self.to_io.clone(),
        };
        tokio::spawn(task.serve());
        Ok((child, IoLink { io, unread, tag }))
    }
}
