//! How far a search has come, as lists show it.

use serde_json::Value as Json;

use super::render;

/// The jobs that a page of a search has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Searched {
    pub(super) scanned: u64,
    /// Number of jobs to search in.
    pub(super) of: u64,
}

impl Searched {
    /// The line below a page with so many matches.
    pub(super) fn line(self, channel: &str, found: usize) -> String {
        let Self { scanned, of } = self;
        let found = render::jobs(found as u64);
        format!("Searched {scanned} of {of} jobs of channel \"{channel}\": {found} found.\n")
    }

    /// Adds the numbers to the JSON of a page.
    pub(super) fn add_to(self, json: &mut Json) {
        (json["scanned"], json["of"]) = (self.scanned.into(), self.of.into());
    }
}
