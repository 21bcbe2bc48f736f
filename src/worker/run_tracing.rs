//! Tracing of runs: a scope per run, and forwarding of handler events to the master's log.
//!
//! An application with a subscriber of its own gets a span per run. Without one, events are sent to the master with the
//! number of their run, which a thread-local variable holds at a fraction of the cost of a span.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use super::current_run;
use super::frame_queue::FrameSender;
use crate::executor;
use crate::job;
use crate::wire::RunId;

/// Whether events are forwarded to the master.
static FORWARDED: AtomicBool = AtomicBool::new(false);

/// Forwards `tracing` events of handlers to the master at the levels of `RUST_LOG`, by default `info` and above. A
/// subscriber that the application has set up stays in place instead.
pub(super) fn forward(lines: &FrameSender) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ours = Registry::default().with(filter).with(Forward(lines.clone())).try_init().is_ok();
    FORWARDED.store(ours, Ordering::Relaxed);
}

/// Tracing scope of one run.
#[derive(Clone)]
pub(super) enum Scope {
    /// Events are forwarded to the master with this number.
    Run(RunId),
    /// Events go to the application's subscriber, inside this span.
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
            Self::Run(run) => current_run::within(*run, code),
        }
    }
}

struct Forward(FrameSender);

impl<S: Subscriber> Layer<S> for Forward {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text { message: String::new(), fields: String::new() };
        event.record(&mut text);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        self.0.log(current_run::get(), &level, text.message + &text.fields);
    }
}

/// An event as text: its message and its fields.
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
