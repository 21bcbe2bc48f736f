//! Reload: another generation of workers takes over.
//!
//! ```text
//! Pending ── room for one more ──► Trial ── its hello ──► Turnover ── the last old one is gone ──► over
//!                                    └── a boot fails ──► back to the old generation ◄──┘
//! ```
//! The first worker of the new generation serves nobody before it has said hello; until then nothing else has changed.
//! From then on every boot is one of the new generation, and the old ones go as in recycling: each takes runs until its
//! replacement is ready, then no more, and is interrupted when what it runs outlasts the stop wait. A boot of the new
//! generation that fails before the end turns the pool back.
//!
//! A program that is started once per job has no generations to hand over: the next job is run by the new settings.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::respawn::Respawn;
use super::worker::{Phase, Role, Worker};
use super::{Pool, Program, Spec, recycle, surge};
use crate::guardian::Handle;
use crate::guardian::handle::ChildId;
use crate::job::{Next, Outcome};

/// How soon a job that only the new generation knows is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the workers of a generation are made from.
#[derive(Debug)]
pub struct Renewal {
    /// What to start and how to treat it.
    pub spec: Spec,
    /// Who starts it, as what.
    pub guardian: Handle,
}

/// How a reload ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The generation that serves now.
    pub generation: u64,
    /// Each worker that went, with one that came; one side is absent where there are more of the other.
    pub workers: Vec<Turnover>,
    /// Jobs that took longer than the stop wait and were handed back, uncounted.
    pub handed_back: usize,
}

/// A worker that went and one that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turnover {
    /// The old one.
    pub old: Option<Member>,
    /// The new one.
    pub new: Option<Member>,
}

/// A worker by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its process id.
    pub pid: i32,
    /// Its generation.
    pub generation: u64,
}

/// How far a reload is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloading {
    /// The generation that takes over.
    pub generation: u64,
    /// Whether the first of it is ready.
    pub proved: bool,
    /// Workers of the generation before that are still there.
    pub old: usize,
}

/// A reload under way.
#[derive(Debug)]
pub(super) struct Reload {
    /// What the pool does not start workers from: the next generation before the turnover, the one before afterwards.
    other: Kit,
    stage: Stage,
    /// Who served when the turnover began.
    old: Vec<Member>,
    handed_back: usize,
}

/// A generation.
#[derive(Debug)]
struct Kit {
    generation: u64,
    renewal: Renewal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Pending,
    Trial(ChildId),
    Turnover,
}

impl Pool {
    /// Lets workers made from this take over; [`Pool::take_reloaded`] tells the end. One reload at a time.
    pub fn reload(&mut self, renewal: Renewal) {
        self.newest += 1;
        let generation = self.newest;
        if self.closing {
            self.reloaded = Some(Err("the channel is stopping".to_owned()));
            return;
        }
        info!(channel = %self.spec.channel, generation, "reloading");
        let other = Kit { generation, renewal };
        self.reload = Some(Reload { other, stage: Stage::Pending, old: Vec::new(), handed_back: 0 });
        if matches!(self.spec.program, Program::Exec(_)) {
            self.turn_over();
        }
        self.tend();
    }

    /// How the reload ended, once it has.
    pub fn take_reloaded(&mut self) -> Option<Result<Renewed, String>> {
        self.reloaded.take()
    }

    /// The channel stops: the reload is of no use any more.
    pub(super) fn give_up_reload(&mut self) {
        if self.reload.take().is_some() {
            self.reloaded = Some(Err("the channel is stopping".to_owned()));
        }
    }

    /// How far the reload is.
    pub(super) fn reloading(&self) -> Option<Reloading> {
        let reload = self.reload.as_ref()?;
        let proved = reload.stage == Stage::Turnover;
        let (new, old) = if proved {
            (self.generation, reload.other.generation)
        } else {
            (reload.other.generation, self.generation)
        };
        let old = self.workers.values().filter(|w| w.role == Role::Plan && w.generation == old).count();
        Some(Reloading { generation: new, proved, old })
    }

    /// Takes the reload a step further.
    pub(super) fn tend_reload(&mut self) {
        let Some(stage) = self.reload.as_ref().map(|reload| reload.stage) else { return };
        match stage {
            Stage::Pending => self.begin_trial(),
            // It went with the guardian, or with the lease: nothing is known of the program.
            Stage::Trial(child) if !self.workers.contains_key(&child) => {
                self.set_stage(Stage::Pending);
                self.begin_trial();
            }
            Stage::Trial(_) => {}
            Stage::Turnover => self.end_turnover(),
        }
    }

    /// Boots the first of the new generation, as soon as there is room for one more.
    fn begin_trial(&mut self) {
        let plan = self.spec.plan;
        let counted = |w: &&Worker| w.role != Role::Isolated && w.phase != Phase::Retiring;
        if self.workers.values().filter(counted).count() >= plan.max + surge(&plan) {
            self.make_room();
            return;
        }
        self.exchange();
        let child = self.launch_wire(Role::Trial, format!("first of generation {}", self.generation));
        self.exchange();
        self.set_stage(Stage::Trial(child));
    }

    /// A spare worker goes for the trial, unless one is on its way out anyway.
    fn make_room(&mut self) {
        let life = self.spec.plan.jobs_per_life;
        if self.workers.values().any(|w| matches!(w.phase, Phase::Leaving | Phase::Dying)) {
            return;
        }
        let ready = |w: &&Worker| w.role == Role::Plan && w.phase == Phase::Ready && w.is_lasting(life);
        let lasting = self.workers.values().filter(ready).count();
        let idle = self.workers.values().rev().find(|w| ready(w) && w.aboard.is_empty()).map(|w| w.child);
        if let Some(child) = idle.filter(|_| lasting > self.scaler.target()) {
            self.dismiss(child);
        }
    }

    /// A worker has said hello: when it was the one on trial, its generation takes over.
    pub(super) fn on_trial_hello(&mut self, child: ChildId) {
        if self.reload.as_ref().is_some_and(|reload| reload.stage == Stage::Trial(child)) {
            if let Some(worker) = self.workers.get_mut(&child) {
                worker.role = Role::Plan;
            }
            self.turn_over();
        }
    }

    /// Most slots that a worker may offer.
    pub(super) fn slots_of(&self, child: ChildId) -> usize {
        match self.workers.get(&child).map(|w| w.role) {
            Some(Role::Isolated) => 1,
            Some(Role::Trial) => {
                self.reload.as_ref().map_or(1, |reload| reload.other.renewal.spec.plan.slots)
            }
            _ => self.spec.plan.slots,
        }
    }

    /// The new generation serves from now on, and the old one is replaced.
    fn turn_over(&mut self) {
        self.exchange();
        self.set_stage(Stage::Turnover);
        // What kept the old program from starting says nothing about the new one.
        self.respawn = Respawn::default();
        let generation = self.generation;
        let serves = |w: &&Worker| w.role == Role::Plan && matches!(w.phase, Phase::Ready | Phase::Draining);
        let old =
            self.workers.values().filter(|w| serves(w) && w.generation != generation).filter_map(member);
        let old = old.collect();
        if let Some(reload) = &mut self.reload {
            reload.old = old;
        }
        self.replace_others(recycle::Why::Reload);
        self.end_turnover();
    }

    /// Every planned worker of another generation is to be replaced, and those of this one are not.
    fn replace_others(&mut self, why: recycle::Why) {
        let generation = self.generation;
        let (plan, scaling) = (self.spec.plan, self.spec.scaling);
        self.scaler.renew(&plan, scaling);
        self.rescale();
        if matches!(self.spec.program, Program::Exec(_)) {
            return;
        }
        for child in self.workers.keys().copied().collect::<Vec<_>>() {
            let Some(worker) = self.workers.get_mut(&child).filter(|w| w.role == Role::Plan) else {
                continue;
            };
            let ours = worker.generation == generation;
            match worker.phase {
                Phase::Booting if !ours => self.dismiss(child),
                Phase::Ready if ours => worker.outgoing = worker.outgoing.filter(|why| !why.is_reload()),
                Phase::Ready => (worker.outgoing, worker.replaced) = (Some(why), false),
                // One that finishes its last jobs has no longer for it than those that follow.
                Phase::Draining if !ours => self.set_worker_timer(child, self.spec.stop_wait),
                _ => {}
            }
        }
    }

    fn end_turnover(&mut self) {
        let planned = || self.workers.values().filter(|w| w.role == Role::Plan);
        let wire = matches!(self.spec.program, Program::Wire(_));
        let old_left =
            wire && planned().any(|w| w.generation != self.generation && w.phase != Phase::Retiring);
        if old_left {
            return;
        }
        let Some(reload) = self.reload.take() else { return };
        let ready = |w: &&Worker| w.phase == Phase::Ready && w.generation == self.generation;
        let new: Vec<_> = planned().filter(ready).filter_map(member).collect();
        let rows = if wire { reload.old.len().max(new.len()) } else { 0 };
        let workers =
            (0..rows).map(|row| Turnover { old: reload.old.get(row).copied(), new: new.get(row).copied() });
        let renewed = Renewed {
            generation: self.generation,
            workers: workers.collect(),
            handed_back: reload.handed_back,
        };
        self.reloaded = Some(Ok(renewed));
    }

    /// A boot has failed: of a new generation, that ends the reload; of the one in force, it delays the next.
    pub(super) fn boot_failed(&mut self, generation: u64, why: &str) {
        let stage = self.reload.as_ref().map(|reload| (reload.stage, reload.other.generation));
        match stage {
            Some((Stage::Trial(_), next)) if generation == next => {}
            Some((Stage::Turnover, _)) if generation == self.generation => {
                self.exchange();
                self.replace_others(recycle::Why::TurnedBack);
            }
            _ => {
                self.respawn.failed(Instant::now(), why);
                info!(channel = %self.spec.channel, "the next start of a worker waits {:?}", self.respawn.delay());
                return;
            }
        }
        self.reload = None;
        warn!(
            channel = %self.spec.channel, generation = self.generation, why,
            "the reload failed; the workers there were before go on"
        );
        self.reloaded = Some(Err(why.to_owned()));
    }

    /// An old worker has outlasted the stop wait with what it runs.
    pub(super) fn outlasted(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get(&child) else { return };
        let (pid, running) = (worker.pid, worker.aboard.len());
        warn!(channel = %self.spec.channel, pid, running, "a worker that is replaced by a reload still runs jobs after the stop wait: interrupting them");
        if let Some(reload) = &mut self.reload {
            reload.handed_back += running;
        }
        self.interrupt_worker(child);
    }

    /// What an answer of a worker means while another generation takes over.
    pub(super) fn in_this_generation(&self, child: ChildId, outcome: Outcome) -> Outcome {
        let is_old = self.workers.get(&child).is_some_and(|w| w.generation != self.generation);
        match outcome {
            // The new generation may well know it.
            Outcome::Failed { next: Next::UnknownJob, .. } if is_old => Outcome::Released { after: RETRY },
            other => other,
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(reload) = &mut self.reload {
            reload.stage = stage;
        }
    }

    /// Swaps the generation in force with the other one.
    fn exchange(&mut self) {
        if let Some(Reload { other, .. }) = &mut self.reload {
            std::mem::swap(&mut self.spec, &mut other.renewal.spec);
            std::mem::swap(&mut self.guardian, &mut other.renewal.guardian);
            std::mem::swap(&mut self.generation, &mut other.generation);
        }
    }
}

fn member(worker: &Worker) -> Option<Member> {
    Some(Member { pid: worker.pid?, generation: worker.generation })
}
