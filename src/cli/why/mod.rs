//! `queue:why`: explains what a job or a channel is waiting for.
//!
//! `lookup` collects facts from the store and the master, for which [`crate::why`] selects the reason. `unique_key` and `no_store` explain
//! what only the command is asked for.

mod lookup;
mod no_store;
mod unique_key;

use clap::Args;
use serde_json::json;

use super::{CommandContext, Exit, Failure, job_output, sanitize};
use crate::config::Channel;
use crate::job::JobId;
use crate::why::{self, Explanation, Master};
use no_store::NoStore;

/// Explain what a job or a channel is waiting for
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Id of the job [default: the channel as a whole]
    #[arg(value_name = "ID")]
    id: Option<JobId>,
    /// Show which job holds this unique key, and why it has not ended
    #[arg(long, value_name = "KEY", conflicts_with = "id", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    unique: Option<String>,
}

impl Why {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channel = self.channel(context)?;
        let doing = match (&self.unique, self.id) {
            (Some(_), _) => "find the holder of a unique key".to_owned(),
            (None, Some(id)) => format!("find out why job {id} waits"),
            (None, None) => format!("find out what channel \"{}\" waits for", channel.name),
        };
        let found = context.call_store(channel, doing, async |store| {
            let id = match &self.unique {
                Some(key) => store.holder(key).await?,
                None => self.id,
            };
            let (facts, job) = lookup::look_up(channel, store, id).await?;
            Ok((id, facts, job))
        });
        let (id, facts, job) = match found {
            Err(failure) if failure.exit() == Exit::Store => {
                return self.explain_outage(context, channel, &failure);
            }
            found => found?,
        };
        let done = match self.id.filter(|_| job.is_none()) {
            Some(id) => job_output::done_job(context, channel, id)?,
            None => None,
        };
        let channel = done.as_ref().map_or(channel, |done| done.channel);
        let of_job = job.as_ref().map(|job| why::explain_job(job, &facts));
        let explanation = match (&self.unique, of_job, id) {
            (Some(key), of_job, _) => unique_key::explain(key, &channel.name, id, job.as_ref().zip(of_job)),
            (None, Some(explanation), _) => explanation,
            (None, None, Some(id)) => match &done {
                Some(done) => why::done(&done.run),
                None => why::unknown(id, &channel.name),
            },
            (None, None, None) => why::explain_channel(&facts),
        };
        let attention = attention(&facts.master, &explanation);
        let mut json = json!({
            "channel": channel.name,
            "id": id,
            "reason": explanation.reason,
            "sentence": format!("{}{attention}", explanation.text),
            "facts": {
                "channel": facts.json(),
                "job": job.as_ref().map(|job| why::job_json(job, &facts)),
            },
        });
        if let Some(done) = &done {
            json["facts"]["job"] = job_output::done_json(&done.channel.name, &done.run);
        }
        context.show(&json, &format!("{}{attention}\n", explanation.text))?;
        let Some(id) = self.id.filter(|_| job.is_none() && done.is_none()) else { return Ok(()) };
        // The sentence has already said that the job does not exist.
        if let Some(hint) = context.hint_of_channel(id, channel) {
            context.note(&hint);
        }
        Err(Failure::silent())
    }

    /// Explains a channel whose store this command cannot use. The exit code stays that of the failure.
    fn explain_outage(
        &self,
        context: &CommandContext,
        channel: &Channel,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let without = NoStore {
            channel: channel.name.clone(),
            id: self.id,
            error: failure.cause(),
            master: lookup::ask(channel, self.id),
        };
        let Explanation { reason, text } = without.explain();
        let json = json!({
            "channel": channel.name,
            "id": self.id,
            "reason": reason,
            "sentence": text,
            "facts": without.json(),
        });
        context.show(&json, &format!("{text}\n"))?;
        Err(Failure::silent().with_exit(failure.exit()))
    }

    /// The channel to explain. That of a job may be another one than the usual one.
    fn channel<'a>(&self, context: &'a CommandContext) -> Result<&'a Channel, Failure> {
        self.id.map_or_else(|| context.channel(), |id| context.channel_of(id))
    }
}

/// The sentence about a channel as a whole or about one of its jobs, for `queue:top`.
#[cfg(feature = "top")]
pub(super) fn sentence(
    context: &CommandContext,
    channel: &Channel,
    id: Option<JobId>,
) -> Result<String, Failure> {
    let doing = format!("find out what channel \"{}\" waits for", channel.name);
    let looked_up = async |store: &dyn crate::store::Store| lookup::look_up(channel, store, id).await;
    let (facts, job) = match context.call_store(channel, doing, looked_up) {
        Err(failure) if failure.exit() == Exit::Store => {
            let (channel_name, master) = (channel.name.clone(), lookup::ask(channel, id));
            let without = NoStore { channel: channel_name, id, error: failure.cause(), master };
            return Ok(without.explain().text);
        }
        found => found?,
    };
    let explanation = match (&job, id) {
        (Some(job), _) => why::explain_job(job, &facts),
        (None, Some(id)) => why::unknown(id, &channel.name),
        (None, None) => why::explain_channel(&facts),
    };
    let attention = attention(&facts.master, &explanation);
    Ok(format!("{}{attention}", explanation.text))
}

/// Differences between what the master holds and what its paths mean now, unless the sentence has them already.
fn attention(master: &Master, said: &Explanation) -> String {
    let differences = master.differences();
    let new = differences.iter().map(|difference| sanitize::line(difference)).filter(|difference| {
        // The sentence has the clause, with the remedy in parentheses.
        !difference.split(": ").next().is_some_and(|clause| said.text.contains(clause))
    });
    new.map(|difference| format!(" Attention: {difference}.")).collect()
}
