//! Compatibility with earlier versions: the JSON that scripts, other versions of the command line and the program after a
//! re-exec read keeps its fields.
//!
//! `recorded/*.json` holds what version 0.1.0 printed and wrote in the situations below. Each test creates the situation again
//! and compares: the same key paths, the same types, the same words. Texts for people may differ.
//!
//! `AINT_QUEUE_COMPAT_RECORD=PROGRAM` records again, with this program in place of the one under test: for new situations, with
//! a build of the version that a new release has to be compatible with. Run one test after the other then, twice, because
//! some tests read what others record.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod commands;
mod control;
mod fake_master;
mod fixture;
mod handover;
mod run_dir;
mod shape;
