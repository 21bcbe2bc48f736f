//! A Prometheus that scrapes a listener, and is killed at the end of its test.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running Prometheus.
pub struct Prometheus {
    child: Child,
    pub address: SocketAddr,
}

impl Prometheus {
    /// Scrapes `target` at an interval such as "1s". `more` is a part of the configuration; files of it are relative to `folder`.
    pub fn start(folder: &Path, target: &str, interval: &str, more: &str) -> Self {
        let free_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address: SocketAddr = ([127, 0, 0, 1], free_port).into();
        let config = format!(
            "global: {{ scrape_interval: {interval}, evaluation_interval: {interval} }}\n{more}\n\
             scrape_configs: [ {{ job_name: aint-queue, static_configs: [ {{ targets: [\"{target}\"] }} ] }} ]\n"
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let child = Command::new("prometheus")
            .current_dir(folder)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus: run tests/services.sh");
        Self { child, address }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
