//! A frame for terminals without Unicode: each sign of a frame becomes one of ASCII.

use ratatui::buffer::Buffer;

/// The first sign of braille; its dots are the bits of the distance from it.
const BRAILLE: u32 = 0x2800;

/// Replaces every sign that is not ASCII.
pub(super) fn translate(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let mut signs = cell.symbol().chars();
        let (Some(sign), rest) = (signs.next(), signs.next()) else { continue };
        if !sign.is_ascii() || rest.is_some() {
            cell.set_char(plain(sign));
        }
    }
}

fn plain(sign: char) -> char {
    match sign {
        c if c.is_ascii() => c,
        '─' | '━' | '–' | '…' => '-',
        '│' | '▏' | '‖' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┤' => '+',
        '●' | '✓' => '*',
        '○' => 'o',
        '✕' => 'x',
        '⚠' => '!',
        '⏻' => '~',
        '·' => '.',
        '⏎' => '>',
        '⎋' => '<',
        '↑' => '^',
        '↓' => 'v',
        '←' => '<',
        '→' => '>',
        'µ' => 'u',
        '▁' | '▂' => '_',
        '▃' | '▄' => '-',
        '▅' | '▆' => '=',
        '▇' | '█' => '#',
        '\u{2800}'..='\u{28ff}' => match (u32::from(sign) - BRAILLE).count_ones() {
            0 => ' ',
            1..=2 => '.',
            3..=5 => ':',
            _ => '#',
        },
        _ => '?',
    }
}
