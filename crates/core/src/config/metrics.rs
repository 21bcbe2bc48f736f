//! Builds the settings of the metrics from the validated table `[metrics]`.

use std::net::SocketAddr;

use super::error::Diagnostics;
use super::http;
use super::keys::METRICS_KEYS;
use super::spanned::Table;
use super::typed::TypedTable;
use super::{Http, Metrics};

/// The settings described by `table`; `http` is the listener for producers.
pub(super) fn metrics(table: &Table, http: Option<&Http>, diagnostics: &mut Diagnostics<'_>) -> Metrics {
    let read = TypedTable::new(table, METRICS_KEYS);
    let token = http::token(&read, diagnostics);
    if let (Some(node), Some(token), Some(push)) =
        (read.node("token"), &token, http.and_then(|http| http.token.as_ref()))
        && token.reveal() == push.reveal()
    {
        let message = "is the token of [http] too: who may read metrics could push jobs";
        diagnostics.problems.of_value(node, message, "use another token for each");
    }
    let listen = read.node("listen").and_then(|node| {
        let address = read.text("listen").unwrap_or_default().parse::<SocketAddr>();
        if address.is_err() {
            let remedy = "write an IP address with a port, such as \"127.0.0.1:9466\" or \"[::1]:9466\"";
            diagnostics.problems.of_value(node, "is not an address to listen on", remedy);
        }
        address.ok()
    });
    if let (Some(listen), Some(http), Some(node)) = (listen, http, read.node("listen"))
        && listen == http.listen
        && listen.port() != 0
    {
        let message = format!("= \"{listen}\" is the address of [http] too");
        diagnostics.problems.of_value(
            node,
            message,
            "use another port, or remove it: [http] has /metrics as well",
        );
    }
    if let (Some(listen), None, Some(node)) = (listen, &token, read.node("listen"))
        && !listen.ip().is_loopback()
    {
        let message =
            format!("= \"{listen}\" lets every host on the network read names of channels and jobs");
        diagnostics.warnings.of_value(node, message, "add token = \"${NAME}\", or listen on 127.0.0.1");
    }
    if let (None, None, Some(other)) = (listen, http, table.values().next()) {
        let message = "has no effect: there is no listener for metrics";
        diagnostics.warnings.of_key(other, message, "add listen = \"127.0.0.1:9466\"");
    }
    if let Some(node) = read.node("hosts").filter(|_| http.is_some() || listen.is_some()) {
        match listen {
            None => {
                let message = "has no effect without metrics.listen: the listener of [http] serves /metrics";
                diagnostics.warnings.of_key(node, message, "write it in [http], or add listen");
            }
            Some(listen) if !listen.ip().is_loopback() => {
                let message =
                    "has no effect: metrics.listen is not on loopback, and serves requests for any name";
                diagnostics.warnings.of_key(node, message, "remove it, or listen on 127.0.0.1");
            }
            Some(_) => {}
        }
    }
    Metrics { listen, hosts: http::hosts(read.node("hosts")), token }
}
