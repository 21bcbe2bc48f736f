//! The job program, worker privileges and settings of a channel, from its configuration.

use std::path::{Path, PathBuf};

use super::listen_error::ListenError;
use super::own_program::own_program;
use crate::channel::{ChannelSettings, ReloadSpec};
use crate::config::command_check::Search;
use crate::config::{self, CommandLine, Handler};
use crate::guardian::{GuardianHandle, Limit, Privileges, account};
use crate::pool::{self, PoolSpec, Program};
use crate::retry::Policy;
use crate::store::PushLimit;
use crate::webhook;

/// The program of a channel's jobs, its environment, privileges and working directory. A configured command starts in the
/// directory of its configuration file, so relative paths do not depend on where the master was started.
pub(super) fn job_program(config: &config::Channel, base: &Path) -> Result<JobProgram, ListenError> {
    let search = Search { base, path: config.worker.env.get("PATH").map(String::as_str) };
    let checked = |command: &CommandLine| {
        config::command_check::locate(&command.argv()[0], search)
            .map(|_| command.argv().to_vec())
            .map_err(|why| ListenError::Program { channel: config.name.clone(), why })
    };
    let own = |arguments: &[&str]| {
        let own = own_program().map_err(ListenError::System)?.to_string_lossy().into_owned();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Ok(Program::Wire([own].into_iter().chain(arguments).collect()))
    };
    let mut env: Vec<_> = config.worker.env.clone().into_iter().collect();
    let (program, cwd) = match &config.worker.handler {
        Handler::Registered if config.worker.demo_jobs => (own(&["__worker", "--demo-jobs"])?, None),
        Handler::Registered => (own(&["__worker"])?, None),
        Handler::Webhook(settings) => {
            env.push((webhook::SETTINGS_VARIABLE.to_owned(), settings.to_variable()));
            (own(&[webhook::WORKER_ARGUMENT])?, None)
        }
        Handler::Wire { command } => (Program::Wire(checked(command)?), Some(base.to_owned())),
        Handler::Exec { command } => (Program::Exec(checked(command)?), Some(base.to_owned())),
    };
    Ok(JobProgram { program, cwd, env, privileges: privileges(config)? })
}

/// The account and the resource limits of a channel's workers.
fn privileges(config: &config::Channel) -> Result<Privileges, ListenError> {
    let worker = &config.worker;
    let account = account(worker.user.as_deref(), worker.group.as_deref())
        .map_err(|source| ListenError::Account { channel: config.name.clone(), source })?;
    let limits = worker.limits;
    let mib = |n: Option<u64>| n.map(|n| n << 20);
    let limits = [
        (Limit::OpenFiles, limits.open_files),
        (Limit::Processes, limits.processes),
        (Limit::Core, mib(limits.core_mib)),
        (Limit::CpuSeconds, limits.cpu_seconds),
        (Limit::AddressSpace, mib(limits.address_space_mib)),
        (Limit::FileSize, mib(limits.file_size_mib)),
    ];
    let limits = limits.into_iter().filter_map(|(limit, value)| Some((limit, value?))).collect();
    Ok(Privileges { nice: worker.nice, account, limits, passed_env: worker.passed_env.clone() })
}

/// The program that runs a channel's jobs.
pub(super) struct JobProgram {
    program: Program,
    cwd: Option<PathBuf>,
    env: Vec<(String, String)>,
    privileges: Privileges,
}

/// The files that make up the program: a change of one means that a reload starts a new program.
fn program_files(program: &JobProgram) -> Vec<PathBuf> {
    match (&program.program, &program.cwd) {
        (Program::Wire(argv), Some(cwd)) => {
            let path = program.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
            config::command_check::files(argv, Search { base: cwd, path })
        }
        (Program::Wire(argv), None) => argv.first().map(PathBuf::from).into_iter().collect(),
        (Program::Exec(_), _) => Vec::new(),
    }
}

/// The part of a channel that a reload replaces: pool specification and settings.
pub(super) fn renewal(
    config: &config::Channel,
    program: JobProgram,
    guardian: &GuardianHandle,
) -> ReloadSpec {
    let worker = &config.worker;
    let spec = PoolSpec {
        channel: config.name.as_str().into(),
        files: program_files(&program),
        program: program.program,
        plan: worker.plan,
        scaling: worker.scaling,
        recycling: worker.recycling,
        env: program.env,
        cwd: program.cwd,
        log_rate: worker.log_rate,
        boot_timeout: worker.boot_timeout,
        timeout_grace: config.timeout_grace,
        stop_grace: config.stop_grace,
        stop_wait: config.stop_wait,
    };
    let settings = ChannelSettings {
        mode: worker.mode,
        policy: Policy::of(config),
        max_execute: worker.max_execute,
        sleep: worker.sleep,
        job_log: config.job_log,
        keep_output: config.keep_output,
        keep_done: config.keep_done.map(Into::into),
        stop_wait: config.stop_wait,
        may_push: worker.may_push.clone(),
        push_limit: PushLimit::of(config),
        priority_max_wait: config.priority_max_wait,
    };
    ReloadSpec {
        pool: pool::GenerationSpec { spec, guardian: guardian.with_privileges(program.privileges) },
        settings,
    }
}
