//! The `aint-queue` command, with a few built-in jobs for demonstration and tests.

use std::process::ExitCode;

use aint_queue::App;
use aint_queue::engine::demo_jobs;

fn main() -> ExitCode {
    demo_jobs::register(App::new()).run()
}
