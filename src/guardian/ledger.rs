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

use super::confine::Confine;
use super::frame::{self, MAX_REQUEST, Report, Request, SpawnFrame};
use super::handle::{Ask, ChildEvent, ChildId, Events, Exit, Shared, Spawn};
use super::peer::{Peer, Unsent};

/// What outlives a guardian.
#[derive(Default)]
pub(super) struct Ledger {
    outgoing: VecDeque<Outgoing>,
    children: HashMap<ChildId, Child>,
    locks: BTreeMap<String, Arc<OwnedFd>>,
    /// Children that were to be killed and have not ended yet.
    pub(super) dying: usize,
}

struct Outgoing {
    bytes: Vec<u8>,
    fds: Vec<Arc<OwnedFd>>,
    about: About,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
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

impl Ledger {
    /// Notes what a handle asks, and queues the request.
    pub(super) fn take(&mut self, ask: Ask, shared: &Shared) {
        match ask {
            Ask::Spawn { child, scope, confine, what, events } => {
                let confine = confine.map(Arc::unwrap_or_clone).unwrap_or_default();
                self.take_spawn(child, (&scope, confine), *what, events, shared);
            }
            Ask::Terminate(child) => match self.children.get_mut(&child) {
                Some(known) if !known.terminating && !known.killed => {
                    known.terminating = true;
                    self.ask_for(&Request::Terminate { child: child.0 }, Vec::new(), About::Terminate(child));
                }
                _ => {}
            },
            Ask::Kill(child) => match self.children.get_mut(&child) {
                Some(known) if !known.killed => {
                    known.killed = true;
                    self.dying += 1;
                    self.ask_for(&Request::Kill { child: child.0 }, Vec::new(), About::Kill(child));
                }
                _ => {}
            },
            Ask::Hold(name, lock) => {
                let lock = Arc::new(lock);
                self.locks.insert(name.clone(), Arc::clone(&lock));
                self.ask_for(&Request::Hold { name }, vec![lock], About::Lock);
            }
            Ask::Release(name) => {
                self.locks.remove(&name);
                self.ask_for(&Request::Release { name }, Vec::new(), About::Lock);
            }
            Ask::ShutDown(_) => unreachable!("shutting down is dealt with where requests are received"),
        }
    }

    fn take_spawn(
        &mut self,
        child: ChildId,
        (scope, confine): (&str, Confine),
        what: Spawn,
        events: Events,
        shared: &Shared,
    ) {
        let name = what.argv.first().cloned().unwrap_or_default();
        let request = Request::Spawn(SpawnFrame {
            child: child.0,
            scope: scope.to_owned(),
            confine,
            argv: what.argv,
            env: what.env,
            cwd: what.cwd,
            stdin: what.stdin.is_some(),
            wire: what.wire.is_some(),
        });
        let why = match frame::encode(&request) {
            Some(bytes) if bytes.len() <= MAX_REQUEST => {
                let fds = [Some(what.stdout), Some(what.stderr), what.stdin, what.wire];
                let fds = fds.into_iter().flatten().map(Arc::new).collect();
                self.children
                    .insert(child, Child { events, started: false, terminating: false, killed: false });
                self.outgoing.push_back(Outgoing { bytes, fds, about: About::Spawn(child) });
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
        shared.waiting.fetch_sub(1, Ordering::Relaxed);
        let error = format!("could not run \"{name}\": {why}");
        tell(&events, child, ChildEvent::SpawnFailed { error, errno: Errno::E2BIG as i32 });
    }

    fn ask_for(&mut self, request: &Request, fds: Vec<Arc<OwnedFd>>, about: About) {
        let bytes = frame::encode(request).expect("this request holds text and numbers only");
        self.outgoing.push_back(Outgoing { bytes, fds, about });
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(super) fn send_to(&mut self, peer: &Peer) -> Result<(), Unsent> {
        while let Some(next) = self.outgoing.front() {
            peer.send(&next.bytes, &next.fds)?;
            if let About::Terminate(child) = next.about
                && let Some(known) = self.children.get_mut(&child)
            {
                known.terminating = false;
            }
            self.outgoing.pop_front();
        }
        Ok(())
    }

    /// Tells a child's listener what the guardian reports.
    pub(super) fn pass_on(&mut self, report: Report, shared: &Shared) {
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
            if let Some(known) = self.children.get_mut(&child) {
                known.started = true;
                shared.waiting.fetch_sub(1, Ordering::Relaxed);
                tell(&known.events, child, event);
            }
        } else {
            self.last_word(child, event, shared);
        }
    }

    fn last_word(&mut self, child: ChildId, event: ChildEvent, shared: &Shared) {
        if let Some(known) = self.children.remove(&child) {
            if !known.started {
                shared.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            self.dying -= usize::from(known.killed);
            tell(&known.events, child, event);
        }
    }

    /// The guardian is gone: its children are too. What it was not even asked for is kept for the next one.
    pub(super) fn abandon(&mut self, shared: &Shared) {
        self.outgoing.retain(|o| matches!(o.about, About::Spawn(_)));
        let unsent: Vec<ChildId> = self.unsent_spawns().collect();
        let mut gone: Vec<ChildId> = self.children.keys().copied().filter(|c| !unsent.contains(c)).collect();
        gone.sort_unstable();
        for child in gone {
            self.last_word(child, ChildEvent::Abandoned, shared);
        }
        // Signals for those that were not started yet are gone with the queue.
        let killed: Vec<ChildId> =
            self.children.iter().filter(|(_, c)| c.killed).map(|(id, _)| *id).collect();
        for child in killed {
            self.ask_for(&Request::Kill { child: child.0 }, Vec::new(), About::Kill(child));
        }
        self.children.values_mut().for_each(|c| c.terminating = false);
    }

    fn unsent_spawns(&self) -> impl Iterator<Item = ChildId> {
        self.outgoing
            .iter()
            .filter_map(|o| if let About::Spawn(child) = o.about { Some(child) } else { None })
    }

    /// Queues every lock for a new guardian, before anything else.
    pub(super) fn hold_again(&mut self) {
        self.outgoing.retain(|o| o.about != About::Lock);
        let locks: Vec<(String, Arc<OwnedFd>)> =
            self.locks.iter().map(|(name, lock)| (name.clone(), Arc::clone(lock))).collect();
        for (name, lock) in locks {
            self.ask_for(&Request::Hold { name }, vec![lock], About::Lock);
            // A lock is held before anything starts under it.
            self.outgoing.rotate_right(1);
        }
    }

    /// There is no guardian to send spawns to.
    pub(super) fn refuse_spawns(&mut self, shared: &Shared, error: &io::Error) {
        let unsent: Vec<ChildId> = self.unsent_spawns().collect();
        self.outgoing.clear();
        let errno = error.raw_os_error().unwrap_or(Errno::EAGAIN as i32);
        for child in unsent {
            self.last_word(child, ChildEvent::SpawnFailed { error: error.to_string(), errno }, shared);
        }
    }

    /// Whether something waits for the socket.
    pub(super) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The last act, when there is no guardian any more: whoever still waits gets a last word.
    pub(super) fn close(&mut self, asks: &mut mpsc::UnboundedReceiver<Ask>, shared: &Shared) {
        asks.close();
        self.abandon(shared);
        while let Ok(ask) = asks.try_recv() {
            match ask {
                Ask::ShutDown(done) => drop(done.send(())),
                ask => self.take(ask, shared),
            }
        }
        self.refuse_spawns(shared, &io::Error::from_raw_os_error(Errno::ESHUTDOWN as i32));
    }
}

fn tell(events: &Events, child: ChildId, event: ChildEvent) {
    // Nobody listening means nobody cares.
    let _ = events.send((child, event));
}
