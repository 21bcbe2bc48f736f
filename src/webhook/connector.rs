//! Connections of webhooks: resolves a name once, checks every address, verifies TLS, all within a time limit.

use std::error::Error;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::config::webhook::Settings;
use crate::config::webhook::public_ip;

/// Time for name lookup, connect and TLS handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Concurrent name lookups: each blocks a thread while a name server does not respond.
const MAX_LOOKUPS: usize = 8;
/// Interval of TCP keep-alive probes on a connection that waits for a response.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;

/// Opens connections within [`CONNECT_TIMEOUT`].
#[derive(Clone)]
pub(super) struct Connector(HttpsConnector<HttpConnector<AllowedAddresses>>);

impl Connector {
    pub(super) fn new(settings: &Settings) -> Result<Self, BoxError> {
        let host = settings.url.host();
        // An IP address in the URL bypasses the resolver and its checks.
        if let (false, Some(kind)) =
            (settings.allow_private, public_ip::literal_ip(host).and_then(public_ip::not_public))
        {
            return Err(format!("worker.url goes to {kind}").into());
        }
        let resolver = AllowedAddresses {
            allow_private: settings.allow_private,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        };
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE_INTERVAL));
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(settings)?)
            .with_no_client_auth();
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls);
        // The configuration has checked the scheme of the URL.
        let tls = if settings.allow_http { tls.https_or_http() } else { tls.https_only() };
        Ok(Self(tls.enable_http1().wrap_connector(tcp)))
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector<AllowedAddresses>> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                .await
                .unwrap_or_else(|_| Err(format!("no connection within {CONNECT_TIMEOUT:?}").into()))
        })
    }
}

/// The trusted certificate authorities: those of `worker.ca_file`, or those of the machine.
fn roots(settings: &Settings) -> Result<RootCertStore, BoxError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = &settings.ca_file else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() && settings.url.uri().scheme_str() == Some("https") {
            return Err("this machine trusts no certificate authority: install ca-certificates, or set worker.ca_file".into());
        }
        return Ok(roots);
    };
    let unusable =
        |why: &dyn std::fmt::Display| format!("worker.ca_file \"{}\" is unusable: {why}", file.display());
    let read = CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))?;
    for certificate in read {
        roots.add(certificate.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"no PEM certificate found").into());
    }
    Ok(roots)
}

/// A resolver that returns only the addresses that requests may go to.
#[derive(Clone)]
pub(super) struct AllowedAddresses {
    allow_private: bool,
    lookups: Arc<Semaphore>,
}

impl Service<Name> for AllowedAddresses {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { allow_private, lookups } = self.clone();
        Box::pin(async move {
            let permit = lookups.acquire_owned().await?;
            let found = tokio::task::spawn_blocking(move || {
                // The thread holds the permit: it keeps running after its future is dropped.
                let _permit = permit;
                (name.as_str(), 0).to_socket_addrs().map(Vec::from_iter)
            });
            let found = found.await?.map_err(|error| format!("the host name did not resolve: {error}"))?;
            Ok(allowed_addresses(found, allow_private)?.into_iter())
        })
    }
}

/// Filters the addresses of a name: without `allow_private` only public ones remain.
fn allowed_addresses(found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, String> {
    if allow_private {
        return Ok(found);
    }
    let (refused, public): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| public_ip::not_public(found.ip()).is_some());
    match (refused.first().and_then(|first| public_ip::not_public(first.ip())), public.is_empty()) {
        (Some(kind), true) => Err(format!(
            "the host name resolves to {kind}: set worker.allow_private = true if the receiver is in your own network"
        )),
        _ => Ok(public),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_of_a_name_are_used() {
        let found =
            |all: &[&str]| all.iter().map(|a| SocketAddr::new(a.parse().unwrap(), 0)).collect::<Vec<_>>();
        let mixed = found(&["10.0.0.1", "8.8.8.8", "::1"]);
        assert_eq!(allowed_addresses(mixed.clone(), false), Ok(found(&["8.8.8.8"])));
        assert_eq!(allowed_addresses(mixed.clone(), true), Ok(mixed));
        assert!(
            allowed_addresses(found(&["127.0.0.1", "::1"]), false)
                .unwrap_err()
                .contains("resolves to a loopback address")
        );
    }
}
