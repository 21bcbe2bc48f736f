//! `queue:jobs --state done`: the last done jobs of a channel, which its master keeps in memory, or its store with `keep_done`.

use serde_json::{Value as Json, json};

use super::control;
use super::kept_jobs::{self, Wanted};
use super::per_channel::{self, ChannelDone};
use super::searched::Searched;
use super::table::{self, Column};
use super::{CommandContext, Exit, Failure, job_options, job_output, render, sanitize, time};
use crate::channel::{DoneRun, DoneRunsPage, MAX_DONE_RUNS};
use crate::config::{Channel, KeepDone};
use crate::control::{ControlRequest, ControlResponse};
use crate::store::{Cursor, SearchLimits, Store};

const HEADER: [Column; 6] = [
    Column::fixed("id"),
    Column::remark("job", 12),
    Column::fixed("attempt"),
    Column::fixed("took"),
    Column::fixed("MiB"),
    Column::fixed("done at"),
];
/// The start of a position of this list.
const STATE: &str = "done:";
const FORM: &str = "use the position that the previous page printed";
const DOING: &str = "list the done jobs";

/// Lists the done jobs of the channels; `page_after` is a position that [`Place::text`] wrote.
pub(super) fn run(
    context: &CommandContext,
    all: bool,
    wanted: Wanted<'_>,
    limits: SearchLimits,
    page_after: Option<&str>,
) -> Result<(), Failure> {
    let after = page_after.map(Place::parse).transpose().map_err(wrong_position)?;
    per_channel::one_or_several(context, all, |channel| {
        let list = match (channel.keep_done, after) {
            (Some(_), None) => stored(context, channel, wanted, limits, None)?,
            (Some(_), Some(Place::Stored(after))) => stored(context, channel, wanted, limits, Some(after))?,
            (None, None) => in_memory(channel, wanted, limits.matches, None)?,
            (None, Some(Place::InMemory(before))) => {
                in_memory(channel, wanted, limits.matches, Some(before))?
            }
            (_, Some(_)) => return Err(wrong_position(FORM)),
        };
        let text = text(channel, &list, context.columns());
        Ok(ChannelDone::new(channel, text, to_json(&channel.name, &list)))
    })
}

/// A page of done jobs, newest first.
#[derive(Debug, Default)]
struct DoneList {
    runs: Vec<DoneRun>,
    next: Option<Place>,
    /// How far a search in the store has come.
    searched: Option<Searched>,
}

/// The last done jobs of a channel that `wanted` admits, newest first, for `queue:top`.
#[cfg(feature = "top")]
pub(super) fn last(
    context: &CommandContext,
    channel: &Channel,
    wanted: Wanted<'_>,
    limits: SearchLimits,
) -> Result<Vec<DoneRun>, Failure> {
    let list = match channel.keep_done {
        Some(_) => stored(context, channel, wanted, limits, None)?,
        None => in_memory(channel, wanted, limits.matches, None)?,
    };
    Ok(list.runs)
}

/// A page of the last jobs in the memory of the master.
fn in_memory(
    channel: &Channel,
    wanted: Wanted<'_>,
    limit: usize,
    mut before: Option<u64>,
) -> Result<DoneList, Failure> {
    let mut list = DoneList::default();
    loop {
        let room = u16::try_from(limit - list.runs.len()).unwrap_or(u16::MAX);
        let request = ControlRequest::Done { before, limit: room };
        let take = |response| match response {
            ControlResponse::Done(page) => Some(page),
            _ => None,
        };
        let page: DoneRunsPage = control::ask(channel, DOING, request, |_| {}, take)?;
        before = page.next;
        list.runs.extend(page.runs.into_iter().filter(|run| wanted.admits(run)));
        if page.next.is_none() || list.runs.len() >= limit {
            list.next = page.next.map(Place::InMemory);
            return Ok(list);
        }
    }
}

/// A page of the jobs that the channel keeps in its store.
fn stored(
    context: &CommandContext,
    channel: &Channel,
    wanted: Wanted<'_>,
    limits: SearchLimits,
    after: Option<Cursor>,
) -> Result<DoneList, Failure> {
    context.note_store(channel);
    let find = async |store: &dyn Store| kept_jobs::find(store, wanted, after, limits).await;
    let found = context.call_store(channel, DOING, find)?;
    let searched = wanted.text.map(|_| Searched { scanned: found.scanned, of: found.total });
    Ok(DoneList { runs: found.runs, next: found.next.map(Place::Stored), searched })
}

/// The failure of a page whose position is none.
pub(super) fn wrong_position(why: &'static str) -> Failure {
    Failure::new(Exit::Usage, "find the page").because(format!("--page-after is no position: {why}"))
}

/// A position of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    InMemory(u64),
    Stored(Cursor),
}

impl Place {
    /// Parses a place that [`Place::text`] wrote.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let position = text.strip_prefix(STATE).ok_or(FORM)?;
        match position.parse() {
            Ok(number) => Ok(Self::InMemory(number)),
            Err(_) => job_options::position(position).map(Self::Stored),
        }
    }

    fn text(self) -> String {
        match self {
            Self::InMemory(next) => format!("{STATE}{next}"),
            Self::Stored(next) => format!("{STATE}{}", job_options::position_text(next)),
        }
    }
}

fn text(channel: &Channel, list: &DoneList, columns: Option<usize>) -> String {
    let name = &channel.name;
    if list.runs.is_empty() && list.searched.is_none() {
        return match channel.keep_done {
            None => format!(
                "The master of channel \"{name}\" has none of these jobs; it keeps the last {MAX_DONE_RUNS} done ones while it runs."
            ),
            Some(KeepDone { count, age }) => format!(
                "The store of channel \"{name}\" has none of these jobs; it keeps the last {count} done ones for {}.",
                render::seconds(age)
            ),
        };
    }
    let mut shown = String::new();
    if !list.runs.is_empty() {
        shown.push_str(&format!("Done jobs of channel \"{name}\", newest first:\n"));
        shown.push_str(&table::render(&HEADER, list.runs.iter().map(row), columns));
    }
    if let Some(searched) = list.searched {
        shown.push_str(&searched.line(name, list.runs.len()));
    }
    if let Some(next) = list.next {
        shown.push_str(&format!("Next page: --page-after {}\n", next.text()));
    }
    shown.truncate(shown.trim_end().len());
    shown
}

fn row(run: &DoneRun) -> Vec<String> {
    vec![
        run.id.to_string(),
        sanitize::line(&run.job).into_owned(),
        run.attempt.to_string(),
        render::duration(run.took_ms),
        run.rss_peak.map_or_else(|| "-".to_owned(), |bytes| (bytes >> 20).to_string()),
        time::local(run.at),
    ]
}

fn to_json(channel: &str, list: &DoneList) -> Json {
    let jobs: Vec<_> = list.runs.iter().map(|run| job_output::done_json(channel, run)).collect();
    let mut json = json!({ "jobs": jobs, "next": list.next.map(Place::text) });
    if let Some(searched) = list.searched {
        searched.add_to(&mut json);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_read_as_written() {
        for place in [Place::InMemory(17), Place::Stored(Cursor { rank: 1_790_000_000_000_000, id: 17 })] {
            assert_eq!(Place::parse(&place.text()), Ok(place));
        }
        for wrong in ["17", "waiting:17", "done:x", "done:1.x"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
