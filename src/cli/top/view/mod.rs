//! The frame of `queue:top`: a pure picture of the state.
//!
//! ```text
//! head: source, pace, time, alerts
//! channels: at most six rows, the chosen one marked
//! why: the sentence of queue:why about it
//! charts: waiting, in and out, workers        (from 24 rows)
//! list: tabs, rows             │ open text    (beside the list from 160 columns)
//! foot: keys, or a question, or a line that is typed, or a message
//! ```
//! Below 80 columns or 16 rows the channels have one row, and the list has the rest.

mod ascii;
mod charts;
mod overlay;
mod table;
mod text;

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Widget};

use super::reading::Pane;
use super::rows::{self, Table, Tone};
use super::state::{Prompt, State, Target};
use crate::cli::{render, sanitize};

pub(super) use text::plain_text;

/// Size below which the frame has the list alone.
const SMALL: (u16, u16) = (80, 16);
/// Rows from which on there are charts.
const CHART_ROWS: u16 = 24;
/// Columns from which on an open text is beside the list.
const WIDE: u16 = 160;
/// Most rows of channels.
const MAX_CHANNELS: u16 = 6;
/// Age of counts that is worth saying.
const STALE_SECONDS: f64 = 8.0;

/// The places that a click may mean.
type Places = Vec<(Rect, Target)>;

/// Colours of the terminal, if it is to have any.
#[derive(Clone, Copy)]
struct Palette {
    colours: bool,
}

impl Palette {
    fn of(self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Plain => return Style::new(),
            Tone::Faint if !self.colours => return Style::new(),
            Tone::Good => Color::Green,
            Tone::Warning => Color::Yellow,
            Tone::Bad => Color::Red,
            Tone::Faint => Color::DarkGray,
        };
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn accent(self) -> Style {
        if self.colours { Style::new().fg(Color::Cyan) } else { Style::new() }
    }
}

/// Draws the state, and returns the places that a click may mean.
pub(super) fn draw(state: &State, buffer: &mut Buffer, now: Instant) -> Places {
    let area = buffer.area;
    let mut places = Vec::new();
    if area.width == 0 || area.height == 0 {
        return places;
    }
    let palette = Palette { colours: state.settings.colours };
    let is_small = area.width < SMALL.0 || area.height < SMALL.1;
    let shown = u16::try_from(state.channels().len()).unwrap_or(u16::MAX).clamp(1, MAX_CHANNELS);
    let channel_rows = if is_small { 1 } else { shown + 3 };
    let chart_rows = if is_small || area.height < CHART_ROWS { 0 } else { 5 };
    let rows = [1, channel_rows, u16::from(!is_small), chart_rows].map(Constraint::Length);
    let [head, channels, why, charts] = rows;
    let areas = Layout::vertical([head, channels, why, charts, Constraint::Min(3), Constraint::Length(1)]);
    let [head, channels, why, charts, list, foot] = areas.areas(area);
    draw_head(state, head, buffer, palette);
    if is_small {
        draw_channel_line(state, channels, buffer, palette);
    } else {
        draw_channels(state, channels, buffer, palette, &mut places);
        draw_why(state, why, buffer, palette);
    }
    if charts.height > 0 {
        charts::draw(state, charts, buffer, palette);
    }
    match (state.open.is_some(), area.width >= WIDE) {
        (true, true) => {
            let [list, beside] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(list);
            draw_list(state, list, buffer, palette, &mut places);
            overlay::draw_text(state, beside, buffer, palette);
        }
        (true, false) => overlay::draw_text(state, list, buffer, palette),
        (false, _) => draw_list(state, list, buffer, palette, &mut places),
    }
    draw_foot(state, foot, buffer, palette, now, &mut places);
    if state.help {
        overlay::draw_help(area, buffer, palette);
        places.clear();
    }
    if state.settings.ascii {
        ascii::translate(buffer);
    }
    places
}

fn draw_head(state: &State, area: Rect, buffer: &mut Buffer, palette: Palette) {
    let Some(reading) = &state.reading else {
        Line::from(" aint-queue top   reading …").render(area, buffer);
        return;
    };
    let pace = match (state.frozen, &reading.error) {
        (_, Some(_)) => Span::styled("✕ stale", palette.of(Tone::Bad)),
        (true, _) => Span::styled("‖ frozen", palette.of(Tone::Warning)),
        _ => Span::styled(format!("● {} s", state.period_ms() / 1000), palette.of(Tone::Good)),
    };
    let alerts = reading.channels.iter().map(|channel| channel.alerts.len()).sum::<usize>();
    let alerts = match alerts {
        0 => Span::raw("no alerts"),
        1 => Span::styled("1 alert", palette.of(Tone::Bad)),
        n => Span::styled(format!("{n} alerts"), palette.of(Tone::Bad)),
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let left = vec![
        Span::styled(" aint-queue top", bold),
        Span::raw(format!("  {}", sanitize::line(&reading.source))),
        Span::raw(if state.settings.read_only { "  read-only" } else { "" }),
        Span::raw(if state.only_trouble { "  only troubles" } else { "" }),
    ];
    let right = vec![
        pace,
        Span::raw("  "),
        Span::raw(reading.clock.clone()),
        Span::raw("  "),
        alerts,
        Span::raw(" "),
    ];
    Line::from(left).render(area, buffer);
    let right = Line::from(right);
    let width = u16::try_from(right.width()).unwrap_or(u16::MAX).min(area.width);
    right.render(Rect { x: area.right() - width, width, ..area }, buffer);
}

/// The chosen channel in one line.
fn draw_channel_line(state: &State, area: Rect, buffer: &mut Buffer, palette: Palette) {
    let channel = state.reading.as_ref().and_then(|reading| reading.channel(&state.channel));
    let Some(channel) = channel else { return };
    let counts = channel.counts.unwrap_or_default();
    let line = Line::from(vec![
        Span::raw(format!(" {}  ", sanitize::line(&channel.name))),
        Span::styled(channel.state.shown(), palette.of(rows::tone(channel.state))),
        Span::raw(format!(
            "  waiting {}  running {}  failed {}",
            counts.waiting, counts.reserved, counts.failed
        )),
    ]);
    line.render(area, buffer);
}

fn draw_channels(state: &State, area: Rect, buffer: &mut Buffer, palette: Palette, places: &mut Places) {
    let shown = state.channels();
    let title = match state.reading.as_ref().map_or(0, |reading| reading.channels.len()) {
        all if all != shown.len() => format!(" CHANNELS {} of {all} ", shown.len()),
        all => format!(" CHANNELS {all} "),
    };
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    block.render(area, buffer);
    let chosen = shown.iter().position(|channel| channel.name == state.channel);
    let table = rows::channels(&shown);
    for (row, n) in table::draw(&table, chosen, inner, buffer, palette).rows {
        places.push((row, Target::Channel(shown[n].name.clone())));
    }
}

/// The sentence about the chosen channel, or why the values are not of now.
fn draw_why(state: &State, area: Rect, buffer: &mut Buffer, palette: Palette) {
    let Some(reading) = &state.reading else { return };
    let chosen = reading.chosen.as_ref().filter(|chosen| chosen.channel.name == state.channel);
    let age = chosen.and_then(|chosen| chosen.channel.counts).map_or(0.0, |counts| counts.age_seconds);
    let (text, tone) = match (&reading.error, chosen) {
        (Some(error), _) => (error.clone(), Tone::Bad),
        (None, Some(_)) if age > STALE_SECONDS => (
            format!("Counts are {} old: the store does not answer.", render::duration((age * 1e3) as u64)),
            Tone::Bad,
        ),
        (None, Some(chosen)) => match &chosen.channel.store_error {
            Some(error) => (format!("Store: {error}"), Tone::Bad),
            None => (chosen.why.clone(), Tone::Plain),
        },
        (None, None) => return,
    };
    let text = sanitize::truncated(&text, usize::from(area.width.saturating_sub(2)));
    Line::from(Span::styled(format!(" {text}"), palette.of(tone))).render(area, buffer);
}

fn draw_list(state: &State, area: Rect, buffer: &mut Buffer, palette: Palette, places: &mut Places) {
    let block = Block::bordered();
    let inner = block.inner(area);
    block.render(area, buffer);
    draw_tabs(state, Rect { height: 1, ..area }, buffer, palette, places);
    let table = state.table();
    let drawn = table::draw(&marked(state, &table), Some(state.row), inner, buffer, palette);
    places.extend(drawn.heads.into_iter().map(|(area, column)| (area, Target::Column(column))));
    places.extend(drawn.rows.into_iter().map(|(area, row)| (area, Target::Row(row))));
    let note = state.reading.as_ref().filter(|_| state.is_read()).and_then(|reading| reading.chosen.as_ref());
    let note = note.map(|chosen| chosen.jobs.note.as_str()).filter(|note| !note.is_empty());
    let note = note.map(|note| sanitize::line(note).into_owned());
    let note = note.or_else(|| table.rows.is_empty().then(|| nothing(state).to_owned()));
    if table.rows.is_empty() && inner.height > 1 {
        let body = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
        Paragraph::new(note.unwrap_or_default()).render(body, buffer);
    } else if let Some(note) = note {
        let line = Line::from(format!(" {note} "));
        let below =
            Rect { x: area.x + 1, y: area.bottom() - 1, width: area.width.saturating_sub(2), height: 1 };
        line.render(below, buffer);
    }
}

/// The table with signs at the marked jobs.
fn marked(state: &State, table: &Table) -> Table {
    let mut table = table.clone();
    for row in table.rows.iter_mut().filter(|row| row.job.is_some_and(|job| state.marked.contains(&job))) {
        if let Some(first) = row.cells.first_mut() {
            first.text.insert(0, '*');
            first.tone = Tone::Warning;
        }
    }
    table
}

/// The sentence in the place of an empty list.
fn nothing(state: &State) -> &'static str {
    if !state.is_read() {
        return "reading …";
    }
    if !state.filter.is_empty() {
        return "No row matches the filter; Esc clears it.";
    }
    match state.pane {
        Pane::Workers => "No worker runs here.",
        Pane::Running => "No job runs here.",
        Pane::Failed => "No job has failed.",
        Pane::Waiting => "No job waits.",
        Pane::Delayed => "No job is delayed.",
        Pane::Scaling => "The number of workers has not changed.",
        Pane::Alerts => "No alert fires.",
        Pane::Done => "No done job is kept.",
    }
}

fn draw_tabs(state: &State, area: Rect, buffer: &mut Buffer, palette: Palette, places: &mut Places) {
    let mut x = area.x + 1;
    let end = area.right().saturating_sub(1);
    for (n, pane) in Pane::ALL.into_iter().enumerate() {
        let title = format!("{} {}", n + 1, pane.title());
        let width = u16::try_from(title.len()).unwrap_or(u16::MAX);
        // A narrow frame has the number of a list, and the name of the chosen one.
        let is_short = area.width < 78 && pane != state.pane;
        let (title, width) = if is_short { ((n + 1).to_string(), 1) } else { (title, width) };
        if x + width > end {
            return;
        }
        let style = match pane == state.pane {
            true => palette.accent().add_modifier(Modifier::BOLD | Modifier::REVERSED),
            false => Style::new(),
        };
        buffer.set_string(x, area.y, &title, style);
        places.push((Rect { x, y: area.y, width, height: 1 }, Target::Pane(pane)));
        x += width + 1;
    }
    if !state.filter.is_empty() && x + 4 < end {
        let filter = format!(" / {} ", sanitize::truncated(&state.filter, usize::from(end - x - 4)));
        buffer.set_string(x, area.y, filter, palette.of(Tone::Warning));
    }
}

/// The keys that the foot names; those of actions are absent where nothing can be done.
fn hints(state: &State) -> Vec<(char, &'static str)> {
    let mut hints = vec![('?', "keys"), ('⏎', "open")];
    if state.open.is_some() {
        hints = vec![('?', "keys"), ('⎋', "back"), ('o', "output"), ('t', "tree"), ('w', "why")];
    }
    if !state.settings.read_only {
        hints.extend([
            ('r', "retry"),
            ('x', "remove"),
            ('c', "cancel"),
            ('p', "pause"),
            ('+', "more"),
            ('-', "fewer"),
        ]);
    }
    hints.extend([('/', "filter"), ('s', "sort"), ('v', "troubles"), ('z', "freeze"), ('q', "quit")]);
    hints
}

fn draw_foot(
    state: &State,
    area: Rect,
    buffer: &mut Buffer,
    palette: Palette,
    now: Instant,
    places: &mut Places,
) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    if let Some(action) = &state.question {
        let line = Line::from(vec![
            Span::styled(format!(" {} ", sanitize::line(&action.question())), bold),
            Span::styled("[y]es", palette.of(Tone::Bad)),
            Span::raw("  "),
            Span::styled("[n]o", bold),
        ]);
        let before = u16::try_from(line.spans[0].width()).unwrap_or(u16::MAX);
        line.render(area, buffer);
        let at = |from: u16, width| Rect { x: area.x.saturating_add(before + from), width, ..area };
        places.extend([(at(0, 5), Target::Key('y')), (at(7, 4), Target::Key('n'))]);
        return;
    }
    if let Some((prompt, text)) = &state.prompt {
        let sign = if *prompt == Prompt::Filter { '/' } else { ':' };
        Line::from(format!(" {sign}{}▏", sanitize::line(text))).render(area, buffer);
        return;
    }
    if let Some((text, is_failure)) = state.message(now) {
        let tone = if is_failure { Tone::Bad } else { Tone::Good };
        let text = sanitize::truncated(&text, usize::from(area.width.saturating_sub(2)));
        Line::from(Span::styled(format!(" {text}"), palette.of(tone))).render(area, buffer);
        return;
    }
    let mut x = area.x + 1;
    for (key, meaning) in hints(state) {
        let width = u16::try_from(meaning.len() + 2).unwrap_or(u16::MAX);
        if x + width > area.right() {
            return;
        }
        buffer.set_string(x, area.y, key.to_string(), palette.accent().add_modifier(Modifier::BOLD));
        buffer.set_string(x + 2, area.y, meaning, Style::new());
        places.push((Rect { x, y: area.y, width, height: 1 }, Target::Key(key)));
        x += width + 2;
    }
}

#[cfg(test)]
mod tests;
