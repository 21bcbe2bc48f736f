//! x
pub mod plan;
