//! Codec of the frames from a worker to the master.

use std::time::Duration;

use aint_queue_core::durations::millis;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::frames::{
    FromWorker, JobSpec, MAX_LINE, MAX_PUSHED_JOBS, RequestId, RunId, WireError, not_a_frame,
};
use crate::job::{JobOptions, LimitClaim, Outcome, RetryDecision, truncated};

/// Longest error text in bytes, sent or accepted; the store keeps less of it.
pub(super) const MAX_ERROR: usize = 8 << 10;
/// Longest text of a log frame in bytes, channel name and log level that are kept: the log cuts them further.
const MAX_LOG_TEXT: usize = 8 << 10;
/// Error text of a failure that has none.
pub(super) const NO_MESSAGE: &str = "failed without a message";

/// Appends a frame and its line break to `buffer`.
pub fn encode_to_master(frame: &FromWorker, buffer: &mut Vec<u8>) {
    if let FromWorker::Ended { run, outcome: Outcome::Done } = frame {
        // Fast path for the most frequent frame.
        buffer.extend_from_slice(DONE_PREFIX);
        buffer.extend_from_slice(run.to_string().as_bytes());
        buffer.extend_from_slice(b"}\n");
        return;
    }
    serde_json::to_writer(&mut *buffer, &FlatFrame::from(frame))
        .expect("writing a frame to memory cannot fail");
    buffer.push(b'\n');
}

/// Parses one line that is a frame without a mistake.
pub(super) fn decode_strictly(line: &[u8]) -> Result<FromWorker, WireError> {
    if line.len() >= MAX_LINE {
        return Err(WireError::TooLong);
    }
    if let Some(run) = plain_done(line) {
        return Ok(FromWorker::Ended { run, outcome: Outcome::Done });
    }
    if line.trim_ascii_start().starts_with(b"[") {
        // serde takes an array for an object whose keys are left out.
        return Err(not_a_frame("an array, where an object belongs", line));
    }
    let flat: FlatFrame<JobTexts<'_>> = serde_json::from_slice(line).map_err(|e| not_a_frame(e, line))?;
    flat.try_into().map_err(|detail: String| not_a_frame(detail, line))
}

const DONE_PREFIX: &[u8] = br#"{"type":"done","run":"#;

/// The run of a `done` frame that is spelled exactly as [`encode_to_master`] writes it.
fn plain_done(line: &[u8]) -> Option<RunId> {
    let digits = line.strip_prefix(DONE_PREFIX)?.strip_suffix(b"}")?;
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0u64, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
}

/// Jobs in the line of their frame. A line may have very many of a few bytes, each of which would take a text of its own.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct JobTexts<'a>(#[serde(borrow)] Vec<&'a RawValue>);

/// JSON form of a frame: the fields of all frame types.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "J: Default + Deserialize<'de>"))]
struct FlatFrame<J = Vec<Box<RawValue>>> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<J>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_job: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cooldown_ms: Option<u64>,
}

/// `false`: no retry; `true`: by the retry policy of the channel; a number: after that many milliseconds.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Retry {
    Allowed(bool),
    AfterMs(u64),
}

/// A job in `hello`: its name, or an object with its name and options.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Spec {
    Name(String),
    Full {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_attempts: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
}

impl From<&JobSpec> for Spec {
    fn from(JobSpec { name, options }: &JobSpec) -> Self {
        let name = name.clone();
        if *options == JobOptions::default() {
            return Self::Name(name);
        }
        let JobOptions { max_attempts, timeout, failed } = *options;
        Self::Full { name, max_attempts, timeout_ms: timeout.map(millis), failed }
    }
}

impl From<Spec> for JobSpec {
    fn from(spec: Spec) -> Self {
        match spec {
            Spec::Name(name) => Self { name, options: JobOptions::default() },
            Spec::Full { name, max_attempts, timeout_ms, failed } => {
                let timeout = timeout_ms.map(Duration::from_millis);
                Self { name, options: JobOptions { max_attempts, timeout, failed } }
            }
        }
    }
}

impl From<&FromWorker> for FlatFrame {
    fn from(frame: &FromWorker) -> Self {
        let flat = |kind: &str, run: Option<RunId>| Self { kind: kind.into(), run, ..Self::default() };
        match frame {
            FromWorker::Hello { protocol, slots, jobs } => {
                let raw = |spec| serde_json::value::to_raw_value(&Spec::from(spec));
                let jobs =
                    jobs.iter().map(|spec| raw(spec).expect("a name and numbers are valid JSON")).collect();
                Self {
                    protocol: Some(*protocol),
                    slots: Some(*slots),
                    jobs: Some(jobs),
                    ..flat("hello", None)
                }
            }
            FromWorker::Progress { run, percent } => {
                Self { percent: Some(*percent), ..flat("progress", Some(*run)) }
            }
            FromWorker::Log { run, level, message } => {
                Self { level: Some(level.clone()), message: Some(message.clone()), ..flat("log", *run) }
            }
            FromWorker::Push { run, ask, channel, jobs } => {
                // Invalid JSON becomes `null`, which the master refuses with a clear message.
                let raw = |job: &String| RawValue::from_string(job.clone()).unwrap_or_default();
                let (ask, channel) = (Some(*ask), channel.clone());
                Self { ask, channel, jobs: Some(jobs.iter().map(raw).collect()), ..flat("push", Some(*run)) }
            }
            FromWorker::Claim { run, ask, claim } => {
                let flat = Self { ask: Some(*ask), ..flat("claim", Some(*run)) };
                match claim.clone() {
                    LimitClaim::Lock { key, limit } => Self { lock: Some(key), limit: Some(limit), ..flat },
                    LimitClaim::Rate { key, count, burst, per } => Self {
                        rate: Some(key),
                        count: Some(count),
                        burst: (burst != 1).then_some(burst),
                        per_ms: Some(millis(per)),
                        ..flat
                    },
                    LimitClaim::Breaker { key, failures, cooldown } => {
                        let cooldown_ms = Some(millis(cooldown));
                        Self { breaker: Some(key), failures: Some(failures), cooldown_ms, ..flat }
                    }
                }
            }
            FromWorker::Ended { run, outcome } => match outcome {
                Outcome::Failed { error, next } => Self {
                    error: Some(truncated(error, MAX_ERROR).to_owned()),
                    retry: match next {
                        RetryDecision::ByPolicy => None,
                        RetryDecision::After(delay) => Some(Retry::AfterMs(millis(*delay))),
                        RetryDecision::Never | RetryDecision::UnknownJob => Some(Retry::Allowed(false)),
                    },
                    unknown_job: (*next == RetryDecision::UnknownJob).then_some(true),
                    ..flat("failed", Some(*run))
                },
                Outcome::Released { after } => {
                    Self { after_ms: Some(millis(*after)), ..flat("release", Some(*run)) }
                }
                // The master determines all other outcomes; a worker cannot report them.
                _ => flat("done", Some(*run)),
            },
        }
    }
}

impl<J> FlatFrame<J> {
    fn read_claim(self) -> Result<LimitClaim, String> {
        let time = |ms: Option<u64>| Duration::from_millis(ms.unwrap_or(0));
        let claim = match (self.lock, self.rate, self.breaker) {
            (Some(key), None, None) => LimitClaim::Lock { key, limit: self.limit.unwrap_or(1) },
            (None, Some(key), None) => LimitClaim::Rate {
                key,
                count: self.count.unwrap_or(0),
                burst: self.burst.unwrap_or(1),
                per: time(self.per_ms),
            },
            (None, None, Some(key)) => LimitClaim::Breaker {
                key,
                failures: self.failures.unwrap_or(0),
                cooldown: time(self.cooldown_ms),
            },
            _ => return Err("\"claim\" needs one of \"lock\", \"rate\" and \"breaker\"".to_owned()),
        };
        claim.check().map(|()| claim)
    }
}

impl TryFrom<FlatFrame<JobTexts<'_>>> for FromWorker {
    type Error = String;

    fn try_from(mut flat: FlatFrame<JobTexts<'_>>) -> Result<Self, String> {
        let kind = std::mem::take(&mut flat.kind);
        let run = flat.run.ok_or_else(|| format!("\"{}\" needs \"run\"", truncated(&kind, 32)));
        let ask = flat.ask.ok_or_else(|| format!("\"{}\" needs \"ask\"", truncated(&kind, 32)));
        match kind.as_str() {
            "hello" => Ok(Self::Hello {
                protocol: flat.protocol.ok_or("\"hello\" needs \"protocol\"")?,
                slots: flat.slots.unwrap_or(1),
                jobs: specs(&flat.jobs.unwrap_or_default().0)?,
            }),
            "done" => Ok(Self::Ended { run: run?, outcome: Outcome::Done }),
            "failed" => {
                let next = match flat.retry {
                    _ if flat.unknown_job == Some(true) => RetryDecision::UnknownJob,
                    None | Some(Retry::Allowed(true)) => RetryDecision::ByPolicy,
                    Some(Retry::Allowed(false)) => RetryDecision::Never,
                    Some(Retry::AfterMs(ms)) => RetryDecision::After(Duration::from_millis(ms)),
                };
                // Cut here, so that no log line contains a megabyte.
                let error = shortened(flat.error.unwrap_or_else(|| NO_MESSAGE.to_owned()), MAX_ERROR);
                Ok(Self::Ended { run: run?, outcome: Outcome::Failed { error, next } })
            }
            "release" => {
                let after = Duration::from_millis(flat.after_ms.unwrap_or(0));
                Ok(Self::Ended { run: run?, outcome: Outcome::Released { after } })
            }
            "progress" => Ok(Self::Progress {
                run: run?,
                percent: flat.percent.ok_or("\"progress\" needs \"percent\"")?,
            }),
            "log" => Ok(Self::Log {
                run: flat.run,
                level: flat.level.map_or_else(|| "info".to_owned(), |level| shortened(level, MAX_LOG_TEXT)),
                message: shortened(flat.message.ok_or("\"log\" needs \"message\"")?, MAX_LOG_TEXT),
            }),
            "push" => {
                let jobs = flat.jobs.ok_or("\"push\" needs \"jobs\"")?;
                let jobs = jobs.0.iter().take(MAX_PUSHED_JOBS + 1).map(|job| job.get().to_owned()).collect();
                let channel = flat.channel.map(|name| shortened(name, MAX_LOG_TEXT));
                Ok(Self::Push { run: run?, ask: ask?, channel, jobs })
            }
            "claim" => Ok(Self::Claim { run: run?, ask: ask?, claim: flat.read_claim()? }),
            other => Err(format!("unknown type \"{}\"", truncated(other, 32))),
        }
    }
}

/// A text of at most `max` bytes, without the memory of a longer one.
fn shortened(text: String, max: usize) -> String {
    if text.len() <= max { text } else { truncated(&text, max).to_owned() }
}

fn specs(jobs: &[&RawValue]) -> Result<Vec<JobSpec>, String> {
    let spec = |raw: &RawValue| {
        serde_json::from_str::<Spec>(raw.get()).map(JobSpec::from).map_err(|_| {
            let shown = truncated(raw.get(), 64);
            format!("\"jobs\" takes names and objects with \"name\", \"max_attempts\", \"timeout_ms\", \"failed\", not {shown}")
        })
    };
    jobs.iter().map(|raw| spec(raw)).collect()
}
