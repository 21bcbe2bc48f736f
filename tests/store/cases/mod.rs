//! The cases, by subject. Each runs on every driver.

pub mod order;
