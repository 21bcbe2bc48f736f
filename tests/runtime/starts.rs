//! Starts that are refused: a clear message, the right exit code, nothing half-started.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::redis::free_port;
use crate::site::{Site, text, with_command};

const POOL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";

/// A start that must be refused; answers its message.
fn refused(site: &Site, code: i32) -> String {
    let output = site.run(&["queue:listen"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains("error: could not "), "{message}");
    let here = site.path().to_str().unwrap();
    assert_eq!(with_command(here), [0i32; 0], "nothing is left running");
    assert!(!site.file("run/default-master.pid").exists());
    message
}

#[test]
fn a_second_master_names_the_first() {
    let site = Site::sqlite(POOL);
    let master = site.listen(&[]);
    let output = site.run(&["queue:listen"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains(&master.pid().to_string()), "{message}");
    assert!(master.stop().success());
}

#[test]
fn a_run_directory_that_is_a_file() {
    let site = Site::sqlite(POOL);
    fs::write(site.file("run"), "").unwrap();
    let message = refused(&site, 1);
    assert!(message.contains("run\""), "{message}");
}

#[test]
fn a_directory_in_the_place_of_the_pid_file_or_the_socket() {
    for name in ["default-master.pid", "default.sock"] {
        let site = Site::sqlite(POOL);
        fs::create_dir_all(site.file("run").join(name)).unwrap();
        let output = site.run(&["queue:listen"]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(name) && message.contains("remove it"), "{message}");
        assert!(!site.file("run/default-master.pid").is_file(), "{name}: a refused start leaves no pid file");
        assert_eq!(with_command(site.path().to_str().unwrap()), [0i32; 0], "nothing is left running");
    }
}

#[test]
fn a_store_that_is_a_directory() {
    let site = Site::sqlite(POOL);
    fs::create_dir(site.file("queue.db")).unwrap();
    let message = refused(&site, 5);
    assert!(message.contains("queue.db") && message.contains("directory"), "{message}");
}

#[test]
fn a_store_that_is_no_database() {
    let site = Site::sqlite(POOL);
    fs::write(site.file("queue.db"), "this is not a database, it is a text\n".repeat(100)).unwrap();
    let message = refused(&site, 5);
    assert!(message.contains("queue.db"), "{message}");
}

#[test]
fn a_redis_that_does_not_answer() {
    let port = free_port();
    let driver = format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#);
    let site = Site::new(&driver, POOL);
    let message = refused(&site, 5);
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
}

#[test]
fn a_command_that_does_not_exist() {
    let site = Site::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"no-such-program\", \"x\"]\n",
    );
    let message = refused(&site, 4);
    assert!(message.contains("no-such-program"), "{message}");
}

#[test]
fn a_command_that_is_not_executable() {
    let site = Site::sqlite("[channels.default.worker]\ntype = \"process\"\ncommand = [\"./handler.sh\"]\n");
    let path = site.write("handler.sh", "#!/bin/sh\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let message = refused(&site, 4);
    assert!(message.contains("handler.sh"), "{message}");
}

#[test]
fn one_bad_channel_starts_none_of_several() {
    let site = Site::sqlite(
        r#"
[channels.good.worker]
type = "process-pool"
[channels.bad.worker]
type = "process-pool"
command = ["no-such-program"]
"#,
    );
    let output = site.run(&["queue:listen", "--all"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!site.file("run/good-master.pid").exists());
    let status = site.json(&["queue:status", "-t", "good"]);
    assert_eq!(status["running"], false);
}
