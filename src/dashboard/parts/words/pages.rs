//! The words of single pages and of forms.

/// The words of the page of alerts.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct AlertWords {
    pub firing_and_pending: &'static str,
    pub none_fires: &'static str,
    pub fires: &'static str,
    pub pending: &'static str,
    pub silent: &'static str,
    pub rule: &'static str,
    pub severity: &'static str,
    pub values: &'static str,
    pub last_sent: &'static str,
    pub not_sent: &'static str,
    pub silence_for: &'static str,
    pub silences: &'static str,
    pub until: &'static str,
    pub comment: &'static str,
    pub end_silence: &'static str,
    pub all_rules: &'static str,
    pub receivers: &'static str,
    pub no_receivers: &'static str,
    pub receiver: &'static str,
    pub kind: &'static str,
    pub last_answer: &'static str,
    pub took: &'static str,
    pub failed: &'static str,
    pub never_used: &'static str,
    pub waiting: &'static str,
    pub dropped: &'static str,
    pub muted: &'static str,
    pub test: &'static str,
    pub recent: &'static str,
    pub none_recent: &'static str,
    pub ended: &'static str,
    pub lasted: &'static str,
    pub rules: &'static str,
    pub no_rules: &'static str,
    pub watched_by: &'static str,
    pub unwatched: &'static str,
    pub condition: &'static str,
    pub lasting: &'static str,
}

/// The words of the page of activity.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct ActivityWords {
    pub title: &'static str,
    pub all_channels: &'static str,
    pub show: &'static str,
    pub nothing: &'static str,
    pub before: &'static str,
    pub who: &'static str,
    pub action: &'static str,
    pub target: &'static str,
    pub result: &'static str,
    pub worker_ends: &'static str,
    pub no_ends: &'static str,
    pub cause: &'static str,
    pub note: &'static str,
}

/// The words of the page of the system.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct SystemWords {
    pub title: &'static str,
    pub runs_for: &'static str,
    pub descriptors: &'static str,
    pub no_masters: &'static str,
    pub workers_memory: &'static str,
    pub size: &'static str,
    pub mean_call: &'static str,
    pub slowest_call: &'static str,
    pub store_note: &'static str,
    pub limits: &'static str,
    pub max_waiting: &'static str,
    pub max_bytes: &'static str,
    pub listener: &'static str,
    pub connections: &'static str,
    pub pages: &'static str,
    pub pushes: &'static str,
    pub streams: &'static str,
    pub configuration: &'static str,
    pub configuration_note: &'static str,
}

/// The words of the page of the report.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct ReportWords {
    pub title: &'static str,
    pub jobs: &'static str,
    pub settled: &'static str,
    pub failed_runs: &'static str,
    pub most_waiting: &'static str,
    pub times: &'static str,
    pub wait: &'static str,
    pub run: &'static str,
    pub longest_waits: &'static str,
    pub no_waits: &'static str,
    pub no_alerts: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub note: &'static str,
}

/// The words of the page of a worker.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct WorkerWords {
    pub title: &'static str,
    pub gone: &'static str,
    pub end: &'static str,
    pub kill: &'static str,
    pub generation: &'static str,
    pub no_job: &'static str,
    pub processes: &'static str,
    pub no_process: &'static str,
    pub more_processes: &'static str,
    pub processor: &'static str,
    pub command: &'static str,
    pub last_jobs: &'static str,
    pub took: &'static str,
    pub ended_at: &'static str,
}

/// The words of the forms of operators.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct FormWords {
    pub until_resumed: &'static str,
    pub pause_time: &'static str,
    pub reload: &'static str,
    pub scale: &'static str,
    pub workers: &'static str,
    pub push: &'static str,
    pub delay: &'static str,
    pub clear: &'static str,
    pub clear_warning: &'static str,
    pub type_name: &'static str,
    pub run_now: &'static str,
    pub kill: &'static str,
}
