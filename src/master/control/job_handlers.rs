//! What the control socket answers about one job.

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::handlers::{ChannelHandlers, PROGRESS_INTERVAL};
use super::{ControlResponse, ResponseLine};
use crate::channel::Command;
use crate::job::JobId;

impl ChannelHandlers {
    /// What the channel knows, of itself and of a job.
    pub(super) async fn look(&self, id: Option<JobId>) -> ResponseLine {
        match self.query(|reply| Command::Details(id, reply)).await {
            Some(view) => ResponseLine::Ok(ControlResponse::Look {
                pid: nix::unistd::getpid().as_raw(),
                view: Box::new(view),
            }),
            None => ResponseLine::Error("the channel has ended".to_owned()),
        }
    }

    /// Has a job ended, and waits until the store knows what became of it: for as long as its siblings may take, and as
    /// the store is away.
    pub(super) async fn cancel(&self, id: JobId, reply: &mpsc::Sender<ResponseLine>) -> ResponseLine {
        let stopped = || {
            ResponseLine::Error(
                "the channel has stopped, and its store may not know how the job ended".to_owned(),
            )
        };
        let (end, mut ended) = oneshot::channel();
        if self.commands.send(Command::Cancel(id, end)).await.is_err() {
            return stopped();
        }
        loop {
            match timeout(PROGRESS_INTERVAL, &mut ended).await {
                Ok(Ok(end)) => return ResponseLine::Ok(ControlResponse::Cancel(end)),
                Ok(Err(_)) => return stopped(),
                Err(_) => {
                    if let Some(report) = self.report().await {
                        let _ = reply.send(ResponseLine::Progress(report)).await;
                    }
                }
            }
        }
    }
}
