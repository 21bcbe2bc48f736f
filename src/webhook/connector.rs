//! Connections of requests: resolves a name once, checks every address, verifies TLS, all within a time limit.

use std::error::Error;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
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

use crate::config::webhook::public_ip;

/// Time for name lookup, connect and TLS handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Concurrent name lookups: each blocks a thread while a name server does not respond.
const MAX_LOOKUPS: usize = 8;
/// Interval of TCP keep-alive probes on a connection that waits for a response.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;

/// The server that requests go to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The host of the URL.
    pub(crate) host: &'a str,
    /// Whether the URL is one of TLS.
    pub(crate) is_https: bool,
    /// Whether a URL without TLS is allowed.
    pub(crate) allow_http: bool,
    /// The addresses that requests may go to.
    pub(crate) addresses: AddressRule,
    /// Certificate authorities that replace those of the system.
    pub(crate) ca_file: Option<&'a Path>,
    /// The beginning of the names of keys in messages, as in `worker.ca_file`.
    pub(crate) keys: &'static str,
}

/// The addresses that requests may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressRule {
    /// Addresses of the public internet.
    Public,
    /// Every address but metadata services, link-local addresses and those of no single host.
    Harmless,
    /// Every address.
    Any,
}

impl AddressRule {
    /// The kind of an address that requests may not go to.
    fn refused(self, address: IpAddr) -> Option<&'static str> {
        match self {
            Self::Public => public_ip::not_public(address),
            Self::Harmless => public_ip::never_allowed(address),
            Self::Any => None,
        }
    }
}

/// Opens connections within [`CONNECT_TIMEOUT`].
#[derive(Clone)]
pub(crate) struct Connector(HttpsConnector<HttpConnector<AllowedAddresses>>);

impl Connector {
    pub(crate) fn new(target: &Target<'_>) -> Result<Self, BoxError> {
        // An IP address in the URL bypasses the resolver and its checks.
        if let Some(kind) = public_ip::literal_ip(target.host).and_then(|ip| target.addresses.refused(ip)) {
            return Err(format!("{}url goes to {kind}", target.keys).into());
        }
        let resolver = AllowedAddresses {
            rule: target.addresses,
            keys: target.keys,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        };
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE_INTERVAL));
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(target)?)
            .with_no_client_auth();
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls);
        // The configuration has checked the scheme of the URL.
        let tls = if target.allow_http { tls.https_or_http() } else { tls.https_only() };
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

/// The trusted certificate authorities: those of `ca_file`, or those of the machine.
fn roots(target: &Target<'_>) -> Result<RootCertStore, BoxError> {
    let keys = target.keys;
    let mut roots = RootCertStore::empty();
    let Some(file) = target.ca_file else {
        // A URL without TLS needs none, and reading them takes time.
        if target.is_https {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(format!("this machine trusts no certificate authority: install ca-certificates, or set {keys}ca_file").into());
            }
        }
        return Ok(roots);
    };
    let unusable =
        |why: &dyn std::fmt::Display| format!("{keys}ca_file \"{}\" is unusable: {why}", file.display());
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
pub(crate) struct AllowedAddresses {
    rule: AddressRule,
    keys: &'static str,
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
        let Self { rule, keys, lookups } = self.clone();
        Box::pin(async move {
            let permit = lookups.acquire_owned().await?;
            let found = tokio::task::spawn_blocking(move || {
                // The thread holds the permit: it keeps running after its future is dropped.
                let _permit = permit;
                (name.as_str(), 0).to_socket_addrs().map(Vec::from_iter)
            });
            let found = found.await?.map_err(|error| format!("the host name did not resolve: {error}"))?;
            Ok(allowed_addresses(found, rule, keys)?.into_iter())
        })
    }
}

/// Resolves a host, and filters its addresses, for connections without HTTP.
pub(crate) async fn resolve(host: &str, port: u16, rule: AddressRule) -> Result<Vec<SocketAddr>, String> {
    let host = host.to_owned();
    let found =
        tokio::task::spawn_blocking(move || (host.as_str(), port).to_socket_addrs().map(Vec::from_iter));
    let found = found.await.map_err(|error| error.to_string())?;
    let found = found.map_err(|error| format!("the host name did not resolve: {error}"))?;
    allowed_addresses(found, rule, "")
}

/// Filters the addresses of a name by the rule.
fn allowed_addresses(
    found: Vec<SocketAddr>,
    rule: AddressRule,
    keys: &str,
) -> Result<Vec<SocketAddr>, String> {
    let (refused, allowed): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| rule.refused(found.ip()).is_some());
    match refused.first().and_then(|first| rule.refused(first.ip())) {
        Some(kind) if allowed.is_empty() => Err(match rule {
            AddressRule::Public => format!(
                "the host name resolves to {kind}: set {keys}allow_private = true if the receiver is in your own network"
            ),
            AddressRule::Harmless | AddressRule::Any => {
                format!("the host name resolves to {kind}: requests never go there")
            }
        }),
        _ => Ok(allowed),
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
        let by = |addresses: &[SocketAddr], rule| allowed_addresses(addresses.to_vec(), rule, "worker.");
        assert_eq!(by(&mixed, AddressRule::Public), Ok(found(&["8.8.8.8"])));
        assert_eq!(by(&mixed, AddressRule::Any), Ok(mixed.clone()));
        assert_eq!(by(&mixed, AddressRule::Harmless), Ok(mixed));
        let metadata = found(&["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "fe80::1"]);
        assert!(by(&metadata, AddressRule::Harmless).unwrap_err().contains("requests never go there"));
        assert!(
            by(&found(&["127.0.0.1", "::1"]), AddressRule::Public)
                .unwrap_err()
                .contains("resolves to a loopback address")
        );
    }
}
