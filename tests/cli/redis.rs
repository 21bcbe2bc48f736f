//! The commands on Redis, with one changed line of configuration.

use std::fs;

use crate::fixture::Fixture;
use crate::support::redis::{Server, free_port};

/// The output of a typical sequence of commands, with ids replaced.
fn day(fixture: &mut Fixture) -> Vec<String> {
    let lines: String = (0..700).map(|i| format!("{{\"job\":\"noop\",\"payload\":{i}}}\n")).collect();
    fixture.write("jobs.jsonl", lines);
    let mut said = Vec::new();
    for args in [
        &["queue:push", "noop"][..],
        &["queue:push", "echo", "--data", r#"{"message":"ä"}"#, "--delay", "1h"],
        &["queue:push", "noop", "--unique", "k"],
        &["queue:push", "noop", "--unique", "k", "--json"],
        &["queue:push", "--file", "jobs.jsonl"],
        &["queue:failed"],
        &["queue:show", "17"],
        &["queue:clear", "--yes"],
        &["queue:reload-failed", "all"],
        &["queue:status", "--json"],
    ] {
        let answer = fixture.run(args);
        let all = format!("{} {}{}", answer.code, answer.out, answer.err);
        said.push(
            all.split(|c: char| !c.is_ascii_digit())
                .filter(|w| w.len() == 16)
                .fold(all.clone(), |text, id| text.replace(id, "ID")),
        );
    }
    let status = said.last_mut().unwrap();
    *status = status.split("\"driver\"").next().unwrap().to_owned();
    said
}

#[test]
fn commands_print_the_same_on_both_stores() {
    let server = Server::start();
    let port = server.config().port;
    let config = format!(
        "[defaults.driver]\ntype = \"sqlite\"\nconnection = {{ port = {port} }}\n[channels.default]\n"
    );
    let mut fixture = Fixture::with_config(&config);
    let on_sqlite = day(&mut fixture);
    fixture.write("config/aint-queue.toml", config.replace("\"sqlite\"", "\"redis\""));
    assert_eq!(day(&mut fixture), on_sqlite);
    assert!(fixture.run(&["queue:status"]).out.contains(&format!("Store: redis at 127.0.0.1:{port}")));
}

#[test]
fn unreachable_server_is_named_without_password() {
    let server = Server::start_with(&["--requirepass", "right"]);
    let config = |port: u16, password: &str| {
        format!(
            "[channels.default.driver]\ntype = \"redis\"\nconnection = {{ port = {port}, password = \"{password}\" }}"
        )
    };
    let mut fixture = Fixture::with_config(&config(server.config().port, "hunter2"));
    let wrong = fixture.run(&["queue:push", "noop"]);
    assert_eq!(wrong.code, 5);
    assert!(wrong.err.starts_with("error: could not open channel \"default\": "), "{}", wrong.err);
    assert!(wrong.err.contains("password") && !wrong.err.contains("hunter2"), "{}", wrong.err);

    fixture.write("config/aint-queue.toml", config(server.config().port, "right"));
    assert_eq!(fixture.run(&["queue:push", "noop"]).code, 0);

    fixture.write("config/aint-queue.toml", config(free_port(), "hunter2"));
    let away = fixture.run(&["queue:status"]);
    assert_eq!(away.code, 5);
    assert!(
        away.err.contains("Connection refused")
            && away.err.contains("\nhint: check that the store is running")
    );
    assert!(!away.err.contains("hunter2"), "{}", away.err);
    assert!(fs::read_dir(fixture.path(".")).unwrap().count() == 1, "no SQLite file was made");
}
