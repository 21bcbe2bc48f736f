use std::collections::BTreeMap;

use super::*;

/// Values by name, and one series for every window: seconds before the present, and the value.
#[derive(Default)]
struct Known {
    values: BTreeMap<&'static str, f64>,
    series: Vec<(f64, f64)>,
}

impl Values for Known {
    fn value(&self, field: Field) -> Option<f64> {
        self.values.get(field.name()).copied()
    }

    fn window(&self, _: Field, time: Duration) -> Vec<(f64, f64)> {
        self.series.iter().filter(|(ago, _)| *ago <= time.as_secs_f64()).copied().collect()
    }
}

fn known(values: &[(&'static str, f64)]) -> Known {
    Known { values: values.iter().copied().collect(), series: vec![(90.0, 5.0), (60.0, 10.0), (0.0, 40.0)] }
}

fn value(condition: &str, values: &Known) -> Option<bool> {
    condition.parse::<Condition>().unwrap_or_else(|error| panic!("{condition}: {error}")).evaluate(values)
}

fn error(condition: &str) -> (usize, String) {
    let error = condition.parse::<Condition>().unwrap_err();
    (error.column, error.message)
}

#[test]
fn comparisons_and_logic() {
    let now = known(&[("waiting", 1200.0), ("rate_out", 0.0), ("paused", 0.0), ("quiet", 1.0)]);
    for (condition, expected) in [
        ("waiting > 1000", true),
        ("waiting > 1_200", false),
        ("waiting >= 1200 && rate_out == 0", true),
        ("waiting > 1000 and not paused", true),
        ("!quiet || waiting < 5", false),
        ("not (waiting < 5 or quiet)", false),
        ("quiet != paused", true),
        ("quiet == true", true),
        ("true", true),
        // `and` binds more closely than `or`, `not` more closely than both.
        ("true or false and false", true),
        ("not false and false", false),
    ] {
        assert_eq!(value(condition, &now), Some(expected), "{condition}");
    }
}

#[test]
fn arithmetic_follows_the_usual_order() {
    let now = known(&[("waiting", 10.0), ("workers.busy", 4.0)]);
    for condition in [
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "10 - 2 - 3 == 5",
        "12 / 3 / 2 == 2",
        "-waiting == 0 - 10",
        "--waiting == waiting",
        "waiting / workers.busy == 2.5",
        "- 2 * 3 < 0",
    ] {
        assert_eq!(value(condition, &now), Some(true), "{condition}");
    }
}

#[test]
fn literals_have_units() {
    let now = known(&[
        ("oldest_waiting", 90.0),
        ("failure_rate", 0.07),
        ("memory.workers", 200.0 * 1_048_576.0),
        ("stored_bytes", 1e9),
    ]);
    for (condition, expected) in [
        ("oldest_waiting >= 1m30s", true),
        ("oldest_waiting > 1h", false),
        ("oldest_waiting > 89999ms", true),
        // A plain number beside a duration is seconds, beside bytes bytes, beside a share a share.
        ("oldest_waiting > 60", true),
        ("60 < oldest_waiting", true),
        ("oldest_waiting + 10 == 100s", true),
        ("stored_bytes == 1000 * 1000 * 1000", true),
        ("failure_rate > 0.05", true),
        ("failure_rate > 5%", true),
        ("failure_rate < 7.5%", true),
        ("memory.workers > 90% * 200MiB", true),
        ("memory.workers == 0.2 * 1000MiB", true),
        ("stored_bytes == 1GB", true),
        ("memory.workers / stored_bytes < 50%", true),
        ("oldest_waiting / 1m == 1.5", true),
        ("oldest_waiting / 2 == 45s", true),
    ] {
        assert_eq!(value(condition, &now), Some(expected), "{condition}");
    }
}

#[test]
fn unknown_values_decide_nothing() {
    let now = known(&[("waiting", 0.0)]);
    for (condition, expected) in [
        ("oldest_waiting > 60", None),
        ("not (oldest_waiting > 60)", None),
        ("oldest_waiting > 60 or true", Some(true)),
        ("oldest_waiting > 60 or false", None),
        ("false and paused", Some(false)),
        ("paused and false", Some(false)),
        ("paused and true", None),
        ("paused == paused", None),
        ("1 / waiting > 5", None),
        ("waiting / waiting == 1", None),
    ] {
        assert_eq!(value(condition, &now), expected, "{condition}");
    }
}

#[test]
fn windows_look_back() {
    let now = known(&[]);
    for (condition, expected) in [
        ("max(waiting, 1m) == 40", Some(true)),
        ("min(waiting, 2m) == 5", Some(true)),
        ("avg(waiting, 1m) == 25", Some(true)),
        ("delta(waiting, 1m) == 30", Some(true)),
        ("rate(waiting, 60) == 0.5", Some(true)),
        // A window of one sample has no change.
        ("delta(waiting, 10s) >= 0", None),
        ("rate(waiting, 10s) >= 0", None),
        ("max(oldest_waiting, 1h) > 30s", Some(true)),
        ("rate(oldest_waiting, 1m) < 1", Some(true)),
    ] {
        assert_eq!(value(condition, &now), expected, "{condition}");
    }
    let empty = Known::default();
    assert_eq!(value("max(waiting, 1m) > 0", &empty), None);
}

#[test]
fn mistakes_are_named_with_their_column() {
    for (condition, column, message) in [
        ("", 1, "the condition ends here, where a value is expected"),
        ("waiting >", 10, "the condition ends here, where a value is expected"),
        ("waitng > 5", 1, "there is no value \"waitng\": did you mean \"waiting\"?"),
        ("zzzzz > 5", 1, "there is no value \"zzzzz\": docs/alerts.md lists all"),
        ("waiting", 1, "this is a number where true or false is needed: compare it, as in waiting > 100"),
        (
            "oldest_waiting and true",
            1,
            "this is a duration where true or false is needed: compare it, as in waiting > 100",
        ),
        ("paused + 1 > 0", 1, "this is true or false where a number is needed"),
        ("paused > 1", 1, "this is true or false where a number is needed"),
        ("paused > quiet", 8, "true and false have no order: compare them with == or !="),
        ("waiting > 60s", 9, "a number cannot be compared with a duration"),
        ("oldest_waiting > 5MiB", 16, "a duration cannot be compared with a number of bytes"),
        ("oldest_waiting - 5MiB > 0", 16, "a number of bytes cannot be subtracted from a duration"),
        ("failure_rate > 5", 14, "a share is at most 1: write 5 % as 5% or 0.05"),
        ("20 < failure_rate", 4, "a share is at most 1: write 20 % as 20% or 0.2"),
        ("5s * 5s > 0", 4, "a duration cannot be multiplied by a duration"),
        ("5 / 5s > 0", 3, "a number cannot be divided by a duration"),
        ("1 < waiting < 5", 13, "comparisons cannot be chained: write a < b and b < c"),
        ("waiting = 5", 9, "write == to compare"),
        ("paused & quiet", 8, "write &&, or the words \"and\" and \"or\""),
        ("paused quiet", 8, "an operator such as \"and\" or \">\" is missing here"),
        ("paused)", 7, "there is no ( for this )"),
        ("(paused", 8, "a ) is missing here"),
        (
            "waiting > 5parsecs",
            11,
            "\"5parsecs\" has no known unit: durations have ms, s, m, h or d, shares %, bytes B, KiB, MiB, GiB, TiB, kB, MB, GB or TB",
        ),
        (
            "waiting > 1h5",
            11,
            "\"5\" has no known unit: durations have ms, s, m, h or d, shares %, bytes B, KiB, MiB, GiB, TiB, kB, MB, GB or TB",
        ),
        ("waiting > 1.2.3", 11, "\"1.2.3\" is no number: write 1000, 1_000 or 0.05"),
        ("waiting > $5", 11, "\"$\" has no meaning in a condition"),
        ("\u{4f60} > 5", 1, "\"\u{4f60}\" has no meaning in a condition"),
        ("avg waiting > 5", 5, "write avg(field, time), as in avg(waiting, 5m)"),
        ("avg(waiting) > 5", 12, "write avg(field, time), as in avg(waiting, 5m)"),
        ("avg(5, 5m) > 5", 5, "write avg(field, time), as in avg(waiting, 5m)"),
        ("avg(total, 5m) > 5", 5, "the history of a channel has no numbers of \"total\""),
        ("avg(paused, 5m) > 5", 5, "the history of a channel has no numbers of \"paused\""),
        ("avg(waiting, 5s) > 5", 14, "a window is between 10s and 1h long"),
        ("avg(waiting, 2h) > 5", 14, "a window is between 10s and 1h long"),
        ("and paused", 1, "a value is expected here"),
    ] {
        assert_eq!(error(condition), (column, message.to_owned()), "{condition}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let (column, message) = error(&"(".repeat(1024));
    assert_eq!((column, message.as_str()), (129, "a condition has at most 128 words and symbols"));
    let (column, message) = error(&format!("{}paused{}", "(".repeat(17), ")".repeat(17)));
    assert_eq!((column, message.as_str()), (18, "a condition is nested at most 16 deep"));
    assert!(error(&"!".repeat(100)).1.contains("nested"));
    assert!(error(&format!("{} 1 > 0", "-".repeat(100))).1.contains("nested"));
    assert!(error(&"x".repeat(1025)).1.contains("at most 1024 bytes"));
    let deepest = format!("{}paused{}", "(".repeat(16), ")".repeat(16));
    assert!(deepest.parse::<Condition>().is_ok());
}

#[test]
fn condition_knows_its_text_and_fields() {
    let text = "waiting > 5 and max(rate_out, 5m) < avg(waiting, 1m) or paused";
    let condition: Condition = text.parse().unwrap();
    assert_eq!(condition.to_string(), text);
    assert_eq!(
        condition.fields().into_iter().collect::<Vec<_>>(),
        [Field::Waiting, Field::Paused, Field::RateOut]
    );
}

proptest::proptest! {
    /// Every text has an answer, and the place of a mistake is in the text or right behind it.
    #[test]
    fn any_text_has_an_answer(text in "[a-z0-9_.<>=!&|+*/() ,%-]{0,60}|\\PC{0,40}") {
        match text.parse::<Condition>() {
            Ok(condition) => drop(condition.evaluate(&known(&[("waiting", 3.0)]))),
            Err(error) => proptest::prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1),
        }
    }
}

#[test]
fn every_value_is_documented() {
    let document = include_str!("../../../../docs/alerts.md");
    for field in Field::ALL {
        let unit = match field.unit() {
            Unit::Number => "number",
            Unit::Share => "share",
            Unit::Duration => "duration",
            Unit::Bytes => "bytes",
            Unit::Bool => "true or false",
        };
        let history = if field.is_in_history() { "yes" } else { "no" };
        let (name, across) = (field.name(), field.across().as_str());
        let row = format!("| `{name}` | {unit} | {history} | {across} | {} |\n", field.meaning());
        assert!(document.contains(&row), "docs/alerts.md lacks {row}");
    }
}
