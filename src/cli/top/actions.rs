//! The actions of `queue:top`: each is that of a command, and is carried out by it.

use std::fmt;

use crate::cli::named_jobs::NamedJobs;
use crate::cli::per_channel::ChannelDone;
use crate::cli::progress::ProgressDisplay;
use crate::cli::{
    CommandContext, Failure, cancel, forget, pause, quiet, reload, reload_failed, resume, scale,
};
use crate::job::JobId;
use crate::pool::ScaleOrder;
use crate::store::JobFilter;

/// An action on a channel or on jobs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) channel: String,
    pub(super) order: Order,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Pause,
    Resume,
    Quiet,
    Scale(i64),
    Reload,
    Retry(Vec<JobId>),
    Remove(Vec<JobId>),
    Cancel(JobId),
}

/// The command that does the same, behind the name of the program.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = |ids: &[JobId]| ids.iter().map(|id| format!(" {id}")).collect::<String>();
        match &self.order {
            Order::Pause => f.write_str("queue:pause")?,
            Order::Resume => f.write_str("queue:resume")?,
            Order::Quiet => f.write_str("queue:quiet")?,
            Order::Scale(change) => write!(f, "queue:scale {change:+}")?,
            Order::Reload => f.write_str("queue:reload")?,
            Order::Retry(jobs) => write!(f, "queue:retry{}", ids(jobs))?,
            Order::Remove(jobs) => write!(f, "queue:forget{}", ids(jobs))?,
            Order::Cancel(id) => write!(f, "queue:cancel {id}")?,
        }
        write!(f, " --channel {}", self.channel)
    }
}

impl Action {
    /// The question before the action.
    pub(super) fn question(&self) -> String {
        let channel = &self.channel;
        let jobs = |ids: &[JobId]| match ids {
            [id] => format!("job {id}"),
            ids => format!("{} jobs", ids.len()),
        };
        match &self.order {
            Order::Pause => format!("Pause \"{channel}\" on all machines, until it is resumed?"),
            Order::Resume => format!("Resume \"{channel}\"?"),
            Order::Quiet => format!("Quiet the master of \"{channel}\": lease no more jobs here?"),
            Order::Scale(change) => format!("Change the fewest workers of \"{channel}\" by {change:+}?"),
            Order::Reload => format!("Reload \"{channel}\": replace its workers?"),
            Order::Retry(ids) => format!("Retry {} of \"{channel}\"?", jobs(ids)),
            Order::Remove(ids) => format!("Remove {} of \"{channel}\" for good?", jobs(ids)),
            Order::Cancel(id) => format!("Cancel job {id}, and kill it if it does not end?"),
        }
    }

    /// Whether the action is held for a time in which it can be undone.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.order, Order::Remove(_))
    }

    /// Carries the action out. Returns the result in words.
    pub(super) fn carry_out(&self, context: &CommandContext) -> Result<String, Failure> {
        let channel = context.config()?.channel(&self.channel)?;
        let done = match &self.order {
            Order::Pause => pause::pause(context, channel, None)?,
            Order::Resume => resume::resume(context, channel)?,
            Order::Quiet => quiet::quiet(channel)?,
            Order::Scale(change) => scale::scale(channel, ScaleOrder::Change(*change))?,
            Order::Reload => {
                let progress = ProgressDisplay::of(context).channel(&channel.name, "reloading");
                reload::reload(channel, progress, None)?
            }
            Order::Retry(ids) => {
                let jobs = NamedJobs::new(ids.clone());
                let filter = JobFilter { ids: jobs.ids().to_vec(), ..JobFilter::default() };
                reload_failed::reload(context, channel, &jobs, &filter, false)?
            }
            Order::Remove(ids) => forget::remove(context, channel, &NamedJobs::new(ids.clone()), false)?,
            Order::Cancel(id) => return cancel::cancel_one(context, channel, *id),
        };
        let ChannelDone { text, failure, .. } = done;
        match failure {
            Some(failure) => Err(failure),
            // The table of replaced workers has no room in a line.
            None => Ok(text.lines().next().unwrap_or_default().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn action_names_the_command_that_does_the_same() {
        let shown = |order| Action { channel: "mail".to_owned(), order }.to_string();
        assert_eq!(shown(Order::Scale(-1)), "queue:scale -1 --channel mail");
        assert_eq!(shown(Order::Retry(vec![JobId(7), JobId(8)])), "queue:retry 7 8 --channel mail");
        assert_eq!(shown(Order::Pause), "queue:pause --channel mail");
    }
}
