//! `queue:scale`: sets the manual minimum worker count of a channel.

use clap::Args;

use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Failure, control};
use crate::config::Channel;
use crate::control::{ControlRequest, ControlResponse};
use crate::pool::{MinWorkers, ScaleOrder};

/// Set the minimum number of workers manually
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// +1 to add one, -1 to remove one, =3 or 3 for exactly three
    #[arg(value_name = "WORKERS", value_parser = str::parse::<ScaleOrder>, allow_negative_numbers = true)]
    workers: ScaleOrder,
}

impl Scale {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        per_channel::sequentially(context, &context.channels_by(false, None)?, |channel| {
            scale(channel, self.workers)
        })
    }
}

/// Sets the manual minimum of workers of a channel.
pub(super) fn scale(channel: &Channel, order: ScaleOrder) -> Result<ChannelDone, Failure> {
    let doing = format!("scale channel \"{}\"", channel.name);
    let take = |response| if let ControlResponse::Scaled(floor) = response { Some(floor) } else { None };
    let floor = control::ask(channel, &doing, ControlRequest::Scale { order }, |_| {}, take)?;
    Ok(ChannelDone::new(channel, render(&channel.name, &floor), floor))
}

fn render(channel: &str, floor: &MinWorkers) -> String {
    let MinWorkers { fewest, before, min, max, dynamic, clamped } = *floor;
    let least = if dynamic { "at least " } else { "" };
    let workers = if fewest == 1 { "worker" } else { "workers" };
    let was = if before == fewest { "unchanged".to_owned() } else { format!("was {before}") };
    let mut words = format!(
        "Channel \"{channel}\" now has {least}{fewest} {workers} ({was}); the configuration allows {min} to {max}."
    );
    if clamped && fewest == max {
        words.push_str(&format!(" The maximum is max_worker_number = {max}."));
    } else if clamped {
        words.push_str(" The minimum is 0.");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_argument_is_relative_or_exact() {
        let order = str::parse::<ScaleOrder>;
        assert_eq!(order("+2"), Ok(ScaleOrder::Change(2)));
        assert_eq!(order("-12"), Ok(ScaleOrder::Change(-12)));
        assert_eq!((order("=0"), order("7")), (Ok(ScaleOrder::Exactly(0)), Ok(ScaleOrder::Exactly(7))));
        for shown in ["+2", "-12", "=3"] {
            assert_eq!(order(shown).unwrap().to_string(), shown);
        }
        for wrong in
            ["", "+", "-", "=", "=+1", "=-1", "+-1", "--1", "1.5", "one", "+99999999999999999999", "é"]
        {
            assert_eq!(order(wrong), Err("write +1, -1 or =3".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn scale_line_shows_minimum_and_bound() {
        let floor = MinWorkers { fewest: 3, before: 2, min: 1, max: 5, dynamic: true, clamped: false };
        assert_eq!(
            render("mail", &floor),
            "Channel \"mail\" now has at least 3 workers (was 2); the configuration allows 1 to 5."
        );
        let most = MinWorkers { fewest: 5, before: 5, dynamic: false, clamped: true, ..floor };
        let said = "Channel \"mail\" now has 5 workers (unchanged); the configuration allows 1 to 5. The maximum is max_worker_number = 5.";
        assert_eq!(render("mail", &most), said);
        let none = MinWorkers { fewest: 0, clamped: true, ..floor };
        assert!(render("mail", &none).ends_with("The minimum is 0."));
    }
}
