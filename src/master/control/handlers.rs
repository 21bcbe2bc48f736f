//! The answers of the control socket: one handler per request, which asks the channel's actor, its store or the service loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::protocol::{ControlRequest, ControlResponse, ResponseLine};
use super::server::RequestHandler;
use crate::channel::{ChannelStatus, Command, Stopped};
use crate::job::JobId;
use crate::master::reload::{ReloadChanges, ReloadError, ReloadRequest};
use crate::metrics::{ChannelMetrics, Metrics};
use crate::pool::ScaleOrder;
use crate::snapshot;
use crate::store::Store;

/// Time between two progress lines of a slow request.
pub(in crate::engine::master) const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// The handlers of all channels of one master: a metrics request reads all of them.
#[derive(Clone, Default)]
pub(in crate::engine::master) struct Peers(Arc<Mutex<Vec<Weak<ChannelHandlers>>>>);

/// The handlers of one channel and the sources of their answers.
pub(in crate::engine::master) struct ChannelHandlers {
    pub(in crate::engine::master) stop_requested: Arc<AtomicBool>,
    pub(in crate::engine::master) commands: mpsc::Sender<Command>,
    pub(in crate::engine::master) store: Arc<dyn Store>,
    pub(in crate::engine::master) metrics: ChannelMetrics,
    pub(in crate::engine::master) all_metrics: Metrics,
    pub(in crate::engine::master) all_channels: Vec<String>,
    pub(in crate::engine::master) started: Instant,
    pub(in crate::engine::master) ended: watch::Receiver<Option<Stopped>>,
    pub(in crate::engine::master) peers: Peers,
    pub(in crate::engine::master) channel: Arc<str>,
    pub(in crate::engine::master) reloads: mpsc::Sender<ReloadRequest>,
}

impl Peers {
    pub(in crate::engine::master) fn add(&self, handlers: &Arc<ChannelHandlers>) {
        self.0.lock().expect("no holder of this lock panics").push(Arc::downgrade(handlers));
    }

    /// The handlers of the channels that have not ended.
    fn all(&self) -> Vec<Arc<ChannelHandlers>> {
        let peers = self.0.lock().expect("no holder of this lock panics");
        peers.iter().filter_map(Weak::upgrade).collect()
    }
}

impl ChannelHandlers {
    /// The status of the channel; `None` after its end.
    async fn channel_status(&self) -> Option<ChannelStatus> {
        self.query(Command::Status).await
    }

    /// The actor's answer to a command; `None` after its end.
    async fn query<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    async fn quiet(&self) -> ResponseLine {
        self.query(Command::Quiet)
            .await
            .map_or_else(channel_ended, |quieted| ResponseLine::Ok(ControlResponse::Quiet(quieted)))
    }

    async fn resume(&self) -> ResponseLine {
        let resumed = self.query(Command::Resume).await;
        resumed
            .map_or_else(channel_ended, |was_quiet| ResponseLine::Ok(ControlResponse::Resumed { was_quiet }))
    }

    async fn scale(&self, order: ScaleOrder) -> ResponseLine {
        match self.query(|reply| Command::Scale(order, reply)).await {
            None => channel_ended(),
            Some(Ok(floor)) => ResponseLine::Ok(ControlResponse::Scaled(floor)),
            Some(Err(why)) => ResponseLine::Error(why),
        }
    }

    async fn status(&self) -> ResponseLine {
        match self.channel_status().await {
            None => channel_ended(),
            Some(report) => ResponseLine::Ok(ControlResponse::Status {
                pid: nix::unistd::getpid().as_raw(),
                uptime_seconds: self.started.elapsed().as_secs(),
                channels: self.all_channels.clone(),
                report,
            }),
        }
    }

    async fn metrics(&self) -> ResponseLine {
        for peer in self.peers.all() {
            peer.refresh().await;
        }
        ResponseLine::Ok(ControlResponse::Metrics(self.all_metrics.render()))
    }

    /// Updates the gauges of this channel.
    async fn refresh(&self) {
        // While the store is unavailable, the last known depths stay.
        if let Ok(status) = self.store.status().await {
            snapshot::record(&self.metrics, &status);
        }
        if let Some(report) = self.channel_status().await {
            self.metrics.pool(&report.workers, &report.pool, report.quiet);
        }
    }

    async fn reload(&self, reply: &mpsc::Sender<ResponseLine>) -> ResponseLine {
        let (reload_reply, mut ended) = oneshot::channel();
        let request = ReloadRequest { channel: Arc::clone(&self.channel), reply: Some(reload_reply) };
        let channel_ended = || ResponseLine::Error(ReloadError::Stopping.to_string());
        if self.reloads.send(request).await.is_err() {
            return channel_ended();
        }
        let mut on_channel_end = self.ended.clone();
        loop {
            let result = tokio::select! {
                biased;
                end = &mut ended => end,
                // The service loop does not answer this request while it waits for the end of the channel.
                () = async { drop(on_channel_end.wait_for(Option::is_some).await) } => return channel_ended(),
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {
                    if let Some(report) = self.channel_status().await {
                        let _ = reply.send(ResponseLine::Progress(report)).await;
                    }
                    continue;
                }
            };
            return match result {
                Ok(Ok(ReloadChanges { renewed, restart, program_replaced })) => {
                    ResponseLine::Ok(ControlResponse::Reloaded { renewed, restart, program_replaced })
                }
                Ok(Err(ReloadError::Stopping)) | Err(_) => channel_ended(),
                Ok(Err(error)) => {
                    let invalid = matches!(error, ReloadError::Config(_));
                    ResponseLine::Ok(ControlResponse::NotReloaded { why: error.to_string(), invalid })
                }
            };
        }
    }

    async fn stop(&self, force: bool, reply: &mpsc::Sender<ResponseLine>) -> ResponseLine {
        let mut ended = self.ended.clone();
        self.stop_requested.store(true, Ordering::Relaxed);
        // A failed send means that the channel has ended already.
        let _ = self.commands.send(Command::Stop { force }).await;
        loop {
            if let Some(stopped) = ended.borrow_and_update().clone() {
                let Stopped { handed_back, jobs_settled: settled, .. } = stopped;
                return ResponseLine::Ok(ControlResponse::Stopped { handed_back, settled });
            }
            if let Ok(changed) = timeout(PROGRESS_INTERVAL, ended.changed()).await {
                if changed.is_err() {
                    return ResponseLine::Error(
                        "the master ended without reporting the end of the channel".to_owned(),
                    );
                }
            } else if let Some(report) = self.channel_status().await {
                let _ = reply.send(ResponseLine::Progress(report)).await;
            }
        }
    }

    /// The status of the channel and of a job, for `queue:why`.
    async fn look(&self, id: Option<JobId>) -> ResponseLine {
        match self.query(|reply| Command::Details(id, reply)).await {
            Some(view) => ResponseLine::Ok(ControlResponse::Look {
                pid: nix::unistd::getpid().as_raw(),
                view: Box::new(view),
            }),
            None => channel_ended(),
        }
    }

    /// Cancels a job and waits until its end is settled. The wait lasts while other jobs of the killed worker finish and while
    /// the store is unavailable.
    async fn cancel(&self, id: JobId, reply: &mpsc::Sender<ResponseLine>) -> ResponseLine {
        let stopped =
            || ResponseLine::Error("the channel stopped before the end of the job was settled".to_owned());
        let (end, mut ended) = oneshot::channel();
        if self.commands.send(Command::Cancel(id, end)).await.is_err() {
            return stopped();
        }
        loop {
            match timeout(PROGRESS_INTERVAL, &mut ended).await {
                Ok(Ok(end)) => return ResponseLine::Ok(ControlResponse::Cancel(end)),
                Ok(Err(_)) => return stopped(),
                Err(_) => {
                    if let Some(report) = self.channel_status().await {
                        let _ = reply.send(ResponseLine::Progress(report)).await;
                    }
                }
            }
        }
    }
}

fn channel_ended() -> ResponseLine {
    ResponseLine::Error("the channel has ended".to_owned())
}

#[async_trait]
impl RequestHandler for ChannelHandlers {
    async fn handle(&self, request: ControlRequest, reply: mpsc::Sender<ResponseLine>) {
        let last = match request {
            ControlRequest::Status => self.status().await,
            ControlRequest::Look { id } => self.look(id).await,
            ControlRequest::Metrics => self.metrics().await,
            ControlRequest::Reload => self.reload(&reply).await,
            ControlRequest::Stop { force } => self.stop(force, &reply).await,
            ControlRequest::Cancel { id } => self.cancel(id, &reply).await,
            ControlRequest::Quiet => self.quiet().await,
            ControlRequest::Resume => self.resume().await,
            ControlRequest::Scale { order } => self.scale(order).await,
        };
        // The client may have disconnected.
        let _ = reply.send(last).await;
    }
}
