//! Between the headers of jobs and the contexts of OpenTelemetry, and attributes that every span has.

use std::collections::BTreeMap;
use std::str::FromStr;

use opentelemetry::context::FutureExt;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};

use crate::job::{TRACEPARENT, TRACESTATE, TraceContext};

/// The name of the instrumentation, which every span has.
pub(super) const SCOPE: &str = "aint-queue";

/// The context that these headers carry, if it is valid.
pub(super) fn remote(headers: &BTreeMap<String, String>) -> Option<SpanContext> {
    let trace = TraceContext::of(headers)?;
    let mut parts = trace.traceparent.split('-').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (trace_id, span_id, flags) = (part(), part(), part());
    Some(SpanContext::new(
        TraceId::from_hex(trace_id).ok()?,
        SpanId::from_hex(span_id).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        trace.tracestate.and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default(),
    ))
}

/// Writes a context into headers, in place of another.
pub(super) fn write(context: &SpanContext, headers: &mut BTreeMap<String, String>) {
    headers.insert(TRACEPARENT.to_owned(), traceparent(context));
    match context.trace_state().header() {
        state if state.is_empty() => drop(headers.remove(TRACESTATE)),
        state => drop(headers.insert(TRACESTATE.to_owned(), state)),
    }
}

fn traceparent(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

/// Whether two contexts name the same span.
pub(super) fn is_same(one: &SpanContext, other: &SpanContext) -> bool {
    one.trace_id() == other.trace_id() && one.span_id() == other.span_id()
}

/// The attributes of an operation on a channel.
pub(super) fn attributes(operation: &'static str, kind: &'static str, channel: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "aint_queue"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", kind),
        KeyValue::new("messaging.destination.name", channel.to_owned()),
    ]
}

/// A number as the value of an attribute.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Runs a future in the trace of these headers: spans of pushes that it makes belong there.
pub fn within_trace<F: Future>(
    trace: Option<&BTreeMap<String, String>>,
    future: F,
) -> opentelemetry::context::WithContext<F> {
    let context = match trace.and_then(remote) {
        Some(remote) => Context::new().with_remote_span_context(remote),
        None => Context::current(),
    };
    future.with_context(context)
}

/// The trace of a run in this process: spans of the handler are children of the run.
#[derive(Clone, Debug)]
pub struct HandlerTrace(Option<Context>);

impl HandlerTrace {
    /// The trace that these headers of the run carry.
    #[must_use]
    pub fn of(headers: &BTreeMap<String, String>) -> Self {
        Self(remote(headers).map(|remote| Context::new().with_remote_span_context(remote)))
    }

    /// Executes code of the handler in the trace.
    pub fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        let _within = self.0.as_ref().map(|context| context.clone().attach());
        code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_carry_a_context_there_and_back() {
        let mut headers = BTreeMap::from([
            (TRACEPARENT.to_owned(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            (TRACESTATE.to_owned(), "a=1,b=2".to_owned()),
        ]);
        let context = remote(&headers).unwrap();
        assert!(context.is_sampled() && context.is_remote());
        let mut written = BTreeMap::new();
        write(&context, &mut written);
        assert_eq!(written, headers);
        headers.remove(TRACESTATE);
        write(&remote(&headers).unwrap(), &mut written);
        assert_eq!(written, headers, "no state of another context");
        assert!(remote(&BTreeMap::new()).is_none());
    }

    #[tokio::test]
    async fn code_of_a_run_is_in_its_trace() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let headers = BTreeMap::from([(TRACEPARENT.to_owned(), parent.to_owned())]);
        let current = || traceparent(Context::current().span().span_context());
        assert_eq!(HandlerTrace::of(&headers).enter(current), parent);
        assert_eq!(within_trace(Some(&headers), async { current() }).await, parent);
        assert_ne!(HandlerTrace::of(&BTreeMap::new()).enter(current), parent);
        assert_ne!(current(), parent, "the trace ends with the code");
    }
}
