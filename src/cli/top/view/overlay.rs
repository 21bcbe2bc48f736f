//! The open text about a job, and the help.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Widget};

use super::Palette;
use crate::cli::top::keys::KEYS;
use crate::cli::top::reading::TextKind;
use crate::cli::top::state::State;
use crate::cli::{sanitize, wrap};

/// Columns of a key in the help.
const KEY_COLUMNS: usize = 11;
/// Columns of one of the two halves of the help.
const HALF: usize = 38;

/// Draws the open text with its scroll position.
pub(super) fn draw_text(state: &State, area: Rect, buffer: &mut Buffer, palette: Palette) {
    let Some(open) = &state.open else { return };
    let kind = match open.kind {
        TextKind::Details => "details",
        TextKind::Output => "output",
        TextKind::Processes => "processes",
        TextKind::Why => "why",
    };
    let title = format!(" {} · {kind} ", open.job);
    let block = Block::bordered().title(Line::from(title).style(palette.accent()));
    let inner = block.inner(area);
    block.render(area, buffer);
    let Some(text) = state.text() else {
        Line::from(" reading …").render(inner, buffer);
        return;
    };
    let width = usize::from(inner.width.saturating_sub(1)).max(1);
    let lines: Vec<_> = text
        .lines
        .iter()
        .flat_map(|line| {
            let line = wrap::wrapped(&sanitize::line(&line.replace('\t', "    ")), width);
            line.lines().map(|line| Line::from(format!(" {line}"))).collect::<Vec<_>>()
        })
        .collect();
    let last = lines.len().saturating_sub(usize::from(inner.height));
    let first = state.scroll.min(last);
    Paragraph::new(lines[first..].to_vec()).render(inner, buffer);
    if last > 0 {
        let position = format!(
            " {}–{} of {} ",
            first + 1,
            (first + usize::from(inner.height)).min(lines.len()),
            lines.len()
        );
        buffer.set_stringn(area.x + 1, area.bottom() - 1, position, width, palette.accent());
    }
}

/// Draws the keys over the frame, in two halves.
pub(super) fn draw_help(area: Rect, buffer: &mut Buffer, palette: Palette) {
    let half = KEYS.len().div_ceil(2);
    let is_wide = usize::from(area.width) >= 2 * HALF + 4;
    let shown = |(keys, meaning): &(&str, &str)| format!("{keys:<KEY_COLUMNS$} {meaning}");
    let lines: Vec<String> = match is_wide {
        true => (0..half)
            .map(|n| {
                let right = KEYS.get(n + half).map(shown).unwrap_or_default();
                format!(" {:<HALF$}{right}", shown(&KEYS[n]))
            })
            .collect(),
        false => KEYS.iter().map(|key| format!(" {}", shown(key))).collect(),
    };
    let columns = if is_wide { 2 * HALF + 4 } else { HALF + 2 };
    let width = u16::try_from(columns).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    let title = Line::from(" keys · any key closes ").style(palette.accent().add_modifier(Modifier::BOLD));
    let block = Block::bordered().title(title);
    let lines: Vec<_> = lines.into_iter().map(Line::from).collect();
    Paragraph::new(lines).block(block).render(place, buffer);
}
