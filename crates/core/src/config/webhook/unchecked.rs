//! `worker.url` in a program that runs no jobs: known to be there, checked and used by a master only.

use std::path::Path;

use super::build::Diagnostics;
use super::typed::TypedTable;

/// That requests are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {}

pub(super) fn settings(read: &TypedTable<'_>, _: &Path, _: &mut Diagnostics<'_, '_>) -> Option<Settings> {
    read.node("worker.url").map(|_| Settings {})
}
