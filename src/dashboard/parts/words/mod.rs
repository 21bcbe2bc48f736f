//! The words of the dashboard, in each language. A language without a word does not compile.

mod english;
mod pages;
mod simplified_chinese;

use crate::dashboard::chart::ChartWords;
use crate::dashboard::picture::ChannelState;
use crate::pool::{END_CAUSES, WorkerActivity};
use crate::store::JobState;

pub(super) use english::ENGLISH;
use pages::{ActivityWords, AlertWords, FormWords, ReportWords, SystemWords, WorkerWords};
pub(super) use simplified_chinese::SIMPLIFIED_CHINESE;

/// All words of a language.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct Words {
    pub overview: &'static str,
    pub skip: &'static str,
    pub live: &'static str,
    pub live_off: &'static str,
    pub offline: &'static str,
    pub back_online: &'static str,
    pub local_time: &'static str,
    pub rate: &'static str,
    pub as_of: &'static str,
    pub theme: &'static str,
    pub theme_system: &'static str,
    pub theme_light: &'static str,
    pub theme_dark: &'static str,
    pub keys: &'static str,
    pub key_help: &'static str,
    pub key_overview: &'static str,
    pub key_rows: &'static str,
    pub key_open: &'static str,
    pub key_live: &'static str,
    pub key_range: &'static str,
    pub key_theme: &'static str,
    pub key_close: &'static str,
    pub keys_choice: &'static str,
    pub close: &'static str,
    pub sign_in: &'static str,
    pub sign_out: &'static str,
    pub token: &'static str,
    pub one_time: &'static str,
    pub token_help: &'static str,
    pub wrong_token: &'static str,
    pub too_many: &'static str,
    pub waiting: &'static str,
    pub delayed: &'static str,
    pub reserved: &'static str,
    pub failed: &'static str,
    pub done: &'static str,
    pub rate_in: &'static str,
    pub rate_out: &'static str,
    pub workers: &'static str,
    pub busy: &'static str,
    pub oldest: &'static str,
    pub channel: &'static str,
    pub channels: &'static str,
    pub state: &'static str,
    pub last_hour: &'static str,
    pub run_time: &'static str,
    pub wait_time: &'static str,
    pub failure_rate: &'static str,
    pub mode: &'static str,
    pub store: &'static str,
    pub memory: &'static str,
    pub masters: &'static str,
    pub host: &'static str,
    pub process: &'static str,
    pub version: &'static str,
    pub seen: &'static str,
    pub running_now: &'static str,
    pub nothing_runs: &'static str,
    pub job: &'static str,
    pub for_time: &'static str,
    pub progress: &'static str,
    pub no_jobs_yet: &'static str,
    pub try_push: &'static str,
    pub per_channel_note: &'static str,
    pub not_served: &'static str,
    pub range: &'static str,
    pub backlog_question: &'static str,
    pub flow_question: &'static str,
    pub wait_question: &'static str,
    pub run_question: &'static str,
    pub failure_question: &'static str,
    pub workers_question: &'static str,
    pub memory_question: &'static str,
    pub store_question: &'static str,
    pub wanted: &'static str,
    pub serving: &'static str,
    pub all_workers: &'static str,
    pub slowest: &'static str,
    pub failed_runs: &'static str,
    pub good_runs: &'static str,
    pub paused: &'static str,
    pub store_away: &'static str,
    pub time: &'static str,
    pub scaling: &'static str,
    pub reason: &'static str,
    pub from_to: &'static str,
    pub never_scaled: &'static str,
    pub age: &'static str,
    pub done_jobs: &'static str,
    pub not_found: &'static str,
    pub no_such_page: &'static str,
    pub no_such_channel: &'static str,
    pub declared: &'static str,
    pub needs_operator: &'static str,
    pub wrong_method: &'static str,
    pub proxy_without_token: &'static str,
    pub foreign_form: &'static str,
    pub opening: &'static str,
    pub too_many_streams: &'static str,
    pub back: &'static str,
    pub this_master: &'static str,
    pub alerts: &'static str,
    pub firing: &'static str,
    pub search: &'static str,
    pub search_button: &'static str,
    pub attempts: &'static str,
    pub attempt: &'static str,
    pub priority: &'static str,
    pub pushed: &'static str,
    pub due: &'static str,
    pub failed_at: &'static str,
    pub last_error: &'static str,
    pub no_jobs_in_state: &'static str,
    pub no_matches: &'static str,
    pub pages: &'static str,
    pub first_page: &'static str,
    pub next_page: &'static str,
    pub search_on: &'static str,
    pub searched: &'static str,
    pub in_time: &'static str,
    pub ago: &'static str,
    pub payload: &'static str,
    pub headers: &'static str,
    pub errors: &'static str,
    pub output: &'static str,
    pub dropped_lines: &'static str,
    pub payload_needs_token: &'static str,
    pub crashes: &'static str,
    pub lost: &'static str,
    pub unique_key: &'static str,
    pub time_limit: &'static str,
    pub expires: &'static str,
    pub retry: &'static str,
    pub remove: &'static str,
    pub cancel: &'static str,
    pub pause: &'static str,
    pub resume: &'static str,
    pub quiet: &'static str,
    pub all_jobs: &'static str,
    pub no_such_job: &'static str,
    pub store_does_not_answer: &'static str,
    pub held_elsewhere: &'static str,
    pub not_done: &'static str,
    pub hour: &'static str,
    pub backlog: &'static str,
    pub flow: &'static str,
    pub falls_behind: &'static str,
    pub runs: &'static str,
    pub states: [&'static str; 9],
    pub activities: [&'static str; 6],
    pub notices: [&'static str; 19],
    pub more_jobs: &'static str,
    /// The causes of ends of workers, in the order of [`END_CAUSES`].
    pub causes: [&'static str; END_CAUSES.len()],
    pub alert: AlertWords,
    pub activity: ActivityWords,
    pub system: SystemWords,
    pub report: ReportWords,
    pub worker: WorkerWords,
    pub forms: FormWords,
    pub chart: ChartWords,
}

impl Words {
    /// The word of a state.
    pub(in crate::engine::dashboard) fn state(&self, state: ChannelState) -> &'static str {
        self.states[state as usize]
    }

    /// The word of the state of a job.
    pub(in crate::engine::dashboard) fn job_state(&self, state: JobState) -> &'static str {
        match state {
            JobState::Waiting => self.waiting,
            JobState::Delayed => self.delayed,
            JobState::Reserved => self.reserved,
            JobState::Failed => self.failed,
        }
    }

    /// The sentence of the result of an action.
    pub(in crate::engine::dashboard) fn notice(&self, notice: usize) -> &'static str {
        self.notices[notice]
    }

    /// The word of what a worker does.
    pub(in crate::engine::dashboard) fn activity_of(&self, activity: WorkerActivity) -> &'static str {
        self.activities[activity as usize]
    }

    /// The cause of the end of a worker; the name of a signal stays as it is.
    pub(in crate::engine::dashboard) fn cause<'a>(&self, cause: &'a str) -> &'a str {
        END_CAUSES.iter().position(|known| *known == cause).map_or(cause, |index| self.causes[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_own_word() {
        for words in [&ENGLISH, &SIMPLIFIED_CHINESE] {
            let mut shown = ChannelState::ALL.map(|state| words.state(state));
            shown.sort_unstable();
            assert!(shown.windows(2).all(|pair| pair[0] != pair[1]), "{shown:?}");
        }
        assert_eq!(ENGLISH.state(ChannelState::StoreDown), "store down");
        assert_eq!(ENGLISH.state(ChannelState::Idle), "idle");
    }
}
