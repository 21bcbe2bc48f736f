//! The span of a push, whose context its jobs carry.

use std::collections::BTreeMap;
use std::fmt;

use opentelemetry::global::{self, BoxedSpan};
use opentelemetry::trace::{Link, Span, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use super::context::{self, SCOPE, attributes, is_same, number};
use crate::job::{NewJob, TRACEPARENT, TRACESTATE, TraceContext};
use crate::store::Pushed;

/// Most links to the contexts that jobs of one push bring with them.
const MAX_LINKS: usize = 32;

/// The span of a push.
pub struct PushSpan {
    span: BoxedSpan,
    /// The jobs with the context of the span; `None` when none of them gets it.
    traced: Option<Vec<NewJob>>,
}

impl PushSpan {
    /// Begins the span of a push into `channel`, by a run with the headers `run` or by the code that runs now. A context of its
    /// own that a job has is the parent of the span and stays with the job; the others get that of the span.
    pub fn begin(channel: Option<&str>, jobs: &[NewJob], run: Option<&BTreeMap<String, String>>) -> Self {
        let pusher = match run.and_then(context::remote) {
            Some(run) => Context::new().with_remote_span_context(run),
            None => Context::current(),
        };
        let pushed_by = pusher.span().span_context().clone();
        let own = own_contexts(jobs, &pushed_by);
        let (parent, links) = match &own[..] {
            [only] if jobs.iter().all(|job| has_own(job, &pushed_by)) => {
                (Context::new().with_remote_span_context(only.clone()), Vec::new())
            }
            own => (pusher, own.iter().take(MAX_LINKS).cloned().map(Link::with_context).collect()),
        };
        let name = channel.map_or_else(|| "push".to_owned(), |channel| format!("push {channel}"));
        let tracer = global::tracer(SCOPE);
        let builder = tracer
            .span_builder(name)
            .with_kind(SpanKind::Producer)
            .with_attributes(facts(channel, jobs))
            .with_links(links);
        let span = tracer.build_with_context(builder, &parent);
        let traced = traced(jobs, span.span_context(), &pushed_by);
        Self { span, traced }
    }

    /// The jobs to push, in place of `jobs`.
    pub fn jobs<'a>(&'a self, jobs: &'a [NewJob]) -> &'a [NewJob] {
        self.traced.as_deref().unwrap_or(jobs)
    }

    /// Ends the span with the result of the push.
    pub fn end<E: fmt::Display>(mut self, result: &Result<Vec<Pushed>, E>) {
        match result {
            Ok(pushed) => {
                if let [only] = &pushed[..] {
                    self.span.set_attribute(KeyValue::new("messaging.message.id", only.id().to_string()));
                }
            }
            Err(error) => {
                self.span.set_attribute(KeyValue::new("error.type", "push_error"));
                self.span.set_status(Status::error(error.to_string()));
            }
        }
        self.span.end();
    }
}

fn facts(channel: Option<&str>, jobs: &[NewJob]) -> Vec<KeyValue> {
    let mut facts = attributes("push", "send", channel.unwrap_or_default());
    match jobs {
        [job] => facts.push(KeyValue::new("aint_queue.job.name", job.meta.job.clone())),
        jobs => facts.push(KeyValue::new("messaging.batch.message_count", number(jobs.len() as u64))),
    }
    facts
}

/// Whether a job has a context other than that of the code or run that pushes it.
fn has_own(job: &NewJob, pushed_by: &SpanContext) -> bool {
    let headers = &job.meta.headers;
    let has_any = headers.contains_key(TRACEPARENT) || headers.contains_key(TRACESTATE);
    has_any && context::remote(headers).is_none_or(|own| !is_same(&own, pushed_by))
}

/// The different valid contexts of jobs with their own.
fn own_contexts(jobs: &[NewJob], pushed_by: &SpanContext) -> Vec<SpanContext> {
    let mut found: Vec<SpanContext> = Vec::new();
    for job in jobs.iter().filter(|job| TraceContext::of(&job.meta.headers).is_some()) {
        let own = context::remote(&job.meta.headers).filter(|own| !is_same(own, pushed_by));
        if found.len() <= MAX_LINKS
            && let Some(own) = own
            && !found.iter().any(|known| is_same(known, &own))
        {
            found.push(own);
        }
    }
    found
}

/// Whether a job gets the context of the span: it has none, or has inherited that of its pusher.
fn is_given(job: &NewJob, span: &SpanContext, pushed_by: &SpanContext) -> bool {
    let headers = &job.meta.headers;
    match context::remote(headers) {
        Some(inherited) => is_same(&inherited, pushed_by) && !is_same(&inherited, span),
        None => !headers.contains_key(TRACEPARENT) && !headers.contains_key(TRACESTATE),
    }
}

/// The jobs with the context of the span; `None` when none of them gets it.
fn traced(jobs: &[NewJob], span: &SpanContext, pushed_by: &SpanContext) -> Option<Vec<NewJob>> {
    if !span.is_valid() || !jobs.iter().any(|job| is_given(job, span, pushed_by)) {
        return None;
    }
    let mut traced = jobs.to_vec();
    for job in traced.iter_mut().filter(|job| is_given(job, span, pushed_by)) {
        let mut headers = job.meta.headers.clone();
        context::write(span, &mut headers);
        let before = std::mem::replace(&mut job.meta.headers, headers);
        // A job that has as many headers as it may have keeps those alone.
        if job.check().is_err() {
            job.meta.headers = before;
        }
    }
    Some(traced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Payload;

    const RUN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";
    const OWN: &str = "00-11111111111111111111111111111111-2222222222222222-00";

    fn job(traceparent: Option<&str>) -> NewJob {
        let mut job = NewJob::new("x", Payload::parse("{}").unwrap());
        job.meta.headers.extend(traceparent.map(|value| (TRACEPARENT.to_owned(), value.to_owned())));
        job
    }

    #[test]
    fn without_a_provider_contexts_are_passed_on_unchanged() {
        let run = BTreeMap::from([(TRACEPARENT.to_owned(), RUN.to_owned())]);
        let contexts = |jobs: &[NewJob], run: Option<&BTreeMap<String, String>>| {
            let span = PushSpan::begin(Some("mail"), jobs, run);
            let of = |job: &NewJob| job.meta.headers.get(TRACEPARENT).cloned();
            span.jobs(jobs).iter().map(of).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(contexts(&[job(None)], None), [None]);
        let jobs = [job(Some(RUN)), job(Some(OWN)), job(Some("odd")), job(None)];
        let passed_on = text(&RUN.replace("-03", "-01"));
        assert_eq!(contexts(&jobs, Some(&run)), [text(RUN), text(OWN), text("odd"), passed_on]);
    }

    #[test]
    fn job_without_room_for_a_header_keeps_its_own() {
        let mut full = job(None);
        full.meta.headers = (0..crate::job::MAX_HEADERS).map(|n| (format!("h{n}"), String::new())).collect();
        let run = BTreeMap::from([(TRACEPARENT.to_owned(), RUN.to_owned())]);
        let jobs = [full];
        let span = PushSpan::begin(None, &jobs, Some(&run));
        assert_eq!(span.jobs(&jobs)[0].meta.headers, jobs[0].meta.headers);
    }
}
