//! How many workers there are at least, as somebody orders it.

use tracing::info;

use super::sizing::autoscaler::{MinWorkers, ScaleOrder};
use super::{Pool, Program};

impl Pool {
    /// Sets the fewest workers for as long as the pool lives, bounded by the most; answers what they are now.
    ///
    /// # Errors
    /// When there is nothing to scale, in words.
    pub fn scale(&mut self, order: ScaleOrder, _now: tokio::time::Instant) -> Result<MinWorkers, String> {
        self.scalable()?;
        let floor = self.scaler.order(order);
        let fewest = floor.fewest;
        info!(channel = %self.spec.channel, fewest, "the fewest workers were set by hand");
        self.rescale();
        self.reconcile();
        Ok(floor)
    }

    /// The fewest workers as they were set by hand, if they were.
    #[must_use]
    pub fn manual_minimum(&self) -> Option<usize> {
        self.scaler.by_hand()
    }

    /// Begins with the fewest workers that were set by hand for the pool before, as far as there is anything to scale
    /// still.
    pub fn restore_manual_minimum(&mut self, fewest: usize, _now: tokio::time::Instant) {
        if self.scalable().is_ok() {
            self.scaler.order(ScaleOrder::Exactly(fewest));
            self.rescale();
        }
    }

    /// Whether there is anything to scale; if not, why.
    fn scalable(&self) -> Result<(), String> {
        if matches!(self.spec.program, Program::Exec(_)) {
            let most = self.spec.plan.max;
            return Err(format!(
                "its program is started once per job, at most {most} at once: there are no workers to scale"
            ));
        }
        if self.spec.plan.max == 1 {
            return Err("its type has exactly one serving worker: there is nothing to scale".to_owned());
        }
        Ok(())
    }
}
