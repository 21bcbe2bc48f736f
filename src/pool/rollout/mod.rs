//! Reload: another generation of workers takes over.
//!
//! ```text
//! WaitingForRoom ── room for one more ──► Canary ── its hello ──► Replacing ── the last old worker is gone ──► over
//!                                           └── a boot fails ──► back to the old generation ◄──┘
//! ```
//! The first worker of the new generation, the canary, takes no runs before its hello; until then nothing else has
//! changed. From then on every boot is of the new generation, and the old workers are replaced as in recycling: each
//! takes runs until its replacement is ready, then no more, and is interrupted when its runs outlast the stop wait. A
//! boot of the new generation that fails before the end returns the pool to the old one.
//!
//! A program that is started once per job has no workers to replace: the next job runs with the new settings.

pub(super) mod generation;
pub(super) mod generations;
