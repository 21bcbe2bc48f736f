//! `queue:show`: shows one job in detail.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::job_output::{self, DoneJob, ProcessJson};
use super::{CommandContext, Exit, Failure, render, sanitize, time};
use crate::config::Channel;
use crate::control::KnownOutput;
use crate::job::{
    AttemptError, ErrorKind, FailReason, JobId, JobMeta, JobOptions, JobOutput, Priority, Timestamp,
    UniqueUntil,
};
use crate::retry::Policy;
use crate::store::{JobState, JobView, Store};

/// Show a job in detail
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the job
    #[arg(value_name = "ID")]
    id: JobId,
    /// Only what the job printed: the last lines of its run, or of the last failed one
    #[arg(long)]
    output: bool,
    /// With --output: print the lines of the running job as they come; fails if the job does
    #[arg(long, requires = "output")]
    follow: bool,
}

impl Show {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let channel = context.channel_of(self.id)?;
        let doing = format!("show job {}", self.id);
        let found = context.call_store(channel, &doing, async |store| store.get(self.id).await)?;
        context.note_store(channel);
        let Some(job) = found else {
            if let Some(done) = job_output::done_job(context, channel, self.id)? {
                return self.show_done(context, &done);
            }
            let hint = context.hint_of_channel(self.id, channel);
            return Err(Failure::new(Exit::Failed, doing)
                .because(format!("channel \"{}\" has no such job", channel.name))
                .hint(hint.unwrap_or_else(|| GONE.to_owned())));
        };
        if self.follow
            && let Some(known) = self.follow(context, channel, &job, &doing)?
        {
            return match known.done {
                Some(_) => job_output::print(context, self.id, known.output.as_ref()),
                None => Err(job_output::not_running(&doing, job.state.as_str())),
            };
        } else if self.follow {
            return Ok(());
        }
        let output = self.find_output(context, channel, &job, &doing)?;
        if self.output {
            return job_output::print(context, self.id, output.as_ref().map(|(_, output)| output));
        }
        let mut json = JobJson::of(&job, channel);
        json.output = output.as_ref().map(|(of, output)| OutputJson { of, output });
        context.show(&json, &(render(&job, channel) + &output_section(output.as_ref())))
    }

    /// Follows a job that runs. Answers what the master knows when the job does not run there; a failed job fails, as it would
    /// have when it was followed.
    fn follow(
        &self,
        context: &CommandContext,
        channel: &Channel,
        job: &JobView,
        doing: &str,
    ) -> Result<Option<KnownOutput>, Failure> {
        if job.state != JobState::Failed {
            return job_output::follow(context, channel, doing, self.id);
        }
        let output = self.find_output(context, channel, job, doing)?;
        job_output::print(context, self.id, output.as_ref().map(|(_, output)| output))?;
        context.note(&format!("job {} has failed", self.id));
        Err(Failure::silent())
    }

    /// The output of the job: of its run, if the master of this machine has it, else of its last failed one.
    fn find_output(
        &self,
        context: &CommandContext,
        channel: &Channel,
        job: &JobView,
        doing: &str,
    ) -> Result<Option<(OutputOf, JobOutput)>, Failure> {
        if job.state == JobState::Reserved
            && let Some(output) = job_output::known(channel, self.id).output
        {
            return Ok(Some((OutputOf::Running, output)));
        }
        let stored =
            context.call_store(channel, doing, async |store: &dyn Store| store.output(self.id).await)?;
        Ok(stored.map(|output| (OutputOf::LastFailure, output)))
    }

    fn show_done(&self, context: &CommandContext, done: &DoneJob<'_>) -> Result<(), Failure> {
        let DoneJob { channel, run, output } = done;
        if self.output {
            return job_output::print(context, self.id, output.as_ref());
        }
        let mut json = job_output::done_json(&channel.name, run);
        json["output"] = serde_json::to_value(output).expect("an output is plain data");
        context.show(&json, &job_output::done_text(&channel.name, run, output.as_ref()))
    }
}

/// The text of `queue:show` about a job, for `queue:top`.
#[cfg(feature = "top")]
pub(super) fn text(context: &CommandContext, channel: &Channel, id: JobId) -> Result<String, Failure> {
    let (show, doing) = (Show { id, output: false, follow: false }, format!("show job {id}"));
    let found = context.call_store(channel, &doing, async |store| store.get(id).await)?;
    if let Some(job) = found {
        let output = show.find_output(context, channel, &job, &doing)?;
        return Ok(render(&job, channel) + &output_section(output.as_ref()));
    }
    match job_output::done_job(context, channel, id)? {
        Some(DoneJob { channel, run, output }) => {
            Ok(job_output::done_text(&channel.name, &run, output.as_ref()))
        }
        None => Ok(format!("channel \"{}\" has no job {id}: {GONE}\n", channel.name)),
    }
}

/// The output at the end of the text.
fn output_section(output: Option<&(OutputOf, JobOutput)>) -> String {
    let Some((of, output)) = output else { return String::new() };
    let title = match of {
        OutputOf::Running => format!("output so far, attempt {}", output.attempt),
        OutputOf::LastFailure => format!("output of attempt {}", output.attempt),
    };
    job_output::section(&title, output)
}

/// The remedy for a job that is nowhere.
const GONE: &str =
    "jobs that were removed leave no record; its master keeps the last 1,000 done ones while it runs";

/// The run that an output is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum OutputOf {
    /// The present run.
    Running,
    /// The last run that failed.
    LastFailure,
}

#[derive(Serialize)]
struct OutputJson<'a> {
    of: &'a OutputOf,
    #[serde(flatten)]
    output: &'a JobOutput,
}

/// The attempts so far and their limit: "1 of 3", or "1, retried until T". The last attempt within a retry window is named.
fn attempts(job: &JobView, channel: &Channel) -> String {
    let (done, most) = (job.meta.attempts, job.meta.max_attempts);
    let (end, most) = match (job.meta.retry_end(job.id), most) {
        (None, most) => return format!("{done} of {}", most.unwrap_or(channel.max_attempts)),
        (Some(end), None) => (end, String::new()),
        (Some(end), Some(most)) => (end, format!(" of {most}")),
    };
    let last = match (is_last_attempt(job, channel), job.state) {
        (Some(true), JobState::Reserved) => {
            "; this attempt is the last one, because the wait after it would pass that time"
        }
        (Some(true), _) => {
            "; the next attempt is the last one, because the wait after it would pass that time"
        }
        _ => "",
    };
    format!("{done}{most}, retried until {}{last}", time::local(end))
}

/// Whether the attempt that runs, or the next one, is the last one; `None` for a failed job, and for one without a retry window,
/// whose handler may set the number of attempts.
fn is_last_attempt(job: &JobView, channel: &Channel) -> Option<bool> {
    if job.state == JobState::Failed || !job.meta.has_retry_window() {
        return None;
    }
    let start = job.at.max(Timestamp::from(SystemTime::now()));
    Some(Policy::of(channel).is_last_attempt(&job.meta, job.id, JobOptions::default(), start))
}

fn render(job: &JobView, channel: &Channel) -> String {
    let meta = &job.meta;
    let timeout = match (meta.timeout_ms, channel.worker.max_execute) {
        (Some(0), _) | (None, None) => "none".to_owned(),
        (Some(ms), _) => render::seconds(Duration::from_millis(ms)),
        (None, Some(limit)) => render::seconds(limit),
    };
    let suspect = "yes: runs alone in a worker, because a worker crashed while running it";
    let unique = meta.unique.as_ref().map(|key| format!("{}{}", sanitize::line(key), held(meta)));
    let priority = (meta.priority != Priority::Normal).then(|| meta.priority.as_str().to_owned());
    let fields = [
        ("id", Some(job.id.to_string())),
        ("job", Some(sanitize::line(&meta.job).into_owned())),
        ("channel", Some(channel.name.clone())),
        ("state", Some(state(job))),
        ("pushed", Some(time::local(meta.pushed_at(job.id)))),
        ("attempts", Some(attempts(job, channel))),
        ("crashes", (meta.crashes > 0).then(|| meta.crashes.to_string())),
        ("lost", (meta.lost > 0).then(|| format!("{} (runs lost with their master or guardian)", meta.lost))),
        ("suspect", meta.suspect.then(|| suspect.to_owned())),
        ("time limit", Some(timeout)),
        ("unique key", unique),
        ("priority", priority),
        ("expires", meta.expiry(job.id).map(time::local)),
    ];
    let mut shown = String::new();
    for (name, value) in fields {
        if let Some(value) = value {
            shown.push_str(&format!("{name:<12}{value}\n"));
        }
    }
    if !meta.headers.is_empty() {
        shown.push_str("headers\n");
        for (name, value) in &meta.headers {
            shown.push_str(&format!("  {}: {}\n", sanitize::line(name), sanitize::line(value)));
        }
    }
    shown.push_str("payload\n");
    shown.push_str(&indented(&sanitize::pretty(&job.payload)));
    if !meta.errors.is_empty() {
        shown.push_str("errors, oldest first\n");
        for error in &meta.errors {
            let (kind, at) = (render::word(error.kind), time::local(error.at));
            shown.push_str(&format!("  attempt {}, {at}, {kind}\n", error.attempt));
            shown.push_str(&indented(&indented(&sanitize::lines(error.message.trim_end()))));
            for line in error.process.iter().flat_map(job_output::process_lines) {
                shown.push_str(&format!("    {line}\n"));
            }
        }
    }
    shown
}

fn state(job: &JobView) -> String {
    match job.state {
        JobState::Delayed => format!("delayed until {}", time::local(job.at)),
        JobState::Failed => {
            let reason = job.meta.failed.map_or("unknown", FailReason::as_str);
            format!("failed at {}: {reason}", time::local(job.at))
        }
        state => state.as_str().to_owned(),
    }
}

/// How long the unique key is held, unless until the end of the job.
fn held(meta: &JobMeta) -> String {
    match (meta.unique_for_ms, meta.unique_until) {
        (Some(ms), _) => format!(" (for {} from the push)", render::seconds(Duration::from_millis(ms))),
        (None, UniqueUntil::Start) => " (until the job starts)".to_owned(),
        (None, UniqueUntil::End) => String::new(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The job as JSON.
#[derive(Serialize)]
struct JobJson<'a> {
    id: JobId,
    job: &'a str,
    channel: &'a str,
    state: JobState,
    pushed_at: Option<String>,
    due_at: Option<String>,
    failed_at: Option<String>,
    reason: Option<FailReason>,
    attempts: u32,
    max_attempts: Option<u32>,
    retry_until: Option<String>,
    /// Whether no attempt follows the present or next one; absent without a retry window.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_attempt: Option<bool>,
    crashes: u32,
    lost: u32,
    suspect: bool,
    timeout_ms: Option<u64>,
    unique: Option<&'a str>,
    unique_until: Option<UniqueUntil>,
    unique_for_ms: Option<u64>,
    priority: Priority,
    expires_at: Option<String>,
    headers: &'a BTreeMap<String, String>,
    /// The payload; absent when it is not valid JSON.
    payload: Option<&'a RawValue>,
    /// The stored text of a payload that is not valid JSON.
    raw: Option<&'a str>,
    errors: Vec<ErrorJson<'a>>,
    /// The output of the job; absent when nothing is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<OutputJson<'a>>,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    attempt: u32,
    at: Option<String>,
    kind: ErrorKind,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessJson<'a>>,
}

impl<'a> JobJson<'a> {
    fn of(job: &'a JobView, channel: &'a Channel) -> Self {
        let meta = &job.meta;
        let at = |state| if job.state == state { time::rfc3339(job.at) } else { None };
        let payload: Option<&RawValue> = serde_json::from_str(job.payload.trim()).ok();
        let error = |error: &'a AttemptError| ErrorJson {
            attempt: error.attempt,
            at: time::rfc3339(error.at),
            kind: error.kind,
            message: &error.message,
            process: error.process.as_ref().map(ProcessJson::of),
        };
        Self {
            id: job.id,
            job: &meta.job,
            channel: &channel.name,
            state: job.state,
            pushed_at: time::rfc3339(meta.pushed_at(job.id)),
            due_at: at(JobState::Delayed),
            failed_at: at(JobState::Failed),
            reason: meta.failed,
            attempts: meta.attempts,
            max_attempts: meta.max_attempts,
            retry_until: meta.retry_end(job.id).and_then(time::rfc3339),
            last_attempt: is_last_attempt(job, channel),
            crashes: meta.crashes,
            lost: meta.lost,
            suspect: meta.suspect,
            timeout_ms: meta.timeout_ms,
            unique: meta.unique.as_deref(),
            // A key held for a fixed time depends neither on the start nor on the end of the job.
            unique_until: (meta.unique.is_some() && meta.unique_for_ms.is_none())
                .then_some(meta.unique_until),
            unique_for_ms: meta.unique_for_ms,
            priority: meta.priority,
            expires_at: meta.expiry(job.id).and_then(time::rfc3339),
            headers: &meta.headers,
            raw: payload.is_none().then_some(job.payload.as_str()),
            payload,
            errors: meta.errors.iter().map(error).collect(),
            output: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn job() -> JobView {
        let mut meta = JobMeta::named("send_email");
        (meta.attempts, meta.failed, meta.unique) = (1, Some(FailReason::Timeout), Some("k\x1b".to_owned()));
        meta.record_error(1, Timestamp(0), ErrorKind::Timeout, "ran longer than 2 s\nlast line \u{202e}");
        let payload = r#"{"to":"ann","n":12345678901234567890123}"#.to_owned();
        JobView { id: JobId(17), state: JobState::Failed, at: Timestamp(0), meta, payload }
    }

    fn channel() -> Channel {
        Config::built_in(std::path::Path::new("/srv")).channels["default"].clone()
    }

    #[test]
    fn all_fields_are_shown_sanitized() {
        let shown = render(&job(), &channel());
        let zone_free: Vec<_> = shown.lines().filter(|line| !line.contains("19")).collect();
        let expected = [
            "id          17",
            "job         send_email",
            "channel     default",
            "attempts    1 of 3",
            "time limit  10 s",
            "unique key  k\\u{1b}",
            "payload",
            "  {",
            "    \"to\": \"ann\",",
            "    \"n\": 12345678901234567890123",
            "  }",
            "errors, oldest first",
            "    ran longer than 2 s",
            "    last line \\u{202e}",
        ];
        assert_eq!(zone_free, expected);
        assert!(shown.contains(": timeout\n"), "{shown}");
    }

    #[test]
    fn last_attempt_of_a_retry_window_is_named() {
        let now = Timestamp::from(SystemTime::now());
        let job = |seconds, state| {
            let retry_until = Some(now.after(Duration::from_secs(seconds)));
            let meta = JobMeta { retry_until, ..JobMeta::named("send_email") };
            JobView { id: JobId(17), state, at: now, meta, payload: "{}".to_owned() }
        };
        let said = |seconds, state| attempts(&job(seconds, state), &channel());
        assert!(said(1, JobState::Reserved).contains("; this attempt is the last one, because"));
        assert!(said(1, JobState::Waiting).contains("; the next attempt is the last one, because"));
        assert!(!said(60, JobState::Waiting).contains("last"));
        assert!(!said(1, JobState::Failed).contains("last"));
        let json = |seconds| {
            serde_json::to_value(JobJson::of(&job(seconds, JobState::Delayed), &channel())).unwrap()
        };
        assert_eq!((&json(1)["last_attempt"], &json(60)["last_attempt"]), (&true.into(), &false.into()));
    }

    #[test]
    fn json_keeps_the_payload_verbatim() {
        let job = job();
        let shown = sanitize::json(&JobJson::of(&job, &channel()));
        assert!(
            shown.contains(r#""payload":{"to":"ann","n":12345678901234567890123},"raw":null"#),
            "{shown}"
        );
        let torn = JobView { payload: "{\"to".to_owned(), ..job };
        let shown = sanitize::json(&JobJson::of(&torn, &channel()));
        assert!(shown.contains(r#""payload":null,"raw":"{\"to""#), "{shown}");
    }
}
