//! `/channels/{name}/workers/{pid}`: one worker of the master behind the page, its jobs, its processes and the last lines they printed.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};

use super::Asked;
use super::channel_actions::post_button;
use super::jobs::job_path;
use super::notice::notice;
use crate::channel::{ChannelStatus, DoneRun};
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::Dashboard;
use crate::dashboard::parts::{Words, bytes, channel_path, clock_time, millis};
use crate::dashboard::picture::ChannelPicture;
use crate::dashboard::process_trees::MAX_PROCESSES;
use crate::dashboard::refusal::Refusal;
use crate::dashboard::rights::{Can, Role, See, Visitor};
use crate::guardian::process_list::ProcessRow;
use crate::job::JobOutput;
use crate::pool::{RunningJob, WorkerStatus};
use crate::sanitize;

/// Most running jobs whose output is shown.
const MAX_OUTPUTS: usize = 3;
/// Most done jobs of the worker.
const MAX_DONE: usize = 20;
/// Runs of the channel that are searched for those of the worker.
const SEARCHED_RUNS: u16 = 200;
/// Most steps by which a process is indented.
const MAX_INDENT: usize = 12;
/// The part of the page that its script refreshes.
const PART: &str = "worker";

/// All that is known of a worker.
struct Known {
    row: WorkerStatus,
    runs: Vec<RunningJob>,
    done: Vec<DoneRun>,
    /// The last lines of running jobs.
    outputs: Vec<JobOutput>,
    tree: Arc<Vec<ProcessRow>>,
}

/// `GET /channels/{name}/workers/{pid}`.
pub(in crate::engine::dashboard) async fn worker(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    Path((name, pid)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let picture = dashboard.camera.picture().await;
    let channel = dashboard.found(&picture, &name)?;
    let pid: i32 = pid.parse().map_err(|_| Refusal::NoSuchWorker)?;
    let known = look(&dashboard, channel, pid, &can.visitor).await?;
    let words = asked.language.words();
    let part = html! {
        div data-part=(PART) data-every="1" { (content(&dashboard, channel, &known, &can.visitor, words)) }
    };
    if asked.part.as_deref() == Some(PART) {
        return Ok(Html(part.into_string()).into_response());
    }
    let path = worker_path(&channel.name, pid);
    let content = html! {
        p { a href=(dashboard.frame.link(&channel_path(&channel.name))) { (channel.name) } }
        h1 { (words.worker.title) " " (pid) }
        (notice(asked.notice, words))
        (actions(&dashboard, &path, &can.visitor, words))
        (part)
    };
    let title = format!("{} {pid}", words.worker.title);
    Ok(dashboard.render(&asked.page(title, path, Some(&channel.name), content), &can.visitor))
}

/// The path of the page of a worker.
pub(super) fn worker_path(channel: &str, pid: i32) -> String {
    format!("{}/workers/{pid}", channel_path(channel))
}

async fn look(
    dashboard: &Dashboard,
    channel: &ChannelPicture,
    pid: i32,
    visitor: &Visitor,
) -> Result<Known, Refusal> {
    if !channel.is_served {
        return Err(Refusal::NotServedHere);
    }
    let ask = async |request| match dashboard.camera.ask(&channel.name, request).await {
        Some(Ok(answer)) => Some(answer),
        _ => None,
    };
    let of_status =
        |status: &ChannelStatus| status.pool.rows.iter().find(|row| row.pid == Some(pid)).cloned();
    let row = match channel.status.as_ref().and_then(of_status) {
        Some(row) => row,
        // A program of one job may have started after the picture was taken.
        None => match ask(ControlRequest::Look { id: None }).await {
            Some(ControlResponse::Look { view, .. }) => {
                of_status(&view.report).ok_or(Refusal::NoSuchWorker)?
            }
            _ => return Err(Refusal::NoSuchWorker),
        },
    };
    let mut runs = match ask(ControlRequest::Runs).await {
        Some(ControlResponse::Runs { runs, .. }) => runs,
        _ => Vec::new(),
    };
    runs.retain(|job| job.run.pid == Some(pid));
    let done = match ask(ControlRequest::Done { before: None, limit: SEARCHED_RUNS }).await {
        Some(ControlResponse::Done(page)) => page.runs,
        _ => Vec::new(),
    };
    let done = done.into_iter().filter(|run| run.pid == Some(pid)).take(MAX_DONE).collect();
    let (mut outputs, mut tree) = (Vec::new(), Arc::default());
    // Commands and lines may have secrets of jobs.
    if visitor.sees_payloads {
        for job in runs.iter().take(MAX_OUTPUTS) {
            if let Some(ControlResponse::Output(known)) =
                ask(ControlRequest::Output { id: job.id, follow: false }).await
            {
                outputs.extend(known.output);
            }
        }
        tree = dashboard.trees.tree(pid).await;
    }
    Ok(Known { row, runs, done, outputs, tree })
}

fn actions(dashboard: &Dashboard, path: &str, visitor: &Visitor, words: &Words) -> Markup {
    let link = |action: &str| dashboard.frame.link(&format!("{path}/{action}"));
    html! {
        @if visitor.role >= Role::Operator {
            div class="actions" {
                (post_button(&link("end"), words.worker.end, false))
                (post_button(&link("kill"), words.worker.kill, true))
            }
        }
    }
}

fn content(
    dashboard: &Dashboard,
    channel: &ChannelPicture,
    known: &Known,
    visitor: &Visitor,
    words: &Words,
) -> Markup {
    let row = &known.row;
    html! {
        dl class="figures" {
            @for (name, value) in [
                (words.state, words.activity_of(row.state).to_owned()),
                (words.age, millis(row.age_ms)),
                (words.memory, row.memory.map_or_else(|| "–".to_owned(), bytes)),
                (words.running_now, row.jobs.to_string()),
                (words.done_jobs, row.done.to_string()),
                (words.worker.generation, row.generation.to_string()),
            ] {
                div { dt { (name) } dd { (value) } }
            }
        }
        p class="note" {
            (words.reason) ": " (row.why)
            @if let Some(outgoing) = &row.outgoing { " → " (outgoing) }
        }
        (running(dashboard, channel, &known.runs, words))
        @if visitor.sees_payloads {
            (processes(&known.tree, words))
            @for output in &known.outputs { (printed(output, words)) }
        } @else {
            p class="note" { (words.payload_needs_token) }
        }
        (done(dashboard, channel, &known.done, words))
    }
}

fn running(dashboard: &Dashboard, channel: &ChannelPicture, runs: &[RunningJob], words: &Words) -> Markup {
    html! {
        section class="card" {
            h2 { (words.running_now) }
            @if runs.is_empty() {
                p class="empty" { (words.worker.no_job) }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { "id" }
                            th scope="col" { (words.job) }
                            th scope="col" class="number" { (words.attempt) }
                            th scope="col" class="number" { (words.for_time) }
                            th scope="col" class="number" { (words.time_limit) }
                            th scope="col" class="number" { (words.progress) }
                        }
                    }
                    tbody {
                        @for job in runs {
                            tr {
                                th scope="row" { a href=(dashboard.frame.link(&job_path(&channel.name, job.id))) { (job.id) } }
                                td data-label=(words.job) { (sanitize::line(&job.job)) }
                                td class="number" data-label=(words.attempt) { (job.run.attempt.map_or_else(|| "–".to_owned(), |attempt| attempt.to_string())) }
                                td class="number" data-label=(words.for_time) { (millis(job.run.ms)) }
                                td class="number" data-label=(words.time_limit) { (job.run.limit_ms.map_or_else(|| "–".to_owned(), millis)) }
                                td class="number" data-label=(words.progress) { (job.run.progress.map_or_else(|| "–".to_owned(), |progress| format!("{progress} %"))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The processes, each behind its parent and indented below it.
pub(super) fn processes(tree: &[ProcessRow], words: &Words) -> Markup {
    html! {
        section class="card" {
            h2 { (words.worker.processes) }
            @if tree.is_empty() {
                p class="empty" { (words.worker.no_process) }
            } @else {
                table {
                    thead {
                        tr {
                            th scope="col" { (words.process) }
                            th scope="col" { (words.state) }
                            th scope="col" class="number" { (words.worker.processor) }
                            th scope="col" class="number" { (words.memory) }
                            th scope="col" class="number" { (words.age) }
                            th scope="col" { (words.worker.command) }
                        }
                    }
                    tbody {
                        @for process in tree {
                            tr {
                                td data-label=(words.process) { (branch(process.depth)) (process.pid) }
                                td data-label=(words.state) { (process.state) }
                                td class="number" data-label=(words.worker.processor) { (millis(process.cpu_ms)) }
                                td class="number" data-label=(words.memory) { (bytes(process.rss)) }
                                td class="number" data-label=(words.age) { (millis(process.age_ms)) }
                                td class="wide" data-label=(words.worker.command) { code { (sanitize::line(&process.command)) } }
                            }
                        }
                    }
                }
                @if tree.len() >= MAX_PROCESSES { p class="note" { (words.worker.more_processes) } }
            }
        }
    }
}

/// The line that leads to a process from its parent.
fn branch(depth: usize) -> String {
    match depth {
        0 => String::new(),
        depth => format!("{}└ ", "\u{a0}\u{a0}".repeat(depth.min(MAX_INDENT) - 1)),
    }
}

fn printed(output: &JobOutput, words: &Words) -> Markup {
    html! {
        section class="card" {
            h2 { (words.output) " · " (words.attempt) " " (output.attempt) }
            pre tabindex="0" {
                @for line in &output.lines { (sanitize::output_line(&line.text)) "\n" }
            }
        }
    }
}

fn done(dashboard: &Dashboard, channel: &ChannelPicture, runs: &[DoneRun], words: &Words) -> Markup {
    html! {
        @if !runs.is_empty() {
            section class="card" {
                h2 { (words.worker.last_jobs) }
                table {
                    thead {
                        tr {
                            th scope="col" { "id" }
                            th scope="col" { (words.job) }
                            th scope="col" class="number" { (words.worker.took) }
                            th scope="col" { (words.worker.ended_at) }
                        }
                    }
                    tbody {
                        @for run in runs {
                            tr {
                                th scope="row" { a href=(dashboard.frame.link(&job_path(&channel.name, run.id))) { (run.id) } }
                                td data-label=(words.job) { (sanitize::line(&run.job)) }
                                td class="number" data-label=(words.worker.took) { (millis(run.took_ms)) }
                                td data-label=(words.worker.ended_at) { (clock_time(run.at)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_indented_below_its_parent() {
        assert_eq!([0, 1, 2].map(branch), ["", "└ ", "\u{a0}\u{a0}└ "]);
        assert!(branch(500).chars().count() < 30);
    }
}
