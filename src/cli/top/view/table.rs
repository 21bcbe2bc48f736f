//! Draws a table: a head, and the rows around the chosen one.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::Palette;
use crate::cli::sanitize;
use crate::cli::top::rows::{Cell, Column, Row, Table};

/// Least columns of a column that takes a share of the rest.
const MIN_SHARE: u16 = 8;

/// The places of what was drawn.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// The heads, each with the number of its column.
    pub(super) heads: Vec<(Rect, usize)>,
    /// The rows, each with its number.
    pub(super) rows: Vec<(Rect, usize)>,
}

/// The shown columns, each with its number and its width.
fn layout(columns: &[Column], width: u16) -> Vec<(usize, &Column, u16)> {
    let shown: Vec<_> = columns.iter().enumerate().filter(|(_, column)| column.from <= width).collect();
    let gaps = u16::try_from(shown.len()).unwrap_or(u16::MAX);
    let fixed: u16 = shown.iter().map(|(_, column)| column.width).sum();
    let shares = u16::try_from(shown.iter().filter(|(_, column)| column.width == 0).count()).unwrap_or(0);
    let rest = width.saturating_sub(fixed + gaps);
    let share = rest.checked_div(shares).map_or(0, |share| share.max(MIN_SHARE));
    shown
        .into_iter()
        .map(|(n, column)| (n, column, if column.width == 0 { share } else { column.width }))
        .collect()
}

/// Draws a table into an area.
pub(super) fn draw(
    table: &Table,
    chosen: Option<usize>,
    area: Rect,
    buffer: &mut Buffer,
    palette: Palette,
) -> Drawn {
    let mut drawn = Drawn::default();
    if area.height == 0 || area.width < 2 {
        return drawn;
    }
    let columns = layout(&table.columns, area.width);
    let mut x = area.x + 1;
    for (n, column, width) in &columns {
        let width = (*width).min(area.right().saturating_sub(x));
        let head = Cell::head(column.title);
        put(&head, column.is_number, x, area.y, width, buffer, palette.of(head.tone));
        drawn.heads.push((Rect { x, y: area.y, width, height: 1 }, *n));
        x = x.saturating_add(width + 1);
        if x >= area.right() {
            break;
        }
    }
    let height = usize::from(area.height - 1);
    let first = chosen.map_or(0, |chosen| (chosen + 1).saturating_sub(height));
    for (line, (n, row)) in table.rows.iter().enumerate().skip(first).take(height).enumerate() {
        let y = area.y + 1 + u16::try_from(line).unwrap_or(0);
        let place = Rect { x: area.x, y, width: area.width, height: 1 };
        draw_row(row, &columns, place, buffer, palette);
        if chosen == Some(n) {
            buffer.set_string(area.x, y, ">", Style::new());
            buffer.set_style(place, Style::new().add_modifier(Modifier::REVERSED));
        }
        drawn.rows.push((place, n));
    }
    drawn
}

fn draw_row(
    row: &Row,
    columns: &[(usize, &Column, u16)],
    place: Rect,
    buffer: &mut Buffer,
    palette: Palette,
) {
    let mut x = place.x + 1;
    for (n, column, width) in columns {
        let width = (*width).min(place.right().saturating_sub(x));
        if let Some(cell) = row.cells.get(*n).filter(|_| width > 0) {
            put(cell, column.is_number, x, place.y, width, buffer, palette.of(cell.tone));
        }
        x = x.saturating_add(width + 1);
    }
}

/// Puts a cell, cut to its width.
fn put(cell: &Cell, is_number: bool, x: u16, y: u16, width: u16, buffer: &mut Buffer, style: Style) {
    let text = sanitize::truncated(&cell.text, usize::from(width));
    let taken = u16::try_from(console::measure_text_width(&text)).unwrap_or(u16::MAX);
    let indent = if is_number { width.saturating_sub(taken) } else { 0 };
    buffer.set_stringn(x + indent, y, text, usize::from(width), style);
}
