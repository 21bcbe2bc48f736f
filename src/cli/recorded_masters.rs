//! Masters that keep serving while their configuration file cannot be used. The record in the run directory of such a master names
//! that file and the store, so a command finds its master without the file, and never the master of another project.

use std::path::{Path, PathBuf};

use super::render;
use crate::config::{self, Config, canonical};
use crate::master;
use crate::store::StoreIdentity;

/// The commands that reach a master by its record.
const COMMANDS: &str = "queue:status, queue:stop, queue:quiet, queue:pause, queue:resume and queue:scale";

/// A running master of a channel, as its record describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordedMaster {
    channel: String,
    run_directory: PathBuf,
    pid: Option<i32>,
    store: Option<StoreIdentity>,
}

/// The running masters of this machine that were started from `file`. Only records that this user may trust count.
pub(super) fn masters_of(file: &Path) -> Vec<RecordedMaster> {
    let mut found = Vec::new();
    for run_directory in config::run_directories(file) {
        for (channel, presence) in master::presences_in(&run_directory) {
            let recorded = presence.served.config.as_deref().map(Path::new);
            let is_of_file = recorded.is_some_and(|recorded| canonical(recorded) == canonical(file));
            if is_of_file && presence.distrust.is_none() {
                let (pid, store) = (presence.pid, presence.served.store);
                found.push(RecordedMaster { channel, run_directory: run_directory.clone(), pid, store });
            }
        }
    }
    found
}

/// A configuration that means the recorded run directories and stores; all else is at its default. `None` without a store.
pub(super) fn configuration(file: &Path, masters: &[RecordedMaster]) -> Option<Config> {
    let text: String = masters.iter().filter_map(declaration).collect();
    Config::parse(&text, file).ok()
}

/// The declaration of a channel.
fn declaration(master: &RecordedMaster) -> Option<String> {
    let driver = match master.store.as_ref()? {
        StoreIdentity::Sqlite { path, configured, .. } => {
            format!("{{ type = \"sqlite\", path = {} }}", quoted(configured.as_ref().unwrap_or(path)))
        }
        StoreIdentity::Redis { address, database, prefix, .. } => {
            let (host, port) = address.rsplit_once(':')?;
            let host = quoted(host.trim_matches(['[', ']']));
            let prefix =
                if prefix.is_empty() { String::new() } else { format!(", prefix = {}", quoted(prefix)) };
            format!(
                "{{ type = \"redis\", connection = {{ host = {host}, port = {port}, database = {database} }}{prefix} }}"
            )
        }
    };
    let (channel, directory) = (quoted(&master.channel), quoted(&master.run_directory.to_string_lossy()));
    Some(format!("[channels.{channel}]\npid_path = {directory}\ndriver = {driver}\n"))
}

/// A string of TOML that means this text literally.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace("${", "$${")).to_string()
}

/// The masters by process: `master 42 (channel "mail")`.
pub(super) fn listed(masters: &[RecordedMaster]) -> String {
    let of_process = |pid: Option<i32>| {
        let channels: Vec<_> = masters
            .iter()
            .filter(|master| master.pid == pid)
            .map(|master| format!("\"{}\"", master.channel))
            .collect();
        let noun = if channels.len() == 1 { "channel" } else { "channels" };
        let pid = pid.map_or(String::new(), |pid| format!(" {pid}"));
        format!("master{pid} ({noun} {})", render::listed(&channels))
    };
    render::listed(&processes(masters).into_iter().map(of_process).collect::<Vec<_>>())
}

fn processes(masters: &[RecordedMaster]) -> Vec<Option<i32>> {
    let mut pids: Vec<_> = masters.iter().map(|master| master.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// The remedy of a command that needs the configuration.
pub(super) fn remedy(masters: &[RecordedMaster]) -> String {
    let stop: Vec<_> =
        processes(masters).into_iter().flatten().map(|pid| format!("kill -TERM {pid}")).collect();
    let stop = if stop.is_empty() { String::new() } else { format!("; {} stops it", render::listed(&stop)) };
    format!(
        "{} keeps serving with the previous configuration: {COMMANDS} still work{stop}; docs/configuration.md lists every key",
        listed(masters)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Driver;

    fn master(channel: &str, store: StoreIdentity) -> RecordedMaster {
        let run_directory = PathBuf::from("/run/a \"${x}\"");
        RecordedMaster { channel: channel.to_owned(), run_directory, pid: Some(42), store: Some(store) }
    }

    #[test]
    fn recorded_stores_are_meant_literally() {
        let path = PathBuf::from("/srv/\"${HOME}\".db");
        let sqlite = StoreIdentity::of(&Driver::Sqlite { path: path.clone(), named: true }).unwrap();
        let redis = StoreIdentity::Redis {
            address: "[::1]:6390".to_owned(),
            database: 3,
            prefix: "shop:".to_owned(),
            run_id: Some("f00".to_owned()),
        };
        let masters = [master("a", sqlite.clone()), master("b", redis.clone())];
        let config = configuration(Path::new("/srv/aint-queue.toml"), &masters).unwrap();
        for (channel, store) in [("a", &sqlite), ("b", &redis)] {
            let channel = &config.channels[channel];
            assert_eq!(channel.pid_path, masters[0].run_directory);
            assert!(StoreIdentity::of(&channel.driver).unwrap().is_same(store), "{channel:?}");
        }
        let nameless = RecordedMaster { store: None, ..masters[0].clone() };
        assert!(configuration(Path::new("/srv/aint-queue.toml"), &[nameless]).is_none());
    }

    #[test]
    fn remedy_names_process_and_channels() {
        let store = StoreIdentity::of(&Driver::Sqlite { path: "/a".into(), named: true }).unwrap();
        let said = remedy(&[master("a", store.clone()), master("b", store)]);
        assert!(said.starts_with("master 42 (channels \"a\" and \"b\") keeps serving"), "{said}");
        assert!(said.contains("; kill -TERM 42 stops it;"), "{said}");
    }
}
