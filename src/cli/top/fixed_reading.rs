//! A reading for the tests of keys and frames.

use serde_json::json;

use super::reading::{ChannelReading, Chosen, JobList, JobRow, Pane, Reading, SeriesAnswer};
use super::state::{Settings, State};
use crate::job::{JobId, Timestamp};
use crate::pool::{RunStatus, RunningJob};

/// The time of the reading.
pub(super) const NOW: u64 = 1_796_029_200_000_000;
/// Text that a terminal would obey, reorder, hide or draw twice as wide.
pub(super) const HOSTILE: &str = "a\u{1b}[2J\u{202e}gpj\u{200b}漢字\u{3164}\r\n\u{9b}31m";

fn channel(name: &str, state: &str, waiting: u64) -> ChannelReading {
    let channel = json!({
        "name": name, "state": state,
        "counts": { "waiting": waiting, "delayed": 40, "reserved": 2, "failed": 12, "done": 26_000, "paused": false, "age_seconds": 0.4 },
        "front_waits_seconds": 48.0,
        "workers": { "busy": 2, "serving": 3, "max": 8 },
        "recent": { "seconds": 60.0, "arrived_per_second": 40.1, "settled_per_second": 37.8, "runs": 2268, "failed_runs": 18,
            "failure_rate": 0.008, "run_seconds": { "p50": 0.1, "p95": 0.512, "p99": 0.9, "max": 1.0 } },
        "waiting_hour": (0..60).map(|n| (n % 17 != 3).then_some(n * n)).collect::<Vec<Option<u64>>>(),
    });
    serde_json::from_value(channel).unwrap()
}

/// Four channels; the first one is chosen.
pub(super) fn reading() -> Reading {
    let mut channels = vec![
        channel("default", "works", 1_180),
        channel("legacy", "no_master", 310),
        channel("mail", "paused", 24),
        channel("reports", "degraded", 0),
    ];
    (channels[1].workers, channels[1].recent) = (None, Default::default());
    let alert = json!({ "rule": "oldest_waiting > 60s", "severity": "critical", "since": NOW - 720_000_000 });
    channels[2].alerts = vec![serde_json::from_value(alert).unwrap()];
    let status = json!({
        "running": 2, "ready": 0, "workers": { "booting": 0, "idle": 1, "busy": 2, "draining": 0, "retiring": 0, "leaving": 0, "stuck_slots": 0 },
        "pids": [27_082, 27_083], "store_error": null, "worker_error": null, "stopping": false,
        "pool": { "rows": [
            { "pid": 27_082, "state": "busy", "generation": 1, "jobs": 1, "stuck": 0, "done": 17, "memory": 61 << 20, "age_ms": 10_800_000,
              "job": { "id": 1_796_029_195_900_001_u64, "name": "send_mail", "age_ms": 4_100, "progress": 40 }, "why": "min", "outgoing": null },
            { "pid": 27_083, "state": "busy", "generation": 1, "jobs": 1, "stuck": 0, "done": 12, "memory": 58 << 20, "age_ms": 10_700_000,
              "job": { "id": 1_796_029_196_000_002_u64, "name": HOSTILE, "age_ms": 4_000, "progress": null }, "why": "backlog 7", "outgoing": null },
            { "pid": 27_090, "state": "idle", "generation": 1, "jobs": 0, "stuck": 0, "done": 1_204, "memory": 55 << 20, "age_ms": 60_000,
              "job": null, "why": HOSTILE, "outgoing": "memory 120 MiB" }
        ], "target": 3, "why": "backlog 7" }
    });
    let mut chosen = channels[0].clone();
    chosen.status = Some(serde_json::from_value(status).unwrap());
    let run = |id, job: &str, pid| RunningJob {
        id: JobId(id),
        job: job.to_owned(),
        memory: Some(61 << 20),
        run: RunStatus {
            pid: Some(pid),
            booting: false,
            ms: 4_100,
            limit_ms: Some(10_000),
            progress: Some(40),
            ending: None,
            stuck: false,
            attempt: Some(1),
        },
    };
    let points: Vec<_> = (0..90_u64)
        .map(|n| {
            json!({ "at": NOW - (89 - n) * 10_000_000, "seconds": 10.0,
                "store": { "waiting": n * 13, "reserved": 2, "delayed": 40, "failed": 12, "paused": false },
                "flow": { "arrived": 400 + n, "settled": 300 + n * 2, "seconds": 10.0 },
                "workers": { "wanted": 1 + n / 30, "serving": 3, "busy": n / 40 } })
        })
        .collect();
    let series: SeriesAnswer = serde_json::from_value(json!({ "points": points })).unwrap();
    let job = |id, error: &str| JobRow {
        id: JobId(id),
        job: "send_mail".to_owned(),
        priority: "normal",
        attempts: 3,
        at: Timestamp(NOW - 12_000_000),
        reason: "exhausted",
        error: error.to_owned(),
    };
    let jobs = vec![job(1_796_029_100_000_001, "connect: timed out"), job(1_796_029_100_000_002, HOSTILE)];
    let chosen = Chosen {
        channel: chosen,
        points: series.points,
        runs: vec![
            run(1_796_029_195_900_001, "send_mail", 27_082),
            run(1_796_029_196_000_002, HOSTILE, 27_083),
        ],
        why: format!("Channel \"default\": all 3 slots are busy; {HOSTILE}"),
        jobs: JobList { pane: Pane::Failed, jobs, ..JobList::default() },
        ..Chosen::default()
    };
    Reading {
        at: Timestamp(NOW),
        clock: "12:03:09".to_owned(),
        source: format!("prod-1{}", &HOSTILE[..5]),
        channels,
        chosen: Some(chosen),
        error: None,
    }
}

/// A state with the reading, in which actions have keys.
pub(super) fn state() -> State {
    let mut state = State::new(Settings { colours: true, ..Settings::default() }, Some("default".to_owned()));
    state.take(reading());
    state
}
