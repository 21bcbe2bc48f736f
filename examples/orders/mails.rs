//! Mails: almost all time is spent waiting for a server, so one process sends many at once.

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

/// Subject of a mail; each order causes at most one mail of each kind.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    Complete,
    BrokenPicture { picture: FileName },
}

impl SendMail {
    /// Pushes the mail from another job. The trace context of the order is passed on automatically.
    pub fn push(&self, ctx: &Context) -> PendingResponse<JobId> {
        ctx.to("mails").push_with(self, &PushOptions::new().unique(self.name()))
    }

    /// Identity of a mail: the same name means the same mail.
    fn name(&self) -> String {
        let about = match self.about {
            About::Complete => "complete",
            About::BrokenPicture { .. } => "broken-picture",
        };
        format!("{}-{about}", self.order)
    }

    fn message(&self) -> Result<Message, JobError> {
        // The builder validates addresses, so customer input cannot inject headers.
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
        // If the response of a mail server is lost, the mail is sent again. The same message id lets the recipient's
        // software recognise the duplicate.
        let id = format!("<{}@shop.example>", self.name());
        let mail = Message::builder().from("Shop <shop@shop.example>".parse()?).to(to);
        Ok(mail.subject(subject).message_id(Some(id)).body(text)?)
    }
}

impl AsyncJob for SendMail {
    const NAME: &'static str = "send_mail";
    /// A mail server may be down for hours; the backoff of the channel doubles up to one hour.
    const MAX_ATTEMPTS: Option<u32> = Some(12);

    /// Writes to an outbox directory. With a mail server, `AsyncSmtpTransport` of lettre replaces it.
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let path = ctx.state::<Shop>().mail(&self.name());
        if path.exists() {
            // Already sent: the order was placed twice, or the worker died between sending and reporting.
            return Ok(());
        }
        let message = self.message()?.formatted();
        // Blocking I/O must not delay the other mails of this process.
        spawn_blocking(move || publish(&path, &message)).await??;
        tracing::info!(order = self.order, trace = ctx.header("traceparent"), "sent {}", self.name());
        Ok(())
    }

    /// Leaves a note for the staff: the customer has to be called.
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

    /// The provider closes accounts above this rate. A job over the rate is released and uses no attempt.
    fn layers(service: JobService) -> JobService {
        service.with(RateLimit::new(50, Duration::from_secs(1)))
    }
}
