//! `completions`: prints a script with which a shell completes commands, options, channels and ids.

use clap::{Args, ValueEnum};
use clap_complete::env::{EnvCompleter, Fish, Zsh};

use super::completion::VARIABLE;
use super::{CommandContext, Exit, Failure};

/// Print a completion script for a shell
///
/// The shell completes commands, options, the channels of the configuration and the ids of jobs in the store. The script calls
/// this program for each completion.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Bash splits words at colons, which are part of the names of commands: the script reads the typed line itself and
/// removes what bash keeps of the word. The variables `_CLAP_…` belong to the crate, hence its version in `Cargo.toml`.
const BASH: &str = r#"_NAME_completions() {
    local line="${COMP_LINE:0:COMP_POINT}" words=() word found=() prefix=""
    read -ra words <<<"$line"
    case "$line" in *[[:space:]]) words+=("") ;; esac
    word="${words[${#words[@]} - 1]}"
    case "$COMP_WORDBREAKS" in *:*) prefix="${word%"${word##*:}"}" ;; esac
    while IFS= read -r candidate || [ -n "$candidate" ]; do
        found+=("${candidate#"$prefix"}")
    done < <(VARIABLE=bash _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) "PROGRAM" -- "${words[@]}" 2>/dev/null)
    COMPREPLY=("${found[@]}")
}
complete -o bashdefault -o default -F _NAME_completions PROGRAM
"#;

impl Completions {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let program = &context.program().name;
        let script = match self.shell {
            Shell::Bash => bash(program),
            Shell::Zsh => registration(&Zsh, program)?,
            Shell::Fish => registration(&Fish, program)?,
        };
        context.print_verbatim(&script)
    }
}

fn bash(program: &str) -> String {
    let word: String = program.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    BASH.replace("NAME", &word).replace("VARIABLE", VARIABLE).replace("PROGRAM", program)
}

fn registration(shell: &dyn EnvCompleter, program: &str) -> Result<String, Failure> {
    let failed = |error: String| Failure::new(Exit::Failed, "write the script").because(error);
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, program, program, program, &mut script)
        .map_err(|error| failed(error.to_string()))?;
    String::from_utf8(script).map_err(|error| failed(error.to_string()))
}
