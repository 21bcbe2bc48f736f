//! The one way in which tests wait for an event: they look for it until it is there or the deadline has passed.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// After this time an event counts as never. The bound is far above what anything takes here, also on a machine that is
/// busy with other tests; a test that promises an event sooner asserts the time it took.
pub(crate) const WAIT_DEADLINE: Duration = Duration::from_secs(180);

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(2);

/// The outcome of one look: the event, or the state found in its place, which a failed test shows.
pub(crate) trait Look {
    type Event;
    type State: Debug;

    fn event(self) -> Result<Self::Event, Self::State>;
}

impl Look for bool {
    type Event = ();
    type State = bool;

    fn event(self) -> Result<(), bool> {
        if self { Ok(()) } else { Err(false) }
    }
}

impl<T> Look for Option<T> {
    type Event = T;
    type State = Option<()>;

    fn event(self) -> Result<T, Option<()>> {
        self.ok_or(None)
    }
}

impl<T, S: Debug> Look for Result<T, S> {
    type Event = T;
    type State = S;

    fn event(self) -> Self {
        self
    }
}

/// Waits until a look finds the event.
pub(crate) fn until<L: Look>(event: &str, mut look: impl FnMut() -> L) -> L::Event {
    let begun = Instant::now();
    loop {
        match look().event() {
            Ok(found) => return found,
            Err(state) => assert!(begun.elapsed() < WAIT_DEADLINE, "waited too long for {event}: {state:?}"),
        }
        std::thread::sleep(INTERVAL);
    }
}

/// [`until`] for asynchronous code.
pub(crate) async fn until_async<L: Look>(event: &str, mut look: impl AsyncFnMut() -> L) -> L::Event {
    let begun = Instant::now();
    loop {
        match look().await.event() {
            Ok(found) => return found,
            Err(state) => assert!(begun.elapsed() < WAIT_DEADLINE, "waited too long for {event}: {state:?}"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
