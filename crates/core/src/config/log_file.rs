//! Builds the settings of the log file from the validated table `[log]`.

use std::path::Path;

use super::LogFile;
use super::error::Diagnostics;
use super::keys::LOG_KEYS;
use super::spanned::Table;
use super::typed::TypedTable;

/// The log file described by `table`; `None` without a path.
pub(super) fn log_file(table: &Table, base: &Path, diagnostics: &mut Diagnostics<'_>) -> Option<LogFile> {
    let read = TypedTable::new(table, LOG_KEYS);
    let Some(file) = read.path("file", base) else {
        if let Some(other) = table.values().next() {
            let message = "has no effect: without file the log goes to standard error";
            diagnostics.warnings.of_key(other, message, "add file = \"aint-queue.log\"");
        }
        return None;
    };
    let max_bytes = read.integer("max_bytes");
    if let Some(node) = read.node("keep").filter(|_| max_bytes == 0) {
        let message = "has no effect with max_bytes = 0: the file is never renamed";
        diagnostics.warnings.of_key(node, message, "remove it, or write a size");
    }
    Some(LogFile { file, max_bytes, keep: read.integer("keep") })
}
