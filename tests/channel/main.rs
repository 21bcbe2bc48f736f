//! A channel end to end: a store in memory, a real guardian, real worker processes.

mod endings;
mod modes;
mod rig;
