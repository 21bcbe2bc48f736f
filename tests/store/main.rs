//! The conformance suite: one set of cases that the model and every driver run.
//!
//! A case is an `async fn(World)` in `cases/`; it is named once more in the list below, which makes it a test
//! of every driver. A driver brings a [`harness::Driver`] in `drivers/` and one line at the end of this file.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]

mod cases;
mod drivers;
mod harness;

/// Makes every case a test of the driver whose stores `$start` makes.
macro_rules! conformance {
    ($driver:ident, $start:path) => {
        conformance! { @cases $driver, $start;
            order {
                first_in_first_out,
                front_comes_before_everything_and_back_after_it,
            }
        }
    };
    (@cases $driver:ident, $start:path; $($group:ident { $($case:ident,)* })*) => {
        mod $driver {
            $(mod $group {
                $(
                    #[test]
                    fn $case() {
                        crate::harness::run($start, crate::cases::$group::$case);
                    }
                )*
            })*
        }
    };
}

conformance!(model, crate::drivers::model::start);
