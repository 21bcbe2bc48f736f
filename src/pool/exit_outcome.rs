//! The outcome of a run whose worker has died. Pure.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::workers::state::{KillReason, WorkerEnd};
use crate::guardian::handle::Exit;
use crate::job::{Outcome, RetryDecision};

/// `EX_TEMPFAIL` of sysexits.h: the handler releases the job.
const EXIT_RELEASE: i32 = 75;
/// `EX_DATAERR` of sysexits.h, and 100 as in mail delivery: a retry is pointless.
const EXIT_NO_RETRY: [i32; 2] = [65, 100];
/// Delay of a job that an exec handler released: an exit status cannot carry one.
const EXEC_RELEASE: Duration = Duration::from_secs(1);

/// The end of a run past its time limit whose worker did not answer.
const KILLED_WITH_WORKER: &str = "it did not end when asked, and its worker was killed";

/// The facts of a death, for one run of the worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkerDeath {
    /// How the worker ended.
    pub(super) end: WorkerEnd,
    /// Why the pool ended it, if it did.
    pub(super) kill_reason: Option<KillReason>,
    /// The run's time limit, if that had passed.
    pub(super) overdue: Option<Duration>,
    /// Whether the worker had other runs.
    pub(super) with_others: bool,
    /// Whether the worker was ready, so that the run may have begun.
    pub(super) begun: bool,
}

/// The outcome of a run whose worker speaks the protocol and died without answering it; `tail` is the end of the worker's output, which
/// may be of any of its runs.
pub(super) fn wire(death: &WorkerDeath, tail: &str) -> Outcome {
    if let Some(limit) = death.overdue {
        let how = if death.kill_reason.is_some() { KILLED_WITH_WORKER } else { "its worker died then" };
        let tail = if death.with_others { "" } else { tail };
        return Outcome::TimedOut { limit, how: with_last_output(how, tail) };
    }
    let exit = match death.end {
        WorkerEnd::NotStarted | WorkerEnd::NoRoom => return Outcome::Interrupted,
        _ if !death.begun || death.kill_reason == Some(KillReason::Stopping) => return Outcome::Interrupted,
        WorkerEnd::GuardianDied => return Outcome::Lost,
        WorkerEnd::Exited(exit) => exit,
    };
    match death.kill_reason {
        Some(KillReason::Stopping | KillReason::Stuck | KillReason::Ordered) => Outcome::Interrupted,
        _ if death.with_others => Outcome::CrashedWithOthers,
        Some(KillReason::Memory { used, limit }) => over_memory(used, limit),
        Some(KillReason::Broken) => {
            Outcome::Crashed { how: "broke the worker protocol and was killed".to_owned() }
        }
        None => Outcome::Crashed { how: format!("{} without a result", describe(exit)) },
    }
}

/// The outcome of a run whose process was started for it; `tail` is the end of its stderr.
pub(super) fn exec(death: &WorkerDeath, tail: &str) -> Outcome {
    let error = |exit| match tail.trim_end() {
        "" => describe(exit),
        tail => format!("{}: {tail}", describe(exit)),
    };
    match (death.end, death.kill_reason, death.overdue) {
        (WorkerEnd::Exited(Exit::Code(0)), ..) => Outcome::Done,
        (end, kill, Some(limit)) => Outcome::TimedOut { limit, how: time_out(end, kill.is_some(), tail) },
        (WorkerEnd::Exited(_), Some(KillReason::Memory { used, limit }), None) => over_memory(used, limit),
        (WorkerEnd::NotStarted | WorkerEnd::NoRoom, ..) | (_, Some(KillReason::Stopping), None) => {
            Outcome::Interrupted
        }
        (WorkerEnd::GuardianDied, ..) => Outcome::Lost,
        (WorkerEnd::Exited(_), Some(_), None) => Outcome::Interrupted,
        (WorkerEnd::Exited(Exit::Code(EXIT_RELEASE)), None, None) => {
            Outcome::Released { after: EXEC_RELEASE }
        }
        (WorkerEnd::Exited(exit @ Exit::Code(code)), None, None) => {
            let next =
                if EXIT_NO_RETRY.contains(&code) { RetryDecision::Never } else { RetryDecision::ByPolicy };
            Outcome::Failed { error: error(exit), next }
        }
        (WorkerEnd::Exited(exit @ (Exit::Signal(_) | Exit::CoreDumped(_))), None, None) => {
            Outcome::Crashed { how: error(exit) }
        }
    }
}

/// The end of a program that was asked to end with SIGTERM, and its last line.
fn time_out(end: WorkerEnd, is_killed: bool, tail: &str) -> String {
    let how = match (is_killed, end) {
        (false, _) => "SIGTERM was enough",
        // A program that ends at the signal may leave processes behind, which keep its run alive.
        (true, WorkerEnd::Exited(exit)) if exit != Exit::Signal(Signal::SIGKILL as i32) => {
            "SIGTERM ended the program, but not its child processes, and they were killed"
        }
        (true, _) => "SIGTERM was not enough, and it was killed",
    };
    with_last_output(how, tail)
}

fn with_last_output(how: &str, tail: &str) -> String {
    match last_line(tail) {
        Some(last) => format!("{how}; its last output: {last}"),
        None => how.to_owned(),
    }
}

/// The last line of an output that is not blank.
pub(super) fn last_line(tail: &str) -> Option<&str> {
    tail.lines().rev().map(str::trim_end).find(|line| !line.is_empty())
}

fn over_memory(used: u64, limit: u64) -> Outcome {
    let (used, limit) = (used >> 20, limit >> 20);
    let how = format!("used {used} MiB of memory, more than memory_hard_limit = {limit} MiB, and was killed");
    Outcome::Crashed { how }
}

/// The end of a process in words: "exited with 3", "was killed by SIGSEGV".
pub(super) fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with {code}"),
        Exit::Signal(number) | Exit::CoreDumped(number) => match Signal::try_from(number) {
            Ok(signal) => format!("was killed by {signal}"),
            Err(_) => format!("was killed by signal {number}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIED: WorkerDeath = WorkerDeath {
        end: WorkerEnd::Exited(Exit::Signal(11)),
        kill_reason: None,
        overdue: None,
        with_others: false,
        begun: true,
    };
    const LIMIT: Duration = Duration::from_secs(2);

    #[test]
    fn lone_job_is_crashed_and_several_are_suspects() {
        assert_eq!(
            wire(&DIED, ""),
            Outcome::Crashed { how: "was killed by SIGSEGV without a result".into() }
        );
        assert_eq!(wire(&WorkerDeath { with_others: true, ..DIED }, ""), Outcome::CrashedWithOthers);
        let silent = WorkerDeath { end: WorkerEnd::Exited(Exit::Code(0)), ..DIED };
        assert_eq!(wire(&silent, ""), Outcome::Crashed { how: "exited with 0 without a result".into() });
    }

    #[test]
    fn kills_by_the_pool_are_not_the_jobs_fault() {
        for reason in [KillReason::Stopping, KillReason::Stuck, KillReason::Ordered] {
            assert_eq!(wire(&WorkerDeath { kill_reason: Some(reason), ..DIED }, ""), Outcome::Interrupted);
        }
        let not_started = WorkerDeath { end: WorkerEnd::NotStarted, ..DIED };
        assert_eq!(
            (wire(&not_started, ""), exec(&not_started, "")),
            (Outcome::Interrupted, Outcome::Interrupted)
        );
        assert_eq!(wire(&WorkerDeath { begun: false, ..DIED }, ""), Outcome::Interrupted);
        assert_eq!(
            exec(&WorkerDeath { kill_reason: Some(KillReason::Stopping), ..DIED }, ""),
            Outcome::Interrupted
        );
    }

    #[test]
    fn run_whose_guardian_died_is_lost() {
        let lost = WorkerDeath { end: WorkerEnd::GuardianDied, with_others: true, ..DIED };
        assert_eq!((wire(&lost, ""), exec(&lost, "x")), (Outcome::Lost, Outcome::Lost));
        assert_eq!(wire(&WorkerDeath { kill_reason: Some(KillReason::Stuck), ..lost }, ""), Outcome::Lost);
        // Neither a run that had not begun nor a worker that was being stopped is a suspect.
        assert_eq!(wire(&WorkerDeath { begun: false, ..lost }, ""), Outcome::Interrupted);
        let stopping = WorkerDeath { kill_reason: Some(KillReason::Stopping), ..lost };
        assert_eq!((wire(&stopping, ""), exec(&stopping, "")), (Outcome::Interrupted, Outcome::Interrupted));
        assert!(matches!(wire(&WorkerDeath { overdue: Some(LIMIT), ..lost }, ""), Outcome::TimedOut { .. }));
    }

    #[test]
    fn memory_kill_is_the_fault_of_a_lone_job() {
        let large = WorkerDeath {
            end: WorkerEnd::Exited(Exit::Signal(9)),
            kill_reason: Some(KillReason::Memory { used: 700 << 20, limit: 512 << 20 }),
            ..DIED
        };
        let how = "used 700 MiB of memory, more than memory_hard_limit = 512 MiB, and was killed";
        for outcome in [wire(&large, ""), exec(&large, "")] {
            assert_eq!(outcome, Outcome::Crashed { how: how.into() });
        }
        assert_eq!(wire(&WorkerDeath { with_others: true, ..large }, ""), Outcome::CrashedWithOthers);
        assert_eq!(wire(&WorkerDeath { begun: false, ..large }, ""), Outcome::Interrupted);
    }

    #[test]
    fn run_past_its_timeout_is_timed_out_however_it_ended() {
        let late = WorkerDeath {
            overdue: Some(LIMIT),
            kill_reason: Some(KillReason::Stuck),
            with_others: true,
            ..DIED
        };
        let timed_out = |how: &str| Outcome::TimedOut { limit: LIMIT, how: how.to_owned() };
        assert_eq!(wire(&late, ""), timed_out("it did not end when asked, and its worker was killed"));
        let alone = WorkerDeath { with_others: false, ..late };
        let said = "it did not end when asked, and its worker was killed; its last output: page 7";
        assert_eq!(wire(&alone, "page 6\npage 7\n"), timed_out(said));
        assert_eq!(
            wire(&late, "of whichever run"),
            timed_out(KILLED_WITH_WORKER),
            "the line may be of another run"
        );
        let by_kill = WorkerDeath { end: WorkerEnd::Exited(Exit::Signal(9)), ..late };
        let killed = "SIGTERM was not enough, and it was killed; its last output: page 7";
        assert_eq!(exec(&by_kill, "page 6\npage 7\n\n"), timed_out(killed));
        let parent_only = WorkerDeath { end: WorkerEnd::Exited(Exit::Signal(15)), ..late };
        let children = "SIGTERM ended the program, but not its child processes, and they were killed";
        assert_eq!(exec(&parent_only, ""), timed_out(children));
        let ended = WorkerDeath { kill_reason: None, end: WorkerEnd::Exited(Exit::Signal(15)), ..late };
        assert_eq!(exec(&ended, ""), timed_out("SIGTERM was enough"));
        // The handler finished within the grace.
        assert_eq!(exec(&WorkerDeath { end: WorkerEnd::Exited(Exit::Code(0)), ..late }, ""), Outcome::Done);
    }

    #[test]
    fn exit_codes_of_an_exec_handler() {
        let code = |n| exec(&WorkerDeath { end: WorkerEnd::Exited(Exit::Code(n)), ..DIED }, "boom\n");
        let failed = |error: &str, next| Outcome::Failed { error: error.into(), next };
        assert_eq!(code(0), Outcome::Done);
        assert_eq!(code(75), Outcome::Released { after: EXEC_RELEASE });
        assert_eq!(code(65), failed("exited with 65: boom", RetryDecision::Never));
        assert_eq!(code(100), failed("exited with 100: boom", RetryDecision::Never));
        assert_eq!(code(1), failed("exited with 1: boom", RetryDecision::ByPolicy));
        assert_eq!(exec(&DIED, ""), Outcome::Crashed { how: "was killed by SIGSEGV".into() });
    }
}
