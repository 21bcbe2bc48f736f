//! The conformance suite: one set of cases that the model and every driver run.
//!
//! A case is an `async fn(Fixture)` in `cases/`, named in the list at the top of its file, which makes it a test of every
//! driver. A case that is in no list does not compile, since nothing else calls it; `cases/mod.rs` denies that. A driver
//! brings a [`fixture::Driver`] in `drivers/` and one line in the macro below.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

/// Makes cases a test of each driver.
macro_rules! conformance {
    // Cases that step the store's clock.
    (@clock $($case:ident),* $(,)?) => {
        conformance! { @driver model, crate::drivers::model::start, $($case)* }
        conformance! { @driver redis, crate::drivers::redis::start_with_clock, $($case)* }
        conformance! { @driver redis_modest, crate::drivers::redis::start_modest_with_clock, $($case)* }
        conformance! { @driver sqlite, crate::drivers::sqlite::start, $($case)* }
    };
    ($($case:ident),* $(,)?) => {
        conformance! { @driver model, crate::drivers::model::start, $($case)* }
        conformance! { @driver redis, crate::drivers::redis::start, $($case)* }
        conformance! { @driver redis_modest, crate::drivers::redis::start_modest, $($case)* }
        conformance! { @driver sqlite, crate::drivers::sqlite::start, $($case)* }
    };
    (@driver $driver:ident, $start:path, $($case:ident)*) => {
        mod $driver {
            $(
                #[test]
                fn $case() {
                    crate::fixture::run($start, super::$case);
                }
            )*
        }
    };
}

mod cases;
mod drivers;
mod fixture;
mod on_disk;
mod redis_only;
mod schema;
#[path = "../support/mod.rs"]
mod support;
