//! The master: the process behind `queue:listen`.
//!
//! Duties:
//! - be the only master of its channels in a run directory (`run_dir`);
//! - start the guardian and one actor per channel (`start`, `channel_setup`), in this order: locks, stores, processes, so
//!   that a refused start leaves no process behind;
//! - pass signals, control requests and reloads on to the actors (`service_loop`, `signals`, `control`, `reload`);
//! - report to the service manager (`watchdog`, `sd_notify`);
//! - restart its own program above its memory limit (`own_memory`, `reexec`).
//!
//! The master runs no user code but snapshot handlers of the application, and makes no decision about jobs. It ends when its last channel has ended.

mod alerting;
mod capacity;
mod channel_service;
mod channel_setup;
mod container_memory;
mod control;
mod lazy_store;
mod listen;
mod listen_error;
mod listen_options;
mod own_identity;
mod own_memory;
mod own_program;
mod place;
mod receiver_test;
mod reexec;
mod refused_pushes;
mod reload;
pub mod run_dir;
mod run_once;
mod sd_notify;
mod service_loop;
mod signals;
mod start;
mod stop_notice;
mod view;
mod watchdog;
mod worker_access;

pub use alerting::host_alerts_file;
pub use listen::listen;
pub use listen_error::ListenError;
pub use listen_options::ListenOptions;
pub use own_identity::{boot, own_identity};
pub use own_program::own_program;
pub use receiver_test::test_receivers;
pub use reexec::Handover;
pub use run_dir::{LockError, Presence, ServedStore, control_socket, presence, presences_in};
pub use run_once::run_once;
pub use service_loop::MasterExit;
pub use signals::block_signals;
pub use start::page_stores;
pub use worker_access::closed_to_workers;
