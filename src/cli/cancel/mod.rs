//! `queue:cancel`: end jobs wherever they are, and say what became of each.

mod one;
mod words;

use std::io::Write;
use std::sync::Arc;

use clap::Args;
use tokio::sync::Semaphore;

use super::{Failure, Session};
use crate::channel::ChannelStatus;
use crate::config::Channel;
use crate::job::JobId;
use crate::store::{Store, StoreError};
use one::{Fate, One};

/// So many jobs are cancelled at once: the control socket has other visitors.
const AT_ONCE: usize = 8;

/// Cancel jobs, running or not: they end and go to failed
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The jobs' ids
    #[arg(value_name = "ID", required = true)]
    ids: Vec<JobId>,
}

impl Cancel {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let channel = session.channel()?;
        let store = session.store(channel)?;
        let mut ids = self.ids;
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        // A job that does not end when asked may take long, and its end must not wait for that of another.
        let fates = session.block_on(all(channel, &store, &ids, session.quiet()));
        if session.json() {
            let told = ids.iter().zip(&fates);
            let told: Vec<_> =
                told.filter_map(|(id, fate)| Some(words::json(*id, fate.as_ref().ok()?))).collect();
            session.print_json(&told)?;
        }
        let mut failures = Vec::new();
        for (id, fate) in ids.into_iter().zip(fates) {
            match fate {
                Ok(fate) => match words::cancelled(id, &fate) {
                    Some(text) if !session.json() => session.print(&text)?,
                    Some(_) => {}
                    None => failures.push(words::failure(id, &fate, &channel.name)),
                },
                Err(error) => failures.push(Failure::store(format!("cancel job {id}"), error)),
            }
        }
        // One that could not be cancelled does not hide what became of the others.
        let last = failures.pop();
        failures.iter().for_each(|failure| session.report(failure));
        last.map_or(Ok(()), Err)
    }
}

async fn all(
    channel: &Channel,
    store: &Arc<dyn Store>,
    ids: &[JobId],
    quiet: bool,
) -> Vec<Result<Fate, StoreError>> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let begun: Vec<_> = ids
        .iter()
        .map(|id| {
            let (id, places) = (*id, Arc::clone(&places));
            let one = One { id, channel: channel.clone(), store: Arc::clone(store) };
            tokio::spawn(async move {
                let _place = places.acquire().await.expect("nobody closes it");
                let patience = move |report: &ChannelStatus| {
                    if !quiet {
                        // Nobody can be told when this does not work.
                        let _ = writeln!(std::io::stderr(), "note: {}", words::patience(id, report));
                    }
                };
                one.cancel(patience).await
            })
        })
        .collect();
    let mut fates = Vec::with_capacity(begun.len());
    for task in begun {
        fates.push(task.await.expect("a cancel does not panic"));
    }
    fates
}
