//! Builds a complete [`Channel`] from a validated, inherited table: defaults, paths, contradictions.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::error::Diagnostics;
use super::inherit::URL_STANDS_FOR;
use super::passed_env::PassedEnv;
use super::plan::{Plan, Recycling, Scaling};
use super::spanned::{Table, Value};
use super::typed::{TypedTable, command_line, default_number, from, seconds, shown};
use super::{
    Backoff, BackoffKind, Channel, Driver, Handler, JobLog, JobLogLevel, KeepDone, Limits, Mode,
    PushDestinations, Redis, Secret, Snapshot, Worker, connector, keys, redis_url, run_directory, webhook,
};

/// Builds the channel that `table`, already merged with the defaults, describes. Relative paths start at `base`;
/// `interpolated` are the variables that the file refers to.
pub(super) fn channel(
    name: &str,
    table: &Table,
    base: &Path,
    interpolated: &BTreeSet<String>,
    diagnostics: &mut Diagnostics<'_>,
) -> Channel {
    let read = TypedTable::new(table, keys::KEYS);
    let channel = Channel {
        name: name.to_owned(),
        source: None,
        pid_path: read.path("pid_path", base).unwrap_or_else(run_directory::of_user),
        memory_limit: read.integer("memory_limit"),
        max_attempts: read.integer("max_attempts"),
        max_waiting: read.written_integer("max_waiting"),
        max_bytes: read.written_integer("max_bytes"),
        priority_max_wait: Some(read.seconds("priority_max_wait")).filter(|wait| !wait.is_zero()),
        backoff: backoff(&read, diagnostics),
        stop_wait: read.seconds("stop_wait_seconds"),
        stop_grace: read.seconds("stop_grace_seconds"),
        timeout_grace: Duration::from_millis(read.integer("timeout_grace_ms")),
        keep_output: read.flag("keep_output"),
        keep_done: keep_done(&read),
        driver: driver(&read, base, diagnostics),
        snapshot: Snapshot {
            interval: read.seconds("job_snapshot.interval"),
            #[cfg(feature = "server")]
            handlers: Vec::new(),
        },
        #[cfg(feature = "server")]
        rules: Vec::new(),
        job_log: job_log(&read),
        worker: worker(&read, base, interpolated, diagnostics),
    };
    warn_of_short_stop(&read, &channel, diagnostics);
    if channel.driver == Driver::Sync {
        check_sync(&read, diagnostics);
    }
    channel
}

/// Refuses keys that a push which runs its job in the pushing process cannot follow.
fn check_sync(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) {
    for path in ["worker.user", "worker.group"] {
        if let Some(node) = read.node(path) {
            let message = "contradicts driver.type = \"sync\": a job runs in the pushing process, as the user of that process";
            diagnostics.problems.of_key(node, message, "remove it, or use type = \"sqlite\"");
        }
    }
    for path in ["worker.command", "worker.url"] {
        if let Some(node) = read.node(path) {
            let message = "cannot run jobs of driver.type = \"sync\" yet: only jobs registered in Rust run inside of a push";
            diagnostics.problems.of_key(
                node,
                message,
                "remove it, or use type = \"sqlite\" and queue:listen",
            );
        }
    }
}

/// The limits of the done jobs in the store; `None` keeps none.
fn keep_done(read: &TypedTable<'_>) -> Option<KeepDone> {
    let limits = KeepDone { count: read.integer("keep_done.count"), age: read.seconds("keep_done.seconds") };
    (limits.count > 0).then_some(limits)
}

fn backoff(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> Backoff {
    let kind = match read.word("backoff.kind").as_str() {
        "fixed" => BackoffKind::Fixed,
        "linear" => BackoffKind::Linear,
        _ => BackoffKind::Exponential,
    };
    let backoff = Backoff {
        kind,
        base: read.seconds("backoff.base"),
        max: read.seconds("backoff.max"),
        delays: read.durations("backoff.delays"),
        jitter: read.number("backoff.jitter"),
    };
    if backoff.delays.is_empty()
        && backoff.base > backoff.max
        && let Some(node) = read.node("backoff.base").or_else(|| read.node("backoff.max"))
    {
        let message =
            format!("contradicts: base = {} is above max = {}", shown(backoff.base), shown(backoff.max));
        diagnostics.problems.of_value(node, message, "lower base or raise max");
    }
    backoff
}

fn driver(read: &TypedTable<'_>, base: &Path, diagnostics: &mut Diagnostics<'_>) -> Driver {
    connector::check(read, &read.word("driver.type"), diagnostics);
    let redis = redis(read, diagnostics);
    match read.word("driver.type").as_str() {
        "redis" => {
            warn_of_cleartext(read, &redis, diagnostics);
            return Driver::Redis(redis);
        }
        "sync" => return Driver::Sync,
        _ => {}
    }
    let addressed = read.node("driver.url").or_else(|| read.node("driver.connection"));
    if let (None, Some(node)) = (read.node("driver.type"), addressed) {
        let message = "is not used: without a type the driver is sqlite";
        diagnostics.warnings.of_key(node, message, "add type = \"redis\", or type = \"sqlite\"");
    }
    let path = read.path("driver.path", base);
    Driver::Sqlite { path: path.unwrap_or_else(|| from(base, &read.word("driver.path"))), named: true }
}

/// Warns of a password that other hosts of the network can read.
fn warn_of_cleartext(read: &TypedTable<'_>, redis: &Redis, diagnostics: &mut Diagnostics<'_>) {
    let address = redis.host.parse::<IpAddr>();
    let is_local = redis.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback());
    if redis.password.is_none() || is_local || redis.allow_cleartext {
        return;
    }
    if let Some(node) = read.node("driver.url").or_else(|| read.node("driver.connection.password")) {
        let message = "is sent to another host in clear text: every host on the way can read the password";
        let remedy = "use a tunnel (stunnel, WireGuard, ssh -L) that listens on 127.0.0.1, or write driver.allow_cleartext = true if the network is trusted";
        diagnostics.warnings.of_key(node, message, remedy);
    }
}

/// The Redis connection, built and checked for every driver, so that changing `driver.type` is enough.
fn redis(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> Redis {
    let password = read.text("driver.connection.password").filter(|text| !text.is_empty());
    let mut redis = Redis {
        host: read.word("driver.connection.host"),
        port: read.integer("driver.connection.port"),
        database: read.integer("driver.connection.database"),
        username: read.text("driver.connection.username").map(str::to_owned),
        password: password.map(Secret::new),
        read_write_timeout: redis_timeout(read, diagnostics),
        allow_eviction: read.flag("driver.allow_eviction"),
        allow_cleartext: read.flag("driver.allow_cleartext"),
        prefix: prefix(read, diagnostics),
    };
    let Some(node) = read.node("driver.url") else { return redis };
    for name in URL_STANDS_FOR {
        if let Some(extra) = read.node(&format!("driver.connection.{name}")) {
            let message = "contradicts url, which says the same";
            diagnostics.problems.of_key(extra, message, "keep one of the two");
        }
    }
    match redis_url::parse(read.text("driver.url").unwrap_or_default()) {
        Err((message, remedy)) => diagnostics.problems.of_value(node, message, remedy),
        Ok(parts) => {
            redis.host = parts.host;
            redis.port = parts.port.unwrap_or(redis.port);
            redis.database = parts.database.unwrap_or(redis.database);
            redis.username = parts.username;
            redis.password = parts.password.map(Secret::new);
        }
    }
    redis
}

/// Longest prefix of keys in Redis.
const MAX_PREFIX_BYTES: usize = 64;

/// The prefix of the keys. Braces would move the hash tag, and other characters have a meaning in patterns of an ACL.
fn prefix(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> String {
    let prefix = read.text("driver.prefix").unwrap_or_default();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.:/-".contains(c);
    if let Some(node) = read.node("driver.prefix")
        && !(prefix.len() <= MAX_PREFIX_BYTES && prefix.chars().all(is_allowed))
    {
        let message = "is no prefix of a key";
        let remedy = format!(
            "use at most {MAX_PREFIX_BYTES} of the characters A-Z a-z 0-9 _ . : / -, as in \"shop:\""
        );
        diagnostics.problems.of_value(node, message, remedy);
    }
    prefix.to_owned()
}

/// The deadline of one call. Other products write 0 for "no deadline", which a master cannot have.
fn redis_timeout(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> Duration {
    const KEY: &str = "driver.connection.read_write_timeout";
    const SHORTEST: Duration = Duration::from_millis(50);
    let written = read.seconds(KEY);
    if written.is_zero() {
        return seconds(default_number(keys::KEYS, KEY));
    }
    if let (true, Some(node)) = (written < SHORTEST, read.node(KEY)) {
        diagnostics.problems.of_value(
            node,
            "is too short for a call",
            "write at least 0.05, or 0 for the default",
        );
    }
    written
}

fn job_log(read: &TypedTable<'_>) -> JobLog {
    let level = match read.word("job_log.level").as_str() {
        "off" => JobLogLevel::Off,
        "debug" => JobLogLevel::Debug,
        _ => JobLogLevel::Info,
    };
    JobLog { level, lines_per_second: read.integer("job_log.lines_per_second") }
}

fn worker(
    read: &TypedTable<'_>,
    base: &Path,
    interpolated: &BTreeSet<String>,
    diagnostics: &mut Diagnostics<'_>,
) -> Worker {
    let mode = match read.word("worker.type").as_str() {
        "process-pool" => Mode::ProcessPool,
        "coroutine" => Mode::Coroutine,
        _ => Mode::Process,
    };
    let scaling = scaling(read);
    let handler = handler(read, mode, base, diagnostics);
    let max_execute = read.seconds("worker.max_execute_seconds");
    memory_limits_agree(read, diagnostics);
    Worker {
        mode,
        plan: plan(read, mode, scaling.dynamic, &handler, diagnostics),
        handler,
        demo_jobs: read.flag("worker.demo_jobs"),
        sleep: read.seconds("worker.sleep_seconds"),
        recycling: recycling(read),
        scaling,
        max_execute: (!max_execute.is_zero()).then_some(max_execute),
        log_rate: read.integer("worker.log_bytes_per_second"),
        boot_timeout: read.seconds("worker.boot_timeout_seconds"),
        env: read.variables("worker.env"),
        passed_env: passed_env(read, interpolated),
        may_push: read.names("worker.may_push").map(PushDestinations::only).unwrap_or_default(),
        user: account_name(read, "worker.user", is_unknown_user, diagnostics),
        group: account_name(read, "worker.group", is_unknown_group, diagnostics),
        nice: read.written_integer("worker.nice"),
        limits: limits(read),
    }
}

/// The rule for inherited variables.
fn passed_env(read: &TypedTable<'_>, interpolated: &BTreeSet<String>) -> PassedEnv {
    match read.node("worker.inherit_env").map(|node| &node.value) {
        None => PassedEnv::all_but_secrets(interpolated),
        Some(Value::Flag(true)) => PassedEnv::All,
        Some(_) => PassedEnv::Only(read.names("worker.inherit_env").into_iter().flatten().collect()),
    }
}

/// The rules for the number of workers.
fn scaling(read: &TypedTable<'_>) -> Scaling {
    Scaling {
        dynamic: read.flag("worker.dynamic_mode"),
        flex_interval: read.seconds("worker.flex_interval"),
        target_wait: read.seconds("worker.target_wait_seconds"),
        capacity: read.integer("worker.capacity"),
        cool_down: read.seconds("worker.cool_down_seconds"),
        memory_limit: read.written_integer("worker.pool_memory_limit").map(bytes),
    }
}

/// The values of the keys' defaults.
impl Default for Scaling {
    fn default() -> Self {
        scaling(&TypedTable::new(&Table::new(), keys::KEYS))
    }
}

/// The rules for replacing or killing a worker.
fn recycling(read: &TypedTable<'_>) -> Recycling {
    let max_life = read.seconds("worker.max_life_seconds");
    Recycling {
        max_life: (!max_life.is_zero()).then_some(max_life),
        memory_limit: Some(bytes(read.integer("worker.memory_limit"))),
        memory_hard_limit: read.written_integer("worker.memory_hard_limit").map(bytes),
    }
}

/// Converts MiB to bytes; the ranges of the keys end far below an overflow.
fn bytes(mib: u64) -> u64 {
    mib << 20
}

/// A user or group name. An unknown name is a warning only: a producer that reads the same file on another machine need
/// not know it, a master must.
fn account_name(
    read: &TypedTable<'_>,
    path: &str,
    is_unknown: impl Fn(&str) -> bool,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<String> {
    let node = read.node(path)?;
    let name = node.value.as_text()?;
    if name.parse::<u32>().is_err() && is_unknown(name) {
        let message =
            format!("= \"{name}\" is not known on this machine, so no master can serve this channel here");
        diagnostics.warnings.of_value(node, message, "write the name of an existing account, or create it");
    }
    Some(name.to_owned())
}

#[cfg(feature = "server")]
fn is_unknown_user(name: &str) -> bool {
    matches!(nix::unistd::User::from_name(name), Ok(None))
}

#[cfg(feature = "server")]
fn is_unknown_group(name: &str) -> bool {
    matches!(nix::unistd::Group::from_name(name), Ok(None))
}

/// A producer starts no workers, so any name is accepted.
#[cfg(not(feature = "server"))]
fn is_unknown_user(_: &str) -> bool {
    false
}

/// A producer starts no workers, so any name is accepted.
#[cfg(not(feature = "server"))]
fn is_unknown_group(_: &str) -> bool {
    false
}

fn limits(read: &TypedTable<'_>) -> Limits {
    let limit = |name: &str| read.written_integer(&format!("worker.limits.{name}"));
    Limits {
        open_files: limit("open_files"),
        processes: limit("processes"),
        core_mib: limit("core_mib"),
        cpu_seconds: limit("cpu_seconds"),
        address_space_mib: limit("address_space_mib"),
        file_size_mib: limit("file_size_mib"),
    }
}

fn handler(read: &TypedTable<'_>, mode: Mode, base: &Path, diagnostics: &mut Diagnostics<'_>) -> Handler {
    let protocol = read.node("worker.protocol");
    if let Some(node) = read.node("worker.url") {
        if let Some(command) = read.node("worker.command") {
            let message = "contradicts command: only one of the two can run the jobs";
            diagnostics.problems.of_key(node, message, format!("keep it or {}", command.key));
        }
        if mode != Mode::Coroutine {
            let message =
                format!("contradicts type = \"{}\": one process sends many requests at once", mode.as_str());
            diagnostics.problems.of_key(node, message, "write type = \"coroutine\" beside it");
        }
        if let Some(settings) = webhook::settings(read, base, diagnostics) {
            return Handler::Webhook(Box::new(settings));
        }
    }
    let Some(command) = read.node("worker.command") else {
        if let Some(node) = protocol {
            let message = "has no meaning without a command";
            diagnostics.problems.of_key(node, message, "add command = [\"…\"] or remove it");
        }
        return Handler::Registered;
    };
    let command = command_line(command, base);
    match read.text("worker.protocol") {
        Some("exec") => {
            if let (Mode::Coroutine, Some(node)) = (mode, protocol) {
                let message = "contradicts type = \"coroutine\": exec runs one process per job";
                let remedy = "use type = \"process-pool\", or a program that speaks protocol = \"wire\"";
                diagnostics.problems.of_value(node, message, remedy);
            }
            Handler::Exec { command }
        }
        Some(_) => Handler::Wire { command },
        None if mode == Mode::Process => Handler::Exec { command },
        None => Handler::Wire { command },
    }
}

fn plan(
    read: &TypedTable<'_>,
    mode: Mode,
    dynamic: bool,
    handler: &Handler,
    diagnostics: &mut Diagnostics<'_>,
) -> Plan {
    let exec = matches!(handler, Handler::Exec { .. });
    let jobs_per_life = read.integer("worker.max_handle_number");
    match mode {
        // A program that starts with its job cannot be booted ahead of need.
        Mode::Process => Plan { spare: usize::from(!exec), ..Plan::PROCESS },
        Mode::Coroutine => Plan::coroutine(read.integer("worker.max_coroutine"), jobs_per_life),
        Mode::ProcessPool => {
            let (min, max) = pool_size(read, diagnostics);
            if let (false, false, 0, Some(node)) = (dynamic, exec, min, read.node("worker.min_worker_number"))
            {
                let message = "= 0 contradicts dynamic_mode = false: no worker would ever run";
                diagnostics.problems.of_value(node, message, "write 1 or more, or dynamic_mode = true");
            }
            // An exec pool holds no idle workers: the number bounds the concurrent programs.
            let max = if exec && !dynamic { min.max(1) } else { max };
            Plan::process_pool(min, max, if exec { 1 } else { jobs_per_life })
        }
    }
}

/// Minimum and maximum number of workers. A default adjusts to a written value; two written values must agree.
fn pool_size(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> (usize, usize) {
    let (min, max) = (read.integer("worker.min_worker_number"), read.integer("worker.max_worker_number"));
    match (read.node("worker.min_worker_number"), read.node("worker.max_worker_number")) {
        (Some(node), Some(other)) if min > max => {
            let message = format!("= {min} contradicts {} = {max}", other.key);
            diagnostics.problems.of_value(node, message, "lower the one or raise the other");
            (max, max)
        }
        (Some(_), None) => (min, max.max(min)),
        (None, Some(_)) => (min.min(max), max),
        _ => (min, max),
    }
}

/// Reports a hard or pool limit below the memory limit of one worker.
fn memory_limits_agree(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) {
    let soft: u64 = read.integer("worker.memory_limit");
    for name in ["worker.memory_hard_limit", "worker.pool_memory_limit"] {
        let Some(node) = read.node(name) else { continue };
        let limit: u64 = read.integer(name);
        if limit < soft {
            let message = format!("= {limit} contradicts memory_limit = {soft} of one worker");
            diagnostics.problems.of_value(node, message, "raise the one or lower the other");
        }
    }
}

fn warn_of_short_stop(read: &TypedTable<'_>, channel: &Channel, diagnostics: &mut Diagnostics<'_>) {
    let runs = match channel.worker.max_execute {
        Some(limit) if limit <= channel.stop_wait => return,
        Some(limit) => format!("up to {} seconds", shown(limit)),
        None => "without a limit".to_owned(),
    };
    // Only a written value can be too short: the defaults agree with each other.
    let written = read.node("stop_wait_seconds").or_else(|| read.node("worker.max_execute_seconds"));
    let Some(node) = written else { return };
    let message = format!(
        "lets jobs be interrupted: a stop waits {} seconds, jobs may run {runs}",
        shown(channel.stop_wait)
    );
    let remedy = "raise stop_wait_seconds or lower worker.max_execute_seconds; an interrupted job runs again from its beginning";
    diagnostics.warnings.of_key(node, message, remedy);
}
