//! Secrets reach the receiver only.

use std::fs;

use crate::channel::SECRET;
use crate::fixture::{Fixture, text, until};
use crate::receiver::{CannedResponse, Receiver};

/// Every secret of the configuration below.
const SECRETS: [&str; 4] = [SECRET, "hunter2-token", "hunter2-query", "hunter2-path"];

fn holds_none(what: &str, text: &str) {
    for secret in SECRETS {
        let bare = secret.trim_start_matches("whsec_");
        assert!(!text.contains(bare), "{what} holds {bare}: {text}");
    }
}

#[test]
fn secrets_stay_out_of_logs_errors_args_and_config() {
    // An echoing receiver.
    let receiver = Receiver::start(|got| {
        CannedResponse::Whole(500, Vec::new(), format!("cannot POST {} with {:?}", got.path, got.headers))
    });
    let fixture = Fixture::sqlite(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"coroutine\"\nurl = \"${HOOK_URL}\"\n\
         secret = \"${HOOK_SECRET}\"\nallow_http = true\nallow_private = true\n\
         headers = { Authorization = \"Bearer ${HOOK_TOKEN}\" }\n",
    );
    let url = format!("http://127.0.0.1:{}/hunter2-path?key=hunter2-query", receiver.port());
    let command = |args: &[&str]| {
        let mut command = fixture.command(args);
        command.env("HOOK_URL", &url).env("HOOK_SECRET", SECRET).env("HOOK_TOKEN", "hunter2-token");
        command
    };
    let said = |args: &[&str]| {
        let output = command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    };
    let id = said(&["queue:push", "hook"]).trim().to_owned();
    let log = fixture.file("master.log");
    let mut listen = command(&["queue:listen", "-vv"]);
    listen.stdout(fs::File::create(fixture.file("out")).unwrap()).stderr(fs::File::create(&log).unwrap());
    let mut master = listen.spawn().unwrap();
    let failed = || said(&["queue:status", "--json"]).contains("\"failed\":1");
    until("the failure", || failed().then_some(()));

    let arguments: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|line| text(&line))
        .filter(|line| line.contains("__webhook"))
        .collect();
    assert!(!arguments.is_empty(), "the worker runs");
    holds_none("a command line", &arguments.concat());
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(master.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert!(master.wait().unwrap().success());

    let request = &receiver.requests()[0];
    assert_eq!(request.header("authorization"), "Bearer hunter2-token");
    assert_eq!(request.path, "/hunter2-path?key=hunter2-query");
    let log = text(&fs::read(log).unwrap());
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "verbose log: {log}");
    holds_none("the log", &log);
    let shown = said(&["queue:show", &id]);
    assert!(shown.contains("cannot POST /[hidden] with"), "{shown}");
    holds_none("queue:show", &shown);
    for args in
        [&["queue:failed", "--json"][..], &["queue:failed"], &["config:check"], &["config:check", "--json"]]
    {
        holds_none(&args.join(" "), &said(args));
    }
    assert!(said(&["config:check"]).contains("secret = \"[hidden]\""));
}
