//! Splits a byte stream into lines with one growing buffer.

use std::io;

/// Splits a byte stream into lines of at most `limit` bytes, line break excluded.
#[derive(Debug)]
pub struct LineBuffer {
    data: Vec<u8>,
    /// Start of the first line not yet returned.
    start: usize,
    /// End of the part behind `start` that was searched for a line break.
    scanned: usize,
    limit: usize,
    /// Most bytes read at once.
    chunk: usize,
}

/// A line of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A complete line without its line break.
    Whole(&'a [u8]),
    /// The first `limit` bytes of a longer line; the rest is returned as further lines.
    Truncated(&'a [u8]),
}

impl LineBuffer {
    /// An empty buffer that reads at most `chunk` bytes at once.
    #[must_use]
    pub fn new(limit: usize, chunk: usize) -> Self {
        Self { data: Vec::new(), start: 0, scanned: 0, limit, chunk }
    }

    /// Calls `read` once and returns its result. Zero is the end of the stream.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        if self.start > 0 {
            self.data.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        let length = self.data.len();
        // The largest line is allocated once: growth by doubling would take twice its size.
        let space = if length > 4 * self.chunk {
            (self.limit + self.chunk).saturating_sub(length)
        } else {
            self.chunk
        };
        self.data.reserve_exact(space.max(self.chunk));
        self.data.resize(length + self.chunk, 0);
        let result = read(&mut self.data[length..]);
        self.data.truncate(length + *result.as_ref().unwrap_or(&0));
        if self.data.is_empty() && (result.is_err() || self.data.capacity() > 4 * self.chunk) {
            // Free the memory of a large frame, and that of a stream that is silent.
            self.data = Vec::new();
        }
        result
    }

    /// The next line, if one is complete or over the limit.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        let found = memchr::memchr(b'\n', &self.data[self.scanned..]).map(|i| self.scanned + i);
        let end = found.unwrap_or(self.data.len());
        if end - self.start > self.limit {
            let cut = self.start..self.start + self.limit;
            self.start = cut.end;
            self.scanned = self.scanned.max(cut.end).min(end);
            return Some(Line::Truncated(&self.data[cut]));
        }
        let Some(end) = found else {
            self.scanned = self.data.len();
            return None;
        };
        let line = self.start..end;
        self.start = end + 1;
        self.scanned = self.start;
        let line = &self.data[line];
        Some(Line::Whole(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Number of bytes of the line that is not complete, once [`next_line`](Self::next_line) has returned all others.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.data.len() - self.start
    }

    /// The bytes behind the last line break, for the end of the stream.
    pub fn rest(&mut self) -> &[u8] {
        let rest = self.start..self.data.len();
        self.start = rest.end;
        self.scanned = rest.end;
        &self.data[rest]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(buffer: &mut LineBuffer, bytes: &[u8]) -> usize {
        buffer
            .fill(|space| {
                space[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            })
            .unwrap()
    }

    fn lines(buffer: &mut LineBuffer) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(line) = buffer.next_line() {
            out.push(match line {
                Line::Whole(l) => String::from_utf8_lossy(l).into_owned(),
                Line::Truncated(l) => format!("{}…", String::from_utf8_lossy(l)),
            });
        }
        out
    }

    #[test]
    fn every_stream_split_gives_the_same_lines() {
        let stream = b"one\r\n\ntwo three\n{\"x\":1}\nrest";
        for split in 0..=stream.len() {
            let mut buffer = LineBuffer::new(100, 64);
            let mut out = Vec::new();
            for part in [&stream[..split], &stream[split..]] {
                feed(&mut buffer, part);
                out.extend(lines(&mut buffer));
            }
            assert_eq!(out, ["one", "", "two three", "{\"x\":1}"], "split at {split}");
            assert_eq!(buffer.rest(), b"rest");
        }
    }

    #[test]
    fn long_line_is_cut_and_the_next_is_whole() {
        let mut buffer = LineBuffer::new(4, 64);
        feed(&mut buffer, b"1234567890\nab\n1234\n");
        assert_eq!(lines(&mut buffer), ["1234…", "5678…", "90", "ab", "1234"]);
        feed(&mut buffer, b"12345");
        assert_eq!(lines(&mut buffer), ["1234…"]);
        feed(&mut buffer, b"6\n");
        assert_eq!(lines(&mut buffer), ["56"]);
    }
}
