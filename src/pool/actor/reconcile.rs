//! The comparison of the workers with the plan: which are replaced, which stop, and the boot of missing ones.
//!
//! A replacement is ready before its predecessor takes no more runs, and no worker with a run is asked to stop, unless a
//! reload gives it a deadline.

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Pool;
use crate::pool::recycling::{self, RecycleReason};
use crate::pool::workers::program_files::ProgramFiles;
use crate::pool::workers::worker::Worker;

impl Pool {
    /// Brings the workers in line with the plan.
    pub(super) fn reconcile(&mut self, now: Instant) {
        if self.is_closing {
            return;
        }
        for child in self.workers.ids_where(|worker| worker.origin.role.is_beside_plan() && worker.is_idle())
        {
            self.stop_worker(child, now);
        }
        self.report_degraded(now);
        self.report_room(now);
        if self.generations.spec().is_exec() {
            return;
        }
        self.advance_rollout(now);
        self.stop_outdated(now);
        self.mark_for_replacement(now);
        self.stop_surplus(now);
        self.boot_missing(now);
        self.sizer.plan_review(now);
    }

    /// Logs when boots begin to fail again and again, and when they recover.
    fn report_degraded(&mut self, now: Instant) {
        let is_degraded = self.is_degraded(now);
        let channel = &self.generations.spec().channel;
        match self.backoff.degraded_change(is_degraded) {
            Some(true) => {
                let cause = self.backoff.cause(now);
                error!(%channel, cause, "degraded: workers fail to start; not leasing jobs, retrying");
            }
            Some(false) => info!(%channel, "recovered: workers start again; leasing jobs"),
            None => {}
        }
    }

    /// Stops workers that wait for their only job and were started from files that have changed since. The check of a few
    /// files takes microseconds, and every job of this mode takes a process.
    fn stop_outdated(&mut self, now: Instant) {
        let spec = self.generations.spec();
        if !spec.follows_files() {
            return;
        }
        let files = ProgramFiles::of(spec);
        // Workers of another generation have other files, and a reload starts or stops them.
        let generation = self.generations.number();
        let outdated = self.workers.ids_where(|worker| {
            worker.origin.generation == generation
                && (worker.state.is_booting() || worker.state.is_serving())
                && worker.runs().is_empty()
                && worker.origin.files != files
        });
        for child in outdated {
            let Some(worker) = self.workers.get_mut(child) else { continue };
            worker.replace(RecycleReason::Changed);
            let channel = &self.generations.spec().channel;
            info!(%channel, pid = worker.pid(), "program changed on disk: replacing its idle worker");
            self.stop_worker(child, now);
        }
    }

    /// Marks workers that are due for replacement, a wave at a time.
    fn mark_for_replacement(&mut self, now: Instant) {
        let spec = self.generations.spec();
        let (life, limits) = (spec.plan.jobs_per_life, spec.recycling);
        // Workers of one job need no mark: each is replaced as it begins that job.
        if life == 1 {
            return;
        }
        let serves = |worker: &&Worker| worker.state.is_booting() || worker.state.is_serving();
        let is_leaving = |worker: &&Worker| worker.replacement.is_some() && worker.state.is_staying();
        let serving = self.workers.planned().filter(serves).count();
        let leaving = self.workers.planned().filter(is_leaving).count();
        let mut room = recycling::wave_size(serving).saturating_sub(leaving);
        let mut due = Vec::new();
        for worker in self.workers.serving().filter(|worker| worker.replacement.is_none()) {
            let Some(why) = recycling::due(worker.facts(now), life, &limits) else { continue };
            // A worker that has taken all its runs takes no more, marked or not.
            if worker.is_spent(life) || room > 0 {
                due.push((worker.child, why));
            }
            room = room.saturating_sub(1);
        }
        for (child, why) in due {
            let Some(worker) = self.workers.get_mut(child) else { continue };
            worker.replace(why);
            self.recycled.count(why);
            let channel = &self.generations.spec().channel;
            info!(%channel, pid = worker.pid(), jobs = worker.runs_taken(), "replacing worker: {why}");
            if let (RecycleReason::Memory(_), ..=2) = (why, worker.runs_taken()) {
                let mib = limits.memory_limit.unwrap_or_default() >> 20;
                warn!(%channel, "memory_limit = {mib} MiB is less than a new worker uses: raise it");
            }
        }
    }

    /// Stops the workers that are not needed: first the replaced ones, then idle ones.
    fn stop_surplus(&mut self, now: Instant) {
        let plan = self.generations.spec().plan;
        let needed = self.sizer.autoscaler.target();
        let is_permanent = |worker: &&Worker| worker.is_permanent(plan.jobs_per_life);
        let permanent = self.workers.serving().filter(is_permanent).count();
        // Idle ones make room at once.
        let replaced = |is_idle: bool| {
            let replaced = self.workers.serving().filter(|worker| worker.replacement.is_some());
            replaced.filter(move |worker| worker.runs().is_empty() == is_idle).map(|worker| worker.child)
        };
        let replaced: Vec<_> = replaced(true).chain(replaced(false)).collect();
        let surplus = (permanent + replaced.len()).saturating_sub(needed);
        for child in replaced.into_iter().take(surplus) {
            self.drain(child, now);
        }
        let mut surplus = permanent.saturating_sub(needed + plan.spare);
        // The youngest first: runs go to the oldest, so the youngest have been idle for longest.
        let idle = self.workers.serving().rev().filter(is_permanent).filter(|w| w.runs().is_empty());
        for child in idle.map(|worker| worker.child).take(surplus).collect::<Vec<_>>() {
            surplus -= 1;
            self.stop_worker(child, now);
        }
        self.drain_for_memory(surplus, now);
    }

    /// The next time at which a worker reaches its age limit. Workers beyond it wait for the end of others, which is an
    /// event.
    pub(super) fn next_expiry(&self, now: Instant) -> Option<Instant> {
        let spec = self.generations.spec();
        if self.is_closing || spec.is_exec() {
            return None;
        }
        let lasting = self.workers.serving().filter(|worker| worker.replacement.is_none());
        let expiry = lasting.filter_map(|worker| {
            Some(worker.origin.started_at + recycling::max_age(worker.child.0, &spec.recycling)?)
        });
        expiry.filter(|at| *at > now).min()
    }
}
