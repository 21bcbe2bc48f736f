//! The state of `queue:top`: what is chosen, asked and open. Pure: events come in, effects go out, the time is an argument.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::{Position, Rect};

use super::actions::{Action, Order};
use super::reading::{ChannelReading, OpenText, Pane, Reading, TextKind, Wanted, WantedText};
use super::rows::{self, Row, Table};
use crate::job::JobId;

/// Time for which a held action can be undone.
const HOLD: Duration = Duration::from_secs(8);
/// Time for which a message is shown.
const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Seconds between two readings that can be chosen.
const PERIODS_MS: [u64; 4] = [1_000, 2_000, 5_000, 10_000];

/// The properties of a run of `queue:top` that no key changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settings {
    pub(super) read_only: bool,
    /// The readings come from a dashboard.
    pub(super) is_remote: bool,
    pub(super) colours: bool,
    pub(super) ascii: bool,
}

/// An event of the terminal, of the collector or of an action.
#[derive(Debug)]
pub(super) enum Event {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Resized,
    Reading(Box<Reading>),
    /// The result of an action in words, or why it failed.
    Acted(Result<String, String>),
    /// Time has passed.
    Tick,
}

/// A consequence of an event outside of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Act(Action),
    /// Puts a text into the clipboard of the terminal.
    Copy(String),
    /// Takes mouse events, or leaves the mouse to the terminal.
    Mouse(bool),
    Suspend,
    Quit,
}

/// A line that is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    Filter,
    /// A channel, a job or a list to jump to.
    Jump,
}

/// The place under the mouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Channel(String),
    Pane(Pane),
    Row(usize),
    /// A head of a column of the list.
    Column(usize),
    /// A key that the foot names.
    Key(char),
}

/// The state.
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) reading: Option<Reading>,
    /// The name of the chosen channel; empty before the first reading.
    pub(super) channel: String,
    pub(super) pane: Pane,
    pub(super) row: usize,
    pub(super) sort: Option<(usize, bool)>,
    pub(super) filter: String,
    pub(super) marked: BTreeSet<JobId>,
    pub(super) prompt: Option<(Prompt, String)>,
    pub(super) question: Option<Action>,
    held: Option<(Action, Instant)>,
    message: Option<(String, bool, Instant)>,
    pub(super) open: Option<WantedText>,
    pub(super) scroll: usize,
    pub(super) help: bool,
    pub(super) only_trouble: bool,
    pub(super) frozen: bool,
    pub(super) mouse: bool,
    period: usize,
    /// The places of the last frame.
    pub(super) places: Vec<(Rect, Target)>,
}

impl State {
    pub(super) fn new(settings: Settings, channel: Option<String>) -> Self {
        Self {
            settings,
            reading: None,
            channel: channel.unwrap_or_default(),
            pane: Pane::default(),
            row: 0,
            sort: None,
            filter: String::new(),
            marked: BTreeSet::new(),
            prompt: None,
            question: None,
            held: None,
            message: None,
            open: None,
            scroll: 0,
            help: false,
            only_trouble: false,
            frozen: false,
            mouse: true,
            period: 0,
            places: Vec::new(),
        }
    }

    /// The values that the collector shall read.
    pub(super) fn wanted(&self) -> Wanted {
        let is_stored = self.pane.is_stored() && !self.filter.starts_with('!');
        Wanted {
            channel: self.channel.clone(),
            pane: self.pane,
            search: if is_stored { self.filter.clone() } else { String::new() },
            text: self.open,
            period_ms: if self.frozen { 0 } else { self.period_ms() },
        }
    }

    pub(super) fn period_ms(&self) -> u64 {
        PERIODS_MS[self.period]
    }

    /// The shown channels, in the order of the reading.
    pub(super) fn channels(&self) -> Vec<&ChannelReading> {
        let all = self.reading.iter().flat_map(|reading| &reading.channels);
        let is_shown = |channel: &&ChannelReading| !self.only_trouble || channel.has_trouble();
        all.filter(is_shown).collect()
    }

    /// Whether the reading has the chosen list of the chosen channel: an action must not mean a job of another one.
    pub(super) fn is_read(&self) -> bool {
        let chosen = self.reading.as_ref().and_then(|reading| reading.chosen.as_ref());
        let is_listed = |pane| !self.pane.is_stored() || pane == self.pane;
        self.pane == Pane::Alerts
            || chosen.is_some_and(|chosen| chosen.channel.name == self.channel && is_listed(chosen.jobs.pane))
    }

    /// The rows of the chosen list.
    pub(super) fn table(&self) -> Table {
        let Some(reading) = self.reading.as_ref().filter(|_| self.is_read()) else { return Table::default() };
        let mut table = rows::pane(self.pane, reading);
        // The store has searched in more than a row shows.
        if !self.pane.is_stored() || self.filter.starts_with('!') {
            table.filter(&self.filter);
        }
        if let Some((column, is_reverse)) = self.sort {
            table.sort(column, is_reverse);
        }
        table
    }

    /// The text that is open, once it has been read.
    pub(super) fn text(&self) -> Option<&OpenText> {
        let text = self.reading.as_ref()?.chosen.as_ref()?.text.as_ref()?;
        self.open.filter(|open| *open == text.wanted).map(|_| text)
    }

    /// The message, and whether it is about a failure; what is held comes first.
    pub(super) fn message(&self, now: Instant) -> Option<(String, bool)> {
        if let Some((action, due)) = &self.held {
            let left = due.saturating_duration_since(now).as_secs() + 1;
            return Some((format!("{action} in {left} s · u undoes"), false));
        }
        let (text, is_failure, at) = self.message.as_ref()?;
        (now.saturating_duration_since(*at) < MESSAGE_TIME).then(|| (text.clone(), *is_failure))
    }

    pub(super) fn say(&mut self, text: impl Into<String>, is_failure: bool, now: Instant) {
        self.message = Some((text.into(), is_failure, now));
    }

    /// Takes a reading in. The chosen channel stays, also while it is not declared.
    pub(super) fn take(&mut self, reading: Reading) {
        if self.channel.is_empty() {
            self.channel = reading.first_choice().to_owned();
        }
        self.reading = Some(reading);
        self.row = self.row.min(self.table().rows.len().saturating_sub(1));
    }

    /// Lets time pass: an action that was held long enough is carried out.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Effect> {
        let (action, _) = self.held.take_if(|(_, due)| *due <= now)?;
        Some(Effect::Act(action))
    }

    pub(super) fn chosen_row(&self) -> Option<Row> {
        let mut rows = self.table().rows;
        (self.row < rows.len()).then(|| rows.swap_remove(self.row))
    }

    pub(super) fn choose_channel(&mut self, name: String) {
        if self.channel != name {
            self.channel = name;
            (self.row, self.scroll, self.open) = (0, 0, None);
            self.marked.clear();
        }
    }

    /// Chooses the channel that is so many rows below.
    pub(super) fn step_channel(&mut self, by: isize) {
        let names: Vec<_> = self.channels().iter().map(|channel| channel.name.clone()).collect();
        let now = names.iter().position(|name| *name == self.channel).unwrap_or(0);
        if let Some(next) = now.checked_add_signed(by).and_then(|next| names.get(next)) {
            self.choose_channel(next.clone());
        }
    }

    pub(super) fn choose_pane(&mut self, pane: Pane) {
        if self.pane != pane {
            (self.pane, self.row, self.sort) = (pane, 0, None);
            self.filter.clear();
            self.marked.clear();
        }
    }

    pub(super) fn step_row(&mut self, by: isize) {
        if self.open.is_some() {
            self.scroll = self.scroll.saturating_add_signed(by);
            return;
        }
        let last = self.table().rows.len().saturating_sub(1);
        self.row = self.row.saturating_add_signed(by).min(last);
    }

    pub(super) fn step_sort(&mut self) {
        let columns = self.table().columns.len();
        self.sort = match self.sort {
            None if columns > 0 => Some((0, false)),
            Some((column, _)) if column + 1 < columns => Some((column + 1, false)),
            _ => None,
        };
    }

    /// Orders by a column; the second time in reverse.
    pub(super) fn sort_by(&mut self, column: usize) {
        self.sort = Some((column, matches!(self.sort, Some((same, false)) if same == column)));
    }

    pub(super) fn step_period(&mut self, by: isize) {
        let next = self.period.saturating_add_signed(by);
        self.period = next.min(PERIODS_MS.len() - 1);
    }

    /// Opens a text about the chosen job.
    pub(super) fn open_text(&mut self, kind: TextKind, now: Instant) {
        let chosen = match self.open {
            Some(open) => Some((open.job, open.pid)),
            None => self.chosen_row().and_then(|row| Some((row.job?, row.pid))),
        };
        match chosen {
            Some((job, pid)) => {
                self.open = Some(WantedText { kind, job, pid });
                self.scroll = 0;
            }
            None => self.say("No job is chosen.", true, now),
        }
    }

    /// The jobs that an action is for: the marked ones, else the open one, else the chosen one.
    pub(super) fn chosen_jobs(&self) -> Vec<JobId> {
        if !self.marked.is_empty() {
            return self.marked.iter().copied().collect();
        }
        let open = self.open.map(|open| open.job);
        open.or_else(|| self.chosen_row()?.job).into_iter().collect()
    }

    /// Asks before an action.
    pub(super) fn ask(&mut self, order: Order, now: Instant) {
        if self.settings.read_only {
            let why = if self.settings.is_remote { "A view of another machine" } else { "This view" };
            return self.say(format!("{why} is read-only."), true, now);
        }
        let is_empty = matches!(&order, Order::Retry(ids) | Order::Remove(ids) if ids.is_empty());
        if is_empty || self.channel.is_empty() {
            return self.say("No job is chosen.", true, now);
        }
        self.question = Some(Action { channel: self.channel.clone(), order });
    }

    /// The answer to the question.
    pub(super) fn confirm(&mut self, now: Instant) -> Option<Effect> {
        let action = self.question.take()?;
        self.marked.clear();
        if action.is_held() {
            // The action before is not undone any more.
            let before = self.held.replace((action, now + HOLD));
            return before.map(|(action, _)| Effect::Act(action));
        }
        self.say(format!("{action} …"), false, now);
        Some(Effect::Act(action))
    }

    pub(super) fn undo(&mut self, now: Instant) {
        match self.held.take() {
            Some((action, _)) => self.say(format!("Undone: {action}"), false, now),
            None => self.say("Nothing to undo.", true, now),
        }
    }

    /// The target at a place of the last frame.
    pub(super) fn target(&self, column: u16, row: u16) -> Option<Target> {
        let at = Position { x: column, y: row };
        // A later place lies above an earlier one.
        self.places.iter().rev().find(|(area, _)| area.contains(at)).map(|(_, target)| target.clone())
    }

    /// Jumps to a list, a job or a channel.
    pub(super) fn jump(&mut self, text: &str, now: Instant) {
        let text = text.trim();
        let wanted = text.to_lowercase();
        if let Some(pane) = Pane::ALL.into_iter().find(|pane| pane.title().to_lowercase() == wanted) {
            return self.choose_pane(pane);
        }
        if let Ok(job) = text.parse() {
            self.open = Some(WantedText { kind: TextKind::Details, job, pid: None });
            self.scroll = 0;
            return;
        }
        let names = || self.reading.iter().flat_map(|reading| &reading.channels).map(|channel| &channel.name);
        let found = names().find(|name| *name == text).or_else(|| names().find(|name| name.contains(text)));
        match found.cloned().filter(|_| !text.is_empty()) {
            Some(name) => self.choose_channel(name),
            None => self.say(format!("Nothing is called \"{text}\"."), true, now),
        }
    }
}
