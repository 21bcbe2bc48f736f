//! The command line: one file per command. A command collects its data, then a pure function renders the result.
//!
//! To add a command, write a struct with `clap::Args` and `fn run(self, &CommandContext) -> Result<(), Failure>`, and add a
//! variant to [`Command`]. `list` and the help pick it up from there.

mod alerts;
mod cancel;
mod clear;
mod completion;
mod completions;
mod config_check;
mod context;
mod control;
mod dashboard;
mod demo;
mod done_jobs;
mod failed;
mod failure;
mod flush;
mod forget;
mod global_options;
mod help;
mod history;
mod job_options;
mod job_output;
mod jobs;
mod kept_jobs;
mod known_masters;
mod list;
mod listen;
mod local_masters;
mod log;
mod man;
mod named_jobs;
mod other_store;
mod pause;
mod per_channel;
mod program;
mod progress;
mod push;
mod push_file;
mod push_lines;
mod quiet;
mod recorded_masters;
mod reload;
mod reload_failed;
mod resume;
mod run;
mod running;
mod sanitize;
mod scale;
mod searched;
mod show;
mod status;
mod stop;
mod table;
mod time;
#[cfg(feature = "top")]
mod top;
mod why;
mod wrap;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{ColorChoice, FromArgMatches, Parser, Subcommand};
use clap_complete::CompleteEnv;

use crate::job::Registry;
use crate::wording::render;
pub(crate) use context::CommandContext;
pub(crate) use failure::{Exit, Failure};
use global_options::GlobalOptions;
pub(crate) use program::Program;

const EXIT_CODES: &str = "\
Exit codes:
  0  done (queue:status: also when no master is running)
  1  failed, or only partly done
  2  usage error: the command line or its input was refused, nothing was done
  3  the master is not running, is already running, or serves another store than the command means
  4  the configuration is invalid, or a program of it cannot be started
  5  the store is unavailable or full, or the channel is at its limit";

/// Background jobs on SQLite or Redis: push them, watch them, run them in worker processes
#[derive(Debug, Parser)]
#[command(after_help = EXIT_CODES, max_term_width = 110, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    globals: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "demo")]
    Demo(demo::Demo),
    #[command(name = "queue:listen", visible_aliases = ["worker:listen", "queue:work"])]
    Listen(listen::Listen),
    #[command(name = "queue:stop", visible_alias = "worker:stop")]
    Stop(stop::Stop),
    #[command(name = "queue:quiet")]
    Quiet(quiet::Quiet),
    #[command(name = "queue:pause")]
    Pause(pause::Pause),
    #[command(name = "queue:resume")]
    Resume(resume::Resume),
    #[command(name = "queue:scale")]
    Scale(scale::Scale),
    #[command(name = "queue:reload", visible_aliases = ["worker:reload", "queue:restart"])]
    Reload(reload::Reload),
    #[command(name = "queue:run", visible_alias = "worker:run")]
    Run(run::Run),
    #[command(name = "queue:push")]
    Push(push::Push),
    #[command(name = "queue:status")]
    Status(status::Status),
    #[cfg(feature = "top")]
    #[command(name = "queue:top")]
    Top(top::Top),
    #[command(name = "queue:dashboard")]
    Dashboard(dashboard::Dashboard),
    #[command(name = "queue:history")]
    History(history::History),
    #[command(name = "queue:alerts")]
    Alerts(alerts::Alerts),
    #[command(name = "queue:jobs")]
    Jobs(jobs::Jobs),
    #[command(name = "queue:running")]
    Running(running::Running),
    #[command(name = "queue:failed")]
    Failed(failed::Failed),
    #[command(name = "queue:show")]
    Show(show::Show),
    #[command(name = "queue:why")]
    Why(why::Why),
    #[command(name = "queue:cancel")]
    Cancel(cancel::Cancel),
    #[command(name = "queue:reload-failed", visible_alias = "queue:retry")]
    ReloadFailed(reload_failed::ReloadFailed),
    #[command(name = "queue:forget")]
    Forget(forget::Forget),
    #[command(name = "queue:flush")]
    Flush(flush::Flush),
    #[command(name = "queue:clear")]
    Clear(clear::Clear),
    #[command(name = "config:check")]
    ConfigCheck(config_check::ConfigCheck),
    #[command(name = "list")]
    List(list::List),
    #[command(name = "completions")]
    Completions(completions::Completions),
    #[command(name = "man")]
    Man(man::Man),
}

impl Command {
    /// Whether the text of the command may contain local times; JSON contains times in UTC.
    fn prints_local_times(&self) -> bool {
        #[cfg(feature = "top")]
        if matches!(self, Self::Top(_)) {
            return true;
        }
        matches!(
            self,
            Self::Pause(_)
                | Self::Status(_)
                | Self::History(_)
                | Self::Alerts(_)
                | Self::Jobs(_)
                | Self::Failed(_)
                | Self::Show(_)
                | Self::Why(_)
                | Self::Cancel(_)
        )
    }

    /// Whether the command only controls or shows running masters, which keep their configuration when the file is broken.
    fn controls_masters(&self) -> bool {
        #[cfg(feature = "top")]
        if matches!(self, Self::Top(_)) {
            return true;
        }
        matches!(
            self,
            Self::Status(_)
                | Self::Stop(_)
                | Self::Quiet(_)
                | Self::Pause(_)
                | Self::Resume(_)
                | Self::Scale(_)
        )
    }

    /// Whether the command changes jobs or masters.
    fn is_change(&self) -> bool {
        match self {
            Self::Alerts(command) => command.is_change(),
            Self::Stop(_)
            | Self::Quiet(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Scale(_)
            | Self::Reload(_)
            | Self::Run(_)
            | Self::Push(_)
            | Self::Cancel(_)
            | Self::ReloadFailed(_)
            | Self::Forget(_)
            | Self::Flush(_)
            | Self::Clear(_) => true,
            #[cfg(feature = "top")]
            Self::Top(_) => false,
            Self::Demo(_)
            | Self::Listen(_)
            | Self::Status(_)
            | Self::History(_)
            | Self::Dashboard(_)
            | Self::Jobs(_)
            | Self::Running(_)
            | Self::Failed(_)
            | Self::Show(_)
            | Self::Why(_)
            | Self::ConfigCheck(_)
            | Self::List(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
        }
    }

    fn run(self, context: &CommandContext) -> Result<(), Failure> {
        if self.prints_local_times() && !context.json() {
            time::check_zone()?;
        }
        match self {
            Self::Demo(command) => command.run(context),
            Self::Listen(command) => command.run(context),
            Self::Stop(command) => command.run(context),
            Self::Quiet(command) => command.run(context),
            Self::Pause(command) => command.run(context),
            Self::Resume(command) => command.run(context),
            Self::Scale(command) => command.run(context),
            Self::Reload(command) => command.run(context),
            Self::Run(command) => command.run(context),
            Self::Push(command) => command.run(context),
            Self::Status(command) => command.run(context),
            #[cfg(feature = "top")]
            Self::Top(command) => command.run(context),
            Self::Dashboard(command) => command.run(context),
            Self::History(command) => command.run(context),
            Self::Alerts(command) => command.run(context),
            Self::Jobs(command) => command.run(context),
            Self::Running(command) => command.run(context),
            Self::Failed(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Why(command) => command.run(context),
            Self::Cancel(command) => command.run(context),
            Self::ReloadFailed(command) => command.run(context),
            Self::Forget(command) => command.run(context),
            Self::Flush(command) => command.run(context),
            Self::Clear(command) => command.run(context),
            Self::ConfigCheck(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Completions(command) => command.run(context),
            Self::Man(command) => command.run(context),
        }
    }
}

/// Runs the command in `args` of a program with the jobs of `registry`.
pub(crate) fn main(program: Program, registry: Registry, args: Vec<OsString>) -> ExitCode {
    match answer_shell(&program, &registry, &args) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        // A shell has no place for the error.
        Err(_) => return ExitCode::FAILURE,
    }
    // clap needs the colour choice before it parses the options.
    let colours =
        if args.iter().any(|arg| arg == "--no-ansi") { ColorChoice::Never } else { ColorChoice::Auto };
    // A monitoring system would take the usual exit code of a wrong command line for a critical state.
    let is_check = args.iter().any(|arg| arg == "--check");
    let mut line = help::command_line(&program, &registry).color(colours);
    let parsed =
        line.try_get_matches_from_mut(args).and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let error = help::with_one_suggestion(error, &line);
            if let Err(unwritten) = error.print()
                && !error.use_stderr()
                && unwritten.kind() != std::io::ErrorKind::BrokenPipe
            {
                // Help that was asked for did not arrive. An error of standard error has no other place.
                let _ = writeln!(std::io::stderr(), "error: could not write to standard output: {unwritten}");
                return ExitCode::FAILURE;
            }
            if is_check && error.use_stderr() {
                return ExitCode::from(status::check::UNKNOWN);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let context = CommandContext::new(cli.globals, registry)
        .of_program(program)
        .of_control(cli.command.controls_masters())
        .of_change(cli.command.is_change());
    if let Command::Status(status) = &cli.command
        && status.check
    {
        return status.check(&context);
    }
    let done = context.check_registry().and_then(|()| cli.command.run(&context));
    match done {
        Ok(()) => {
            context.end_log();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            context.report(&failure);
            context.end_log();
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// Answers a shell that asks for completions. Returns whether one did; then there is nothing else to do.
fn answer_shell(program: &Program, registry: &Registry, args: &[OsString]) -> clap::error::Result<bool> {
    let here = std::env::current_dir().ok();
    let completer = CompleteEnv::with_factory(|| help::command_line(program, registry));
    completer.var(completion::VARIABLE).try_complete(args.to_vec(), here.as_deref())
}
