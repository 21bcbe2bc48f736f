//! Handlers that a program registers: code of users, which may block its thread, panic, or never return.

use std::any::Any;
use std::fmt::{self, Display, Write};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::handler::{AnyHandler, HandlerError, NamedHandler, Snapshot, SnapshotHandler};
use crate::sanitize;

/// Longest run of a handler before it counts as failed.
const RUN_TIMEOUT: Duration = Duration::from_secs(10);
/// Name of the threads of registered handlers.
pub const REGISTERED_THREAD: &str = "snapshot-handler";

/// Most characters of the error of a handler.
const MAX_ERROR: usize = 200;
/// Longest name of a handler.
const MAX_NAME: usize = 60;

/// The first name that no handler can have, and why: names are labels of metrics and words of log lines.
#[must_use]
pub fn name_fault(handlers: &[NamedHandler]) -> Option<(String, &'static str)> {
    let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    // The configuration names its handlers by type and number.
    let is_configured = |name: &str| {
        let (kind, number) = name.rsplit_once('-').unwrap_or_default();
        !kind.is_empty() && !kind.contains('-') && number.parse::<u32>().is_ok()
    };
    handlers.iter().enumerate().find_map(|(index, NamedHandler { name, .. })| {
        let why = if name.is_empty() || name.len() > MAX_NAME || !is_plain(name) {
            "use 1 to 60 of the characters A-Z a-z 0-9 _ - ."
        } else if is_configured(name) {
            "a handler of the configuration may have it: use one that is not a word, a hyphen and a number"
        } else if handlers[..index].iter().any(|other| other.name == *name) {
            "another handler has it"
        } else {
            return None;
        };
        Some((excerpt(name), why))
    })
}

/// The start of a text on one line. A user's `Display` may write without end.
fn excerpt(text: impl Display) -> String {
    let mut start = Start(String::new());
    let is_whole = write!(start, "{text}").is_ok();
    let line = sanitize::line(start.0.trim());
    if is_whole { line.into_owned() } else { format!("{line}…") }
}

/// Takes so many characters.
struct Start(String);

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_ERROR.saturating_sub(self.0.chars().count());
        self.0.extend(text.chars().take(room));
        if text.chars().nth(room).is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Puts a registered handler on a thread of its own, which the first snapshot starts.
#[must_use]
pub fn on_own_thread(NamedHandler { name, handler }: &NamedHandler) -> NamedHandler {
    let state = State { thread: None, running: None };
    let registered = RegisteredHandler { handler: Arc::clone(handler), state: Mutex::new(state) };
    NamedHandler { name: Arc::clone(name), handler: Arc::new(registered) }
}

struct RegisteredHandler {
    handler: Arc<dyn AnyHandler>,
    state: Mutex<State>,
}

struct State {
    /// The queue of the thread, once it runs.
    thread: Option<mpsc::UnboundedSender<Call>>,
    /// The result of a run that has exceeded its time or whose caller has gone.
    running: Option<oneshot::Receiver<Result<(), HandlerError>>>,
}

struct Call {
    snapshot: Snapshot,
    result: oneshot::Sender<Result<(), HandlerError>>,
}

impl SnapshotHandler for RegisteredHandler {
    async fn handle(&self, snapshot: Snapshot) -> Result<(), HandlerError> {
        let mut state = self.state.lock().await;
        // A run that has not returned is waited for: there is one at a time.
        if state.running.is_some() {
            let _ = state.finish().await?;
        }
        let thread = state
            .thread(&self.handler)
            .map_err(|error| format!("its thread could not be started: {error}"))?;
        let (result, on_result) = oneshot::channel();
        // The result says whether the thread has ended.
        let _ = thread.send(Call { snapshot, result });
        state.running = Some(on_result);
        state.finish().await?
    }
}

impl State {
    fn thread(&mut self, handler: &Arc<dyn AnyHandler>) -> io::Result<&mpsc::UnboundedSender<Call>> {
        if self.thread.is_none() {
            self.thread = Some(start_thread(Arc::clone(handler))?);
        }
        self.thread.as_ref().ok_or_else(|| io::Error::other("no thread"))
    }

    /// Waits for the run, within its time. A dropped wait can be taken up again.
    async fn finish(&mut self) -> Result<Result<(), HandlerError>, HandlerError> {
        let Some(running) = &mut self.running else { return Ok(Ok(())) };
        let result = timeout(RUN_TIMEOUT, running).await.map_err(|_| {
            format!("no return within {} s: snapshots are left out until it returns", RUN_TIMEOUT.as_secs())
        })?;
        self.running = None;
        Ok(result.unwrap_or_else(|_| Err("its thread has ended: restart the master".into())))
    }
}

/// Starts the thread of a handler. It ends when its queue is closed, unless the handler never returns.
fn start_thread(handler: Arc<dyn AnyHandler>) -> io::Result<mpsc::UnboundedSender<Call>> {
    let (calls, mut on_call) = mpsc::unbounded_channel::<Call>();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(REGISTERED_THREAD.to_owned()).spawn(move || {
        runtime.block_on(async {
            while let Some(Call { snapshot, result }) = on_call.recv().await {
                let handler = Arc::clone(&handler);
                // The text of an error is code of the user, too.
                let run = async move { handler.handle_any(snapshot).await.map_err(excerpt) };
                let ended = match tokio::spawn(run).await {
                    Ok(ended) => ended,
                    Err(error) => Err(match error.try_into_panic() {
                        Ok(panic) => panic_text(panic.as_ref()),
                        Err(error) => error.to_string(),
                    }),
                };
                // The caller may have gone with its channel.
                let _ = result.send(ended.map_err(HandlerError::from));
            }
        });
    })?;
    Ok(calls)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    excerpt(format_args!("panicked: {}", text.unwrap_or("a value that is not text")))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;
    use std::sync::mpsc as std_mpsc;

    use super::*;
    use crate::snapshot::Recent;
    use crate::store::JobCounts;

    /// Panics with one waiting job, blocks its thread with two until it is released, fails with a flood with three, else succeeds.
    struct Odd(StdMutex<std_mpsc::Receiver<()>>);

    impl SnapshotHandler for Odd {
        async fn handle(&self, snapshot: Snapshot) -> Result<(), HandlerError> {
            match snapshot.status.waiting {
                0 => Ok(()),
                1 => panic!("too few jobs"),
                3 => Err("\u{1b}[2J\nä".repeat(1_000_000).into()),
                _ => self.0.lock().unwrap().recv().map_err(HandlerError::from),
            }
        }
    }

    fn snapshot(waiting: u64) -> Snapshot {
        let counts = JobCounts { waiting, ..JobCounts::default() };
        Snapshot::now(&"mail".into(), counts, None, Recent::default())
    }

    #[tokio::test]
    async fn panic_and_hang_are_failures_and_the_next_run_succeeds() {
        let (release, on_release) = std_mpsc::channel();
        let odd = NamedHandler { name: "odd".into(), handler: Arc::new(Odd(StdMutex::new(on_release))) };
        let handler = on_own_thread(&odd).handler;
        let error = |result: Result<(), HandlerError>| result.unwrap_err().to_string();
        assert_eq!(error(handler.handle_any(snapshot(1)).await), "panicked: too few jobs");
        // The clock of the test advances while the test waits.
        tokio::time::pause();
        for _ in 0..2 {
            let said = error(handler.handle_any(snapshot(2)).await);
            assert!(said.starts_with("no return within 10 s"), "{said}");
        }
        release.send(()).unwrap();
        tokio::time::resume();
        handler.handle_any(snapshot(0)).await.unwrap();
    }

    #[tokio::test]
    async fn error_is_cut_and_on_one_line() {
        let (_release, on_release) = std_mpsc::channel();
        let odd = NamedHandler { name: "odd".into(), handler: Arc::new(Odd(StdMutex::new(on_release))) };
        let said = on_own_thread(&odd).handler.handle_any(snapshot(3)).await.unwrap_err().to_string();
        assert!(said.starts_with("\\u{1b}[2J\\nä") && said.ends_with('…'), "{said}");
        assert!(said.len() < 1_000 && !said.contains(char::is_control), "{said}");
    }

    #[test]
    fn unusable_names_are_found() {
        let fault = |names: &[&str]| {
            let (_, on_release) = std_mpsc::channel();
            let handler: Arc<dyn AnyHandler> = Arc::new(Odd(StdMutex::new(on_release)));
            let named = |name: &&str| NamedHandler { name: (*name).into(), handler: Arc::clone(&handler) };
            name_fault(&names.iter().map(named).collect::<Vec<_>>())
        };
        assert_eq!(fault(&["statsd", "graph.v2", "my-graph-7", "x-y"]), None);
        for name in ["", "a b", "ä", "a\n", &"x".repeat(61), &"y".repeat(1_000_000)] {
            let (shown, why) = fault(&["good", name]).unwrap();
            assert!(why.starts_with("use 1 to 60") && shown.len() < 300 && !shown.contains('\n'), "{shown}");
        }
        assert_eq!(fault(&["a", "b", "a"]), Some(("a".to_owned(), "another handler has it")));
        assert!(fault(&["webhook-1"]).unwrap().1.starts_with("a handler of the configuration may have it"));
    }
}
