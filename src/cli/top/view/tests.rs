//! Frames of a fixed reading at four sizes.

use ratatui::backend::TestBackend;
use ratatui::{Terminal, buffer::Buffer};

use super::*;
use crate::cli::top::fixed_reading::{HOSTILE, state};
use crate::cli::top::reading::{OpenText, TextKind, WantedText};
use crate::job::JobId;

/// The frame on a terminal of this size.
fn frame(state: &State, columns: u16, rows: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| drop(draw(state, frame.buffer_mut(), Instant::now()))).unwrap();
    terminal.backend().buffer().clone()
}

fn shown(state: &State, columns: u16, rows: u16) -> String {
    plain_text(&frame(state, columns, rows))
}

#[test]
fn usual_terminal() {
    insta::assert_snapshot!(shown(&state(), 80, 24));
}

#[test]
fn wide_terminal_has_the_open_job_beside_the_list() {
    let mut state = state();
    state.pane = Pane::Failed;
    let wanted = WantedText { kind: TextKind::Details, job: JobId(1_796_029_100_000_001), pid: None };
    state.open = Some(wanted);
    let lines = (0..50).map(|n| format!("line {n}\tof {HOSTILE}")).collect();
    state.reading.as_mut().unwrap().chosen.as_mut().unwrap().text = Some(OpenText { wanted, lines });
    insta::assert_snapshot!(shown(&state, 160, 50));
}

#[test]
fn small_terminal_has_the_list_alone() {
    insta::assert_snapshot!(shown(&state(), 60, 16));
}

#[test]
fn ascii_terminal() {
    let mut state = state();
    state.settings.ascii = true;
    let shown = shown(&state, 80, 24);
    assert!(shown.is_ascii(), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn question_and_help_lie_over_the_frame() {
    let mut state = state();
    state.question = Some(crate::cli::top::actions::Action {
        channel: "default".to_owned(),
        order: crate::cli::top::actions::Order::Pause,
    });
    let text = shown(&state, 80, 24);
    assert!(text.lines().last().unwrap().contains("Pause \"default\" on all machines"), "{text}");
    state.help = true;
    insta::assert_snapshot!(shown(&state, 80, 24));
}

#[test]
fn every_list_fits_every_size() {
    for (columns, rows) in [(80, 24), (160, 50), (60, 16), (40, 10), (20, 5), (1, 1), (200, 12), (30, 60)] {
        for pane in Pane::ALL {
            let mut state = state();
            (state.pane, state.row) = (pane, 1);
            for help in [false, true] {
                state.help = help;
                let text = shown(&state, columns, rows);
                assert_eq!(text.lines().count(), usize::from(rows));
                for line in text.lines() {
                    assert!(
                        console::measure_text_width(line) <= usize::from(columns),
                        "{pane:?} {columns}: {line}"
                    );
                }
            }
        }
    }
}

#[test]
fn hostile_text_is_shown_as_text() {
    let wanted = WantedText { kind: TextKind::Output, job: JobId(7), pid: None };
    for pane in Pane::ALL {
        for is_open in [false, true] {
            let mut state = state();
            state.pane = pane;
            for channel in &mut state.reading.as_mut().unwrap().channels {
                channel.name = HOSTILE.to_owned();
            }
            state.channel = HOSTILE.to_owned();
            state.filter = format!("!{HOSTILE}x");
            let chosen = state.reading.as_mut().unwrap().chosen.as_mut().unwrap();
            chosen.channel.name = HOSTILE.to_owned();
            chosen.text = Some(OpenText { wanted, lines: vec![HOSTILE.to_owned()] });
            state.open = is_open.then_some(wanted);
            state.say(HOSTILE, true, Instant::now());
            let text = shown(&state, 160, 50);
            let is_bad = |c: char| c != '\n' && crate::sanitize::line(&c.to_string()) != c.to_string();
            let bad: Vec<_> =
                text.chars().filter(|c| is_bad(*c) && !('\u{2800}'..='\u{28ff}').contains(c)).collect();
            assert!(bad.is_empty(), "{pane:?}: {bad:?}");
            assert!(text.contains("\\u{1b}[2J"), "{text}");
        }
    }
}

#[test]
fn terminal_without_colours_has_none() {
    let mut state = state();
    state.settings.colours = false;
    let plain = frame(&state, 160, 50);
    assert!(plain.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    state.settings.colours = true;
    assert!(frame(&state, 160, 50).content.iter().any(|cell| cell.fg == Color::Green));
}

#[test]
fn values_that_are_not_of_now_say_so() {
    let mut state = state();
    state.reading.as_mut().unwrap().error = Some("no answer within 5 s".to_owned());
    let text = shown(&state, 80, 24);
    assert!(text.contains("stale") && text.contains("no answer within 5 s"), "{text}");
    state.reading.as_mut().unwrap().error = None;
    let chosen = state.reading.as_mut().unwrap().chosen.as_mut().unwrap();
    chosen.channel.counts.as_mut().unwrap().age_seconds = 14.0;
    assert!(shown(&state, 80, 24).contains("Counts are 14.0 s old"));
}
