//! `queue:why`: what a job, or a channel, is waiting for, in one sentence.

mod blockers;
mod channel;
mod facts;
mod gather;
mod job;
mod key;

use clap::Args;
use serde_json::json;

use super::{CommandContext, Failure};
use crate::config::Channel;
use crate::job::JobId;
use crate::store::{Store, StoreError};
use blockers::Explanation;
use facts::{Facts, JobFacts};

/// Say in one sentence what a job is waiting for, or a channel
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The job's id [default: the channel as a whole]
    #[arg(value_name = "ID")]
    id: Option<JobId>,
    /// Say instead which job holds this unique key, and why it still does
    #[arg(long, value_name = "KEY", conflicts_with = "id", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    unique: Option<String>,
}

/// What was found, and what is said of it.
struct Explained {
    id: Option<JobId>,
    facts: Facts,
    job: Option<JobFacts>,
    answer: Explanation,
}

impl Why {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channel = context.channel()?;
        let store = context.store(channel)?;
        let doing = match (&self.unique, self.id) {
            (Some(_), _) => "tell who holds a unique key".to_owned(),
            (None, Some(id)) => format!("tell why job {id} waits"),
            (None, None) => format!("tell what channel \"{}\" waits for", channel.name),
        };
        let found = context.block_on(self.find(channel, &*store));
        let found = found.map_err(|error| Failure::store(doing, error))?;
        if context.json() {
            let held = found.facts.view().and_then(|view| view.job.as_ref());
            context.print_json(&json!({
                "channel": channel.name,
                "id": found.id,
                "reason": found.answer.reason,
                "sentence": found.answer.text,
                "facts": {
                    "channel": found.facts.json(),
                    "job": found.job.as_ref().map(|job| job.json(held)),
                },
            }))?;
        } else {
            context.print(&format!("{}\n", found.answer.text))?;
        }
        // That nothing is known of a job has been said.
        if self.id.is_some() && found.job.is_none() { Err(Failure::silent()) } else { Ok(()) }
    }

    async fn find(&self, channel: &Channel, store: &dyn Store) -> Result<Explained, StoreError> {
        let id = match &self.unique {
            Some(key) => store.holder(key).await?,
            None => self.id,
        };
        let (facts, job) = gather::gather(channel, store, id).await?;
        let of_job = job.as_ref().map(|job| job::answer(job, &facts));
        let answer = match (&self.unique, of_job, id) {
            (Some(key), of_job, _) => key::answer(key, &channel.name, id, job.as_ref().zip(of_job)),
            (None, Some(answer), _) => answer,
            (None, None, Some(id)) => job::unknown(id, &channel.name),
            (None, None, None) => channel::answer(&facts),
        };
        Ok(Explained { id, facts, job, answer })
    }
}
