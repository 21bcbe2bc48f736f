//! The metrics of the HTTP listeners and of pushes.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

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
    connections: IntGauge,
    under_way: IntGaugeVec,
    refused: IntCounterVec,
}

/// A kind of requests with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A push.
    Push,
    /// A page of the dashboard, or an answer of its API.
    Page,
    /// The events of an open page.
    Stream,
    /// A form with a token for the dashboard.
    SignIn,
}

impl RequestKind {
    fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Page => "page",
            Self::Stream => "stream",
            Self::SignIn => "sign_in",
        }
    }
}

/// Why a listener refuses a request or closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// As many requests of the kind as there may be are being served.
    Limit(RequestKind),
    /// The address has too many connections.
    PeerConnections,
    /// A connection was idle for longest when another one needed its place.
    IdleConnection,
    /// The token is missing or wrong.
    Token,
    /// Too many requests of an address that sent wrong tokens.
    Guesses,
}

impl RefusalReason {
    fn word(self) -> &'static str {
        match self {
            Self::Limit(kind) => kind.word(),
            Self::PeerConnections => "peer_connections",
            Self::IdleConnection => "idle_connection",
            Self::Token => "token",
            Self::Guesses => "guesses",
        }
    }
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
            connections: declare.add(IntGauge::new(
                "aint_queue_http_connections",
                "Open connections of the HTTP listeners.",
            )),
            under_way: declare.add(IntGaugeVec::new(
                Opts::new("aint_queue_http_under_way", "HTTP requests that are being served, by kind."),
                &["kind"],
            )),
            refused: declare.counters_of(
                "aint_queue_http_refused_total",
                "HTTP requests and connections that were refused or closed, by reason.",
                &["why"],
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

    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> IntGauge {
        self.connections.clone()
    }

    /// The number of requests of a kind that are being served.
    #[must_use]
    pub fn under_way(&self, kind: RequestKind) -> IntGauge {
        self.under_way.with_label_values(&[kind.word()])
    }

    /// The number of refusals for a reason.
    #[must_use]
    pub fn refusals(&self, reason: RefusalReason) -> IntCounter {
        self.refused.with_label_values(&[reason.word()])
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
