//! Tables with box-drawing borders that fit the terminal.

use comfy_table::{
    ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle, Width,
};
use console::measure_text_width;
use textwrap::core::Word;
use textwrap::wrap_algorithms::wrap_first_fit;

use super::wrap::wrapped;

/// Fewest columns of a text that breaks into lines: those of an id.
const MIN_TEXT_COLUMNS: usize = 16;
/// Columns between two cells: spaces and a border.
const BETWEEN: usize = 3;
/// Columns of the outer borders with their spaces.
const OUTER: usize = 4;
/// Spaces around a remark below its row.
const REMARK_PADDING: (u16, u16) = (3, 1);
/// Before the lines of a record but the first, and between its cells.
const RECORD_INDENT: &str = "  ";

const ROWS: ContentLineStyle = ContentLineStyle::new('│', '│', '│');
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┌', '─', '┬', '┐'))
    .header_lines(ROWS)
    .header_separator(LineStyle::new('├', '─', '┼', '┤'))
    .content_lines(ROWS)
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

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

    fn is_remark(&self) -> bool {
        matches!(self.kind, ColumnKind::Remark(_))
    }
}

/// The shape of a table for a width.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// A grid with all columns.
    Grid,
    /// A grid with the remarks of each row below the row.
    RemarksBelow,
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
    let Some(width) = width else { return format!("{}\n", table(header, &rows)) };
    match layout(header, &rows, width) {
        Layout::Grid => format!("{}\n", fitted(header, &rows, width)),
        Layout::RemarksBelow => with_remarks_below(header, &rows, width),
        Layout::Records => rows.iter().map(|row| record(header, row, width)).collect(),
    }
}

/// The first shape of a table whose columns have room.
fn layout(header: &[Column], rows: &[Vec<String>], width: usize) -> Layout {
    let least = |(n, column)| least_columns(column, n, rows);
    let fits = |columns: &[usize]| {
        OUTER + BETWEEN * columns.len().saturating_sub(1) + columns.iter().sum::<usize>() <= width
    };
    let all: Vec<_> = header.iter().enumerate().map(least).collect();
    let beside: Vec<_> =
        header.iter().enumerate().filter(|(_, column)| !column.is_remark()).map(least).collect();
    if fits(&all) {
        Layout::Grid
    } else if fits(&beside) {
        Layout::RemarksBelow
    } else {
        Layout::Records
    }
}

/// Fewest columns that the cells of the column at `n` need in a grid.
fn least_columns(column: &Column, n: usize, rows: &[Vec<String>]) -> usize {
    let longest = rows.iter().filter_map(|row| row.get(n)).map(|cell| measure_text_width(cell)).max();
    let longest = longest.unwrap_or(0);
    let least = match column.kind {
        ColumnKind::Fixed => longest,
        ColumnKind::Text => longest.min(MIN_TEXT_COLUMNS),
        ColumnKind::Remark(least) => longest.min(least),
    };
    column.name.split(' ').map(measure_text_width).fold(least, usize::max)
}

/// A table whose cells never break.
fn table(header: &[Column], rows: &[Vec<String>]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.iter().map(|column| column.name)).add_rows(rows);
    table
}

/// A table of at most `width` columns.
fn fitted(header: &[Column], rows: &[Vec<String>], width: usize) -> Table {
    let mut table = table(header, rows);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(terminal_columns(width));
    for (n, column) in header.iter().enumerate().filter(|(_, column)| column.kind == ColumnKind::Fixed) {
        let shown = table.column_mut(n).expect("each name has a column");
        let least = terminal_columns(least_columns(column, n, rows)).saturating_add(shown.padding_width());
        shown.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
    table
}

/// A table of at most `width` columns that shows remarks below their row, in lines without inner borders.
fn with_remarks_below(header: &[Column], rows: &[Vec<String>], width: usize) -> String {
    /// Begins the line between two rows, which the remarks replace.
    const ROW_END: char = '\0';
    /// Begins the line below the last row.
    const TABLE_END: char = '└';
    let mut table = fitted(header, rows, width);
    table.load_style(STYLE.row_separator(LineStyle::none().left(ROW_END)));
    for (column, shown) in header.iter().zip(table.column_iter_mut()) {
        if column.is_remark() {
            shown.set_constraint(ColumnConstraint::Hidden);
        }
    }
    let (mut rows, mut shown) = (rows.iter(), String::new());
    for line in table.lines() {
        if line.starts_with([ROW_END, TABLE_END]) {
            let row = rows.next().map_or(&[][..], Vec::as_slice);
            shown.push_str(&remarks(header, row, measure_text_width(&line)));
        }
        if !line.starts_with(ROW_END) {
            shown.push_str(&format!("{line}\n"));
        }
    }
    shown
}

/// The remarks of a row, in lines of `width` columns.
fn remarks(header: &[Column], row: &[String], width: usize) -> String {
    let remarks = header.iter().zip(row).filter(|(column, text)| column.is_remark() && !text.is_empty());
    let mut table = Table::new();
    table.load_style(TableStyle::new().content_lines(ROWS));
    table.add_rows(remarks.map(|(column, text)| [format!("{}: {text}", column.name)]));
    let Some(column) = table.column_mut(0) else { return String::new() };
    let between_borders = terminal_columns(width).saturating_sub(2);
    column
        .set_padding(REMARK_PADDING)
        .set_constraint(ColumnConstraint::Absolute(Width::Fixed(between_borders)));
    format!("{table}\n")
}

/// A row without a grid: its cells with their names, as many in a line as fit.
fn record(header: &[Column], row: &[String], width: usize) -> String {
    let cells = header.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
    let cells: Vec<_> =
        cells.map(|(column, cell)| format!("{}: {cell}{RECORD_INDENT}", column.name)).collect();
    let cells: Vec<_> = cells.iter().map(|cell| Word::from(cell)).collect();
    let widths = [width, width.saturating_sub(RECORD_INDENT.len())].map(|width| width as f64);
    let lines = wrap_first_fit(&cells, &widths).into_iter().enumerate().map(|(n, cells)| {
        let line: String = cells.iter().flat_map(|cell| [cell.word, cell.whitespace]).collect();
        let indent = if n == 0 { "" } else { RECORD_INDENT };
        format!("{}\n", wrapped(&format!("{indent}{}", line.trim_end()), width))
    });
    lines.collect()
}

/// Columns as comfy-table counts them.
fn terminal_columns(columns: usize) -> u16 {
    u16::try_from(columns).unwrap_or(u16::MAX)
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
        ┌──────┬──────────────────┬─────────┬───────────────────────────┐
        │ pid  │ job              │ state   │ why                       │
        ├──────┼──────────────────┼─────────┼───────────────────────────┤
        │ 4711 │ 1795282229498945 │ busy    │ replaces 4710: first of   │
        │      │ send_email       │         │ generation 229            │
        │ 12   │                  │ booting │                           │
        └──────┴──────────────────┴─────────┴───────────────────────────┘
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
            vec![
                "1".to_owned(),
                "x".repeat(100),
                "busy".to_owned(),
                "⚠️ word ".repeat(100).trim().to_owned(),
            ],
        ];
        for width in 24..200 {
            let shown = render(&HEADER, nasty.clone(), Some(width));
            for line in shown.lines() {
                assert!(measure_text_width(line) <= width, "{width}: {line}");
            }
            for unbroken in ["1795282229498945", "1234567", "draining"] {
                assert!(shown.contains(unbroken), "{shown}");
            }
        }
    }

    #[test]
    fn names_break_before_cells_do() {
        let header = [Column::fixed("id"), Column::remark("job", 12), Column::fixed("pushed, due or failed")];
        let row = ["1795282229498945", "send_the_newsletter_to_everyone", "2026-11-30 09:31"];
        let rows = [row.map(str::to_owned).to_vec()];
        for width in 40..100 {
            let shown = render(&header, rows.clone(), Some(width));
            assert!(shown.lines().all(|line| measure_text_width(line) <= width), "{width}: {shown}");
            assert!(shown.contains(row[0]) && shown.contains(row[2]), "{width}: {shown}");
        }
        insta::assert_snapshot!(render(&header, rows.clone(), Some(70)), @r"
        ┌──────────────────┬─────────────────────────┬───────────────────────┐
        │ id               │ job                     │ pushed, due or failed │
        ├──────────────────┼─────────────────────────┼───────────────────────┤
        │ 1795282229498945 │ send_the_newsletter_to_ │ 2026-11-30 09:31      │
        │                  │ everyone                │                       │
        └──────────────────┴─────────────────────────┴───────────────────────┘
        ");
        insta::assert_snapshot!(render(&header, rows, Some(40)), @r"
        ┌──────────────────┬──────────────────┐
        │ id               │ pushed, due or   │
        │                  │ failed           │
        ├──────────────────┼──────────────────┤
        │ 1795282229498945 │ 2026-11-30 09:31 │
        │   job:                              │
        │   send_the_newsletter_to_everyone   │
        └──────────────────┴──────────────────┘
        ");
    }
}
