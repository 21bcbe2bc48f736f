//! The values of a channel over all its masters, for the conditions of rules.

use std::time::Duration;

use aint_queue_core::condition::{Across, Field, Values};

use super::host_report::HostReport;
use crate::snapshot::failure_rate;

/// The values of a channel over all its masters.
#[derive(Clone, Copy, Debug)]
pub(super) struct FleetValues<'a, V> {
    /// The values of the channel itself, and windows of all values, as this master has seen them.
    pub(super) channel: &'a V,
    /// The reports of the masters, this one included.
    pub(super) reports: &'a [HostReport],
}

impl<V: Values> Values for FleetValues<'_, V> {
    fn value(&self, field: Field) -> Option<f64> {
        let all = self.reports.iter().filter_map(|report| report.value(field));
        match (field, field.across()) {
            (Field::FailureRate, _) => {
                let runs = self.reports.iter().map(HostReport::runs);
                let (runs, failed) = runs.fold((0, 0), |(runs, failed): (u32, u32), (more, bad)| {
                    (runs.saturating_add(more), failed.saturating_add(bad))
                });
                failure_rate(runs, failed)
            }
            // The memory of two masters is compared with the limit of each, so both values are of the fullest one.
            (Field::WorkersMemory | Field::MemoryLimit, _) => self.fullest()?.value(field),
            (_, Across::Channel) => self.channel.value(field),
            (_, Across::Sum) => all.reduce(|sum, value| sum + value),
            (_, Across::Largest) => all.reduce(f64::max),
            (_, Across::Every) => all.reduce(f64::min),
            (_, Across::Host) => None,
        }
    }

    fn window(&self, field: Field, time: Duration) -> Vec<(f64, f64)> {
        self.channel.window(field, time)
    }
}

impl<V> FleetValues<'_, V> {
    /// The master whose workers use the largest share of their memory, or the most memory where none has a limit.
    fn fullest(&self) -> Option<&HostReport> {
        let memory = |report: &HostReport| report.value(Field::WorkersMemory).unwrap_or(0.0);
        let share =
            |report: &HostReport| report.value(Field::MemoryLimit).map(|limit| memory(report) / limit);
        self.reports.iter().max_by(|one, other| {
            let by_share = share(one).partial_cmp(&share(other)).unwrap_or(std::cmp::Ordering::Equal);
            by_share.then(memory(one).total_cmp(&memory(other)))
        })
    }
}

/// The values of one host; values of the channel, and windows, are those that this master has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostValues<'a, V> {
    /// The values of the channel, and windows of all values.
    pub(super) channel: &'a V,
    /// The report of the host.
    pub(super) report: &'a HostReport,
}

impl<V: Values> Values for HostValues<'_, V> {
    fn value(&self, field: Field) -> Option<f64> {
        match field.across() {
            Across::Channel => self.channel.value(field),
            _ => self.report.value(field),
        }
    }

    fn window(&self, field: Field, time: Duration) -> Vec<(f64, f64)> {
        self.channel.window(field, time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A channel with 7 waiting jobs.
    struct Channel;

    impl Values for Channel {
        fn value(&self, field: Field) -> Option<f64> {
            (field == Field::Waiting).then_some(7.0)
        }

        fn window(&self, _: Field, _: Duration) -> Vec<(f64, f64)> {
            vec![(0.0, 7.0)]
        }
    }

    fn report(host: &str, values: &[(&str, f64)], runs: (u32, u32)) -> HostReport {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value));
        let text = serde_json::json!({
            "version": 1, "host": host, "values": serde_json::Map::from_iter(values.map(|(n, v)| (n, v.into()))),
            "runs": runs.0, "failed_runs": runs.1,
        });
        HostReport::read(&text.to_string()).unwrap()
    }

    #[test]
    fn values_are_made_from_those_of_all_masters() {
        let reports = [
            report(
                "a",
                &[("workers.busy", 3.0), ("wait_p95", 0.5), ("degraded", 0.0), ("quiet", 1.0)],
                (30, 0),
            ),
            report(
                "b",
                &[("workers.busy", 2.0), ("wait_p95", 9.0), ("degraded", 1.0), ("quiet", 0.0)],
                (10, 8),
            ),
        ];
        let fleet = FleetValues { channel: &Channel, reports: &reports };
        for (field, value) in [
            (Field::Waiting, Some(7.0)),
            (Field::WorkersBusy, Some(5.0)),
            (Field::WaitP95, Some(9.0)),
            (Field::Degraded, Some(1.0)),
            (Field::Quiet, Some(0.0)),
            (Field::FailureRate, Some(0.2)),
            (Field::RunP50, None),
            (Field::StoreDownFor, None),
        ] {
            assert_eq!(fleet.value(field), value, "{field:?}");
        }
        let none = FleetValues { channel: &Channel, reports: &[] };
        assert_eq!(none.value(Field::WorkersBusy), None);
        assert_eq!(none.value(Field::FailureRate), None, "no runs");
    }

    #[test]
    fn memory_is_that_of_the_fullest_master() {
        let memory = |host, used: f64, limit: f64| {
            report(host, &[("memory.workers", used), ("memory.limit", limit)], (0, 0))
        };
        let reports = [memory("a", 90.0, 100.0), memory("b", 400.0, 1000.0)];
        let fleet = FleetValues { channel: &Channel, reports: &reports };
        assert_eq!(
            (fleet.value(Field::WorkersMemory), fleet.value(Field::MemoryLimit)),
            (Some(90.0), Some(100.0))
        );
        let unlimited = [
            report("a", &[("memory.workers", 1.0)], (0, 0)),
            report("b", &[("memory.workers", 2.0)], (0, 0)),
        ];
        let fleet = FleetValues { channel: &Channel, reports: &unlimited };
        assert_eq!((fleet.value(Field::WorkersMemory), fleet.value(Field::MemoryLimit)), (Some(2.0), None));
    }

    #[test]
    fn host_has_its_own_values() {
        let report = report("a", &[("store.down_for", 31.0)], (0, 0));
        let host = HostValues { channel: &Channel, report: &report };
        assert_eq!((host.value(Field::StoreDownFor), host.value(Field::Waiting)), (Some(31.0), Some(7.0)));
        assert_eq!(host.window(Field::Waiting, Duration::from_secs(10)), [(0.0, 7.0)]);
    }

    #[test]
    fn foreign_report_is_not_read() {
        for text in ["", "{}", "[]", r#"{"version":2,"host":"a","values":{},"runs":0,"failed_runs":0}"#] {
            assert_eq!(HostReport::read(text), None, "{text}");
        }
    }
}
