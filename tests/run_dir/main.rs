//! The run directory: one master per channel, whatever the files say.

mod lock;
mod place;
mod support;
