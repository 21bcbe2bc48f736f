//! The output of a job and the ends of its processes: from the master while the job runs and when it is done, else from the store.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::control::{self, MasterState};
use super::{CommandContext, Exit, Failure, render, sanitize, time};
use crate::channel::{DoneRun, KeptRun};
use crate::config::{Channel, Driver};
use crate::control::{ControlRequest, ControlResponse, KnownOutput};
use crate::job::{JobId, JobOutput, OutputLine, ProcessEnd};
use crate::pool::OutputPage;

/// The output of a job, as far as the master of this machine knows it; empty without a master, and with one that does not answer.
pub(super) fn known(channel: &Channel, id: JobId) -> KnownOutput {
    if channel.driver == Driver::Sync {
        return KnownOutput::default();
    }
    let request = ControlRequest::Output { id, follow: false };
    let master = control::query(
        channel,
        request,
        |_| {},
        |response| match response {
            ControlResponse::Output(known) => Some(*known),
            _ => None,
        },
    );
    match master {
        MasterState::Responding { answer, .. } => answer,
        _ => KnownOutput::default(),
    }
}

/// A job that is done, as its channel keeps it in the store, or its master remembers it.
pub(super) struct DoneJob<'a> {
    pub(super) channel: &'a Channel,
    pub(super) run: DoneRun,
    pub(super) output: Option<JobOutput>,
}

/// A job that is done: in the channel that the command names, else in any declared one.
pub(super) fn done_job<'a>(
    context: &'a CommandContext,
    usual: &'a Channel,
    id: JobId,
) -> Result<Option<DoneJob<'a>>, Failure> {
    if let Some(done) = kept(context, usual, id)? {
        return Ok(Some(done));
    }
    let others = context.config()?.channels.values().filter(|channel| channel.name != usual.name);
    let others = others.filter(|_| !context.names_channel());
    Ok([usual].into_iter().chain(others).find_map(|channel| {
        let KnownOutput { done, output, .. } = known(channel, id);
        match done {
            Some(run) => Some(DoneJob { channel, run, output }),
            // A store that cannot be read counts as one without the job.
            None if channel.name != usual.name => kept(context, channel, id).ok()?,
            None => None,
        }
    }))
}

/// A done job that the store of a channel keeps.
fn kept<'a>(
    context: &CommandContext,
    channel: &'a Channel,
    id: JobId,
) -> Result<Option<DoneJob<'a>>, Failure> {
    if channel.driver == Driver::Sync {
        return Ok(None);
    }
    let doing = format!("look for the done job {id}");
    let view = context.call_store(channel, doing, async |store| store.kept_job(id).await)?;
    Ok(view.map(|view| {
        let KeptRun { run, output } = KeptRun::of(&view);
        DoneJob { channel, run, output }
    }))
}

/// Prints the lines of a running job as they come, and ends with its run: as a failure unless the job is done. Answers what
/// the master knows when it has no run of the job.
pub(super) fn follow(
    context: &CommandContext,
    channel: &Channel,
    doing: &str,
    id: JobId,
) -> Result<Option<KnownOutput>, Failure> {
    let (mut printed, mut missed) = (Ok(()), 0);
    let print = |page: &OutputPage| {
        missed += page.missed;
        if printed.is_ok() {
            printed = print_page(context, page);
        }
    };
    let known = control::follow(channel, doing, id, print)?;
    printed?;
    if missed > 0 {
        context.note(&format!("{missed} lines came faster than they could be followed"));
    }
    match known.outcome.as_deref() {
        None => Ok(Some(known)),
        Some("done") => Ok(None),
        Some(outcome) => {
            context.note(&format!(
                "the run of job {id} ended: {}; queue:show tells whether another attempt follows",
                outcome.replace('_', " ")
            ));
            Err(Failure::silent())
        }
    }
}

fn print_page(context: &CommandContext, page: &OutputPage) -> Result<(), Failure> {
    if context.json() {
        return page.lines.iter().try_for_each(|line| context.print_json(line));
    }
    context.print(&text_of(&page.lines))
}

/// Prints the lines of an output that has ended, and nothing else.
pub(super) fn print(context: &CommandContext, id: JobId, output: Option<&JobOutput>) -> Result<(), Failure> {
    if context.json() {
        return context.print_json(&output);
    }
    match output {
        Some(output) => {
            if output.dropped_lines > 0 {
                context.note(&format!("{} earlier lines are not kept", output.dropped_lines));
            }
            context.print(&text_of(&output.lines))
        }
        None => {
            context.note(&format!("no output of job {id} is kept"));
            Ok(())
        }
    }
}

fn text_of(lines: &[OutputLine]) -> String {
    lines.iter().map(|line| format!("{}\n", crate::sanitize::output_line(&line.text))).collect()
}

/// The output as a section of `queue:show`; `title` names the run.
pub(super) fn section(title: &str, output: &JobOutput) -> String {
    let mut shown = title.to_owned();
    if output.dropped_lines > 0 {
        shown.push_str(&format!(", the last {} lines", output.lines.len()));
    }
    shown.push('\n');
    for line in text_of(&output.lines).lines() {
        shown.push_str(&format!("  {line}\n"));
    }
    shown
}

/// The end of the process of an attempt, in lines: how it ended, what came before, its memory.
pub(super) fn process_lines(process: &ProcessEnd) -> Vec<String> {
    let mut lines = Vec::new();
    let company = match process.others {
        0 => "alone".to_owned(),
        1 => "beside 1 other run".to_owned(),
        others => format!("beside {others} other runs"),
    };
    let core = if process.core { ", core dumped" } else { "" };
    match (process.exit, &process.signal) {
        (Some(code), _) => lines.push(format!("process exited with {code}, {company}")),
        (None, Some(signal)) => {
            let signal = sanitize::line(signal);
            lines.push(format!("process killed by {signal}{core}, {company}"));
        }
        (None, None) => lines.push(format!("process lived on, {company}")),
    }
    match (process.asked_at, process.killed_at) {
        (Some(asked), Some(killed)) => {
            let after = render::duration(u64::try_from(killed.since(asked).as_millis()).unwrap_or(u64::MAX));
            lines.push(format!("asked to end {}, killed {after} later", time::local(asked)));
        }
        (Some(asked), None) => lines.push(format!("asked to end {}", time::local(asked))),
        (None, Some(killed)) => lines.push(format!("killed by its master {}", time::local(killed))),
        (None, None) => {}
    }
    match (process.rss_peak, process.memory_limit) {
        (Some(peak), Some(limit)) => {
            lines.push(format!("memory peak {}, limit {}", render::size(peak), render::size(limit)));
        }
        (Some(peak), None) => lines.push(format!("memory peak {}", render::size(peak))),
        (None, _) => {}
    }
    lines
}

/// The end of the process of an attempt as JSON, with times as other JSON has them.
#[derive(Serialize)]
pub(super) struct ProcessJson<'a> {
    exit: Option<i32>,
    signal: Option<&'a str>,
    core: bool,
    rss_peak: Option<u64>,
    memory_limit: Option<u64>,
    asked_at: Option<String>,
    killed_at: Option<String>,
    others: u32,
}

impl<'a> ProcessJson<'a> {
    pub(super) fn of(process: &'a ProcessEnd) -> Self {
        Self {
            exit: process.exit,
            signal: process.signal.as_deref(),
            core: process.core,
            rss_peak: process.rss_peak,
            memory_limit: process.memory_limit,
            asked_at: process.asked_at.and_then(time::rfc3339),
            killed_at: process.killed_at.and_then(time::rfc3339),
            others: process.others,
        }
    }
}

/// A job that is done, as JSON of `queue:show` and `queue:jobs`.
pub(super) fn done_json(channel: &str, run: &DoneRun) -> Json {
    json!({
        "id": run.id,
        "job": run.job,
        "channel": channel,
        "state": "done",
        "attempts": run.attempt,
        "ended_at": time::rfc3339(run.at),
        "waited_ms": run.wait_ms,
        "took_ms": run.took_ms,
        "worker_pid": run.pid,
        "rss_peak": run.rss_peak,
        "ended": if run.asked { "done_after_request" } else { "done" },
    })
}

/// A job that is done, as text of `queue:show`.
pub(super) fn done_text(channel: &str, run: &DoneRun, output: Option<&JobOutput>) -> String {
    let asked = if run.asked { ", after it was asked to end" } else { "" };
    let fields = [
        ("id", Some(run.id.to_string())),
        ("job", Some(sanitize::line(&run.job).into_owned())),
        ("channel", Some(channel.to_owned())),
        ("state", Some(format!("done at {}{asked}", time::local(run.at)))),
        ("attempt", Some(run.attempt.to_string())),
        ("waited", run.wait_ms.map(render::duration)),
        ("took", Some(render::duration(run.took_ms))),
        ("worker", run.pid.map(|pid| format!("pid {pid}"))),
        ("memory", run.rss_peak.map(|bytes| format!("peak {}", render::size(bytes)))),
    ];
    let mut shown = String::new();
    for (name, value) in fields {
        if let Some(value) = value {
            shown.push_str(&format!("{name:<12}{value}\n"));
        }
    }
    if let Some(output) = output {
        shown.push_str(&section("output", output));
    }
    shown
}

/// The failure of a command that cannot follow a job, because the job does not run here.
pub(super) fn not_running(doing: &str, state: &str) -> Failure {
    Failure::new(Exit::Failed, doing)
        .because(match state {
            "waiting" | "delayed" => format!("the job is {state}: its next run has not begun"),
            _ => format!("the job is {state}: its master on this machine does not run it"),
        })
        .hint("queue:why tells what it waits for; follow it once it runs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{OutputStream, Timestamp};

    #[test]
    fn end_of_a_process_is_shown_in_lines() {
        let process = ProcessEnd {
            signal: Some("SIGSEGV".to_owned()),
            core: true,
            rss_peak: Some(61 << 20),
            memory_limit: Some(96 << 20),
            asked_at: Some(Timestamp(1_000_000)),
            killed_at: Some(Timestamp(1_300_000)),
            others: 2,
            ..ProcessEnd::default()
        };
        let lines = process_lines(&process);
        assert_eq!(lines[0], "process killed by SIGSEGV, core dumped, beside 2 other runs");
        assert!(lines[1].ends_with(", killed 300 ms later"), "{lines:?}");
        assert_eq!(lines[2], "memory peak 61 MiB, limit 96 MiB");
        let exited = ProcessEnd { exit: Some(3), ..ProcessEnd::default() };
        assert_eq!(process_lines(&exited), ["process exited with 3, alone"]);
        let asked = ProcessEnd { asked_at: Some(Timestamp(0)), ..ProcessEnd::default() };
        assert_eq!(process_lines(&asked)[0], "process lived on, alone");
    }

    #[test]
    fn lines_of_a_foreign_program_are_sanitised_again() {
        let line = OutputLine { stream: OutputStream::Stdout, text: "a\x1b[2J\tb\nc".to_owned() };
        let output = JobOutput { attempt: 1, lines: vec![line], dropped_lines: 3, dropped_bytes: 9 };
        let shown = section("output of attempt 1", &output);
        assert_eq!(shown, "output of attempt 1, the last 1 lines\n  a\\u{1b}[2J\tb\\nc\n");
    }
}
