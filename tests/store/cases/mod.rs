//! The cases, by subject. Each runs on every driver.

pub mod claims;
pub mod commands;
pub mod concurrency;
pub mod delay;
pub mod ids;
pub mod limits;
pub mod malformed;
pub mod order;
pub mod pause;
pub mod priority;
pub mod random;
pub mod reap;
pub mod reconcile;
pub mod settle;
pub mod take;
pub mod unique;
pub mod wait;
