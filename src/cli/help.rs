//! The definition of the command line with what clap cannot derive: groups of commands, examples, short names, the name of
//! the program, and one suggestion for a misspelt command.

use std::fmt::Write;

use clap::builder::Styles;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory};

use super::program::Program;
use super::{Cli, completion};
use crate::job::Registry;
use aint_queue_core::suggest::nearest;

/// A group of commands in the help.
struct Group {
    title: &'static str,
    /// The commands, each with examples: arguments behind the name of the program.
    commands: &'static [(&'static str, &'static [&'static str])],
}

const GROUPS: [Group; 4] = [
    Group {
        title: "Run jobs",
        commands: &[
            ("demo", &["demo"]),
            (
                "queue:listen",
                &["queue:listen", "queue:listen --channel mail --channel reports", "queue:listen --all"],
            ),
            ("queue:run", &["queue:run", "queue:run --id 1795235457811939"]),
        ],
    },
    Group {
        title: "Jobs",
        commands: &[
            (
                "queue:push",
                &[
                    r#"queue:push send_email --data '{"to":"ann@example.com"}'"#,
                    "queue:push report --delay 5m --unique report-7 --channel reports",
                    "queue:push --file jobs.jsonl",
                ],
            ),
            (
                "queue:jobs",
                &["queue:jobs", "queue:jobs --state delayed --job send_email", "queue:jobs --all --json"],
            ),
            ("queue:running", &["queue:running", "queue:running --tree"]),
            ("queue:failed", &["queue:failed", "queue:failed --reason timeout --since 1h"]),
            ("queue:show", &["queue:show 1795235457811939", "queue:show 1795235457811939 --output --follow"]),
            ("queue:why", &["queue:why", "queue:why 1795235457811939", "queue:why --unique report-7"]),
            ("queue:cancel", &["queue:cancel 1795235457811939"]),
            (
                "queue:reload-failed",
                &[
                    "queue:retry 1795235457811939",
                    "queue:retry all",
                    "queue:retry --reason timeout --since 1h",
                ],
            ),
            ("queue:forget", &["queue:forget 1795235457811939 1795235457846206"]),
            ("queue:flush", &["queue:flush --older-than 7d --dry-run", "queue:flush --job send_email --yes"]),
            ("queue:clear", &["queue:clear --channel mail", "queue:clear --state failed --yes"]),
        ],
    },
    Group {
        title: "Control",
        commands: &[
            ("queue:status", &["queue:status --all", "queue:status --workers", "queue:status --json"]),
            #[cfg(feature = "top")]
            (
                "queue:top",
                &[
                    "queue:top",
                    "queue:top --channel mail --read-only",
                    "queue:top --once",
                    "queue:top --remote https://queue.example.com",
                ],
            ),
            ("queue:dashboard", &["queue:dashboard", "queue:dashboard --no-open"]),
            ("queue:history", &["queue:history", "queue:history --last 6h --channel mail"]),
            (
                "queue:alerts",
                &[
                    "queue:alerts --try 'oldest_waiting>60s'",
                    "queue:alerts --try 'waiting>1000' --for 5m --last 6h",
                ],
            ),
            ("queue:stop", &["queue:stop", "queue:stop --all"]),
            ("queue:reload", &["queue:reload", "queue:reload --all"]),
            ("queue:quiet", &["queue:quiet --channel mail"]),
            ("queue:pause", &["queue:pause --for 10m", "queue:pause --all"]),
            ("queue:resume", &["queue:resume --channel mail"]),
            ("queue:scale", &["queue:scale +1", "queue:scale =4 --channel mail"]),
        ],
    },
    Group {
        title: "Configuration and help",
        commands: &[
            ("config:check", &["config:check", "config:check --keys"]),
            ("list", &["list", "list --json"]),
            ("completions", &["completions bash > ~/.local/share/bash-completion/completions/{program}"]),
            ("man", &["man ~/.local/share/man/man1"]),
        ],
    },
];

/// Layout of the help of the program: `{before-help}` holds the groups of commands.
const TEMPLATE: &str = "\
{about-with-newline}
{usage-heading} {usage}

{before-help}{options-heading}
{options}{after-help}";

/// The command line of a program with these jobs.
pub(super) fn command_line(program: &Program, registry: &Registry) -> Command {
    let mut line = Cli::command().name(&program.name).bin_name(&program.name).version(program.version_text());
    let styles = line.get_styles().clone();
    let groups = listed_groups(&line, &styles);
    line = line
        .before_help(groups)
        .help_template(TEMPLATE.replace("{options-heading}", &heading(&styles, "Options")));
    for (name, examples) in GROUPS.iter().flat_map(|group| group.commands) {
        line = line.mut_subcommand(name, |command| described(command, examples, program, &styles));
    }
    completion::with_values(line, registry)
}

/// A command with its examples, its aliases in the help, and its name without `queue:` as a hidden alias.
fn described(command: Command, examples: &[&str], program: &Program, styles: &Styles) -> Command {
    let mut text = heading(styles, "Examples");
    for example in examples {
        let example = example.replace("{program}", &program.name);
        write!(text, "\n  {} {example}", program.name).expect("writing to a string cannot fail");
    }
    let aliases: Vec<_> = command.get_visible_aliases().map(str::to_owned).collect();
    if !aliases.is_empty() {
        write!(text, "\n\n{} {}", heading(styles, "Also"), aliases.join(", ")).expect("as above");
    }
    // `-h` and `--help` have the same compact layout: the second paragraph of a description is in both.
    let about = command.get_long_about().or_else(|| command.get_about()).cloned().unwrap_or_default();
    let help = Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help("Print help");
    let command = command.about(about).disable_help_flag(true).arg(help).after_help(text);
    let names = command.get_name_and_visible_aliases().into_iter();
    let short: Vec<_> = names.filter_map(|name| short_name(name).map(str::to_owned)).collect();
    command.aliases(short)
}

/// The name of a command without its prefix, as typed by people who are in a hurry. `worker:…` is another name of a command that
/// has a short name already.
fn short_name(name: &str) -> Option<&str> {
    name.strip_prefix("queue:").or_else(|| name.strip_prefix("config:"))
}

/// The groups with the name and the summary of each command.
fn listed_groups(line: &Command, styles: &Styles) -> String {
    let literal = styles.get_literal();
    let width = GROUPS.iter().flat_map(|group| group.commands).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for group in &GROUPS {
        writeln!(text, "{}", heading(styles, group.title)).expect("writing to a string cannot fail");
        for (name, _) in group.commands {
            let summary = summary(line, name);
            writeln!(text, "  {literal}{name:<width$}{literal:#}  {summary}").expect("as above");
        }
        text.push('\n');
    }
    text
}

fn heading(styles: &Styles, title: &str) -> String {
    let header = styles.get_header();
    format!("{header}{title}:{header:#}")
}

fn summary(line: &Command, name: &str) -> String {
    let command = line.find_subcommand(name);
    let about = command.and_then(Command::get_about).map(ToString::to_string).unwrap_or_default();
    about.lines().next().unwrap_or_default().to_owned()
}

/// A command for `list`.
pub(super) struct ListedCommand {
    /// The title of its group.
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) summary: String,
    pub(super) aliases: Vec<String>,
}

/// All commands, in the order of the help.
pub(super) fn commands() -> Vec<ListedCommand> {
    let line = Cli::command();
    let grouped = GROUPS.iter().flat_map(|group| group.commands.iter().map(|(name, _)| (group.title, *name)));
    let listed = grouped.map(|(group, name)| {
        let aliases = line.find_subcommand(name).map(Command::get_visible_aliases);
        let aliases = aliases.into_iter().flatten().map(str::to_owned).collect();
        ListedCommand { group, name, summary: summary(&line, name), aliases }
    });
    listed.collect()
}

/// An error that suggests the nearest command instead of all that begin alike.
pub(super) fn with_one_suggestion(mut error: clap::Error, line: &Command) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let names: Vec<_> = line.get_subcommands().flat_map(known_names).collect();
    let meant = nearest(typed, names.iter().map(|(known, _)| *known));
    match names.into_iter().find(|(known, _)| Some(*known) == meant) {
        Some((_, name)) => {
            let name = ContextValue::Strings(vec![name.to_owned()]);
            error.insert(ContextKind::SuggestedSubcommand, name);
        }
        None => {
            error.remove(ContextKind::SuggestedSubcommand);
        }
    }
    error
}

/// The names of a command, each with the name to suggest for it: a short name stands for the whole one.
fn known_names(command: &Command) -> Vec<(&str, &str)> {
    let shown = command.get_name_and_visible_aliases();
    let short = command.get_all_aliases().filter(|alias| !shown.contains(alias));
    let short = short.map(|alias| (alias, command.get_name()));
    shown.iter().map(|name| (*name, *name)).chain(short).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Command {
        command_line(&Program::default(), &Registry::default())
    }

    #[test]
    fn command_line_is_consistent() {
        line().debug_assert();
    }

    #[test]
    fn each_command_is_in_one_group_and_has_examples_that_parse() {
        let mut known: Vec<_> = Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect();
        let mut grouped: Vec<_> = commands().into_iter().map(|command| command.name.to_owned()).collect();
        known.sort();
        grouped.sort();
        assert_eq!(known, grouped);
        for (name, examples) in GROUPS.iter().flat_map(|group| group.commands) {
            assert!(!examples.is_empty(), "{name}");
            for example in *examples {
                let words = example.split(" > ").next().unwrap_or_default().replace('\'', "");
                let typed = std::iter::once("aint-queue").chain(words.split(' '));
                let matches = line().try_get_matches_from(typed).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(matches.subcommand_name(), Some(*name), "{example}");
            }
        }
    }

    #[test]
    fn help_has_one_layout() {
        for command in line().get_subcommands_mut() {
            let name = command.get_name().to_owned();
            let typed = ["aint-queue".to_owned(), name.clone()];
            let said = |flag: &str| {
                let words = typed.iter().map(String::as_str).chain([flag]);
                line().try_get_matches_from(words).unwrap_err().to_string()
            };
            assert_eq!(said("-h"), said("--help"), "{name}");
            assert!(!said("--help").contains("\n\n      --"), "{name}: {}", said("--help"));
        }
        let quiet = line().try_get_matches_from(["aint-queue", "queue:quiet", "-h"]).unwrap_err().to_string();
        assert!(quiet.contains("\n\nRunning jobs continue.\n"), "{quiet}");
    }

    #[test]
    fn list_of_commands_fits_into_eighty_columns() {
        for text in listed_groups(&line(), &Styles::plain()).lines() {
            assert!(text.chars().count() <= 80, "{text}");
        }
    }

    #[test]
    fn command_is_found_by_its_short_name() {
        for (typed, meant) in [("status", "queue:status"), ("push", "queue:push"), ("check", "config:check")]
        {
            let mut words = vec!["aint-queue", typed];
            words.extend((typed == "push").then_some("noop"));
            let matches = line().try_get_matches_from(words).unwrap();
            assert_eq!(matches.subcommand_name(), Some(meant));
        }
    }

    #[test]
    fn misspelt_command_gets_one_suggestion() {
        let said = |typed: &str| {
            let error = line().try_get_matches_from(["aint-queue", typed]).unwrap_err();
            with_one_suggestion(error, &line()).to_string()
        };
        assert!(
            said("queue:stauts").contains("a similar subcommand exists: 'queue:status'"),
            "{}",
            said("queue:stauts")
        );
        assert!(said("worker:liste").contains("'worker:listen'"));
        for (typed, meant) in [("stauts", "queue:status"), ("pus", "queue:push"), ("chek", "config:check")] {
            let said = said(typed);
            assert!(said.contains(&format!("a similar subcommand exists: '{meant}'")), "{typed}: {said}");
        }
        assert!(!said("dance").contains("similar"), "{}", said("dance"));
    }

    #[test]
    fn program_has_its_own_name_and_version() {
        let version = |name: &str, version: Option<&str>| {
            let program =
                Program { name: name.to_owned(), version: version.map(str::to_owned), ..Program::default() };
            command_line(&program, &Registry::default()).render_version()
        };
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(version("aint-queue", None), format!("aint-queue {own}\n"));
        assert_eq!(version("shop", None), format!("shop (aint-queue {own})\n"));
        assert_eq!(version("shop", Some("1.2.3")), format!("shop 1.2.3 (aint-queue {own})\n"));
        let program = Program { name: "shop".to_owned(), ..Program::default() };
        let help = command_line(&program, &Registry::default()).render_long_help().to_string();
        assert!(help.contains("Usage: shop "), "{help}");
    }
}
