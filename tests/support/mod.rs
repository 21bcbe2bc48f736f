//! Helpers of several test programs.

pub mod redis;
#[allow(dead_code, reason = "each test program uses a part of it")]
mod wait;

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use wait::{until, until_async};
