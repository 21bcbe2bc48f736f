//! The test of a receiver of alerts.

use std::time::Duration;

use async_trait::async_trait;

use super::Order;
use crate::dashboard::Dashboard;
use crate::dashboard::pages::{Notice, NoticeKind};
use crate::dashboard::refusal::Refusal;

/// Sends the messages of a test to the receiver with this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReceiverTest(pub(super) String);

#[async_trait]
impl Order for ReceiverTest {
    fn word(&self) -> &'static str {
        "test-receiver"
    }

    fn target(&self) -> String {
        self.0.clone()
    }

    /// A receiver behind a slow network answers within this time, and the answer is what the operator wants to see.
    fn wait(&self) -> Duration {
        Duration::from_secs(25)
    }

    async fn carry_out(self, dashboard: &Dashboard, _: &str) -> Result<Notice, Refusal> {
        match dashboard.source.test_receiver(&self.0).await {
            None => Err(Refusal::BadRequest("no receiver of this name is declared".to_owned())),
            Some(Ok(())) => Ok(NoticeKind::Tested.into()),
            Some(Err(why)) => Err(Refusal::Failed(why)),
        }
    }
}
