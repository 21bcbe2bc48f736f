//! Damaged lines of workers: the parts that can be read.
//!
//! A worker cuts an emoji in half, writes a file name that is not UTF-8, or computes `retry: 1.5`. If the whole frame were
//! dropped for that, its run would go on to its time limit, and its error text would be lost. So the end of a run counts
//! whatever else is wrong, and a request gets a response with the mistake.

use std::borrow::Cow;
use std::time::Duration;

use super::frames::{FromWorker, ReadFrame, RunId, WireError, not_a_frame};
use super::to_master::{MAX_ERROR, NO_MESSAGE, decode_strictly};
use crate::job::{Outcome, RetryDecision, mend_surrogates, truncated};

/// Longest part of a wrong value in a warning, in bytes.
const MAX_SHOWN: usize = 64;
/// Largest whole number that a double represents exactly, for languages that write `7.0`.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
/// Fields with whole numbers.
const NUMBERS: [&str; 8] = ["run", "ask", "limit", "count", "per_ms", "failures", "cooldown_ms", "after_ms"];
/// Fields with texts.
const TEXTS: [&str; 5] = ["lock", "rate", "breaker", "channel", "level"];
/// All fields, as far as a frame that has one twice can be named by it.
const FIELDS: [&[&str]; 3] =
    [&NUMBERS, &TEXTS, &["type", "error", "retry", "unknown_job", "percent", "message", "jobs"]];

/// Parses one line from a worker, without its line break: usually one frame, more when line breaks are missing between
/// them. A damaged frame is read as far as possible.
pub fn decode_from_worker(line: &[u8]) -> impl Iterator<Item = Result<ReadFrame, WireError>> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest.take()?;
        let why = match decode_strictly(line) {
            Ok(frame) => return Some(Ok(ReadFrame::Whole(frame))),
            Err(why) => why,
        };
        let (read, behind) = salvage(line, &why);
        rest = behind.starts_with(b"{").then_some(behind);
        Some(read)
    })
}

/// Reads the start of a line that is longer than [`MAX_LINE`](super::MAX_LINE).
///
/// # Errors
/// When the start is not that of a frame, or does not say which run the frame belongs to.
pub fn decode_cut_line(start: &[u8]) -> Result<ReadFrame, WireError> {
    salvage(start, &WireError::TooLong).0
}

/// Reads a line that was too long and is shortened: some of its values are cut.
///
/// # Errors
/// As those of [`decode_cut_line`].
pub(super) fn decode_shortened(line: &[u8]) -> Result<ReadFrame, WireError> {
    match Object::scan(line) {
        Some((object, end)) => object.frame(&line[..end], &WireError::TooLong),
        None => Err(not_a_frame(WireError::TooLong.detail(), line)),
    }
}

/// Whether the fields that the start of a long line lacks may be in the rest of it.
#[must_use]
pub fn may_continue(error: &WireError, start: &[u8]) -> bool {
    !matches!(error, WireError::UnreadableHello { .. }) && Object::scan(start).is_some()
}

/// Reads a line that is not a frame as it stands, for the reason `why`. Returns also the rest of the line behind its object.
///
/// Only the object is read: in a long line of many objects, each would otherwise cost the whole rest.
fn salvage<'a>(line: &'a [u8], why: &WireError) -> (Result<ReadFrame, WireError>, &'a [u8]) {
    let Some((object, end)) = Object::scan(line) else {
        return (Err(not_a_frame(why.detail(), line)), b"");
    };
    let (text, rest) = (&line[..end], line[end..].trim_ascii_start());
    if !rest.is_empty()
        && let Ok(frame) = decode_strictly(text)
    {
        let defect = "no line break behind the frame: reading on in the same line";
        return (Ok(ReadFrame::Damaged(frame, defect.to_owned())), rest);
    }
    if let Some(frame) = mended(text) {
        let defect = "half a character or invalid UTF-8: replaced by U+FFFD";
        return (Ok(ReadFrame::Damaged(frame, defect.to_owned())), rest);
    }
    (object.frame(text, why), rest)
}

/// Whether a line is JSON by its syntax; texts of it may still hold half a character.
fn is_json(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// The frame whose texts contain half a character or invalid UTF-8. A request with invalid UTF-8 is refused instead: the
/// job that pushes learns of it, and no damaged data is stored.
fn mended(line: &[u8]) -> Option<FromWorker> {
    let text = String::from_utf8_lossy(line);
    let is_utf8 = matches!(text, Cow::Borrowed(_));
    let frame = decode_strictly(mend_surrogates(text.into_owned()).as_bytes()).ok()?;
    (is_utf8 || !matches!(frame, FromWorker::Push { .. } | FromWorker::Claim { .. })).then_some(frame)
}

/// The members of a JSON object that may be damaged.
struct Object<'a> {
    /// In the order in which they count.
    members: Vec<(String, Value<'a>)>,
}

/// The text of a value, and whether its end was found.
#[derive(Clone, Copy)]
struct Value<'a> {
    text: &'a [u8],
    is_complete: bool,
}

impl<'a> Object<'a> {
    /// Scans the object at the start of a line; returns it and the place behind it. `None` when the line is no object.
    fn scan(line: &'a [u8]) -> Option<(Self, usize)> {
        let start =
            line.iter().position(|byte| !byte.is_ascii_whitespace() && !b"\xef\xbb\xbf".contains(byte))?;
        let mut scanner = Scanner { line, at: start };
        if !scanner.take(b'{') {
            return None;
        }
        let mut members = Vec::new();
        loop {
            while scanner.take(b',') {}
            match scanner.peek() {
                None => break,
                Some(b'}') => {
                    scanner.at += 1;
                    break;
                }
                Some(b'"') => {
                    let name = scanner.value();
                    if scanner.take(b':') {
                        members.push((name.unescaped().unwrap_or_default(), scanner.value()));
                    }
                }
                Some(_) => drop(scanner.value()),
            }
        }
        // JSON readers take the last of several fields with one name. In a line that is no JSON the first one counts: behind a
        // text with unescaped quotes, parts of the text look like fields.
        if is_json(&line[..scanner.at]) {
            members.reverse();
        }
        Some((Self { members }, scanner.at))
    }

    /// The values of a field that are present and not `null`; the first one counts.
    fn values(&self, name: &str) -> impl Iterator<Item = Value<'a>> {
        let named = self.members.iter().filter(move |(field, _)| field == name);
        named.map(|(_, value)| *value).filter(|value| value.text != b"null")
    }

    fn get(&self, name: &str) -> Option<Value<'a>> {
        self.values(name).next()
    }

    /// The number of a run or a request: of several values, one that can be read.
    fn id(&self, name: &str) -> Option<u64> {
        self.values(name).find_map(Value::id)
    }

    /// The first of the fields that a frame has twice.
    fn repeated(&self) -> Option<&'static str> {
        FIELDS.into_iter().flatten().copied().find(|name| self.values(name).nth(1).is_some())
    }

    /// The frame, as far as it can be read.
    fn frame(&self, line: &[u8], why: &WireError) -> Result<ReadFrame, WireError> {
        let unreadable = || not_a_frame(self.mistake(why), line);
        let kind = self.get("type").and_then(Value::unescaped).ok_or_else(unreadable)?;
        let run = || self.id("run").ok_or_else(unreadable);
        match kind.as_str() {
            "done" => Ok(self.ended(run()?, &kind, Outcome::Done, Vec::new(), why)),
            "failed" => {
                let (outcome, defects) = self.failed();
                Ok(self.ended(run()?, &kind, outcome, defects, why))
            }
            "release" => {
                let (after, defect) = self.after();
                Ok(self.ended(run()?, &kind, Outcome::Released { after }, defect.into_iter().collect(), why))
            }
            "push" | "claim" => {
                let ask = self.id("ask").ok_or_else(unreadable)?;
                let why = format!("the \"{kind}\" frame cannot be read: {}", self.mistake(why));
                Ok(ReadFrame::Refused { run: run()?, ask, why })
            }
            "progress" | "log" => {
                Ok(ReadFrame::Dropped(format!("\"{kind}\" dropped: {}", self.mistake(why))))
            }
            "hello" => Err(WireError::UnreadableHello { detail: self.mistake(why) }),
            _ => Err(unreadable()),
        }
    }

    /// The end of a run, with its mistakes. Without a known one, the line itself is damaged, as `why` says.
    fn ended(
        &self,
        run: RunId,
        kind: &str,
        outcome: Outcome,
        mut defects: Vec<String>,
        why: &WireError,
    ) -> ReadFrame {
        if defects.is_empty() {
            defects.push(self.mistake(why));
        }
        let defect = format!("\"{kind}\" of run {run} counts nevertheless: {}", defects.join("; "));
        ReadFrame::Damaged(FromWorker::Ended { run, outcome }, defect)
    }

    fn failed(&self) -> (Outcome, Vec<String>) {
        let mut defects = Vec::new();
        let error = self.get("error").map_or_else(
            || NO_MESSAGE.to_owned(),
            |value| {
                let text = value.unescaped();
                if text.is_none() {
                    defects.push(format!("\"error\" is no text but {}", value.shown()));
                }
                text.unwrap_or_else(|| String::from_utf8_lossy(value.text).into_owned())
            },
        );
        let error = truncated(&error, MAX_ERROR).to_owned();
        let unknown_job = self.get("unknown_job").is_some_and(|value| {
            if !matches!(value.text, b"true" | b"false") {
                defects.push(format!("\"unknown_job\" is neither true nor false but {}", value.shown()));
            }
            value.text == b"true"
        });
        let retry = self.get("retry").map_or(RetryDecision::ByPolicy, |value| {
            match (value.text, value.whole_number()) {
                (b"true", _) => RetryDecision::ByPolicy,
                (b"false", _) => RetryDecision::Never,
                (_, Some(ms)) => RetryDecision::After(Duration::from_millis(ms)),
                (_, None) => {
                    let shown = value.shown();
                    defects.push(format!(
                        "\"retry\" takes true, false or whole milliseconds, not {shown}: counted as true"
                    ));
                    RetryDecision::ByPolicy
                }
            }
        });
        let next = if unknown_job { RetryDecision::UnknownJob } else { retry };
        (Outcome::Failed { error, next }, defects)
    }

    /// The time of a release, and the mistake in it.
    fn after(&self) -> (Duration, Option<String>) {
        match self.get("after_ms").map(|value| (value.whole_number(), value)) {
            None => (Duration::ZERO, None),
            Some((Some(ms), _)) => (Duration::from_millis(ms), None),
            Some((None, value)) => {
                let shown = value.shown();
                let defect = format!("\"after_ms\" takes whole milliseconds, not {shown}: counted as 0");
                (Duration::ZERO, Some(defect))
            }
        }
    }

    /// The first mistake that can be named by its field, else `why`.
    fn mistake(&self, why: &WireError) -> String {
        let wrong = |names: &[&str], is_right: fn(Value<'a>) -> bool, form: &str| {
            let value = |name: &&str| Some((name.to_string(), self.get(name).filter(|v| !is_right(*v))?));
            let found = names.iter().find_map(value);
            found.map(|(name, value)| format!("\"{name}\" takes {form}, not {}", value.shown()))
        };
        wrong(&NUMBERS, |value| value.whole_number().is_some(), "a whole number")
            .or_else(|| wrong(&TEXTS, |value| value.is_valid_text(), "a text"))
            .or_else(|| self.repeated().map(|name| format!("\"{name}\" is given more than once")))
            .unwrap_or_else(|| why.detail())
    }
}

impl Value<'_> {
    /// A whole number from 0, also in the form of a fraction or with an exponent.
    fn whole_number(self) -> Option<u64> {
        // The digits that are missing at the end of a cut line would make another number.
        let text = std::str::from_utf8(self.text).ok().filter(|_| self.is_complete)?;
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok();
        }
        let number: f64 = serde_json::from_str(text).ok()?;
        let is_exact = number.fract() == 0.0 && (0.0..=MAX_EXACT).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number below 2^53"
        )]
        is_exact.then_some(number as u64)
    }

    /// The number of a run or a request, also as a text: many languages read it from a frame as one.
    fn id(self) -> Option<u64> {
        let inner = self.text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
        match inner.filter(|_| self.is_complete) {
            Some(inner) => Self { text: inner.trim_ascii(), is_complete: true }.whole_number(),
            None => self.whole_number(),
        }
    }

    fn is_valid_text(self) -> bool {
        serde_json::from_slice::<String>(self.text).is_ok()
    }

    /// The characters of a string, as far as it goes; `None` when the value is none.
    fn unescaped(self) -> Option<String> {
        let inner = self.text.strip_prefix(b"\"")?;
        let inner = if self.is_complete { inner.strip_suffix(b"\"")? } else { inner };
        let mended = mend_surrogates(String::from_utf8_lossy(inner).into_owned());
        let mut text = String::with_capacity(mended.len());
        let mut rest = mended.as_str();
        while let Some((plain, behind)) = rest.split_once('\\') {
            text.push_str(plain);
            // An escape that JSON does not know stays as it is.
            let (character, length) = escape(behind).unwrap_or(('\\', 0));
            text.push(character);
            rest = &behind[length..];
        }
        text.push_str(rest);
        Some(text)
    }

    /// The beginning of the value, for a warning.
    fn shown(self) -> String {
        let text = String::from_utf8_lossy(self.text);
        truncated(&text, MAX_SHOWN).replace(char::is_control, "\u{fffd}")
    }
}

/// The character of an escape, whose backslash is left out, and the length of the escape.
fn escape(text: &str) -> Option<(char, usize)> {
    let simple = |character| Some((character, 1));
    match text.bytes().next()? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => {
            let unit = |at: usize| u16::from_str_radix(text.get(at..at + 4)?, 16).ok();
            let first = unit(1)?;
            if let Some(character) = char::from_u32(first.into()) {
                return Some((character, 5));
            }
            // Half a character: the other half follows.
            let both = char::decode_utf16([first, unit(7)?]).next()?;
            Some((both.ok()?, 11))
        }
        _ => None,
    }
}

/// Finds the values of a line without understanding them.
struct Scanner<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.line[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.line.get(self.at).copied()
    }

    /// Passes this byte, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// The next value. At least one byte is passed, unless the line is at its end or the value is missing.
    fn value(&mut self) -> Value<'a> {
        let first = self.peek();
        let start = self.at;
        let is_complete = match first {
            Some(b'"') => self.pass_string(),
            Some(b'{' | b'[') => self.pass_nested(),
            _ => {
                let rest = &self.line[start..];
                let length = rest.iter().position(|byte| b",}".contains(byte));
                self.at += length.unwrap_or(rest.len());
                length.is_some()
            }
        };
        Value { text: self.line[start..self.at].trim_ascii(), is_complete }
    }

    /// Passes a string; returns whether it has an end.
    fn pass_string(&mut self) -> bool {
        self.at += 1;
        while let Some(byte) = self.line.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return true;
                }
                b'\\' => self.at = (self.at + 2).min(self.line.len()),
                _ => self.at += 1,
            }
        }
        false
    }

    /// Passes an array or an object; returns whether it has an end.
    fn pass_nested(&mut self) -> bool {
        let mut depth = 0usize;
        while let Some(byte) = self.line.get(self.at) {
            match byte {
                b'"' => {
                    self.pass_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
#[path = "salvage_tests.rs"]
mod tests;
