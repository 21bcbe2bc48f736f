//! Tests of several processes: this program runs them, and is each of their processes when it is started in a role.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]
#![deny(dead_code, reason = "a test that no list names would not run")]

/// Lists the tests of a module.
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            let module = module_path!().rsplit("::").next().unwrap();
            vec![$(libtest_mimic::Trial::test(format!("{module}::{}", stringify!($name)), || {
                $name();
                Ok(())
            })),*]
        }
    };
}

mod guardian;
#[allow(dead_code, reason = "other test programs use the rest")]
#[path = "../guardian/fixture.rs"]
mod guardian_fixture;
mod role;
mod run_dir;
#[allow(dead_code, reason = "other test programs use the rest")]
#[path = "../run_dir/fixture.rs"]
mod run_dir_fixture;
mod store;
#[allow(dead_code, reason = "other test programs use the rest")]
#[path = "../store/fixture.rs"]
mod store_fixture;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let roles = [guardian::ROLES, run_dir::ROLES, store::ROLES].concat();
    if role::play(&roles) {
        return ExitCode::SUCCESS;
    }
    let trials = [guardian::trials(), run_dir::trials(), store::trials()].into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs asynchronous code of a test or a role.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}
