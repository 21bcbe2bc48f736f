//! Jobs as tower services, and tower layers around jobs.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::job::{JobCall, JobError, JobService, RunFuture};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Boxed = std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

impl Service<JobCall> for JobService {
    type Response = ();
    /// A boxed [`JobError`]: see [`JobError::into_boxed`] and [`JobError::from_boxed`].
    type Error = BoxError;
    type Future = Boxed;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: JobCall) -> Boxed {
        let running: RunFuture = self.run(call);
        Box::pin(async move { running.await.map_err(JobError::into_boxed) })
    }
}

impl JobService {
    /// Wraps this service into a tower layer.
    ///
    /// An error of the layer itself is retried by policy; one made with [`JobError::into_boxed`] keeps its consequence.
    #[must_use]
    pub fn with<L>(self, layer: L) -> Self
    where
        L: Layer<Self>,
        L::Service: Service<JobCall, Response = ()> + Clone + Send + Sync + 'static,
        <L::Service as Service<JobCall>>::Error: Into<BoxError>,
        <L::Service as Service<JobCall>>::Future: Send,
    {
        let service = layer.layer(self);
        Self::default().wrap(move |call, _| {
            let mut service = service.clone();
            async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(|e| JobError::from_boxed(e.into()))?;
                service.call(call).await.map_err(|e| JobError::from_boxed(e.into()))
            }
        })
    }
}
