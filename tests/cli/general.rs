//! Help, the list of commands, and what holds for every command.

use std::process::Stdio;

use crate::rig::{Rig, assert_transcript};

#[test]
fn help_and_list_name_every_command() {
    let mut rig = Rig::new();
    rig.run(&["--help"]);
    rig.run(&["queue:push", "--help"]);
    rig.run(&["list"]);
    assert_transcript!(rig);
}

#[test]
fn what_is_no_command_is_a_usage_error() {
    let mut rig = Rig::new();
    assert_eq!(rig.run(&[]).code, 2);
    assert_eq!(rig.run(&["queue:pusch"]).code, 2);
    assert_eq!(rig.run(&["queue:push", "noop", "--colour"]).code, 2);
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_complain() {
    let rig = Rig::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = rig.command(&["list"]).stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_environment_without_colours_is_respected_and_overruled() {
    let rig = Rig::new();
    let said = |args: &[&str], no_color: bool| {
        let mut command = rig.command(args);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap().contains('\x1b')
    };
    assert!(!said(&["queue:status"], false), "the output is no terminal");
    assert!(said(&["queue:status", "--ansi"], true));
    assert!(!said(&["queue:status", "--ansi", "--no-ansi"], false));
}
