//! The trace context of a job: the headers `traceparent` and `tracestate` of the W3C Trace Context recommendation.

use std::collections::BTreeMap;
use std::fmt;

use super::NewJob;

/// The header with the ids of the trace and of the span that a job belongs to.
pub const TRACEPARENT: &str = "traceparent";
/// The header with what tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";

/// Longest `tracestate` that is passed on: the recommendation asks for 512 bytes at least.
const MAX_TRACESTATE_BYTES: usize = 4_096;

/// The id of a trace; its text is that of logs and of `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A valid trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext<'a> {
    /// The valid text of `traceparent`.
    pub traceparent: &'a str,
    /// The text of `tracestate`, if it is valid, too.
    pub tracestate: Option<&'a str>,
    /// The trace.
    pub trace_id: TraceId,
}

impl<'a> TraceContext<'a> {
    /// The trace context of a job with these headers; `None` for a job without one or with an invalid one.
    #[must_use]
    pub fn of(headers: &'a BTreeMap<String, String>) -> Option<Self> {
        // Most jobs have no headers.
        let traceparent = headers.get(TRACEPARENT)?;
        let trace_id = trace_id_of(traceparent)?;
        let tracestate = headers.get(TRACESTATE).map(String::as_str).filter(|state| is_tracestate(state));
        Some(Self { traceparent, tracestate, trace_id })
    }

    /// The headers that carry the context.
    pub fn headers(self) -> impl Iterator<Item = (&'static str, &'a str)> {
        [(TRACEPARENT, self.traceparent)].into_iter().chain(self.tracestate.map(|state| (TRACESTATE, state)))
    }
}

/// Gives a job without a trace context that of the run which pushes it.
pub fn inherit_trace(job: &mut NewJob, run: &BTreeMap<String, String>) {
    let own = &mut job.meta.headers;
    // Never the state of one trace beside the ids of another.
    if own.contains_key(TRACEPARENT) || own.contains_key(TRACESTATE) {
        return;
    }
    for name in [TRACEPARENT, TRACESTATE] {
        if let Some(value) = run.get(name) {
            own.insert(name.to_owned(), value.clone());
        }
    }
}

/// The trace of a valid `traceparent`: version, trace, span and flags in lower-case hexadecimal digits. Later versions may add
/// parts behind a hyphen.
fn trace_id_of(traceparent: &str) -> Option<TraceId> {
    let parts: Vec<&str> = traceparent.splitn(5, '-').collect();
    let [version, trace, span, flags, rest @ ..] = &parts[..] else { return None };
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |text: &str| text.bytes().all(|b| b == b'0');
    let is_valid = is_hex(version, 2)
        && *version != "ff"
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && !is_zero(span)
        && is_hex(flags, 2)
        && (rest.is_empty() || *version != "00")
        && traceparent.bytes().all(|b| b.is_ascii_graphic());
    if !is_valid {
        return None;
    }
    u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0).map(TraceId)
}

/// Whether a text may be passed on as `tracestate`: `key=value`, and more of them behind commas, in printable ASCII.
fn is_tracestate(text: &str) -> bool {
    (1..=MAX_TRACESTATE_BYTES).contains(&text.len())
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && text.split(',').all(|member| member.trim().is_empty() || member.contains('='))
        && text.contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Payload;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_valid_contexts_are_read() {
        let valid = headers(&[(TRACEPARENT, PARENT), (TRACESTATE, "rojo=00f067aa0ba902b7,congo=t61")]);
        let context = TraceContext::of(&valid).unwrap();
        assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.headers().count(), 2);
        for state in ["", "x", "a=1\u{e9}", &"a=1,".repeat(2_000)] {
            let odd = headers(&[(TRACEPARENT, PARENT), (TRACESTATE, state)]);
            assert_eq!(TraceContext::of(&odd).unwrap().tracestate, None, "{state}");
        }
        let later = format!("01{}-more", &PARENT[2..]);
        assert!(TraceContext::of(&headers(&[(TRACEPARENT, &later)])).is_some());
        for wrong in [
            "",
            "00-1",
            "00-ab-cd-01",
            &PARENT.to_uppercase(),
            &PARENT.replace("00-", "ff-"),
            &format!("{PARENT}-more"),
            &format!("{PARENT} "),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-é1",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-$(id) x",
        ] {
            assert_eq!(TraceContext::of(&headers(&[(TRACEPARENT, wrong)])), None, "{wrong}");
        }
        assert_eq!(TraceContext::of(&headers(&[(TRACESTATE, "a=1")])), None);
    }

    #[test]
    fn two_traces_are_never_mixed() {
        let run = headers(&[(TRACEPARENT, PARENT), (TRACESTATE, "a=1"), ("tenant", "7")]);
        let inherited = |own: &[(&str, &str)]| {
            let mut job = NewJob::new("x", Payload::parse("{}").unwrap());
            job.meta.headers = headers(own);
            inherit_trace(&mut job, &run);
            job.meta.headers
        };
        assert_eq!(inherited(&[]), headers(&[(TRACEPARENT, PARENT), (TRACESTATE, "a=1")]));
        for own in [&[(TRACEPARENT, "00-1")], &[(TRACESTATE, "b=2")]] {
            assert_eq!(inherited(own), headers(own));
        }
    }
}
