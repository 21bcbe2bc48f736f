//! `queue:alerts --try`: tries a condition of an alert rule on the present and on the history of a channel.

use std::time::Duration;

use aint_queue_core::condition::{Condition, ConditionError, Field, Unit, Values};
use serde::Serialize;

use crate::channel::ChannelStatus;
use crate::cli::history::step_for;
use crate::cli::render::size;
use crate::cli::status::recent::seconds;
use crate::cli::{CommandContext, Exit, Failure, control, render, time};
use crate::config::Channel;
use crate::control::{ControlRequest, ControlResponse};
use crate::job::Timestamp;
use crate::snapshot::{PastValues, Point, PresentValues, Recent, Step, Trends};
use crate::store::{JobCounts, OwnerView};

/// The longest window of a condition, for which the present needs points.
const LONGEST_WINDOW: Duration = Duration::from_secs(3600);
/// Most episodes that are listed.
const MAX_LISTED: usize = 10;
/// Seconds between two points that belong together, beyond the time that the later one covers.
const GAP_SECONDS: f64 = 2.0;

/// A condition to try.
#[derive(Debug)]
pub(super) struct TryCondition {
    pub(super) condition: Condition,
    /// Only times at which the condition was true for so long.
    pub(super) for_time: Duration,
    /// The time to look back.
    pub(super) last: Duration,
}

/// Parses a condition; the error shows its place.
pub(super) fn condition(text: &str) -> Result<Condition, String> {
    text.parse().map_err(|error: ConditionError| {
        let pointer = format!("{}^", " ".repeat(error.column - 1));
        match text.contains(char::is_control) {
            true => error.to_string(),
            false => format!("{error}\n\n  {text}\n  {pointer}"),
        }
    })
}

/// The values that a condition is tried on.
struct Seen {
    counts: Option<JobCounts>,
    status: Box<ChannelStatus>,
    recent: Recent,
    trends: Trends,
    masters: Option<u64>,
    /// The points of the longest window.
    last_hour: Vec<Point>,
    /// The points of the time to look back on.
    points: Vec<Point>,
}

/// A time in which a condition was true.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Episode {
    begin: Timestamp,
    end: Timestamp,
}

impl Episode {
    fn time(self) -> Duration {
        self.end.since(self.begin)
    }
}

/// The result of a try as JSON.
#[derive(Serialize)]
struct TryJson<'a> {
    channel: &'a str,
    condition: String,
    now: Option<bool>,
    values: serde_json::Map<String, serde_json::Value>,
    last_seconds: u64,
    episodes: Vec<EpisodeJson>,
    /// Fields of the condition that the history does not have: unknown at each of its points.
    not_in_history: Vec<&'static str>,
}

#[derive(Serialize)]
struct EpisodeJson {
    from: Option<String>,
    to: Option<String>,
    seconds: f64,
}

impl TryCondition {
    pub(super) fn run(&self, context: &CommandContext) -> Result<(), Failure> {
        if self.for_time > self.last {
            return Err(Failure::new(Exit::Usage, "try the condition")
                .because("--for is longer than the time to look back, --last")
                .hint("look back further, up to 24h, or wait for less"));
        }
        let channel = context.channel()?;
        let seen = self.read(context, channel)?;
        let now = Timestamp::from(std::time::SystemTime::now());
        let present = PresentValues {
            counts: seen.counts.as_ref(),
            status: Some(&seen.status),
            recent: &seen.recent,
            max_workers: channel.worker.plan.max,
            memory_limit: channel.worker.scaling.memory_limit,
            trends: seen.trends,
            masters: seen.masters,
            past: PastValues::new(&seen.last_hour, now),
        };
        let value = self.condition.evaluate(&present);
        let episodes = episodes(&self.condition, &seen.points, self.for_time);
        if context.json() {
            return context.print_json(&self.json(channel, &present, value, &episodes));
        }
        context.print(&self.text(channel, &present, value, &seen.points, &episodes))
    }

    fn read(&self, context: &CommandContext, channel: &Channel) -> Result<Seen, Failure> {
        let doing = format!("try the condition on channel \"{}\"", channel.name);
        let history = |step: Step, period: Duration| {
            let request = ControlRequest::History { step, seconds: period.as_secs() };
            let take = |response| match response {
                ControlResponse::History { points, .. } => Some(points),
                _ => None,
            };
            control::ask(channel, &doing, request, |_| {}, take)
        };
        let points = history(step_for(self.last), self.last)?;
        let last_hour = history(Step::TenSeconds, LONGEST_WINDOW)?;
        let take = |response| match response {
            ControlResponse::Status { report, recent, trends, .. } => Some((report, recent, trends)),
            _ => None,
        };
        let (status, recent, trends) = control::ask(channel, &doing, ControlRequest::Status, |_| {}, take)?;
        // A store that does not answer makes its values unknown, as in a rule.
        let answers = context
            .call_store(channel, doing, async |store| Ok((store.status().await?, store.masters().await?)));
        let (counts, masters) = answers.ok().unzip();
        let alive =
            |masters: Vec<OwnerView>| masters.iter().filter(|master| master.is_alive()).count() as u64;
        let masters = masters.map(alive);
        Ok(Seen {
            counts,
            status,
            recent: recent.map(|recent| *recent).unwrap_or_default(),
            trends: *trends.unwrap_or_default(),
            masters,
            last_hour,
            points,
        })
    }

    /// The fields that the history does not have.
    fn not_in_history(&self) -> Vec<&'static str> {
        self.condition.fields().into_iter().filter(|field| !field.is_in_history()).map(Field::name).collect()
    }

    fn text(
        &self,
        channel: &Channel,
        present: &PresentValues<'_>,
        value: Option<bool>,
        points: &[Point],
        episodes: &[Episode],
    ) -> String {
        let word = match value {
            Some(true) => "true",
            Some(false) => "false",
            None => "unknown",
        };
        let mut shown = format!("Now: {word}, in channel \"{}\"\n", channel.name);
        let fields = self.condition.fields();
        let width = fields.iter().map(|field| field.name().len()).max().unwrap_or(0);
        for field in fields {
            let value =
                present.value(field).map_or_else(|| "unknown".to_owned(), |value| value_text(field, value));
            shown.push_str(&format!("  {:<width$}  {value}\n", field.name()));
        }
        let last = time_text(self.last);
        let lasted = if self.for_time.is_zero() {
            String::new()
        } else {
            format!(" for {}", time_text(self.for_time))
        };
        let missing = self.not_in_history();
        if points.is_empty() {
            shown.push_str(&format!("Last {last}: the master has no samples of this time\n"));
        } else if episodes.is_empty() {
            shown.push_str(&format!("Last {last}: never true{lasted} in {} samples\n", points.len()));
        } else {
            let all = episodes.iter().map(|episode| episode.time()).sum();
            let times =
                if episodes.len() == 1 { "once".to_owned() } else { format!("{} times", episodes.len()) };
            shown.push_str(&format!("Last {last}: true{lasted} {times}, {} together\n", time_text(all)));
            for episode in episodes.iter().rev().take(MAX_LISTED).rev() {
                shown.push_str(&format!(
                    "  {} to {}  {}\n",
                    time::local(episode.begin),
                    time::local(episode.end),
                    time_text(episode.time())
                ));
            }
            if let Some(more) = episodes.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
                shown.push_str(&format!("  and {more} earlier ones\n"));
            }
        }
        if !missing.is_empty() {
            let missing: Vec<_> = missing.into_iter().map(str::to_owned).collect();
            shown.push_str(&format!("Not in the history, so unknown there: {}\n", render::listed(&missing)));
        }
        shown
    }

    fn json<'a>(
        &self,
        channel: &'a Channel,
        present: &PresentValues<'_>,
        value: Option<bool>,
        episodes: &[Episode],
    ) -> TryJson<'a> {
        let value_of = |field: Field| match (field.unit(), present.value(field)) {
            (Unit::Bool, value) => value.map(|value| value != 0.0).into(),
            (_, value) => value.into(),
        };
        let episode = |episode: &Episode| EpisodeJson {
            from: time::rfc3339(episode.begin),
            to: time::rfc3339(episode.end),
            seconds: episode.time().as_secs_f64(),
        };
        TryJson {
            channel: &channel.name,
            condition: self.condition.to_string(),
            now: value,
            values: self
                .condition
                .fields()
                .into_iter()
                .map(|field| (field.name().to_owned(), value_of(field)))
                .collect(),
            last_seconds: self.last.as_secs(),
            episodes: episodes.iter().map(episode).collect(),
            not_in_history: self.not_in_history(),
        }
    }
}

/// A value with its unit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes and seven digits of seconds"
)]
pub(super) fn value_text(field: Field, value: f64) -> String {
    match field.unit() {
        Unit::Bool => (value != 0.0).to_string(),
        Unit::Share => format!("{:.1} %", value * 100.0),
        Unit::Duration if value == 0.0 => "0 s".to_owned(),
        Unit::Duration => seconds(value as f32),
        Unit::Bytes => size(value as u64),
        Unit::Number if value.fract() == 0.0 => format!("{value:.0}"),
        Unit::Number => format!("{value:.2}"),
    }
}

fn time_text(time: Duration) -> String {
    render::duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The times in which the condition was true for at least `least`. An unknown value neither begins nor ends one, a gap of the
/// history ends it.
fn episodes(condition: &Condition, points: &[Point], least: Duration) -> Vec<Episode> {
    let (mut found, mut current) = (Vec::new(), None::<Episode>);
    let mut last: Option<Timestamp> = None;
    for (n, point) in points.iter().enumerate() {
        let covered = Duration::try_from_secs_f64(f64::from(point.seconds)).unwrap_or_default();
        let gap =
            last.is_some_and(|last| point.at.since(last).as_secs_f64() > covered.as_secs_f64() + GAP_SECONDS);
        if gap {
            found.extend(current.take());
        }
        let begin = Timestamp(point.at.0.saturating_sub(u64::try_from(covered.as_micros()).unwrap_or(0)));
        match (condition.evaluate(&PastValues::new(&points[..=n], point.at)), &mut current) {
            (Some(true), None) => current = Some(Episode { begin, end: point.at }),
            (Some(true) | None, Some(episode)) => episode.end = point.at,
            (Some(false), _) => found.extend(current.take()),
            (None, None) => {}
        }
        last = Some(point.at);
    }
    found.extend(current);
    found.retain(|episode| episode.time() >= least);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::StoreValues;

    const START: u64 = 1_796_029_200_000_000;

    /// Points ten seconds apart with these numbers of waiting jobs; `None` for a store that did not answer.
    fn points(waiting: &[Option<u64>]) -> Vec<Point> {
        let point = |(n, waiting): (usize, &Option<u64>)| Point {
            at: at(10 * n as u64),
            seconds: 10.0,
            store: waiting.map(|waiting| StoreValues { waiting, ..StoreValues::default() }),
            ..Point::default()
        };
        waiting.iter().enumerate().map(point).collect()
    }

    fn at(second: u64) -> Timestamp {
        Timestamp(START + second * 1_000_000)
    }

    fn found(points: &[Point], least: u64) -> Vec<(u64, u64)> {
        let condition = "waiting > 5".parse().unwrap();
        let second = |time: Timestamp| time.0.wrapping_sub(START).cast_signed() / 1_000_000;
        episodes(&condition, points, Duration::from_secs(least))
            .into_iter()
            .map(|episode| {
                let (begin, end) = (second(episode.begin), second(episode.end));
                (u64::try_from(begin + 10).unwrap(), u64::try_from(end + 10).unwrap())
            })
            .collect()
    }

    #[test]
    fn episodes_are_the_times_of_truth() {
        let values = points(&[Some(1), Some(6), Some(7), None, Some(8), Some(0), Some(9)]);
        // An unknown value does not end an episode. Times are ten seconds later here, so that they are positive.
        assert_eq!(found(&values, 0), [(10, 50), (60, 70)]);
        assert_eq!(found(&values, 20), [(10, 50)]);
        assert_eq!(found(&values, 60), []);
        assert_eq!(found(&points(&[None, None]), 0), []);
        assert_eq!(found(&[], 0), []);
    }

    #[test]
    fn gap_ends_an_episode() {
        let mut values = points(&[Some(9), Some(9), Some(9), Some(9)]);
        values.remove(1);
        assert_eq!(found(&values, 0), [(0, 10), (20, 40)]);
    }

    #[test]
    fn values_are_shown_with_their_units() {
        for (field, value, text) in [
            (Field::Waiting, 12.0, "12"),
            (Field::RateIn, 2.126, "2.13"),
            (Field::FailureRate, 0.051, "5.1 %"),
            (Field::OldestWaiting, 0.0, "0 s"),
            (Field::WorkersMemory, 1_572_864.0, "1.5 MiB"),
            (Field::Paused, 1.0, "true"),
        ] {
            assert_eq!(value_text(field, value), text);
        }
    }

    #[test]
    fn mistake_is_shown_at_its_place() {
        let error = condition("waitng > 5").unwrap_err();
        assert_eq!(
            error,
            "column 1: there is no value \"waitng\": did you mean \"waiting\"?\n\n  waitng > 5\n  ^"
        );
        assert_eq!(condition("a\nb").unwrap_err().lines().count(), 1);
    }
}
