//! The declaration of every key of a channel, of `[http]` and of `[log]`: type, range, unit, default, effective value, meaning.
//!
//! The loader validates against these tables and takes defaults from them; `config:check` and the documentation are rendered from
//! them; tests compare the reference file, and the keys that need a restart, with them.

use super::Mode::{Coroutine, ProcessPool};
#[cfg(feature = "server")]
use super::effective_value::{
    HIDDEN, NOT_SHOWN, Rendered, hidden, kept, mib, millis, redis, sqlite, webhook,
};
#[cfg(feature = "server")]
use super::schema::Getter;
use super::schema::Kind::{
    Argv, Channels, Choice, Flag, Headers, Hosts, Inherited, Integer, Number, Path, Seconds, Secret, Secrets,
    Tables, Text, Texts, Tokens, Variables,
};
use super::schema::Property::{In, Restart, WithUrl};
use super::schema::{Key, names_below};

/// Builds the rows of a table: path: kind, unit = default, [properties], effective value, meaning.
macro_rules! keys {
    ($owner:ident: $getter:ident; $($path:literal: $kind:expr, $($unit:literal)? = $default:literal, [$($property:expr),*], $value:expr, $meaning:literal;)*) => {
        &[$(Key {
            path: $path,
            kind: $kind,
            unit: concat!($($unit)?),
            default: $default,
            properties: &[$($property),*],
            #[cfg(feature = "server")]
            value: Getter::$getter(|$owner| {
                let _ = $owner;
                Rendered::rendered(&$value)
            }),
            meaning: $meaning,
        }),*]
    };
}

/// A day in seconds.
const DAY: f64 = 86_400.0;

/// Every key of a channel, in the order of the reference file.
pub(super) static KEYS: &[Key] = keys! { c: Channel;
    "pid_path": Path, = "/run/aint-queue as root, else $XDG_RUNTIME_DIR/aint-queue, else aint-queue-<uid> in the temporary directory; without a configuration file, a directory of the store below it", [Restart], c.pid_path,
        "run directory: pid file, lock and control socket of each channel";
    "memory_limit": Integer(16, 1 << 20), "MiB" = "96", [Restart], c.memory_limit,
        "memory of the master; above it for five seconds the master drains and re-executes itself; the largest value of its channels counts";
    "max_attempts": Integer(1, 10_000), = "3", [], c.max_attempts,
        "attempts of a job that does not set its own";
    "max_waiting": Integer(1, 1 << 40), "jobs" = "", [Restart], c.max_waiting,
        "waiting and delayed jobs of the channel; pushes above it are refused; no limit by default";
    "max_bytes": Integer(1, 1 << 50), "bytes" = "", [Restart], c.max_bytes,
        "bytes of all jobs in the store: options, errors, payloads, and output of failed runs; pushes above it are refused; no limit by default";
    "priority_max_wait": Number(0.0, DAY), "seconds" = "0", [], c.priority_max_wait.unwrap_or_default(),
        "longest time that the front job of a lower priority waits behind jobs of higher ones; 0 for no limit";
    "stop_wait_seconds": Number(0.0, DAY), "seconds" = "30", [], c.stop_wait,
        "time that a stop, a reload or a retiring worker waits for running jobs";
    "stop_grace_seconds": Number(0.0, 3_600.0), "seconds" = "5", [], c.stop_grace,
        "time between asking a worker to stop and killing it";
    "timeout_grace_ms": Integer(0, 60_000), "milliseconds" = "300", [], millis(c.timeout_grace),
        "time between asking a timed-out or cancelled job to end and killing its worker";
    "keep_output": Flag, = "true", [], c.keep_output,
        "keep the last 40 lines and 8 KiB that a failed run printed with its job in the store, until the job is retried by hand, removed or done";
    "keep_done.count": Integer(0, 1_000_000), "jobs" = "0", [], c.keep_done.map_or(0, |kept| kept.count),
        "most done jobs that stay in the store, with the end of their runs and their last lines; 0 keeps none: the master has the last 1,000 in memory";
    "keep_done.seconds": Number(1.0, 3_650.0 * DAY), "seconds" = "86400", [], c.keep_done.map(|kept| kept.age),
        "longest time that a done job stays in the store";
    "backoff.kind": Choice(&["fixed", "linear", "exponential"], &[]), = "\"exponential\"", [], c.backoff.kind.as_str(),
        "growth of the wait before the next attempt";
    "backoff.base": Number(0.0, DAY), "seconds" = "1", [], c.backoff.base,
        "wait after the first attempt";
    "backoff.max": Number(0.0, 365.0 * DAY), "seconds" = "3600", [], c.backoff.max,
        "longest wait, before jitter";
    "backoff.delays": Seconds(365.0 * DAY), "seconds" = "[]", [], c.backoff.delays,
        "waits after the first, second … attempt, in place of `kind`, `base` and `max`; the last one repeats";
    "backoff.jitter": Number(0.0, 1.0), = "0.2", [], c.backoff.jitter,
        "largest random share added to the wait";
    "driver.type": Choice(&["sqlite", "redis", "sync"], &[]), = "\"sqlite\"", [Restart], c.driver.type_name(),
        "the store: an embedded file, or a Redis or Valkey server; `sync`: no store, a push runs the job in the caller";
    "driver.connector": Text, = "", [], NOT_SHOWN,
        "the store as queues in PHP name it: sets nothing, and is refused if it contradicts `type`: `redis`, `predis`, `phpredis`, `sync`, or a class such as `think\\queue\\connector\\Redis`";
    "driver.path": Path, = "\"aint-queue.db\"", [Restart], sqlite(c),
        "the file of the `sqlite` driver";
    "driver.connection.host": Text, = "\"127.0.0.1\"", [Restart], redis(c).map(|r| &r.host),
        "host of the `redis` driver";
    "driver.connection.port": Integer(1, 65_535), = "6379", [Restart], redis(c).map(|r| r.port),
        "port of the `redis` driver";
    "driver.connection.database": Integer(0, 1 << 20), = "0", [Restart], redis(c).map(|r| r.database),
        "database number of the `redis` driver";
    "driver.connection.username": Text, = "", [Restart], redis(c).map(|r| &r.username),
        "ACL user of the `redis` driver";
    "driver.connection.password": Secret, = "", [Restart], redis(c).map(|r| &r.password),
        "password of the `redis` driver; never shown";
    "driver.connection.read_write_timeout": Number(0.0, 60.0), "seconds" = "3", [Restart], redis(c).map(|r| r.read_write_timeout),
        "deadline of one call to Redis, at least 0.05; 0 = the default, since a call without a deadline could block its channel";
    "driver.connection.connector": Text, = "", [], NOT_SHOWN,
        "the client library, as `driver.connector`: sets nothing, because the client is built in";
    "driver.url": Secret, = "", [Restart], NOT_SHOWN,
        "`redis://user:password@host:port/database`, in place of these keys of `connection`";
    "driver.prefix": Text, = "", [Restart], redis(c).map(|r| &r.prefix).filter(|prefix| !prefix.is_empty()),
        "text before the names of all keys in Redis, `A-Z a-z 0-9 _ . : / -`, so that two applications share a database";
    "driver.allow_eviction": Flag, = "false", [Restart], redis(c).map(|r| r.allow_eviction),
        "accept a Redis whose `maxmemory-policy` may evict jobs: they would be lost";
    "driver.allow_cleartext": Flag, = "false", [Restart], redis(c).map(|r| r.allow_cleartext),
        "send the password to another host without encryption, on a network that is trusted: no warning";
    "job_snapshot.interval": Number(1.0, DAY), "seconds" = "300", [], c.snapshot.interval,
        "time between two counts";
    "job_snapshot.handler": Tables, = "[]", [], NOT_SHOWN,
        "receivers of the counts, of `type` `log`, `command`, `webhook`, `email` or `file`, with the keys of a receiver of alerts; with `when` an item is a receiver of any type and its rule: it has the keys of both, and gets alerts in place of counts";
    "alerts.rule": Tables, = "[]", [], NOT_SHOWN,
        "rules of alerts of the channel, with the keys of a rule; an item with the name of another rule changes that one";
    "job_log.level": Choice(&["off", "debug", "info"], &[]), = "\"info\"", [], c.job_log.level.as_str(),
        "level of the line that the log has for each job that is done or released; failures always have a line";
    "job_log.lines_per_second": Integer(0, 1_000_000), "lines" = "50", [], c.job_log.lines_per_second,
        "most such lines; each line counts the jobs before it that have none; 0 = a line for every job";
    "worker.type": Choice(&["process", "process-pool", "coroutine"], &[]), = "\"process\"", [Restart], c.worker.mode.as_str(),
        "`process`: a fresh process per job, one after the other; `process-pool`: long-lived processes; `coroutine`: one process, many jobs at once";
    "worker.sleep_seconds": Number(0.01, 3_600.0), "seconds" = "2", [], c.worker.sleep,
        "longest wait of a channel after its last job before it asks the store again, then twice as long, up to 10 seconds; a push wakes the channel at once";
    "worker.memory_limit": Integer(16, 1 << 20), "MiB" = "96", [], c.worker.recycling.memory_limit.map(mib),
        "memory of a long-lived worker; a worker above it is replaced between two jobs";
    "worker.memory_hard_limit": Integer(16, 1 << 20), "MiB" = "", [], c.worker.recycling.memory_hard_limit.map(mib),
        "memory of a worker; a worker above it is killed: its job has crashed, or its boot has failed; no limit by default";
    "worker.max_execute_seconds": Number(0.0, 30.0 * DAY), "seconds" = "10", [], c.worker.max_execute.unwrap_or_default(),
        "time limit of a run, from dispatch; 0 = no limit; a push may set its own";
    "worker.max_handle_number": Integer(0, i64::MAX), "jobs" = "0", [In(ProcessPool), In(Coroutine)], kept(c).then_some(c.worker.plan.jobs_per_life),
        "jobs of one worker's life; 0 = no limit";
    "worker.max_life_seconds": Number(0.0, 365.0 * DAY), "seconds" = "0", [In(ProcessPool), In(Coroutine)], kept(c).then(|| c.worker.recycling.max_life.unwrap_or_default()),
        "age at which a worker is replaced between two jobs; 0 = no limit";
    "worker.dynamic_mode": Flag, = "true", [In(ProcessPool)], c.worker.scaling.dynamic,
        "grow and shrink with demand; `false` holds the pool at `min_worker_number`";
    "worker.min_worker_number": Integer(0, 4_096), "workers" = "5", [In(ProcessPool)], c.worker.plan.min,
        "fewest workers; with 0 the first push starts one";
    "worker.worker_number": Integer(0, 4_096), "workers" = "", [In(ProcessPool)], NOT_SHOWN,
        "another name of `min_worker_number`";
    "worker.max_worker_number": Integer(1, 4_096), "workers" = "50", [In(ProcessPool)], c.worker.plan.max,
        "most workers";
    "worker.target_wait_seconds": Number(0.1, DAY), "seconds" = "5", [In(ProcessPool)], c.worker.scaling.target_wait,
        "time within which a backlog should be finished; a longer one starts more workers";
    "worker.capacity": Integer(1, 1_000_000), "jobs" = "10", [In(ProcessPool)], c.worker.scaling.capacity,
        "waiting jobs per additional worker, as long as no run time has been measured";
    "worker.cool_down_seconds": Number(0.0, DAY), "seconds" = "30", [In(ProcessPool)], c.worker.scaling.cool_down,
        "time for which fewer workers must have been enough before idle ones are stopped";
    "worker.flex_interval": Number(0.05, 3_600.0), "seconds" = "1", [In(ProcessPool)], c.worker.scaling.flex_interval,
        "time between two decisions about the number of workers when no push triggers one earlier";
    "worker.pool_memory_limit": Integer(16, 1 << 30), "MiB" = "", [In(ProcessPool)], c.worker.scaling.memory_limit.map(mib),
        "memory of all workers together; above it none is added and idle ones are stopped; by default four fifths of the limit of the control group, shared by the pools of the master, or none without such a limit";
    "worker.max_coroutine": Integer(1, 100_000), "jobs" = "4096", [In(Coroutine)], c.worker.plan.slots,
        "jobs at once";
    "worker.command": Argv, = "", [], c.worker.handler.command(),
        "program that runs the jobs, and its arguments; without it, the jobs registered in this binary";
    "worker.demo_jobs": Flag, = "false", [], c.worker.demo_jobs,
        "run the demo jobs of the `aint-queue` binary, such as `sleep` and `leak`; on without a configuration file";
    "worker.protocol": Choice(&["wire", "exec"], &[]), = "\"exec\" in `process`, else \"wire\"", [], c.worker.handler.protocol(),
        "protocol of `command`: `wire`, the worker protocol; `exec`, one process per job";
    "worker.url": Text, = "", [], webhook(c).map(|w| w.url.to_string()),
        "`coroutine`: URL that gets each job as a signed POST, in place of `command`";
    "worker.secret": Secrets, = "", [WithUrl], webhook(c).and_then(|w| w.keys.first()).map(|_| HIDDEN),
        "key that signs requests to `url`, `whsec_…`; several during a change of keys; never shown";
    "worker.headers": Headers, = "{}", [WithUrl], webhook(c).map(|w| hidden(w.headers.iter().map(|(name, _)| name))),
        "further headers of requests to `url`; values are never shown";
    "worker.allow_http": Flag, = "false", [WithUrl], webhook(c).map(|w| w.allow_http),
        "allow a `url` without TLS";
    "worker.allow_private": Flag, = "false", [WithUrl], webhook(c).map(|w| w.allow_private),
        "allow requests to loopback, private and other addresses that are not public";
    "worker.ca_file": Path, = "", [WithUrl], webhook(c).map(|w| &w.ca_file),
        "certificate authorities (PEM) that verify the receiver at `url`, in place of those of the machine";
    "worker.env": Variables, = "{}", [], hidden(c.worker.env.keys()),
        "environment variables of the workers";
    "worker.inherit_env": Inherited, = "all but secrets: those that this file refers to, and CREDENTIALS_DIRECTORY", [], c.worker.passed_env,
        "variables of the master's environment that workers inherit: `true`, all; `false`, basic ones such as PATH and HOME; names, with `*` at the end, these and the basic ones";
    "worker.may_push": Channels, = "all", [], c.worker.may_push.names(),
        "channels that the jobs may push into; `[]` = none";
    "worker.user": Text, = "", [], c.worker.user,
        "user of the workers, a name or a number; needs a master that runs as root";
    "worker.group": Text, = "", [], c.worker.group,
        "group of the workers, a name or a number, in place of the group of the user; needs a master that runs as root";
    "worker.nice": Integer(-20, 19), = "", [], c.worker.nice,
        "nice value of the workers; below 0 needs root";
    "worker.limits.open_files": Integer(16, 1 << 30), "descriptors" = "", [], c.worker.limits.open_files,
        "open descriptors of one worker";
    "worker.limits.processes": Integer(1, 1 << 22), "processes" = "", [], c.worker.limits.processes,
        "processes and threads of the workers' user in total; not applied to root";
    "worker.limits.core_mib": Integer(0, 1 << 20), "MiB" = "", [], c.worker.limits.core_mib,
        "core dump of a worker that crashes; 0 = none";
    "worker.limits.cpu_seconds": Integer(1, 1 << 30), "seconds" = "", [], c.worker.limits.cpu_seconds,
        "processor time in the life of one worker";
    "worker.limits.address_space_mib": Integer(16, 1 << 30), "MiB" = "", [], c.worker.limits.address_space_mib,
        "address space of one worker, including mapped memory that is not used";
    "worker.limits.file_size_mib": Integer(1, 1 << 30), "MiB" = "", [], c.worker.limits.file_size_mib,
        "any file a worker writes";
    "worker.boot_timeout_seconds": Number(0.1, 3_600.0), "seconds" = "30", [], c.worker.boot_timeout,
        "longest time from the start of a worker to its hello";
    "worker.log_bytes_per_second": Integer(0, 1 << 40), "bytes" = "1048576", [], c.worker.log_rate,
        "output of one worker that is logged per second; four seconds' worth may come at once, further lines are dropped and counted; 0 = no limit";
};

/// Every key of `[http]`, in the order of the reference file.
pub(super) static HTTP_KEYS: &[Key] = keys! { h: Http;
    "listen": Text, = "", [Restart], h.listen.to_string(),
        "address and port of the HTTP listener, as in \"127.0.0.1:9465\"; no listener without it";
    "token": Secret, = "", [Restart], h.token,
        "token that clients send as `Authorization: Bearer …`; needed when `listen` is not on loopback; never shown";
    "hosts": Hosts, = "[]", [Restart], h.hosts,
        "host names beside `localhost` that requests may use";
    "max_body_bytes": Integer(1_024, 64 << 20), "bytes" = "5242880", [Restart], h.max_body,
        "largest body of a request";
    "max_connections": Integer(1, 10_000), "pushes" = "256", [Restart], h.max_connections,
        "pushes at once; more get 503; 64 more connections may be open for other requests, and above that the one that is idle for longest is closed";
    "max_connections_per_peer": Integer(1, 10_000), "connections" = "", [Restart], h.max_connections_per_peer,
        "connections at once of one IPv4 address or one IPv6 /64; a further one closes that of the address which is idle for longest, or is refused; three quarters of max_connections by default; not applied to loopback";
    "timeout_seconds": Number(0.1, 300.0), "seconds" = "10", [Restart], h.timeout,
        "longest time for the head of a request, its body, and each part of the response; longest idle time of a connection; a connection is closed after 30 times this time";
    "public_url": Text, = "", [Restart], h.public_url,
        "URL at which people reach the listener, as in \"https://queue.example.com/queue\": the base of links in alerts, and, behind a proxy, the host and path of the dashboard; no links without it";
    "dashboard.enabled": Flag, = "false", [Restart], h.dashboard.is_some(),
        "serve the dashboard on this listener";
    "dashboard.title": Text, = "", [Restart], h.dashboard.as_ref().and_then(|d| d.title.clone()),
        "name of the installation in the titles of pages; the name of the host by default";
    "dashboard.viewers": Tokens, = "{}", [Restart], h.dashboard.as_ref().map(|d| hidden(d.viewers.keys())),
        "tokens of people who see everything and change nothing, each with a name; at least 16 characters; never shown";
    "dashboard.operators": Tokens, = "{}", [Restart], h.dashboard.as_ref().map(|d| hidden(d.operators.keys())),
        "tokens of people who may also change jobs, channels and workers, each with the name that the log of actions shows; at least 16 characters; never shown";
    "dashboard.anonymous": Choice(&["none", "viewer"], &[]), = "", [Restart], h.dashboard.as_ref().map(|d| if d.anonymous { "viewer" } else { "none" }),
        "what a visitor without a token may do on a loopback address: `viewer` sees counts, names and states; by default `viewer` while no token is declared, else `none`";
    "dashboard.viewer_sees_payloads": Flag, = "false", [Restart], h.dashboard.as_ref().map(|d| d.anonymous_sees_payloads),
        "show payloads, headers, output and errors of jobs to visitors without a token, too";
    "dashboard.hide": Texts, = "[\"password\", \"passwd\", \"secret\", \"token\", \"authorization\", \"card\"]", [Restart], h.dashboard.as_ref().map(|d| d.hide.clone()),
        "parts of names of payload keys and headers whose values are shown as dots";
};

/// Every key of `[metrics]`, in the order of the reference file.
pub(super) static METRICS_KEYS: &[Key] = keys! { m: Metrics;
    "listen": Text, = "", [Restart], m.listen.map(|address| address.to_string()),
        "address and port of a listener for `/metrics`, `/healthz` and `/readyz` alone; without it the HTTP listener has them";
    "hosts": Hosts, = "[]", [Restart], m.listen.map(|_| m.hosts.clone()),
        "host names beside `localhost` that requests to `metrics.listen` may use, if it is on loopback";
    "token": Secret, = "", [Restart], m.token,
        "token that scrapers send as `Authorization: Bearer …`; without one `/metrics` is open on `metrics.listen` and on loopback; never shown";
};

/// Every key of `[otel]`, in the order of the reference file.
pub(super) static OTEL_KEYS: &[Key] = keys! { o: Otel;
    "enabled": Flag, = "true", [Restart], o.enabled,
        "send spans to a collector, if the program was built with the feature `otel`; without this table a master sends them if OTEL_EXPORTER_OTLP_ENDPOINT is set";
    "endpoint": Text, = "", [Restart], o.endpoint,
        "base URL of the collector, which speaks OTLP over HTTP; spans go to `/v1/traces` below it; OTEL_EXPORTER_OTLP_ENDPOINT by default, else http://localhost:4318";
    "service_name": Text, = "", [Restart], o.service_name,
        "name of the service in traces; OTEL_SERVICE_NAME by default, else aint-queue";
    "sample_ratio": Number(0.0, 1.0), = "", [Restart], o.sample_ratio,
        "share of the new traces that is recorded; a trace that a producer began is recorded as the producer decided; OTEL_TRACES_SAMPLER decides by default, else all";
    "parent": Choice(&["auto", "child", "link"], &[]), = "\"auto\"", [Restart], o.parent.as_str(),
        "`child`: the span of a run is a child of the push; `link`: it begins a trace with a link to the push; `auto`: child for a run that starts within an hour of the push, else link";
    "turns": Flag, = "false", [Restart], o.turns,
        "spans of the calls that settle and lease jobs, too";
};

/// Every key of `[log]`, in the order of the reference file.
pub(super) static LOG_KEYS: &[Key] = keys! { l: Log;
    "file": Path, = "", [Restart], l.file,
        "file of the log of `queue:listen`, in place of standard error; opened again at SIGUSR2 and at a reload";
    "max_bytes": Integer(0, 1 << 40), "bytes" = "104857600", [Restart], l.max_bytes,
        "size at which the file is renamed to `<file>.1`; 0 = no limit";
    "keep": Integer(0, 1_000), "files" = "5", [Restart], l.keep,
        "renamed files that are kept";
};

/// Keys that are promised for later versions, with a remedy for today.
pub(super) const LATER: &[(&str, &str)] = &[
    ("driver.sentinel", "name one server in connection"),
    ("driver.sentinels", "name one server in connection"),
    ("driver.cluster", "name one server in connection"),
    ("driver.nodes", "name one server in connection"),
    ("driver.tls", "use a connection without TLS on a network you trust"),
    ("driver.connection.tls", "use a connection without TLS on a network you trust"),
    ("driver.connection.sentinel", "name one server with host and port"),
    ("driver.connection.cluster", "name one server with host and port"),
];

/// Names of other products and earlier versions, each with the name here.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("consumer", "the table is called worker"),
    ("logger", "the table is called [log], beside [defaults], and its key is called file"),
    ("driver.class", "the key is called type, with the value \"sqlite\", \"redis\" or \"sync\""),
    ("driver.handle_timeout", "the key is called worker.max_execute_seconds"),
    ("driver.pool_size", "remove it: the master needs two connections and makes them itself"),
    ("driver.pool_wait_timeout", "remove it: the master needs two connections and makes them itself"),
    ("driver.connection.user", "the key is called username"),
    ("driver.connection.db", "the key is called database"),
    ("worker.timeout", "the key is called max_execute_seconds"),
    ("worker.tries", "the key is called max_attempts and stands above worker"),
    ("worker.class", "the key is called type"),
    ("worker.sleep", "the key is called sleep_seconds"),
];

/// The declaration at a path.
pub(super) enum Found {
    /// A key with a value.
    Key(&'static Key),
    /// A table of keys.
    Table,
    /// A key of a later version or the name of another product: the mistake and its remedy.
    Refused(&'static str, &'static str),
    /// Nothing.
    Nothing,
}

/// Finds the declaration at `path` below a table with these keys.
pub(super) fn find(keys: &'static [Key], path: &str) -> Found {
    if let Some(key) = keys.iter().find(|k| k.path == path) {
        return Found::Key(key);
    }
    if names_below(keys, path).next().is_some() {
        return Found::Table;
    }
    let lists = [("is not available in this version", LATER), ("is not a key here", RENAMED)];
    let mut refused =
        lists.into_iter().flat_map(|(message, list)| list.iter().map(move |row| (message, row)));
    match refused.find(|(_, (refused, _))| *refused == path) {
        Some((message, (_, remedy))) if std::ptr::eq(keys, KEYS) => Found::Refused(message, remedy),
        _ => Found::Nothing,
    }
}
