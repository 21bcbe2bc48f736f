//! Which changes are taken over, and which need another start.

use crate::site::{Site, until};

use super::{lines, program, reload, report, served_by};

#[test]
fn keys_that_need_another_start_are_named_and_the_others_are_in_force() {
    let site = Site::sqlite(
        "[channels.default]\nmax_attempts = 1\nstop_wait_seconds = 30\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\nmax_execute_seconds = 1\n",
    );
    program(&site, "worker.sh", "echo \"$MARK\" >> marks");
    let master = site.listen(&[]);
    served_by(&site, "default", 1);
    let id = site.push("fail", "{}", &[]);
    site.until("default", "it to have failed for good", |c| c.failed == 1);
    assert_eq!(site.json(&["queue:show", &id.to_string()])["attempts"], 1);

    // The command looks for the master where the file says, so the run directory is left for another test.
    site.write(
        "aint-queue.toml",
        r#"
[http]
listen = "127.0.0.1:1"
[defaults]
pid_path = "run"
driver = { type = "sqlite", path = "other.db" }
[channels.default]
memory_limit = 77
max_attempts = 2
backoff = { kind = "fixed", base = 0.01 }
stop_wait_seconds = 1
stop_grace_seconds = 0.2
[channels.default.job_snapshot]
interval = 1
handler = [ { type = "command", command = ["sh", "-c", "cat >> snapshots"] } ]
[channels.default.worker]
type = "process-pool"
min_worker_number = 2
max_worker_number = 3
max_execute_seconds = 2
command = ["./worker.sh"]
protocol = "wire"
env = { MARK = "green" }
[channels.mail]
"#,
    );
    let told = reload(&site);
    let named = ["channels.default.driver", "channels.default.memory_limit", "http", "channels.mail"];
    assert_eq!(told["restart"], serde_json::json!(named), "{told}");
    let output = site.run(&["queue:reload"]);
    let said = crate::site::text(&output.stderr);
    assert!(
        said.contains("in force with the next start of the master only: channels.default.driver, channels.default.memory_limit, http, channels.mail"),
        "{said}"
    );
    assert!(master.log().contains("in force with the next start only: channels.default.driver"));

    assert_eq!(served_by(&site, "default", 2).len(), 2, "min_worker_number");
    assert!(lines(&site, "marks").len() >= 2 && lines(&site, "marks").iter().all(|mark| mark == "green"));
    until("a snapshot", || (!lines(&site, "snapshots").is_empty()).then_some(()));
    // The commands look into the store that the file names: it is the old one for the master.
    let text = std::fs::read_to_string(site.file("aint-queue.toml")).unwrap();
    site.write("aint-queue.toml", &text.replace("other.db", "queue.db"));
    let id = site.push("fail", "{}", &[]);
    site.until("default", "another to have failed for good", |c| c.failed == 2);
    assert_eq!(site.json(&["queue:show", &id.to_string()])["attempts"], 2, "max_attempts");
    site.push("sleep", r#"{"ms":1500}"#, &[]);
    site.until("default", "one that the old limit would have ended", |c| c.done == 1);
    site.push("sleep", r#"{"ms":30000}"#, &["--timeout", "60"]);
    site.until("default", "one that outlasts a stop", |c| c.reserved == 1);
    let begun = std::time::Instant::now();
    assert!(master.stop().success());
    assert!((1..10).contains(&begun.elapsed().as_secs()), "stop_wait_seconds: {:?}", begun.elapsed());
}

#[test]
fn the_kind_of_workers_and_their_place_stay_until_another_start() {
    let pool = |more: &str| {
        format!(
            "[defaults]\npid_path = \"run\"\ndriver = {}\n[channels.default.worker]\n{more}\n",
            crate::site::SQLITE
        )
    };
    let site = Site::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 4\nflex_interval = 0.05\n",
    );
    let master = site.listen(&[]);
    served_by(&site, "default", 1);
    site.write("aint-queue.toml", &pool("type = \"coroutine\"\nmax_coroutine = 9"));
    assert_eq!(reload(&site)["restart"], serde_json::json!(["channels.default.worker.type"]));
    // It is still a pool, and still grows with the work.
    site.push_lines("default", (0..40).map(|_| r#"{"job":"sleep","payload":{"ms":100}}"#.to_owned()));
    until("it to grow", || {
        (report(&site, "default")["pool"]["rows"].as_array().unwrap().len() >= 4).then_some(())
    });
    site.until("default", "the jobs", |c| c.done == 40);
    site.write("aint-queue.toml", &pool("type = \"process-pool\"\ncommand = [\"cat\"]\nprotocol = \"exec\""));
    assert_eq!(reload(&site)["restart"], serde_json::json!(["channels.default.worker.protocol"]));

    // Who asks by a signal need not find the run directory.
    let text = pool("type = \"process-pool\"\nmax_coroutine = 3\nmin_worker_number = 1")
        .replace("\"run\"", "\"elsewhere\"");
    site.write("aint-queue.toml", &text);
    master.signal(nix::sys::signal::Signal::SIGUSR1);
    until("it to be named", || {
        master.log().contains("the next start only: channels.default.pid_path").then_some(())
    });
    assert!(
        master.log().contains("max_coroutine"),
        "what is likely not meant is said there as well: {}",
        master.log()
    );
    let (code, said) = super::refused(&site);
    assert!(code == 3 && said.contains("its master is not running"), "{said}");
    assert!(site.file("run/default.sock").exists());
    assert!(master.stop().success());
}
