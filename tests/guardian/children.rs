//! The environment and descriptors of children, and the reports of their exits.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use aint_queue::engine::guardian::{ChildEvent, ChildSpec, Exit};

use crate::fixture::*;

#[tokio::test]
async fn exit_codes_and_signals_are_reported() {
    let mut f = Fixture::new().await;
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 75", Exit::Code(75)),
        ("exit 255", Exit::Code(255)),
        ("kill -KILL $$", Exit::Signal(9)),
        ("kill -TERM $$", Exit::Signal(15)),
        ("ulimit -c 0; kill -SEGV $$", Exit::Signal(11)),
        // Real-time signals have numbers but no names.
        ("kill -40 $$", Exit::Signal(40)),
    ] {
        let child = f.sh(script);
        f.started(child).await;
        assert_eq!(f.ended(child).await, exit, "{script}");
    }
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn child_has_exactly_its_descriptors() {
    let mut f = Fixture::new().await;
    let descriptors = |pid: i32| -> BTreeSet<i32> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        entries.map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    };
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let with_wire = f.spawn(ChildSpec { wire: Some(theirs.into()), ..argv(&["sleep", &mark()]) });
    let pid = f.started(with_wire).await;
    // The kernel resumes the guardian shortly before it closes the close-on-exec descriptors of the program.
    until("four descriptors", || descriptors(pid) == BTreeSet::from([0, 1, 2, 3])).await;
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/0")).unwrap().to_str(), Some("/dev/null"));

    let without = f.spawn(argv(&["sleep", &mark()]));
    let pid = f.started(without).await;
    until("three descriptors", || descriptors(pid) == BTreeSet::from([0, 1, 2])).await;
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn guardian_leaks_no_descriptors() {
    let mut f = Fixture::new().await;
    let guardian = f.pid_of_guardian().await;
    let count = || fs::read_dir(format!("/proc/{guardian}/fd")).unwrap().count();
    let before = count();
    for _ in 0..50 {
        let child = f.sh("exit 0");
        f.started(child).await;
        f.ended(child).await;
        let missing = f.spawn(argv(&["/there/is/nothing/here"]));
        f.next(missing).await;
    }
    assert_eq!(count(), before);
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn child_has_default_signals_and_own_group() {
    let mut f = Fixture::new().await;
    let child = f.spawn(argv(&["sleep", &mark()]));
    let pid = f.started(child).await;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for name in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
    assert_eq!(stat(pid).unwrap()[2], pid.to_string(), "the process group is its own");
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn child_has_its_env_directory_and_stdin() {
    let cookie = format!("test-{}:inc", mark());
    let mut f = Fixture::with_cookie(&cookie).await;
    let directory = tempfile::tempdir().unwrap();
    let (stdin, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"hello").unwrap();
    drop(writer);
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let what = ChildSpec {
        env: vec![("GIVEN".into(), "a b".into())],
        cwd: Some(directory.path().to_owned()),
        stdin: Some(stdin.into()),
        wire: Some(theirs.into()),
        ..sh(
            "printf '%s|' \"$GIVEN\" \"$AINT_QUEUE_FD\" \"$AINT_QUEUE_COOKIE\" \"$PWD\" \"${HOME:+home}\"; cat",
        )
    };
    let here = directory.path().canonicalize().unwrap();
    let home = if std::env::var_os("HOME").is_some() { "home" } else { "" };
    let printed = output(&mut f, what).await;
    assert_eq!(printed, format!("a b|3|{cookie}:1|{}|{home}|hello", here.display()));
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn failed_spawn_names_program_and_reason() {
    let mut f = Fixture::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let not_executable = file("plain", "#!/bin/sh\n", 0o644);
    let no_program = file("text", "echo no shell reads this\n", 0o755);
    let no_interpreter = file("orphan", "#!/there/is/no/interpreter\n", 0o755);
    let cases = [
        (argv(&["no-such-program-anywhere"]), libc::ENOENT, "no such program in PATH"),
        (argv(&["/no/such/file"]), libc::ENOENT, "no such file"),
        (argv(&[&not_executable]), libc::EACCES, "not executable"),
        (argv(&[&no_program]), libc::ENOEXEC, "#!/bin/sh"),
        (argv(&[&no_interpreter]), libc::ENOENT, "interpreter"),
        (ChildSpec { cwd: Some("/no/such/place".into()), ..sh("exit 0") }, libc::ENOENT, "/no/such/place"),
        (argv(&[]), libc::EINVAL, "empty"),
        (argv(&["sh", "-c", "exit 0", &"x".repeat(200_000)]), libc::E2BIG, "131072"),
    ];
    for (what, expected, reason) in cases {
        let name = what.argv.first().cloned().unwrap_or_default();
        let child = f.spawn(what);
        let ChildEvent::SpawnFailed { error, errno } = f.next(child).await else { panic!("{name} started") };
        assert!(error.starts_with(&format!("could not run \"{name}\": ")), "{error}");
        assert!(error.contains(reason), "{error}");
        assert_eq!(errno, expected, "{error}");
    }
    // The guardian still serves other children.
    let child = f.sh("exit 3");
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(3));
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn spawn_burst_starts_and_reaps_all() {
    let mut f = Fixture::new().await;
    let children: Vec<_> = (0..300).map(|i| f.sh(&format!("exit {}", i % 200))).collect();
    for (i, child) in children.into_iter().enumerate() {
        f.started(child).await;
        assert_eq!(f.ended(child).await, Exit::Code(i32::try_from(i % 200).unwrap()));
    }
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn spawn_queue_overflow_fails_at_once() {
    let mut f = Fixture::new().await;
    // The client task sends nothing until this test yields.
    let children: Vec<_> = (0..1100).map(|_| f.spawn(argv(&["/no/such/file"]))).collect();
    let mut refused = 0;
    for child in children {
        let ChildEvent::SpawnFailed { errno, .. } = f.next(child).await else { panic!("it started") };
        refused += usize::from(errno == libc::EAGAIN);
    }
    assert_eq!(refused, 1100 - 1024);
    f.guardian.shut_down().await;
}

#[tokio::test]
async fn ended_guardian_refuses_spawns() {
    let mut f = Fixture::new().await;
    let handle = f.handle.clone();
    let running = f.spawn(argv(&["sleep", &mark()]));
    f.started(running).await;
    let events = f.events.clone();
    let (mut received, guardian) = f.into_parts();
    guardian.shut_down().await;
    assert_eq!(received.recv().await.unwrap().1, ChildEvent::Exited(Exit::Signal(9)));
    let late = handle.spawn(sh("exit 0"), events);
    let (child, event) = received.recv().await.unwrap();
    assert_eq!(child, late);
    assert!(matches!(event, ChildEvent::SpawnFailed { errno: libc::ESHUTDOWN, .. }), "{event:?}");
}

#[tokio::test]
async fn executable_without_guardian_is_an_error() {
    for program in ["/no/such/program", "/bin/true"] {
        let started =
            aint_queue::engine::guardian::Guardian::start_with(program.as_ref(), "x:y".into(), LEASE).await;
        let error = started.expect_err("it is no guardian").to_string();
        assert!(!error.is_empty());
    }
}

#[tokio::test]
async fn guardian_started_manually_explains_itself() {
    let mut f = Fixture::new().await;
    let (reader, writer) = std::io::pipe().unwrap();
    let by_hand = argv(&[program().to_str().unwrap(), "__guardian"]);
    let child = f.spawn(ChildSpec { stderr: writer.into(), ..by_hand });
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(2));
    let text = std::io::read_to_string(reader).unwrap();
    assert!(text.contains("cannot be run by hand"), "{text}");
    f.guardian.shut_down().await;
}
