//! The span of a run, whose context its worker gets, and the spans of turns.

use std::collections::BTreeMap;
use std::time::SystemTime;

use opentelemetry::global::{self, BoxedSpan};
use opentelemetry::trace::{Link, Span, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use super::context::{self, SCOPE, attributes, number};
use super::{RunFacts, TurnFacts};
use crate::config::RunParent;
use crate::job::{Outcome, RetryDecision, truncated};

/// Longest text of an error in a span, in bytes.
const MAX_STATUS_BYTES: usize = 500;

/// The tracing of the runs of a channel; off by default.
#[derive(Clone, Debug, Default)]
pub struct RunTracing(Option<Settings>);

#[derive(Clone, Debug)]
struct Settings {
    parent: RunParent,
    mode: &'static str,
    with_turns: bool,
}

impl RunTracing {
    /// Tracing of runs in workers of this mode; `with_turns` adds spans of the turns at the store.
    #[must_use]
    pub fn on(parent: RunParent, mode: &'static str, with_turns: bool) -> Self {
        Self(Some(Settings { parent, mode, with_turns }))
    }

    /// Begins the span of a run. Each attempt has its own.
    pub fn begin(&self, run: &RunFacts<'_>) -> RunSpan {
        let Some(settings) = &self.0 else { return RunSpan(None) };
        let push = context::remote(run.headers);
        let is_child = match settings.parent {
            RunParent::Auto => run.is_soon,
            RunParent::Child => true,
            RunParent::Link => false,
        };
        let mut facts = attributes("process", "process", run.channel);
        facts.extend([
            KeyValue::new("messaging.message.id", run.id.to_string()),
            KeyValue::new("aint_queue.job.name", run.job.to_owned()),
            KeyValue::new("aint_queue.attempt", i64::from(run.attempt)),
            KeyValue::new("aint_queue.max_attempts", i64::from(run.max_attempts)),
            KeyValue::new("aint_queue.mode", settings.mode),
        ]);
        let is_retry = run.attempt > 1;
        let link = push.clone().filter(|_| is_retry || !is_child).map(|push| {
            let before = i64::from(run.attempt) - 1;
            let facts = is_retry.then(|| KeyValue::new("aint_queue.retry_of", before));
            Link::new(push, facts.into_iter().collect(), 0)
        });
        let parent = match push.filter(|_| is_child) {
            Some(push) => Context::new().with_remote_span_context(push),
            None => Context::new(),
        };
        let tracer = global::tracer(SCOPE);
        let builder = tracer
            .span_builder(format!("process {}", run.channel))
            .with_kind(SpanKind::Consumer)
            .with_attributes(facts)
            .with_links(link.into_iter().collect());
        RunSpan(Some(tracer.build_with_context(builder, &parent)))
    }

    /// Records the spans of a turn: what it settled and what it leased.
    pub fn turned(&self, channel: &str, turn: TurnFacts) {
        if !self.0.as_ref().is_some_and(|settings| settings.with_turns) {
            return;
        }
        let end = SystemTime::now();
        let begin = end.checked_sub(turn.took).unwrap_or(end);
        let tracer = global::tracer(SCOPE);
        for (operation, kind, jobs) in [("settle", "settle", turn.settled), ("lease", "receive", turn.leased)]
        {
            if jobs == 0 {
                continue;
            }
            let mut facts = attributes(operation, kind, channel);
            facts.push(KeyValue::new("messaging.batch.message_count", number(jobs as u64)));
            let builder = tracer.span_builder(format!("{operation} {channel}"));
            let builder = builder.with_kind(SpanKind::Client).with_attributes(facts).with_start_time(begin);
            tracer.build_with_context(builder, &Context::new()).end_with_timestamp(end);
        }
    }
}

/// The span of a run; empty while tracing is off.
#[derive(Debug)]
pub struct RunSpan(Option<BoxedSpan>);

impl RunSpan {
    /// The headers for the worker: those of the job, with the context of the span.
    #[must_use]
    pub fn headers(&self, headers: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut headers = headers.clone();
        if let Some(context) = self.0.as_ref().map(BoxedSpan::span_context).filter(|span| span.is_valid()) {
            context::write(context, &mut headers);
        }
        headers
    }

    /// Ends the span with the outcome of the run, in the worker process `pid`.
    pub fn end(self, outcome: &Outcome, pid: Option<i32>) {
        let Some(mut span) = self.0 else { return };
        span.set_attribute(KeyValue::new("aint_queue.outcome", outcome.word()));
        if let Some(pid) = pid {
            span.set_attribute(KeyValue::new("aint_queue.worker.pid", i64::from(pid)));
        }
        if let Some((kind, text)) = error(outcome) {
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(truncated(&text, MAX_STATUS_BYTES).to_owned()));
        }
        span.end();
    }
}

/// The type and the text of the error that an outcome is; `None` for one that is no error.
fn error(outcome: &Outcome) -> Option<(String, String)> {
    let (kind, text) = match outcome {
        Outcome::Done | Outcome::Released { .. } | Outcome::Interrupted => return None,
        Outcome::Failed { error, next } => {
            let kind = match (exit_code(error), next) {
                (Some(code), _) => format!("exit:{code}"),
                (None, RetryDecision::UnknownJob) => "unknown_job".to_owned(),
                (None, _) => "job_error".to_owned(),
            };
            return Some((kind, error.clone()));
        }
        Outcome::TimedOut { limit, how } => ("timeout", Outcome::time_out_text(*limit, how)),
        Outcome::Crashed { how } => ("crash", how.clone()),
        Outcome::CrashedWithOthers => ("crash", "the worker died while it ran several jobs".to_owned()),
        Outcome::Lost => ("lost", "the guardian of the worker died".to_owned()),
        Outcome::Cancelled { .. } => ("cancelled", "cancelled by a user".to_owned()),
    };
    Some((kind.to_owned(), text))
}

/// The exit status of a program for one job, as its error text begins.
fn exit_code(error: &str) -> Option<&str> {
    let behind = error.strip_prefix("exited with ")?;
    let digits = behind.split(|c: char| !c.is_ascii_digit()).next()?;
    (!digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn error_type_is_a_word_of_few() {
        let failed = |error: &str, next| Outcome::Failed { error: error.to_owned(), next };
        let kind = |outcome| error(&outcome).map(|(kind, _)| kind);
        assert_eq!(kind(Outcome::Done), None);
        assert_eq!(kind(Outcome::Interrupted), None);
        assert_eq!(kind(failed("exited with 65: boom", RetryDecision::Never)).as_deref(), Some("exit:65"));
        assert_eq!(kind(failed("ValueError('7')", RetryDecision::ByPolicy)).as_deref(), Some("job_error"));
        assert_eq!(
            kind(failed("exited with pride", RetryDecision::UnknownJob)).as_deref(),
            Some("unknown_job")
        );
        let late = Outcome::TimedOut { limit: Duration::from_secs(1), how: String::new() };
        assert_eq!(kind(late).as_deref(), Some("timeout"));
    }
}
