//! Actions on a worker of the master behind the page.

use async_trait::async_trait;

use super::Order;
use crate::control::{ControlRequest, ControlResponse};
use crate::dashboard::Dashboard;
use crate::dashboard::pages::{Notice, NoticeKind};
use crate::dashboard::process_trees::{Receipt, before_kill, receipt};
use crate::dashboard::refusal::Refusal;

/// An action on a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WorkerOrder {
    pid: i32,
    /// Kill the worker with all its processes; otherwise it ends after the jobs it has.
    kill: bool,
}

impl WorkerOrder {
    pub(super) fn parse(action: &str, pid: i32) -> Result<Self, Refusal> {
        match action {
            "kill" => Ok(Self { pid, kill: true }),
            "end" => Ok(Self { pid, kill: false }),
            _ => Err(Refusal::NoSuchPage),
        }
    }
}

#[async_trait]
impl Order for WorkerOrder {
    fn word(&self) -> &'static str {
        if self.kill { "kill-worker" } else { "end-worker" }
    }

    fn target(&self) -> String {
        self.pid.to_string()
    }

    async fn carry_out(self, dashboard: &Dashboard, channel: &str) -> Result<Notice, Refusal> {
        let Self { pid, kill } = self;
        // Only processes of workers are looked at: the master says below whether this is one.
        let before = if kill { before_kill(Some(pid)).await } else { Vec::new() };
        match dashboard.camera.ask(channel, ControlRequest::EndWorker { pid, kill }).await {
            Some(Ok(ControlResponse::WorkerEnds { found: true })) => {}
            Some(Ok(_)) => return Err(Refusal::NoSuchWorker),
            Some(Err(why)) => return Err(Refusal::Failed(why)),
            None => return Err(Refusal::NotServedHere),
        }
        if !kill {
            return Ok(NoticeKind::WorkerEnds.into());
        }
        let Receipt { ended, left } = receipt(before).await;
        Ok(Notice::of(NoticeKind::WorkerKilled, [ended as u64, left as u64]))
    }
}
