//! One job, run by a command: a master for as long as the job takes.
//!
//! It takes a lease of its own, so it may work beside a running master; it needs no lock and leaves no pid file.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::channel_setup::{ActorParts, channel_actor, job_program};
use super::signals::Signals;
use super::start::{incarnation, open_store};
use super::{ListenError, runtime};
use crate::channel::{Command, OnJoin, Scope, Stopped};
use crate::config::{self, Config};
use crate::guardian::Guardian;
use crate::metrics::Metrics;
use crate::queue_set::QueueSet;

/// Runs the job of a channel that `scope` names and answers how it ended.
///
/// # Errors
/// When the job cannot be run at all: no store, no program.
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
        // One worker is all it takes.
        (channel.worker.plan.min, channel.worker.plan.max, channel.worker.plan.spare) = (1, 1, 0);
        let parts = ActorParts {
            program,
            store,
            guardian: guardian.handle().with_scope("once"),
            scope,
            quiet: false,
            fewest: None,
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
