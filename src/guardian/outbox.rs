//! What the master's side remembers beyond the life of a guardian: its children, its locks, and what is still
//! to be sent.
//!
//! The queue is bounded by the children there are: each has at most one spawn, one SIGTERM and one kill in it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use tokio::sync::mpsc;

use super::guardian_socket::{GuardianSocket, SendError};
use super::handle::{ChildEvent, ChildId, ChildSpec, Command, Events, Exit, Shared};
use super::privileges::Privileges;
use super::protocol::{self, MAX_REQUEST, Report, Request, SpawnRequest};

/// What outlives a guardian.
#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<QueuedRequest>,
    children: HashMap<ChildId, Child>,
    locks: BTreeMap<String, Arc<OwnedFd>>,
    /// Children that were to be killed and have not ended yet.
    pub(super) dying: usize,
}

struct QueuedRequest {
    bytes: Vec<u8>,
    fds: Vec<Arc<OwnedFd>>,
    kind: RequestKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestKind {
    Spawn(ChildId),
    Terminate(ChildId),
    Kill(ChildId),
    Lock,
}

struct Child {
    events: Events,
    started: bool,
    /// A SIGTERM is in the queue.
    terminating: bool,
    /// A kill was asked for; one is enough.
    killed: bool,
}

impl Outbox {
    /// Notes what a handle asks, and queues the request.
    pub(super) fn accept(&mut self, command: Command, shared: &Shared) {
        match command {
            Command::Spawn { child, scope, privileges, spec, events } => {
                let privileges = privileges.map(Arc::unwrap_or_clone).unwrap_or_default();
                self.accept_spawn(child, (&scope, privileges), *spec, events, shared);
            }
            Command::Terminate(child) => match self.children.get_mut(&child) {
                Some(child_state) if !child_state.terminating && !child_state.killed => {
                    child_state.terminating = true;
                    self.enqueue(
                        &Request::Terminate { child: child.0 },
                        Vec::new(),
                        RequestKind::Terminate(child),
                    );
                }
                _ => {}
            },
            Command::Kill(child) => match self.children.get_mut(&child) {
                Some(child_state) if !child_state.killed => {
                    child_state.killed = true;
                    self.dying += 1;
                    self.enqueue(&Request::Kill { child: child.0 }, Vec::new(), RequestKind::Kill(child));
                }
                _ => {}
            },
            Command::Hold(name, lock) => {
                let lock = Arc::new(lock);
                self.locks.insert(name.clone(), Arc::clone(&lock));
                self.enqueue(&Request::Hold { name }, vec![lock], RequestKind::Lock);
            }
            Command::Release(name) => {
                self.locks.remove(&name);
                self.enqueue(&Request::Release { name }, Vec::new(), RequestKind::Lock);
            }
            Command::ShutDown(_) => unreachable!("shutting down is dealt with where requests are received"),
        }
    }

    fn accept_spawn(
        &mut self,
        child: ChildId,
        (scope, privileges): (&str, Privileges),
        spec: ChildSpec,
        events: Events,
        shared: &Shared,
    ) {
        let name = spec.argv.first().cloned().unwrap_or_default();
        let request = Request::Spawn(SpawnRequest {
            child: child.0,
            scope: scope.to_owned(),
            privileges,
            argv: spec.argv,
            env: spec.env,
            cwd: spec.cwd,
            stdin: spec.stdin.is_some(),
            wire: spec.wire.is_some(),
        });
        let why = match protocol::encode(&request) {
            Some(bytes) if bytes.len() <= MAX_REQUEST => {
                let fds = [Some(spec.stdout), Some(spec.stderr), spec.stdin, spec.wire];
                let fds = fds.into_iter().flatten().map(Arc::new).collect();
                self.children
                    .insert(child, Child { events, started: false, terminating: false, killed: false });
                self.queue.push_back(QueuedRequest { bytes, fds, kind: RequestKind::Spawn(child) });
                return;
            }
            Some(bytes) => {
                let len = bytes.len();
                format!(
                    "arguments and environment take {len} bytes, more than the {MAX_REQUEST} of one request"
                )
            }
            None => "its working directory is not valid UTF-8".to_owned(),
        };
        shared.pending_spawns.fetch_sub(1, Ordering::Relaxed);
        let error = format!("could not run \"{name}\": {why}");
        notify(&events, child, ChildEvent::SpawnFailed { error, errno: Errno::E2BIG as i32 });
    }

    fn enqueue(&mut self, request: &Request, fds: Vec<Arc<OwnedFd>>, kind: RequestKind) {
        let bytes = protocol::encode(request).expect("this request holds text and numbers only");
        self.queue.push_back(QueuedRequest { bytes, fds, kind });
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(super) fn send_to(&mut self, peer: &GuardianSocket) -> Result<(), SendError> {
        while let Some(next) = self.queue.front() {
            peer.send(&next.bytes, &next.fds)?;
            if let RequestKind::Terminate(child) = next.kind
                && let Some(child_state) = self.children.get_mut(&child)
            {
                child_state.terminating = false;
            }
            self.queue.pop_front();
        }
        Ok(())
    }

    /// Tells a child's listener what the guardian reports.
    pub(super) fn dispatch(&mut self, report: Report, shared: &Shared) {
        let (child, event) = match report {
            Report::Ready => return,
            Report::Log { message } => {
                tracing::warn!("{message}");
                return;
            }
            Report::Spawned { child, pid } => (child, ChildEvent::Spawned { pid }),
            Report::SpawnFailed { child, error, errno } => (child, ChildEvent::SpawnFailed { error, errno }),
            Report::Exited { child, code } => (child, ChildEvent::Exited(Exit::Code(code))),
            Report::Killed { child, signal } => (child, ChildEvent::Exited(Exit::Signal(signal))),
        };
        let child = ChildId(child);
        if let ChildEvent::Spawned { .. } = event {
            if let Some(child_state) = self.children.get_mut(&child) {
                child_state.started = true;
                shared.pending_spawns.fetch_sub(1, Ordering::Relaxed);
                notify(&child_state.events, child, event);
            }
        } else {
            self.finish_child(child, event, shared);
        }
    }

    fn finish_child(&mut self, child: ChildId, event: ChildEvent, shared: &Shared) {
        if let Some(child_state) = self.children.remove(&child) {
            if !child_state.started {
                shared.pending_spawns.fetch_sub(1, Ordering::Relaxed);
            }
            self.dying -= usize::from(child_state.killed);
            notify(&child_state.events, child, event);
        }
    }

    /// The guardian is gone: its children are too. What it was not even asked for is kept for the next one.
    pub(super) fn abandon(&mut self, shared: &Shared) {
        self.queue.retain(|o| matches!(o.kind, RequestKind::Spawn(_)));
        let unsent: Vec<ChildId> = self.unsent_spawns().collect();
        let mut gone: Vec<ChildId> = self.children.keys().copied().filter(|c| !unsent.contains(c)).collect();
        gone.sort_unstable();
        for child in gone {
            self.finish_child(child, ChildEvent::Abandoned, shared);
        }
        // Signals for those that were not started yet are gone with the queue.
        let killed: Vec<ChildId> =
            self.children.iter().filter(|(_, c)| c.killed).map(|(id, _)| *id).collect();
        for child in killed {
            self.enqueue(&Request::Kill { child: child.0 }, Vec::new(), RequestKind::Kill(child));
        }
        self.children.values_mut().for_each(|c| c.terminating = false);
    }

    fn unsent_spawns(&self) -> impl Iterator<Item = ChildId> {
        self.queue
            .iter()
            .filter_map(|o| if let RequestKind::Spawn(child) = o.kind { Some(child) } else { None })
    }

    /// Queues every lock for a new guardian, before anything else.
    pub(super) fn requeue_locks(&mut self) {
        self.queue.retain(|o| o.kind != RequestKind::Lock);
        let locks: Vec<(String, Arc<OwnedFd>)> =
            self.locks.iter().map(|(name, lock)| (name.clone(), Arc::clone(lock))).collect();
        for (name, lock) in locks {
            self.enqueue(&Request::Hold { name }, vec![lock], RequestKind::Lock);
            // A lock is held before anything starts under it.
            self.queue.rotate_right(1);
        }
    }

    /// There is no guardian to send spawns to.
    pub(super) fn fail_unsent_spawns(&mut self, shared: &Shared, error: &io::Error) {
        let unsent: Vec<ChildId> = self.unsent_spawns().collect();
        self.queue.clear();
        let errno = error.raw_os_error().unwrap_or(Errno::EAGAIN as i32);
        for child in unsent {
            self.finish_child(child, ChildEvent::SpawnFailed { error: error.to_string(), errno }, shared);
        }
    }

    /// Whether something waits for the socket.
    pub(super) fn has_unsent(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The last act, when there is no guardian any more: whoever still waits gets a last word.
    pub(super) fn close(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>, shared: &Shared) {
        commands.close();
        self.abandon(shared);
        while let Ok(command) = commands.try_recv() {
            match command {
                Command::ShutDown(done) => drop(done.send(())),
                command => self.accept(command, shared),
            }
        }
        self.fail_unsent_spawns(shared, &io::Error::from_raw_os_error(Errno::ESHUTDOWN as i32));
    }
}

fn notify(events: &Events, child: ChildId, event: ChildEvent) {
    // Nobody listening means nobody cares.
    let _ = events.send((child, event));
}
