//! The keys and the mouse of `queue:top`: each event changes the state, and may have an effect outside of it. Pure.

use std::time::Instant;

use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::actions::{Action, Order};
use super::reading::{Pane, TextKind};
use super::state::{Effect, Event, Prompt, State, Target};

/// Rows of a page.
const PAGE: isize = 10;
/// Longest line that is typed.
const MAX_TYPED: usize = 200;

/// The keys, for the help.
pub(super) const KEYS: [(&str, &str); 24] = [
    ("↑ ↓  j k", "row; in a text: scroll"),
    ("← →", "channel"),
    ("Tab  1-8", "list"),
    ("Enter  Esc", "open the job, back"),
    ("o t w", "output, processes, why"),
    ("/", "filter; ! inverts"),
    (":", "jump: channel, job, list"),
    ("s S", "order by column, reverse"),
    ("Space", "mark a job"),
    ("r", "retry failed jobs"),
    ("x", "remove failed jobs"),
    ("c", "cancel the job"),
    ("u", "undo within 8 s"),
    ("p", "pause, resume"),
    ("Q", "quiet"),
    ("+ -", "more, fewer workers"),
    ("R", "reload"),
    ("y", "copy as a command"),
    ("v", "only troubles"),
    ("z", "freeze"),
    ("< >", "pace of readings"),
    ("m", "mouse on, off"),
    ("?", "keys"),
    ("q  Ctrl-C", "quit"),
];

/// Changes the state by an event.
pub(super) fn update(state: &mut State, event: Event, now: Instant) -> Vec<Effect> {
    let effect = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => on_key(state, key, now),
        Event::Mouse(mouse) => on_mouse(state, mouse, now),
        Event::Reading(reading) => {
            state.take(*reading);
            None
        }
        Event::Acted(result) => {
            match result {
                Ok(text) => state.say(text, false, now),
                Err(text) => state.say(text, true, now),
            }
            None
        }
        Event::Key(_) | Event::Resized | Event::Tick => None,
    };
    effect.into_iter().chain(state.tick(now)).collect()
}

fn on_key(state: &mut State, key: KeyEvent, now: Instant) -> Option<Effect> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Effect::Quit),
            KeyCode::Char('z') => Some(Effect::Suspend),
            _ => None,
        };
    }
    if state.question.is_some() {
        return answered(state, key.code, now);
    }
    if state.prompt.is_some() {
        typed(state, key.code, now);
        return None;
    }
    if state.help {
        state.help = false;
        return None;
    }
    match key.code {
        KeyCode::Up => state.step_row(-1),
        KeyCode::Down => state.step_row(1),
        KeyCode::PageUp => state.step_row(-PAGE),
        KeyCode::PageDown => state.step_row(PAGE),
        KeyCode::Home => state.step_row(isize::MIN / 2),
        KeyCode::End => state.step_row(isize::MAX / 2),
        KeyCode::Left => state.step_channel(-1),
        KeyCode::Right => state.step_channel(1),
        KeyCode::Tab => step_pane(state, 1),
        KeyCode::BackTab => step_pane(state, Pane::ALL.len() - 1),
        KeyCode::Enter => state.open_text(TextKind::Details, now),
        KeyCode::Esc => back(state),
        KeyCode::Char(letter) => return on_letter(state, letter, now),
        _ => {}
    }
    None
}

fn on_letter(state: &mut State, letter: char, now: Instant) -> Option<Effect> {
    match letter {
        'j' => state.step_row(1),
        'k' => state.step_row(-1),
        '1'..='8' => state.choose_pane(Pane::ALL[letter as usize - '1' as usize]),
        'o' | 'l' => state.open_text(TextKind::Output, now),
        't' => state.open_text(TextKind::Processes, now),
        'w' => state.open_text(TextKind::Why, now),
        '/' => state.prompt = Some((Prompt::Filter, state.filter.clone())),
        ':' => state.prompt = Some((Prompt::Jump, String::new())),
        's' => state.step_sort(),
        'S' => {
            if let Some((_, is_reverse)) = &mut state.sort {
                *is_reverse = !*is_reverse;
            }
        }
        ' ' => mark(state),
        'r' => state.ask(Order::Retry(state.chosen_jobs()), now),
        'x' => state.ask(Order::Remove(state.chosen_jobs()), now),
        'c' => match state.chosen_jobs().first() {
            Some(id) => state.ask(Order::Cancel(*id), now),
            None => state.say("No job is chosen.", true, now),
        },
        'u' => state.undo(now),
        'p' => state.ask(pause_or_resume(state), now),
        'Q' => state.ask(Order::Quiet, now),
        '+' => state.ask(Order::Scale(1), now),
        '-' => state.ask(Order::Scale(-1), now),
        'R' => state.ask(Order::Reload, now),
        'y' => return Some(Effect::Copy(command(state))),
        'v' => {
            state.only_trouble = !state.only_trouble;
            state.step_channel(0);
        }
        'z' => state.frozen = !state.frozen,
        '<' => state.step_period(1),
        '>' => state.step_period(-1),
        'm' => {
            state.mouse = !state.mouse;
            return Some(Effect::Mouse(state.mouse));
        }
        '?' => state.help = true,
        'q' => return Some(Effect::Quit),
        _ => {}
    }
    None
}

fn step_pane(state: &mut State, by: usize) {
    let now = Pane::ALL.iter().position(|pane| *pane == state.pane).unwrap_or(0);
    state.choose_pane(Pane::ALL[(now + by) % Pane::ALL.len()]);
}

/// Closes what was opened last.
fn back(state: &mut State) {
    if state.open.take().is_some() {
        state.scroll = 0;
    } else if !state.marked.is_empty() {
        state.marked.clear();
    } else {
        state.filter.clear();
    }
}

fn mark(state: &mut State) {
    if let Some(job) = state.chosen_row().and_then(|row| row.job) {
        if !state.marked.remove(&job) {
            state.marked.insert(job);
        }
        state.step_row(1);
    }
}

fn pause_or_resume(state: &State) -> Order {
    use super::reading::StateWord::{Paused, Quiet};
    let channel = state.reading.as_ref().and_then(|reading| reading.channel(&state.channel));
    let is_held = channel.is_some_and(|channel| {
        matches!(channel.state, Paused | Quiet) || channel.status.as_ref().is_some_and(|status| status.quiet)
    });
    if is_held { Order::Resume } else { Order::Pause }
}

/// The command about the chosen job or channel.
fn command(state: &State) -> String {
    let channel = &state.channel;
    match state.chosen_jobs().first() {
        Some(id) => format!("queue:show {id} --channel {channel}"),
        None => format!("queue:status --channel {channel}"),
    }
}

fn answered(state: &mut State, key: KeyCode, now: Instant) -> Option<Effect> {
    match key {
        KeyCode::Char('y' | 'Y') => return state.confirm(now),
        KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => {
            if let Some(Action { .. }) = state.question.take() {
                state.say("Nothing was done.", false, now);
            }
        }
        _ => {}
    }
    None
}

fn typed(state: &mut State, key: KeyCode, now: Instant) {
    let Some((prompt, mut text)) = state.prompt.take() else { return };
    match key {
        KeyCode::Esc => return,
        KeyCode::Enter => {
            match prompt {
                Prompt::Filter => {
                    state.filter = text;
                    state.row = 0;
                }
                Prompt::Jump => state.jump(&text, now),
            }
            return;
        }
        KeyCode::Backspace => drop(text.pop()),
        KeyCode::Char(letter) if text.len() < MAX_TYPED => text.push(letter),
        _ => {}
    }
    state.prompt = Some((prompt, text));
}

fn on_mouse(state: &mut State, mouse: MouseEvent, now: Instant) -> Option<Effect> {
    match mouse.kind {
        MouseEventKind::ScrollUp => state.step_row(-3),
        MouseEventKind::ScrollDown => state.step_row(3),
        MouseEventKind::Down(MouseButton::Left) => {
            let is_modal = state.question.is_some() || state.prompt.is_some();
            match state.target(mouse.column, mouse.row) {
                Some(Target::Key(key)) => {
                    return on_key(state, KeyEvent::new(key_code(key), KeyModifiers::NONE), now);
                }
                _ if is_modal => {}
                Some(Target::Channel(name)) => state.choose_channel(name),
                Some(Target::Pane(pane)) => state.choose_pane(pane),
                Some(Target::Column(column)) => state.sort_by(column),
                // The second click on a row opens it.
                Some(Target::Row(row)) if row == state.row => state.open_text(TextKind::Details, now),
                Some(Target::Row(row)) => state.row = row,
                None => {}
            }
        }
        _ => {}
    }
    None
}

/// The key behind a sign in the foot.
fn key_code(sign: char) -> KeyCode {
    match sign {
        '⏎' => KeyCode::Enter,
        '⎋' => KeyCode::Esc,
        letter => KeyCode::Char(letter),
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
