//! One job, run by a command: a master for as long as the job takes.
//!
//! It takes a lease of its own, so it may work beside a running master; it needs no lock and leaves no pid file.

use std::path::Path;

use tokio::sync::mpsc;

use super::signals::Signals;
use super::start::{Means, actor, incarnation, open_store, program};
use super::{ListenError, runtime};
use crate::channel::{Command, OnJoin, Scope, Stopped};
use crate::config;
use crate::guardian::Guardian;
use crate::metrics::Metrics;

/// Runs the job `scope` names and answers how it ended. `base` is where the configuration is.
///
/// # Errors
/// When the job cannot be run at all: no store, no program.
pub fn run_once(config: &config::Channel, base: &Path, scope: Scope) -> Result<Stopped, ListenError> {
    runtime()?.block_on(async {
        let mut signals = Signals::take_over().map_err(ListenError::System)?;
        let behind = program(config, base)?;
        let store = open_store(config).await?;
        let guardian = Guardian::start(incarnation()).await.map_err(ListenError::System)?;
        let mut config = config.clone();
        // One worker is all it takes.
        (config.worker.plan.min, config.worker.plan.max, config.worker.plan.spare) = (1, 1, 0);
        let means = Means {
            behind,
            store,
            guardian: guardian.handle().with_scope("once"),
            scope,
            dead: Vec::new(),
            on_join: OnJoin(Box::new(|_| {})),
            metrics: Metrics::default().channel(&config.name),
        };
        let actor = actor(&config, means);
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
