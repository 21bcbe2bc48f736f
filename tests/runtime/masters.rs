//! Several masters of one channel see each other through the store; commands show all of them.

use serde_json::Value;

use crate::fixture::{Fixture, Master, until};
use crate::redis::Server;

const POOL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\n";

/// The entry of a master in the status.
fn entry(status: &Value, master: &Master) -> Option<Value> {
    status["masters"].as_array()?.iter().find(|entry| entry["pid"] == master.pid()).cloned()
}

/// Masters of two run directories, and commands of a third one without a master, on one store.
fn masters_show_each_other(driver: &str) {
    let [one, two, three] = [0; 3].map(|_| Fixture::new(driver, POOL));
    let (first, second) = (one.listen(&[]), two.listen(&[]));

    // The second master takes the job, because the first one is quiet.
    one.ok(&["queue:quiet"]);
    let id = one.push("sleep", r#"{"ms":60000}"#, &[]);
    until("the job on the second master", || {
        let rows = two.json(&["queue:running"]);
        rows.as_array().unwrap().iter().any(|row| row["id"] == id && row.get("host").is_none()).then_some(())
    });
    for fixture in [&one, &three] {
        let row = until("the job in the summary of the second master", || {
            let rows = fixture.json(&["queue:running"]);
            let row = rows.as_array().unwrap().iter().find(|row| row["id"] == id)?.clone();
            assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
            Some(row)
        });
        assert_eq!((row["job"].as_str(), row["attempt"].as_u64()), (Some("sleep"), Some(1)), "{row}");
        assert_eq!(row["master_pid"], second.pid(), "{row}");
        assert_eq!(row["alive"], true);
        assert!(row["worker_pid"].is_i64() && row["for_ms"].as_u64() >= row["seen_ms"].as_u64(), "{row}");
        let line = format!("on {}, master {}, seen ", row["host"].as_str().unwrap(), second.pid());
        assert!(fixture.ok(&["queue:running"]).contains(&line), "{line}");
    }
    let rows = two.json(&["queue:running"]);
    assert_eq!(rows.as_array().unwrap().len(), 1, "not listed twice: {rows}");
    assert!(!one.ok(&["queue:running", "--tree"]).contains("cpu"), "processes of this machine's master only");

    let status = until("both states", || {
        let status = one.json(&["queue:status", "--workers"]);
        let (first, second) = (entry(&status, &first)?, entry(&status, &second)?);
        (first["state"] == "quiet" && second["running"] == 1).then_some(status)
    });
    assert_eq!(status["masters"].as_array().unwrap().len(), 2, "{status}");
    let (mine, other) = (entry(&status, &first).unwrap(), entry(&status, &second).unwrap());
    for (entry, local) in [(&mine, true), (&other, false)] {
        assert_eq!(
            (&entry["local"], &entry["here"], &entry["alive"]),
            (&local.into(), &true.into(), &true.into())
        );
        assert_eq!(
            (entry["mode"].as_str(), entry["workers"]["wanted"].as_u64()),
            (Some("process-pool"), Some(2))
        );
        assert!(entry["seen_seconds"].as_f64().unwrap() < 12.0, "{entry}");
    }
    assert_eq!((other["state"].as_str(), &other["jobs"][0]["id"]), (Some("running"), &id.into()));
    let shown = one.ok(&["queue:status"]);
    assert!(shown.contains("Masters of all machines:"), "{shown}");
    let status = three.json(&["queue:status"]);
    assert_eq!((&status["running"], status["masters"].as_array().unwrap().len()), (&false.into(), 2));
    assert_eq!(entry(&status, &first).unwrap()["local"], false);

    assert!(second.force_stop().success());
    let status = one.json(&["queue:status"]);
    assert_eq!(status["masters"].as_array().unwrap().len(), 1, "gone with its owner: {status}");
    assert!(!one.ok(&["queue:status"]).contains("Masters of all machines:"));
    assert!(first.stop().success());
    assert!(three.json(&["queue:status"]).get("masters").is_none());
    assert_eq!(three.run(&["queue:running"]).status.code(), Some(3));
}

#[test]
fn masters_show_each_other_on_redis() {
    masters_show_each_other(&crate::drain::redis_line(&Server::start()));
}

#[test]
fn masters_show_each_other_on_sqlite() {
    let shared = tempfile::tempdir().unwrap();
    let path = shared.path().join("jobs.db");
    masters_show_each_other(&format!("{{ type = \"sqlite\", path = {:?} }}", path.to_str().unwrap()));
}

#[test]
fn queue_run_is_shown_as_no_master() {
    let fixture = Fixture::sqlite(POOL);
    fixture.push("sleep", r#"{"ms":60000}"#, &[]);
    let mut run = fixture.command(&["queue:run"]).spawn().unwrap();
    let entry = until("the run in the store", || {
        let status = fixture.json(&["queue:status"]);
        status["masters"].as_array()?.iter().find(|entry| entry["pid"] == run.id()).cloned()
    });
    assert_eq!(
        (entry["single_job"].as_bool(), entry["local"].as_bool()),
        (Some(true), Some(false)),
        "{entry}"
    );
    assert!(fixture.ok(&["queue:status"]).contains("queue:run"));
    run.kill().unwrap();
    run.wait().unwrap();
}
