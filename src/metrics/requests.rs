//! The metrics of the HTTP listeners and of pushes.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use super::Declaration;

/// Upper bounds of the buckets of requests, in seconds.
const REQUEST_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];
/// Label of requests to paths that no route has: clients choose such paths, so they cannot be labels.
pub const OTHER_ROUTE: &str = "other";

/// The metrics of requests and pushes.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    pushed: IntCounterVec,
}

/// The way in which a master receives jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushedVia {
    /// The HTTP listener.
    Http,
    /// A running job.
    Job,
}

impl RequestMetrics {
    pub(super) fn new(declare: &Declaration<'_>) -> Self {
        Self {
            requests: declare.counters_of(
                "aint_queue_http_requests_total",
                "Answered HTTP requests, by route and class of the status.",
                &["route", "code"],
            ),
            seconds: declare.histograms_of(
                "aint_queue_http_request_seconds",
                "Duration of HTTP requests from their head to the head of the response, by route.",
                &["route"],
                &REQUEST_BUCKETS,
            ),
            pushed: declare.counters(
                "aint_queue_jobs_pushed_total",
                "Jobs pushed through this master, by way. Pushes into the store by other programs are not counted.",
                &["via"],
            ),
        }
    }

    /// Counts an answered request. `route` is the pattern of the path, or [`OTHER_ROUTE`].
    pub fn answered(&self, route: &str, status: u16, took: Duration) {
        let class = match status {
            ..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        self.requests.with_label_values(&[route, class]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// Counts jobs that were added to a declared channel.
    pub fn pushed(&self, channel: &str, via: PushedVia, jobs: u64) {
        let via = match via {
            PushedVia::Http => "http",
            PushedVia::Job => "job",
        };
        self.pushed.with_label_values(&[channel, via]).inc_by(jobs);
    }
}
