//! `queue:dashboard`: prints and opens the address of the dashboard; without one, serves read-only pages until it is interrupted.

use std::io::IsTerminal;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::local_masters::LocalMasters;
use super::{CommandContext, Exit, Failure};
use crate::config::{Config, Dashboard as Settings, Driver};
use crate::dashboard::{OneTimeSecret, private_routes};
use crate::http::Listener;
use crate::master;
use crate::metrics::Metrics;

/// Longest time for a connection to the listener of a master.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Open the pages about all channels in a browser
///
/// If [http.dashboard] is on and its master runs, the command prints the address of that dashboard. Else it serves read-only pages
/// itself, on a free port of loopback and for one browser, until Ctrl-C: the address has a secret that can be used once.
#[derive(Debug, Args)]
pub(crate) struct Dashboard {
    /// Only print the address
    #[arg(long)]
    no_open: bool,
    /// Serve read-only pages here even if a dashboard is configured and runs
    #[arg(long)]
    own: bool,
}

impl Dashboard {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let config = Arc::new(context.config()?.clone());
        if let Some(address) = running_dashboard(&config).filter(|_| !self.own) {
            context.show(&json!({ "address": address, "own": false }), &format!("{address}\n"))?;
            self.open(context, &address);
            return Ok(());
        }
        let doing = "serve the pages";
        let failure = |error: std::io::Error| Failure::new(Exit::Failed, doing).because(error);
        let secret = OneTimeSecret::new()
            .ok_or_else(|| Failure::new(Exit::Failed, doing).because("the system has no random bytes"))?;
        let configured = config.http.as_ref().and_then(|http| http.dashboard.clone());
        let title = configured.as_ref().and_then(|configured| configured.title.clone());
        let hide = configured.map_or_else(Settings::usual_hide, |configured| configured.hide);
        let listener = Listener::for_pages(secret.settings(title, hide))
            .map_err(|error| Failure::new(Exit::Failed, doing).because(error))?;
        let address = format!("http://{}/#t={}", listener.settings().listen, secret.reveal());
        // The listener has a runtime of its own, which also opens the stores.
        let stores = master::page_stores(&config, CommandContext::is_store_missing);
        let source = Arc::new(LocalMasters::new(&config, stores.clone()));
        let host = master::own_identity().host;
        let metrics = Metrics::default().requests();
        let pages = private_routes(listener.settings(), &config, &host, stores, source, &metrics, secret)
            .expect("the settings have a dashboard");
        context.block_on(async {
            // Before the address is printed: an early signal must end the listener, too.
            let mut interrupted = signal(SignalKind::interrupt()).map_err(failure)?;
            let mut terminated = signal(SignalKind::terminate()).map_err(failure)?;
            let mut hung_up = signal(SignalKind::hangup()).map_err(failure)?;
            let serving = listener.serve_pages(pages, metrics).map_err(failure)?;
            context.show(&json!({ "address": address, "own": true }), &format!("{address}\n"))?;
            context.note("read-only pages for one browser, until Ctrl-C");
            self.open(context, &address);
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
                _ = hung_up.recv() => {}
            }
            serving.shut_down().await;
            Ok(())
        })
    }

    /// Opens the address in the browser of a person at a terminal.
    fn open(&self, context: &CommandContext, address: &str) {
        if self.no_open || context.json() || !std::io::stdout().is_terminal() {
            return;
        }
        if let Err(error) = open::that_detached(address) {
            context.note(&format!("no browser was opened: {error}"));
        }
    }
}

/// The address of the dashboard of a master that runs.
fn running_dashboard(config: &Config) -> Option<String> {
    let http = config.http.as_ref().filter(|http| http.dashboard.is_some())?;
    let is_served = config
        .channels
        .values()
        .filter(|channel| channel.driver != Driver::Sync)
        .any(|channel| master::presence(channel).running);
    let reachable = match http.listen.ip() {
        ip if ip.is_unspecified() => SocketAddr::new([127, 0, 0, 1].into(), http.listen.port()),
        _ => http.listen,
    };
    if !is_served || TcpStream::connect_timeout(&reachable, CONNECT_TIMEOUT).is_err() {
        return None;
    }
    Some(http.public_url.as_ref().map_or_else(|| format!("http://{reachable}/"), |url| format!("{url}/")))
}
