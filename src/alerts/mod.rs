//! Alerts: messages to people about channels that need them.
//!
//! `notification` is the message that a receiver sends.

mod notification;

pub use notification::{Alert, AlertStatus, Notification};
