//! Cuts the stream of a worker into frames.

use std::collections::VecDeque;

use crate::wire::{self, Line, LineBuffer, MAX_LINE, ReadFrame, WireError};

/// Bytes read at once. A worker that has to wait keeps up to twice as many in the memory of the master.
pub(super) const READ_CHUNK: usize = 16 << 10;

/// Cuts the stream of a worker into frames.
pub(super) struct FrameReader {
    pub(super) lines: LineBuffer,
    /// Whether the rest of a line that is too long is still to come.
    is_in_long_line: bool,
    /// The long line while its frame is not known.
    long_line: Option<wire::LongLine>,
    /// Whether nothing follows what was read, so that the last line needs no line break.
    pub(super) is_at_end: bool,
    /// Frames behind the first one of the last line, whose line break was missing, and the length of that line.
    rest_of_line: VecDeque<Result<ReadFrame, WireError>>,
    line_bytes: usize,
}

impl FrameReader {
    pub(super) fn new() -> Self {
        let lines = LineBuffer::new(MAX_LINE, READ_CHUNK);
        Self {
            lines,
            is_in_long_line: false,
            long_line: None,
            is_at_end: false,
            rest_of_line: VecDeque::new(),
            line_bytes: 0,
        }
    }

    /// The next frame of the complete lines, with the length of its line in bytes; an error for a line that is none.
    pub(super) fn next_frame(&mut self) -> Option<(usize, Result<ReadFrame, WireError>)> {
        loop {
            if let Some(read) = self.rest_of_line.pop_front() {
                return Some((self.line_bytes, read));
            }
            let Some(line) = self.lines.next_line() else {
                if !self.is_at_end {
                    return None;
                }
                self.read_last_line();
                return self.rest_of_line.pop_front().map(|read| (self.line_bytes, read));
            };
            let is_rest = std::mem::replace(&mut self.is_in_long_line, matches!(line, Line::Truncated(_)));
            match line {
                Line::Whole(part) | Line::Truncated(part) if is_rest => {
                    let Some(long) = &mut self.long_line else { continue };
                    long.add(part);
                    if !self.is_in_long_line || long.is_endless() {
                        let frame = long.frame();
                        self.long_line = None;
                        return Some((part.len(), frame));
                    }
                }
                Line::Truncated(start) => match wire::decode_cut_line(start) {
                    Err(error) if wire::may_continue(&error, start) => {
                        self.long_line = Some(wire::LongLine::new(start));
                    }
                    read => return Some((start.len(), read)),
                },
                Line::Whole(b"") => {}
                Line::Whole(line) => {
                    let mut frames = wire::decode_from_worker(line);
                    let first = frames.next();
                    self.rest_of_line.extend(frames);
                    self.line_bytes = line.len();
                    if let Some(first) = first {
                        return Some((line.len(), first));
                    }
                }
            }
        }
    }

    /// Reads the line that the end of the stream has cut. A worker that was killed in the middle of a frame broke no rule, so a line
    /// that cannot be read is no violation.
    fn read_last_line(&mut self) {
        let line = self.lines.rest();
        self.line_bytes = line.len();
        if let Some(mut long) = self.long_line.take() {
            long.add(line);
            self.rest_of_line.extend(long.frame().ok().map(Ok));
        } else if !self.is_in_long_line {
            self.rest_of_line.extend(wire::decode_from_worker(line).filter(Result::is_ok));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Outcome;
    use crate::wire::FromWorker;

    #[test]
    fn long_line_ends_its_run_and_the_next_line_is_read() {
        let mut reader = FrameReader::new();
        let text = "x".repeat(3 * MAX_LINE);
        let early = format!("{{\"type\":\"failed\",\"run\":1,\"error\":\"{text}\"}}\n");
        let late = format!("{{\"error\":\"{text}\",\"run\":3,\"type\":\"failed\"}}\n");
        let stream = [early.as_bytes(), b"{\"type\":\"done\",\"run\":2}\n", late.as_bytes()].concat();
        let (mut runs, mut violations) = (Vec::new(), 0);
        for part in stream.chunks(READ_CHUNK) {
            let filled = reader.lines.fill(|space| {
                space[..part.len()].copy_from_slice(part);
                Ok(part.len())
            });
            filled.unwrap();
            while let Some((_, read)) = reader.next_frame() {
                match read {
                    Ok(ReadFrame::Damaged(FromWorker::Ended { run, outcome: Outcome::Failed { .. } }, _))
                    | Ok(ReadFrame::Whole(FromWorker::Ended { run, outcome: Outcome::Done })) => {
                        runs.push(run)
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => violations += 1,
                }
            }
        }
        assert_eq!((runs, violations), (vec![1, 2, 3], 0));
    }

    fn last_frames(stream: &str) -> Vec<ReadFrame> {
        let mut reader = FrameReader::new();
        let filled = reader.lines.fill(|space| {
            space[..stream.len()].copy_from_slice(stream.as_bytes());
            Ok(stream.len())
        });
        filled.unwrap();
        assert!(reader.next_frame().is_none(), "{stream}: the rest of the line may follow");
        reader.is_at_end = true;
        std::iter::from_fn(|| reader.next_frame()).map(|(_, read)| read.unwrap()).collect()
    }

    #[test]
    fn last_line_needs_no_line_break() {
        let done = |run| ReadFrame::Whole(FromWorker::Ended { run, outcome: Outcome::Done });
        assert_eq!(last_frames(r#"{"type":"done","run":7}"#), [done(7)]);
        assert!(matches!(
            &last_frames(r#"{"type":"done","run":7}{"type":"done","run":8}"#)[..],
            [ReadFrame::Damaged(..), last] if *last == done(8)
        ));
        let cut = last_frames(r#"{"type":"failed","run":7,"error":"mailbox fu"#);
        let [ReadFrame::Damaged(FromWorker::Ended { run: 7, outcome }, _)] = &cut[..] else {
            panic!("{cut:?}")
        };
        assert!(matches!(outcome, Outcome::Failed { error, .. } if error == "mailbox fu"));
        // The run may be 71, and nothing says what these lines would have been.
        for unreadable in [r#"{"type":"done","run":7"#, r#"{"type":"#, "hello", "", " "] {
            assert_eq!(last_frames(unreadable), [], "{unreadable}");
        }
    }
}
