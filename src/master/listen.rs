//! The entry point of a master: signals, start, service loop, in a runtime of its own.

use tracing::info;

use super::listen_error::ListenError;
use super::listen_options::ListenOptions;
use super::reexec::{Handover, ReexecPolicy};
use super::sd_notify::ServiceManager;
use super::service_loop::MasterExit;
use super::signals::{Signals, block_signals};
use super::start;
use super::watchdog::Watchdog;
use crate::fd;
use crate::logging::report_drops;
use crate::open_files;
use crate::producer_memory::ProducerMemory;
use crate::protected_memory;

/// Serves channels until stopped. `handover` comes from the previous program of this process after a re-exec.
///
/// # Errors
/// When a channel cannot be served; then no process was started and no file of this master remains.
pub fn listen(options: ListenOptions, handover: Option<Handover>) -> Result<MasterExit, ListenError> {
    protected_memory::protect();
    fd::bound_heap();
    let handover = handover.unwrap_or_default();
    open_files::raise();
    let runtime = runtime()?;
    let exit = runtime.block_on(async {
        let mut signals = Signals::install().map_err(ListenError::System)?;
        let channels = options.channels.join(", ");
        if let Some(log) = options.log.clone() {
            tokio::spawn(report_drops(log));
        }
        let max_body = options.config.http.as_ref().filter(|_| options.http).map_or(0, |http| http.max_body);
        let producer_memory = ProducerMemory::new(options.memory_limit(), max_body);
        let reexec = ReexecPolicy::new(&options, producer_memory.clone(), handover.reexec_count);
        // A stop during the start drops the future, and with it every lock and store the start has taken.
        let master = tokio::select! {
            master = start::start(options, producer_memory, handover) => master?,
            () = signals.wait_for_stop() => {
                info!("stopped during start: no channel was served");
                return Ok(MasterExit::Stopped);
            }
        };
        let watchdog = Watchdog::start(ServiceManager::from_env(), &channels);
        master.serve(signals, watchdog, reexec).await
    });
    // Name lookups run on blocking threads and may hang; the exit does not wait for them.
    runtime.shutdown_background();
    exit
}

/// The master's runtime: one thread, which runs all actors of the master.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, ListenError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // Blocking threads must not take signals: before a re-exec the main thread blocks them for the next program, and a
    // signal delivered to another thread at that moment would be lost.
    runtime.enable_all().on_thread_start(block_signals).build().map_err(ListenError::System)
}
