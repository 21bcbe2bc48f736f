//! The `aint-queue` command, with a few jobs aboard for trying it out.

use std::process::ExitCode;

use aint_queue::{App, builtin};

fn main() -> ExitCode {
    builtin::register(App::new()).run()
}
