//! Sends the request of a run.

use std::error::Error;
use std::time::SystemTime;

use super::connector::{AddressRule, Target};
use super::http_client::{HttpClient, ReceivedResponse};
use super::request;
use crate::config::webhook::Settings;
use crate::job::{Context, JobError};

/// Sends requests to one receiver.
pub(super) struct Client {
    settings: Settings,
    http: HttpClient,
}

impl Client {
    pub(super) fn new(settings: Settings) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let target = Target {
            host: settings.url.host(),
            is_https: settings.url.uri().scheme_str() == Some("https"),
            allow_http: settings.allow_http,
            addresses: if settings.allow_private { AddressRule::Any } else { AddressRule::Public },
            ca_file: settings.ca_file.as_deref(),
            keys: "worker.",
        };
        let http = HttpClient::new(&target, settings.url.origin(), settings.secrets())?;
        Ok(Self { settings, http })
    }

    /// Sends a job and waits for the response. The caller limits the time.
    pub(super) async fn send(&self, ctx: &Context, payload: String) -> Result<ReceivedResponse, JobError> {
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = request::build(&self.settings, ctx, payload, seconds)?;
        // After a cancel the response is complete enough: its head decides.
        Ok(self.http.send(request, ctx.cancelled()).await?)
    }
}
