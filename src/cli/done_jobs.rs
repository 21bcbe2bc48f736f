//! `queue:jobs --state done`: the last done jobs of a channel, which its master keeps in memory.

use serde_json::{Value as Json, json};

use super::control;
use super::per_channel::{self, ChannelDone};
use super::table::{self, Column};
use super::{CommandContext, Exit, Failure, job_output, render, sanitize, time};
use crate::channel::{DoneRun, DoneRunsPage, MAX_DONE_RUNS};
use crate::master::{ControlRequest, ControlResponse};

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

/// The done jobs to list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// Only jobs of this name.
    pub(super) job: Option<&'a str>,
    /// Only jobs with this text in id or name.
    pub(super) text: Option<&'a str>,
}

impl Wanted<'_> {
    fn admits(&self, run: &DoneRun) -> bool {
        let has = |text: &str| {
            run.id.to_string().contains(text) || run.job.to_lowercase().contains(&text.to_lowercase())
        };
        self.job.is_none_or(|job| run.job == job) && self.text.is_none_or(has)
    }
}

/// Lists the done jobs of the channels; `page_after` is a position that [`position_text`] wrote.
pub(super) fn run(
    context: &CommandContext,
    all: bool,
    wanted: Wanted<'_>,
    limit: u16,
    page_after: Option<&str>,
) -> Result<(), Failure> {
    let mut before = page_after.map(position).transpose().map_err(wrong_position)?;
    per_channel::one_or_several(context, all, |channel| {
        let mut page = DoneRunsPage::default();
        loop {
            let limit = limit - u16::try_from(page.runs.len()).unwrap_or(limit);
            let request = ControlRequest::Done { before, limit };
            let take = |response| match response {
                ControlResponse::Done(page) => Some(page),
                _ => None,
            };
            let more: DoneRunsPage = control::ask(channel, "list the done jobs", request, |_| {}, take)?;
            page.next = more.next;
            page.runs.extend(more.runs.into_iter().filter(|run| wanted.admits(run)));
            before = page.next;
            if page.next.is_none() || page.runs.len() >= usize::from(limit) {
                break;
            }
        }
        let text = text(&channel.name, &page, context.columns());
        Ok(ChannelDone::new(channel, text, to_json(&channel.name, &page)))
    })
}

/// The failure of a page whose position is none.
pub(super) fn wrong_position(why: &'static str) -> Failure {
    Failure::new(Exit::Usage, "find the page").because(format!("--page-after is no position: {why}"))
}

fn position(text: &str) -> Result<u64, &'static str> {
    let number = text.strip_prefix(STATE).and_then(|number| number.parse().ok());
    number.ok_or("use the position that the previous page printed")
}

fn position_text(next: u64) -> String {
    format!("{STATE}{next}")
}

fn text(channel: &str, page: &DoneRunsPage, columns: Option<usize>) -> String {
    if page.runs.is_empty() {
        return format!(
            "The master of channel \"{channel}\" has none of these jobs; it keeps the last {MAX_DONE_RUNS} done ones while it runs."
        );
    }
    let mut shown = format!("Done jobs of channel \"{channel}\", newest first:\n");
    shown.push_str(&table::render(&HEADER, page.runs.iter().map(row), columns));
    if let Some(next) = page.next {
        shown.push_str(&format!("Next page: --page-after {}\n", position_text(next)));
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

fn to_json(channel: &str, page: &DoneRunsPage) -> Json {
    let jobs: Vec<_> = page.runs.iter().map(|run| job_output::done_json(channel, run)).collect();
    json!({ "jobs": jobs, "next": page.next.map(position_text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_read_as_written() {
        assert_eq!(position(&position_text(17)), Ok(17));
        assert!(position("17").is_err() && position("waiting:17").is_err() && position("done:x").is_err());
    }
}
