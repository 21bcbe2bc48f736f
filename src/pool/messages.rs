//! All messages between the pool and the tasks that serve the descriptors of its workers.

use crate::guardian::handle::ChildId;
use crate::producer_memory::Reservation;
use crate::wire::{ReadFrame, WireError};

/// From the pool to the I/O task of one worker.
#[derive(Debug)]
pub(super) enum IoCommand {
    /// Write these frames.
    Send(Vec<u8>),
    /// The worker's process tree has ended: read the rest, report it, end.
    Drain,
}

/// From the I/O tasks to the pool.
#[derive(Debug)]
pub(super) enum IoEvent {
    /// The worker sent these frames.
    Frames(ChildId, Vec<ReadFrame>),
    /// The worker sent a push frame, whose jobs take this memory.
    Push(ChildId, ReadFrame, Reservation),
    /// The worker sent a line that is no frame.
    Violation(ChildId, WireError),
    /// The worker has read its backlog and takes runs again.
    Room,
    /// The worker closed its socket.
    Hangup(ChildId),
    /// Resident bytes of workers.
    Memory(Vec<(ChildId, u64)>),
    /// Everything the worker left in its descriptors is read.
    Closed {
        /// The worker.
        child: ChildId,
        /// The last lines of its stderr.
        tail: String,
    },
}
