//! Runs one job for `queue:run`: a master without lock, pid file and control socket that ends with the job.
//!
//! The run has its own lease, so it may work beside a running master of the channel.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::channel_setup::{ActorParts, channel_actor, job_program};
use super::listen::runtime;
use super::listen_error::ListenError;
use super::signals::Signals;
use super::start::{incarnation, open_store};

use crate::channel::{Command, OnJoin, Scope, Stopped};
use crate::config::{self, Config};
use crate::guardian::Guardian;
use crate::metrics::Metrics;
use crate::queue_set::QueueSet;

/// Runs the job of a channel that `scope` names and returns its end.
///
/// # Errors
/// When the store or the program is unusable.
pub fn run_once(
    config: &Arc<Config>,
    channel: &config::Channel,
    scope: Scope,
) -> Result<Stopped, ListenError> {
    runtime()?.block_on(async {
        let mut signals = Signals::install().map_err(ListenError::System)?;
        let program = job_program(channel, &config.directory())?;
        let store = open_store(channel).await?;
        let guardian = Guardian::start(incarnation()).await.map_err(ListenError::System)?;
        let mut channel = channel.clone();
        // A single job needs a single worker.
        (channel.worker.plan.min, channel.worker.plan.max, channel.worker.plan.spare) = (1, 1, 0);
        let parts = ActorParts {
            program,
            store,
            guardian: guardian.handle().with_scope("once"),
            scope,
            quiet: false,
            manual_minimum: None,
            dead_owners: Vec::new(),
            on_join: OnJoin(Box::new(|_| {})),
            cross_channel: Arc::new(QueueSet::of(Arc::clone(config))),
            metrics: Metrics::default().channel(&channel.name),
        };
        let actor = channel_actor(&channel, parts);
        let (commands, on_command) = mpsc::channel(4);
        let run = actor.run(on_command);
        tokio::pin!(run);
        let mut stopping = false;
        let stopped = loop {
            tokio::select! {
                stopped = &mut run => break stopped,
                _ = signals.next() => {
                    let _ = commands.try_send(Command::Stop { force: stopping });
                    stopping = true;
                }
            }
        };
        guardian.shut_down().await;
        Ok(stopped)
    })
}
