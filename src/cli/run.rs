//! `queue:run`: runs one job in the foreground, with or without a running master.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::listen::failure;
use super::log::LogFormat;
use super::{CommandContext, Exit, Failure, sanitize};
use crate::channel::Scope;
use crate::job::{JobId, Outcome};
use crate::master;

/// Run one job in the foreground: the next waiting job, or a job by id
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Id of the job, which must be waiting, delayed or failed
    #[arg(long, value_name = "ID")]
    id: Option<JobId>,
}

impl Run {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        context.start_log(LogFormat::Text, "error,worker=info", None)?;
        let channel = context.channel()?;
        CommandContext::check_served(channel, "run a job")?;
        let config = Arc::new(context.checked_config()?.clone());
        let scope = self.id.map_or(Scope::Next, Scope::Only);
        let stopped = master::run_once(&config, channel, scope);
        // The output of the job comes before the result.
        context.end_log();
        let stopped = stopped.map_err(failure)?;
        if context.json() {
            context.print_json(&json!({
                "channel": channel.name,
                "id": stopped.job,
                "outcome": stopped.outcome.as_ref().map(Outcome::word),
                "error": stopped.outcome.as_ref().and_then(why),
            }))?;
        }
        let say = |text: &str| if context.json() { Ok(()) } else { context.print(text) };
        match (stopped.job, stopped.outcome) {
            (Some(id), Some(Outcome::Done)) => say(&format!("Job {id} is done.\n")),
            (Some(id), Some(outcome)) => Err(ended(id, &outcome)),
            _ if !stopped.settled => Err(Failure::new(Exit::Store, "run a job")
                .because("the store stopped responding; a leased job runs again when the lease expires")),
            _ => match self.id {
                None => say(&format!("No job is waiting in channel \"{}\".\n", channel.name)),
                Some(id) => Err(Failure::new(Exit::Failed, format!("run job {id}"))
                    .because(format!("it is not waiting, delayed or failed in channel \"{}\"", channel.name))
                    .hint("queue:show shows the state of a job")),
            },
        }
    }
}

fn ended(id: JobId, outcome: &Outcome) -> Failure {
    let why = why(outcome).unwrap_or_default();
    Failure::new(Exit::Failed, format!("finish job {id}"))
        .because(sanitize::lines(&why))
        .hint(format!("queue:show {id} shows its state now"))
}

fn why(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Done => None,
        Outcome::Failed { error, .. } => Some(error.clone()),
        Outcome::Released { .. } => Some("its handler released it".to_owned()),
        Outcome::TimedOut { limit, how } => Some(format!("it {}", Outcome::time_out_text(*limit, how))),
        Outcome::Crashed { how } => Some(format!("its worker {how}")),
        Outcome::CrashedWithOthers => Some("its worker died".to_owned()),
        Outcome::Cancelled { .. } => Some("it was cancelled".to_owned()),
        Outcome::Interrupted => Some("it was interrupted and released".to_owned()),
    }
}
