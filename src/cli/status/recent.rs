//! The last minute of a channel as lines of the status.

use std::time::Duration;

use crate::cli::render;
use crate::metrics::Percentiles;
use crate::snapshot::Recent;
use crate::store::JobCounts;

/// The time for which the front waiting job has waited, from a second on.
pub(super) fn front_waited(counts: &JobCounts) -> Option<Duration> {
    counts
        .front_ready_at
        .map(|ready| counts.now.since(ready))
        .filter(|waited| *waited >= Duration::from_secs(1))
}

#[expect(clippy::cast_possible_truncation, reason = "a time for people")]
/// Lines about the front job and the last minute; none when nothing happened.
pub(super) fn render(counts: &JobCounts, recent: Option<&Recent>) -> String {
    let mut shown = String::new();
    if let Some(waited) = front_waited(counts) {
        shown.push_str(&format!("Front: the next job has waited {}.\n", seconds(waited.as_secs_f32())));
    }
    let Some(recent) = recent else { return shown };
    let title = if recent.seconds <= 70.0 {
        "Last minute".to_owned()
    } else {
        format!("Last {}", seconds(recent.seconds as f32))
    };
    if let (Some(came), Some(went)) = (recent.arrived_per_second, recent.settled_per_second)
        && came + went > 0.0
    {
        shown.push_str(&format!("{title}: {} jobs/s pushed, {} jobs/s settled.\n", rate(came), rate(went)));
    }
    if let (Some(run), Some(failed)) = (&recent.run_seconds, recent.failure_rate) {
        let runs = if recent.runs == 1 { "1 run".to_owned() } else { format!("{} runs", recent.runs) };
        let failed =
            if failed > 0.0 { format!(", {} % failed", rate(failed * 100.0)) } else { String::new() };
        shown.push_str(&format!("Here: {runs}{failed}; {}.\n", spread(run)));
    }
    if let Some(wait) = &recent.wait_seconds {
        shown.push_str(&format!("Waits: {}.\n", spread(wait)));
    }
    shown
}

/// Median and 95th percentile.
fn spread(of: &Percentiles) -> String {
    format!("half took up to {}, 95 % up to {}", seconds(of.p50), seconds(of.p95))
}

/// A duration with two digits: waits and runs are often shorter than a millisecond.
pub(in crate::cli) fn seconds(seconds: f32) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s => render::duration((f64::from(s) * 1e3).round() as u64),
    }
}

/// A rate with as many digits as tell something.
pub(in crate::cli) fn rate(rate: f64) -> String {
    match rate {
        r if r >= 99.95 => format!("{r:.0}"),
        r if r >= 0.1 || r == 0.0 => format!("{r:.1}"),
        r => format!("{r:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;

    #[test]
    fn quiet_channel_has_no_lines() {
        assert_eq!(render(&JobCounts::default(), Some(&Recent::default())), "");
        assert_eq!(render(&JobCounts::default(), None), "");
    }

    #[test]
    fn lines_fit_a_terminal() {
        let counts = JobCounts {
            front_ready_at: Some(Timestamp(1)),
            now: Timestamp(48_000_001),
            ..JobCounts::default()
        };
        let of = |p50, p95| Some(Percentiles { p50, p95, p99: p95, max: p95 });
        let recent = Recent {
            seconds: 58.0,
            arrived_per_second: Some(40.96),
            settled_per_second: Some(12_345.6),
            runs: 2268,
            failed_runs: 18,
            failure_rate: Some(0.008),
            wait_seconds: of(0.000_045, 0.0483),
            run_seconds: of(0.0051, 3599.0),
            store_seconds: None,
        };
        let shown = render(&counts, Some(&recent));
        insta::assert_snapshot!(shown, @r"
        Front: the next job has waited 48.0 s.
        Last minute: 41.0 jobs/s pushed, 12346 jobs/s settled.
        Here: 2268 runs, 0.8 % failed; half took up to 5.1 ms, 95 % up to 59 min.
        Waits: half took up to 45 µs, 95 % up to 48 ms.
        ");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        let later = render(&counts, Some(&Recent { seconds: 300.0, ..recent }));
        assert!(later.contains("\nLast 5 min: "), "{later}");
    }
}
