//! Actions on a channel, and on the silences of its alerts.

use std::time::Duration;

use async_trait::async_trait;

use super::Order;
use crate::alerts::{end_silence, silence_rule};
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::pages::{Form, Notice, NoticeKind};
use crate::dashboard::refusal::Refusal;
use crate::dashboard::{Dashboard, stored};
use crate::job::{MAX_DELAY, NewJob, Payload, Priority, PushOptions};
use crate::job_json;
use crate::job_json::time::parse_duration;
use crate::pool::{MinWorkers, ScaleOrder};
use crate::store::{Clear, CrossChannelPush, JobCounts, JobState, MAX_SILENCE_COMMENT_BYTES, Silence};

/// An action on a channel.
#[derive(Clone, Debug)]
pub(super) enum ChannelOrder {
    /// For a time, or until the channel is resumed.
    Pause(Option<Duration>),
    Resume,
    Quiet,
    Scale(ScaleOrder),
    Reload,
    /// Removes the jobs of states, unless there are more than the operator has seen.
    Clear {
        which: Clear,
        seen: u64,
    },
    Push(Box<NewJob>),
    /// Silences a rule for a time, with a comment.
    Silence(String, Duration, String),
    Unsilence(String),
}

impl ChannelOrder {
    /// The action with the fields of its form.
    pub(super) fn parse(action: &str, form: &Form, channel: &str) -> Result<Self, Refusal> {
        Ok(match action {
            "pause" => Self::Pause(match form.field("seconds") {
                "" => None,
                seconds => Some(time(seconds)?),
            }),
            "resume" => Self::Resume,
            "quiet" => Self::Quiet,
            "scale" => Self::Scale(form.field("workers").trim().parse().map_err(Refusal::BadRequest)?),
            "reload" => Self::Reload,
            "clear" => clear(form, channel)?,
            "push" => Self::Push(Box::new(job(form).map_err(Refusal::BadRequest)?)),
            "silence" => {
                let comment = form.field("comment").trim();
                if comment.len() > MAX_SILENCE_COMMENT_BYTES {
                    return Err(wrong("the comment is longer than 500 bytes"));
                }
                Self::Silence(rule(form)?, time(form.field("seconds"))?, comment.to_owned())
            }
            "unsilence" => Self::Unsilence(rule(form)?),
            _ => return Err(Refusal::NoSuchPage),
        })
    }

    /// Whether the page of alerts shows the result.
    pub(super) fn is_of_alerts(&self) -> bool {
        matches!(self, Self::Silence(..) | Self::Unsilence(_))
    }
}

fn wrong(why: &str) -> Refusal {
    Refusal::BadRequest(why.to_owned())
}

/// A time in seconds.
fn time(seconds: &str) -> Result<Duration, Refusal> {
    let time = seconds.parse().ok().map(Duration::from_secs);
    let time = time.filter(|time| !time.is_zero() && *time <= MAX_DELAY);
    time.ok_or_else(|| wrong("seconds is a whole number, at most ten years"))
}

fn rule(form: &Form) -> Result<String, Refusal> {
    match form.field("rule") {
        "" => Err(wrong("rule is missing")),
        rule => Ok(rule.to_owned()),
    }
}

/// The states to clear. The operator types the name of the channel, since nothing brings the jobs back.
fn clear(form: &Form, channel: &str) -> Result<ChannelOrder, Refusal> {
    if form.field("confirm").trim() != channel {
        return Err(wrong("the typed name is not that of the channel: nothing was removed"));
    }
    let has = |state: &str| !form.field(state).is_empty();
    let which = Clear {
        waiting: has("waiting"),
        delayed: has("delayed"),
        failed: has("failed"),
        reserved: has("reserved"),
    };
    if !(which.waiting || which.delayed || which.failed || which.reserved) {
        return Err(wrong("no state is chosen: nothing was removed"));
    }
    let mut seen = 0;
    for state in JobState::ALL.into_iter().filter(|state| has(state.as_str())) {
        let jobs: Result<u64, _> = form.field(&format!("seen_{}", state.as_str())).parse();
        seen += jobs.map_err(|_| {
            wrong("each chosen state needs the number of jobs that was seen, as in seen_waiting")
        })?;
    }
    Ok(ChannelOrder::Clear { which, seen })
}

/// The number of jobs in the chosen states.
fn present(which: Clear, counts: &JobCounts) -> u64 {
    let of = |is_chosen: bool, jobs: u64| if is_chosen { jobs } else { 0 };
    of(which.waiting, counts.waiting)
        + of(which.delayed, counts.delayed)
        + of(which.failed, counts.failed)
        + of(which.reserved, counts.reserved)
}

/// The job of a form.
fn job(form: &Form) -> Result<NewJob, String> {
    let payload = match form.field("payload").trim() {
        "" => "{}",
        payload => payload,
    };
    let payload = Payload::parse(payload).map_err(|error| error.to_string())?;
    let mut options = PushOptions::new();
    let delay = form.field("delay").trim();
    if !delay.is_empty() {
        options = options.delay(parse_duration(delay)?);
    }
    let priority = form.field("priority");
    if !priority.is_empty() {
        let known = Priority::ALL.into_iter().find(|known| known.as_str() == priority);
        options = options.priority(known.ok_or("priority is one of high, normal, low")?);
    }
    let job = options.job(form.field("job").trim(), payload);
    job_json::check(&job).map_err(|error| error.to_string())?;
    Ok(job)
}

#[async_trait]
impl Order for ChannelOrder {
    fn word(&self) -> &'static str {
        match self {
            Self::Pause(_) => "pause",
            Self::Resume => "resume",
            Self::Quiet => "quiet",
            Self::Scale(_) => "scale",
            Self::Reload => "reload",
            Self::Clear { .. } => "clear",
            Self::Push(_) => "push",
            Self::Silence(..) => "silence",
            Self::Unsilence(_) => "unsilence",
        }
    }

    fn target(&self) -> String {
        match self {
            Self::Pause(None) | Self::Resume | Self::Quiet | Self::Reload => String::new(),
            Self::Pause(Some(time)) => format!("{} s", time.as_secs()),
            Self::Scale(order) => order.to_string(),
            Self::Clear { which, .. } => {
                let states = [
                    (which.waiting, "waiting"),
                    (which.delayed, "delayed"),
                    (which.failed, "failed"),
                    (which.reserved, "reserved"),
                ];
                let chosen: Vec<_> = states.iter().filter(|(is_chosen, _)| *is_chosen).collect();
                chosen.iter().map(|(_, state)| *state).collect::<Vec<_>>().join(",")
            }
            Self::Push(job) => job.meta.job.clone(),
            Self::Silence(rule, time, _) => format!("{rule} {} s", time.as_secs()),
            Self::Unsilence(rule) => rule.clone(),
        }
    }

    async fn carry_out(self, dashboard: &Dashboard, channel: &str) -> Result<Notice, Refusal> {
        let store = dashboard.store(channel)?;
        Ok(match self {
            Self::Pause(time) => {
                stored(store.pause(time)).await?;
                NoticeKind::Paused.into()
            }
            Self::Resume => {
                // The master first, which works while the store is unavailable.
                let was_quiet = matches!(
                    dashboard.camera.ask(channel, ControlRequest::Resume).await,
                    Some(Ok(ControlResponse::Resumed { was_quiet: true }))
                );
                let was_paused = stored(store.resume()).await?;
                let kind = if was_quiet || was_paused { NoticeKind::Resumed } else { NoticeKind::Nothing };
                kind.into()
            }
            Self::Quiet => {
                served(dashboard, channel, ControlRequest::Quiet).await?;
                NoticeKind::Quiet.into()
            }
            Self::Scale(order) => match served(dashboard, channel, ControlRequest::Scale { order }).await? {
                ControlResponse::Scaled(MinWorkers { fewest, .. }) => {
                    Notice::of(NoticeKind::Scaled, [fewest as u64, 0])
                }
                _ => NoticeKind::Nothing.into(),
            },
            Self::Reload => match served(dashboard, channel, ControlRequest::Reload).await? {
                ControlResponse::Reloaded { renewed, .. } => {
                    Notice::of(NoticeKind::Reloaded, [renewed.generation, 0])
                }
                ControlResponse::NotReloaded { why, .. } => return Err(Refusal::Failed(why)),
                _ => NoticeKind::Nothing.into(),
            },
            Self::Clear { which, seen } => {
                let now = present(which, &stored(store.status()).await?);
                if now > seen {
                    return Err(Refusal::MoreJobs);
                }
                let cleared = stored(store.clear(which)).await?;
                let jobs = cleared.waiting + cleared.delayed + cleared.failed + cleared.reserved;
                Notice::of(NoticeKind::Cleared, [jobs, 0])
            }
            Self::Push(job) => {
                let pushed = dashboard.queues.push(channel, &[*job]).await.map_err(Refusal::Failed)?;
                let id = pushed.first().map_or(0, |pushed| pushed.id().0);
                Notice::of(NoticeKind::Pushed, [id, 0])
            }
            Self::Silence(rule, time, comment) => {
                let declared = dashboard.config.channels.get(channel).map(|channel| &channel.rules);
                let mut rules = declared.into_iter().flatten();
                if rule != Silence::ALL_RULES && !rules.any(|known| *known.name == *rule) {
                    return Err(wrong("the channel has no such rule"));
                }
                let silenced = stored(silence_rule(store, &rule, time, &comment)).await?;
                let until =
                    silenced.ok_or_else(|| Refusal::Failed("the channel has too many silences".to_owned()));
                until?;
                dashboard.camera.ask_again(channel).await;
                NoticeKind::Silenced.into()
            }
            Self::Unsilence(rule) => {
                let ended = stored(end_silence(store, &rule)).await?;
                dashboard.camera.ask_again(channel).await;
                let kind = if ended.is_ok() { NoticeKind::Unsilenced } else { NoticeKind::Nothing };
                kind.into()
            }
        })
    }
}

/// The answer of the master behind the page.
async fn served(
    dashboard: &Dashboard,
    channel: &str,
    request: ControlRequest,
) -> Result<ControlResponse, Refusal> {
    match dashboard.camera.ask(channel, request).await {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(why)) => Err(Refusal::Failed(why)),
        None => Err(Refusal::NotServedHere),
    }
}
