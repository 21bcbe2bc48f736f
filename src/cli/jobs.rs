//! `queue:jobs`: lists jobs by state, page by page.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value as Json, json};

use super::job_options::{named, position, position_text};
use super::kept_jobs::Wanted;
use super::per_channel::{self, ChannelDone};
use super::searched::Searched;
use super::table::{self, Column};
use super::{CommandContext, Exit, Failure, done_jobs, render, sanitize, time};
use crate::config::Channel;
use crate::job::Priority;
use crate::store::{self, Cursor, Found, JobFilter, JobState, JobView, SearchLimits};

/// Place of the priority among the columns.
const PRIORITY_COLUMN: usize = 3;
const HEADER: [Column; 6] = [
    Column::fixed("id"),
    Column::remark("job", 12),
    Column::fixed("state"),
    Column::fixed("priority"),
    Column::fixed("attempts"),
    Column::fixed("pushed, due or failed"),
];

/// List running, waiting, delayed or done jobs
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Only jobs in this state; may be repeated [default: reserved, waiting and delayed]
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = named(LISTED, Listed::as_str))]
    states: Vec<Listed>,
    /// Only jobs with this name
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Only jobs with this text in name, payload or errors; upper and lower case count as equal
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    grep: Option<String>,
    /// Only jobs with this text in id, name, payload or errors: reads at most 5,000 jobs, then prints the position of the next page
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = NonEmptyStringValueParser::new(),
        conflicts_with_all = ["grep", "limit"]
    )]
    search: Option<String>,
    /// All declared channels (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with_all = ["channels", "page_after"])]
    all: bool,
    /// Number of jobs per page
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Position after which the page starts, as printed by the previous page
    #[arg(long, value_name = "POSITION")]
    page_after: Option<String>,
}

/// A state that can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    /// A state of the store.
    Stored(JobState),
    /// The last done jobs, which the master keeps in memory or the store apart from all others.
    Done,
}

const LISTED: [Listed; 5] = [
    Listed::Stored(JobState::Delayed),
    Listed::Stored(JobState::Waiting),
    Listed::Stored(JobState::Reserved),
    Listed::Stored(JobState::Failed),
    Listed::Done,
];

impl Listed {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stored(state) => state.as_str(),
            Self::Done => "done",
        }
    }
}

/// The end of a page: a state, and a position in the list of that state.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    state: JobState,
    after: Option<Cursor>,
}

/// Parses a place that [`place_text`] wrote.
fn place(text: &str) -> Result<Place, &'static str> {
    const FORM: &str = "use the position that the previous page printed";
    let (name, after) = text.split_once(':').ok_or(FORM)?;
    let state = JobState::ALL.into_iter().find(|state| state.as_str() == name).ok_or(FORM)?;
    let after = if after.is_empty() { None } else { Some(position(after)?) };
    Ok(Place { state, after })
}

fn place_text(place: Place) -> String {
    format!("{}:{}", place.state.as_str(), place.after.map(position_text).unwrap_or_default())
}

/// Jobs of several states, one state after the other.
#[derive(Default)]
struct JobList {
    jobs: Vec<JobView>,
    next: Option<Place>,
    /// How far a search has come.
    searched: Option<Searched>,
}

impl Jobs {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let filter = JobFilter {
            job: self.job.clone(),
            text: self.grep.clone(),
            anywhere: self.search.clone(),
            ..JobFilter::default()
        };
        if self.states == [Listed::Done] {
            if self.grep.is_some() {
                return Err(Failure::new(Exit::Usage, "list the done jobs")
                    .because("no payload and no errors of a done job are kept to search in")
                    .hint(
                        "select them by name, with --job, or by a part of the name or the id, with --search",
                    ));
            }
            let wanted = Wanted { job: self.job.as_deref(), text: self.search.as_deref() };
            let page = match self.search {
                Some(_) => SearchLimits::PAGE,
                None => SearchLimits::unbounded(usize::from(self.limit)),
            };
            return done_jobs::run(context, self.all, wanted, page, self.page_after.as_deref());
        }
        let states = self.states()?;
        per_channel::one_or_several(context, self.all, |channel| {
            context.note_store(channel);
            let list = self.list(context, channel, &states, &filter)?;
            let text = render(&channel.name, &list, &states, context.columns());
            Ok(ChannelDone::new(channel, text, to_json(&list)))
        })
    }

    /// The states to list, in the order of the output: what runs first, what failed last.
    fn states(&self) -> Result<Vec<JobState>, Failure> {
        if self.states.contains(&Listed::Done) {
            return Err(Failure::new(Exit::Usage, "list the jobs")
                .because("done jobs are kept apart from those of the other states")
                .hint("list them alone, with --state done"));
        }
        let order = [JobState::Reserved, JobState::Waiting, JobState::Delayed, JobState::Failed];
        let is_wanted = |state: &JobState| match self.states.as_slice() {
            [] => *state != JobState::Failed,
            named => named.contains(&Listed::Stored(*state)),
        };
        Ok(order.into_iter().filter(is_wanted).collect())
    }

    fn list(
        &self,
        context: &CommandContext,
        channel: &Channel,
        states: &[JobState],
        filter: &JobFilter,
    ) -> Result<JobList, Failure> {
        let limit = usize::from(self.limit);
        let first = self.page_after.as_deref().map(place).transpose().map_err(done_jobs::wrong_position)?;
        let skipped = match first.map(|place| states.iter().position(|state| *state == place.state)) {
            None => 0,
            Some(Some(skipped)) => skipped,
            Some(None) => return Err(done_jobs::wrong_position("its state is not among the listed ones")),
        };
        context.call_store(channel, "list the jobs", async |store| {
            let mut list = JobList::default();
            if self.search.is_some() {
                let counts = store.status().await?;
                let of = states.iter().map(|state| counts.of(*state)).sum();
                list.searched = Some(Searched { scanned: 0, of });
            }
            for state in states.iter().copied().skip(skipped) {
                let scanned = list.searched.map_or(0, |searched| searched.scanned);
                let limits = match list.searched {
                    Some(_) => {
                        SearchLimits { records: SearchLimits::PAGE.records - scanned, ..SearchLimits::PAGE }
                    }
                    None => SearchLimits::unbounded(limit),
                };
                let limits = SearchLimits { matches: limits.matches - list.jobs.len(), ..limits };
                if limits.matches == 0 || limits.records == 0 {
                    list.next = Some(Place { state, after: None });
                    break;
                }
                let after = first.filter(|place| place.state == state).and_then(|place| place.after);
                let Found { page, scanned } = match &mut list.searched {
                    Some(_) => store::search(store, state, filter, after, limits).await?,
                    None => {
                        let page = store::list(store, state, filter, after, limits.matches).await?;
                        Found { page, scanned: 0 }
                    }
                };
                if let Some(searched) = &mut list.searched {
                    searched.scanned += scanned;
                }
                list.jobs.extend(page.jobs);
                if page.next.is_some() {
                    list.next = Some(Place { state, after: page.next });
                    break;
                }
            }
            Ok(list)
        })
    }
}

fn render(channel: &str, list: &JobList, states: &[JobState], columns: Option<usize>) -> String {
    if list.jobs.is_empty() && list.searched.is_none() {
        let states: Vec<_> = states.iter().map(|state| state.as_str().to_owned()).collect();
        return format!("Channel \"{channel}\" has none of these jobs: {}.", render::listed(&states));
    }
    let mut shown = String::new();
    if !list.jobs.is_empty() {
        let (mut header, mut rows) = (HEADER.to_vec(), list.jobs.iter().map(row).collect::<Vec<_>>());
        // Most channels use no priorities.
        if list.jobs.iter().all(|job| job.meta.priority == Priority::Normal) {
            header.remove(PRIORITY_COLUMN);
            rows.iter_mut().for_each(|row| drop(row.remove(PRIORITY_COLUMN)));
        }
        shown.push_str(&format!("Jobs of channel \"{channel}\":\n"));
        shown.push_str(&table::render(&header, rows, columns));
    }
    if let Some(searched) = list.searched {
        shown.push_str(&searched.line(channel, list.jobs.len()));
    }
    if let Some(next) = list.next {
        shown.push_str(&format!("Next page: --page-after {}\n", place_text(next)));
    }
    shown.truncate(shown.trim_end().len());
    shown
}

fn row(job: &JobView) -> Vec<String> {
    vec![
        job.id.to_string(),
        sanitize::line(&job.meta.job).into_owned(),
        job.state.as_str().to_owned(),
        job.meta.priority.as_str().to_owned(),
        job.meta.attempts.to_string(),
        time::local(job.at),
    ]
}

fn to_json(list: &JobList) -> Json {
    let at = |job: &JobView, state| if job.state == state { time::rfc3339(job.at) } else { None };
    let jobs: Vec<Json> = list
        .jobs
        .iter()
        .map(|job| {
            json!({
                "id": job.id,
                "job": job.meta.job,
                "state": job.state,
                "priority": job.meta.priority,
                "attempts": job.meta.attempts,
                "pushed_at": time::rfc3339(job.meta.pushed_at(job.id)),
                "due_at": at(job, JobState::Delayed),
                "failed_at": at(job, JobState::Failed),
            })
        })
        .collect();
    let mut json = json!({ "jobs": jobs, "next": list.next.map(place_text) });
    if let Some(searched) = list.searched {
        searched.add_to(&mut json);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_of_a_page_is_read_as_written() {
        for place_in in [
            Place { state: JobState::Delayed, after: Some(Cursor { rank: 5, id: 17 }) },
            Place { state: JobState::Waiting, after: None },
        ] {
            assert_eq!(place(&place_text(place_in)), Ok(place_in));
        }
        for wrong in ["5.17", "done:5.17", "waiting:x"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
