//! Finds and reads the configuration file, and turns its text into a [`Config`].

use std::collections::BTreeMap;
#[cfg(feature = "server")]
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

#[cfg(feature = "server")]
use super::alerts;
use super::canonical;
use super::channel_name::is_channel_name;
use super::error::{ConfigError, Diagnostics, Problems, UndeclaredChannel};
use super::idle_keys::warn_of_idle_keys;
use super::interpolation::{Env, Interpolation};
use super::keys::KEYS;
#[cfg(feature = "server")]
use super::passed_env::PassedEnv;
use super::spanned::{Node, Table, Value};
use super::typed::TypedTable;
use super::{
    Channel, Config, Driver, Metrics, build, http, inherit, log_file, metrics, otel, run_directory, spanned,
    validate,
};
use crate::access::{self, Access};
use crate::dangling_link::DanglingLink;
use crate::known_directories;
use crate::suggest::nearest;
use crate::trust;

/// The variable that names the configuration file.
pub const FILE_VARIABLE: &str = "AINT_QUEUE_CONFIG";
/// The default path of the configuration file, relative to the current directory.
pub const DEFAULT_FILE: &str = "config/aint-queue.toml";
/// The second place of the configuration file: the current directory itself.
pub const LOCAL_FILE: &str = "aint-queue.toml";
/// Largest configuration file in bytes: 1 MiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

impl Config {
    /// Finds the configuration: `given` if set, else the file named by `AINT_QUEUE_CONFIG`, else
    /// `config/aint-queue.toml` if it exists, else `aint-queue.toml` in the current directory, else the built-in channel
    /// `default`. Of two files the first one is used, and [`Config::ignored`] names the other.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] for a named file that cannot be read, [`ConfigError::Invalid`] with every mistake of
    /// the file.
    pub fn find(given: Option<&Path>) -> Result<Self, ConfigError> {
        if let Some(file) = given {
            return load(file, "named by --config");
        }
        if let Some(file) = env::var_os(FILE_VARIABLE).filter(|file| !file.is_empty()) {
            return load(Path::new(&file), "named by AINT_QUEUE_CONFIG");
        }
        for (file, other) in [(DEFAULT_FILE, Some(LOCAL_FILE)), (LOCAL_FILE, None)] {
            let file = Path::new(file);
            let is_missing =
                fs::symlink_metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            if is_missing && DanglingLink::find(file).is_none() {
                continue;
            }
            let ignored = other.map(PathBuf::from).filter(|other| other.exists());
            return load_found(file, file.ancestors().count() - 1).map(|found| Self { ignored, ..found });
        }
        Ok(Self::built_in(&env::current_dir().unwrap_or_else(|_| PathBuf::from("."))))
    }

    /// The directory of the configuration file, base of all relative paths; the current directory without a file.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        let beside = self.file.as_deref().and_then(Path::parent).map(Path::to_owned);
        beside.or_else(|| env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("."))
    }

    /// Reads the configuration in `file`.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] when the file cannot be read, [`ConfigError::Invalid`] with every mistake in it.
    pub fn load(file: impl AsRef<Path>) -> Result<Self, ConfigError> {
        load(file.as_ref(), "given")
    }

    /// Reads the file of this configuration again; `None` for the built-in one. A file that no operator has named is judged again:
    /// its owner and mode, and those of its directory, may have changed.
    ///
    /// # Errors
    /// As [`Config::find`].
    pub fn reload(&self) -> Option<Result<Self, ConfigError>> {
        let file = self.file.as_deref()?;
        Some(match self.found_below {
            Some(directories) => load_found(file, directories),
            None => load(file, "given at the start"),
        })
    }

    /// Parses `text`; relative paths and messages refer to `file`, which is not opened.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every mistake in it.
    pub fn parse(text: &str, file: impl AsRef<Path>) -> Result<Self, ConfigError> {
        parse(text, file.as_ref(), &|name| env::var(name).ok())
    }

    /// The configuration without a file: one channel `default` with every key at its default, on a SQLite file in
    /// `directory`, with a run directory that belongs to this file.
    #[must_use]
    pub fn built_in(directory: &Path) -> Self {
        let file = directory.join("built-in");
        known_directories::remember_above(&file);
        let built_in = parse("[channels.default]", &file, &|_| None);
        let mut built_in = built_in.expect("the defaults are a valid configuration");
        built_in.file = None;
        for channel in built_in.channels.values_mut() {
            channel.source = None;
            channel.worker.demo_jobs = true;
            if let Driver::Sqlite { path, named } = &mut channel.driver {
                *named = false;
                channel.pid_path = run_directory::of_store(path);
            }
        }
        built_in
    }

    /// The channel of this name.
    ///
    /// # Errors
    /// When the channel is not declared; the error lists the declared ones.
    pub fn channel(&self, name: &str) -> Result<&Channel, UndeclaredChannel> {
        self.channels.get(name).ok_or_else(|| UndeclaredChannel {
            name: name.to_owned(),
            place: match &self.file {
                Some(file) => format!("\"{}\"", file.display()),
                None => {
                    format!("the built-in configuration (there is no {DEFAULT_FILE} and no {LOCAL_FILE})")
                }
            },
            declared: self.channels.keys().cloned().collect(),
        })
    }
}

fn load(file: &Path, named_by: &'static str) -> Result<Config, ConfigError> {
    let unreadable = |source| unreadable(file, named_by, source);
    known_directories::remember_above(file);
    let text = read_file(file).map_err(unreadable)?;
    read(&text, file)
}

/// Parses the text of a file that was just read, and remembers the directories that it names.
fn read(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let config = parse(text, file, &|name| env::var(name).ok())?;
    for channel in config.channels.values() {
        known_directories::remember_above(&channel.pid_path);
        if let Driver::Sqlite { path, .. } = &channel.driver {
            known_directories::remember_above(path);
        }
    }
    Ok(config)
}

/// Reads a file that no operator has named: it is found in the directory where the command runs, which may be a stranger's. It
/// names programs to run and servers that get the values of environment variables, so no other user may have written it.
/// `directories` is the number of directories that lead to it from where it was looked for, that one included.
fn load_found(file: &Path, directories: usize) -> Result<Config, ConfigError> {
    let unreadable = |source| unreadable(file, "found here", source);
    known_directories::remember_above(file);
    // Without a file here, the directory does not matter.
    let link = fs::symlink_metadata(file).map_err(unreadable)?;
    // Directories first: their owners can put any file there, also one of this user.
    for directory in file.ancestors().skip(1).take(directories) {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        // The whole path, because the message may be read far from here, as in a mail of cron.
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        trust::check_directory(&directory).map_err(unreadable)??;
    }
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    trust::check_owner(&whole, &link)?;
    trust::check_links(file, false)?;
    trust::check_above(&canonical(file))?;
    // A pipe would block its reader.
    let target = fs::metadata(file).map_err(unreadable)?;
    if !target.is_file() {
        let what = if target.is_dir() { "it is a directory, not a file" } else { "it is not a regular file" };
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, what)));
    }
    let opened = fs::File::open(file).map_err(unreadable)?;
    // The metadata of the open file: another user may replace the file at any moment.
    trust::check_private(&whole, &opened.metadata().map_err(unreadable)?)?;
    let text = read_text(opened).map_err(unreadable)?;
    let found = read(&text, file)?;
    Ok(Config { found_below: Some(directories), ..found })
}

/// The error of a missing file: a link without a target explains it better.
fn without_target(file: &Path, source: io::Error) -> io::Error {
    match DanglingLink::find(file) {
        Some(link) if source.kind() == io::ErrorKind::NotFound => {
            io::Error::new(io::ErrorKind::NotFound, link.to_string())
        }
        _ => source,
    }
}

fn unreadable(file: &Path, named_by: &'static str, source: io::Error) -> ConfigError {
    let source = access::explained(without_target(file, source), file, Access::Read);
    ConfigError::Unreadable { file: file.to_owned(), named_by, source }
}

pub(super) fn read_file(file: &Path) -> io::Result<String> {
    read_text(fs::File::open(file)?)
}

fn read_text(file: fs::File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|b| *b == b'\n').count();
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8: save it as UTF-8"))
    })
}

/// Parses and checks a whole text. All mistakes are collected before the configuration is refused.
pub(super) fn parse(text: &str, file: &Path, env: Env<'_>) -> Result<Config, ConfigError> {
    let mut diagnostics =
        Diagnostics { problems: Problems::new(file, text), warnings: Problems::new(file, text) };
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let base = absolute.parent().unwrap_or(Path::new("/"));

    let mut channels = BTreeMap::new();
    let (mut listener, mut log, mut scrapes, mut traces) = (None, None, Metrics::default(), None);
    #[cfg(feature = "server")]
    let (mut alert_settings, mut common_rules) = (None, Vec::new());
    let interpolation = Interpolation::new(env, base);
    let root = spanned::parse(text, &interpolation, &mut diagnostics.problems);
    let interpolated = interpolation.into_used();
    if let Some(mut root) = root {
        if let Some(node) = root.remove("http") {
            let mut table = as_table(node, &mut diagnostics.problems);
            let with_token = table.contains_key("token");
            validate::http(&mut table, &mut diagnostics.problems);
            listener = http::http(&table, with_token, &mut diagnostics);
        }
        if let Some(node) = root.remove("metrics") {
            let mut table = as_table(node, &mut diagnostics.problems);
            validate::metrics(&mut table, &mut diagnostics.problems);
            scrapes = metrics::metrics(&table, listener.as_ref(), &mut diagnostics);
        }
        if let Some(node) = root.remove("otel") {
            let mut table = as_table(node, &mut diagnostics.problems);
            validate::otel(&mut table, &mut diagnostics.problems);
            traces = Some(otel::otel(&table, &mut diagnostics));
        }
        if let Some(node) = root.remove("log") {
            let mut table = as_table(node, &mut diagnostics.problems);
            validate::log(&mut table, &mut diagnostics.problems);
            log = log_file::log_file(&table, base, &mut diagnostics);
        }
        let alerts_node = root.remove("alerts");
        #[cfg(feature = "server")]
        if let Some(node) = alerts_node {
            let declared = root.get("channels").and_then(|node| node.value.as_table());
            let declared: Vec<String> =
                declared.into_iter().flatten().map(|(name, _)| name.clone()).collect();
            let table = as_table(node, &mut diagnostics.problems);
            common_rules = table.get("rule").map_or(&[][..], |node| node.value.items()).to_vec();
            alert_settings = Some(alerts::alerts(table, base, &declared, &mut diagnostics));
        }
        // A producer sends no alerts, and leaves their settings to masters.
        #[cfg(not(feature = "server"))]
        drop(alerts_node);
        let (defaults, declared) = split(root, &mut diagnostics.problems);
        for (name, own) in &declared {
            let table = inherit::inherit(&defaults, own);
            check_destinations(&table, &declared, &mut diagnostics.problems);
            let mut channel = build::channel(name, &table, base, &interpolated, &mut diagnostics);
            channel.source = Some(absolute.clone());
            #[cfg(feature = "server")]
            {
                channel.rules = rules(&common_rules, &table, alert_settings.as_ref(), &mut diagnostics);
                handlers(&mut channel, &table, base, &mut alert_settings, &mut diagnostics);
            }
            warn_of_idle_keys(own, &table, &channel, &mut diagnostics.warnings);
            channels.insert(name.clone(), channel);
        }
    }
    #[cfg(feature = "server")]
    if let Some(settings) = &mut alert_settings {
        settings.passed_env = PassedEnv::all_but_secrets(&interpolated);
    }
    let (problems, warnings) = (diagnostics.problems.into_vec(), diagnostics.warnings.into_vec());
    if problems.is_empty() {
        Ok(Config {
            file: Some(absolute),
            ignored: None,
            found_below: None,
            channels,
            http: listener,
            metrics: scrapes,
            otel: traces,
            log,
            #[cfg(feature = "server")]
            alerts: alert_settings,
            warnings,
        })
    } else {
        Err(ConfigError::Invalid(problems))
    }
}

/// The rules of alerts of a channel; none while there is no receiver to send alerts to.
#[cfg(feature = "server")]
fn rules(
    common: &[spanned::Node],
    table: &Table,
    settings: Option<&alerts::Alerts>,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<alerts::Rule> {
    let own = TypedTable::new(table, KEYS).node("alerts.rule");
    let own_items = own.map_or(&[][..], |node| node.value.items());
    let declared = |settings: &'_ alerts::Alerts| {
        let all = settings.receivers.values().filter(|receiver| !receiver.is_handler);
        all.map(|receiver| receiver.name.clone()).collect::<Vec<_>>()
    };
    let declared = settings.map(declared);
    let receivers: Option<BTreeSet<_>> =
        declared.as_ref().map(|all| all.iter().map(String::as_str).collect());
    let mut rules = alerts::Rule::built_in();
    for items in [common, own_items] {
        alerts::change_rules(&mut rules, items, &receivers.clone().unwrap_or_default(), diagnostics);
    }
    let has_receivers = receivers.is_some_and(|receivers| !receivers.is_empty());
    if let (false, Some(node)) = (has_receivers || own_items.is_empty(), own) {
        let message = "has no effect: no receiver is declared";
        diagnostics.warnings.of_value(node, message, "add receivers.team = { type = \"log\" } to [alerts]");
    }
    if has_receivers { rules } else { Vec::new() }
}

/// Builds the snapshot handlers of a channel. Those with a rule are receivers of alerts.
#[cfg(feature = "server")]
fn handlers(
    channel: &mut Channel,
    table: &Table,
    base: &Path,
    settings: &mut Option<alerts::Alerts>,
    diagnostics: &mut Diagnostics<'_>,
) {
    let node = TypedTable::new(table, KEYS).node("job_snapshot.handler");
    let items = node.map_or(&[][..], |node| node.value.items());
    let language = settings.as_ref().map(|settings| settings.language).unwrap_or_default();
    let handlers = alerts::snapshot_handlers(&channel.name, items, language, base, diagnostics);
    let is_complete = handlers.len() == items.len();
    if is_complete && handlers.iter().any(|handler| handler.rule.is_some()) {
        let settings = settings.get_or_insert_with(|| alerts::alerts(Table::new(), base, &[], diagnostics));
        alerts::add_handler_rules(&handlers, items, &mut channel.rules, settings, diagnostics);
    }
    channel.snapshot.handlers = handlers;
}

/// Reports names of `worker.may_push` that are no declared channels: a misspelt name would refuse every push.
fn check_destinations(table: &Table, declared: &BTreeMap<String, Table>, problems: &mut Problems<'_>) {
    let read = TypedTable::new(table, KEYS);
    for item in read.node("worker.may_push").map_or(&[][..], |node| node.value.items()) {
        let Some(name) = item.value.as_text().filter(|name| !declared.contains_key(*name)) else { continue };
        let remedy = match nearest(name, declared.keys().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("declare it as [channels.{name}], or remove it"),
        };
        problems.of_value(item, format!("= \"{name}\" is not a declared channel"), remedy);
    }
}

/// Splits `[defaults]` from the channels' own tables and validates each.
fn split(mut root: Table, problems: &mut Problems<'_>) -> (Table, BTreeMap<String, Table>) {
    let mut defaults = match root.remove("defaults") {
        Some(node) => as_table(node, problems),
        None => Table::new(),
    };
    validate::channel(&mut defaults, "defaults", problems);

    let mut declared = BTreeMap::new();
    match root.remove("channels") {
        None => problems.add(0, "", "no channel is declared", "add a table [channels.default]"),
        Some(node) => {
            let (at, key) = (node.key_at, node.key.clone());
            let was_table = matches!(node.value, Value::Table(_));
            let channels = as_table(node, problems);
            if channels.is_empty() && was_table {
                problems.add(at, key, "declares no channel", "add a table [channels.default]");
            }
            for (name, node) in channels {
                if !is_channel_name(&name) {
                    let remedy = "use 1 to 64 of the characters A-Z a-z 0-9 _ . : -";
                    problems.of_key(&node, "cannot be a channel's name", remedy);
                }
                let root = node.key.clone();
                let mut table = as_table(node, problems);
                validate::channel(&mut table, &root, problems);
                declared.insert(name, table);
            }
        }
    }
    for (name, node) in &root {
        let (message, remedy) = unknown_top_level_key(name);
        problems.of_key(node, message, remedy);
    }
    (defaults, declared)
}

/// The mistake in a key outside the known tables, and its remedy.
fn unknown_top_level_key(name: &str) -> (&'static str, String) {
    let remedy = match nearest(name, ["channels", "defaults", "http", "metrics", "otel", "log", "alerts"]) {
        Some(near) => format!("did you mean {near}?"),
        None => format!(
            "a channel is declared as [channels.{}], settings of all channels as [defaults]",
            if is_channel_name(name) { name } else { "default" }
        ),
    };
    ("is not a known key", remedy)
}

fn as_table(node: Node, problems: &mut Problems<'_>) -> Table {
    if let Value::Table(table) = node.value {
        return table;
    }
    problems.of_type(&node, format!("write a table, as in [{}]", node.key));
    Table::new()
}
