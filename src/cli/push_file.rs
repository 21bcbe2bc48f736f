//! `queue:push --file`: pushes one job per line of JSON, in batches.
//!
//! A regular file is read twice: the first pass checks every line, the second pushes, so that a mistake on any line leaves
//! the channel unchanged. Standard input and pipes can be read only once: they are pushed in batches as they arrive, and the
//! message about a mistake says how many jobs were pushed before it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;
use thiserror::Error;

use super::progress::draw_target;
use super::push_lines::{LineError, Lines, parse};
use super::{CommandContext, Exit, Failure, render};
use crate::access::{self, Access};
use crate::config::Channel;
use crate::job::JobId;
use crate::job_json::PushDefaults;
use crate::queue::{Batch, PushOptions, Queue};
use crate::store::{PushError, Pushed, StoreError};

/// Pushes the jobs of `file`, or of standard input for `-`. `job` and `options` are the defaults of lines without their own.
pub(super) fn run(
    context: &CommandContext,
    channel: &Channel,
    file: &Path,
    job: Option<&str>,
    options: &PushOptions,
) -> Result<(), Failure> {
    let (name, source) = open(file)?;
    let defaults = PushDefaults { job, options };
    let (lines, total) = match source {
        Source::File(mut opened) => {
            let (jobs, names) = check_all(&opened, &name, &defaults)?;
            names.iter().for_each(|name| context.warn_of_missing_handler(channel, name));
            opened.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&name, error, Exit::Failed))?;
            (Lines::new(Box::new(opened) as Box<dyn Read>, false), Some(jobs))
        }
        Source::Stream(stream) => (Lines::new(stream, true), None),
    };
    context.check_store(channel, "push the jobs")?;
    let queue = context.queue_for_push(channel)?;
    let bar = progress(context, total);
    let mut push = BulkPush { queue: &queue, name: &name, bar: &bar, tally: PushTally::default() };
    let done = context.block_on(push.all(lines, &defaults));
    let tally = push.tally;
    bar.finish_and_clear();
    done?;
    context.show(&tally.to_json(&channel.name), &tally.render(&channel.name))
}

enum Source {
    /// A regular file, read twice.
    File(File),
    /// A pipe or standard input, read once.
    Stream(Box<dyn Read>),
}

/// Opens the input. Returns also its name for messages.
fn open(file: &Path) -> Result<(String, Source), Failure> {
    if file == Path::new("-") {
        return Ok(("standard input".to_owned(), Source::Stream(Box::new(io::stdin()))));
    }
    let name = file.display().to_string();
    let failed = |error| unreadable(&name, error, Exit::Usage);
    let opened = File::open(file).map_err(|error| failed(access::explained(error, file, Access::Read)))?;
    let found = opened.metadata().map_err(failed)?;
    if found.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    let source = if found.is_file() { Source::File(opened) } else { Source::Stream(Box::new(opened)) };
    Ok((name, source))
}

fn unreadable(name: &str, error: io::Error, exit: Exit) -> Failure {
    Failure::new(exit, "push the jobs of a file")
        .because(format!("\"{name}\" cannot be read: {error}"))
        .hint("name a readable file after --file, or - for standard input")
}

/// Checks every line. Returns the number of jobs, and their names.
fn check_all(
    file: &File,
    name: &str,
    defaults: &PushDefaults<'_>,
) -> Result<(u64, BTreeSet<String>), Failure> {
    let again = file.try_clone().map_err(|error| unreadable(name, error, Exit::Failed))?;
    let mut lines = Lines::new(Box::new(again), false);
    let (mut jobs, mut names) = (0, BTreeSet::new());
    while let Some(line) = lines.next() {
        let job = line.and_then(|line| parse(line, defaults)).map_err(|why| {
            bad_line(name, lines.number, why).hint("nothing was pushed: correct the line and push again")
        })?;
        jobs += 1;
        names.insert(job.meta.job);
    }
    Ok((jobs, names))
}

fn bad_line(name: &str, number: u64, why: LineError) -> Failure {
    Failure::new(Exit::Usage, "push the jobs of a file").because(BadLine {
        name: name.to_owned(),
        number,
        why,
    })
}

#[derive(Debug, Error)]
#[error("{name}:{number}")]
struct BadLine {
    name: String,
    number: u64,
    #[source]
    why: LineError,
}

/// Counts of the jobs pushed so far.
#[derive(Default)]
struct PushTally {
    added: u64,
    existing: u64,
    first: Option<JobId>,
    last: Option<JobId>,
    /// Number of the last line whose job is certainly in the store.
    line: u64,
}

impl PushTally {
    fn count(&mut self, pushed: &[Pushed], line: u64) {
        for one in pushed {
            match one {
                Pushed::Added(id) => {
                    self.added += 1;
                    self.first.get_or_insert(*id);
                    self.last = Some(*id);
                }
                Pushed::Existing(_) => self.existing += 1,
            }
        }
        self.line = line;
    }

    fn render(&self, channel: &str) -> String {
        let mut text = format!("pushed {} to channel \"{channel}\"", render::jobs(self.added));
        match (self.first, self.last) {
            (Some(first), Some(last)) if first != last => text.push_str(&format!(", ids {first} to {last}")),
            (Some(id), _) => text.push_str(&format!(", id {id}")),
            (None, _) => {}
        }
        if self.existing > 0 {
            let were = if self.existing == 1 { "was" } else { "were" };
            text.push_str(&format!("; {} with a unique key {were} already in the channel", self.existing));
        }
        text.push('\n');
        text
    }

    fn to_json(&self, channel: &str) -> serde_json::Value {
        json!({
            "channel": channel,
            "pushed": self.added,
            "existing": self.existing,
            "first_id": self.first,
            "last_id": self.last,
        })
    }
}

struct BulkPush<'a> {
    queue: &'a Queue,
    name: &'a str,
    bar: &'a ProgressBar,
    tally: PushTally,
}

impl BulkPush<'_> {
    async fn all(&mut self, mut lines: Lines, defaults: &PushDefaults<'_>) -> Result<(), Failure> {
        let mut batch = self.queue.batch();
        // Number of the last line whose job is in the batch.
        let mut gathered = 0;
        loop {
            let job = match lines.next() {
                None => return self.push(&mut batch, gathered).await,
                Some(line) => line.and_then(|line| parse(line, defaults)),
            };
            match job {
                Ok(job) => {
                    if !batch.has_room_for(&job) {
                        self.push(&mut batch, gathered).await?;
                    }
                    batch.add(job);
                    gathered = lines.number;
                }
                Err(why) => {
                    // Push the valid lines before the invalid one.
                    self.push(&mut batch, gathered).await?;
                    return Err(self.stopped(bad_line(self.name, lines.number, why)));
                }
            }
            if lines.would_wait() {
                self.push(&mut batch, gathered).await?;
            }
        }
    }

    async fn push(&mut self, batch: &mut Batch, last_line: u64) -> Result<(), Failure> {
        let jobs = batch.take();
        if jobs.is_empty() {
            return Ok(());
        }
        match self.queue.push_batch(&jobs).await {
            Ok(pushed) => {
                self.tally.count(&pushed, last_line);
                self.bar.inc(pushed.len() as u64);
                Ok(())
            }
            Err(error) => {
                let unsure = matches!(&error, PushError::Store(StoreError::Unavailable { .. }));
                let failure = Failure::push(format!("push the jobs of {}", self.name), error);
                Err(self.failed(failure, jobs.len(), last_line, unsure))
            }
        }
    }

    /// The failure of an invalid line, with the number of jobs pushed before it.
    fn stopped(&self, failure: Failure) -> Failure {
        let PushTally { added, existing, line, .. } = self.tally;
        if added + existing == 0 {
            return failure.hint("nothing was pushed: correct the line and push again");
        }
        failure.with_exit(Exit::Failed).hint(format!(
            "{} up to line {line}: correct the next line and push the rest from there",
            pushed(added + existing)
        ))
    }

    /// The failure of a batch, with the number of jobs pushed before it.
    fn failed(&self, failure: Failure, in_batch: usize, last_line: u64, unsure: bool) -> Failure {
        let PushTally { added, existing, line, .. } = self.tally;
        let sure = match added + existing {
            0 => "no job is known to be pushed".to_owned(),
            n => format!("{} up to line {line}", pushed(n)),
        };
        let rest = if unsure {
            format!("; the next {in_batch}, up to line {last_line}, may or may not be pushed")
        } else {
            "; later jobs were not pushed".to_owned()
        };
        failure.hint(format!("{sure}{rest}"))
    }
}

fn progress(context: &CommandContext, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, draw_target(context));
    let template = match total {
        Some(_) => "{bar:40} {human_pos}/{human_len} jobs, {rate}, {eta} left",
        None => "{spinner} {human_pos} jobs, {rate}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is constant and valid");
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A formatting error of the bar must not abort the push.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    bar.set_style(style.with_key("rate", rate));
    bar
}

/// `1 job was pushed`, `2 jobs were pushed`.
fn pushed(count: u64) -> String {
    format!("{} pushed", render::jobs_were(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_counts_added_and_existing_jobs() {
        let mut tally = PushTally::default();
        assert_eq!(tally.render("x"), "pushed 0 jobs to channel \"x\"\n");
        tally.count(&[Pushed::Added(JobId(7))], 1);
        assert_eq!(tally.render("x"), "pushed 1 job to channel \"x\", id 7\n");
        tally.count(&[Pushed::Existing(JobId(7)), Pushed::Added(JobId(9))], 3);
        assert_eq!(
            tally.render("x"),
            "pushed 2 jobs to channel \"x\", ids 7 to 9; 1 with a unique key was already in the channel\n"
        );
        assert_eq!(tally.to_json("x")["last_id"], 9);
    }
}
