//! The fields of a submitted form.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use tokio::time::timeout;

use crate::dashboard::refusal::Refusal;

/// Largest form.
const MAX_BYTES: usize = 64 << 10;
/// Longest time for a form to arrive: a page keeps its permit meanwhile.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The names and values of a form, in order.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct Form(Vec<(String, String)>);

impl Form {
    /// The first value of a field; empty for an absent one.
    pub(in crate::engine::dashboard) fn field(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let bytes = timeout(TIMEOUT, to_bytes(request.into_body(), MAX_BYTES)).await;
        let Ok(Ok(bytes)) = bytes else {
            return Err(Refusal::BadRequest(format!(
                "the form must arrive within {} seconds and have at most {} KiB",
                TIMEOUT.as_secs(),
                MAX_BYTES >> 10
            )));
        };
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }
}
