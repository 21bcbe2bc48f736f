//! All messages between the pool and the tasks that serve the descriptors of its workers.

use crate::guardian::handle::ChildId;
use crate::producer_memory::{AnswerReservation, Reservation};
use crate::wire::{ReadFrame, WireError};

/// From the pool to the I/O task of one worker.
#[derive(Debug)]
pub(super) enum IoCommand {
    /// Write these frames.
    Send(OutgoingFrames),
    /// The worker's process tree has ended: read the rest, report it, end.
    Drain,
}

/// Frames for a worker, and the memory of the answers among them.
#[derive(Debug, Default)]
pub(super) struct OutgoingFrames {
    pub(super) bytes: Vec<u8>,
    pub(super) answers: Vec<AnswerReservation>,
}

/// A frame of a worker, and its memory if it is a request.
#[derive(Debug)]
pub(super) struct ReceivedFrame {
    pub(super) frame: ReadFrame,
    pub(super) memory: Option<RequestMemory>,
}

impl From<ReadFrame> for ReceivedFrame {
    fn from(frame: ReadFrame) -> Self {
        Self { frame, memory: None }
    }
}

/// The memory of a request.
#[derive(Debug, Default)]
pub(super) struct RequestMemory {
    /// Memory of the jobs of a push, until the store has them.
    pub(super) jobs: Option<Reservation>,
    /// Memory of the answer, until the worker has read it.
    pub(super) answer: Option<AnswerReservation>,
}

/// From the I/O tasks to the pool.
#[derive(Debug)]
pub(super) enum IoEvent {
    /// The worker sent these frames.
    Frames(ChildId, Vec<ReceivedFrame>),
    /// The worker keeps memory from others and does not say or read what would free it.
    Stalled(ChildId, &'static str),
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
