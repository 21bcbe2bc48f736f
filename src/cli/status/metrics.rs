//! `queue:status --metrics`: prints metrics in the text format of Prometheus.
//!
//! A running master provides the metrics of all its channels. For channels without a master, job counts are read from the
//! store, so that a scrape by cron sees a backlog without a master.

use std::collections::BTreeSet;

use crate::cli::{CommandContext, Exit, Failure};
use crate::config::Channel;
use crate::master::{self, ControlRequest, ControlResponse};
use crate::metrics::Metrics;
use crate::snapshot;

/// Prints the metrics of `channels`.
pub(super) fn show(context: &CommandContext, channels: &[&Channel]) -> Result<(), Failure> {
    let mut masters = BTreeSet::new();
    let unserved = Metrics::default();
    let mut any_unserved = false;
    for channel in channels {
        let presence = master::presence(channel);
        if !presence.running {
            any_unserved = true;
            depths(context, channel, &unserved)?;
        } else if masters.insert(presence.pid) {
            context.print(&ask(channel)?)?;
        }
    }
    if any_unserved { context.print(&unserved.render()) } else { Ok(()) }
}

fn ask(channel: &Channel) -> Result<String, Failure> {
    let doing = || format!("read the metrics of channel \"{}\" from its master", channel.name);
    match master::send_request(&master::socket_path(channel), ControlRequest::Metrics, |_| {}) {
        Ok(ControlResponse::Metrics(text)) => Ok(text),
        Ok(_) => Err(Failure::new(Exit::Failed, doing()).because("the master sent an unexpected response")),
        Err(error) => Err(Failure::new(Exit::Failed, doing()).because(error)),
    }
}

fn depths(context: &CommandContext, channel: &Channel, metrics: &Metrics) -> Result<(), Failure> {
    let store = context.store(channel)?;
    let status = context.block_on(store.status());
    let doing = || format!("read the status of channel \"{}\"", channel.name);
    let status = status.map_err(|error| Failure::store(doing(), error))?;
    snapshot::record(&metrics.channel(&channel.name), &status);
    Ok(())
}
