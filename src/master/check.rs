//! Whether the next program could serve what this one does: asked before a master begins anew, for one that cannot would be
//! the end of a service that works.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::actor::program;
use super::own_program;
use super::run_dir::RunDir;
use crate::channel::Command;
use crate::config::{self, Config, Driver};
use crate::http;
use crate::job::explained;

/// How long an actor may take to say how it stands.
const LOOK: Duration = Duration::from_secs(1);

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
        checked.unwrap_or_else(|error| Err(format!("a bug of aint-queue: {error}")))
    }

    /// What a start refuses before it looks for stores.
    fn could_start(&self, names: &[Arc<str>]) -> Result<(), String> {
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
            if self.config.channels.get(&**name).is_none_or(|old| old.pid_path != channel.pid_path) {
                can_lock(channel)?;
            }
        }
        match &next.http {
            Some(settings) if self.http && self.is_elsewhere(settings) => {
                http::bind(settings)
                    .map_err(|error| format!("could not listen on {} for HTTP: {error}", settings.listen))?;
            }
            _ => {}
        }
        itself()
    }

    /// Whether this is not the address that this program has already.
    fn is_elsewhere(&self, settings: &config::Http) -> bool {
        self.config.http.as_ref().is_none_or(|old| old.listen != settings.listen)
    }
}

/// Whether nobody else is master in a run directory that is not ours yet.
fn can_lock(channel: &config::Channel) -> Result<(), String> {
    let run_dir = RunDir::open(&channel.pid_path, &channel.name).map_err(|error| explained(&error))?;
    run_dir.lock().map(drop).map_err(|error| explained(&error))
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
    while let Some(answer) = asked.join_next().await {
        answer.unwrap_or_else(|error| Err(format!("a bug of aint-queue: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;

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
