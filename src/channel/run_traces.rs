//! The traces that runs belong to: their spans, the log, and the jobs that they push.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aint_queue_core::otel::{RunFacts, RunSpan, RunTracing, TurnFacts};

use crate::job::{Outcome, TRACEPARENT, TRACESTATE, TraceContext, TraceId};
use crate::wire::RunId;

/// The headers of a run that carry its trace context, shared with the pushes of the run.
pub(super) type TraceHeaders = Arc<BTreeMap<String, String>>;

/// The traces of the runs; a run without a `traceparent` has no entry.
#[derive(Debug, Default)]
pub(super) struct RunTraces {
    tracing: RunTracing,
    runs: HashMap<RunId, RunTrace>,
}

#[derive(Debug)]
struct RunTrace {
    headers: TraceHeaders,
    span: RunSpan,
}

impl RunTraces {
    pub(super) fn new(tracing: RunTracing) -> Self {
        Self { tracing, runs: HashMap::new() }
    }

    /// Notes the trace of a run that begins. Returns the headers for its worker.
    pub(super) fn begin(&mut self, run: RunId, facts: &RunFacts<'_>) -> BTreeMap<String, String> {
        let span = self.tracing.begin(facts);
        let headers = span.headers(facts.headers);
        if headers.contains_key(TRACEPARENT) {
            let of_trace =
                headers.iter().filter(|(name, _)| [TRACEPARENT, TRACESTATE].contains(&name.as_str()));
            let of_trace = of_trace.map(|(name, value)| (name.clone(), value.clone())).collect();
            self.runs.insert(run, RunTrace { headers: Arc::new(of_trace), span });
        }
        headers
    }

    /// The trace headers of a run, for the jobs that it pushes.
    pub(super) fn headers(&self, run: RunId) -> Option<&TraceHeaders> {
        self.runs.get(&run).map(|run| &run.headers)
    }

    /// The trace of a run; `None` without one or with an invalid one.
    pub(super) fn trace_id(&self, run: RunId) -> Option<TraceId> {
        TraceContext::of(self.headers(run)?).map(|trace| trace.trace_id)
    }

    /// Ends the trace of a run in the worker process `pid`. Answers the trace.
    pub(super) fn end(&mut self, run: RunId, outcome: &Outcome, pid: Option<i32>) -> Option<TraceId> {
        let trace_id = self.trace_id(run);
        if let Some(run) = self.runs.remove(&run) {
            run.span.end(outcome, pid);
        }
        trace_id
    }

    /// Ends the traces of all runs: their jobs belong to another owner.
    pub(super) fn clear(&mut self) {
        for (_, run) in self.runs.drain() {
            run.span.end(&Outcome::Lost, None);
        }
    }

    /// Notes a turn that the store has answered.
    pub(super) fn turned(&self, channel: &str, turn: TurnFacts) {
        self.tracing.turned(channel, turn);
    }
}
