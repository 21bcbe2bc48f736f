//! The reasons of `queue:why`: for each a code for programs and a sentence template. The only place with their wording.

use std::fmt::Display;

/// A reason: its code, and the template of its sentence with placeholders such as `{job}`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reason {
    code: &'static str,
    template: &'static str,
}

/// A reason applied to a job or a channel: the code in JSON output, and the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub(crate) reason: &'static str,
    pub(crate) text: String,
}

macro_rules! reasons {
    ($($name:ident $code:literal $template:literal)*) => {
        $(pub(crate) const $name: Reason = Reason { code: $code, template: $template };)*
    };
}

// The code of the two `BLOCKED` reasons is that of the first blocker. `{before}`, `{caveats}`, `{limit}`, `{progress}` and
// `{next}` may be empty.
reasons! {
    // Blockers: clauses about the whole channel.
    PAUSED "paused" "the channel is paused until {until}"
    NO_MASTER "no_master" "no master of the channel runs on this machine (queue:listen starts one)"
    NO_MASTER_HERE "no_master" "no master of the channel runs on this machine (queue:listen starts one), but {jobs_are} reserved, so one may run on another machine"
    OTHER_STORE "other_store" "{difference} ({remedy})"
    NOT_RESPONDING "silent" "master{pid} is not responding: {error}"
    NO_PERMISSION "permission" "master{pid} cannot be asked: {error}"
    STOPPING "stopping" "master {pid} is stopping"
    HELD_BACK "reexec" "master {pid} is above its memory_limit: it takes no jobs until its running ones have ended or {left} have passed, and re-executes itself then"
    REEXECUTING "reexec" "master {pid} is above its memory_limit and re-executes itself: it then takes jobs again"
    QUIET "quiet" "master {pid} is quiet (queue:resume ends that)"
    STORE "store" "the store is unavailable to master {pid}{outage}: {error}"
    SCALED "scaled" "scaled to 0 workers by queue:scale (queue:scale +1 adds one)"
    DEGRADED "degraded" "workers fail to start: {error}{next}"
    NO_ROOM "no_room" "the system has no room for another process: {error} (raise the limits of the master: LimitNOFILE, TasksMax, memory)"
    WORKER_ERROR "worker_error" "no worker is ready, and the last one failed to start: {error}{next}"

    // Waiting and delayed jobs.
    JOB_BLOCKED "" "{job} is waiting: {blockers}{caveats}."
    NO_HANDLER "unknown_handler" "{job} has no handler: the workers of the channel have handlers for {names}; the job fails as unknown_job when it is dispatched{caveats}."
    ALONE "alone" "{job} is waiting for a worker of its own, because a worker crashed while running it{before}{caveats}."
    EXCLUSIVE "alone" "{job} is waiting for a worker of its own, because its master or guardian was lost {lost} times while it ran; such jobs run one at a time per master{before}{caveats}."
    WORKER_REPLACED "no_slot" "{job} is waiting for a slot: its worker has run max_handle_number jobs and is being replaced{before}{caveats}."
    NO_WORKER "starting" "{job} is waiting for a worker: none is ready{detail}{before}{caveats}."
    SLOT_BUSY "no_slot" "{job} is waiting for a slot: the only one is busy{before}{caveats}."
    SLOTS_BUSY "no_slot" "{job} is waiting for a slot: all {slots} are busy{before}{caveats}."
    NEXT "next" "{job} is next in line; {free} of {slots} slots free{caveats}."
    IN_LINE "next" "{job} is in line{before}; {free} of {slots} slots free{caveats}."
    DELAYED "delayed" "{job} is delayed until {due}, for {left}{also}{caveats}."
    RETRY "retry" "{job} is delayed until {due}, for {left}, before its next attempt: attempt {attempt}{max_attempts} failed with \"{error}\"{also}{caveats}."

    // Reserved jobs.
    RESERVED_NO_MASTER "elsewhere" "{job} is reserved, but no master of the channel runs on this machine; it is held by a master on another machine, by a queue:run, or by a dead owner until its lease expires."
    RESERVED_ELSEWHERE "elsewhere" "{job} is reserved, but not by master {pid} on this machine; it is held by a master on another machine, by a queue:run, or by a dead owner until its lease expires."
    RESERVED_NOT_RESPONDING "silent" "{job} is reserved, and {blockers}."
    RESERVED_NO_PERMISSION "permission" "{job} is reserved, and {blockers}."
    LEASED_ALONE "alone" "{job} is leased by master {pid} and waiting for a worker of its own, because a worker crashed while running it."
    LEASED_EXCLUSIVE "alone" "{job} is leased by master {pid} and waiting for a worker of its own, because its master or guardian was lost {lost} times while it ran; such jobs run one at a time per master."
    LEASED "no_slot" "{job} is leased by master {pid} and waiting for a slot."
    LEASED_STARTING "starting" "{job} is leased by master {pid} and waiting for its worker to start."
    LEASED_FAILING "worker_error" "{job} is leased by master {pid}, but no worker is ready, and the last one failed to start: {error}{next}."
    LEASED_NO_ROOM "no_room" "{job} is leased by master {pid}, but the system has no room for another process: {error} (raise the limits of the master: LimitNOFILE, TasksMax, memory)."
    SETTLING "settling" "{job} has ended its run; master {pid} is settling it in the store."
    SETTLING_FAILED "settling" "{job} has ended its run, but master {pid} cannot settle it in the store: {error}."
    RUNNING "running" "{job} has been running for {time}{limit} in {worker} of master {pid}{progress}."
    ENDING "ending" "{job} has been running for {time}{limit} in {worker} of master {pid}{progress}; {cause} and was asked to end."
    ENDING_STUCK "ending" "{job} has been running for {time}{limit} in {worker} of master {pid}{progress}; {cause} but does not end: its worker is killed when the worker's other jobs have ended."

    // Failed and missing jobs.
    FAILED "failed" "{job} failed at {at}, {reason}{attempts}{error}; queue:reload-failed --id {id} retries it."
    DONE "done" "Job {id} ({job}) is done: it ended at {at} after {took}, in attempt {attempt}."
    UNKNOWN "unknown" "Channel \"{channel}\" has no job {id}: it is done, was removed, or never existed; a running master keeps the last 1,000 done jobs."

    // The channel as a whole.
    CHANNEL_BLOCKED "" "Channel \"{channel}\" is blocked: {blockers}; {backlog}."
    CHANNEL_IDLE "idle" "Channel \"{channel}\" is idle: {backlog}."
    CHANNEL_DELAYED "delayed" "Channel \"{channel}\" is idle: {backlog}."
    CHANNEL_RUNNING "running" "Channel \"{channel}\" is running, and no job waits for a slot: {backlog}."
    CHANNEL_WORKER_REPLACED "no_slot" "Channel \"{channel}\" is waiting for a slot: its worker has run max_handle_number jobs and is being replaced; {backlog}."
    CHANNEL_NO_WORKER "starting" "Channel \"{channel}\" is waiting for a worker: none is ready{detail}; {backlog}."
    CHANNEL_SLOT_BUSY "no_slot" "Channel \"{channel}\" is waiting for a slot: the only one is busy; {backlog}."
    CHANNEL_SLOTS_BUSY "no_slot" "Channel \"{channel}\" is waiting for a slot: all {slots} are busy; {backlog}."
    CHANNEL_NEXT "next" "Channel \"{channel}\" is running: {free} of {slots} slots free for waiting jobs; {backlog}."

    // A store that the command cannot use. `{job}` is a sentence about the job of the command.
    NO_STORE "store" "{job}Channel \"{channel}\" is blocked: this command cannot use the store ({error}), nor can master {pid}{outage} ({master_error}). {runs}{counts}Start or repair the store: the master resumes within two seconds of its return."
    NO_STORE_HERE "store" "{job}This command cannot use the store of channel \"{channel}\" ({error}), but master {pid} can: check the address, the password and the permissions that this command has."
    NO_STORE_ALONE "store" "This command cannot use the store of channel \"{channel}\" ({error}), and {master}. Start or repair the store, or correct the driver settings that config:check shows."

    // Unique keys.
    KEY_FREE "free" "No job of channel \"{channel}\" holds the key \"{key}\": a push with it adds a job."
    KEY_WITHOUT_JOB "unique_key" "The key \"{key}\" is held for a fixed time by job {id}, which no longer exists: a push with it adds no job until then."
    KEY_HELD "unique_key" "The key \"{key}\" is held by job {id} until {until}: a push with it adds no job. {job}"
}

impl Reason {
    /// The explanation with every placeholder replaced by its value. Values are inserted as they are, so text of jobs and
    /// programs must be sanitised.
    pub(crate) fn explain(self, values: &[(&str, &dyn Display)]) -> Explanation {
        let mut text = String::with_capacity(self.template.len() + 64);
        let mut rest = self.template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}').expect("a placeholder of a template has both braces");
            let value = values.iter().find(|(known, _)| *known == name);
            let (_, value) = value.unwrap_or_else(|| panic!("the template needs a value for \"{name}\""));
            text.push_str(before);
            text.push_str(&value.to_string());
            rest = tail;
        }
        text.push_str(rest);
        Explanation { reason: self.code, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_inserted_once_and_unchanged() {
        let explained = STORE.explain(&[("pid", &42), ("outage", &""), ("error", &"{pid} refused")]);
        assert_eq!(explained.reason, "store");
        assert_eq!(explained.text, "the store is unavailable to master 42: {pid} refused");
    }
}
