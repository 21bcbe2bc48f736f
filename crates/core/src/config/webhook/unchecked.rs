//! `worker.url` in a producer: the key is known, but only a master checks and uses it.

use std::path::Path;

use super::error::Diagnostics;
use super::typed::TypedTable;

/// Marks a channel whose jobs are sent as webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {}

pub(super) fn settings(read: &TypedTable<'_>, _: &Path, _: &mut Diagnostics<'_>) -> Option<Settings> {
    read.node("worker.url").map(|_| Settings {})
}
