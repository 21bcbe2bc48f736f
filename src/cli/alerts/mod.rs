//! `queue:alerts`: the alerts of channels, silences, and tries of conditions and receivers.

mod list;
mod silence;
mod test;
mod try_condition;

use std::time::Duration;

use aint_queue_core::condition::Condition;
use clap::Args;

use super::history::period;
use super::{CommandContext, Exit, Failure};
use crate::job_json::time::parse_duration;
use try_condition::{TryCondition, condition};

/// List alerts, silence a rule, try a condition
///
/// Without options the command lists the alerts that fire or are about to, silences, the last answer of each receiver, and what has
/// ended lately. A condition compares values of a channel, as in 'waiting > 1000 and rate_out == 0'. docs/alerts.md lists the values and
/// the rules.
#[derive(Debug, Args)]
pub(crate) struct Alerts {
    /// All declared channels (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with_all = ["channels", "condition"])]
    all: bool,
    /// Try a condition, now and in the past
    #[arg(long = "try", value_name = "CONDITION", value_parser = condition, allow_hyphen_values = true)]
    condition: Option<Condition>,
    /// With --try: only times at which the condition was true for so long
    #[arg(long = "for", value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    for_time: Duration,
    /// With --try: time to look back, up to 24h
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = period)]
    last: Duration,
    /// Send no messages of a rule for a time, on all hosts: --silence backlog 1h; '*' for all rules
    #[arg(long, num_args = 2, value_names = ["RULE", "TIME"], conflicts_with = "condition")]
    silence: Option<Vec<String>>,
    /// With --silence: the reason, for others
    #[arg(long, value_name = "TEXT", requires = "silence")]
    comment: Option<String>,
    /// Send a test message and its end to a receiver, or to all
    #[arg(
        long,
        value_name = "RECEIVER",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["condition", "silence", "unsilence"]
    )]
    test: Option<String>,
    /// End the silence of a rule
    #[arg(long, value_name = "RULE", conflicts_with_all = ["condition", "silence"])]
    unsilence: Option<String>,
}

impl Alerts {
    /// Whether the command changes silences or sends messages.
    pub(super) fn is_change(&self) -> bool {
        self.silence.is_some() || self.unsilence.is_some() || self.test.is_some()
    }

    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let Self { all, condition, for_time, last, silence, comment, test, unsilence } = self;
        if let Some(condition) = condition {
            return TryCondition { condition, for_time, last }.run(context);
        }
        if let Some(receiver) = test {
            return test::test(context, Some(receiver.as_str()).filter(|name| !name.is_empty()));
        }
        let channels = context.channels(all)?;
        match (silence.as_deref(), unsilence) {
            (Some([rule, time]), _) => {
                let time = parse_duration(time).map_err(|why| {
                    Failure::new(Exit::Usage, "silence the rule")
                        .because(why)
                        .hint("write a time such as 30m, 1h or 2d")
                })?;
                silence::silence(context, &channels, rule, time, comment.as_deref().unwrap_or_default())
            }
            (_, Some(rule)) => silence::unsilence(context, &channels, &rule),
            _ => list::list(context, &channels),
        }
    }
}
