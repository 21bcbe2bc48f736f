//! What the control socket of a channel answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use super::control::{self, Answer, Reply, Request};
use super::orders::Order;
use super::reload::{Changes, NotReloaded};
use crate::channel::{ChannelStatus, Command, Stopped};
use crate::metrics::{ChannelMetrics, Metrics, PoolMetrics};
use crate::pool::ScaleOrder;
use crate::snapshot;
use crate::store::Store;

/// How often a request that takes long says how it stands.
pub(super) const PROGRESS: Duration = Duration::from_millis(250);

/// The channels of one master, for what is told of all of them at once.
#[derive(Clone, Default)]
pub(super) struct Peers(Arc<Mutex<Vec<Weak<ChannelAnswers>>>>);

/// What is asked about one channel, and who knows it.
pub(super) struct ChannelAnswers {
    pub(super) unwanted: Arc<AtomicBool>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: ChannelMetrics,
    pub(super) all_metrics: Metrics,
    pub(super) all_channels: Vec<String>,
    pub(super) since: Instant,
    pub(super) ended: watch::Receiver<Option<Stopped>>,
    pub(super) peers: Peers,
    pub(super) channel: Arc<str>,
    pub(super) orders: mpsc::Sender<Order>,
}

impl Peers {
    pub(super) fn add(&self, answers: &Arc<ChannelAnswers>) {
        self.0.lock().expect("nothing panics while it holds this").push(Arc::downgrade(answers));
    }

    /// Those that are still served.
    fn all(&self) -> Vec<Arc<ChannelAnswers>> {
        let peers = self.0.lock().expect("nothing panics while it holds this");
        peers.iter().filter_map(Weak::upgrade).collect()
    }
}

impl ChannelAnswers {
    /// How the channel stands; `None` once it has ended.
    pub(super) async fn report(&self) -> Option<ChannelStatus> {
        self.told(Command::Status).await
    }

    /// What the channel answers to a command; `None` once it has ended.
    pub(super) async fn told<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    async fn quiet(&self) -> Reply {
        self.told(Command::Quiet).await.map_or_else(gone, |quieted| Reply::Ok(Answer::Quiet(quieted)))
    }

    async fn resume(&self) -> Reply {
        let told = self.told(Command::Resume).await;
        told.map_or_else(gone, |was_quiet| Reply::Ok(Answer::Resumed { was_quiet }))
    }

    async fn scale(&self, order: ScaleOrder) -> Reply {
        match self.told(|reply| Command::Scale(order, reply)).await {
            None => gone(),
            Some(Ok(floor)) => Reply::Ok(Answer::Scaled(floor)),
            Some(Err(why)) => Reply::Error(why),
        }
    }

    async fn status(&self) -> Reply {
        match self.report().await {
            None => gone(),
            Some(report) => Reply::Ok(Answer::Status {
                pid: nix::unistd::getpid().as_raw(),
                uptime_seconds: self.since.elapsed().as_secs(),
                channels: self.all_channels.clone(),
                report,
            }),
        }
    }

    async fn metrics(&self) -> Reply {
        for peer in self.peers.all() {
            peer.refresh().await;
        }
        Reply::Ok(Answer::Metrics(self.all_metrics.render()))
    }

    /// Brings this channel's gauges up to date.
    async fn refresh(&self) {
        // Stale depths are better than none while the store is away.
        if let Ok(status) = self.store.status().await {
            snapshot::record(&self.metrics, &status);
        }
        if let Some(report) = self.report().await {
            self.metrics.pool(&numbers(&report));
        }
    }

    async fn reload(&self, reply: &mpsc::Sender<Reply>) -> Reply {
        let (told, mut ended) = oneshot::channel();
        let order = Order { channel: Arc::clone(&self.channel), reply: Some(told) };
        let gone = || Reply::Error(NotReloaded::Stopping.to_string());
        if self.orders.send(order).await.is_err() {
            return gone();
        }
        let mut channel_ended = self.ended.clone();
        loop {
            let turn = tokio::select! {
                biased;
                end = &mut ended => end,
                // The master may be too busy ending the channel to say that nothing came of the reload.
                () = async { drop(channel_ended.wait_for(Option::is_some).await) } => return gone(),
                () = tokio::time::sleep(PROGRESS) => {
                    if let Some(report) = self.report().await {
                        let _ = reply.send(Reply::Progress(report)).await;
                    }
                    continue;
                }
            };
            return match turn {
                Ok(Ok(Changes { renewed, restart, program_replaced })) => {
                    Reply::Ok(Answer::Reloaded { renewed, restart, program_replaced })
                }
                Ok(Err(NotReloaded::Stopping)) | Err(_) => gone(),
                Ok(Err(error)) => {
                    let invalid = matches!(error, NotReloaded::Config(_));
                    Reply::Ok(Answer::NotReloaded { why: error.to_string(), invalid })
                }
            };
        }
    }

    async fn stop(&self, force: bool, reply: &mpsc::Sender<Reply>) -> Reply {
        let mut ended = self.ended.clone();
        self.unwanted.store(true, Ordering::Relaxed);
        // A channel that has ended meanwhile is what was asked for.
        let _ = self.commands.send(Command::Stop { force }).await;
        loop {
            if let Some(stopped) = ended.borrow_and_update().clone() {
                let Stopped { handed_back, jobs_settled: settled, .. } = stopped;
                return Reply::Ok(Answer::Stopped { handed_back, settled });
            }
            if let Ok(changed) = tokio::time::timeout(PROGRESS, ended.changed()).await {
                if changed.is_err() {
                    return Reply::Error("the master ended without a word".to_owned());
                }
            } else if let Some(report) = self.report().await {
                let _ = reply.send(Reply::Progress(report)).await;
            }
        }
    }
}

fn gone() -> Reply {
    Reply::Error("the channel has ended".to_owned())
}

/// What the metrics take from a report.
fn numbers(report: &ChannelStatus) -> PoolMetrics {
    let (w, pool) = (&report.workers, &report.pool);
    let recycled = pool.recycled;
    PoolMetrics {
        workers: [w.booting, w.idle, w.busy, w.draining, w.retiring, w.leaving],
        stuck: w.stuck_slots,
        degraded: pool.degraded,
        quiet: report.quiet,
        wanted: pool.target.unwrap_or(0),
        recycled: [recycled.jobs, recycled.life, recycled.memory, recycled.memory_hard],
        scaled: [pool.scaled_up, pool.scaled_down],
    }
}

#[async_trait]
impl control::Answers for ChannelAnswers {
    async fn answer(&self, request: Request, reply: mpsc::Sender<Reply>) {
        let last = match request {
            Request::Status => self.status().await,
            Request::Look { id } => self.look(id).await,
            Request::Metrics => self.metrics().await,
            Request::Reload => self.reload(&reply).await,
            Request::Stop { force } => self.stop(force, &reply).await,
            Request::Cancel { id } => self.cancel(id, &reply).await,
            Request::Quiet => self.quiet().await,
            Request::Resume => self.resume().await,
            Request::Scale { order } => self.scale(order).await,
        };
        // Whoever asked may have gone.
        let _ = reply.send(last).await;
    }
}
