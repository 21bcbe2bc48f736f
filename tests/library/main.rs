//! A user's application, end to end. Like every program with an [`App`](aint_queue::App), this program is also its own
//! guardian and worker; called as a test, it runs the tests.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod after_run_end;
mod cases;
#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "../channel/faulty_store.rs"]
mod faulty_store;
#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "../channel/fixture.rs"]
mod fixture;
mod jobs;
mod snapshots;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if std::env::args()
        .nth(1)
        .is_some_and(|first| ["__", "demo", "queue:"].iter().any(|own| first.starts_with(own)))
    {
        return jobs::app().run();
    }
    let trials = cases::all().into_iter().map(|(name, case)| {
        Trial::test(name, move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(case());
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
