//! The master's state that survives a guardian: known children, held locks, and the queue of unsent requests.
//!
//! The queue is bounded by the number of children: each has at most one spawn, one SIGTERM and one kill in it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::mpsc;

use super::guardian_socket::{GuardianSocket, SendError};
use super::handle::{ChildEvent, ChildId, ChildSpec, Command, Events, Shared};
use super::privileges::Privileges;
use super::protocol::{self, MAX_REQUEST, Report, Request, SpawnRequest};

/// State that survives a guardian. See the module.
#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<QueuedRequest>,
    children: HashMap<ChildId, Child>,
    locks: BTreeMap<String, Arc<OwnedFd>>,
    /// Number of children with a kill request that have not ended yet.
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
    Beat,
}

struct Child {
    events: Events,
    started: bool,
    /// Whether a SIGTERM is in the queue.
    terminating: bool,
    /// Whether a kill was requested; it is sent once.
    killed: bool,
}

impl Outbox {
    /// Records a command and queues its request.
    pub(super) fn accept(&mut self, command: Command, shared: &Shared) {
        match command {
            Command::Spawn { child, scope, privileges, spec, events } => {
                let privileges = privileges.map(Arc::unwrap_or_clone).unwrap_or_default();
                self.accept_spawn(child, (&scope, privileges), *spec, events, shared);
            }
            Command::Terminate(child) => {
                if let Some(child_state) = self.children.get_mut(&child)
                    && !child_state.terminating
                    && !child_state.killed
                {
                    child_state.terminating = true;
                    self.enqueue(&Request::Terminate { child }, Vec::new(), RequestKind::Terminate(child));
                }
            }
            Command::Kill(child) => {
                if let Some(child_state) = self.children.get_mut(&child)
                    && !child_state.killed
                {
                    child_state.killed = true;
                    self.dying += 1;
                    self.enqueue(&Request::Kill { child }, Vec::new(), RequestKind::Kill(child));
                }
            }
            Command::Hold(name, lock) => {
                self.locks.insert(name.clone(), Arc::clone(&lock));
                self.enqueue(&Request::Hold { name }, vec![lock], RequestKind::Lock);
            }
            Command::Release(name) => {
                self.locks.remove(&name);
                self.enqueue(&Request::Release { name }, Vec::new(), RequestKind::Lock);
            }
            // The client looks at the number of runs itself.
            Command::RunBegan => {}
            Command::ShutDown(_) => unreachable!("the client handles shutdown where it receives commands"),
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
        let request = Request::Spawn(Box::new(SpawnRequest {
            child,
            scope: scope.to_owned(),
            privileges,
            argv: spec.argv,
            env: spec.env,
            cwd: spec.cwd,
            stdin: spec.stdin.is_some(),
            wire: spec.wire.is_some(),
        }));
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
                format!("arguments and environment have {len} bytes, more than the limit of {MAX_REQUEST}")
            }
            None => "its working directory is not valid UTF-8".to_owned(),
        };
        shared.pending_spawns.fetch_sub(1, Ordering::Relaxed);
        let error = format!("could not run \"{name}\": {why}");
        notify(&events, child, ChildEvent::SpawnFailed { error, errno: Errno::E2BIG as i32 });
    }

    fn enqueue(&mut self, request: &Request, fds: Vec<Arc<OwnedFd>>, kind: RequestKind) {
        let bytes =
            protocol::encode(request).expect("a request without paths contains only text and numbers");
        self.queue.push_back(QueuedRequest { bytes, fds, kind });
    }

    /// Queues a beat. Only the newest counts, so that a guardian that does not read makes no queue grow.
    pub(super) fn beat(&mut self, silence_limit: Option<Duration>) {
        self.queue.retain(|request| request.kind != RequestKind::Beat);
        self.enqueue(&Request::Beat { silence_limit }, Vec::new(), RequestKind::Beat);
    }

    /// Sends queued requests until the socket accepts no more.
    pub(super) fn send_to(&mut self, socket: &GuardianSocket) -> Result<(), SendError> {
        while let Some(next) = self.queue.front() {
            socket.send(&next.bytes, &next.fds)?;
            if let RequestKind::Terminate(child) = next.kind
                && let Some(child_state) = self.children.get_mut(&child)
            {
                child_state.terminating = false;
            }
            self.queue.pop_front();
        }
        Ok(())
    }

    /// Turns a report into an event of its child, or into a log line.
    pub(super) fn dispatch(&mut self, report: Report, shared: &Shared) {
        match report {
            Report::Ready => {}
            Report::Log { message } => tracing::warn!("{message}"),
            Report::Child { child, event: event @ ChildEvent::Spawned { .. } } => {
                if let Some(child_state) = self.children.get_mut(&child) {
                    child_state.started = true;
                    shared.pending_spawns.fetch_sub(1, Ordering::Relaxed);
                    notify(&child_state.events, child, event);
                }
            }
            Report::Child { child, event } => self.finish_child(child, event, shared),
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

    /// Reports every child of a dead guardian as abandoned. Spawn requests that were never sent stay queued for the
    /// next guardian.
    pub(super) fn abandon(&mut self, shared: &Shared) {
        self.queue.retain(|o| matches!(o.kind, RequestKind::Spawn(_)));
        let unsent: Vec<ChildId> = self.unsent_spawns().collect();
        let mut gone: Vec<ChildId> = self.children.keys().copied().filter(|c| !unsent.contains(c)).collect();
        gone.sort_unstable();
        for child in gone {
            self.finish_child(child, ChildEvent::Abandoned, shared);
        }
        // Kill requests of children that are not started yet were dropped with the queue: queue them again.
        let killed: Vec<ChildId> =
            self.children.iter().filter(|(_, c)| c.killed).map(|(id, _)| *id).collect();
        for child in killed {
            self.enqueue(&Request::Kill { child }, Vec::new(), RequestKind::Kill(child));
        }
        self.children.values_mut().for_each(|c| c.terminating = false);
    }

    fn unsent_spawns(&self) -> impl Iterator<Item = ChildId> {
        self.queue
            .iter()
            .filter_map(|o| if let RequestKind::Spawn(child) = o.kind { Some(child) } else { None })
    }

    /// Removes the queued requests about locks: a new guardian gets those that are held then.
    pub(super) fn drop_lock_requests(&mut self) {
        self.queue.retain(|o| o.kind != RequestKind::Lock);
    }

    /// Queues every held lock for a new guardian, ahead of all other requests.
    pub(super) fn requeue_locks(&mut self) {
        self.drop_lock_requests();
        let locks: Vec<(String, Arc<OwnedFd>)> =
            self.locks.iter().map(|(name, lock)| (name.clone(), Arc::clone(lock))).collect();
        for (name, lock) in locks {
            self.enqueue(&Request::Hold { name }, vec![lock], RequestKind::Lock);
            // The guardian must hold a lock before it starts children that belong to it.
            self.queue.rotate_right(1);
        }
    }

    /// Fails every queued spawn request, because no guardian could be started.
    pub(super) fn fail_unsent_spawns(&mut self, shared: &Shared, error: &io::Error) {
        let unsent: Vec<ChildId> = self.unsent_spawns().collect();
        self.queue.clear();
        let errno = error.raw_os_error().unwrap_or(Errno::EAGAIN as i32);
        for child in unsent {
            self.finish_child(child, ChildEvent::SpawnFailed { error: error.to_string(), errno }, shared);
        }
    }

    /// Whether children are requested or running.
    pub(super) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// Whether requests are queued.
    pub(super) fn has_unsent(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Sends a final event to every remaining child and every queued command, after the last guardian has ended.
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
    // A dropped receiver means that the caller no longer needs the event.
    let _ = events.send((child, event));
}
