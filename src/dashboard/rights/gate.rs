//! The visitor behind a request, by token or cookie.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::SystemTime;

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use super::session::{self, Claim, SESSION_TIME};
use super::visitor::{Role, Visitor};
use crate::config::{self, Http, Secret};
use crate::dashboard::refusal::Refusal;
use crate::http::{Peer, PublicAddress, TokenGuesses, is_proxied};
use crate::job::Timestamp;
use crate::metrics::RequestMetrics;

/// The name of the cookie of a session.
const COOKIE_NAME: &str = "aqs";

/// The tokens of the dashboard.
pub(in crate::engine::dashboard) struct Gate {
    viewers: BTreeMap<String, Secret>,
    operators: BTreeMap<String, Secret>,
    anonymous: bool,
    anonymous_sees_payloads: bool,
    /// The name of the cookie of a session. Cookies are not bound to a port.
    cookie_name: String,
    /// The paths that the cookie is for.
    cookie_path: String,
    /// Whether people reach the dashboard by https.
    is_https: bool,
    /// The address by which people reach the dashboard through a proxy.
    public: Option<PublicAddress>,
    guesses: TokenGuesses,
    listener: SocketAddr,
}

/// The result of a sign-in.
pub(in crate::engine::dashboard) enum SignIn {
    /// The value of the header `Set-Cookie`.
    Welcome(HeaderValue),
    WrongToken,
    TooMany,
}

/// The bearer token of a request; `None` without one. Other schemes are those of a proxy.
pub(in crate::engine::dashboard) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let (Some(sent), None) = (sent.next(), sent.next()) else { return None };
    let (scheme, token) = sent.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

impl Gate {
    pub(in crate::engine::dashboard) fn new(
        settings: &Http,
        own: &config::Dashboard,
        metrics: &RequestMetrics,
    ) -> Self {
        let url = settings.public_url.as_deref().unwrap_or_default();
        Self {
            viewers: own.viewers.clone(),
            operators: own.operators.clone(),
            anonymous: own.anonymous,
            anonymous_sees_payloads: own.anonymous_sees_payloads,
            cookie_name: COOKIE_NAME.to_owned(),
            cookie_path: format!("{}/", crate::dashboard::parts::base_path(url)),
            is_https: url.starts_with("https://"),
            public: PublicAddress::of(settings),
            guesses: TokenGuesses::new(metrics),
            listener: settings.listen,
        }
    }

    /// The same gate with a session of its own beside those of other dashboards on this host.
    pub(in crate::engine::dashboard) fn with_cookie(self, cookie_name: String) -> Self {
        Self { cookie_name, ..self }
    }

    /// The value of `Set-Cookie` for a viewer that needs no token, because it has shown its right in another way.
    pub(in crate::engine::dashboard) fn admit(&self, viewer: &str) -> Option<HeaderValue> {
        let token = self.viewers.get(viewer)?;
        let value = session::issue('v', viewer, token, SystemTime::now().into());
        Some(self.cookie(&value, SESSION_TIME.as_secs()))
    }

    pub(in crate::engine::dashboard) fn has_tokens(&self) -> bool {
        !self.viewers.is_empty() || !self.operators.is_empty()
    }

    /// The holder of a token. The comparison with all tokens takes the same time whichever matches.
    fn holder(&self, sent: &[u8]) -> Option<(char, &str, &Secret)> {
        let operators = self.operators.iter().map(|(name, token)| ('o', name, token));
        let viewers = self.viewers.iter().map(|(name, token)| ('v', name, token));
        let mut holder = None;
        for (role, name, token) in operators.chain(viewers) {
            if bool::from(token.reveal().as_bytes().ct_eq(sent)) {
                holder = Some((role, name.as_str(), token));
            }
        }
        holder
    }

    fn signed_in(role: char, name: &str) -> Visitor {
        let role = if role == 'o' { Role::Operator } else { Role::Viewer };
        Visitor { role, name: Some(name.into()), sees_payloads: true }
    }

    /// The visitor by a bearer token; the wrong ones of a peer are slowed down.
    async fn by_bearer(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<Option<Visitor>, Refusal> {
        let Some(token) = bearer(headers) else { return Ok(None) };
        if let Some(peer) = peer
            && !self.guesses.delay(peer).await
        {
            return Err(Refusal::TooManyGuesses);
        }
        let holder = self.holder(token);
        match holder {
            Some((role, name, _)) => Ok(Some(Self::signed_in(role, name))),
            None => {
                if let Some(peer) = peer {
                    self.guesses.wrong(peer, self.listener);
                }
                Err(Refusal::WrongToken)
            }
        }
    }

    /// The visitor by a session.
    fn by_cookie(&self, headers: &HeaderMap, now: Timestamp) -> Option<Visitor> {
        let sent = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = sent.flat_map(|value| value.split(';')).filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.cookie_name).then_some(value)
        });
        cookies.find_map(|cookie| {
            let claim = Claim::read(cookie)?;
            let tokens = match claim.role {
                'o' => &self.operators,
                'v' => &self.viewers,
                _ => return None,
            };
            let token = tokens.get(&claim.name)?;
            claim.is_valid(token, now).then(|| Self::signed_in(claim.role, &claim.name))
        })
    }

    /// The visitor without a token and without a session.
    fn unknown(&self, headers: &HeaderMap) -> Result<Visitor, Refusal> {
        // A proxy may pass on requests of the whole internet, as if they came from this machine.
        let names_public = || self.public.as_ref().is_some_and(|public| public.is_named_by(headers));
        if self.anonymous && (is_proxied(headers) || names_public()) {
            if !self.has_tokens() {
                return Err(Refusal::ProxyWithoutToken);
            }
            return Ok(Visitor { role: Role::Stranger, name: None, sees_payloads: false });
        }
        let role = if self.anonymous { Role::Anonymous } else { Role::Stranger };
        Ok(Visitor { role, name: None, sees_payloads: self.anonymous && self.anonymous_sees_payloads })
    }

    /// The visitor behind a request.
    pub(in crate::engine::dashboard) async fn visitor(
        &self,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Visitor, Refusal> {
        if let Some(visitor) = self.by_bearer(headers, peer).await? {
            return Ok(visitor);
        }
        self.by_cookie(headers, SystemTime::now().into()).map_or_else(|| self.unknown(headers), Ok)
    }

    /// Checks the token of the form of a peer.
    pub(in crate::engine::dashboard) async fn sign_in(&self, token: &str, peer: Option<Peer>) -> SignIn {
        if let Some(peer) = peer
            && !self.guesses.delay(peer).await
        {
            return SignIn::TooMany;
        }
        match self.holder(token.trim().as_bytes()) {
            Some((role, name, token)) => {
                let value = session::issue(role, name, token, SystemTime::now().into());
                SignIn::Welcome(self.cookie(&value, SESSION_TIME.as_secs()))
            }
            None => {
                if let Some(peer) = peer {
                    self.guesses.wrong(peer, self.listener);
                }
                SignIn::WrongToken
            }
        }
    }

    /// The value of `Set-Cookie` that ends a session.
    pub(in crate::engine::dashboard) fn sign_out(&self) -> HeaderValue {
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self.is_https { "; Secure" } else { "" };
        let (name, path) = (&self.cookie_name, &self.cookie_path);
        let text =
            format!("{name}={value}; HttpOnly; SameSite=Strict; Path={path}; Max-Age={seconds}{secure}");
        HeaderValue::from_str(&text).expect("a cookie has visible characters only")
    }
}
