//! The same in every mode, and what a new generation is made from.

use crate::site::until;

use super::{configure, lines, program, reload, report, served_by, serving, site};

/// A worker that notes the value of a variable with each start.
const NOTES: &str = "echo \"$MARK\" >> marks";

#[test]
fn the_warm_workers_of_a_process_per_job_are_of_the_new_generation() {
    let settings = |mark: u32| {
        format!(
            "type = \"process\"\ncommand = [\"./w{mark}.sh\"]\nprotocol = \"wire\"\nenv = {{ MARK = \"{mark}\" }}"
        )
    };
    let site = site(&settings(1));
    program(&site, "w1.sh", NOTES);
    program(&site, "w2.sh", NOTES);
    let master = site.listen(&[]);
    // One that serves, and a spare one.
    let old = served_by(&site, "default", 2);
    configure(&site, &format!("[channels.default.worker]\n{}", settings(2)));
    assert_eq!(reload(&site)["generation"], 2);
    let new = served_by(&site, "default", 2);
    assert!(new.keys().all(|pid| !old.contains_key(pid)) && new.values().all(|n| *n == 2), "{new:?}");
    for done in 1..=3 {
        site.push("noop", "{}", &[]);
        site.until("default", "its job", |c| c.done == done);
    }
    let marks = lines(&site, "marks");
    assert_eq!(marks[..2], ["1", "1"]);
    assert!(marks[2..].iter().all(|mark| mark == "2"), "{marks:?}");
    assert!(master.stop().success());
}

#[test]
fn a_pool_that_is_empty_proves_the_new_generation_and_stays_empty() {
    let base = "type = \"process-pool\"\nmin_worker_number = 0\nmax_worker_number = 2\ncool_down_seconds = 0\nflex_interval = 0.05\n";
    let site = site(base);
    let master = site.listen(&[]);
    let told = reload(&site);
    assert_eq!(told["generation"], 2);
    assert!(told["workers"][0]["old"].is_null() && told["workers"][0]["new"]["generation"] == 2, "{told}");
    until("it to be empty again", || (master.workers().is_empty()).then_some(()));
    // A program that does not start is found although nobody needs a worker.
    configure(&site, &format!("[channels.default.worker]\n{base}command = [\"false\"]\nprotocol = \"wire\""));
    let (code, said) = super::refused(&site);
    assert!(code == 1 && said.contains("exited with 1 before it was ready"), "{said}");
    site.push("noop", "{}", &[]);
    site.until("default", "its job", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn where_each_job_is_a_program_the_next_one_is_the_new_one() {
    let settings = |command: &str| {
        format!(
            "type = \"process-pool\"\ncommand = [\"sh\", \"-c\", \"{command}\"]\nprotocol = \"exec\"\nmax_worker_number = 2"
        )
    };
    let site =
        site(&settings("echo old >> marks; while [ -e held ]; do sleep 0.02; done; echo end >> marks"));
    site.write("held", "");
    let master = site.listen(&[]);
    site.push("x", "{}", &[]);
    until("it to begin", || (lines(&site, "marks") == ["old"]).then_some(()));
    configure(&site, &format!("[channels.default.worker]\n{}", settings("echo new >> marks")));
    let told = reload(&site);
    assert_eq!((&told["generation"], &told["workers"]), (&2.into(), &serde_json::json!([])));
    site.push("x", "{}", &[]);
    site.until("default", "the next job", |c| c.done == 1);
    std::fs::remove_file(site.file("held")).unwrap();
    site.until("default", "the one that was running", |c| c.done == 2);
    assert_eq!(lines(&site, "marks"), ["old", "new", "end"]);
    assert!(master.stop().success());
}

#[test]
fn one_worker_with_many_slots_hands_over_while_its_jobs_end() {
    let site = site("type = \"coroutine\"\nmax_coroutine = 10");
    let master = site.listen(&[]);
    served_by(&site, "default", 1);
    site.push_lines("default", (0..5).map(|_| r#"{"job":"sleep","payload":{"ms":700}}"#.to_owned()));
    site.until("default", "them to run", |c| c.reserved == 5);
    configure(&site, "[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 20");
    let reloading = site.command(&["queue:reload", "--quiet"]).spawn().unwrap();
    until("the new one", || serving(&site, "default").values().any(|n| *n == 2).then_some(()));
    // Those that run and those to come share the slots there may be.
    site.push_lines("default", (0..15).map(|_| r#"{"job":"noop","payload":{}}"#.to_owned()));
    site.until("default", "those to come", |c| c.done >= 15);
    assert_eq!(super::wait(reloading), 0);
    site.until("default", "all", |c| c.done == 20);
    assert_eq!(report(&site, "default")["workers"]["idle"], 1);
    assert!(master.stop().success());
}
