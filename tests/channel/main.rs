//! A channel end to end: a store in memory, a real guardian, real worker processes.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod cancels;
mod endings;
mod faulty;
mod keys;
mod modes;
mod outages;
mod quiet;
mod reload;
mod rig;
mod spent;
mod strange;
