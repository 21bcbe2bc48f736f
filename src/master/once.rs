//! One job, run by a command: a master for as long as the job takes.
//!
//! It takes a lease of its own, so it may work beside a running master; it needs no lock and leaves no pid file.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::start::{actor, incarnation, open_store, program};
use super::signals::Signals;
use super::{ListenError, runtime};
use crate::channel::{Command, OnJoin, Scope, Stopped};
use crate::config;
use crate::guardian::Guardian;
use crate::metrics::Metrics;

/// Runs the job `scope` names and answers how it ended.
///
/// # Errors
/// When the job cannot be run at all: no store, no program.
pub fn run_once(config: &config::Channel, scope: Scope) -> Result<Stopped, ListenError> {
    runtime()?.block_on(async {
        let mut signals = Signals::take_over().map_err(ListenError::System)?;
        let program = program(config)?;
        let store = open_store(config).await?;
        let guardian = Guardian::start(incarnation()).await.map_err(ListenError::System)?;
        let handle = guardian.handle().with_scope("once");
        let metrics = Metrics::default().channel(&config.name);
        let on_join = OnJoin(Box::new(|_| {}));
        let mut config = config.clone();
        // One worker is all it takes.
        (config.worker.plan.min, config.worker.plan.max, config.worker.plan.spare) = (1, 1, 0);
        let actor = actor(&config, program, Arc::clone(&store), handle, scope, Vec::new(), on_join, metrics);
        let (commands, told) = mpsc::channel(4);
        let run = actor.run(told);
        tokio::pin!(run);
        let mut asked = false;
        let stopped = loop {
            tokio::select! {
                stopped = &mut run => break stopped,
                _ = signals.next() => {
                    let _ = commands.try_send(Command::Stop { force: asked });
                    asked = true;
                }
            }
        };
        guardian.shut_down().await;
        Ok(stopped)
    })
}
