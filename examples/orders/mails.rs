//! Mails: they wait for a server nearly all their time, so one process sends many at once.

use std::time::Duration;

use aint_queue::job::{JobId, JobService, PendingResponse};
use aint_queue::middleware::RateLimit;
use aint_queue::{AsyncFailedFn, AsyncJob, Context, JobError, PushOptions};
use lettre::Message;
use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::shop::{FileName, Shop, publish};

#[derive(Serialize, Deserialize)]
pub struct SendMail {
    pub order: u64,
    pub to: String,
    pub about: About,
}

/// Why a customer gets a mail: at most one of each kind per order.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    Complete,
    BrokenPicture { picture: FileName },
}

impl SendMail {
    /// Pushes it from another job. The trace context that the order came with goes along by itself.
    pub fn push(&self, ctx: &Context) -> PendingResponse<JobId> {
        ctx.to("mails").push_with(self, &PushOptions::new().unique(self.name()))
    }

    /// What makes two mails the same one.
    fn name(&self) -> String {
        let about = match self.about {
            About::Complete => "complete",
            About::BrokenPicture { .. } => "broken-picture",
        };
        format!("{}-{about}", self.order)
    }

    fn message(&self) -> Result<Message, JobError> {
        // A builder that knows the rules: no customer can write headers of their own into a mail of ours.
        let to: Mailbox = self.to.parse().map_err(|e| JobError::never(format!("{:?}: {e}", self.to)))?;
        let (subject, text) = match &self.about {
            About::Complete => {
                ("Your prints are ready", "Your pictures are printed and on their way.\n".into())
            }
            About::BrokenPicture { picture } => {
                let text = format!("We could not read your picture {}. Please send it again.\n", picture.0);
                ("One of your pictures", text)
            }
        };
        let subject = format!("{subject} (order {})", self.order);
        // A server takes a mail and its answer is lost: nobody can know, so the mail is sent again. The same id lets
        // whoever gets it see that it is the same.
        let id = format!("<{}@shop.example>", self.name());
        let mail = Message::builder().from("Shop <shop@shop.example>".parse()?).to(to);
        Ok(mail.subject(subject).message_id(Some(id)).body(text)?)
    }
}

impl AsyncJob for SendMail {
    const NAME: &'static str = "send_mail";
    /// A mail server that is down is down for hours: the channel's backoff doubles up to an hour.
    const MAX_ATTEMPTS: Option<u32> = Some(12);

    /// An outbox in place of a mail server; with one, this would be lettre's `AsyncSmtpTransport`.
    async fn handle(self, ctx: Context) -> Result<(), JobError> {
        let path = ctx.state::<Shop>().mail(&self.name());
        if path.exists() {
            // The order was placed twice, or the worker died between sending and saying so. Sent is sent.
            return Ok(());
        }
        let message = self.message()?.formatted();
        // What blocks must not hold up the other mails of this process.
        spawn_blocking(move || publish(&path, &message)).await??;
        tracing::info!(order = self.order, trace = ctx.header("traceparent"), "sent {}", self.name());
        Ok(())
    }

    /// Nobody reads the address again: somebody has to call the customer.
    fn failed() -> Option<AsyncFailedFn<Self>> {
        Some(|job, failure, ctx| {
            Box::pin(async move {
                let path = ctx.state::<Shop>().complaint(job.order);
                let note =
                    format!("no mail {} ({}): {}\n", job.name(), failure.reason.as_str(), failure.error);
                spawn_blocking(move || publish(&path, note.as_bytes())).await??;
                Ok(())
            })
        })
    }

    /// The provider closes accounts that send more. What is too early is released and waits, without using an attempt.
    fn layers(service: JobService) -> JobService {
        service.with(RateLimit::new(50, Duration::from_secs(1)))
    }
}
