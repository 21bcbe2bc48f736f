//! The log of a master: lines on their way from the code to standard error or a file.
//!
//! The master never waits for a reader of its log. A line goes into a bounded queue (`line_queue`), in which the master's
//! own lines come first and each worker has a share; a thread writes the queue (`writer`). A line without room is dropped
//! and counted. Every way out of the process waits at most [`FLUSH_TIMEOUT`] for the reader.

mod drop_reports;
mod line_queue;
mod log_file;
mod write_all;
mod writer;

pub use drop_reports::report_drops;
pub use line_queue::DroppedLines;
pub use log_file::LogFileSettings;
pub(crate) use writer::write_with_deadline;
pub use writer::{FLUSH_TIMEOUT, LogWriter, Reopening, WorkerOrigin, from_worker};
