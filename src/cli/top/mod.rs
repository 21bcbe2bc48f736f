//! `queue:top`: all channels of this machine on a terminal, with their workers, jobs and alerts, and the actions of the commands.
//!
//! `keys` and `state` are pure: events in, effects out. `view` is a pure picture of the state, over tables that `rows` makes.
//! `local` and `remote` take readings (`reading`) on the thread of the `collector`; `driver` joins terminal (`screen`), readings,
//! signals and actions.

mod actions;
mod collector;
mod driver;
#[cfg(test)]
mod fixed_reading;
mod keys;
mod local;
mod reading;
mod remote;
mod rows;
mod screen;
mod state;
mod view;

use std::io::{IsTerminal, stdin, stdout};
use std::time::Instant;

use clap::Args;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{CommandContext, Exit, Failure};
use collector::Collect;
use local::Local;
use remote::Remote;
use state::{Settings, State};

/// Columns and rows of a frame that is printed into a file or a pipe.
const PRINTED: (u16, u16) = (100, 40);
const DOING: &str = "show the channels";

/// Show all channels live, and act on them by key
///
/// Masters are asked over their control sockets, and the stores for counts and lists. "?" shows the keys. The dashboard of another
/// machine is shown with --remote, read-only.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Print one frame as text
    #[arg(long)]
    once: bool,
    /// Change nothing: no action has a key
    #[arg(long)]
    read_only: bool,
    /// Show the channels of the dashboard at this address
    #[arg(long, value_name = "URL")]
    remote: Option<String>,
    /// Token of a viewer of that dashboard
    #[arg(long, value_name = "TOKEN", env = "AINT_QUEUE_TOKEN", hide_env_values = true, requires = "remote")]
    token: Option<String>,
    /// Draw with ASCII only, as in a locale without UTF-8
    #[arg(long)]
    ascii: bool,
}

impl Top {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let is_dumb =
            std::env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb");
        let is_live = !self.once && !context.json();
        if is_live && (is_dumb || !stdin().is_terminal() || !stdout().is_terminal()) {
            return Err(Failure::new(Exit::Usage, DOING)
                .because("it needs a terminal that can move its cursor")
                .hint("queue:status --watch needs none, and queue:top --once prints one frame"));
        }
        let channel = match (&self.remote, context.names_channel()) {
            (None, true) => {
                let channel = context.channel()?;
                CommandContext::check_served(channel, DOING)?;
                Some(channel.name.clone())
            }
            (Some(_), true) => context.first_name().map(str::to_owned),
            (_, false) => None,
        };
        let mut collector: Box<dyn Collect + Send> = match &self.remote {
            Some(url) => Box::new(Remote::new(context.silent_twin(), url, self.token.as_deref())?),
            None if !local::has_channels(context.config()?) => {
                return Err(Failure::new(Exit::Usage, DOING)
                    .because("every declared channel uses the driver \"sync\", which stores no jobs"));
            }
            None => Box::new(Local::new(context.silent_twin())?),
        };
        if context.json() {
            return context.print_json(&collector.json()?);
        }
        let is_remote = self.remote.is_some();
        let settings = Settings {
            read_only: self.read_only || is_remote,
            is_remote,
            colours: context.colours(),
            ascii: self.ascii || !has_utf8(),
        };
        let mut state = State::new(settings, channel);
        if !self.once {
            return driver::run(context, state, collector);
        }
        let reading = collector.read(&state.wanted());
        if let Some(error) = reading.error.clone().filter(|_| reading.channels.is_empty()) {
            return Err(Failure::new(Exit::Failed, DOING).because(error));
        }
        state.take(reading);
        let (columns, rows) = frame_size(context);
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        view::draw(&state, &mut buffer, Instant::now());
        context.print_verbatim(&view::plain_text(&buffer))
    }
}

/// The size of a printed frame: that of the terminal, or of the variables that programs such as `watch` set.
fn frame_size(context: &CommandContext) -> (u16, u16) {
    let lines = std::env::var("LINES").ok().and_then(|lines| lines.parse().ok()).filter(|lines| *lines > 0);
    let columns = context.columns().map_or(PRINTED.0, |columns| u16::try_from(columns).unwrap_or(PRINTED.0));
    let rows = match stdout().is_terminal() {
        true => u16::try_from(CommandContext::rows().saturating_sub(1)).unwrap_or(PRINTED.1),
        false => PRINTED.1,
    };
    (columns.min(500), lines.unwrap_or(rows).min(200))
}

/// Whether the locale writes UTF-8.
fn has_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
    let locale = set.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
