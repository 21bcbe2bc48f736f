//! The `aint-queue` command, with a few built-in jobs for demonstration and tests.

use std::process::ExitCode;

use aint_queue::App;

fn main() -> ExitCode {
    App::new().demo_jobs().run()
}
