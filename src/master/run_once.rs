//! Runs one job for `queue:run`: a master without lock, pid file and control socket that ends with the job.
//!
//! The run has its own lease, so it may work beside a running master of the channel.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::channel_setup::{job_program, renewal};
use super::listen::runtime;
use super::listen_error::ListenError;
use super::own_identity::own_identity;
use super::signals::{SignalAction, Signals, with_signals_blocked};
use super::start::{incarnation, open_store};

use crate::channel::{Channel, Command, OnJoin, ReloadSpec, Scope, Setup, Stopped};
use crate::config::{self, Config};
use crate::fd;
use crate::guardian::Guardian;
use crate::metrics::Metrics;
use crate::open_files;
use crate::pool::Pool;
use crate::producer_memory::ProducerMemory;
use crate::protected_memory;
use crate::queue_set::QueueSet;
use crate::span_export::SpanExport;
use crate::store::LEASE;

/// Runs the job of a channel that `scope` names and returns its end.
///
/// # Errors
/// When the store or the program is unusable.
pub fn run_once(
    config: &Arc<Config>,
    channel: &config::Channel,
    scope: Scope,
) -> Result<Stopped, ListenError> {
    protected_memory::protect();
    open_files::raise();
    runtime()?.block_on(async {
        let mut signals = Signals::install().map_err(ListenError::System)?;
        let program = job_program(channel, &config.directory())?;
        let store = open_store(channel).await?;
        let guardian = Guardian::start(incarnation(), LEASE).await.map_err(ListenError::System)?;
        let mut channel = channel.clone();
        // A single job needs a single worker.
        (channel.worker.plan.min, channel.worker.plan.max, channel.worker.plan.spare) = (1, 1, 0);
        let spec = renewal(&channel, program, &guardian.handle().with_scope("once"));
        let ReloadSpec { pool, settings } = spec;
        let actor = Channel::new(Setup {
            name: channel.name.as_str().into(),
            identity: own_identity(),
            store,
            pool: Pool::new(pool, ProducerMemory::new(channel.memory_limit, 0).workers, Instant::now()),
            settings,
            dead: Vec::new(),
            on_join: OnJoin(Box::new(|_| {})),
            scope,
            quiet: false,
            cross_channel: Some(Arc::new(QueueSet::of(Arc::clone(config)))),
            metrics: Metrics::default().channel(&channel.name),
        });
        let start_export = || SpanExport::start(config.otel.as_ref());
        let span_export = with_signals_blocked(start_export).map_err(ListenError::System)?;
        let actor = actor.traced(span_export.run_tracing(channel.worker.mode));
        let (commands, on_command) = mpsc::channel(4);
        let run = actor.run(on_command);
        tokio::pin!(run);
        let mut stopping = false;
        let stopped = loop {
            tokio::select! {
                stopped = &mut run => break stopped,
                action = signals.next() => {
                    // The other signals ask for what a single job does not have: a reload, a pause.
                    if action == SignalAction::Stop {
                        let _ = commands.try_send(Command::Stop { force: stopping });
                        stopping = true;
                    }
                }
            }
        };
        guardian.shut_down().await;
        span_export.stop();
        // The caller prints the result, and its reader may be stuck.
        fd::reset_stop_signals();
        Ok(stopped)
    })
}
