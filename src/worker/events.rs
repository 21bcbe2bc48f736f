//! Tracing around jobs: a scope for each run, and the events of handlers as lines of the master's log.
//!
//! An application that has set up a subscriber of its own gets a span for each run. Without one, events go to the master
//! with the number of their run, which a thread-local tells at a fraction of a span's cost.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use super::link::FrameSender;
use crate::executor;
use crate::job;
use crate::wire::RunId;

/// Whether events go to the master.
static FORWARDED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The run whose code this thread runs now.
    static RUN: Cell<Option<RunId>> = const { Cell::new(None) };
}

/// Sends what handlers log through `tracing` to the master, at the levels that `RUST_LOG` asks for; `info` and above
/// without it. An application that has set up a subscriber of its own keeps that.
pub(super) fn forward(lines: &FrameSender) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ours = Registry::default().with(filter).with(Forward(lines.clone())).try_init().is_ok();
    FORWARDED.store(ours, Ordering::Relaxed);
}

/// What is around the code of one run.
#[derive(Clone)]
pub(super) enum Scope {
    /// Events are ours: they need the number of the run.
    Run(RunId),
    /// They are the application's.
    Span(Span),
}

impl Scope {
    pub(super) fn of(run: RunId, ctx: &job::Context) -> Self {
        if FORWARDED.load(Ordering::Relaxed) {
            return Self::Run(run);
        }
        Self::Span(executor::span(ctx))
    }
}

impl executor::RunScope for Scope {
    fn enter<T>(&self, code: impl FnOnce() -> T) -> T {
        match self {
            Self::Span(span) => span.in_scope(code),
            Self::Run(run) => within(*run, code),
        }
    }
}

/// Runs code whose events are those of a run.
pub(super) fn within<T>(run: RunId, code: impl FnOnce() -> T) -> T {
    let outer = RUN.replace(Some(run));
    let answer = code();
    RUN.set(outer);
    answer
}

struct Forward(FrameSender);

impl<S: Subscriber> Layer<S> for Forward {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text { message: String::new(), fields: String::new() };
        event.record(&mut text);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        self.0.log(RUN.get(), &level, text.message + &text.fields);
    }
}

/// An event as one line: its message, then its fields.
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => {
                let _ = write!(self.fields, " {name}={value:?}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
