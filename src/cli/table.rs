//! Tables with box-drawing borders.

use comfy_table::{
    ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle, Width,
};

const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┌', '─', '┬', '┐'))
    .header_lines(ContentLineStyle::new('│', '│', '│'))
    .header_separator(LineStyle::new('├', '─', '┼', '┤'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

/// Longest cell in characters that never breaks into lines.
const MAX_UNBROKEN_CHARS: usize = 10;

/// Renders a table with a header, as text that ends with a line break. The text of the rows must be sanitised. On a narrow
/// terminal cells break between words; a single word such as an id never breaks.
pub(super) fn render(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    fit(header, rows, None)
}

/// As [`render`], for `width` columns instead of the width of the terminal.
fn fit(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, width: Option<u16>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.iter().copied())
        .add_rows(&rows);
    if let Some(width) = width {
        table.set_width(width);
    }
    for (n, column) in table.column_iter_mut().enumerate() {
        let cells = rows.iter().filter_map(|row| row.get(n));
        let least = cells.map(|cell| unbroken(cell)).chain([header[n].len()]).max().unwrap_or(0);
        let padded = u16::try_from(least).unwrap_or(u16::MAX).saturating_add(column.padding_width());
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(padded)));
    }
    format!("{table}\n")
}

/// Number of characters of a cell that stay on one line: the whole cell if it is short, such as a time with its unit, else
/// its longest word.
fn unbroken(cell: &str) -> usize {
    let all = cell.chars().count();
    if all <= MAX_UNBROKEN_CHARS {
        all
    } else {
        cell.split(' ').map(|word| word.chars().count()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_text_wraps_between_words() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [
            row(["1795282229498945 note", "busy 4 ms", "first of generation 229"]),
            row(["", "booting", "min"]),
        ];
        let narrow = fit(&["job", "state", "why"], rows.clone(), Some(46));
        insta::assert_snapshot!(narrow, @r"
        ┌──────────────────┬───────────┬────────────┐
        │ job              │ state     │ why        │
        ├──────────────────┼───────────┼────────────┤
        │ 1795282229498945 │ busy 4 ms │ first of   │
        │ note             │           │ generation │
        │                  │           │ 229        │
        │                  │ booting   │ min        │
        └──────────────────┴───────────┴────────────┘
        ");
        // On an even narrower terminal no text is cut off.
        assert_eq!(fit(&["job", "state", "why"], rows, Some(20)), narrow);
    }
}
