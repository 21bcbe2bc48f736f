//! The task between handles and the guardian: requests out, reports in, and a new guardian when one dies.
//!
//! - Sends requests in order and never waits to send: what the socket does not take stays in a queue that is
//!   bounded by the children there are.
//! - Knows every child and whom to tell; each gets exactly one last word.
//! - Keeps a copy of every lock, so that a new guardian gets them.
//! - When the guardian dies: kills and reaps what it left behind, tells `Abandoned`, starts another, and sends
//!   what had not been sent yet.
//!
//! It ends when it is told to shut down, or with the [`super::Guardian`] that owns it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::adopted;
use super::frame::{self, MAX_REQUEST, Report, Request, SpawnFrame};
use super::handle::{Ask, ChildEvent, ChildId, Events, Exit, Shared, Spawn};
use super::peer::{Peer, Unsent};

/// Reports taken in one go, so that requests are not kept waiting.
const MOST_REPORTS: usize = 64;
/// How long what a dead guardian left behind is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);
/// How long to wait when the system has no room for a request and does not say when it has.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(5);
/// A guardian that has lived this long died of something new, and is replaced at once.
const GOOD_LIFE: Duration = Duration::from_secs(10);
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a request may stay unanswered before the guardian is woken, in case somebody has stopped it.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Link {
    pub(super) program: PathBuf,
    pub(super) cookie_base: String,
    pub(super) asks: mpsc::UnboundedReceiver<Ask>,
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    pub(super) child_ended: Signal,
    pub(super) state: State,
}

/// What outlives a guardian.
#[derive(Default)]
pub(super) struct State {
    outgoing: VecDeque<Outgoing>,
    children: HashMap<ChildId, Child>,
    locks: BTreeMap<String, Arc<OwnedFd>>,
    /// Children that were to be killed and have not ended yet.
    dying: usize,
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

/// Why the talk with a guardian is over.
enum End {
    Died,
    ShutDown(oneshot::Sender<()>),
    NobodyLeft,
}

impl Link {
    /// Talks to guardians until there shall be none any more.
    pub(super) async fn run(mut self) {
        let mut pause = Duration::ZERO;
        loop {
            let begun = Instant::now();
            let done = match self.talk().await {
                End::ShutDown(done) => Some(done),
                End::NobodyLeft => None,
                End::Died => {
                    pause = if begun.elapsed() >= GOOD_LIFE { Duration::ZERO } else { longer(pause) };
                    match self.replace(pause).await {
                        Some(link) => {
                            self = link;
                            continue;
                        }
                        None => return,
                    }
                }
            };
            self.finish().await;
            if let Some(done) = done {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            return;
        }
    }

    async fn talk(&mut self) -> End {
        let mut no_room_until = None;
        loop {
            let mut interest = Interest::READABLE;
            if !self.state.outgoing.is_empty() && no_room_until.is_none() {
                interest |= Interest::WRITABLE;
            }
            let unanswered = self.state.dying > 0 || self.shared.waiting.load(Ordering::Relaxed) > 0;
            let mut readable = false;
            tokio::select! {
                ask = self.asks.recv() => {
                    let mut ask = ask;
                    // Everything that is asked at this moment goes out together.
                    loop {
                        match ask {
                            Some(Ask::ShutDown(done)) => return End::ShutDown(done),
                            Some(ask) => self.state.take(ask, &self.shared),
                            None => return End::NobodyLeft,
                        }
                        match self.asks.try_recv() {
                            Ok(next) => ask = Some(next),
                            Err(_) => break,
                        }
                    }
                }
                ready = self.peer.ready(interest) => match ready {
                    Ok(()) => readable = true,
                    Err(_) => return End::Died,
                },
                _ = self.child_ended.recv() => adopted::reap_orphans(),
                () = until(no_room_until) => no_room_until = None,
                () = sleep(PATIENCE), if unanswered => self.peer.wake(),
            }
            if readable && self.read_reports().is_err() {
                return End::Died;
            }
            if no_room_until.is_none() {
                match self.state.send_to(&self.peer) {
                    Ok(()) | Err(Unsent::Full) => {}
                    Err(Unsent::NoRoom) => no_room_until = Some(Instant::now() + NO_ROOM_PAUSE),
                    // Its last reports are still to be read; the end of the socket says when it is over.
                    Err(Unsent::Gone) => no_room_until = Some(Instant::now() + LONGEST_WAIT),
                }
            }
        }
    }

    /// Passes reports on. An error means that there will be no more.
    fn read_reports(&mut self) -> io::Result<()> {
        for _ in 0..MOST_REPORTS {
            match self.peer.receive() {
                Ok(Some(report)) => self.state.pass_on(report, &self.shared),
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => {
                    tracing::error!(error = %e, "the guardian cannot be understood");
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Cleans up after a guardian that died and starts another. `None` when told to shut down meanwhile.
    async fn replace(mut self, pause: Duration) -> Option<Self> {
        self.shared.deaths.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            pid = self.peer.pid(),
            "the guardian died; what it had started is killed, and another begins"
        );
        self.peer.kill_and_reap().await;
        kill_left_behind().await;
        self.state.abandon(&self.shared);
        let mut pause = pause;
        loop {
            let begin = Instant::now() + pause;
            // Meanwhile requests are taken, so that they cannot pile up.
            loop {
                tokio::select! {
                    () = sleep_until(begin) => break,
                    ask = self.asks.recv() => match ask {
                        Some(Ask::ShutDown(done)) => {
                            self.state.refuse_all(&mut self.asks, &self.shared);
                            let _ = done.send(());
                            return None;
                        }
                        Some(ask) => self.state.take(ask, &self.shared),
                        None => return None,
                    },
                    _ = self.child_ended.recv() => adopted::reap_orphans(),
                }
            }
            match Peer::start(&self.program, &self.cookie_base).await {
                Ok(peer) => {
                    self.state.hold_again();
                    return Some(Self { peer, ..self });
                }
                Err(error) => {
                    tracing::error!(%error, "no worker can be started until there is a guardian");
                    self.state.refuse_spawns(&self.shared, &error);
                    pause = longer(pause);
                }
            }
        }
    }

    /// Lets the guardian end, passing on its last reports.
    async fn finish(mut self) {
        self.peer.close();
        loop {
            tokio::select! {
                ready = self.peer.ready(Interest::READABLE) => {
                    if ready.is_err() || self.read_reports().is_err() {
                        break;
                    }
                }
                () = sleep(PATIENCE) => self.peer.wake(),
            }
        }
        self.peer.reap().await;
        kill_left_behind().await;
        self.state.outgoing.clear();
        self.state.abandon(&self.shared);
        self.state.refuse_all(&mut self.asks, &self.shared);
    }
}

impl State {
    fn take(&mut self, ask: Ask, shared: &Shared) {
        match ask {
            Ask::Spawn { child, scope, what, events } => {
                self.take_spawn(child, &scope, *what, events, shared)
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

    fn take_spawn(&mut self, child: ChildId, scope: &str, what: Spawn, events: Events, shared: &Shared) {
        let name = what.argv.first().cloned().unwrap_or_default();
        let request = Request::Spawn(SpawnFrame {
            child: child.0,
            scope: scope.to_owned(),
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

    fn send_to(&mut self, peer: &Peer) -> Result<(), Unsent> {
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

    fn pass_on(&mut self, report: Report, shared: &Shared) {
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
    fn abandon(&mut self, shared: &Shared) {
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

    fn hold_again(&mut self) {
        self.outgoing.retain(|o| o.about != About::Lock);
        let locks: Vec<(String, Arc<OwnedFd>)> =
            self.locks.iter().map(|(name, lock)| (name.clone(), Arc::clone(lock))).collect();
        for (name, lock) in locks {
            self.ask_for(&Request::Hold { name }, vec![lock], About::Lock);
            // A lock is held before anything starts under it.
            self.outgoing.rotate_right(1);
        }
    }

    fn refuse_spawns(&mut self, shared: &Shared, error: &io::Error) {
        let unsent: Vec<ChildId> = self.unsent_spawns().collect();
        self.outgoing.clear();
        let errno = error.raw_os_error().unwrap_or(Errno::EAGAIN as i32);
        for child in unsent {
            self.last_word(child, ChildEvent::SpawnFailed { error: error.to_string(), errno }, shared);
        }
    }

    /// The last act: whoever has asked in vain is told so.
    fn refuse_all(&mut self, asks: &mut mpsc::UnboundedReceiver<Ask>, shared: &Shared) {
        asks.close();
        let error = io::Error::from_raw_os_error(Errno::ESHUTDOWN as i32);
        while let Ok(ask) = asks.try_recv() {
            match ask {
                Ask::ShutDown(done) => drop(done.send(())),
                ask => self.take(ask, shared),
            }
        }
        self.refuse_spawns(shared, &error);
    }
}

/// What a dead guardian left behind is ours now: a tree comes level by level, as its roots are reaped.
async fn kill_left_behind() {
    let begun = Instant::now();
    loop {
        let left = adopted::kill_left_behind();
        if left.is_empty() {
            return;
        }
        if begun.elapsed() >= LONGEST_WAIT {
            tracing::warn!(pids = ?left, "processes left by a dead guardian were killed and have not died yet");
            return;
        }
        sleep(TICK).await;
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(RESTART_PAUSE.0, RESTART_PAUSE.1)
}

fn tell(events: &Events, child: ChildId, event: ChildEvent) {
    // Nobody listening means nobody cares.
    let _ = events.send((child, event));
}
