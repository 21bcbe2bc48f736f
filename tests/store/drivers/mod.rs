//! A [`crate::fixture::Driver`] per driver.

pub mod model;
pub mod redis;
pub mod sqlite;
