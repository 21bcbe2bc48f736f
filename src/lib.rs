//! aint-queue: a job queue and multi-mode worker-pool runtime.
//!
//! ```text
//!  producers: Queue, queue:push                  people: queue:status, queue:failed, queue:stop
//!         │ push                                          │
//!         ▼                                               ▼
//!  ┌─────────────────────────────── store ───────────────────────────────┐
//!  │            one SQLite file (the default)  ·  Redis, Valkey          │
//!  └──────────────▲──────────────────────────────────────────────────────┘
//!                 │ turn: settle a batch, renew the lease, lease a batch
//!         master process ── one channel actor per channel ── lock, control socket, signals, snapshots
//!           │     └─ pool: keeps workers, hands out free slots, keeps the time
//!           │ a socket per worker: run, cancel, stop  ⇄  hello, done, failed, release
//!           ▼
//!         guardian process: parent of every worker; starts, reaps, kills whole trees
//!           └─ worker processes: a slot runs one job
//! ```
//!
//! Only the master talks to the store. A worker needs no store, no credentials and no clock, so it can be written in any
//! language, and one that is late or wrong cannot settle a job behind the master's back.
//!
//! # First example
//!
//! A job is a type with a name and a `handle` function. [`Queue`] pushes it, [`App`] runs it: the program becomes the
//! whole command line, with your jobs inside.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use aint_queue::{App, Config, Context, Job, JobError, Queue};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendMail {
//!     to: String,
//! }
//!
//! impl Job for SendMail {
//!     const NAME: &'static str = "send_mail";
//!
//!     fn handle(self, ctx: &Context) -> Result<(), JobError> {
//!         if !self.to.contains('@') {
//!             return Err(JobError::never("not an address"));
//!         }
//!         println!("attempt {} of job {}: mail to {}", ctx.attempt(), ctx.id(), self.to);
//!         Ok(())
//!     }
//! }
//!
//! /// In your web server, say.
//! async fn welcome(to: String) -> Result<(), Box<dyn std::error::Error>> {
//!     let queue = Queue::open(&Config::find(None)?, "default").await?;
//!     let id = queue.push(&SendMail { to }).await?;
//!     println!("pushed {id}");
//!     Ok(())
//! }
//!
//! /// `mail queue:listen` runs what was pushed, `mail queue:status` shows the counts.
//! fn main() -> ExitCode {
//!     App::new().job::<SendMail>().run()
//! }
//! ```
//!
//! `main` needs two dependencies; whoever calls `welcome` is asynchronous and has a runtime, such as `tokio`. Until that is
//! written, the compiler warns that nobody calls it. Try it:
//!
//! ```text
//! $ cargo add --path ../aint-queue
//! $ cargo add serde --features derive
//! $ cargo run -- queue:push send_mail --data '{"to":"ann@example.com"}'
//! $ cargo run -- queue:listen
//! ```
//!
//! Without a configuration there is one channel, `default`, in the file `aint-queue.db` of the current directory.
//! `examples/mail.rs` is one program that pushes and runs; `examples/orders` is a small application with three channels.
//!
//! # What a job can say
//!
//! A job is data: what is pushed is its JSON, and the type is found by [`Job::NAME`], which stays the same when the type is
//! renamed or moved. A handler that blocks implements [`Job`], one that is asynchronous [`AsyncJob`]; both run in every mode.
//! The rest has defaults:
//!
//! | to say | write |
//! |---|---|
//! | tried again by the channel's policy | return any error with `?`, or panic |
//! | tried again after a time | [`JobError::retry_after`], or [`Job::retry_after`] for all errors of the type |
//! | not now, and no attempt is counted | [`JobError::release`] |
//! | never again | [`JobError::never`], or [`Job::can_retry`] |
//! | how often, how long | [`Job::MAX_ATTEMPTS`], [`Job::TIMEOUT`] |
//! | what to do after the last failure | [`Job::failed`] |
//! | what handlers share | [`App::state`], [`App::state_with`], [`Context::state`] |
//! | one at a time, at most so many a second, not while a service is down | [`middleware`] |
//! | another job as a consequence | [`Context::push`], [`Context::to`] |
//! | how far it is; that it was cancelled | [`Context::progress`], [`Context::cancelled`] |
//!
//! A push says when, how urgent, until when, and what must not be there twice:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use aint_queue::{Context, Job, JobError, Priority, PushOptions, Queue};
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct SendMail { to: String }
//! # impl Job for SendMail {
//! #     const NAME: &'static str = "send_mail";
//! #     fn handle(self, _: &Context) -> Result<(), JobError> { Ok(()) }
//! # }
//! # async fn example(queue: Queue, mail: SendMail) -> Result<(), Box<dyn std::error::Error>> {
//! let options = PushOptions::new()
//!     .delay(Duration::from_secs(60))
//!     .expires_in(Duration::from_secs(3600))
//!     .priority(Priority::High)
//!     .unique("welcome-ann")
//!     .header("tenant", "acme");
//! queue.push_with(&mail, &options).await?;
//! queue.push_many(&[mail]).await?; // one round trip for up to 500
//! # Ok(())
//! # }
//! ```
//!
//! [`testing`] has what tests of your own need: a queue in memory on which they see what was pushed and run it.
//!
//! There are no closures as jobs: code cannot be stored and run by another version of the program; a type with a name can. Nor
//! are there separate kinds of jobs for the modes: where a job runs is the configuration's business.
//!
//! # Features
//!
//! | feature | default | for |
//! |---|---|---|
//! | `server` | yes | master, workers, commands: [`App::run`] and everything behind it |
//! | `sqlite`, `redis` | yes | the stores |
//! | `tracing` | with `server` | what jobs log in tests and under the `sync` driver |
//!
//! A program that only pushes takes `default-features = false` and one store: 24 crates in all, this one and the derive macros
//! of serde included, beside those of the store.
//!
//! # At least once
//!
//! A job whose push was acknowledged runs at least once, or ends visibly in `failed`, or is removed by a command of
//! yours; nothing else removes it, within the durability of the store. It may run more than once. When a worker, the
//! guardian, the master or the machine dies in the middle of a run, or when a stop ends it, nobody can know how far it
//! had come, and the job runs again from its beginning. When a master was cut off from the store for longer than its
//! lease, another one runs its jobs, and the end of the first run may overlap the beginning of the second. What the
//! *store* records happens once: of all the runs of a job, exactly one settles it, and a result that comes late changes
//! nothing. What *your job does to the world* may happen twice, so write it such that twice does no harm: upsert instead
//! of insert, pass a key that the other side knows as already seen (the job's id stays the same in every attempt), or
//! check before you act.
//!
//! # Invariants
//!
//! What holds whatever happens, in short:
//!
//! 1. Nothing but a done run, `failed` or an explicit command removes a job.
//! 2. Every change of a job's state is one script or one transaction in the store. An error halfway can leave a job in two
//!    places, never in none.
//! 3. A lease belongs to an incarnation of a master. One that is gone stays gone: its calls change nothing.
//! 4. A lease has nothing to do with how long a job may run. A long job is not run twice because it is long.
//! 5. An attempt is counted when a run that had begun ended in an error, a time-out or a crash of its worker alone; not when
//!    we interrupted it, its handler released it, or its worker crashed with several jobs aboard.
//! 6. A job that kills its worker three times, alone, ends in `failed` as poison; one whose masters were lost three times,
//!    as lost.
//! 7. The master runs no user code and never blocks; every buffer, batch and retry in it is bounded.
//! 8. No process outlives its purpose: what a worker started dies with it, detached grandchildren included.
//! 9. One master per channel and run directory, by a kernel lock. A free lock means that the old work is dead.
//! 10. Ids are made in the store, grow with time, are unique in a channel and never used again.
//! 11. Time that matters between processes is the store's clock; durations use the monotonic clock.
//! 12. A payload is JSON data: no shell, no argument and no variable of the environment is built from it.
//! 13. When the store is away nothing is lost and nothing spins; work goes on by itself when it is back.
//!
//! # Where to look
//!
//! | to know | look in |
//! |---|---|
//! | what a job is, how it can end | [`job`]: [`Job`], [`AsyncJob`], [`Context`], [`JobError`] |
//! | how to push | [`Queue`], [`PushOptions`]; without a store: [`App::queue`] |
//! | how to test | [`testing`] |
//! | what happens to a job, end to end | [`channel`] |
//! | when a job is tried again or fails | [`retry`] |
//! | how workers are started, timed out, judged | [`pool`]; as numbers: [`pool::plan`] |
//! | how processes and their trees are ended | [`guardian`] |
//! | what a store must do | [`store::Store`]; what is in SQLite: `src/store/sqlite/schema.sql`, in Redis: `src/store/redis/scripts` |
//! | the worker protocol | [`wire`], `docs/worker-protocol.md`, transcripts in `tests/wire` |
//! | what a master does | [`master`] |
//! | what a configuration key means | `docs/configuration.md`, `config/aint-queue.toml`; as values: [`config`] |
//! | jobs as signed requests | [`webhook`], `docs/webhooks.md` |
//! | pushing over HTTP | [`http`], `docs/http.md` |
//! | snapshots and metrics | [`snapshot`], [`metrics`] |
//! | how to run it | `docs/operations.md` |
//! | why something is as it is | `docs/decisions` |

mod app;
#[cfg(feature = "server")]
mod cli;
pub mod testing;

/// The engine behind [`App`]: master, channels, workers. It serves the program, its tests and its benches, and carries no
/// promise of compatibility.
#[cfg(feature = "server")]
#[doc(hidden)]
#[path = "."]
pub mod engine {
    pub mod channel;
    pub mod demo_jobs;
    pub mod fd;
    pub mod guardian;
    pub mod http;
    pub mod master;
    pub mod metrics;
    pub mod pool;
    pub mod snapshot;
    pub mod webhook;
    pub mod wire;
    pub mod worker;

    pub use crate::app::WORKER_ARGUMENT;
    pub use aint_queue_core::{breaker, executor, in_process, job_json, queue_set, retry};
}

#[cfg(feature = "server")]
use aint_queue_core::{breaker, executor, in_process, job_json, queue_set, retry};
#[doc(inline)]
pub use aint_queue_core::{config, job, middleware, queue, store};
#[cfg(not(feature = "server"))]
use aint_queue_core::{in_process, retry};
#[cfg(feature = "server")]
use engine::{channel, fd, guardian, http, master, metrics, pool, snapshot, webhook, wire, worker};

pub use app::App;
pub use config::Config;
pub use job::{AsyncFailedFn, AsyncJob, Context, FailedFn, Failure, Job, JobError, Priority};
pub use queue::{PushOptions, Queue};
