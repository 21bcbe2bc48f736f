//! Whether the next program could serve what this one does: asked before a master begins anew, for one that cannot would be
//! the end of a service that works.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::actor::program;
use super::own_program;
use super::run_dir::{LockError, RunDir};
use super::start::ListenError;
use crate::channel::Command;
use crate::config::{self, Config, Driver};
use crate::http;
use crate::job::explained;
use crate::store;

/// How long an actor may take to say how it stands.
const LOOK: Duration = Duration::from_secs(1);
/// How long a store that the next program would be the first to use may take to open.
const OPEN: Duration = Duration::from_secs(5);

/// What the next program begins from.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// The configuration of this program; the next one reads its file again.
    pub(super) config: Arc<Config>,
    /// Whether the HTTP listener is wanted.
    pub(super) http: bool,
}

/// A channel that is served, and its actor.
pub(super) type Served = (Arc<str>, mpsc::Sender<Command>);

impl Check {
    /// Whether the next program could serve these channels; if not, why.
    pub(super) async fn run(self, served: Vec<Served>) -> Result<(), String> {
        stores_answer(&served).await?;
        let names: Vec<_> = served.into_iter().map(|(name, _)| name).collect();
        // Files and the names of users are looked up, which may take a while.
        let checked = tokio::task::spawn_blocking(move || self.could_start(&names)).await;
        // These last: what opening one makes is left only by a program that begins anew.
        stores_open(checked.unwrap_or_else(|error| Err(a_bug(&error)))?, OPEN).await
    }

    /// What a start refuses before it looks for stores. Answers the channels whose store is another one then, which
    /// nobody has looked at yet.
    fn could_start(&self, names: &[Arc<str>]) -> Result<Vec<config::Channel>, String> {
        let mut moved = Vec::new();
        let next = match &self.config.file {
            Some(file) => &Config::load(file).map_err(|error| error.to_string())?,
            None => &*self.config,
        };
        for name in names {
            let channel = next.channels.get(&**name);
            let channel = channel.ok_or_else(|| format!("channel \"{name}\" is not declared any more"))?;
            if channel.driver == Driver::Sync {
                return Err(format!(
                    "channel \"{name}\" has the driver \"sync\" now, which has nothing to serve"
                ));
            }
            program(channel, &next.directory()).map_err(|error| explained(&error))?;
            let old = self.config.channels.get(&**name);
            if old.is_none_or(|old| old.pid_path != channel.pid_path) {
                can_lock(channel)?;
            }
            if old.is_none_or(|old| old.driver != channel.driver) {
                moved.push(channel.clone());
            }
        }
        match &next.http {
            Some(settings) if self.http && self.is_elsewhere(settings) => {
                http::bind(settings)
                    .map_err(|error| format!("could not listen on {} for HTTP: {error}", settings.listen))?;
            }
            _ => {}
        }
        itself()?;
        Ok(moved)
    }

    /// Whether this is not the address that this program has already.
    fn is_elsewhere(&self, settings: &config::Http) -> bool {
        self.config.http.as_ref().is_none_or(|old| old.listen != settings.listen)
    }
}

/// Whether nobody else is master in a run directory that is not ours yet, or is so under another name.
fn can_lock(channel: &config::Channel) -> Result<(), String> {
    let run_dir = RunDir::open(&channel.pid_path, &channel.name).map_err(|error| explained(&error))?;
    match run_dir.lock() {
        Err(LockError::Held { pid: Some(pid), .. }) if pid == Pid::this().as_raw() => Ok(()),
        locked => locked.map(drop).map_err(|error| explained(&error)),
    }
}

/// Whether this program can be run again.
fn itself() -> Result<(), String> {
    let own = own_program().map_err(|error| error.to_string())?;
    let found = config::program::locate(&own.to_string_lossy(), Path::new("/"));
    found.map(drop).map_err(|why| format!("this program cannot be run again: {why}"))
}

/// Whether every channel can tell its store how its jobs end. All are asked at once.
async fn stores_answer(served: &[Served]) -> Result<(), String> {
    let mut asked = JoinSet::new();
    for (name, commands) in served {
        let (name, commands) = (Arc::clone(name), commands.clone());
        asked.spawn(async move {
            let report = async {
                let (reply, report) = oneshot::channel();
                commands.send(Command::Report(reply)).await.ok()?;
                report.await.ok()
            };
            // An actor that does not answer is trouble enough.
            match timeout(LOOK, report).await {
                Ok(Some(report)) => report.store_error.map_or(Ok(()), Err),
                Ok(None) | Err(_) => Err(format!("channel \"{name}\" does not answer")),
            }
        });
    }
    all(asked).await
}

/// Whether the stores of these channels can be used. All are opened at once.
async fn stores_open(channels: Vec<config::Channel>, within: Duration) -> Result<(), String> {
    let mut opened = JoinSet::new();
    for channel in channels {
        opened.spawn(async move {
            match timeout(within, store::open(&channel.driver, &channel.name)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(source)) => Err(explained(&ListenError::Store { channel: channel.name, source })),
                Err(_) => Err(format!(
                    "the new store of channel \"{}\" ({}) does not answer within {within:?}",
                    channel.name, channel.driver
                )),
            }
        });
    }
    all(opened).await
}

/// The first thing that is wrong, if anything is.
async fn all(mut answers: JoinSet<Result<(), String>>) -> Result<(), String> {
    while let Some(answer) = answers.join_next().await {
        answer.unwrap_or_else(|error| Err(a_bug(&error)))?;
    }
    Ok(())
}

fn a_bug(error: &JoinError) -> String {
    format!("a bug of aint-queue: {error}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::channel::Report;

    #[tokio::test]
    async fn all_channels_are_asked_at_once() {
        let (actors, mut asked): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel(1)).unzip();
        let names = ["a", "b", "c"].map(Arc::from);
        let answers =
            tokio::spawn(
                async move { stores_answer(&names.into_iter().zip(actors).collect::<Vec<_>>()).await },
            );
        let mut replies = Vec::new();
        // Nobody answers before the last one is asked.
        for asked in &mut asked {
            let Some(Command::Report(reply)) = asked.recv().await else {
                panic!("it is asked how it stands")
            };
            replies.push(reply);
        }
        let away = Some("the store is away".to_owned());
        for (reply, store_error) in replies.into_iter().zip([None, away.clone(), None]) {
            reply.send(Report { store_error, ..Report::default() }).unwrap();
        }
        assert_eq!(answers.await.unwrap().err(), away);
    }

    #[tokio::test]
    async fn one_that_has_ended_or_says_nothing_is_trouble() {
        let (ended, _) = mpsc::channel(1);
        let (mute, _never_read) = mpsc::channel(1);
        for actor in [ended, mute] {
            let why = stores_answer(&[("a".into(), actor)]).await.unwrap_err();
            assert_eq!(why, "channel \"a\" does not answer");
        }
    }

    /// What becomes of a check with this driver, and the master's own store is at "old.db".
    async fn with_driver(dir: &Path, driver: &str) -> Result<(), String> {
        let file = dir.join("aint-queue.toml");
        let write = |driver| {
            let text = format!(
                "defaults.pid_path = \"run\"\n[http]\nlisten = \"127.0.0.1:0\"\n[channels.a]\n{driver}"
            );
            fs::write(&file, text).unwrap();
        };
        write("driver = { type = \"sqlite\", path = \"old.db\" }");
        let check = Check { config: Arc::new(Config::load(&file).unwrap()), http: true };
        write(driver);
        let (commands, mut asked) = mpsc::channel(1);
        let actor = tokio::spawn(async move {
            let Some(Command::Report(reply)) = asked.recv().await else {
                panic!("it is asked how it stands")
            };
            reply.send(Report::default()).unwrap();
        });
        let found = check.run([("a".into(), commands)].into()).await;
        actor.await.unwrap();
        found
    }

    #[tokio::test]
    async fn a_store_that_is_another_one_in_the_file_is_opened_before() {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = |path| format!("driver = {{ type = \"sqlite\", path = \"{path}\" }}");
        assert_eq!(with_driver(dir.path(), &sqlite("old.db")).await, Ok(()));
        assert!(!dir.path().join("old.db").exists(), "this one is the actor's to speak for");
        assert_eq!(with_driver(dir.path(), &sqlite("new.db")).await, Ok(()));
        let why = with_driver(dir.path(), &sqlite("aint-queue.toml")).await.unwrap_err();
        assert!(why.starts_with("could not use the store of channel \"a\": "), "{why}");
        let why =
            with_driver(dir.path(), &format!("{}\nworker.command = [\"./gone\"]", sqlite("none.db"))).await;
        assert!(why.is_err(), "that is no program");
        assert!(!dir.path().join("none.db").exists(), "nothing is made for a program that does not begin");
    }

    #[cfg(feature = "redis")]
    #[tokio::test]
    async fn a_new_store_that_is_not_there_or_says_nothing_keeps_the_old_program() {
        let dir = tempfile::tempdir().unwrap();
        let redis = |port| {
            format!(
                "driver = {{ type = \"redis\", connection = {{ port = {port}, read_write_timeout = 60.0 }} }}"
            )
        };
        let why = with_driver(dir.path(), &redis(1)).await.unwrap_err();
        assert!(why.contains("127.0.0.1:1") && why.contains("channel \"a\""), "{why}");
        // Nobody accepts, but the kernel does.
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = dir.path().join("aint-queue.toml");
        let driver = redis(mute.local_addr().unwrap().port());
        fs::write(&file, format!("[channels.a]\n{driver}")).unwrap();
        let channels = Config::load(&file).unwrap().channels.into_values().collect();
        let why = stores_open(channels, Duration::from_millis(20)).await.unwrap_err();
        assert!(why.ends_with("does not answer within 20ms"), "{why}");
    }

    #[test]
    fn the_same_run_directory_under_another_name_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("aint-queue.toml");
        fs::write(&file, "defaults.pid_path = \"run\"\n[channels.a]\n").unwrap();
        let check = Check { config: Arc::new(Config::load(&file).unwrap()), http: true };
        let _ours = RunDir::open(&dir.path().join("run"), "a").unwrap().lock().unwrap();
        symlink("run", dir.path().join("alias")).unwrap();
        fs::write(&file, "defaults.pid_path = \"alias\"\n[channels.a]\n").unwrap();
        assert_eq!(check.could_start(&["a".into()]).err(), None);
    }

    #[test]
    fn what_a_start_would_refuse_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("aint-queue.toml");
        let script = dir.path().join("w.sh");
        let executable = |mode| fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&script, "#!/bin/sh\n").unwrap();
        executable(0o755);
        let good = "defaults.pid_path = \"run\"\n[channels.a.worker]\ntype = \"process\"\ncommand = [\"./w.sh\"]\n[channels.b]\n";
        fs::write(&file, good).unwrap();
        let check = Check { config: Arc::new(Config::load(&file).unwrap()), http: true };
        let served: Vec<Arc<str>> = ["a".into(), "b".into()].into();
        let refusal = |names: &[Arc<str>], text: &str| {
            fs::write(&file, text).unwrap();
            check.could_start(names).err().unwrap_or_default()
        };
        assert_eq!(refusal(&served, good), "");
        let without_b = good.replace("[channels.b]", "");
        assert_eq!(refusal(&served, &without_b), "channel \"b\" is not declared any more");
        assert_eq!(refusal(&served[..1], &without_b), "", "one that is not served may go");
        let sync = format!("{good}driver = {{ type = \"sync\" }}\n");
        assert!(refusal(&served, &sync).contains("channel \"b\" has the driver \"sync\" now"));
        assert!(refusal(&served, "no configuration").contains("aint-queue.toml"));
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = format!("{good}[http]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
        assert!(refusal(&served, &http).contains("could not listen on 127.0.0.1:"), "the port is another's");
        let elsewhere = good.replace("\"run\"", "\"w.sh\"");
        assert!(refusal(&served, &elsewhere).contains("w.sh"), "that is no directory");
        executable(0o644);
        let why = refusal(&served, good);
        assert!(why.contains("the program of channel \"a\"") && why.contains("is not executable"), "{why}");
    }
}
