//! Shell completion in real shells, and manual pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::Fixture;

/// Runs a script in a shell that finds the program on its PATH, and returns the words that it prints.
fn shell(fixture: &Fixture, shell: &[&str], script: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_aint-queue"));
    let directory = program.parent().unwrap().to_str().unwrap();
    let path = format!("{directory}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .arg(script)
        .current_dir(fixture.path("."))
        .env("PATH", path)
        .env("HOME", fixture.path("."));
    command.env_remove("AINT_QUEUE_CONFIG").env_remove("XDG_RUNTIME_DIR");
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// The words that bash offers for a typed line.
fn bash(fixture: &Fixture, line: &str) -> Vec<String> {
    let script = format!(
        "source <(aint-queue completions bash); COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; \
         _aint_queue_completions; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    shell(fixture, &["bash", "--norc", "-c"], &script)
}

fn fish(fixture: &Fixture, line: &str) -> Vec<String> {
    let script = format!("aint-queue completions fish | source; complete -C '{line}'");
    let offered = shell(fixture, &["fish", "--no-config", "-c"], &script);
    // Fish shows a description behind a tab.
    offered.iter().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

fn zsh(fixture: &Fixture, line: &str) -> Vec<String> {
    let words: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let script = format!(
        "compdef() {{ }}; _describe() {{ local name=$@[-1]; print -l -- ${{(P)name}} }}; \
         source <(aint-queue completions zsh); words=({}); CURRENT={}; _clap_dynamic_completer_aint_queue",
        words.join(" "),
        words.len()
    );
    // A colon within a value is escaped; behind one that is not, the description begins.
    let value =
        |line: &String| line.replace("\\:", "\0").split(':').next().unwrap_or_default().replace('\0', ":");
    shell(fixture, &["zsh", "-f", "-c"], &script).iter().map(value).collect()
}

#[test]
fn bash_completes_commands_with_colons() {
    let fixture = Fixture::new();
    // Bash counts a colon as the end of a word and expects what follows it.
    assert_eq!(bash(&fixture, "aint-queue queue:sta"), ["status"]);
    assert_eq!(bash(&fixture, "aint-queue comp"), ["completions"]);
    let all = bash(&fixture, "aint-queue queue:");
    assert!(all.contains(&"push".to_owned()) && all.contains(&"listen".to_owned()), "{all:?}");
    assert_eq!(bash(&fixture, "aint-queue queue:status --work"), ["--workers"]);
}

#[test]
fn every_shell_completes_channels_and_ids() {
    let mut fixture = Fixture::with_config("[channels.default]\n[channels.mail]\n[channels.mobile]\n");
    let id = fixture.push(&["noop"]).to_string();
    // A process that reads the store has its log beside it for a while.
    let files = |fixture: &Fixture| {
        let entries = fs::read_dir(fixture.path("config")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let lasting = |name: &String| !name.ends_with("-wal") && !name.ends_with("-shm");
        names.filter(lasting).collect::<BTreeSet<_>>()
    };
    let before = files(&fixture);
    for (name, complete) in
        [("bash", bash as fn(&Fixture, &str) -> Vec<String>), ("fish", fish), ("zsh", zsh)]
    {
        assert_eq!(complete(&fixture, "aint-queue queue:status -t m"), ["mail", "mobile"], "{name}");
        assert_eq!(complete(&fixture, "aint-queue queue:show 1"), [id.as_str()], "{name}");
        assert_eq!(complete(&fixture, "aint-queue queue:forget 1"), [""; 0], "{name}: no job is failed");
        assert_eq!(complete(&fixture, "aint-queue queue:push noo"), ["noop"], "{name}");
    }
    assert_eq!(files(&fixture), before, "completion creates no file");
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run(&["man", "pages"]).code, 0);
    let page = fs::read_to_string(fixture.path("pages/aint-queue-queue:push.1")).unwrap();
    assert!(page.contains("Push a job, or many jobs from a file") && page.contains("Examples"), "{page}");
    assert!(fixture.path("pages/aint-queue.1").exists());
    fixture.write("file", "");
    assert_eq!(fixture.run(&["man", "file/pages"]).code, 1);
    let page = fixture.path("pages/aint-queue.1");
    fs::remove_file(&page).unwrap();
    std::os::unix::fs::symlink(fixture.path("file"), &page).unwrap();
    let refused = fixture.run(&["man", "pages"]);
    assert!(
        refused.code == 1 && refused.err.contains("aint-queue.1\" is a symbolic link"),
        "{}",
        refused.err
    );
    assert_eq!(fs::read_to_string(fixture.path("file")).unwrap(), "", "nothing is written through the link");
}

#[test]
fn program_under_another_name_has_that_name_in_its_help() {
    let fixture = Fixture::new();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_aint-queue"), fixture.path("shop")).unwrap();
    let said = |args: &[&str]| {
        let output = Command::new(fixture.path("shop")).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(&["--version"]), format!("shop (aint-queue {})\n", env!("CARGO_PKG_VERSION")));
    assert!(said(&["queue:status", "--help"]).contains("Usage: shop queue:status"));
    assert!(said(&["completions", "bash"]).contains("-F _shop_completions shop"));
}
