//! Readings of this machine: channels as the dashboard reads them, from the control sockets of masters and from the stores; lists
//! of jobs and texts about one as the commands read them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::collector::Collect;
use super::reading::{
    ChannelReading, ChannelsAnswer, Chosen, JobList, JobRow, OpenText, Pane, Reading, SeriesAnswer,
    StateWord, TextKind, Wanted, WantedText,
};
use crate::cli::control::{self, MasterState};
use crate::cli::kept_jobs::Wanted as WantedDone;
use crate::cli::local_masters::LocalMasters;
use crate::cli::{CommandContext, Failure, done_jobs, job_output, running, show, time, why};
use crate::config::{Channel, Config, Driver};
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::{Readings, Stores};
use crate::guardian::process_list::tree;
use crate::job::{FailReason, Timestamp};
use crate::master;
use crate::pool::RunningJob;
use crate::snapshot::Step;
use crate::store::model::Model;
use crate::store::{self, JobFilter, JobState, JobView, SearchLimits};

/// Most jobs of a list.
const MAX_JOBS: usize = 100;
/// Longest error of a row, in bytes.
const MAX_ERROR: usize = 500;
/// Most processes of a job.
const MAX_PROCESSES: usize = 500;
/// The time that charts cover.
const CHARTED: Duration = Duration::from_secs(900);
/// Time between two questions why a channel waits.
const WHY_INTERVAL: Duration = Duration::from_secs(3);

/// Reads the channels of this machine.
pub(super) struct Local {
    context: CommandContext,
    config: Arc<Config>,
    host: String,
    stores: Stores,
    readings: Readings,
    /// The channels without a store, in order.
    absent: Vec<String>,
    /// The last sentence, its channel and its time.
    why: Option<(String, Instant, String)>,
}

impl Local {
    pub(super) fn new(context: CommandContext) -> Result<Self, Failure> {
        let config = Arc::new(context.config()?.clone());
        let absent = absent(&config);
        let (stores, readings) = readings(&config, &absent);
        let host = master::own_identity().host;
        Ok(Self { context, config, host, stores, readings, absent, why: None })
    }

    /// Opens the stores again after the first push has created one.
    fn follow_stores(&mut self) {
        let absent = absent(&self.config);
        if absent != self.absent {
            (self.stores, self.readings) = readings(&self.config, &absent);
            self.absent = absent;
        }
    }

    fn choose(&mut self, name: &str, wanted: &Wanted) -> Option<Chosen> {
        let reading = self.context.block_on(self.readings.channel(name))?;
        let reading: ChannelReading = serde_json::from_value(reading).ok()?;
        let config = Arc::clone(&self.config);
        let channel = config.channels.get(name)?;
        let series = self.readings.series(name, Step::TenSeconds, CHARTED);
        let series: SeriesAnswer = serde_json::from_value(self.context.block_on(series)).unwrap_or_default();
        let answers = !matches!(reading.state, StateWord::Stuck | StateWord::NoMaster);
        let runs = if answers { runs(channel) } else { Vec::new() };
        let why = match reading.state {
            StateWord::Stuck => "The master does not answer.".to_owned(),
            _ => self.why(channel),
        };
        let text = wanted.text.map(|text| OpenText { wanted: text, lines: self.text(channel, text, &runs) });
        let jobs = self.jobs(channel, wanted);
        Some(Chosen { channel: reading, points: series.points, scaled: series.scaled, runs, why, jobs, text })
    }

    fn why(&mut self, channel: &Channel) -> String {
        if let Some((name, at, sentence)) = &self.why
            && *name == channel.name
            && at.elapsed() < WHY_INTERVAL
        {
            return sentence.clone();
        }
        let sentence =
            why::sentence(&self.context, channel, None).unwrap_or_else(|failure| failure.to_string());
        self.why = Some((channel.name.clone(), Instant::now(), sentence.clone()));
        sentence
    }

    fn jobs(&self, channel: &Channel, wanted: &Wanted) -> JobList {
        let listed = match wanted.pane {
            Pane::Failed => self.stored(channel, JobState::Failed, &wanted.search),
            Pane::Waiting => self.stored(channel, JobState::Waiting, &wanted.search),
            Pane::Delayed => self.stored(channel, JobState::Delayed, &wanted.search),
            Pane::Done => self.done(channel, &wanted.search),
            Pane::Workers | Pane::Running | Pane::Scaling | Pane::Alerts => Ok(JobList::default()),
        };
        let listed = listed.unwrap_or_else(|why| JobList { note: why, ..JobList::default() });
        JobList { pane: wanted.pane, ..listed }
    }

    fn stored(&self, channel: &Channel, state: JobState, search: &str) -> Result<JobList, String> {
        let Some(store) = self.stores.get(&channel.name) else { return Ok(JobList::default()) };
        let filter = JobFilter { anywhere: Some(search.to_owned()), ..JobFilter::default() };
        let (page, note) = self
            .context
            .block_on(async {
                if search.is_empty() {
                    return Ok((store.list(state, None, MAX_JOBS).await?, String::new()));
                }
                let found = store::search(&**store, state, &filter, None, SearchLimits::PAGE).await?;
                let more = if found.page.next.is_some() { " · more: queue:jobs --search" } else { "" };
                Ok((found.page, format!("searched {} jobs{more}", found.scanned)))
            })
            .map_err(|error: store::StoreError| crate::job::error_chain(&error))?;
        Ok(JobList { jobs: page.jobs.iter().map(row).collect(), note, ..JobList::default() })
    }

    fn done(&self, channel: &Channel, search: &str) -> Result<JobList, String> {
        let wanted = WantedDone { job: None, text: Some(search).filter(|text| !text.is_empty()) };
        let limits = SearchLimits { matches: MAX_JOBS, ..SearchLimits::PAGE };
        let done = done_jobs::last(&self.context, channel, wanted, limits);
        Ok(JobList { done: done.map_err(|failure| failure.cause())?, ..JobList::default() })
    }

    fn text(&self, channel: &Channel, wanted: WantedText, runs: &[RunningJob]) -> Vec<String> {
        let id = wanted.job;
        let text = match wanted.kind {
            TextKind::Details => show::text(&self.context, channel, id),
            TextKind::Why => why::sentence(&self.context, channel, Some(id)),
            TextKind::Output => self.output(channel, wanted),
            TextKind::Processes => {
                let run = runs.iter().find(|run| run.id == id);
                let pid = run.and_then(|run| run.run.pid).or(wanted.pid);
                let rows = pid.map(|pid| tree(pid, MAX_PROCESSES)).unwrap_or_default();
                Ok(match rows.is_empty() {
                    true => "No process of the job runs on this machine.".to_owned(),
                    false => rows.iter().map(|row| running::process_line(row, false)).collect(),
                })
            }
        };
        let text = text.unwrap_or_else(|failure| failure.to_string());
        text.lines().map(str::to_owned).collect()
    }

    fn output(&self, channel: &Channel, wanted: WantedText) -> Result<String, Failure> {
        let id = wanted.job;
        let mut output = job_output::known(channel, id).output;
        if output.is_none() {
            let doing = format!("read the output of job {id}");
            output = self.context.call_store(channel, doing, async |store| store.output(id).await)?;
        }
        Ok(match output {
            Some(output) => job_output::section(&format!("attempt {}", output.attempt), &output),
            None => "No output is kept.".to_owned(),
        })
    }
}

/// The channels whose stores do not exist yet.
fn absent(config: &Config) -> Vec<String> {
    let absent = config.channels.values().filter(|channel| CommandContext::is_store_missing(channel));
    absent.map(|channel| channel.name.clone()).collect()
}

/// The stores of a configuration, and readings from them; an absent store is an empty one.
fn readings(config: &Arc<Config>, absent: &[String]) -> (Stores, Readings) {
    let mut stores = master::page_stores(config, CommandContext::is_store_missing);
    for name in absent {
        stores.insert(name.clone(), Arc::new(Model::at(Timestamp(0))));
    }
    let masters = Arc::new(LocalMasters::new(config, stores.clone()));
    let readings = Readings::new(config, stores.clone(), masters);
    (stores, readings)
}

fn runs(channel: &Channel) -> Vec<RunningJob> {
    let take = |response| match response {
        ControlResponse::Runs { runs, .. } => Some(runs),
        _ => None,
    };
    match control::query(channel, ControlRequest::Runs, |_| {}, take) {
        MasterState::Responding { answer, .. } => answer,
        _ => Vec::new(),
    }
}

fn row(job: &JobView) -> JobRow {
    let error = job.meta.errors.last().map_or("", |error| error.message.as_str());
    let cut = error.floor_char_boundary(MAX_ERROR);
    JobRow {
        id: job.id,
        job: job.meta.job.clone(),
        priority: job.meta.priority.as_str(),
        attempts: job.meta.attempts,
        at: job.at,
        reason: job.meta.failed.map_or("", FailReason::as_str),
        error: error[..cut].trim_end().to_owned(),
    }
}

impl Collect for Local {
    fn read(&mut self, wanted: &Wanted) -> Reading {
        self.follow_stores();
        let answer = self.context.block_on(self.readings.channels());
        let answer: ChannelsAnswer = serde_json::from_value(answer).unwrap_or_default();
        let mut reading = Reading {
            at: answer.as_of,
            clock: clock(answer.as_of),
            source: self.host.clone(),
            channels: answer.channels,
            ..Reading::default()
        };
        let name = match wanted.channel.as_str() {
            "" => reading.first_choice().to_owned(),
            name => name.to_owned(),
        };
        reading.chosen = self.choose(&name, wanted);
        reading
    }

    fn json(&mut self) -> Result<Value, Failure> {
        self.follow_stores();
        Ok(self.context.block_on(self.readings.channels()))
    }
}

/// The local time of day.
pub(super) fn clock(at: Timestamp) -> String {
    let at = if at == Timestamp(0) { SystemTime::now().into() } else { at };
    time::local(at).split_once(' ').map_or_else(String::new, |(_, time)| time.to_owned())
}

/// Whether a configuration has a channel to look at.
pub(super) fn has_channels(config: &Config) -> bool {
    config.channels.values().any(|channel| channel.driver != Driver::Sync)
}
