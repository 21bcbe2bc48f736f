//! Splits a changed configuration into settings that a running master adopts and settings that need a restart. Pure.

use std::collections::BTreeMap;
use std::mem::discriminant;

use super::alerts::{Alerts, Receiver};
use super::{Channel, Config, Handler, Worker};

/// The settings of a channel after a reload.
#[derive(Clone, Debug)]
pub struct ReloadDiff {
    /// The new settings, with the old values where a restart is needed.
    pub channel: Channel,
    /// The changed keys that take effect after a restart only, as written in the file.
    pub restart: Vec<String>,
}

/// The difference between the served configuration `old` of a channel and the `new` one of the file.
#[must_use]
pub fn reload_diff(old: &Channel, new: &Channel) -> ReloadDiff {
    let mut channel = new.clone();
    let mut restart = Vec::new();
    let mut keep = |changed: bool, key: &str| {
        if changed {
            restart.push(format!("channels.{}.{key}", old.name));
        }
        changed
    };
    if keep(old.driver != new.driver, "driver") {
        channel.driver = old.driver.clone();
    }
    if keep(old.pid_path != new.pid_path, "pid_path") {
        channel.pid_path.clone_from(&old.pid_path);
    }
    if keep(old.memory_limit != new.memory_limit, "memory_limit") {
        channel.memory_limit = old.memory_limit;
    }
    if keep(old.max_waiting != new.max_waiting, "max_waiting") {
        channel.max_waiting = old.max_waiting;
    }
    if keep(old.max_bytes != new.max_bytes, "max_bytes") {
        channel.max_bytes = old.max_bytes;
    }
    let (was, is) = (&old.worker, &new.worker);
    let mode = keep(was.mode != is.mode, "worker.type");
    // Exit codes of the two kinds of program are judged by different rules, so one pool cannot run both at once.
    let kind = keep(once_per_job(&was.handler) != once_per_job(&is.handler), "worker.protocol");
    let slots = !mode && keep((was.plan.slots == 1) != (is.plan.slots == 1), "worker.max_coroutine");
    if mode || kind || slots {
        channel.worker.mode = was.mode;
        channel.worker.plan = was.plan;
        // The new mode may not have these keys at all.
        channel.worker.scaling = was.scaling;
    }
    // Some types exclude some kinds of handler (webhooks need `coroutine`): the old type keeps its handler.
    let handler =
        mode && !kind && keep(discriminant(&was.handler) != discriminant(&is.handler), source(was, is));
    if kind || handler {
        channel.worker.handler = was.handler.clone();
    }
    ReloadDiff { channel, restart }
}

/// The key that names the handler of either channel: `url` if one is a webhook, else `command`.
fn source(was: &Worker, is: &Worker) -> &'static str {
    let is_webhook = |worker: &Worker| matches!(worker.handler, Handler::Webhook(_));
    if is_webhook(was) || is_webhook(is) { "worker.url" } else { "worker.command" }
}

/// Changes outside the channel tables: `[http]`, added and removed channels. All of them take effect after a restart only.
#[must_use]
pub fn changed_tables(old: &Config, new: &Config) -> Vec<String> {
    let mut changed = Vec::new();
    if old.http != new.http {
        changed.push("http".to_owned());
    }
    if old.metrics != new.metrics {
        changed.push("metrics".to_owned());
    }
    if old.otel != new.otel {
        changed.push("otel".to_owned());
    }
    if old.log != new.log {
        changed.push("log".to_owned());
    }
    if declared_alerts(old) != declared_alerts(new) {
        changed.push("alerts".to_owned());
    }
    for name in new.channels.keys() {
        if alert_handlers(old, name) != alert_handlers(new, name) {
            changed.push(format!("channels.{name}.job_snapshot.handler with when"));
        }
    }
    let only_in = |one: &Config, other: &Config| {
        let names = one.channels.keys().filter(|name| !other.channels.contains_key(*name));
        names.map(|name| format!("channels.{name}")).collect::<Vec<_>>()
    };
    changed.extend(only_in(new, old));
    changed.extend(only_in(old, new));
    changed
}

/// The settings of alerts without the receivers of snapshot handlers.
fn declared_alerts(config: &Config) -> Option<Alerts> {
    let mut alerts = config.alerts.clone()?;
    alerts.receivers.retain(|_, receiver| !receiver.is_handler);
    Some(alerts)
}

/// The receivers of alerts among the snapshot handlers of a channel, by name: their order has no meaning.
fn alert_handlers<'a>(config: &'a Config, channel: &str) -> BTreeMap<&'a str, &'a Receiver> {
    let channel = config.channels.get(channel);
    let handlers = channel.into_iter().flat_map(|channel| &channel.snapshot.handlers);
    let receivers = handlers.filter(|handler| handler.rule.is_some()).map(|handler| &handler.receiver);
    receivers.map(|receiver| (receiver.name.as_str(), receiver)).collect()
}

fn once_per_job(handler: &Handler) -> bool {
    matches!(handler, Handler::Exec { .. })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Driver;
    use crate::config::keys::KEYS;
    use crate::config::schema::Property;

    fn config(text: &str) -> Config {
        Config::parse(text, std::path::Path::new("/srv/aint-queue.toml")).unwrap()
    }

    fn renewal(old: &str, new: &str) -> ReloadDiff {
        let (old, new) = (config(old), config(new));
        reload_diff(&old.channels["default"], &new.channels["default"])
    }

    #[test]
    fn keys_that_need_a_restart_are_declared_so() {
        let new = "[channels.default]\npid_path = \"/elsewhere\"\nmemory_limit = 70\nmax_waiting = 5\nmax_bytes = 5\nmax_attempts = 9\nstop_wait_seconds = 60\n\
                   driver = { type = \"sync\" }\n[channels.default.worker]\ntype = \"coroutine\"\nsleep_seconds = 3\n";
        let changed = renewal("[channels.default]\n", new).restart.into_iter().collect::<BTreeSet<_>>();
        let restart = KEYS.iter().filter(|key| key.properties.contains(&Property::Restart));
        // A driver is replaced as a whole.
        let named = restart.map(|key| if key.path.starts_with("driver.") { "driver" } else { key.path });
        assert_eq!(changed, named.map(|key| format!("channels.default.{key}")).collect());
    }

    #[test]
    fn worker_settings_are_reloaded() {
        let new = "[channels.default]\nmax_attempts = 9\n[channels.default.worker]\ntype = \"process-pool\"\n\
                   min_worker_number = 7\nmax_worker_number = 9\nmemory_limit = 50\ncommand = [\"cat\"]\n";
        let renewed = renewal("[channels.default.worker]\ntype = \"process-pool\"\n", new);
        assert_eq!(renewed.restart, Vec::<String>::new());
        let Channel { worker, max_attempts, .. } = renewed.channel;
        assert_eq!(
            (worker.plan.min, worker.plan.max, worker.recycling.memory_limit, max_attempts),
            (7, 9, Some(50 << 20), 9)
        );
        assert_eq!(worker.handler, Handler::Wire { command: vec!["cat".to_owned()].into() });
    }

    #[test]
    fn restart_only_settings_stay_and_are_named() {
        let new = "[channels.default]\npid_path = \"/elsewhere\"\nmemory_limit = 70\n\
                   driver = { type = \"sqlite\", path = \"other.db\" }\n\
                   [channels.default.worker]\ntype = \"coroutine\"\nmax_execute_seconds = 3\n";
        let old = "[channels.default]\npid_path = \"/here\"\n[channels.default.worker]\ntype = \"process-pool\"\ncool_down_seconds = 3\ndynamic_mode = false\n";
        let ReloadDiff { channel, restart } = renewal(old, new);
        let keys = ["driver", "pid_path", "memory_limit", "worker.type"];
        assert_eq!(restart, keys.map(|key| format!("channels.default.{key}")));
        let kept = &config(old).channels["default"];
        assert_eq!((&channel.driver, &channel.pid_path), (&kept.driver, &kept.pid_path));
        assert!(matches!(channel.driver, Driver::Sqlite { .. }));
        assert_eq!((channel.memory_limit, channel.worker.plan), (kept.memory_limit, kept.worker.plan));
        assert_eq!(channel.worker.scaling, kept.worker.scaling, "it belongs to the type");
        assert_eq!(channel.worker.max_execute.unwrap().as_secs(), 3, "the rest is taken over");
    }

    #[test]
    fn command_and_registered_jobs_do_not_swap() {
        let of = |protocol: &str| {
            format!(
                "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"cat\"]\nprotocol = \"{protocol}\"\n"
            )
        };
        let ReloadDiff { channel, restart } = renewal(&of("wire"), &of("exec"));
        assert_eq!(restart, ["channels.default.worker.protocol"]);
        assert!(matches!(channel.worker.handler, Handler::Wire { .. }));
    }

    #[test]
    fn other_tables_need_a_restart() {
        let (old, new) = (
            config("[channels.default]\n"),
            config("[channels.default]\n[http]\nlisten = \"127.0.0.1:8080\"\n"),
        );
        assert_eq!(changed_tables(&old, &new), ["http"]);
        assert_eq!(changed_tables(&new, &new), Vec::<String>::new());
    }

    #[test]
    fn added_alert_handler_needs_a_restart_and_order_does_not() {
        let handlers = |paths: &[&str]| {
            let item =
                |path: &&str| format!("{{ type = \"file\", path = \"{path}\", when = \"waiting > 1\" }}");
            let items: Vec<_> = paths.iter().map(item).collect();
            config(&format!("[channels.default]\njob_snapshot.handler = [{}]\n", items.join(", ")))
        };
        let changed = |old: &[&str], new: &[&str]| changed_tables(&handlers(old), &handlers(new));
        assert_eq!(changed(&["a", "b"], &["b", "a"]), Vec::<String>::new());
        for (old, new) in [(&["a"][..], &["b", "a"][..]), (&["a", "b"], &["b"]), (&["a"], &["b"])] {
            assert_eq!(changed(old, new), ["channels.default.job_snapshot.handler with when"]);
        }
    }

    #[test]
    fn added_or_removed_channels_need_a_restart() {
        let (old, new) = (
            config("[channels.default]\n[channels.mail]\n"),
            config("[channels.default]\n[channels.post]\n"),
        );
        assert_eq!(changed_tables(&old, &new), ["channels.post", "channels.mail"]);
    }

    #[test]
    fn handler_unfit_for_kept_type_waits_for_restart() {
        let pool = "[channels.default.worker]\ntype = \"process-pool\"\n";
        let url = "[channels.default.worker]\ntype = \"coroutine\"\nurl = \"https://example.com/jobs\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n";
        for (old, new) in [(pool, url), (url, pool)] {
            let ReloadDiff { channel, restart } = renewal(old, new);
            assert_eq!(restart, ["channels.default.worker.type", "channels.default.worker.url"]);
            assert_eq!(channel.worker.handler, config(old).channels["default"].worker.handler);
        }
        // Of the same kind, it is only another program.
        let cat = format!("{pool}command = [\"cat\"]\n");
        let tac = "[channels.default.worker]\ntype = \"coroutine\"\ncommand = [\"tac\"]\n";
        let ReloadDiff { channel, restart } = renewal(&cat, tac);
        assert_eq!(restart, ["channels.default.worker.type"]);
        assert_eq!(channel.worker.handler, Handler::Wire { command: vec!["tac".to_owned()].into() });
    }
}
