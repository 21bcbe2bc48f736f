//! `demo`: the whole thing on a throw-away store, in front of your eyes.

mod cast;
mod show;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::listen::failure;
use super::{Exit, Failure, Session};
use crate::config::{Channel, Config};
use crate::master::{self, Ended, ListenError, Request};
use crate::store::{MAX_BATCH, Status, Store};
use show::Stage;

/// Longest time the jobs may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// See jobs of every kind run in all three modes, on a throw-away store
#[derive(Debug, Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let scene = Scene::new()?;
        let config = Arc::new(Config::load(scene.config()).map_err(Failure::config)?);
        let began = Instant::now();
        let channels: Vec<Channel> = config.channels.values().cloned().collect();
        let mut stores = Vec::new();
        for channel in &channels {
            stores.push(session.store(channel)?);
        }
        let master = Master::start(&config)?;
        let stage = Stage::new(session, &channels);
        let outcome = session.block_on(play(&channels, &stores, &stage, &master));
        stage.close();
        // Whatever happened, the master ends before the scene is struck.
        master.stop(&channels)?;
        let ends = outcome?;
        report(session, &channels, &ends, began.elapsed())
    }
}

/// Pushes everything and waits until nothing is left to run.
async fn play(
    channels: &[Channel],
    stores: &[Arc<dyn Store>],
    stage: &Stage,
    master: &Master,
) -> Result<Vec<Status>, Failure> {
    let wrong = |error| Failure::store("run the demo", error);
    for (channel, store) in channels.iter().zip(stores) {
        for batch in cast::jobs(&channel.name).chunks(MAX_BATCH) {
            store.push(batch).await.map_err(|error| Failure::push("push the jobs of the demo", error))?;
        }
    }
    let begun = Instant::now();
    loop {
        let mut all = Vec::new();
        for store in stores {
            all.push(store.status().await.map_err(wrong)?);
        }
        stage.update(channels, &all);
        if all.iter().all(|s| s.waiting + s.reserved + s.delayed == 0) {
            return Ok(all);
        }
        if master.has_ended() {
            // An interrupt at the terminal stops it, as it stops every master.
            return Err(
                Failure::new(Exit::Failed, "finish the demo").because("it was stopped before its end")
            );
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(Exit::Failed, "finish the demo")
                .because(format!("jobs are left after {PATIENCE:?}: {all:?}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Shows how it ended; a failure unless every count is as the cast demands.
fn report(session: &Session, channels: &[Channel], ends: &[Status], took: Duration) -> Result<(), Failure> {
    let expected: Vec<_> = channels.iter().map(|channel| cast::expected(&channel.name)).collect();
    let adds_up = ends
        .iter()
        .zip(&expected)
        .all(|(end, (done, failed))| (end.done, end.failed, end.total()) == (*done, *failed, done + failed));
    if session.json() {
        let counts: Vec<_> =
            channels.iter().zip(ends).map(|(c, s)| json!({ "channel": c.name, "counts": s })).collect();
        session
            .print_json(&json!({ "adds_up": adds_up, "seconds": took.as_secs_f64(), "channels": counts }))?;
    } else {
        session.print(&show::ends(channels, ends))?;
        session.print(&cast::epilogue(took))?;
    }
    if adds_up {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "account for every job")
        .because(format!("the counts are {ends:?}, expected were (done, failed) {expected:?}"))
        .hint("this is a bug: please report it with the output above"))
}

/// A directory for the configuration, the store and the run files; gone when dropped.
struct Scene(PathBuf);

impl Scene {
    fn new() -> Result<Self, Failure> {
        let wrong = |e: io::Error| Failure::new(Exit::Failed, "prepare a directory for the demo").because(e);
        let name = format!("aint-queue-demo-{:016x}", fastrand::u64(..));
        let scene = Self(std::env::temp_dir().join(name));
        fs::create_dir(&scene.0).map_err(wrong)?;
        fs::write(scene.config(), cast::CONFIG).map_err(wrong)?;
        Ok(scene)
    }

    fn config(&self) -> PathBuf {
        Path::join(&self.0, "aint-queue.toml")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // What cannot be removed is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The master of the demo: the same one that `queue:listen` runs, on a thread of this process.
struct Master(JoinHandle<Result<Ended, ListenError>>);

impl Master {
    fn start(config: &Arc<Config>) -> Result<Self, Failure> {
        let channels = config.channels.keys().cloned().collect();
        let listen =
            master::Listen { config: Arc::clone(config), channels, http: false, may_begin_anew: false };
        let thread = thread::Builder::new().name("master".to_owned()).spawn(|| master::listen(listen, None));
        thread.map(Self).map_err(|e| Failure::new(Exit::Failed, "start the demo's master").because(e))
    }

    fn has_ended(&self) -> bool {
        self.0.is_finished()
    }

    fn stop(self, channels: &[Channel]) -> Result<(), Failure> {
        if !self.has_ended() {
            for channel in channels {
                // A master that does not answer has ended, and says below why.
                let _ = master::ask(&master::socket(channel), Request::Stop { force: false }, |_| {});
            }
        }
        self.0.join().expect("the master does not panic").map(drop).map_err(failure)
    }
}
