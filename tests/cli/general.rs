//! Help, the list of commands, and the global options.

use std::process::Stdio;

use crate::fixture::{Fixture, assert_transcript};

#[test]
fn help_and_list_name_every_command() {
    let mut fixture = Fixture::new();
    fixture.run(&["--help"]);
    fixture.run(&["queue:push", "--help"]);
    fixture.run(&["list"]);
    assert_transcript!(fixture);
}

#[test]
fn unknown_command_is_a_usage_error() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run(&[]).code, 2);
    assert_eq!(fixture.run(&["queue:pusch"]).code, 2);
    assert_eq!(fixture.run(&["queue:push", "noop", "--colour"]).code, 2);
}

#[test]
fn closed_output_pipe_is_no_error() {
    let fixture = Fixture::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = fixture.command(&["list"]).stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn no_color_is_respected_and_overridable() {
    let fixture = Fixture::new();
    let said = |args: &[&str], no_color: bool| {
        let mut command = fixture.command(args);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap().contains('\x1b')
    };
    assert!(!said(&["queue:status"], false), "the output is no terminal");
    assert!(said(&["queue:status", "--ansi"], true));
    assert!(!said(&["queue:status", "--ansi", "--no-ansi"], false));
}
