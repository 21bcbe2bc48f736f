//! The `aint-queue` command, with a few jobs aboard for trying it out.

use std::process::ExitCode;

use aint_queue::App;
use aint_queue::engine::demo_jobs;

fn main() -> ExitCode {
    demo_jobs::register(App::new()).run()
}
