//! Durations, counts and times in words, the same in commands and on pages.

pub(crate) mod render;
pub(crate) mod time;
