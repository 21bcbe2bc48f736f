//! Files quoted in the documentation match the repository.
//!
//! A fenced block whose opening line names a file after its language contains the whole file.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::script;

/// A fenced block that names a file.
struct Quote {
    /// Document and line of the block.
    place: String,
    /// The quoted file.
    file: String,
    text: String,
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    found.push("README.md".into());
    found.sort();
    found
}

fn quotes() -> Vec<Quote> {
    let mut found = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let mut lines = text.lines().enumerate();
        while let Some((i, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else { continue };
            let inside: Vec<_> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            if let Some((_, file)) = info.split_once(' ') {
                let place = format!("{}:{}", document.display(), i + 1);
                let text = inside.iter().map(|line| format!("{line}\n")).collect();
                found.push(Quote { place, file: file.to_owned(), text });
            }
        }
    }
    found
}

pub(crate) fn quoted_files_match_the_documentation() {
    let quotes = quotes();
    for Quote { place, file, text } in &quotes {
        let real = fs::read_to_string(file).unwrap_or_else(|error| panic!("{place}: {file}: {error}"));
        assert!(*text == real, "{place} differs from {file}, which holds:\n{real}");
    }
    assert!(quotes.len() > 8, "the quotes are where this test looks");
}

pub(crate) fn specification_shows_every_protocol_fixture() {
    let shown: BTreeSet<_> = quotes()
        .into_iter()
        .filter(|quote| quote.place.starts_with("docs/worker-protocol.md:"))
        .map(|quote| quote.file)
        .collect();
    let missing: Vec<_> =
        script::all().into_iter().map(|script| script.name).filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "docs/worker-protocol.md does not show {missing:?}");
}

/// The text outside of fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    });
    outside.map(|line| format!("{line}\n")).collect()
}

pub(crate) fn links_between_documents_resolve() {
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    let decisions = fs::read_dir("docs/decisions").unwrap().map(|entry| entry.unwrap().path());
    for document in documents().into_iter().chain(decisions) {
        let text = prose(&fs::read_to_string(&document).unwrap());
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or_default();
            looked_at += 1;
            if !document.parent().unwrap().join(file).exists() {
                wrong.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere: {wrong:#?}");
    assert!(looked_at > 5, "the links are where this test looks");
}
