//! A layer that leaves jobs out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::job::{JobCall, JobError, JobService};

type Condition = Arc<dyn Fn(&JobCall) -> bool + Send + Sync>;

/// Jobs for which a condition holds do not run: they are done without it, or come back later.
#[derive(Clone)]
pub struct Skip {
    when: Condition,
    /// `None`: done.
    again: Option<Duration>,
}

impl Skip {
    /// Jobs for which `when` answers true count as done without having run.
    #[must_use]
    pub fn when(when: impl Fn(&JobCall) -> bool + Send + Sync + 'static) -> Self {
        Self { when: Arc::new(when), again: None }
    }

    /// Instead, they are released and looked at again after this long.
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
