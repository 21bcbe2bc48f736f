//! An application: the command line of aint-queue with the application's own jobs.
//!
//! `mail welcome ann@example.com` pushes a job, `mail queue:listen` runs it, `mail queue:status` shows the counts.

use std::process::ExitCode;
use std::time::Duration;

use aint_queue::{App, AsyncJob, Config, Context, Job, JobError, PushOptions, Queue};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct SendMail {
    to: String,
}

impl Job for SendMail {
    const NAME: &'static str = "send_mail";

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        if !self.to.contains('@') {
            // Final: a retry would not help.
            return Err(JobError::never(format!("{:?} is not an address", self.to)));
        }
        println!("attempt {} of {}: mail to {}", ctx.attempt(), ctx.max_attempts(), self.to);
        Ok(())
    }
}

/// An asynchronous job: the same form, for handlers that wait for other systems.
#[derive(Serialize, Deserialize)]
struct Newsletter {
    to: Vec<String>,
}

impl AsyncJob for Newsletter {
    const NAME: &'static str = "newsletter";

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        for to in self.to {
            // A job of its own for each mail: one address that fails is retried alone.
            ctx.push(&SendMail { to }).await?;
        }
        Ok(())
    }
}

/// Pushes the jobs of one request, as a web server would.
#[tokio::main(flavor = "current_thread")]
async fn welcome(to: String) -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::open(&Config::find(None)?, "default").await?;
    let mail = SendMail { to };
    let id = queue.push(&mail).await?;
    let reminder = PushOptions::new().delay(Duration::from_secs(5)).max_attempts(5);
    queue.push_with(&mail, &reminder).await?;
    println!("pushed {id} and a reminder");
    Ok(())
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("welcome"), Some(to)) => match welcome(to) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
        // Other arguments: a command of aint-queue, or the master that starts this program as a worker.
        _ => App::new().job::<SendMail>().async_job::<Newsletter>().run(),
    }
}
