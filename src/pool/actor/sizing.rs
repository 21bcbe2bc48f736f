//! The size of the pool: demand from the channel, the manual minimum, periodic decisions.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info};

use super::Pool;
use crate::pool::{Demand, MinWorkers, ScaleOrder, SizingInput};

impl Pool {
    /// Sets the demand. The pool grows at once when the demand takes more workers.
    pub fn set_demand(&mut self, demand: Demand, now: Instant) {
        self.sizer.set_demand(demand);
        if self.sizer.autoscaler.is_elastic() && !self.generations.spec().is_exec() {
            self.resize(now);
        }
    }

    /// Whether the pool sizes itself by demand: it is not as large as it may be, or larger than it must be.
    #[must_use]
    pub fn is_elastic(&self) -> bool {
        !self.is_closing && !self.generations.spec().is_exec() && self.sizer.autoscaler.is_elastic()
    }

    /// Time between two updates of the demand.
    #[must_use]
    pub fn flex_interval(&self) -> Duration {
        self.sizer.autoscaler.interval()
    }

    /// The facts for a decision.
    pub(crate) fn load(&self, now: Instant) -> SizingInput {
        self.sizer.load(&self.workers, self.generations.spec(), self.sampler.largest(), now)
    }

    /// Decides how many workers there should be.
    pub(crate) fn resize(&mut self, now: Instant) {
        let load = self.load(now);
        let Some(change) = self.sizer.autoscaler.update(load, now) else { return };
        let SizingInput { waiting, running, serving, idle, job_us, memory, .. } = change.decision.load;
        info!(
            channel = %self.generations.spec().channel, from = change.from, to = change.decision.workers,
            waiting, running, serving, idle, job_us, memory, "scaling: {}", change.decision
        );
    }

    /// Decides again where a memory limit bounds the number of workers.
    pub(crate) fn resize_for_memory(&mut self, now: Instant) {
        if self.sizer.autoscaler.is_bounded() && !self.is_closing && !self.generations.spec().is_exec() {
            self.resize(now);
        }
    }

    /// The periodic decision, made although nothing has happened.
    pub(crate) fn review_size(&mut self, now: Instant) {
        self.resize(now);
        let decision = self.sizer.autoscaler.decision();
        let channel = &self.generations.spec().channel;
        debug!(%channel, workers = decision.workers, "scaling: {decision}");
    }

    /// Sets the manual minimum (`queue:scale`) for the life of the pool, bounded by the maximum; returns the minimum in
    /// force.
    ///
    /// # Errors
    /// The reason when the pool cannot be scaled.
    pub fn scale(&mut self, order: ScaleOrder, now: Instant) -> Result<MinWorkers, String> {
        self.check_scalable()?;
        let minimum = self.sizer.autoscaler.set_minimum(order);
        let fewest = minimum.fewest;
        info!(channel = %self.generations.spec().channel, fewest, "queue:scale: minimum number of workers set");
        self.resize(now);
        self.reconcile(now);
        Ok(minimum)
    }

    /// The manual minimum, if one is set.
    #[must_use]
    pub fn manual_minimum(&self) -> Option<usize> {
        self.sizer.autoscaler.manual_minimum()
    }

    /// Takes over the manual minimum of an earlier pool of the channel, where the pool can still be scaled.
    pub fn restore_manual_minimum(&mut self, fewest: usize, now: Instant) {
        if self.check_scalable().is_ok() {
            self.sizer.autoscaler.set_minimum(ScaleOrder::Exactly(fewest));
            self.resize(now);
        }
    }

    fn check_scalable(&self) -> Result<(), String> {
        let spec = self.generations.spec();
        let most = spec.plan.max;
        if spec.is_exec() {
            return Err(format!(
                "its program is started once per job, at most {most} at once: there are no workers to scale"
            ));
        }
        if most == 1 {
            return Err("its type has exactly one serving worker: there is nothing to scale".to_owned());
        }
        Ok(())
    }
}
