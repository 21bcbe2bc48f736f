//! `demo`: runs example jobs in all modes on a temporary store and shows the progress.

mod display;
mod scenario;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::listen::failure;
use super::{CommandContext, Exit, Failure, control};
use crate::config::{Channel, Config};
use crate::control::ControlRequest;
use crate::master::{self, ListenError, MasterExit};
use crate::store::{JobCounts, MAX_BATCH, Store};
use display::LiveView;

/// How long the jobs of the demo may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// Run example jobs in all modes on a temporary store
#[derive(Debug, Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let directory = DemoDirectory::new()?;
        let config = Arc::new(Config::load(directory.config()).map_err(Failure::config)?);
        let began = Instant::now();
        let channels: Vec<Channel> = config.channels.values().cloned().collect();
        let mut stores = Vec::new();
        for channel in &channels {
            stores.push(context.store(channel)?);
        }
        let master = Master::start(&config)?;
        let view = LiveView::new(context, &channels);
        let outcome = context.block_on(run_jobs(&channels, &stores, &view, &master));
        view.close();
        // Stop the master, also after a failure, before its directory is removed.
        master.stop(&channels)?;
        let counts = outcome?;
        report(context, &channels, &counts, began.elapsed())
    }
}

/// Pushes all jobs and waits until every job has ended.
async fn run_jobs(
    channels: &[Channel],
    stores: &[Arc<dyn Store>],
    view: &LiveView,
    master: &Master,
) -> Result<Vec<JobCounts>, Failure> {
    let wrong = |error| Failure::store("run the demo", error);
    for (channel, store) in channels.iter().zip(stores) {
        for batch in scenario::jobs(&channel.name).chunks(MAX_BATCH) {
            store.push(batch).await.map_err(|error| Failure::push("push the jobs of the demo", error))?;
        }
    }
    let begun = Instant::now();
    loop {
        let mut all = Vec::new();
        for store in stores {
            all.push(store.status().await.map_err(wrong)?);
        }
        view.update(channels, &all);
        if all.iter().all(|s| s.waiting + s.reserved + s.delayed == 0) {
            return Ok(all);
        }
        if master.has_ended() {
            // Ctrl-C at the terminal stops the master of the demo.
            return Err(Failure::new(Exit::Failed, "finish the demo").because("it was interrupted"));
        }
        if begun.elapsed() > RUN_TIMEOUT {
            return Err(Failure::new(Exit::Failed, "finish the demo")
                .because(format!("jobs are left after {RUN_TIMEOUT:?}: {all:?}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Prints the result; fails unless the counts match the scenario.
fn report(
    context: &CommandContext,
    channels: &[Channel],
    counts: &[JobCounts],
    took: Duration,
) -> Result<(), Failure> {
    let expected: Vec<_> = channels.iter().map(|channel| scenario::expected(&channel.name)).collect();
    let adds_up = counts
        .iter()
        .zip(&expected)
        .all(|(end, (done, failed))| (end.done, end.failed, end.total()) == (*done, *failed, done + failed));
    if context.json() {
        let counts: Vec<_> =
            channels.iter().zip(counts).map(|(c, s)| json!({ "channel": c.name, "counts": s })).collect();
        context
            .print_json(&json!({ "adds_up": adds_up, "seconds": took.as_secs_f64(), "channels": counts }))?;
    } else {
        context.print(&display::final_status(channels, counts, context.columns()))?;
        context.print(&scenario::epilogue(took))?;
    }
    if adds_up {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "account for every job")
        .because(format!("the counts are {counts:?}, expected (done, failed) {expected:?}"))
        .hint("this is a bug; please report it with the output above"))
}

/// Temporary directory of the configuration, the store and the run files; removed when dropped.
struct DemoDirectory(PathBuf);

impl DemoDirectory {
    fn new() -> Result<Self, Failure> {
        let wrong = |e: io::Error| Failure::new(Exit::Failed, "prepare a directory for the demo").because(e);
        let name = format!("aint-queue-demo-{:016x}", fastrand::u64(..));
        let directory = Self(std::env::temp_dir().join(name));
        fs::create_dir(&directory.0).map_err(wrong)?;
        let program = master::own_program().map_err(wrong)?;
        fs::write(directory.config(), scenario::config(&program)).map_err(wrong)?;
        Ok(directory)
    }

    fn config(&self) -> PathBuf {
        Path::join(&self.0, "aint-queue.toml")
    }
}

impl Drop for DemoDirectory {
    fn drop(&mut self) {
        // A store that closes on its own thread may write a copy of its removed file meanwhile. Files that cannot be removed stay in
        // the system's temporary directory.
        let removed = |_: &u32| fs::remove_dir_all(&self.0).is_ok() || !self.0.exists();
        let pause = std::time::Duration::from_millis(20);
        (0..50_u32).find(|n| {
            removed(n) || {
                std::thread::sleep(pause);
                false
            }
        });
    }
}

/// The master of the demo: the same as that of `queue:listen`, on a thread of this process.
struct Master {
    thread: JoinHandle<Result<MasterExit, ListenError>>,
    config: Arc<Config>,
}

impl Master {
    fn start(config: &Arc<Config>) -> Result<Self, Failure> {
        let channels = config.channels.keys().cloned().collect();
        let listen = master::ListenOptions {
            config: Arc::clone(config),
            channels,
            http: false,
            may_reexec: false,
            log: None,
            snapshot_handlers: Vec::new(),
        };
        let thread = thread::Builder::new().name("master".to_owned()).spawn(|| master::listen(listen, None));
        let config = Arc::clone(config);
        thread
            .map(|thread| Self { thread, config })
            .map_err(|e| Failure::new(Exit::Failed, "start the demo's master").because(e))
    }

    fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    fn stop(self, channels: &[Channel]) -> Result<(), Failure> {
        if !self.has_ended() {
            for channel in channels {
                // A master that does not respond has ended; the result of its thread says why.
                let _ = control::query(channel, ControlRequest::Stop { force: false }, |_| {}, Some);
            }
        }
        let ended = self.thread.join().expect("the master does not panic");
        ended.map(drop).map_err(|error| failure(error, &self.config))
    }
}
