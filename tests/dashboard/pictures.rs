//! The pictures of the documents, made again by `cargo test --test dashboard pictures -- --ignored`.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::fixture::Fixture;
use crate::prometheus_server::Prometheus;
use crate::redis::Server;
use crate::{Site, http};

/// Time that the charts show.
const MINUTES: u64 = 13;
/// Time between two pushes of a producer.
const PUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Channels as a shop may have them.
const CHANNELS: &str = r#"
[channels.mails]
worker = { type = "process-pool", min_worker_number = 2, max_worker_number = 6, target_wait_seconds = 3, cool_down_seconds = 20 }
[channels.invoices]
worker = { type = "process-pool", min_worker_number = 1, max_worker_number = 2 }
[channels.thumbnails]
worker = { type = "coroutine", max_coroutine = 8 }
[channels.exports]
worker = { type = "process" }
"#;

#[test]
#[ignore = "makes the pictures of the documents, which takes a quarter of an hour"]
fn pictures_of_the_documents_show_real_load() {
    let server = Server::start();
    let port = server.config().port;
    let driver = format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#);
    let fixture = Fixture::new(&driver, &format!("{CHANNELS}{}", http("127.0.0.1:0")));
    let site = Site::with(fixture, &["-t", "mails", "-t", "invoices", "-t", "thumbnails", "-t", "exports"]);
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    fs::create_dir_all(&images).unwrap();
    let prometheus = Prometheus::start(site.fixture.path(), &site.address, "5s", "");
    let script = |name: &str| {
        let mut command = site.script(name);
        command.env("DASHBOARD_IMAGES", &images).env("DASHBOARD_MINUTES", MINUTES.to_string());
        command.env("PROMETHEUS_URL", format!("http://{}", prometheus.address)).stdin(Stdio::null());
        command.spawn().expect("node is there: tests/services.sh installs it")
    };
    let mut browser = script("pictures.mjs");
    produce(&site, &mut browser);
    assert!(browser.wait().unwrap().success());
    assert!(script("grafana.mjs").wait().unwrap().success());
}

/// Pushes jobs until the pictures are made: mails come in waves, some of which are higher than the workers.
fn produce(site: &Site, browser: &mut Child) {
    site.fixture.ok(&["queue:pause", "-t", "exports"]);
    for second in 0_u32.. {
        if browser.try_wait().unwrap().is_some() {
            return;
        }
        let wave = (f64::from(second) / 40.0).sin() + 0.6 * (f64::from(second) / 13.0).sin();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few jobs")]
        let mails = (7.0 + 5.0 * wave).max(0.0).round() as u32;
        let mut jobs: Vec<String> =
            (0..mails).map(|mail| sleep_job(200 + (second * 37 + mail * 113) % 700)).collect();
        if second % 9 == 0 {
            jobs.push(fail_job("the mail server is busy", second % 27 == 0));
        }
        site.fixture.push_lines("mails", jobs);
        site.fixture.push_lines("thumbnails", (0..2 + second % 3).map(|image| sleep_job(60 + image * 90)));
        if second % 3 == 0 {
            site.fixture.push_lines("invoices", [sleep_job(900 + second % 5 * 200)]);
        }
        if second % 20 == 0 {
            site.fixture.push_lines("exports", [sleep_job(4_000)]);
        }
        sleep(PUSH_INTERVAL);
    }
}

fn sleep_job(millis: u32) -> String {
    format!(r#"{{"job":"sleep","payload":{{"ms":{millis}}}}}"#)
}

fn fail_job(message: &str, for_good: bool) -> String {
    format!(r#"{{"job":"fail","payload":{{"message":"{message}","times":1,"final":{for_good}}}}}"#)
}
