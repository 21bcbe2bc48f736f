//! The thread of snapshot handlers: a handler that is slow must not delay the master's own thread.

use std::io;
use std::sync::Mutex;

use aint_queue_core::mutex::lock;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread for the handlers of all channels, started with the first one. Its runtime ends with this value.
#[derive(Debug, Default)]
pub struct HandlerThread(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    runtime: Handle,
    /// Dropped with the owner, which ends the thread.
    _stop: oneshot::Sender<()>,
}

impl HandlerThread {
    /// The runtime of the thread, which is started at the first call.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn runtime(&self) -> io::Result<Handle> {
        let mut running = lock(&self.0);
        if let Some(Running { runtime, .. }) = &*running {
            return Ok(runtime.clone());
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("snapshots".to_owned()).spawn(move || {
            // An error is the end of the owner.
            let _ = runtime.block_on(stopped);
            // A write to a file system that hangs must not hold up the end of the master.
            runtime.shutdown_background();
        })?;
        *running = Some(Running { runtime: handle.clone(), _stop: stop });
        Ok(handle)
    }
}
