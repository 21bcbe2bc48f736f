//! `/channels/{name}/jobs/{id}`: one job, with all that is known of it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::Asked;
use super::channel_actions::post_button;
use super::jobs::job_path;
use super::notice::notice;
use super::worker::worker_path;
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::explanation::JobExplanation;
use crate::dashboard::hidden_keys::HiddenKeys;
use crate::dashboard::parts::{Words, bytes, channel_path, clock_time, lines, millis, seconds};
use crate::dashboard::picture::ChannelPicture;
use crate::dashboard::refusal::Refusal;
use crate::dashboard::rights::{Can, Role, See, Visitor};
use crate::dashboard::{Dashboard, answered, explanation};
use crate::job::{JobId, JobOutput, ProcessEnd};
use crate::sanitize;
use crate::store::{JobState, JobView};
use crate::why;

/// Most characters of a payload on the page.
const MAX_PAYLOAD: usize = 64 << 10;

/// `GET /channels/{name}/jobs/{id}`.
pub(in crate::engine::dashboard) async fn job(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    Path((name, id)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let picture = dashboard.camera.picture().await;
    let channel = dashboard.found(&picture, &name)?;
    let id: JobId = id.parse().map_err(|_| Refusal::NoSuchJob)?;
    let sees_payloads = can.visitor.sees_payloads;
    let words = asked.language.words();
    let path = job_path(&channel.name, id);
    let store = dashboard.store(&channel.name)?;
    let Some(job) = answered(store.get(id)).await? else {
        let content = done(&dashboard, channel, id, &can.visitor, words).await.ok_or(Refusal::NoSuchJob)?;
        return Ok(dashboard.render(&asked.page(id.to_string(), path, None, content), &can.visitor));
    };
    let output = if sees_payloads { answered(store.output(id)).await.ok().flatten() } else { None };
    let JobExplanation { sentence, worker } = explanation::of_job(&dashboard, channel, &job).await;
    let content = html! {
        p { a href=(dashboard.frame.link(&channel_path(&channel.name))) { (channel.name) } }
        h1 { (sanitize::line(&job.meta.job)) " " code { (id) } }
        (notice(asked.notice, words))
        // The sentence may quote an error.
        @if let Some(sentence) = sentence.filter(|_| sees_payloads) {
            p lang="en" { (sanitize::line(&sentence)) }
        }
        @if let Some(pid) = worker {
            p { a href=(dashboard.frame.link(&worker_path(&channel.name, pid))) { (words.worker.title) " " (pid) } }
        }
        (actions(&dashboard, &job, &path, &can.visitor, words))
        (facts(&job, sees_payloads, words))
        @if sees_payloads {
            (contents(&job, &dashboard.hidden, words))
            (errors(&job, words))
            (printed(output.as_ref(), words))
        } @else {
            p class="note" { (words.payload_needs_token) }
        }
    };
    let title = format!("{} {id}", sanitize::line(&job.meta.job));
    Ok(dashboard.render(&asked.page(title, path, None, content), &can.visitor))
}

/// The content of the page of a job that is done, as far as the master remembers it.
async fn done(
    dashboard: &Dashboard,
    channel: &ChannelPicture,
    id: JobId,
    visitor: &Visitor,
    words: &Words,
) -> Option<Markup> {
    let asked = dashboard.camera.ask(&channel.name, ControlRequest::Output { id, follow: false }).await;
    let Some(Ok(ControlResponse::Output(known))) = asked else { return None };
    let run = known.done.as_ref()?;
    let output = known.output.as_ref().filter(|_| visitor.sees_payloads);
    Some(html! {
        p { a href=(dashboard.frame.link(&channel_path(&channel.name))) { (channel.name) } }
        h1 { (sanitize::line(&run.job)) " " code { (id) } }
        p lang="en" { (sanitize::line(&why::done(run).text)) }
        (printed(output, words))
    })
}

/// The buttons of what the visitor may do with the job in its state.
fn actions(dashboard: &Dashboard, job: &JobView, path: &str, visitor: &Visitor, words: &Words) -> Markup {
    let possible: &[(&str, &str)] = match job.state {
        JobState::Failed => &[("retry", words.retry), ("remove", words.remove)],
        JobState::Waiting => &[("cancel", words.cancel)],
        JobState::Delayed => &[("run-now", words.forms.run_now), ("cancel", words.cancel)],
        JobState::Reserved => &[("cancel", words.cancel), ("kill", words.forms.kill)],
    };
    html! {
        @if visitor.role >= Role::Operator {
            div class="actions" {
                @for (action, name) in possible {
                    @let link = format!("{}/{action}", dashboard.frame.link(path));
                    (post_button(&link, name, !matches!(*action, "retry" | "run-now")))
                }
            }
        }
    }
}

fn facts(job: &JobView, sees_payloads: bool, words: &Words) -> Markup {
    let meta = &job.meta;
    let number = |number: u32| (number > 0).then(|| number.to_string());
    let rows = [
        (words.state, Some(words.job_state(job.state).to_owned())),
        (words.reason, meta.failed.map(|reason| reason.as_str().to_owned())),
        (words.pushed, Some(clock_time(meta.pushed_at(job.id)))),
        (words.due, (job.state == JobState::Delayed).then(|| clock_time(job.at))),
        (words.failed_at, (job.state == JobState::Failed).then(|| clock_time(job.at))),
        (words.attempts, Some(meta.attempts.to_string())),
        (words.crashes, number(meta.crashes)),
        (words.lost, number(meta.lost)),
        (words.priority, Some(meta.priority.as_str().to_owned())),
        // Keys are often made of the payload.
        (
            words.unique_key,
            meta.unique.as_ref().filter(|_| sees_payloads).map(|key| sanitize::line(key).into_owned()),
        ),
        (words.time_limit, meta.timeout_ms.map(millis)),
        (words.expires, meta.expiry(job.id).map(clock_time)),
    ];
    html! {
        dl class="facts card" {
            @for (name, value) in rows {
                @if let Some(value) = value {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}

fn contents(job: &JobView, hidden: &HiddenKeys, words: &Words) -> Markup {
    let payload = hidden.payload(&job.payload);
    let is_cut = payload.chars().count() > MAX_PAYLOAD;
    let payload: String = payload.chars().take(MAX_PAYLOAD).collect();
    html! {
        section class="card" {
            h2 { (words.payload) }
            pre tabindex="0" { (lines(&payload)) @if is_cut { "…" } }
            @if !job.meta.headers.is_empty() {
                h2 { (words.headers) }
                dl class="facts" {
                    @for (name, value) in &job.meta.headers {
                        div { dt { (sanitize::line(name)) } dd { (sanitize::line(hidden.header(name, value))) } }
                    }
                }
            }
        }
    }
}

fn errors(job: &JobView, words: &Words) -> Markup {
    html! {
        @if !job.meta.errors.is_empty() {
            section class="card" {
                h2 { (words.errors) }
                @for error in job.meta.errors.iter().rev() {
                    h3 { (words.attempt) " " (error.attempt) " · " (clock_time(error.at)) " · " (error.kind.as_str()) }
                    pre tabindex="0" { (lines(error.message.trim_end())) }
                    @if let Some(process) = &error.process {
                        p class="note" { (end_of_process(process)) }
                    }
                }
            }
        }
    }
}

/// The end of a process: status or signal, the kill that came before, and its memory.
fn end_of_process(process: &ProcessEnd) -> String {
    let mut parts = Vec::new();
    match (process.exit, &process.signal) {
        (Some(code), _) => parts.push(format!("exit {code}")),
        (None, Some(signal)) => {
            let core = if process.core { " (core dumped)" } else { "" };
            parts.push(format!("{}{core}", sanitize::line(signal)));
        }
        (None, None) => {}
    }
    if let Some(asked) = process.asked_at {
        parts.push(format!("TERM {}", clock_time(asked)));
    }
    if let Some(killed) = process.killed_at {
        let after = process.asked_at.map(|asked| killed.since(asked));
        let after = after.map(|after| format!(" +{}", seconds(Some(after.as_secs_f64()))));
        parts.push(format!("KILL {}", after.unwrap_or_else(|| clock_time(killed))));
    }
    match (process.rss_peak, process.memory_limit) {
        (Some(peak), Some(limit)) => parts.push(format!("RSS {} / {}", bytes(peak), bytes(limit))),
        (Some(peak), None) => parts.push(format!("RSS {}", bytes(peak))),
        (None, _) => {}
    }
    parts.join(" · ")
}

fn printed(output: Option<&JobOutput>, words: &Words) -> Markup {
    html! {
        @if let Some(output) = output {
            section class="card" {
                h2 { (words.output) " · " (words.attempt) " " (output.attempt) }
                @if output.dropped_lines > 0 {
                    p class="note" { (words.dropped_lines.replace("{n}", &output.dropped_lines.to_string())) }
                }
                pre tabindex="0" {
                    @for line in &output.lines { (sanitize::output_line(&line.text)) "\n" }
                }
            }
        }
    }
}
