//! `queue:run`: runs one job in the foreground, with or without a running master.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::listen::failure;
use super::log::LogFormat;
use super::{CommandContext, Exit, Failure, sanitize};
use crate::channel::Scope;
use crate::config::Channel;
use crate::job::{JobId, Outcome};
use crate::master;

/// Run one job in the foreground: the next one, or by id
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Id of the job, which must be waiting, delayed or failed
    #[arg(long, value_name = "ID")]
    id: Option<JobId>,
}

impl Run {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        context.start_log(LogFormat::Text, "error,worker=info", None)?;
        let channel = self.id.map_or_else(|| context.channel(), |id| context.channel_of(id))?;
        CommandContext::check_served(channel, "run a job")?;
        context.check_store(channel, "run a job")?;
        let config = Arc::new(context.checked_config()?.clone());
        if CommandContext::is_store_missing(channel) {
            return nothing_to_run(context, channel, self.id);
        }
        let scope = self.id.map_or(Scope::Next, Scope::Only);
        let stopped = master::run_once(&config, channel, scope);
        // The output of the job comes before the result.
        context.end_log();
        let stopped = stopped.map_err(|error| failure(error, &config))?;
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
            _ => not_found(context, channel, self.id),
        }
    }
}

/// The result for a store that does not exist, and that this command does not create.
fn nothing_to_run(context: &CommandContext, channel: &Channel, id: Option<JobId>) -> Result<(), Failure> {
    if context.json() {
        context
            .print_json(&json!({ "channel": channel.name, "id": null, "outcome": null, "error": null }))?;
    }
    not_found(context, channel, id)
}

fn not_found(context: &CommandContext, channel: &Channel, id: Option<JobId>) -> Result<(), Failure> {
    match id {
        None if context.json() => Ok(()),
        None => context.print(&format!("No job is waiting in channel \"{}\".\n", channel.name)),
        Some(id) => {
            let hint = context.hint_of_channel(id, channel);
            Err(Failure::new(Exit::Failed, format!("run job {id}"))
                .because(format!("it is not waiting, delayed or failed in channel \"{}\"", channel.name))
                .hint(hint.unwrap_or_else(|| "queue:show shows the state of a job".to_owned())))
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
        Outcome::Lost => Some("the guardian of its worker died".to_owned()),
        Outcome::Interrupted => Some("it was interrupted and released".to_owned()),
    }
}
