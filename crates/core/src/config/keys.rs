//! Every key a channel or `[http]` may have, as data: the loader checks against this table, takes its defaults from it, and
//! tests hold the reference file and the documentation to it.

/// One key of a channel, of `[defaults]` or of `[http]`.
pub(super) struct Key {
    /// Its place below the channel or below `[http]`; `[]` stands for each item of an array.
    pub(super) path: &'static str,
    /// What its value may be.
    pub(super) kind: Kind,
    /// What a number counts; empty when it counts nothing.
    pub(super) unit: &'static str,
    /// The value taken when the key is absent, as TOML; words when it depends; empty when there is none.
    pub(super) default: &'static str,
    /// One line for people.
    pub(super) meaning: &'static str,
}

/// What the value of a [`Key`] may be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A whole number.
    Integer(i64, i64),
    /// A number, whole or not.
    Number(f64, f64),
    /// `true` or `false`.
    Flag,
    /// A string that is not empty.
    Text,
    /// A file or directory, relative to the configuration file.
    Path,
    /// A string that is never shown.
    Secret,
    /// One of some words; the second list is promised for later versions.
    Choice(&'static [&'static str], &'static [&'static str]),
    /// A program and its arguments.
    Argv,
    /// Environment variables: a table of strings.
    Variables,
    /// Names of hosts.
    Hosts,
    /// Secrets: one string or an array of them.
    Secrets,
    /// Headers of HTTP: a table of strings that are never shown.
    Headers,
    /// An array of tables, whose keys stand in the table under `path[]`.
    Tables,
}

const fn key(
    path: &'static str,
    kind: Kind,
    unit: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { path, kind, unit, default, meaning }
}

use Kind::{
    Argv, Choice, Flag, Headers, Hosts, Integer, Number, Path, Secret, Secrets, Tables, Text, Variables,
};

/// A day in seconds.
const DAY: f64 = 86_400.0;

/// Every key of a channel, in the order of the reference file.
pub(super) static KEYS: &[Key] = &[
    key(
        "pid_path",
        Path,
        "",
        "/run/aint-queue as root, else $XDG_RUNTIME_DIR/aint-queue, else aint-queue-<uid> in the temporary directory",
        "run directory: pid file, lock and control socket of each channel",
    ),
    key(
        "memory_limit",
        Integer(16, 1 << 20),
        "MiB",
        "96",
        "memory of the master; above it for five seconds it drains and begins anew; the largest of its channels counts",
    ),
    key("max_attempts", Integer(1, 10_000), "", "3", "attempts of a job that does not set its own"),
    key(
        "stop_wait_seconds",
        Number(0.0, DAY),
        "seconds",
        "30",
        "how long a stop waits for the jobs that run",
    ),
    key(
        "stop_grace_seconds",
        Number(0.0, 3_600.0),
        "seconds",
        "5",
        "between asking a worker to stop and killing it",
    ),
    key(
        "timeout_grace_ms",
        Integer(0, 60_000),
        "milliseconds",
        "300",
        "between asking a timed-out job to end and killing it",
    ),
    key(
        "backoff.kind",
        Choice(&["fixed", "linear", "exponential"], &[]),
        "",
        "\"exponential\"",
        "how the wait before another attempt grows",
    ),
    key("backoff.base", Number(0.0, DAY), "seconds", "1", "wait after the first attempt"),
    key("backoff.max", Number(0.0, 365.0 * DAY), "seconds", "3600", "longest wait, before jitter"),
    key("backoff.jitter", Number(0.0, 1.0), "", "0.2", "up to this share of the wait is added at random"),
    key(
        "driver.type",
        Choice(&["sqlite", "redis", "sync"], &[]),
        "",
        "\"sqlite\"",
        "where the jobs are: an embedded file, or a Redis or Valkey server; `sync`: nowhere, a push runs the job in the caller",
    ),
    key("driver.path", Path, "", "\"aint-queue.db\"", "the file of the `sqlite` driver"),
    key("driver.connection.host", Text, "", "\"127.0.0.1\"", "host of the `redis` driver"),
    key("driver.connection.port", Integer(1, 65_535), "", "6379", "port of the `redis` driver"),
    key("driver.connection.database", Integer(0, 1 << 20), "", "0", "database number of the `redis` driver"),
    key("driver.connection.username", Text, "", "", "ACL user of the `redis` driver"),
    key("driver.connection.password", Secret, "", "", "password of the `redis` driver; never shown"),
    key(
        "driver.connection.read_write_timeout",
        Number(0.05, 60.0),
        "seconds",
        "3",
        "deadline of one call to Redis",
    ),
    key(
        "driver.url",
        Secret,
        "",
        "",
        "`redis://user:password@host:port/database`, in place of these keys of `connection`",
    ),
    key(
        "driver.allow_eviction",
        Flag,
        "",
        "false",
        "accept a Redis whose `maxmemory-policy` may evict jobs: they would be lost",
    ),
    key("job_snapshot.interval", Number(1.0, DAY), "seconds", "300", "how often the handlers get the counts"),
    key("job_snapshot.handler", Tables, "", "[]", "who gets the counts"),
    key(
        "job_snapshot.handler[].type",
        Choice(
            &["log", "command"],
            &["mail", "email", "webhook", "http", "slack", "discord", "telegram", "dingtalk"],
        ),
        "",
        "",
        "`log`: a line in the log; `command`: a program that gets JSON on its standard input",
    ),
    key("job_snapshot.handler[].command", Argv, "", "", "the program of a `command` handler"),
    key(
        "job_snapshot.handler[].timeout_seconds",
        Number(0.1, 3_600.0),
        "seconds",
        "10",
        "how long the program may run",
    ),
    key(
        "worker.type",
        Choice(&["process", "process-pool", "coroutine"], &[]),
        "",
        "\"process\"",
        "`process`: a fresh process per job, one after the other; `process-pool`: long-lived processes; `coroutine`: one process, many jobs at once",
    ),
    key(
        "worker.sleep_seconds",
        Number(0.01, 3_600.0),
        "seconds",
        "2",
        "longest idle wait; a push wakes the channel at once",
    ),
    key(
        "worker.memory_limit",
        Integer(16, 1 << 20),
        "MiB",
        "96",
        "memory of a long-lived worker; one that uses more is replaced between two jobs",
    ),
    key(
        "worker.memory_hard_limit",
        Integer(16, 1 << 20),
        "MiB",
        "",
        "memory of a worker; one that uses more is killed and its job has crashed; one that does before it has a job has failed to boot; none without it",
    ),
    key(
        "worker.max_execute_seconds",
        Number(0.0, 30.0 * DAY),
        "seconds",
        "10",
        "longest run of a job, from dispatch; 0 = no limit; a push may set its own",
    ),
    key(
        "worker.max_handle_number",
        Integer(0, i64::MAX),
        "jobs",
        "0",
        "jobs of one worker's life in `process-pool` and `coroutine`; 0 = no limit",
    ),
    key(
        "worker.max_life_seconds",
        Number(0.0, 365.0 * DAY),
        "seconds",
        "0",
        "age at which a worker of `process-pool` or `coroutine` is replaced between two jobs; 0 = no limit",
    ),
    key(
        "worker.dynamic_mode",
        Flag,
        "",
        "true",
        "`process-pool`: grow and shrink with demand; `false` holds the pool at `min_worker_number`",
    ),
    key(
        "worker.min_worker_number",
        Integer(0, 4_096),
        "workers",
        "5",
        "`process-pool`: fewest workers; with 0 the first push starts one",
    ),
    key("worker.worker_number", Integer(0, 4_096), "workers", "", "another name of `min_worker_number`"),
    key("worker.max_worker_number", Integer(1, 4_096), "workers", "50", "`process-pool`: most workers"),
    key(
        "worker.target_wait_seconds",
        Number(0.1, DAY),
        "seconds",
        "5",
        "`process-pool`: how soon a backlog should be worked off; what takes longer starts more workers",
    ),
    key(
        "worker.capacity",
        Integer(1, 1_000_000),
        "jobs",
        "10",
        "`process-pool`: waiting jobs that start one more worker as long as it is not known how long a job takes",
    ),
    key(
        "worker.cool_down_seconds",
        Number(0.0, DAY),
        "seconds",
        "30",
        "`process-pool`: how long fewer workers must have been enough before idle ones are stopped",
    ),
    key(
        "worker.flex_interval",
        Number(0.05, 3_600.0),
        "seconds",
        "1",
        "`process-pool`: how often the number of workers is looked at when no push gives a reason to",
    ),
    key(
        "worker.pool_memory_limit",
        Integer(16, 1 << 30),
        "MiB",
        "",
        "`process-pool`: memory of all workers together, past which none is added and idle ones are stopped; without it, four fifths of what the control group allows, shared by the pools of the master, and none where nothing is limited",
    ),
    key("worker.max_coroutine", Integer(1, 100_000), "jobs", "4096", "`coroutine`: jobs at once"),
    key(
        "worker.command",
        Argv,
        "",
        "",
        "program that runs the jobs, and its arguments; without it, the jobs registered in this binary",
    ),
    key(
        "worker.protocol",
        Choice(&["wire", "exec"], &[]),
        "",
        "\"exec\" in `process`, else \"wire\"",
        "how `command` is spoken to: `wire`, the worker protocol; `exec`, one process per job",
    ),
    key(
        "worker.url",
        Text,
        "",
        "",
        "`coroutine`: where each job is sent as a signed POST, in place of `command`",
    ),
    key(
        "worker.secret",
        Secrets,
        "",
        "",
        "what requests to `url` are signed with, `whsec_…`; several while the receiver changes to a new one; never shown",
    ),
    key("worker.headers", Headers, "", "{}", "further headers of requests to `url`; values are never shown"),
    key("worker.allow_http", Flag, "", "false", "let `url` be without TLS"),
    key(
        "worker.allow_private",
        Flag,
        "",
        "false",
        "let requests to `url` go to loopback, private and other addresses that are not public",
    ),
    key(
        "worker.ca_file",
        Path,
        "",
        "",
        "certificate authorities (PEM) that the receiver at `url` is verified with, in place of those of the machine",
    ),
    key("worker.env", Variables, "", "{}", "variables set for the workers"),
    key(
        "worker.user",
        Text,
        "",
        "",
        "user to run the workers as, a name or a number; needs a master that runs as root",
    ),
    key(
        "worker.group",
        Text,
        "",
        "",
        "group to run the workers as, in place of that of the user, a name or a number; needs a master that runs as root",
    ),
    key(
        "worker.nice",
        Integer(-20, 19),
        "",
        "",
        "how far the workers stand back for other processes; below 0 needs root",
    ),
    key("worker.limits.open_files", Integer(16, 1 << 30), "descriptors", "", "open at once in one worker"),
    key(
        "worker.limits.processes",
        Integer(1, 1 << 22),
        "processes",
        "",
        "processes and threads of the workers' user, all in all; it means nothing to root",
    ),
    key(
        "worker.limits.core_mib",
        Integer(0, 1 << 20),
        "MiB",
        "",
        "core dump of a worker that crashes; 0 = none",
    ),
    key(
        "worker.limits.cpu_seconds",
        Integer(1, 1 << 30),
        "seconds",
        "",
        "processor time in the life of one worker",
    ),
    key(
        "worker.limits.address_space_mib",
        Integer(16, 1 << 30),
        "MiB",
        "",
        "address space of one worker; what is mapped and not used counts too",
    ),
    key("worker.limits.file_size_mib", Integer(1, 1 << 30), "MiB", "", "any file a worker writes"),
    key(
        "worker.boot_timeout_seconds",
        Number(0.1, 3_600.0),
        "seconds",
        "30",
        "how long a worker may take from its start to its hello",
    ),
];

/// Every key of `[http]`, in the order of the reference file.
pub(super) static HTTP_KEYS: &[Key] = &[
    key(
        "listen",
        Text,
        "",
        "",
        "address and port of the HTTP listener, as in \"127.0.0.1:9465\"; without it there is none",
    ),
    key(
        "token",
        Secret,
        "",
        "",
        "what clients must send as `Authorization: Bearer …`; needed when `listen` is not on loopback; never shown",
    ),
    key("hosts", Hosts, "", "[]", "names beside `localhost` under which clients may reach the listener"),
    key("max_body_bytes", Integer(1_024, 64 << 20), "bytes", "5242880", "largest body of a request"),
    key("max_connections", Integer(1, 10_000), "connections", "256", "connections at once; more wait"),
    key(
        "timeout_seconds",
        Number(0.1, 300.0),
        "seconds",
        "10",
        "how long the head of a request, its body, and each part of the answer may take; how long an idle connection is kept",
    ),
];

/// Keys that are promised for later versions, with what can be done today.
pub(super) const LATER: &[(&str, &str)] = &[
    ("driver.sentinel", "name one server in connection"),
    ("driver.sentinels", "name one server in connection"),
    ("driver.cluster", "name one server in connection"),
    ("driver.nodes", "name one server in connection"),
    ("driver.tls", "use a connection without TLS on a network you trust"),
    ("driver.connection.tls", "use a connection without TLS on a network you trust"),
    ("driver.connection.sentinel", "name one server with host and port"),
    ("driver.connection.cluster", "name one server with host and port"),
    ("job_snapshot.handler[].when", "decide inside a command handler"),
    ("job_snapshot.handler[].for", "decide inside a command handler"),
    ("job_snapshot.handler[].resend", "decide inside a command handler"),
    ("job_snapshot.handler[].url", "use a command handler"),
    ("job_snapshot.handler[].to", "use a command handler"),
];

/// Names other products and earlier versions use, and what they are called here.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("consumer", "the table is called worker"),
    ("logger", "logging is set up on the command line, with --log-format and -v"),
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

/// What a path leads to.
pub(super) enum Found {
    /// A key with a value.
    Key(&'static Key),
    /// A table of keys.
    Table,
    /// A key of a later version, and what can be done today.
    Later(&'static str),
    /// A name that is another here, in words.
    Renamed(&'static str),
    /// Nothing.
    Nothing,
}

/// What stands at `path` below a table with these keys.
pub(super) fn find(keys: &'static [Key], path: &str) -> Found {
    let in_list = |list: &'static [(&str, &'static str)]| list.iter().find(|(p, _)| *p == path).map(|l| l.1);
    if let Some(key) = keys.iter().find(|k| k.path == path) {
        return Found::Key(key);
    }
    if names_below(keys, path).next().is_some() {
        return Found::Table;
    }
    if std::ptr::eq(keys, HTTP_KEYS) {
        return Found::Nothing;
    }
    match (in_list(LATER), in_list(RENAMED)) {
        (Some(today), _) => Found::Later(today),
        (None, Some(words)) => Found::Renamed(words),
        (None, None) => Found::Nothing,
    }
}

/// The key at `path`, which the caller knows to be there.
pub(super) fn known(keys: &'static [Key], path: &str) -> &'static Key {
    keys.iter().find(|k| k.path == path).expect("the loader reads only keys of the table")
}

/// The names that may stand in the table at `path`; the empty path is the one the keys are of.
pub(super) fn names_below(keys: &'static [Key], path: &str) -> impl Iterator<Item = &'static str> {
    keys.iter().filter_map(move |key| {
        let rest = if path.is_empty() { key.path } else { key.path.strip_prefix(path)?.strip_prefix('.')? };
        rest.split(['.', '[']).next()
    })
}

impl Key {
    /// The kind of value, in a word or two.
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            Integer(..) => "integer",
            Number(..) => "number",
            Flag => "boolean",
            Text | Path | Secret | Choice(..) => "string",
            Argv | Hosts => "array of strings",
            Secrets => "string or array of strings",
            Variables | Headers => "table of strings",
            Tables => "array of tables",
        }
    }

    /// What values are allowed, in the words of the documentation; empty when the type says it all.
    pub(super) fn range(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        match self.kind {
            Integer(min, i64::MAX) => format!("{min} or more{unit}"),
            Integer(min, max) => format!("{min} to {max}{unit}"),
            Number(min, max) => format!("{min} to {max}{unit}"),
            Choice(now, _) => now.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "),
            Path => "relative to this file".to_owned(),
            Flag | Text | Secret | Secrets | Argv | Hosts | Variables | Headers | Tables => String::new(),
        }
    }

    /// What should be written, as an order: "write a whole number from 1 to 10 workers, such as 5".
    pub(super) fn wanted(&self) -> String {
        let such_as = |default: &str| match default {
            "" => String::new(),
            default => format!(", such as {default}"),
        };
        match self.kind {
            Integer(..) => format!("write a whole number, {}{}", self.range(), such_as(self.default)),
            Number(..) => format!("write a number, {}{}", self.range(), such_as(self.default)),
            Flag => "write true or false".to_owned(),
            Text | Path => "write a string that is not empty".to_owned(),
            Secret => "write a string, best of all \"${NAME}\" to take it from the environment".to_owned(),
            Choice(..) => format!("write one of {}", self.range()),
            Argv => {
                "write the program and its arguments as an array of strings, such as [\"php\", \"worker.php\"]"
                    .to_owned()
            }
            Hosts => "write names without scheme and port as an array of strings, such as [\"queue.internal\"]".to_owned(),
            Secrets => "write a string or an array of strings, best of all \"${NAME}\" to take it from the environment".to_owned(),
            Headers => "write a table of strings, such as { authorization = \"Bearer ${NAME}\" }".to_owned(),
            Variables => "write a table of strings, such as { APP_ENV = \"production\" }".to_owned(),
            Tables => "write an array of tables, such as [ { type = \"log\" } ]".to_owned(),
        }
    }
}

/// Every key with its type, default, range and meaning, as the Markdown tables of `docs/configuration.md`.
#[must_use]
pub fn key_table() -> String {
    format!("{}\nThe keys of `[http]`:\n\n{}", table_of(KEYS), table_of(HTTP_KEYS))
}

fn table_of(keys: &[Key]) -> String {
    let mut table = String::from("| key | type | default | range, unit | meaning |\n|---|---|---|---|---|\n");
    for key in keys {
        let default = match key.default {
            "" => "none".to_owned(),
            words if words.contains(' ') => words.to_owned(),
            literal => format!("`{literal}`"),
        };
        let Key { path, meaning, .. } = key;
        let (kind, range) = (key.type_name(), key.range().replace('"', "`"));
        table.push_str(&format!("| `{path}` | {kind} | {default} | {range} | {meaning} |\n"));
    }
    table
}
