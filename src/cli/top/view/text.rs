//! A frame as plain text, for `--once` and for tests.

use ratatui::buffer::Buffer;

/// The signs of a frame, without colours and without spaces at the ends of lines.
pub(in crate::cli::top) fn plain_text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width.max(1));
    let mut text = String::new();
    for row in buffer.content.chunks(width) {
        let mut line = String::new();
        // A wide sign takes the cell behind it, too.
        let mut covered = 0;
        for cell in row {
            if covered > 0 {
                covered -= 1;
                continue;
            }
            line.push_str(cell.symbol());
            covered = console::measure_text_width(cell.symbol()).saturating_sub(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
