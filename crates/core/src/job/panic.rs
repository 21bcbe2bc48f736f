//! Turns panics of handlers into errors that name their location.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};

use super::JobError;

thread_local! {
    /// Location of this thread's last panic; the payload from `catch_unwind` lacks it.
    static LAST_PANIC_LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Installs a panic hook that records the location and then calls the previous hook.
#[doc(hidden)]
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // A panic during thread exit finds the thread-local destroyed; its location is lost.
            let _ =
                LAST_PANIC_LOCATION.try_with(|place| place.replace(info.location().map(ToString::to_string)));
            print(info);
        }));
    });
}

/// Runs `act`; a panic becomes an error.
#[doc(hidden)]
pub fn catch_panic<T>(act: impl FnOnce() -> Result<T, JobError>) -> Result<T, JobError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| Err(panic_error(panic.as_ref())))
}

/// A future whose panic becomes an error.
#[doc(hidden)]
pub struct CatchPanic<F>(pub(crate) Pin<Box<F>>)
where
    F: Future<Output = Result<(), JobError>> + ?Sized;

impl<F: Future<Output = Result<(), JobError>> + ?Sized> Future for CatchPanic<F> {
    type Output = Result<(), JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(polled) => polled,
            Err(panic) => Poll::Ready(Err(panic_error(panic.as_ref()))),
        }
    }
}

fn panic_error(panic: &(dyn Any + Send)) -> JobError {
    let message = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned());
    let place = LAST_PANIC_LOCATION.take().map(|p| format!(" at {p}")).unwrap_or_default();
    JobError::from(format!("panicked{place}: {message}"))
}
