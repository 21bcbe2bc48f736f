//! `queue:push`: pushes one job from the command line, or many from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::job_options::named;
use super::{CommandContext, Exit, Failure, push_file};
use crate::access::{self, Access};
use crate::config::Channel;
use crate::job::{Payload, PayloadError, Priority};
use crate::job_json;
use crate::job_json::time::{self, Until};
use crate::queue::PushOptions;
use crate::store::Pushed;

/// Push a job, or many jobs from a file
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Name of the job; with --file, the default for lines without a name
    #[arg(value_name = "JOB", required_unless_present = "file")]
    job: Option<String>,
    /// Payload: JSON, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "JSON",
        default_value = "{}",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    data: String,
    /// Delay before the job may run: seconds, or 500ms, 5m, 1h30m, 2d
    #[arg(long, value_name = "TIME", value_parser = time::parse_duration, conflicts_with = "at", allow_negative_numbers = true)]
    delay: Option<Duration>,
    /// Earliest time of the run: 2026-11-30T09:00:00Z, or local time: "2026-11-30 09:00"
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    at: Option<SystemTime>,
    /// Most attempts of the job [default: the channel's max_attempts]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: Option<u32>,
    /// Retry the job until then, in place of the channel's max_attempts: a time after the push such as 2h, or 2026-11-30T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time::parse_until)]
    retry_until: Option<Until>,
    /// Time limit of one run, 0 for none [default: the channel's max_execute_seconds]
    #[arg(long, value_name = "TIME", value_parser = time::parse_duration)]
    timeout: Option<Duration>,
    /// Unique key: add no job if one with this key is in the channel
    #[arg(long, value_name = "KEY", conflicts_with = "file")]
    unique: Option<String>,
    /// When the unique key becomes free: at the end of the job, or at its start
    #[arg(long, value_name = "WHEN", requires = "unique", conflicts_with = "unique_for", default_value = "end", hide_default_value = true, value_parser = PossibleValuesParser::new(["end", "start"]))]
    unique_until: String,
    /// Hold the unique key for this time after the push instead, regardless of the job
    #[arg(long, value_name = "TIME", requires = "unique", value_parser = time::parse_duration)]
    unique_for: Option<Duration>,
    /// Priority among the waiting jobs
    #[arg(long, value_name = "PRIORITY", default_value = "normal", value_parser = named(Priority::ALL, Priority::as_str))]
    priority: Priority,
    /// Latest start of the job: a time after the push such as 5m, or 2026-11-30T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time::parse_until)]
    expires: Option<Until>,
    /// Header for the handler of the job; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Push many jobs: a file, or - for standard input, with one object per line: {"job": …, "payload": …, and any of delay, at, max_attempts, retry_until, timeout, unique, unique_until, unique_for, priority, expires, headers}
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    file: Option<PathBuf>,
}

impl Push {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channel = context.channel()?;
        match &self.file {
            Some(file) => push_file::run(context, channel, file, self.job.as_deref(), &self.options()),
            None => self.run_one(context, channel),
        }
    }

    fn run_one(self, context: &CommandContext, channel: &Channel) -> Result<(), Failure> {
        let name = self.job.clone().expect("clap requires a job without a file");
        let doing = format!("push the job \"{name}\"");
        // Validate before opening the store, so that a refused push creates no file.
        let payload = payload(&self.data, &doing)?;
        let job = self.options().job(&name, payload);
        job_json::check(&job).map_err(|error| Failure::new(Exit::Usage, &doing).because(error))?;
        context.warn_of_missing_handler(channel, &name);
        context.check_store(channel, &doing)?;

        let queue = context.queue_for_push(channel)?;
        let pushed = context.block_on(queue.push_raw(&name, job.payload, &self.options()));
        let pushed = pushed.map_err(|error| Failure::push(doing, error))?;
        let added = matches!(pushed, Pushed::Added(_));
        if !added && !context.json() {
            context.note("no job was added: the job with this id holds the key");
        }
        let json = json!({ "channel": channel.name, "id": pushed.id(), "added": added });
        context.show(&json, &format!("{}\n", pushed.id())).map_err(|failure| {
            let id = pushed.id();
            let doing =
                if added { format!("print that job {id} was pushed") } else { format!("print job id {id}") };
            let failure = failure.doing(doing);
            if added { failure.hint("do not push it again: the job is in the channel") } else { failure }
        })
    }

    /// The push options; with --file, the defaults of lines without their own.
    fn options(&self) -> PushOptions {
        let mut options = PushOptions::new();
        if let Some(delay) = self.delay {
            options = options.delay(delay);
        }
        if let Some(time) = self.at {
            options = options.at(time);
        }
        if let Some(attempts) = self.max_attempts {
            options = options.max_attempts(attempts);
        }
        match self.retry_until {
            Some(Until::After(length)) => options = options.retry_for(length),
            Some(Until::At(time)) => options = options.retry_until(time),
            None => {}
        }
        if let Some(timeout) = self.timeout {
            options = options.timeout(timeout);
        }
        match (&self.unique, self.unique_for) {
            (Some(key), Some(time)) => options = options.unique_for(time, key),
            (Some(key), None) if self.unique_until == "start" => options = options.unique_until_start(key),
            (Some(key), None) => options = options.unique(key),
            (None, _) => {}
        }
        match self.expires {
            Some(Until::After(length)) => options = options.expires_in(length),
            Some(Until::At(time)) => options = options.expires_at(time),
            None => {}
        }
        let headers = self.headers.iter();
        headers.fold(options.priority(self.priority), |options, (name, value)| options.header(name, value))
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn payload(data: &str, doing: &str) -> Result<Payload, Failure> {
    let refused = |cause: PayloadError| {
        let hint = match cause {
            PayloadError::NotJson(_) => {
                "put the JSON in single quotes, as in --data '{\"ms\":500}'; a string keeps its double quotes: --data '\"text\"'"
            }
            _ => "",
        };
        Failure::new(Exit::Usage, doing).because(cause).hint(hint)
    };
    let text = match data.strip_prefix('@') {
        Some(file) => read_text(Some(Path::new(file)), doing)?,
        None if data == "-" => read_text(None, doing)?,
        None => data.to_owned(),
    };
    Payload::parse(text).map_err(refused)
}

/// Reads a payload. Reads beyond the limit, so that the error message can give the size.
fn read_text(file: Option<&Path>, doing: &str) -> Result<String, Failure> {
    const MAX_READ_BYTES: u64 = 64 << 20;
    let mut text = String::new();
    let read = match file {
        Some(file) => File::open(file)
            .map_err(|error| access::explained(error, file, Access::Read))
            .and_then(|file| file.take(MAX_READ_BYTES).read_to_string(&mut text)),
        None => io::stdin().take(MAX_READ_BYTES).read_to_string(&mut text),
    };
    let name = file.map_or("standard input".to_owned(), |file| format!("\"{}\"", file.display()));
    let failed = |error| {
        let failure = Failure::new(Exit::Usage, doing).because(format!("{name} cannot be read: {error}"));
        failure.hint("name a readable UTF-8 file after --data @")
    };
    read.map(|_| text).map_err(failed)
}
