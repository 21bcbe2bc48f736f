//! Jobs of the worker in the transcripts: those of the binary, and jobs with requests and failed callbacks.

use std::process::ExitCode;

use aint_queue::middleware::{NoOverlap, RateLimit};
use aint_queue::{App, AsyncFailedFn, AsyncJob, Context, JobError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The application that this program runs when it is started as a worker.
pub(crate) fn serve() -> ExitCode {
    let app = App::new()
        .state_with(own_runtime)
        .async_job::<Charge>()
        .async_job::<Onboard>()
        .async_job::<CountStock>();
    app.async_job::<SendSms>().demo_jobs().run()
}

/// Shared state like that of a blocking client: it owns a runtime, created with it and dropped with it.
fn own_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {});
    Ok(runtime)
}

#[derive(Serialize, Deserialize)]
struct Charge {
    cents: u64,
}

impl AsyncJob for Charge {
    const NAME: &'static str = "charge";
    const MAX_ATTEMPTS: Option<u32> = Some(5);

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        ctx.log(
            "info",
            format_args!("{} cents for tenant {}", self.cents, ctx.header("tenant").unwrap_or("?")),
        );
        ctx.progress(50.0);
        Ok(())
    }

    fn failed() -> Option<AsyncFailedFn<Self>> {
        Some(|job, failure, ctx| {
            Box::pin(async move {
                ctx.log("warn", format_args!("{} cents are still owed: {}", job.cents, failure.error));
                Ok(())
            })
        })
    }
}

#[derive(Serialize, Deserialize)]
struct SendMail {
    to: String,
}

impl AsyncJob for SendMail {
    const NAME: &'static str = "send_mail";

    async fn handle(self, _: &Context) -> Result<(), JobError> {
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Onboard {
    to: String,
}

impl AsyncJob for Onboard {
    const NAME: &'static str = "onboard";

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        ctx.push(&SendMail { to: self.to }).await?;
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct CountStock {}

impl AsyncJob for CountStock {
    const NAME: &'static str = "count_stock";

    async fn handle(self, _: &Context) -> Result<(), JobError> {
        Ok(())
    }

    fn layers(service: aint_queue::job::JobService) -> aint_queue::job::JobService {
        service.with(NoOverlap::by_job().release_delay(Duration::from_secs(2)))
    }
}

#[derive(Serialize, Deserialize)]
struct SendSms {}

impl AsyncJob for SendSms {
    const NAME: &'static str = "send_sms";

    async fn handle(self, _: &Context) -> Result<(), JobError> {
        Ok(())
    }

    fn layers(service: aint_queue::job::JobService) -> aint_queue::job::JobService {
        service.with(RateLimit::new(100, Duration::from_secs(60)))
    }
}
