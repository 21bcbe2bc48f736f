//! aint-queue: a job queue and multi-mode worker-pool runtime.
//!
//! ```text
//!  producers: Queue, queue:push                  operators: queue:status, queue:failed, queue:stop
//!         │ push                                          │
//!         ▼                                               ▼
//!  ┌─────────────────────────────── store ───────────────────────────────┐
//!  │            SQLite file (embedded default)  ·  Redis, Valkey         │
//!  └──────────────▲──────────────────────────────────────────────────────┘
//!                 │ turn: settle a batch, renew the lease, lease a batch
//!         master process ── one actor per channel ── lock, control socket, signals, snapshots
//!           │     └─ pool: keeps workers, assigns free slots, enforces time limits
//!           │ socket per worker: run, cancel, stop  ⇄  hello, done, failed, release
//!           ▼
//!         guardian process: parent of every worker; spawns, reaps, kills whole trees
//!           └─ worker processes: a slot runs one job
//! ```
//!
//! Workers do not call the store: a master leases and settles for them. A worker needs no store client, no credentials and no clock, so a worker can be written in
//! any language, and a late or faulty worker cannot settle a job without the master.
//!
//! # First example
//!
//! A job is a type with a name and a `handle` function. [`Queue`] pushes jobs, [`App`] runs them: your program becomes the
//! whole command line, with your jobs registered.
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
//! `main` needs the crates `aint-queue` and `serde`; a caller of `welcome` also needs an asynchronous runtime such as `tokio`.
//! Until `welcome` has a caller, the compiler warns about unused code. Try it:
//!
//! ```text
//! $ cargo add --path ../aint-queue
//! $ cargo add serde --features derive
//! $ cargo run -- queue:push send_mail --data '{"to":"ann@example.com"}'
//! $ cargo run -- queue:listen
//! ```
//!
//! Without a configuration file there is one channel, `default`, stored in `aint-queue.db` in the current directory.
//! `examples/mail.rs` is one program that pushes and runs; `examples/orders` is a small application with four channels.
//!
//! # Jobs and their options
//!
//! A job is data: a push stores the job's JSON, and [`Job::NAME`] finds the type again. The name stays the same when the type
//! is renamed or moved. A blocking handler implements [`Job`], an asynchronous handler [`AsyncJob`]; both run in every mode.
//! Everything else has defaults:
//!
//! | purpose | API |
//! |---|---|
//! | retry by the channel's policy | return any error with `?`, or panic |
//! | retry after a given time | [`JobError::retry_after`], or [`Job::retry_after`] for all errors of the type |
//! | return the job without counting an attempt | [`JobError::release`] |
//! | fail for good | [`JobError::never`], or [`Job::can_retry`] |
//! | number of attempts, time limit | [`Job::MAX_ATTEMPTS`], [`Job::TIMEOUT`] |
//! | callback after the last failure | [`Job::failed`] |
//! | state shared by handlers | [`App::state`], [`App::state_with`], [`Context::state`] |
//! | locks, rate limits, circuit breakers | [`middleware`] |
//! | follow-up jobs | [`Context::push`], [`Context::to`] |
//! | the state of channels for code of your own | [`App::snapshot_handler`], [`SnapshotHandler`] |
//! | progress; cancellation | [`Context::progress`], [`Context::cancelled`] |
//!
//! A push may set a delay, a priority, an expiry, headers and a unique key:
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
//! [`testing`] has helpers for your own tests: an in-memory queue that records pushes and runs the jobs.
//!
//! Closures cannot be jobs: a later version of the program could not run them; a named type can be run. The modes need no job
//! types of their own: the configuration decides where a job runs.
//!
//! # Features
//!
//! | feature | default | content |
//! |---|---|---|
//! | `server` | yes | master, workers, commands: [`App::run`] and the engine |
//! | `sqlite`, `redis` | yes | the stores |
//! | `top` | yes | `queue:top`, with `server` |
//! | `otel` | no | spans of pushes and runs for OpenTelemetry; with `server` their export (`[otel]`) |
//! | `tracing` | with `server` | log lines of jobs in tests and under the `sync` driver |
//!
//! A program that only pushes takes `default-features = false` and one store: 23 crates of other authors, including the derive
//! macros of serde, plus those of the store.
//!
//! # At least once
//!
//! A job whose push was acknowledged runs at least once, or ends visibly in `failed`, or is removed by an explicit command;
//! nothing else removes a job, within the durability of the store. A job may run more than once. When a worker, the guardian,
//! the master or the machine dies during a run, or when a stop interrupts a run, the progress of that run is unknown, and the
//! job runs again from the beginning. When a master is cut off from the store for longer than its lease, another master runs
//! its jobs, and the end of the first run may overlap the start of the second. The *store's record* of a job is written once:
//! exactly one run settles the job, and a late result changes nothing. The *side effects* of a job may happen twice, so make
//! handlers idempotent: upsert instead of insert, pass an idempotency key to the other service (the job's id stays the same in
//! every attempt), or check before acting.
//!
//! # Invariants
//!
//! 1. Only a successful run, `failed` or an explicit command ends a job.
//! 2. Every change of a job's state is one script or one transaction in the store. An error halfway can leave a job in two
//!    places, never in none.
//! 3. A lease belongs to one incarnation of a master. A dead incarnation stays dead: its calls change nothing.
//! 4. The length of a lease is independent of a job's running time. A long job never runs twice because it is long.
//! 5. An attempt is counted when a started run ends in an error, a time-out, or a crash of a worker that ran only this job. An
//!    attempt is not counted when the engine interrupted the run, the handler released the job, or the worker crashed while it
//!    ran several jobs.
//! 6. A job that kills its worker three times while alone ends in `failed` as `poison`; a job that lost its master or
//!    guardian three times ends there as `lost`.
//! 7. The master runs no user code but registered snapshot handlers, on threads of their own, and never blocks; every buffer,
//!    batch and retry in it is bounded.
//! 8. No process outlives its purpose: the processes that a worker started die with it, detached grandchildren included.
//! 9. A kernel lock admits one master per channel and run directory. A free lock means that the old work is dead.
//! 10. Ids are made in the store, grow, are unique within a channel and are never reused. An id is at most a second ahead of
//!     the highest clock that the store has ever seen, or of a million jobs pushed while the clock is behind it.
//! 11. Time that matters between processes is the store's clock; durations use the monotonic clock.
//! 12. A payload is JSON data: no shell command, no argument and no environment variable is built from it.
//! 13. A store outage loses nothing and causes no busy loop; work resumes by itself when the store is back.
//!
//! # Where to look
//!
//! | question | place |
//! |---|---|
//! | a job and its possible outcomes | [`job`]: [`Job`], [`AsyncJob`], [`Context`], [`JobError`] |
//! | pushing | [`Queue`], [`PushOptions`]; without a store: [`App::queue`] |
//! | testing | [`testing`] |
//! | contract of a store | [`store::Store`]; SQLite schema: `crates/core/src/store/sqlite/schema.sql`; Redis scripts: `crates/core/src/store/redis/scripts` |
//! | meaning of a configuration key | `docs/configuration.md`, `config/aint-queue.toml`; as values: [`config`] |
//! | the engine: channels, pool, guardian, master | `docs/architecture.md` |
//! | worker protocol | `docs/worker-protocol.md`, transcripts in `tests/wire` |
//! | webhooks, HTTP pushes | `docs/webhooks.md`, `docs/http.md` |
//! | operation | `docs/operations.md` |
//! | reasons for decisions | `docs/decisions` |

mod app;
#[cfg(feature = "server")]
mod cli;
pub mod testing;

// The store with faults in tests/channel also serves the unit tests of the channel; it names this crate from outside.
#[cfg(all(test, feature = "server"))]
extern crate self as aint_queue;

/// The engine behind [`App`]: master, channels, workers. It serves the program, its tests and its benches, and carries no
/// promise of compatibility.
#[cfg(feature = "server")]
#[doc(hidden)]
#[path = "."]
pub mod engine {
    pub mod activity;
    pub mod alerts;
    pub mod channel;
    pub mod control;
    pub mod dashboard;
    pub mod demo_jobs;
    pub mod fd;
    pub mod guardian;
    pub mod http;
    pub mod logging;
    pub mod master;
    pub mod metrics;
    pub(crate) mod open_files;
    pub mod pool;
    pub(crate) mod private_file;
    pub mod producer_memory;
    pub mod protected_memory;
    pub mod sanitize;
    pub mod snapshot;
    pub mod span_export;
    pub mod webhook;
    pub(crate) mod why;
    pub mod wire;
    pub(crate) mod wording;
    pub mod worker;

    pub use crate::app::WORKER_ARGUMENT;
    pub use aint_queue_core::{executor, in_process, job_json, limits, queue_set, retry};
}

#[cfg(feature = "server")]
use aint_queue_core::{
    access, dangling_link, executor, in_process, job_json, known_directories, limits, queue_set, retry, trust,
};
#[doc(inline)]
pub use aint_queue_core::{config, job, middleware, queue, store};
#[cfg(not(feature = "server"))]
use aint_queue_core::{in_process, retry};
#[cfg(feature = "server")]
use engine::{
    activity, alerts, channel, control, dashboard, demo_jobs, fd, guardian, http, logging, master, metrics,
    open_files, pool, private_file, producer_memory, protected_memory, sanitize, snapshot, span_export,
    webhook, why, wire, wording, worker,
};

pub use app::App;
pub use config::Config;
pub use job::{AsyncFailedFn, AsyncJob, Context, FailedFn, Failure, Job, JobError, Priority};
pub use queue::{PushOptions, Queue};
#[cfg(feature = "server")]
#[doc(inline)]
pub use snapshot::{HandlerError, MasterState, Recent, Snapshot, SnapshotHandler};
