//! Builds a channel's actor from its configuration: job program, worker privileges, settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use super::listen_error::ListenError;
use super::own_program::own_program;
use crate::channel::{Channel, ChannelSettings, CrossChannelPush, OnJoin, ReloadSpec, Scope, Setup};
use crate::config::{self, Handler};
use crate::guardian::{GuardianHandle, Limit, Privileges, account};
use crate::metrics::ChannelMetrics;
use crate::pool::{self, Pool, PoolSpec, Program};
use crate::retry::Policy;
use crate::store::{Owner, Store};
use crate::webhook;

/// The program of a channel's jobs, its environment, privileges and working directory. A configured command starts in the
/// directory of its configuration file, so relative paths do not depend on where the master was started.
pub(super) fn job_program(config: &config::Channel, base: &Path) -> Result<JobProgram, ListenError> {
    let checked = |command: &[String]| {
        config::command_check::locate(&command[0], base)
            .map(|_| command.to_vec())
            .map_err(|why| ListenError::Program { channel: config.name.clone(), why })
    };
    let own = |argument: &str| {
        let own = own_program().map_err(ListenError::System)?;
        Ok(Program::Wire(vec![own.to_string_lossy().into_owned(), argument.to_owned()]))
    };
    let mut env: Vec<_> = config.worker.env.clone().into_iter().collect();
    let (program, cwd) = match &config.worker.handler {
        Handler::Registered => (own("__worker")?, None),
        Handler::Webhook(settings) => {
            env.push((webhook::SETTINGS_VARIABLE.to_owned(), settings.to_variable()));
            (own(webhook::WORKER_ARGUMENT)?, None)
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
    Ok(Privileges { nice: worker.nice, account, limits })
}

/// The program that runs a channel's jobs.
pub(super) struct JobProgram {
    program: Program,
    cwd: Option<PathBuf>,
    env: Vec<(String, String)>,
    privileges: Privileges,
}

/// The parts of a channel's actor beside its configuration.
pub(super) struct ActorParts {
    pub(super) program: JobProgram,
    pub(super) store: Arc<dyn Store>,
    pub(super) guardian: GuardianHandle,
    pub(super) scope: Scope,
    pub(super) quiet: bool,
    /// Manual minimum worker count (`queue:scale`) from before a re-exec.
    pub(super) manual_minimum: Option<usize>,
    pub(super) cross_channel: Arc<dyn CrossChannelPush>,
    pub(super) dead_owners: Vec<Owner>,
    pub(super) on_join: OnJoin,
    pub(super) metrics: ChannelMetrics,
}

/// Builds a channel's actor.
pub(super) fn channel_actor(config: &config::Channel, parts: ActorParts) -> Channel {
    let ReloadSpec { pool, settings } = renewal(config, parts.program, &parts.guardian);
    let now = Instant::now();
    let mut pool = Pool::new(pool, now);
    if let Some(minimum) = parts.manual_minimum {
        pool.restore_manual_minimum(minimum, now);
    }
    Channel::new(Setup {
        name: config.name.as_str().into(),
        store: parts.store,
        pool,
        settings,
        dead: parts.dead_owners,
        on_join: parts.on_join,
        scope: parts.scope,
        quiet: parts.quiet,
        cross_channel: Some(parts.cross_channel),
        metrics: parts.metrics,
    })
}

/// The files that make up the program: a change of one means that a reload starts a new program.
fn program_files(program: &JobProgram) -> Vec<PathBuf> {
    match (&program.program, &program.cwd) {
        (Program::Wire(argv), Some(cwd)) => config::command_check::files(argv, cwd),
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
        boot_timeout: worker.boot_timeout,
        timeout_grace: config.timeout_grace,
        stop_grace: config.stop_grace,
        stop_wait: config.stop_wait,
    };
    let settings = ChannelSettings {
        policy: Policy::of(config),
        max_execute: worker.max_execute,
        sleep: worker.sleep,
        stop_wait: config.stop_wait,
    };
    ReloadSpec {
        pool: pool::GenerationSpec { spec, guardian: guardian.with_privileges(program.privileges) },
        settings,
    }
}
