//! Pushes of a running job.

use std::collections::BTreeMap;
use std::fmt;

use super::job_requests::{JobRequest, PendingResponse, RunHost, ids, one_id};
use super::{JobId, NewJob, PushOptions, Pushable, inherit_trace};

/// Pushes follow-up jobs of a run into a channel: see [`Context::to`](super::Context::to) and
/// [`Context::push`](super::Context::push).
#[derive(Clone, Copy)]
pub struct Outbox<'a> {
    /// Target channel; `None` for the run's own.
    pub(super) channel: Option<&'a str>,
    /// Headers of the run, from which follow-up jobs inherit the trace context.
    pub(super) headers: &'a BTreeMap<String, String>,
    pub(super) host: &'a dyn RunHost,
}

impl Outbox<'_> {
    /// Pushes a job.
    pub fn push<K, J: Pushable<K>>(&self, job: &J) -> PendingResponse<JobId> {
        self.push_with(job, &PushOptions::new())
    }

    /// Pushes a job with options.
    pub fn push_with<K, J: Pushable<K>>(&self, job: &J, options: &PushOptions) -> PendingResponse<JobId> {
        match options.of(job) {
            Ok(job) => PendingResponse::new(self.host.request(self.push_request(vec![job])), one_id),
            Err(error) => PendingResponse::refused(error.to_string()),
        }
    }

    /// Pushes jobs of one type, all or none; at most 500 with about 1 MiB together.
    pub fn push_many<'j, K, J: Pushable<K> + 'j>(
        &self,
        jobs: impl IntoIterator<Item = &'j J>,
    ) -> PendingResponse<Vec<JobId>> {
        self.push_many_with(jobs, &PushOptions::new())
    }

    /// Pushes jobs of one type with the same options; limits as for [`Outbox::push_many`].
    pub fn push_many_with<'j, K, J: Pushable<K> + 'j>(
        &self,
        jobs: impl IntoIterator<Item = &'j J>,
        options: &PushOptions,
    ) -> PendingResponse<Vec<JobId>> {
        match jobs.into_iter().map(|job| options.of(job)).collect::<Result<Vec<_>, _>>() {
            Ok(jobs) => PendingResponse::new(self.host.request(self.push_request(jobs)), ids),
            Err(error) => PendingResponse::refused(error.to_string()),
        }
    }

    fn push_request(&self, mut jobs: Vec<NewJob>) -> JobRequest {
        jobs.iter_mut().for_each(|job| inherit_trace(job, self.headers));
        JobRequest::Push { channel: self.channel.map(str::to_owned), jobs }
    }
}

impl fmt::Debug for Outbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("channel", &self.channel).finish_non_exhaustive()
    }
}
