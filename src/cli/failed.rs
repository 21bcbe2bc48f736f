//! `queue:failed`: lists failed jobs, newest first, page by page.

use clap::Args;
use serde_json::{Value as Json, json};

use super::{CommandContext, Failure, sanitize, table, time};
use crate::store::{Cursor, JobState, JobView, Page};

/// List failed jobs, newest first
#[derive(Debug, Args)]
pub(crate) struct Failed {
    /// Number of jobs per page
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Position after which the page starts, as printed by the previous page
    #[arg(long, value_name = "POSITION", value_parser = position)]
    page_after: Option<Cursor>,
}

/// Parses a position that [`position_text`] wrote.
fn position(text: &str) -> Result<Cursor, &'static str> {
    const FORM: &str = "use the position that the previous page printed";
    let (rank, id) = text.split_once('.').ok_or(FORM)?;
    let rank = rank.parse().map_err(|_| FORM)?;
    Ok(Cursor { rank, id: id.parse().map_err(|_| FORM)? })
}

fn position_text(cursor: Cursor) -> String {
    format!("{}.{}", cursor.rank, cursor.id)
}

impl Failed {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channel = context.channel()?;
        context.note_store(channel);
        let (after, limit) = (self.page_after, usize::from(self.limit));
        let page = context.call_store(channel, "list the failed jobs", async |store| {
            store.list(JobState::Failed, after, limit).await
        })?;
        context.show(&to_json(&channel.name, &page), &render(&channel.name, &page, after.is_some()))
    }
}

fn render(channel: &str, page: &Page, later_page: bool) -> String {
    if page.jobs.is_empty() {
        let more = if later_page { " more" } else { "" };
        return format!("Channel \"{channel}\" has no{more} failed jobs.\n");
    }
    let header = ["id", "job", "reason", "attempts", "failed at", "last error"];
    let mut shown = table::render(&header, page.jobs.iter().map(row));
    if let Some(next) = page.next {
        shown.push_str(&format!("Next page: --page-after {}\n", position_text(next)));
    }
    shown
}

fn row(job: &JobView) -> Vec<String> {
    let meta = &job.meta;
    let error = meta.errors.last().map(|error| sanitize::truncated(&error.message, 60));
    vec![
        job.id.to_string(),
        sanitize::truncated(&meta.job, 40),
        meta.failed.map_or("", |reason| reason.as_str()).to_owned(),
        meta.attempts.to_string(),
        time::local(job.at),
        error.unwrap_or_default(),
    ]
}

fn to_json(channel: &str, page: &Page) -> Json {
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
            })
        })
        .collect();
    json!({ "channel": channel, "jobs": jobs, "next": page.next.map(position_text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ErrorKind, FailReason, JobId, JobMeta, Timestamp};

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
        let shown = render("default", &page(), false);
        assert!(shown.contains("│ 17 │ send_email │ exhausted │ 3        │ 2026-11-30 "), "{shown}");
        assert!(shown.contains("no route to \\u{1b}[31mhost\\nsecond line"), "{shown}");
        assert!(shown.ends_with("Next page: --page-after 5.17\n"), "{shown}");
        let place = position("5.17").unwrap();
        assert_eq!((place.rank, place.id), (5, 17));
        assert!(position("5").is_err());
    }

    #[test]
    fn empty_page_says_so() {
        let empty = Page::default();
        assert_eq!(render("mail", &empty, false), "Channel \"mail\" has no failed jobs.\n");
        assert_eq!(render("mail", &empty, true), "Channel \"mail\" has no more failed jobs.\n");
    }

    #[test]
    fn json_has_numeric_times() {
        let json = to_json("default", &page());
        assert_eq!(json["jobs"][0]["failed_at"], "2026-11-30T09:00:00Z");
        assert_eq!((&json["jobs"][0]["reason"], &json["next"]), (&json!("exhausted"), &json!("5.17")));
    }
}
