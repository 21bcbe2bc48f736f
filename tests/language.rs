//! Comments, logs, errors and help use the field's words: subject first, a noun, no riddle.
//!
//! The test reads the tokens of every source file and checks the first sentence of each documentation block (which includes the
//! help of the command line), the texts of logs, errors and failures, and the names of tests. An exception is listed in
//! [`EXCEPTIONS`] with its reason.
//!
//! `AINT_QUEUE_LANGUAGE=report` prints every finding and their number per folder, and fails at none.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree};

/// Folders whose sources are read.
const FOLDERS: &[&str] = &["src", "crates", "tests", "benches", "examples"];

/// Pronouns that open a sentence in place of its subject.
const OPENERS: &[&str] = &[
    "what",
    "whatever",
    "who",
    "whoever",
    "whom",
    "whose",
    "it",
    "that",
    "those",
    "they",
    "nobody",
    "somebody",
    "everybody",
    "anybody",
    "someone",
    "anyone",
    "everyone",
];

/// Words after "one" that make it a pronoun: "One that is read" in place of "A line that is read".
const AFTER_ONE: &[&str] = &["that", "who", "whose", "which", "with", "without", "is", "has", "may", "more"];

/// Words and phrases for which the field has a better one.
const WORDS: &[&str] = &[
    "aboard",
    "anew",
    "heard",
    "told",
    "stands",
    "stand",
    "goes on",
    "go on",
    "went on",
    "away",
    "nobody",
    "somebody",
    "everybody",
    "anybody",
    "whoever",
    "whomever",
    "whom",
    "by and by",
    "processing",
    "executing",
    "consumer",
    "broker",
    "backend",
];

/// Macros whose texts operators read.
const LOG_MACROS: &[&str] = &["trace", "debug", "info", "warn", "error"];

/// Functions whose texts users of the command line or readers of a panic see. Their texts end a sentence, "could not stop channel
/// x: it …", so "it" has a subject there.
const TEXT_CALLS: &[&str] = &["because", "hint", "note", "expect", "panic", "unreachable"];

/// Most characters of a test's name.
const LONGEST_TEST_NAME: usize = 60;

/// A part of a text, the rule that it may break, and the reason.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("Executing the program", "executing", "the step of a launch is the system call execve")];

/// A broken rule.
struct Finding {
    file: String,
    line: usize,
    text: String,
    rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} -> {}", self.file, self.line, self.text, self.rule)
    }
}

/// Collects the findings of one file.
struct Reader<'a> {
    file: &'a str,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn read(file: &str, source: &str) -> Vec<Finding> {
        let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut reader = Reader { file, findings: Vec::new() };
        reader.walk(tokens);
        reader.findings
    }

    /// Reads one level of tokens: documentation blocks, attributes and macros may be at any of them.
    fn walk(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut block: Option<(usize, String)> = None;
        let mut is_test = false;
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            if let Some((line, text, length)) = doc_line(rest) {
                let block = block.get_or_insert((line, String::new()));
                block.1.push_str(&text);
                block.1.push('\n');
                at += length;
                continue;
            }
            if let Some((line, text)) = block.take() {
                self.check(line, first_sentence(&text));
            }
            match rest {
                [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] if hash.as_char() == '#' => {
                    is_test |= is_test_attribute(attribute);
                    self.attribute(attribute);
                    at += 2;
                    continue;
                }
                [TokenTree::Ident(name), TokenTree::Ident(test), ..] if is_test && name == "fn" => {
                    self.check_name(test.span().start().line, &test.to_string());
                    is_test = false;
                }
                [TokenTree::Ident(name), TokenTree::Punct(bang), TokenTree::Group(texts), ..]
                    if bang.as_char() == '!' && is_one_of(name, LOG_MACROS) =>
                {
                    self.texts(texts, "");
                }
                [TokenTree::Ident(name), TokenTree::Punct(bang), TokenTree::Group(texts), ..]
                    if bang.as_char() == '!' && is_one_of(name, TEXT_CALLS) =>
                {
                    self.texts(texts, "it");
                }
                [TokenTree::Ident(name), TokenTree::Group(texts), ..]
                    if texts.delimiter() == Delimiter::Parenthesis && is_one_of(name, TEXT_CALLS) =>
                {
                    self.texts(texts, "it");
                }
                [TokenTree::Group(group), ..] => self.walk(group.stream()),
                _ => {}
            }
            at += 1;
        }
        if let Some((line, text)) = block {
            self.check(line, first_sentence(&text));
        }
    }

    /// Checks the text of `#[error("…")]`.
    fn attribute(&mut self, attribute: &Group) {
        if let [TokenTree::Ident(name), TokenTree::Group(texts), ..] =
            attribute.stream().into_iter().collect::<Vec<_>>().as_slice()
            && name == "error"
        {
            self.texts(texts, "");
        }
    }

    /// Checks every text between these brackets, also those of a `format!` within, except for this opener.
    fn texts(&mut self, group: &Group, allowed: &str) {
        for token in group.stream() {
            match token {
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    let text =
                        string(literal).filter(|text| allowed.is_empty() || first_word(text) != allowed);
                    if let Some(text) = text {
                        self.check(line, &text);
                    }
                }
                TokenTree::Group(inner) => self.texts(&inner, allowed),
                _ => {}
            }
        }
    }

    fn check(&mut self, line: usize, text: &str) {
        for rule in broken_rules(text) {
            self.report(line, text, rule);
        }
    }

    fn check_name(&mut self, line: usize, name: &str) {
        if name.len() > LONGEST_TEST_NAME {
            self.report(line, name, format!("{} characters, at most {LONGEST_TEST_NAME}", name.len()));
        }
        self.check(line, &name.replace('_', " "));
    }

    fn report(&mut self, line: usize, text: &str, rule: String) {
        if !EXCEPTIONS.iter().any(|(part, excepted, _)| text.contains(part) && rule.contains(excepted)) {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            self.findings.push(Finding { file: self.file.to_owned(), line, text, rule });
        }
    }
}

/// The rules that a sentence breaks.
fn broken_rules(text: &str) -> Vec<String> {
    let lower = text.to_lowercase().replace('\'', "' ");
    // Code and placeholders are not prose.
    let prose = lower.split('`').step_by(2).collect::<Vec<_>>().join(" code ");
    let prose = prose.replace('{', "{ value ");
    let words: Vec<_> =
        prose.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|word| !word.is_empty()).collect();
    let mut broken = Vec::new();
    match words.as_slice() {
        // In lower case, "its driver …" continues a sentence that has named the owner.
        [first @ ("its" | "their"), ..] if text.trim_start().starts_with(char::is_uppercase) => {
            broken.push(format!("opens with \"{first}\""));
        }
        [first, ..] if OPENERS.contains(first) => {
            broken.push(format!("opens with \"{first}\""));
        }
        ["one", next, ..] if AFTER_ONE.contains(next) => broken.push(format!("opens with \"one {next}\"")),
        _ => {}
    }
    for banned in WORDS {
        let phrase: Vec<_> = banned.split(' ').collect();
        let found = |(at, window): (usize, &[&str])| {
            // "`[]` stands for each item" has no better word.
            window == phrase && !(banned.starts_with("stand") && words.get(at + 1) == Some(&"for"))
        };
        if words.windows(phrase.len()).enumerate().any(found) {
            broken.push(format!("\"{banned}\""));
        }
    }
    broken
}

/// The first sentence of a documentation block.
fn first_sentence(block: &str) -> &str {
    let paragraph = block.trim().split("\n\n").next().unwrap_or_default();
    let end = paragraph.find(". ").or_else(|| paragraph.find(".\n"));
    end.map_or(paragraph, |end| &paragraph[..end])
}

/// One line of documentation, `#[doc = "…"]` in tokens, with its line number and the number of its tokens.
fn doc_line(tokens: &[TokenTree]) -> Option<(usize, String, usize)> {
    let (group, length) = match tokens {
        [TokenTree::Punct(hash), TokenTree::Group(group), ..] if hash.as_char() == '#' => (group, 2),
        [TokenTree::Punct(hash), TokenTree::Punct(bang), TokenTree::Group(group), ..]
            if hash.as_char() == '#' && bang.as_char() == '!' =>
        {
            (group, 3)
        }
        _ => return None,
    };
    match group.stream().into_iter().collect::<Vec<_>>().as_slice() {
        [TokenTree::Ident(name), TokenTree::Punct(_), TokenTree::Literal(text)] if name == "doc" => {
            let text = string(text.clone())?;
            Some((group.span().start().line, text.strip_prefix(' ').unwrap_or(&text).to_owned(), length))
        }
        _ => None,
    }
}

/// Whether an attribute makes a test: `#[test]`, `#[tokio::test(…)]`.
fn is_test_attribute(attribute: &Group) -> bool {
    let names = attribute.stream().into_iter().filter(|token| matches!(token, TokenTree::Ident(_)));
    names.last().is_some_and(|name| name.to_string() == "test")
}

fn is_one_of(name: &proc_macro2::Ident, list: &[&str]) -> bool {
    list.iter().any(|known| name == known)
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// The value of a string literal.
fn string(literal: Literal) -> Option<String> {
    match syn::Lit::new(literal) {
        syn::Lit::Str(text) => Some(text.value()),
        _ => None,
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn sources_use_the_words_of_the_field() {
    let mut paths = Vec::new();
    FOLDERS.iter().for_each(|folder| sources(Path::new(folder), &mut paths));
    paths.sort();
    assert!(paths.len() > 100, "only {} sources found", paths.len());
    let read = |path: &PathBuf| Reader::read(&path.display().to_string(), &fs::read_to_string(path).unwrap());
    let findings: Vec<_> = paths.iter().flat_map(read).collect();
    let list: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    if std::env::var("AINT_QUEUE_LANGUAGE").is_ok_and(|mode| mode == "report") {
        let mut folders = BTreeMap::<String, usize>::new();
        for finding in &findings {
            let folder = Path::new(&finding.file).parent().unwrap().display().to_string();
            *folders.entry(folder).or_default() += 1;
        }
        println!("{list}{folders:#?}\n{} findings", findings.len());
        return;
    }
    assert!(findings.is_empty(), "{} findings:\n{list}", findings.len());
}

#[test]
fn each_rule_finds_an_example() {
    let rules = |source: &str| -> Vec<String> {
        Reader::read("example.rs", source).iter().map(|finding| finding.rule.clone()).collect()
    };
    for (source, rule) in [
        ("/// What a worker does.\nstruct X;", "opens with \"what\""),
        ("//! Whoever asks gets an answer.\n", "opens with \"whoever\""),
        ("mod inner { struct X { /// One that waits.\n a: u8 } }", "opens with \"one that\""),
        ("fn f() { info!(id, \"the job goes on\"); }", "\"goes on\""),
        ("fn f() { tracing::warn!(\"nobody listens\"); }", "\"nobody\""),
        ("#[error(\"the store is away\")] struct X;", "\"away\""),
        ("fn f() { Failure::new(exit, doing).because(format!(\"jobs are aboard\")) }", "\"aboard\""),
        ("fn f() { panic!(\"broker\") }", "\"broker\""),
        ("fn f() { error!(\"it was interrupted\"); }", "opens with \"it\""),
        ("#[tokio::test(start_paused = true)] async fn it_drains() {}", "opens with \"it\""),
        ("#[cfg(test)] mod tests { #[test] fn jobs_are_told() {} }", "\"told\""),
    ] {
        assert!(rules(source).iter().any(|found| found.contains(rule)), "{source}: {:?}", rules(source));
    }
    let long = format!("#[test] fn {}() {{}}", "x".repeat(61));
    assert_eq!(rules(&long), ["61 characters, at most 60"]);
}

#[test]
fn plain_sentences_pass() {
    let source = "/// Renews the lease. It is what keeps the jobs.\n///\n/// Nobody else does.\nstruct X;\n\
                  /// One job of a channel; `Told` is a type, `[]` stands for an item.\nfn f() { info!(\"lease lost: killing running jobs\"); }\n\
                  fn g() { failure.because(\"it is done\"); panic!(\"{what}: missing\") }\n\
                  #[test] fn lease_is_renewed_in_time() { let told = \"told\"; }";
    let findings = Reader::read("example.rs", source);
    assert!(findings.is_empty(), "{}", findings[0]);
}
