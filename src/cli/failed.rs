//! `queue:failed`: lists failed jobs, newest first, page by page.

use clap::Args;
use serde_json::{Value as Json, json};

use super::job_options::{FailedJobOptions, position, position_text};
use super::job_output::ProcessJson;
use super::per_channel::{self, ChannelDone};
use super::{CommandContext, Failure, sanitize, time};
use crate::store::{self, Cursor, JobFilter, JobState, JobView, Page};

/// Columns before an error on its line.
const ERROR_INDENT: usize = 4;

/// List failed jobs, newest first
#[derive(Debug, Args)]
pub(crate) struct Failed {
    /// All declared channels (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with_all = ["channels", "page_after"])]
    all: bool,
    #[command(flatten)]
    options: FailedJobOptions,
    /// Number of jobs per page
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Position after which the page starts, as printed by the previous page
    #[arg(long, value_name = "POSITION", value_parser = position)]
    page_after: Option<Cursor>,
}

impl Failed {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let (after, limit) = (self.page_after, usize::from(self.limit));
        let filter = self.options.filter(Vec::new());
        per_channel::one_or_several(context, self.all, |channel| {
            context.note_store(channel);
            let page = context.call_store(channel, "list the failed jobs", async |store| {
                store::list(store, JobState::Failed, &filter, after, limit).await
            })?;
            let list = List {
                channel: &channel.name,
                page: &page,
                is_later: after.is_some(),
                is_selected: filter != JobFilter::default(),
            };
            let text = render(&list, context.columns());
            Ok(ChannelDone::new(channel, text, to_json(&page)))
        })
    }
}

/// A page of the failed jobs of a channel.
struct List<'a> {
    channel: &'a str,
    page: &'a Page,
    /// Whether earlier pages were shown.
    is_later: bool,
    /// Whether options select the jobs.
    is_selected: bool,
}

/// The page as text: two lines per job, the second one with the last error, which would not fit into a column of a table. Only
/// the width of a terminal cuts it.
fn render(list: &List<'_>, columns: Option<usize>) -> String {
    let List { channel, page, is_later, is_selected } = list;
    if page.jobs.is_empty() {
        let more = if *is_later { " more" } else { "" };
        let such = if *is_selected { " that match the options" } else { "" };
        return format!("Channel \"{channel}\" has no{more} failed jobs{such}.");
    }
    let error_chars = columns.map_or(usize::MAX, |columns| columns.saturating_sub(ERROR_INDENT));
    let outcomes: Vec<_> = page.jobs.iter().map(outcome).collect();
    let widest = outcomes.iter().map(String::len).chain(["reason (attempts)".len()]).max().unwrap_or(0);
    let times: Vec<_> = page.jobs.iter().map(|job| time::local(job.at)).collect();
    // A time without a local zone names its zone.
    let at_width = times.iter().map(String::len).max().unwrap_or(0);
    let mut shown = format!("Failed jobs of channel \"{channel}\", newest first:\n");
    shown.push_str(&format!(
        "{:<16}  {:<at_width$}  {:<widest$}  job\n",
        "id", "failed at", "reason (attempts)"
    ));
    for ((job, at), outcome) in page.jobs.iter().zip(times).zip(outcomes) {
        let name = sanitize::line(&job.meta.job);
        shown.push_str(&format!("{:<16}  {at:<at_width$}  {outcome:<widest$}  {name}\n", job.id));
        if let Some(error) = job.meta.errors.last() {
            let error = sanitize::truncated(&error.message, error_chars);
            shown.push_str(&format!("{:ERROR_INDENT$}{error}\n", ""));
        }
    }
    if let Some(next) = page.next {
        shown.push_str(&format!("Next page: --page-after {}\n", position_text(next)));
    }
    shown.truncate(shown.trim_end().len());
    shown
}

fn outcome(job: &JobView) -> String {
    let reason = job.meta.failed.map_or("unknown", |reason| reason.as_str());
    format!("{reason} ({})", job.meta.attempts)
}

fn to_json(page: &Page) -> Json {
    let jobs: Vec<Json> = page
        .jobs
        .iter()
        .map(|job| {
            json!({
                "id": job.id,
                "job": job.meta.job,
                "reason": job.meta.failed,
                "attempts": job.meta.attempts,
                "failed_at": time::rfc3339(job.at),
                "last_error": job.meta.errors.last().map(|error| &error.message),
                "process": last_process(job),
            })
        })
        .collect();
    json!({ "jobs": jobs, "next": page.next.map(position_text) })
}

/// The end of the process of the last attempt.
fn last_process(job: &JobView) -> Option<ProcessJson<'_>> {
    job.meta.errors.last()?.process.as_ref().map(ProcessJson::of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ErrorKind, FailReason, JobId, JobMeta, Timestamp};

    fn shown(channel: &str, page: &Page, is_later: bool, is_selected: bool) -> String {
        render(&List { channel, page, is_later, is_selected }, Some(80))
    }

    fn page() -> Page {
        let mut meta = JobMeta::named("send_email");
        (meta.attempts, meta.failed) = (3, Some(FailReason::Exhausted));
        meta.record_error(3, Timestamp(1), ErrorKind::Error, "no route to \x1b[31mhost\nsecond line");
        let at = Timestamp(1_796_029_200_000_000);
        let job = JobView { id: JobId(17), state: JobState::Failed, at, meta, payload: "{}".to_owned() };
        Page { jobs: vec![job], next: Some(Cursor { rank: 5, id: 17 }) }
    }

    #[test]
    fn page_shows_sanitized_lines_and_next_cursor() {
        let shown = shown("default", &page(), false, false);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], "Failed jobs of channel \"default\", newest first:");
        assert_eq!(lines[1], "id                failed at            reason (attempts)  job");
        assert!(lines[2].starts_with("17                2026-11-30 "), "{shown}");
        assert!(lines[2].ends_with("  exhausted (3)      send_email"), "{shown}");
        assert_eq!(
            lines[3..],
            ["    no route to \\u{1b}[31mhost\\nsecond line", "Next page: --page-after 5.17"]
        );
    }

    #[test]
    fn only_a_terminal_cuts_errors() {
        let mut page = page();
        page.jobs[0].meta.failed = Some(FailReason::UnknownJob);
        page.jobs[0].meta.record_error(3, Timestamp(2), ErrorKind::Error, &"word ".repeat(100));
        let list = List { channel: "default", page: &page, is_later: false, is_selected: false };
        let longest = |columns| {
            render(&list, columns).lines().map(|line| line.chars().count()).max().unwrap_or_default()
        };
        assert_eq!((longest(Some(80)), longest(Some(120))), (80, 120));
        assert_eq!(longest(None), ERROR_INDENT + "word ".repeat(100).trim_end().len());
    }

    #[test]
    fn empty_page_says_so() {
        let empty = Page::default();
        assert_eq!(shown("mail", &empty, false, false), "Channel \"mail\" has no failed jobs.");
        assert_eq!(shown("mail", &empty, true, false), "Channel \"mail\" has no more failed jobs.");
        let selected = "Channel \"mail\" has no failed jobs that match the options.";
        assert_eq!(shown("mail", &empty, false, true), selected);
    }

    #[test]
    fn json_has_numeric_times() {
        let json = to_json(&page());
        assert_eq!(json["jobs"][0]["failed_at"], "2026-11-30T09:00:00Z");
        assert_eq!((&json["jobs"][0]["reason"], &json["next"]), (&json!("exhausted"), &json!("5.17")));
    }
}
