//! `list`: lists the commands and the registered jobs of this program.

use clap::Args;
use serde_json::json;

use super::help::{ListedCommand, commands};
use super::{CommandContext, Failure};

/// List the commands and the jobs of this program
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let commands = commands();
        let is_off = context.are_demo_jobs_off();
        let jobs: Vec<_> = context.registry().names().filter(|_| !is_off).collect();
        if context.json() {
            let commands = commands.iter().map(|command| {
                json!({ "name": command.name, "about": command.summary, "aliases": command.aliases })
            });
            return context.print_json(&json!({ "commands": commands.collect::<Vec<_>>(), "jobs": jobs }));
        }
        let mut text = render(&commands, &jobs);
        if is_off {
            text.push_str(
                "  The demo jobs are off: worker.demo_jobs = true switches them on in a channel.\n",
            );
        }
        context.print(&text)
    }
}

fn render(commands: &[ListedCommand], jobs: &[&str]) -> String {
    let width = commands.iter().map(|command| command.name.len()).max().unwrap_or(0) + 2;
    let (mut text, mut group) = (String::new(), "");
    for ListedCommand { group: own, name, summary, aliases } in commands {
        if group != *own {
            let break_before = if group.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{break_before}{own}:\n"));
            group = own;
        }
        text.push_str(&format!("  {name:<width$}{summary}\n"));
        if !aliases.is_empty() {
            text.push_str(&format!("  {:<width$}[also: {}]\n", "", aliases.join(", ")));
        }
    }
    text.push_str("\nJobs of this program:\n");
    if jobs.is_empty() {
        text.push_str("  none\n");
    }
    for job in jobs {
        text.push_str(&format!("  {job}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_line_up_and_name_their_aliases() {
        let command = |group, name, aliases: &[&str]| ListedCommand {
            group,
            name,
            summary: "Do it".to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        };
        let commands = [command("One", "a", &[]), command("Two", "long", &["l"])];
        let expected = "One:\n  a     Do it\n\nTwo:\n  long  Do it\n        [also: l]\n\nJobs of this program:\n  noop\n";
        assert_eq!(render(&commands, &["noop"]), expected);
        assert!(render(&commands, &[]).ends_with("  none\n"));
    }
}
