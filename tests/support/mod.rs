//! What several test binaries need.

pub mod proxy;
pub mod redis;
