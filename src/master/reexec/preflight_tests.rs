use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::channel::ChannelStatus;

#[tokio::test]
async fn all_channels_are_checked_concurrently() {
    let (actors, mut asked): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel(1)).unzip();
    let names = ["a", "b", "c"].map(Arc::from);
    let answers = tokio::spawn(async move {
        check_current_stores(&names.into_iter().zip(actors).collect::<Vec<_>>()).await
    });
    let mut replies = Vec::new();
    // No actor answers before the last one is asked.
    for asked in &mut asked {
        let Some(Command::Status(reply)) = asked.recv().await else {
            panic!("the actor is asked for its status")
        };
        replies.push(reply);
    }
    let unavailable = Some("the store is unavailable".to_owned());
    for (reply, store_error) in replies.into_iter().zip([None, unavailable.clone(), None]) {
        reply.send(ChannelStatus { store_error, ..ChannelStatus::default() }).unwrap();
    }
    assert_eq!(answers.await.unwrap().err(), unavailable);
}

#[tokio::test]
async fn ended_or_silent_channel_fails_preflight() {
    let (ended, _) = mpsc::channel(1);
    let (mute, _never_read) = mpsc::channel(1);
    for actor in [ended, mute] {
        let why = check_current_stores(&[("a".into(), actor)]).await.unwrap_err();
        assert_eq!(why, "the actor of channel \"a\" does not answer");
    }
}

/// The result of a check with this driver in the file, while the master's own store is at "old.db".
async fn with_driver(dir: &Path, driver: &str) -> Result<(), String> {
    let file = dir.join("aint-queue.toml");
    let write = |driver| {
        let text =
            format!("defaults.pid_path = \"run\"\n[http]\nlisten = \"127.0.0.1:0\"\n[channels.a]\n{driver}");
        fs::write(&file, text).unwrap();
    };
    write("driver = { type = \"sqlite\", path = \"old.db\" }");
    let preflight = Preflight { config: Arc::new(Config::load(&file).unwrap()), http: true };
    write(driver);
    let (commands, mut asked) = mpsc::channel(1);
    let actor = tokio::spawn(async move {
        let Some(Command::Status(reply)) = asked.recv().await else {
            panic!("the actor is asked for its status")
        };
        reply.send(ChannelStatus::default()).unwrap();
    });
    let found = preflight.run([("a".into(), commands)].into()).await;
    actor.await.unwrap();
    found
}

#[tokio::test]
async fn changed_store_is_opened_during_preflight() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = |path| format!("driver = {{ type = \"sqlite\", path = \"{path}\" }}");
    assert_eq!(with_driver(dir.path(), &sqlite("old.db")).await, Ok(()));
    assert!(!dir.path().join("old.db").exists(), "the actor checks its own store");
    assert_eq!(with_driver(dir.path(), &sqlite("new.db")).await, Ok(()));
    let why = with_driver(dir.path(), &sqlite("aint-queue.toml")).await.unwrap_err();
    assert!(why.starts_with("could not use the store of channel \"a\": "), "{why}");
    let why = with_driver(dir.path(), &format!("{}\nworker.command = [\"./gone\"]", sqlite("none.db"))).await;
    assert!(why.is_err(), "\"./gone\" is no program");
    assert!(!dir.path().join("none.db").exists(), "a failed check creates no store");
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn unreachable_new_store_refuses_reexec() {
    let dir = tempfile::tempdir().unwrap();
    let redis = |port| {
        format!(
            "driver = {{ type = \"redis\", connection = {{ port = {port}, read_write_timeout = 60.0 }} }}"
        )
    };
    let why = with_driver(dir.path(), &redis(1)).await.unwrap_err();
    assert!(why.contains("127.0.0.1:1") && why.contains("channel \"a\""), "{why}");
    // The kernel completes connections that no program accepts.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = dir.path().join("aint-queue.toml");
    let driver = redis(mute.local_addr().unwrap().port());
    fs::write(&file, format!("[channels.a]\n{driver}")).unwrap();
    let channels = Config::load(&file).unwrap().channels.into_values().collect();
    let why = check_new_stores(channels, Duration::from_millis(20)).await.unwrap_err();
    assert!(why.ends_with("does not answer within 20ms"), "{why}");
}

#[test]
fn run_dir_alias_is_recognized() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("aint-queue.toml");
    fs::write(&file, "defaults.pid_path = \"run\"\n[channels.a]\n").unwrap();
    let preflight = Preflight { config: Arc::new(Config::load(&file).unwrap()), http: true };
    let _ours = RunDir::open(&dir.path().join("run"), "a").unwrap().lock().unwrap();
    symlink("run", dir.path().join("alias")).unwrap();
    fs::write(&file, "defaults.pid_path = \"alias\"\n[channels.a]\n").unwrap();
    assert_eq!(preflight.check_start(&["a".into()]).err(), None);
}

#[test]
fn own_listener_does_not_block_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("aint-queue.toml");
    let ours = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = ours.local_addr().unwrap().port();
    let load = |address: &str| {
        let token = "token = \"0123456789abcdef0123456789abcdef\"";
        fs::write(&file, format!("[channels.a]\n[http]\nlisten = \"{address}:{port}\"\n{token}\n")).unwrap();
        Arc::new(Config::load(&file).unwrap())
    };
    let refusal = |old: Arc<Config>| Preflight { config: old, http: true }.check_start(&[]).err();
    let old = load("127.0.0.1");
    load("0.0.0.0");
    assert_eq!(refusal(old), None);
    let old = load("127.0.0.1");
    // Another program may have the port already; either way it is not this one.
    let _another = TcpListener::bind(("127.0.0.2", port));
    load("127.0.0.2");
    let why = refusal(old).expect("another listener has the address");
    assert!(why.contains("could not listen on 127.0.0.2:"), "{why}");
    let old = load("127.0.0.3");
    load("127.0.0.1");
    assert!(refusal(old).is_some(), "the port of another address is not this program's");
}

#[test]
fn preflight_refuses_what_startup_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("aint-queue.toml");
    let script = dir.path().join("w.sh");
    let executable = |mode| fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
    fs::write(&script, "#!/bin/sh\n").unwrap();
    executable(0o755);
    let good = "defaults.pid_path = \"run\"\n[channels.a.worker]\ntype = \"process\"\ncommand = [\"./w.sh\"]\n[channels.b]\n";
    fs::write(&file, good).unwrap();
    let preflight = Preflight { config: Arc::new(Config::load(&file).unwrap()), http: true };
    let served: Vec<Arc<str>> = ["a".into(), "b".into()].into();
    let refusal = |names: &[Arc<str>], text: &str| {
        fs::write(&file, text).unwrap();
        preflight.check_start(names).err().unwrap_or_default()
    };
    assert_eq!(refusal(&served, good), "");
    let without_b = good.replace("[channels.b]", "");
    assert_eq!(refusal(&served, &without_b), "channel \"b\" is no longer declared");
    assert_eq!(refusal(&served[..1], &without_b), "", "a channel that is not served may disappear");
    let sync = format!("{good}driver = {{ type = \"sync\" }}\n");
    assert!(refusal(&served, &sync).contains("channel \"b\" now has the driver \"sync\""));
    assert!(refusal(&served, "no configuration").contains("aint-queue.toml"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = format!("{good}[http]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    assert!(
        refusal(&served, &http).contains("could not listen on 127.0.0.1:"),
        "another program has the port"
    );
    let elsewhere = good.replace("\"run\"", "\"w.sh\"");
    assert!(refusal(&served, &elsewhere).contains("w.sh"), "w.sh is no directory");
    executable(0o644);
    let why = refusal(&served, good);
    assert!(why.contains("the program of channel \"a\"") && why.contains("is not executable"), "{why}");
}
