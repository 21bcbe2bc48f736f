//! A layer that skips jobs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::job::{JobCall, JobError, JobService};

type Condition = Arc<dyn Fn(&JobCall) -> bool + Send + Sync>;

/// Skips jobs for which a condition holds: they count as done, or are released.
#[derive(Clone)]
pub struct Skip {
    when: Condition,
    /// Release time; `None` counts skipped jobs as done.
    again: Option<Duration>,
}

impl Skip {
    /// Counts jobs for which `when` returns true as done, without running them.
    #[must_use]
    pub fn when(when: impl Fn(&JobCall) -> bool + Send + Sync + 'static) -> Self {
        Self { when: Arc::new(when), again: None }
    }

    /// Releases skipped jobs for this long instead; the condition decides again then.
    #[must_use]
    pub fn release_for(mut self, time: Duration) -> Self {
        self.again = Some(time);
        self
    }
}

impl Layer<JobService> for Skip {
    type Service = JobService;

    fn layer(&self, inner: JobService) -> JobService {
        let Self { when, again } = self.clone();
        inner.wrap(move |call, next| {
            let skip = when(&call);
            async move {
                match again {
                    _ if !skip => next.run(call).await,
                    Some(time) => Err(JobError::release(time)),
                    None => {
                        call.ctx().log("debug", "skipped");
                        Ok(())
                    }
                }
            }
        })
    }
}

impl fmt::Debug for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Skip").field("again", &self.again).finish_non_exhaustive()
    }
}
