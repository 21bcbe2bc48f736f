//! Keys and clicks: the changes of the state, and the effects.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::*;
use crate::cli::top::fixed_reading::state;
use crate::cli::top::reading::{OpenText, WantedText};
use crate::cli::top::state::Settings;
use crate::cli::top::view;
use crate::job::JobId;

/// Types the letters of a text; `\n` is Enter, `\t` is Tab, `\x1b` is Esc, `\x08` is Backspace.
fn press(state: &mut State, keys: &str, now: Instant) -> Vec<Effect> {
    let code = |key| match key {
        '\n' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        '\x1b' => KeyCode::Esc,
        '\x08' => KeyCode::Backspace,
        letter => KeyCode::Char(letter),
    };
    let events = keys.chars().map(|key| Event::Key(KeyEvent::new(code(key), KeyModifiers::NONE)));
    events.flat_map(|event| update(state, event, now)).collect()
}

fn order(effects: &[Effect]) -> Option<&Order> {
    match effects {
        [Effect::Act(action)] => Some(&action.order),
        _ => None,
    }
}

#[test]
fn actions_ask_first() {
    let now = Instant::now();
    for (key, expected) in [
        ("p", Order::Pause),
        ("Q", Order::Quiet),
        ("+", Order::Scale(1)),
        ("-", Order::Scale(-1)),
        ("R", Order::Reload),
        ("c", Order::Cancel(JobId(1_796_029_195_900_001))),
        ("3r", Order::Retry(vec![JobId(1_796_029_100_000_001)])),
        ("3  r", Order::Retry(vec![JobId(1_796_029_100_000_001), JobId(1_796_029_100_000_002)])),
    ] {
        let mut state = state();
        assert_eq!(press(&mut state, key, now), [], "{key}");
        assert!(state.question.is_some(), "{key}");
        assert_eq!(press(&mut state, "jq", now), [], "any other key is no answer, and q is no");
        assert!(state.question.is_none());
        let effects = press(&mut state, &key[key.len() - 1..], now);
        assert_eq!(effects, []);
        assert_eq!(order(&press(&mut state, "y", now)), Some(&expected), "{key}");
    }
}

#[test]
fn read_only_view_has_no_action() {
    let now = Instant::now();
    let mut state = state();
    state.settings = Settings { read_only: true, ..state.settings };
    for key in ["p", "Q", "+", "-", "R", "c", "3r", "x"] {
        assert_eq!(press(&mut state, key, now), []);
        assert!(state.question.is_none(), "{key}");
        assert_eq!(press(&mut state, "y", now).len(), 1, "only a copy");
    }
}

#[test]
fn removal_is_held_and_can_be_undone() {
    let now = Instant::now();
    let mut state = state();
    assert_eq!(press(&mut state, "3xy", now), []);
    assert!(state.message(now).unwrap().0.contains("u undoes"));
    assert_eq!(update(&mut state, Event::Tick, now + Duration::from_secs(7)), []);
    let effects = update(&mut state, Event::Tick, now + Duration::from_secs(9));
    assert_eq!(order(&effects), Some(&Order::Remove(vec![JobId(1_796_029_100_000_001)])));
    assert_eq!(press(&mut state, "xyu", now), []);
    assert_eq!(update(&mut state, Event::Tick, now + Duration::from_secs(60)), []);
}

#[test]
fn paused_channel_is_resumed() {
    let now = Instant::now();
    let mut state = state();
    press(&mut state, ":mail\n", now);
    assert_eq!(state.channel, "mail");
    assert_eq!(order(&press(&mut state, "py", now)), Some(&Order::Resume));
}

#[test]
fn jump_finds_lists_jobs_and_channels() {
    let now = Instant::now();
    let mut state = state();
    press(&mut state, ":failed\n", now);
    assert_eq!(state.pane, Pane::Failed);
    press(&mut state, ":rxx\x08\x08epo\n", now);
    assert_eq!(state.channel, "reports");
    press(&mut state, ":1796029100000001\n", now);
    assert_eq!(state.open.map(|open| open.job), Some(JobId(1_796_029_100_000_001)));
    press(&mut state, ":nothing of the kind\n", now);
    assert!(state.message(now).unwrap().1);
    press(&mut state, ":de\x1b", now);
    assert_eq!(state.channel, "reports", "Esc drops the line");
}

#[test]
fn collector_is_asked_for_what_is_shown() {
    let now = Instant::now();
    let mut state = state();
    press(&mut state, "3/time\n", now);
    let wanted = state.wanted();
    assert_eq!((wanted.pane, wanted.search.as_str(), wanted.period_ms), (Pane::Failed, "time", 1_000));
    press(&mut state, "/\x08\x08\x08\x08!connect\n", now);
    assert_eq!(state.wanted().search, "", "the store knows no inversion");
    assert_eq!(state.table().rows.len(), 1);
    press(&mut state, "<z", now);
    assert_eq!(state.wanted().period_ms, 0, "frozen");
    press(&mut state, "z\x1b\n", now);
    assert_eq!((state.wanted().period_ms, state.wanted().text.is_some()), (2_000, true));
}

#[test]
fn text_of_an_earlier_wish_is_not_shown() {
    let now = Instant::now();
    let mut state = state();
    press(&mut state, "o", now);
    let open = state.open.unwrap();
    let text = |wanted| Some(OpenText { wanted, lines: vec!["line".to_owned()] });
    let chosen = state.reading.as_mut().unwrap().chosen.as_mut().unwrap();
    chosen.text = text(WantedText { kind: TextKind::Details, ..open });
    assert_eq!(state.text(), None);
    state.reading.as_mut().unwrap().chosen.as_mut().unwrap().text = text(open);
    assert!(state.text().is_some());
}

#[test]
fn order_follows_the_keys() {
    let now = Instant::now();
    let mut state = state();
    let pids = |state: &State| state.table().rows.iter().map(|row| row.pid.unwrap()).collect::<Vec<_>>();
    press(&mut state, "s", now);
    assert_eq!(pids(&state), [27_082, 27_083, 27_090]);
    press(&mut state, "S", now);
    assert_eq!(pids(&state), [27_090, 27_083, 27_082]);
    press(&mut state, "\t", now);
    assert_eq!(state.sort, None, "another list has other columns");
}

#[test]
fn jobs_of_another_list_or_channel_are_never_chosen() {
    let now = Instant::now();
    let mut state = state();
    press(&mut state, "3", now);
    assert_eq!(state.chosen_jobs().len(), 1);
    press(&mut state, "4", now);
    assert_eq!(state.chosen_jobs(), [], "the rows are those of the failed jobs");
    press(&mut state, "3:mail\nr", now);
    assert_eq!((state.chosen_jobs(), &state.question), (vec![], &None));
}

#[test]
fn troubles_alone_are_shown() {
    let now = Instant::now();
    let mut state = state();
    press(&mut state, "v", now);
    let names: Vec<_> = state.channels().iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["legacy", "mail", "reports"]);
}

#[test]
fn control_keys_quit_and_suspend() {
    let now = Instant::now();
    let mut state = state();
    let control = |letter| Event::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL));
    press(&mut state, "p", now);
    assert_eq!(update(&mut state, control('z'), now), [Effect::Suspend]);
    assert_eq!(update(&mut state, control('c'), now), [Effect::Quit]);
    assert_eq!(press(&mut state, "nq", now), [Effect::Quit]);
}

#[test]
fn clicks_choose_what_is_under_them() {
    let now = Instant::now();
    let mut state = state();
    let click = |state: &mut State, wanted: &Target| {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 40));
        state.places = view::draw(state, &mut buffer, now);
        let (area, _) = state.places.iter().find(|(_, target)| target == wanted).unwrap().clone();
        let kind = MouseEventKind::Down(MouseButton::Left);
        let mouse = MouseEvent { kind, column: area.x + 1, row: area.y, modifiers: KeyModifiers::NONE };
        update(state, Event::Mouse(mouse), now)
    };
    click(&mut state, &Target::Channel("mail".to_owned()));
    assert_eq!(state.channel, "mail");
    click(&mut state, &Target::Channel("default".to_owned()));
    click(&mut state, &Target::Row(1));
    assert_eq!((state.row, state.open), (1, None));
    click(&mut state, &Target::Column(0));
    assert_eq!(state.sort, Some((0, false)));
    state.row = 0;
    click(&mut state, &Target::Row(0));
    assert!(state.open.is_some(), "the second click opens");
    click(&mut state, &Target::Key('⎋'));
    click(&mut state, &Target::Pane(Pane::Failed));
    assert_eq!(state.pane, Pane::Failed);
    click(&mut state, &Target::Key('p'));
    assert!(state.question.is_some());
    assert_eq!(order(&click(&mut state, &Target::Key('y'))), Some(&Order::Pause));
}
