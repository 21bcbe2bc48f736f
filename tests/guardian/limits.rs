//! A guardian without free descriptors.

use std::collections::BTreeSet;
use std::fs;

use aint_queue::engine::guardian::{ChildEvent, Exit};

use crate::fixture::*;

/// Sets a resource limit of a running process with an option of `prlimit`: `--nofile`, `--nproc`, …
async fn limit(f: &mut Fixture, pid: i32, what: &str) {
    let child = f.spawn(argv(&["prlimit", "--pid", &pid.to_string(), what]));
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(0), "prlimit {what}");
}

#[tokio::test]
async fn guardian_out_of_descriptors_recovers() {
    let mut f = Fixture::new().await;
    let mut other = Fixture::new().await;
    let guardian = f.pid_of_guardian().await;
    let open = || -> BTreeSet<i32> {
        let entries = fs::read_dir(format!("/proc/{guardian}/fd")).unwrap();
        entries.map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    };
    let before = open();
    // One descriptor is free below the limit; the output of a child needs two.
    let second_free = (0..).filter(|n| !before.contains(n)).nth(1).unwrap();
    // A second guardian runs prlimit on the first, which cannot start programs at its limit.
    limit(&mut other, guardian, &format!("--nofile={second_free}:1024")).await;
    for _ in 0..20 {
        let child = f.sh("exit 0");
        let ChildEvent::SpawnFailed { error, errno } = f.next(child).await else { panic!("it started") };
        assert_eq!(errno, libc::EMFILE);
        assert_eq!(
            error,
            "could not run \"sh\": the guardian has no free descriptors; raise its open-files limit"
        );
    }
    assert_eq!(open(), before, "what came and could not be used is closed");
    limit(&mut other, guardian, "--nofile=1024:1024").await;
    let child = f.sh("exit 3");
    f.started(child).await;
    assert_eq!(f.ended(child).await, Exit::Code(3));
    f.guardian.shut_down().await;
    other.guardian.shut_down().await;
}
