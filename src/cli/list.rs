//! `list`: lists the commands and the registered jobs of this program.

use clap::Args;
use serde_json::json;

use super::{CommandContext, Failure, commands};

/// List the commands and the jobs registered in this program
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let commands = commands();
        let jobs: Vec<_> = context.registry().names().collect();
        if context.json() {
            let commands = commands
                .iter()
                .map(|(name, about, aliases)| json!({ "name": name, "about": about, "aliases": aliases }));
            return context.print_json(&json!({ "commands": commands.collect::<Vec<_>>(), "jobs": jobs }));
        }
        context.print(&render(&commands, &jobs))
    }
}

fn render(commands: &[(String, String, Vec<String>)], jobs: &[&str]) -> String {
    let width = commands.iter().map(|(name, ..)| name.len()).max().unwrap_or(0) + 2;
    let mut text = String::from("Commands:\n");
    for (name, about, aliases) in commands {
        let also = match aliases.as_slice() {
            [] => String::new(),
            aliases => format!(" [also: {}]", aliases.join(", ")),
        };
        text.push_str(&format!("  {name:<width$}{about}{also}\n"));
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
        let commands = [
            ("a".to_owned(), "Do a".to_owned(), vec![]),
            ("long".to_owned(), "Do it".to_owned(), vec!["l".to_owned()]),
        ];
        let expected = "Commands:\n  a     Do a\n  long  Do it [also: l]\n\nJobs of this program:\n  noop\n";
        assert_eq!(render(&commands, &["noop"]), expected);
        assert!(render(&commands, &[]).ends_with("  none\n"));
    }
}
