//! The answers of the control socket: one handler per request, which asks the channel's actor, its store or the service loop.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use aint_queue_core::durations::millis;
use aint_queue_core::mutex::lock;
use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::error;

use super::server::RequestHandler;
use crate::activity::Activity;
use crate::channel::{
    ChannelDetails, ChannelStatus, Command, CrossChannelPush, HeldCancel, LastCounts, MasterIdentity,
    OutputSource, Stopped,
};
use crate::control::protocol::{ControlRequest, ControlResponse, KnownOutput, Reply, ResponseLine};
use crate::job::JobId;
use crate::logging::LogWriter;
use crate::master::alerting::Alerting;
use crate::master::place::ChannelPlace;
use crate::master::reload::{ReloadChanges, ReloadError, ReloadRequest};
use crate::master::signals::with_signals_blocked;
use crate::metrics::{ChannelMetrics, Metrics};
use crate::pool::RunOutput;
use crate::producer_memory::ProducerMemory;
use crate::snapshot::{Attention, HandlerStatuses, HandlerThread, NamedHandler, Recent, Sampler};
use crate::span_export::SpanExport;
use crate::store::{JobCounts, StoreIdentity};

/// Time between two progress lines of a slow request.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// Age from which a status takes another sample.
const OLDEST_SAMPLE: Duration = Duration::from_secs(1);

/// Longest time between two lines to a command that follows a job; a shorter one than it waits for an answer.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(10);
/// Shortest time between two lines to a command that follows a job: a job that prints without end costs ten of them a second.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);

/// The parts that all channels of a master share.
pub(in crate::engine::master) struct MasterShared {
    /// Memory for jobs that producers send.
    pub(in crate::engine::master) producer_memory: ProducerMemory,
    pub(in crate::engine::master) cross_channel: Arc<dyn CrossChannelPush>,
    /// This process, as other machines name it.
    pub(in crate::engine::master) identity: MasterIdentity,
    /// The metrics of all channels.
    pub(in crate::engine::master) metrics: Metrics,
    /// The export of spans.
    pub(in crate::engine::master) span_export: Arc<SpanExport>,
    /// The alerts; `None` without a receiver.
    pub(in crate::engine::master) alerting: Option<Alerting>,
    /// The handlers of snapshots that the program has registered.
    pub(in crate::engine::master) snapshot_handlers: Vec<NamedHandler>,
    /// The thread of snapshot handlers.
    pub(in crate::engine::master) handler_thread: HandlerThread,
    /// The last actions and events.
    pub(in crate::engine::master) activity: Arc<Activity>,
    /// The last looks at the master, which set the pace of samples.
    pub(in crate::engine::master) attention: Arc<Attention>,
    /// Names of the served channels.
    pub(in crate::engine::master) channels: Vec<String>,
    /// The queue of the master's service loop for reload requests.
    pub(in crate::engine::master) reloads: mpsc::Sender<ReloadRequest>,
    pub(in crate::engine::master) started: Instant,
    /// The log of the process, if it has one.
    pub(in crate::engine::master) log: Option<LogWriter>,
    /// The handlers of all channels: a metrics request reads all of them.
    pub(in crate::engine::master) handlers: Mutex<Vec<Weak<ChannelHandlers>>>,
}

/// The handlers of one channel and the sources of their answers.
pub(in crate::engine::master) struct ChannelHandlers {
    pub(in crate::engine::master) channel: Arc<str>,
    pub(in crate::engine::master) commands: mpsc::Sender<Command>,
    pub(in crate::engine::master) place: Arc<ChannelPlace>,
    pub(in crate::engine::master) metrics: ChannelMetrics,
    pub(in crate::engine::master) sampler: Arc<Sampler>,
    /// The end of the channel.
    pub(in crate::engine::master) ended: watch::Receiver<Option<Stopped>>,
    /// The results of the handlers of snapshots.
    pub(in crate::engine::master) handler_statuses: Arc<HandlerStatuses>,
    /// A command has asked for the end of this channel.
    pub(in crate::engine::master) stop_requested: AtomicBool,
    pub(in crate::engine::master) shared: Arc<MasterShared>,
}

impl MasterShared {
    /// The runtime of snapshot handlers; `None` if their thread cannot be started, which the log says.
    pub(in crate::engine::master) fn handler_runtime(&self) -> Option<Handle> {
        let started = with_signals_blocked(|| self.handler_thread.runtime()).and_then(|started| started);
        started
            .inspect_err(|error| error!(%error, "snapshot handlers not called: their thread could not be started; restart the master"))
            .ok()
    }

    /// The metrics of all channels, from memory.
    pub(in crate::engine::master) fn render_metrics(&self) -> String {
        if let Some(log) = &self.log {
            self.metrics.master_lines_dropped(log.dropped().master);
        }
        if let Some(alerting) = &self.alerting {
            alerting.count_messages();
        }
        self.metrics.render()
    }
}

impl ChannelHandlers {
    /// The status of the channel; an error when it has ended.
    pub(in crate::engine::master) async fn status(&self) -> Result<ChannelStatus, String> {
        self.query(Command::Status).await
    }

    /// The counts that the store gave last.
    fn last_counts(&self) -> Option<LastCounts> {
        let (JobCounts { waiting, reserved, delayed, failed, .. }, ago) = self.sampler.last_counts()?;
        Some(LastCounts { waiting, reserved, delayed, failed, ago_ms: millis(ago) })
    }

    /// The actor's answer to a command.
    async fn query<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, String> {
        let ended = || "the channel has ended".to_owned();
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// Waits for the end of a slow request and sends the status of the channel as its progress.
    async fn with_progress<T>(&self, end: impl Future<Output = T>, reply: &mpsc::Sender<Reply>) -> T {
        let mut end = pin!(end);
        loop {
            if let Ok(end) = timeout(PROGRESS_INTERVAL, &mut end).await {
                return end;
            }
            if let Ok(report) = self.query(Command::Status).await {
                let _ = reply.send(ResponseLine::Progress(report).into()).await;
            }
        }
    }

    /// The differences between the held places and files and the paths of the configuration.
    async fn differences(&self) -> Vec<String> {
        let place = Arc::clone(&self.place);
        // A file system that does not respond must not delay the answer.
        let looked = timeout(PROGRESS_INTERVAL, tokio::task::spawn_blocking(move || place.differences()));
        let mut differences = looked.await.ok().and_then(Result::ok).unwrap_or_default();
        differences.extend(self.shared.log.as_ref().and_then(LogWriter::reopen_error));
        differences.extend(self.shared.log.as_ref().and_then(LogWriter::rename_error));
        differences
    }

    /// The values of the last minute, from a sample of now if the store answers soon. The command is a look.
    async fn recent(&self) -> Recent {
        self.shared.attention.looked(tokio::time::Instant::now());
        let _ = timeout(PROGRESS_INTERVAL, self.sampler.refresh(OLDEST_SAMPLE)).await;
        self.sampler.recent()
    }

    async fn metrics(&self) -> String {
        let handlers: Vec<_> = lock(&self.shared.handlers).iter().filter_map(Weak::upgrade).collect();
        for channel in handlers {
            // While the store is unavailable, its last values stay.
            channel.sampler.sample().await;
        }
        self.shared.render_metrics()
    }

    async fn reload(&self, reply: &mpsc::Sender<Reply>) -> Result<ControlResponse, String> {
        let (reload_reply, result) = oneshot::channel();
        let request = ReloadRequest { channel: Arc::clone(&self.channel), reply: Some(reload_reply) };
        let mut on_channel_end = self.ended.clone();
        let end = async {
            if self.shared.reloads.send(request).await.is_err() {
                return Err(ReloadError::Stopping);
            }
            tokio::select! {
                biased;
                result = result => result.unwrap_or(Err(ReloadError::Stopping)),
                // The service loop does not answer this request while it waits for the end of the channel.
                _ = on_channel_end.wait_for(Option::is_some) => Err(ReloadError::Stopping),
            }
        };
        match self.with_progress(end, reply).await {
            Ok(ReloadChanges { renewed, restart, program_replaced }) => {
                let log_error = self.shared.log.as_ref().and_then(LogWriter::reopen_error);
                Ok(ControlResponse::Reloaded { renewed, restart, program_replaced, log_error })
            }
            Err(error @ ReloadError::Stopping) => Err(error.to_string()),
            Err(error) => {
                let invalid = matches!(error, ReloadError::Config(_));
                Ok(ControlResponse::NotReloaded { why: error.to_string(), invalid })
            }
        }
    }

    async fn stop(&self, force: bool, reply: &mpsc::Sender<Reply>) -> Result<ControlResponse, String> {
        self.stop_requested.store(true, Ordering::Relaxed);
        // A failed send means that the channel has ended already.
        let _ = self.commands.send(Command::Stop { force }).await;
        // The stop is for good, whatever the master waited for.
        let _ = self.commands.send(Command::HoldBack(None)).await;
        let mut ended = self.ended.clone();
        let end = async { ended.wait_for(Option::is_some).await.ok()?.clone() };
        let stopped = self.with_progress(end, reply).await;
        let Stopped { handed_back, interrupted, jobs_settled: settled, .. } =
            stopped.ok_or("the master ended without reporting the end of the channel")?;
        Ok(ControlResponse::Stopped { handed_back, interrupted: Some(interrupted), settled })
    }

    /// Cancels or kills a job and waits until its end is settled. The wait lasts while other jobs of the killed worker finish and while
    /// the store is unavailable.
    async fn end_job(
        &self,
        command: impl FnOnce(oneshot::Sender<HeldCancel>) -> Command,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<ControlResponse, String> {
        let stopped = || "the channel stopped before the end of the job was settled".to_owned();
        let (end, ended) = oneshot::channel();
        self.commands.send(command(end)).await.map_err(|_| stopped())?;
        self.with_progress(ended, reply).await.map(ControlResponse::Cancel).map_err(|_| stopped())
    }
}

impl ChannelHandlers {
    /// The output of a job, as far as this master knows it; with `follow` not before its run has ended.
    async fn output(
        &self,
        id: JobId,
        follow: bool,
        reply: &mpsc::Sender<Reply>,
    ) -> Result<ControlResponse, String> {
        let known = match self.query(|source| Command::Output(id, source)).await? {
            OutputSource::Unknown => KnownOutput::default(),
            OutputSource::Done(done, output) => {
                KnownOutput { done: Some(done), output, ..KnownOutput::default() }
            }
            OutputSource::Running(run, output) if follow => {
                let outcome = Some(follow_run(&output, reply).await.to_owned());
                KnownOutput { run: Some(run), outcome, ..KnownOutput::default() }
            }
            OutputSource::Running(run, output) => {
                let output = output.kept(run.attempt.unwrap_or_default());
                KnownOutput { run: Some(run), output, ..KnownOutput::default() }
            }
        };
        Ok(ControlResponse::Output(Box::new(known)))
    }
}

/// Sends the lines of a run until it ends, or until the command is gone. Returns the word of its outcome.
async fn follow_run(output: &RunOutput, reply: &mpsc::Sender<Reply>) -> &'static str {
    let mut seen = 0;
    loop {
        let changed = output.changed();
        let (page, outcome) = output.since(seen);
        seen = page.next;
        let is_news = !page.lines.is_empty() || page.missed > 0;
        if (is_news || outcome.is_none()) && reply.send(ResponseLine::Lines(page).into()).await.is_err() {
            return "unknown";
        }
        if let Some(outcome) = outcome {
            return outcome;
        }
        let _ = timeout(FOLLOW_INTERVAL, changed).await;
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

#[async_trait]
impl RequestHandler for ChannelHandlers {
    async fn handle(&self, request: ControlRequest, reply: mpsc::Sender<Reply>) {
        let pid = nix::unistd::getpid().as_raw();
        let is_look = matches!(request, ControlRequest::Status | ControlRequest::Look { .. });
        let answer = match request {
            ControlRequest::Status => {
                let (report, recent) = tokio::join!(self.status(), self.recent());
                report.map(|report| ControlResponse::Status {
                    pid,
                    uptime_seconds: self.shared.started.elapsed().as_secs(),
                    channels: self.shared.channels.clone(),
                    report: Box::new(report),
                    recent: Some(Box::new(recent)),
                    trends: Some(Box::new(self.sampler.trends())),
                    snapshot_handlers: self.handler_statuses.all(),
                })
            }
            ControlRequest::Look { id } => {
                let view = self.query(|reply| Command::Details(id, reply)).await;
                view.map(|view| {
                    let last_counts = view.report.store_error.as_ref().and_then(|_| self.last_counts());
                    ControlResponse::Look { pid, view: Box::new(ChannelDetails { last_counts, ..view }) }
                })
            }
            ControlRequest::Metrics => Ok(ControlResponse::Metrics(self.metrics().await)),
            ControlRequest::History { step, seconds } => {
                self.shared.attention.looked(tokio::time::Instant::now());
                let (points, scaled) = self.sampler.history(step, Duration::from_secs(seconds));
                Ok(ControlResponse::History { points, scaled })
            }
            ControlRequest::Reload => self.reload(&reply).await,
            ControlRequest::Stop { force } => self.stop(force, &reply).await,
            ControlRequest::Cancel { id } => self.end_job(|end| Command::Cancel(id, end), &reply).await,
            ControlRequest::Kill { id } => self.end_job(|end| Command::Kill(id, end), &reply).await,
            ControlRequest::EndWorker { pid, kill } => {
                let found = self.query(|reply| Command::EndWorker { pid, kill, reply }).await;
                found.map(|found| ControlResponse::WorkerEnds { found })
            }
            ControlRequest::Quiet => self.query(Command::Quiet).await.map(ControlResponse::Quiet),
            ControlRequest::Resume => {
                let resumed = self.query(Command::Resume).await;
                resumed.map(|was_quiet| ControlResponse::Resumed { was_quiet })
            }
            ControlRequest::Scale { order } => {
                let scaled = self.query(|reply| Command::Scale(order, reply)).await;
                scaled.and_then(|scaled| scaled.map(ControlResponse::Scaled))
            }
            ControlRequest::Runs => {
                self.query(Command::Runs).await.map(|runs| ControlResponse::Runs { pid, runs })
            }
            ControlRequest::Output { id, follow } => self.output(id, follow, &reply).await,
            ControlRequest::Done { before, limit } => {
                let page = self.query(|reply| Command::DoneRuns(before, usize::from(limit), reply)).await;
                page.map(ControlResponse::Done)
            }
        };
        let mut last = Reply::from(answer.map_or_else(ResponseLine::Error, ResponseLine::Ok));
        if is_look {
            last.differences = self.differences().await;
        }
        // The client may have disconnected.
        let _ = reply.send(last).await;
    }

    fn answered(&self, request: ControlRequest, uid: u32, line: &ResponseLine) {
        let Some((action, target)) = change(request) else { return };
        let result = match line {
            ResponseLine::Error(why) => why.as_str(),
            ResponseLine::Ok(ControlResponse::NotReloaded { why, .. }) => why.as_str(),
            ResponseLine::Ok(_) => "ok",
            ResponseLine::Progress(_) | ResponseLine::Lines(_) => return,
        };
        self.shared.activity.add(&format!("cli uid {uid}"), action, &self.channel, &target, result);
    }

    fn identity(&self) -> Option<StoreIdentity> {
        self.place.identity()
    }
}

/// The word and the target of a request that changes something; `None` for one that reads.
fn change(request: ControlRequest) -> Option<(&'static str, String)> {
    Some(match request {
        ControlRequest::Reload => ("reload", String::new()),
        ControlRequest::Stop { force: false } => ("stop", String::new()),
        ControlRequest::Stop { force: true } => ("stop", "force".to_owned()),
        ControlRequest::Cancel { id } => ("cancel", id.to_string()),
        ControlRequest::Kill { id } => ("kill", id.to_string()),
        ControlRequest::EndWorker { pid, kill: true } => ("kill-worker", pid.to_string()),
        ControlRequest::EndWorker { pid, kill: false } => ("end-worker", pid.to_string()),
        ControlRequest::Quiet => ("quiet", String::new()),
        ControlRequest::Resume => ("resume", String::new()),
        ControlRequest::Scale { order } => ("scale", order.to_string()),
        ControlRequest::Status
        | ControlRequest::Look { .. }
        | ControlRequest::Metrics
        | ControlRequest::History { .. }
        | ControlRequest::Runs
        | ControlRequest::Output { .. }
        | ControlRequest::Done { .. } => return None,
    })
}
