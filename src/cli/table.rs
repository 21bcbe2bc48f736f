//! Tables with box-drawing borders that fit the terminal.

use super::text_width::{columns, wrapped_line};

/// Fewest columns of a text that breaks into lines: those of an id.
const MIN_TEXT_COLUMNS: usize = 16;
/// Columns between two cells: spaces and a border.
const BETWEEN: usize = 3;
/// Columns of the outer borders with their spaces.
const OUTER: usize = 4;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    name: &'static str,
    kind: ColumnKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ColumnKind {
    /// Ids, counts and times: its cells never break.
    Fixed,
    /// Text that breaks into lines.
    Text,
    /// Text that moves below its row if fewer columns than these are left beside the other cells.
    Remark(usize),
}

impl Column {
    /// A column whose cells never break, such as ids, counts and times.
    pub(super) const fn fixed(name: &'static str) -> Self {
        Self { name, kind: ColumnKind::Fixed }
    }

    /// A column of text that breaks into lines on a narrow terminal.
    pub(super) const fn text(name: &'static str) -> Self {
        Self { name, kind: ColumnKind::Text }
    }

    /// A column of text that moves below its row if it would get fewer columns than `least`.
    pub(super) const fn remark(name: &'static str, least: usize) -> Self {
        Self { name, kind: ColumnKind::Remark(least) }
    }
}

/// The shape of a table for a width.
#[derive(Debug, PartialEq)]
enum Layout {
    /// One grid; each entry is the position of a column and its width. The other columns are below each row.
    Grid(Vec<(usize, usize)>),
    /// No grid: the cells of a row with their names.
    Records,
}

/// Renders a table as text that ends with a line break. The text of the rows must be sanitised. `width` is that of the terminal;
/// without one nothing breaks. No text is cut.
pub(super) fn render(
    header: &[Column],
    rows: impl IntoIterator<Item = Vec<String>>,
    width: Option<usize>,
) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    match layout(header, &rows, width) {
        Layout::Grid(widths) => grid(header, &rows, &widths),
        Layout::Records => rows.iter().map(|row| record(header, row, width.unwrap_or(usize::MAX))).collect(),
    }
}

fn layout(header: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Layout {
    let cells =
        |n: usize| rows.iter().filter_map(move |row| row.get(n)).map(|cell| columns(cell)).max().unwrap_or(0);
    let whole: Vec<_> =
        header.iter().enumerate().map(|(n, column)| (n, cells(n).max(columns(column.name)))).collect();
    let Some(width) = width else { return Layout::Grid(whole) };
    let least = |n: usize| {
        let name = header[n].name.split(' ').map(columns).max().unwrap_or(0);
        match header[n].kind {
            ColumnKind::Fixed => cells(n).max(name),
            ColumnKind::Text => whole[n].1.min(MIN_TEXT_COLUMNS).max(name),
            ColumnKind::Remark(least) => whole[n].1.min(least).max(name),
        }
    };
    let beside = |n: &usize| !matches!(header[*n].kind, ColumnKind::Remark(_));
    let attempts = [(0..header.len()).collect::<Vec<_>>(), (0..header.len()).filter(beside).collect()];
    for shown in attempts {
        let room = width.saturating_sub(OUTER + BETWEEN * (shown.len().saturating_sub(1)));
        let mut widths: Vec<_> = shown.iter().map(|n| (*n, least(*n))).collect();
        let Some(mut spare) = room.checked_sub(widths.iter().map(|(_, width)| width).sum()) else { continue };
        // The narrowest column that breaks grows first.
        while spare > 0 {
            let growing = widths.iter_mut().filter(|(n, width)| *width < whole[*n].1);
            let Some((_, narrowest)) = growing.min_by_key(|(_, width)| *width) else { break };
            *narrowest += 1;
            spare -= 1;
        }
        return Layout::Grid(widths);
    }
    Layout::Records
}

fn grid(header: &[Column], rows: &[Vec<String>], widths: &[(usize, usize)]) -> String {
    let border = |left: char, between: char, right: char| {
        let lines: Vec<_> = widths.iter().map(|(_, width)| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", lines.join(&between.to_string()))
    };
    let names: Vec<_> = header.iter().map(|column| column.name.to_owned()).collect();
    let mut shown = border('┌', '┬', '┐') + &cell_lines(&names, widths) + &border('├', '┼', '┤');
    let inner = widths.iter().map(|(_, width)| width + BETWEEN).sum::<usize>().saturating_sub(BETWEEN);
    for row in rows {
        shown.push_str(&cell_lines(row, widths));
        let below = header.iter().zip(row).enumerate();
        for (_, (column, text)) in below.filter(|(n, _)| !widths.iter().any(|(beside, _)| beside == n)) {
            if !text.is_empty() {
                let remark = format!("  {}: {text}", column.name);
                for line in wrapped_line(&remark, inner) {
                    shown.push_str(&format!("│ {} │\n", padded(&line, inner)));
                }
            }
        }
    }
    shown + &border('└', '┴', '┘')
}

/// The lines of a row.
fn cell_lines(row: &[String], widths: &[(usize, usize)]) -> String {
    let cells: Vec<_> = widths
        .iter()
        .map(|(n, width)| wrapped_line(row.get(*n).map_or("", String::as_str), *width))
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let line = |n: usize| {
        let cells: Vec<_> = cells
            .iter()
            .zip(widths)
            .map(|(lines, (_, width))| padded(lines.get(n).map_or("", String::as_str), *width))
            .collect();
        format!("│ {} │\n", cells.join(" │ "))
    };
    (0..height).map(line).collect()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// A row without a grid: its cells with their names, as many in a line as fit.
fn record(header: &[Column], row: &[String], width: usize) -> String {
    const INDENT: &str = "  ";
    let (mut shown, mut open) = (String::new(), String::new());
    for (column, cell) in header.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
        let cell = format!("{}: {cell}", column.name);
        if !open.is_empty() && columns(&open) + INDENT.len() + columns(&cell) > width {
            shown.push_str(&format!("{open}\n"));
            open.clear();
        }
        let is_first = shown.is_empty() && open.is_empty();
        let lines = wrapped_line(&format!("{}{cell}", if is_first { "" } else { INDENT }), width);
        let (last, before) = lines.split_last().expect("a cell has a line");
        before.iter().for_each(|line| shown.push_str(&format!("{line}\n")));
        open.push_str(last);
    }
    shown + &open + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [Column; 4] =
        [Column::fixed("pid"), Column::text("job"), Column::fixed("state"), Column::remark("why", 20)];

    fn rows() -> Vec<Vec<String>> {
        [
            ["4711", "1795282229498945 send_email", "busy", "replaces 4710: first of generation 229"],
            ["12", "", "booting", ""],
        ]
        .map(|row| row.map(str::to_owned).to_vec())
        .to_vec()
    }

    #[test]
    fn table_without_width_breaks_nothing() {
        insta::assert_snapshot!(render(&HEADER, rows(), None), @r"
        ┌──────┬─────────────────────────────┬─────────┬────────────────────────────────────────┐
        │ pid  │ job                         │ state   │ why                                    │
        ├──────┼─────────────────────────────┼─────────┼────────────────────────────────────────┤
        │ 4711 │ 1795282229498945 send_email │ busy    │ replaces 4710: first of generation 229 │
        │ 12   │                             │ booting │                                        │
        └──────┴─────────────────────────────┴─────────┴────────────────────────────────────────┘
        ");
    }

    #[test]
    fn text_wraps_between_words() {
        insta::assert_snapshot!(render(&HEADER, rows(), Some(65)), @r"
        ┌──────┬───────────────────────┬─────────┬──────────────────────┐
        │ pid  │ job                   │ state   │ why                  │
        ├──────┼───────────────────────┼─────────┼──────────────────────┤
        │ 4711 │ 1795282229498945      │ busy    │ replaces 4710: first │
        │      │ send_email            │         │ of generation 229    │
        │ 12   │                       │ booting │                      │
        └──────┴───────────────────────┴─────────┴──────────────────────┘
        ");
    }

    #[test]
    fn remark_moves_below_its_row() {
        insta::assert_snapshot!(render(&HEADER, rows(), Some(48)), @r"
        ┌──────┬─────────────────────────────┬─────────┐
        │ pid  │ job                         │ state   │
        ├──────┼─────────────────────────────┼─────────┤
        │ 4711 │ 1795282229498945 send_email │ busy    │
        │   why: replaces 4710: first of generation    │
        │   229                                        │
        │ 12   │                             │ booting │
        └──────┴─────────────────────────────┴─────────┘
        ");
    }

    #[test]
    fn row_without_room_for_a_grid_lists_its_cells() {
        insta::assert_snapshot!(render(&HEADER, rows(), Some(36)), @r"
        pid: 4711
          job: 1795282229498945 send_email
          state: busy
          why: replaces 4710: first of
          generation 229
        pid: 12  state: booting
        ");
    }

    #[test]
    fn no_table_is_wider_than_the_terminal() {
        let name = "任务".repeat(50);
        let nasty = [
            vec![
                "1234567".to_owned(),
                format!("1795282229498945 {name}"),
                "draining".to_owned(),
                name.clone(),
            ],
            vec!["1".to_owned(), "x".repeat(100), "busy".to_owned(), "word ".repeat(100).trim().to_owned()],
        ];
        for width in 24..200 {
            let shown = render(&HEADER, nasty.clone(), Some(width));
            for line in shown.lines() {
                assert!(columns(line) <= width, "{width}: {line}");
            }
            assert!(shown.contains("1795282229498945"), "{shown}");
        }
    }
}
