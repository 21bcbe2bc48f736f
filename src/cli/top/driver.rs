//! Runs `queue:top` on a terminal: one thread reads the terminal, one takes readings, one waits for signals; the main thread joins
//! their events, changes the state, and draws.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use ratatui::crossterm::event as terminal;
use tokio::signal::unix::{SignalKind, signal};

use super::actions::Action;
use super::collector::{Collect, collect};
use super::keys::update;
use super::screen::Screen;
use super::state::{Effect, Event, State};
use super::view;
use crate::cli::{CommandContext, Exit, Failure};

/// Time between two frames without an event: the seconds of a message pass.
const TICK: Duration = Duration::from_secs(1);
const DOING: &str = "show the channels";
/// Names a key that panics, for the test of the terminal after a panic; in debug builds only.
#[cfg(debug_assertions)]
const PANIC_VARIABLE: &str = "AINT_QUEUE_TEST_TOP_PANIC";

/// A message to the main thread.
enum Message {
    Event(Event),
    /// A signal that ends the command.
    End,
    /// A stop of the process is asked for.
    Stop,
    /// The process continues after a stop.
    Continue,
    /// The terminal cannot be read any more.
    Closed,
    /// A thread has ended with a panic.
    Broken,
}

/// Reports the panic of a thread to the main thread.
struct Watch(Sender<Message>);

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            // Without a receiver the command has ended.
            let _ = self.0.send(Message::Broken);
        }
    }
}

/// Shows the state until the user quits.
pub(super) fn run(
    context: &CommandContext,
    mut state: State,
    mut collector: Box<dyn Collect + Send>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failed, DOING).because(error);
    let (sender, messages) = mpsc::channel();
    wait_for_signals(sender.clone()).map_err(failed)?;
    let mut screen = Screen::take().map_err(failed)?;
    read_terminal(sender.clone()).map_err(failed)?;
    let (wishes, wanted) = mpsc::channel();
    let watch = Watch(sender.clone());
    let reader = thread::Builder::new().name("readings".to_owned()).spawn(move || {
        let watch = watch;
        collect(&mut *collector, &wanted, |reading| {
            watch.0.send(Message::Event(Event::Reading(Box::new(reading)))).is_ok()
        });
    });
    reader.map_err(failed)?;
    let mut last_wish = state.wanted();
    let _ = wishes.send(last_wish.clone());
    loop {
        let now = Instant::now();
        let mut places = Vec::new();
        screen.draw(|buffer| places = view::draw(&state, buffer, now)).map_err(failed)?;
        state.places = places;
        let first = match messages.recv_timeout(TICK) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => Message::Event(Event::Tick),
            Err(RecvTimeoutError::Disconnected) => Message::Broken,
        };
        for message in std::iter::once(first).chain(messages.try_iter()) {
            let effects = match message {
                Message::Event(event) => update(&mut state, event, Instant::now()),
                Message::End | Message::Closed => vec![Effect::Quit],
                Message::Stop => vec![Effect::Suspend],
                Message::Continue => {
                    screen.take_again().map_err(failed)?;
                    Vec::new()
                }
                Message::Broken => {
                    return Err(Failure::new(Exit::Failed, DOING).because("a part of the command panicked"));
                }
            };
            for effect in effects {
                match effect {
                    Effect::Quit => return Ok(()),
                    Effect::Act(action) => act(context, action, sender.clone()).map_err(failed)?,
                    Effect::Copy(command) => {
                        let command = format!("{} {command}", context.program().name);
                        screen.copy(&command).map_err(failed)?;
                        state.say(format!("Copied: {command}"), false, Instant::now());
                    }
                    Effect::Mouse(has_mouse) => screen.set_mouse(has_mouse).map_err(failed)?,
                    Effect::Suspend => suspend(&mut screen).map_err(failed)?,
                }
            }
        }
        let wish = state.wanted();
        if wish != last_wish {
            let _ = wishes.send(wish.clone());
            last_wish = wish;
        }
    }
}

/// Gives the terminal back and stops the process until its shell continues it.
fn suspend(screen: &mut Screen) -> io::Result<()> {
    super::screen::give_back();
    raise(Signal::SIGSTOP)?;
    screen.take_again()
}

/// Carries out an action on a thread of its own: a cancel may take long.
fn act(context: &CommandContext, action: Action, sender: Sender<Message>) -> io::Result<()> {
    let twin = context.silent_twin();
    thread::Builder::new().name("action".to_owned()).spawn(move || {
        let watch = Watch(sender);
        let result = action.carry_out(&twin).map_err(|failure| failure.to_string().replace('\n', " · "));
        let _ = watch.0.send(Message::Event(Event::Acted(result)));
    })?;
    Ok(())
}

/// Reads keys and the mouse on a thread, which ends with the process.
fn read_terminal(sender: Sender<Message>) -> io::Result<()> {
    thread::Builder::new().name("terminal".to_owned()).spawn(move || {
        let watch = Watch(sender);
        loop {
            let message = match terminal::read() {
                Ok(terminal::Event::Key(key)) => {
                    #[cfg(debug_assertions)]
                    assert!(
                        key.code != terminal::KeyCode::F(12) || std::env::var_os(PANIC_VARIABLE).is_none(),
                        "the test asked for a panic"
                    );
                    Message::Event(Event::Key(key))
                }
                Ok(terminal::Event::Mouse(mouse)) => Message::Event(Event::Mouse(mouse)),
                Ok(_) => Message::Event(Event::Resized),
                Err(_) => Message::Closed,
            };
            let is_last = matches!(message, Message::Closed);
            if watch.0.send(message).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(())
}

/// Waits for signals on a thread.
fn wait_for_signals(sender: Sender<Message>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::from_raw(Signal::SIGTSTP as i32))?,
            signal(SignalKind::from_raw(Signal::SIGCONT as i32))?,
        ]
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let [terminated, interrupted, hung_up, stopped, continued] = &mut signals;
            loop {
                let message = tokio::select! {
                    _ = terminated.recv() => Message::End,
                    _ = interrupted.recv() => Message::End,
                    _ = hung_up.recv() => Message::End,
                    _ = stopped.recv() => Message::Stop,
                    _ = continued.recv() => Message::Continue,
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
    })?;
    Ok(())
}
