//! `queue:why`: what a job, or a channel, is waiting for, in one sentence.

mod blockers;
mod channel;
mod facts;
mod gather;
mod job;

use clap::Args;
use serde_json::json;

use super::{Failure, Session};
use crate::job::JobId;

/// Say in one sentence what a job is waiting for, or a channel
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The job's id [default: the channel as a whole]
    #[arg(value_name = "ID")]
    id: Option<JobId>,
}

impl Why {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let channel = session.channel()?;
        let store = session.store(channel)?;
        let doing = || match self.id {
            Some(id) => format!("tell why job {id} waits"),
            None => format!("tell what channel \"{}\" waits for", channel.name),
        };
        let gathered = session.block_on(gather::gather(channel, &*store, self.id));
        let (facts, job) = gathered.map_err(|error| Failure::store(doing(), error))?;
        let answer = match (self.id, &job) {
            (None, _) => channel::answer(&facts),
            (Some(_), Some(job)) => job::answer(job, &facts),
            (Some(id), None) => job::unknown(id, &channel.name),
        };
        if session.json() {
            let held = facts.view().and_then(|view| view.job.as_ref());
            session.print_json(&json!({
                "channel": channel.name,
                "id": self.id,
                "reason": answer.reason,
                "sentence": answer.text,
                "facts": { "channel": facts.json(), "job": job.as_ref().map(|job| job.json(held)) },
            }))?;
        } else {
            session.print(&format!("{}\n", answer.text))?;
        }
        // That nothing is known of a job has been said.
        if self.id.is_some() && job.is_none() { Err(Failure::silent()) } else { Ok(()) }
    }
}
