//! The state of a channel as its commands, summaries and watchdog see it. Reads the components, and changes nothing.

use aint_queue_core::durations::millis;
use tokio::time::Instant;

use super::actor::Channel;
use super::commands::OutputSource;
use super::held_jobs::JobProgress;
use super::status::{ChannelDetails, ChannelStatus, Heartbeat, HeldJobStatus, RefusedPushCounts};
use crate::job::{Isolation, JobId};
use crate::store::RefusedPushes;

impl Channel {
    pub(super) fn status(&self, now: Instant) -> ChannelStatus {
        ChannelStatus {
            running: self.held_jobs.running(),
            ready: self.held_jobs.waiting_for_slot(),
            workers: self.pool.worker_counts(),
            pids: self.pool.pids(),
            store_error: self.store_calls.health.error().map(str::to_owned),
            store_error_ms: self.store_calls.health.unreachable_for(now).map(millis),
            clock_behind_ms: self.store_calls.clock.behind(now).map(millis),
            refused_pushes: RefusedPushCounts::of(&RefusedPushes::into_channel(&self.name), now.into_std()),
            worker_error: self.pool.start_error(now).map(str::to_owned),
            pool: Box::new(self.pool.status(now)),
            quiet: self.is_quiet,
            held_back_ms: self.held_back_until.map(|until| millis(until.saturating_duration_since(now))),
            stopping: self.shutdown.is_some(),
            stop_seconds_left: self.shutdown.as_ref().map(|shutdown| shutdown.time_left(now).as_secs()),
        }
    }

    pub(super) fn details(&self, id: Option<JobId>, now: Instant) -> ChannelDetails {
        ChannelDetails {
            report: self.status(now),
            slots: self.pool.usable_slots(now),
            free: self.pool.capacity(now),
            replacing: self.pool.is_replacing(),
            handlers: self.pool.handlers(),
            last_counts: None,
            job: id.and_then(|id| self.job_status(id, now)),
        }
    }

    /// The output of a job, as far as this master knows it.
    pub(super) fn output(&self, id: JobId, now: Instant) -> OutputSource {
        let running = self.held_jobs.run(id).and_then(|run| {
            Some(OutputSource::Running(self.pool.run_status(run, now)?, self.pool.run_output(run)?))
        });
        let done = || self.done_runs.of(id).map(|(run, output)| OutputSource::Done(run, output));
        running.or_else(done).unwrap_or(OutputSource::Unknown)
    }

    fn job_status(&self, id: JobId, now: Instant) -> Option<HeldJobStatus> {
        Some(match self.held_jobs.progress(id)? {
            JobProgress::Ready { meta, .. } => {
                HeldJobStatus::Ready { alone: meta.isolation() != Isolation::None }
            }
            JobProgress::Running { run, .. } => {
                self.pool.run_status(*run, now).map_or(HeldJobStatus::Settling, HeldJobStatus::Running)
            }
            JobProgress::Settling => HeldJobStatus::Settling,
        })
    }

    pub(super) fn heartbeat(&self, now: Instant) -> Heartbeat {
        Heartbeat {
            running: self.held_jobs.running(),
            call: self.store_calls.in_flight_for(now),
            stop_left: self.shutdown.as_ref().map(|shutdown| shutdown.time_left(now)),
            quiet: self.is_quiet,
        }
    }
}
