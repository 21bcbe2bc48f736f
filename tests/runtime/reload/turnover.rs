//! Who goes, who comes, and what the command says of it.

use crate::site::{Site, text, until};

use super::{Asked, TWO, lines, pid, program, reload, report, served_by, serving, site};

#[test]
fn each_worker_is_told_with_its_successor_in_text_and_in_json() {
    let site = site(TWO);
    let master = site.listen(&[]);
    let first = served_by(&site, "default", 2);
    assert!(first.values().all(|generation| *generation == 1));

    let told = reload(&site);
    let second = serving(&site, "default");
    assert_eq!(second.len(), 2, "{second:?}");
    assert!(second.keys().all(|pid| !first.contains_key(pid)) && second.values().all(|n| *n == 2));
    assert_eq!(
        (&told["channel"], &told["generation"], &told["handed_back"]),
        (&"default".into(), &2.into(), &0.into())
    );
    assert_eq!((&told["restart"], &told["program_replaced"]), (&serde_json::json!([]), &false.into()));
    let side = |side: &str| -> std::collections::BTreeMap<i32, u64> {
        let rows = told["workers"].as_array().unwrap().iter();
        rows.map(|row| (pid(&row[side]["pid"]), row[side]["generation"].as_u64().unwrap())).collect()
    };
    assert_eq!((side("old"), side("new")), (first, second.clone()));

    let output = site.run(&["queue:reload"]);
    let (said, shown) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success() && !said.contains("error") && !said.contains("warning"), "{said}");
    assert!(shown.starts_with("Channel \"default\" has been reloaded: generation 3 serves.\n"), "{shown}");
    let third = serving(&site, "default");
    for (pid, generation) in second.iter().chain(&third) {
        assert!(
            shown.contains(&format!("│ {pid}")) && shown.contains(&format!("│ {generation} ")),
            "{shown}"
        );
    }
    let status = site.ok(&["queue:status", "--workers"]);
    assert!(status.contains("│ 3 "), "{status}");
    assert_eq!(report(&site, "default")["pool"]["reload"], serde_json::Value::Null);
    assert!(master.log().contains("\"message\":\"reloaded\""));
    assert!(master.stop().success());
}

#[test]
fn what_is_asked_while_one_is_under_way_is_one_more_and_all_are_answered() {
    let site = site(&format!("{TWO}command = [\"./worker.sh\"]\nprotocol = \"wire\""));
    program(&site, "worker.sh", "");
    let master = site.listen(&[]);
    served_by(&site, "default", 2);
    // The first of the next generation says nothing before it may.
    program(&site, "worker.sh", "while [ -e held ]; do sleep 0.02; done");
    site.write("held", "");
    let asked: Vec<_> = (0..20).map(|_| Asked::reload(&site, "default").begun()).collect();
    let command = site.command(&["queue:reload", "--quiet"]).spawn().unwrap();
    let waits = report(&site, "default")["pool"]["reload"].clone();
    assert_eq!(
        (&waits["generation"], &waits["proved"], &waits["old"]),
        (&2.into(), &false.into(), &2.into())
    );
    assert_eq!(serving(&site, "default").len(), 2, "the old ones serve meanwhile");
    std::fs::remove_file(site.file("held")).unwrap();
    let generations: Vec<_> = asked
        .into_iter()
        .map(|asked| asked.end()["ok"]["reloaded"]["generation"].as_u64().expect("it was reloaded"))
        .collect();
    assert_eq!(generations[0], 2, "{generations:?}");
    assert!(generations[1..].iter().all(|generation| *generation == 3), "{generations:?}");
    assert_eq!(super::wait(command), 0);
    assert!(serving(&site, "default").values().all(|generation| (3..=4).contains(generation)));
    assert!(master.stop().success());
}

#[test]
fn a_reload_of_one_channel_leaves_the_workers_of_the_others_alone() {
    let site = Site::sqlite(&format!("[channels.one.worker]\n{TWO}[channels.two.worker]\n{TWO}"));
    let master = site.listen(&["--all"]);
    let (one, two) = (served_by(&site, "one", 2), served_by(&site, "two", 2));
    site.ok(&["queue:reload", "-t", "one"]);
    assert_eq!(serving(&site, "two"), two);
    assert!(serving(&site, "one").keys().all(|pid| !one.contains_key(pid)));
    let told = site.json(&["queue:reload", "--all"]);
    let generations: Vec<_> =
        told.as_array().unwrap().iter().map(|told| told["generation"].clone()).collect();
    assert_eq!(generations, [3, 2], "{told}");
    site.ok(&["queue:stop", "-t", "one"]);
    // One that does not run hides nothing of the others.
    let output = site.run(&["queue:reload", "-t", "one", "-t", "two"]);
    assert_eq!(output.status.code(), Some(1), "done only in part");
    assert!(text(&output.stdout).contains("Channel \"two\" has been reloaded: generation 3 serves."));
    assert!(text(&output.stderr).contains("could not reload channel \"one\": its master is not running"));
    assert_eq!(site.json(&["queue:reload", "--all"]).as_array().unwrap().len(), 1);
    assert!(master.stop().success());
    assert_eq!(site.ok(&["queue:reload", "--all"]), "No master is running.\n");
}

#[test]
fn workers_take_over_one_after_the_other_within_the_surge() {
    let site = site(
        "type = \"process-pool\"\nmin_worker_number = 4\nmax_worker_number = 4\ncommand = [\"./worker.sh\"]\nprotocol = \"wire\"",
    );
    // Each notes how many there are beside it while it boots.
    program(&site, "worker.sh", "echo born >> births");
    let master = site.listen(&[]);
    served_by(&site, "default", 4);
    let mut asked = Asked::reload(&site, "default");
    let mut most = 0;
    loop {
        most = most.max(master.workers().len());
        // The looks are many and the reload is quick: its end is what one of them sees.
        if serving(&site, "default").values().all(|generation| *generation == 2)
            && report(&site, "default")["pool"]["reload"].is_null()
        {
            break;
        }
    }
    while asked.line().get("progress").is_some() {}
    assert!(most <= 5, "{most} workers at once");
    assert_eq!(serving(&site, "default").len(), 4);
    assert_eq!(lines(&site, "births").len(), 8, "none is started twice");
    until("the old ones to be gone", || (master.workers().len() == 4).then_some(()));
    assert!(master.stop().success());
}
