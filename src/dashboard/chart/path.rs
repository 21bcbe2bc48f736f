//! Path data of SVG in tenths of a unit, with short relative steps.

use std::fmt::Write as _;

/// Writes the `d` of a path. Coordinates are tenths, so rounding does not add up along the path.
#[derive(Debug, Default)]
pub(crate) struct PathWriter {
    data: String,
    x: i32,
    y: i32,
    command: char,
}

impl PathWriter {
    /// Begins a new part at a point.
    pub(crate) fn move_to(&mut self, (x, y): (i32, i32)) {
        self.command = ' ';
        self.number('M', x);
        self.number('M', y);
        (self.x, self.y) = (x, y);
    }

    /// A straight line to a point.
    pub(crate) fn line_to(&mut self, (x, y): (i32, i32)) {
        self.number('l', x - self.x);
        self.number('l', y - self.y);
        (self.x, self.y) = (x, y);
    }

    /// A horizontal line.
    pub(crate) fn across_to(&mut self, x: i32) {
        self.number('h', x - self.x);
        self.x = x;
    }

    /// A vertical line.
    pub(crate) fn up_to(&mut self, y: i32) {
        self.number('v', y - self.y);
        self.y = y;
    }

    /// Closes the part. The next call must be [`PathWriter::move_to`].
    pub(crate) fn close(&mut self) {
        self.data.push('z');
        self.command = 'z';
    }

    /// The path data.
    pub(crate) fn finish(self) -> String {
        self.data
    }

    /// Appends a number with its command, or with a separator when the command is still the same.
    fn number(&mut self, command: char, tenths: i32) {
        if self.command != command {
            self.data.push(command);
            self.command = command;
        } else if tenths >= 0 {
            self.data.push(' ');
        }
        push_tenths(&mut self.data, tenths);
    }
}

fn push_tenths(data: &mut String, tenths: i32) {
    if tenths < 0 {
        data.push('-');
    }
    let (whole, tenth) = (tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10);
    // Writing to a string cannot fail.
    let _ = match (whole, tenth) {
        (_, 0) => write!(data, "{whole}"),
        (0, _) => write!(data, ".{tenth}"),
        _ => write!(data, "{whole}.{tenth}"),
    };
}

/// A number of tenths as an attribute: `12.5`.
pub(crate) fn tenths(value: i32) -> String {
    let mut text = String::new();
    push_tenths(&mut text, value);
    text
}

#[cfg(test)]
mod tests {
    use super::PathWriter;

    #[test]
    fn steps_are_relative_and_short() {
        let mut path = PathWriter::default();
        path.move_to((0, 15));
        path.line_to((10, 12));
        path.line_to((20, 22));
        path.across_to(-5);
        path.up_to(22);
        path.close();
        path.move_to((1, 1));
        assert_eq!(path.finish(), "M0 1.5l1-.3 1 1h-2.5v0zM.1 .1");
    }
}
