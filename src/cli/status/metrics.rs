//! `queue:status --metrics`: prints metrics in the text format of Prometheus.
//!
//! A running master provides the metrics of all its channels. For channels without a master, job counts are read from the
//! store, so that a scrape by cron sees a backlog without a master.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::cli::other_store::OtherStore;
use crate::cli::{CommandContext, Exit, Failure, control, sanitize};
use crate::config::Channel;
use crate::control::{ControlRequest, ControlResponse};
use crate::master;
use crate::metrics::Metrics;

/// Prints the metrics of `channels`.
pub(super) fn show(context: &CommandContext, channels: &[&Channel]) -> Result<(), Failure> {
    let mut masters = BTreeSet::new();
    let unserved = Metrics::default();
    let mut any_unserved = false;
    for channel in channels {
        let name = &channel.name;
        let presence = master::presence(channel);
        let other = OtherStore::of(channel, &presence);
        if let Some(other) = &other {
            context.warn(&format!("{}: {}", other.clause(), other.remedy()));
        }
        if let Some(distrust) = presence.distrust {
            let doing = format!("read the metrics of channel \"{name}\" from its master");
            return Err(Failure::new(Exit::Failed, doing).because(distrust));
        }
        if !presence.running || other.is_some() {
            any_unserved = true;
            let doing = format!("read the status of channel \"{name}\"");
            let counts = context.call_store(channel, doing, async |store| store.status().await)?;
            unserved.channel(name).counts(&counts, Instant::now());
        } else if masters.insert(presence.pid) {
            let take =
                |response| if let ControlResponse::Metrics(text) = response { Some(text) } else { None };
            let asked = crate::control::send_request(
                &master::control_socket(channel),
                ControlRequest::Metrics,
                |_| {},
                take,
            );
            let doing = || format!("read the metrics of channel \"{name}\" from its master");
            let asked = asked.map_err(|error| control::failure(&doing(), error))?;
            context.print_verbatim(&sanitize::lines(&asked.answer))?;
        }
    }
    if any_unserved { context.print_verbatim(&unserved.render()) } else { Ok(()) }
}
