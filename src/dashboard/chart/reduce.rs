//! Fewer rows of the same picture: the highest and lowest values stay.

use super::clock::Clock;
use super::model::{Chart, SeriesKind};
use super::unit::Unit;

/// Values of a chart by time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    /// Ascending times.
    pub(crate) times: Vec<u64>,
    /// For each series its values.
    pub(crate) columns: Vec<Column>,
}

/// Values of one series.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    /// A value for each time.
    pub(crate) values: Vec<Option<f64>>,
    /// The lower edge of a range.
    pub(crate) lower: Option<Vec<Option<f64>>>,
    /// Whether values are added up when rows are joined. Other columns keep the highest.
    pub(crate) adds_up: bool,
}

/// Rows that were joined, each beginning at a round time.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    /// The joined rows. Times are the begins of the buckets.
    pub(crate) rows: Rows,
    /// Length of each bucket.
    pub(crate) step_seconds: u64,
}

const SECOND: u64 = 1_000_000;

impl Rows {
    /// The drawable values inside of the chart's range.
    pub(crate) fn of(chart: &Chart) -> Self {
        let kept: Vec<usize> = (0..chart.times.len())
            .filter(|row| (chart.from..=chart.to).contains(&chart.times[*row]))
            .collect();
        let pick = |values: &[Option<f64>]| {
            kept.iter().map(|row| Unit::drawable(values.get(*row).copied().flatten())).collect()
        };
        let column = |series: &super::model::Series| Column {
            values: pick(&series.values),
            lower: match &series.kind {
                SeriesKind::Range { lower } => Some(pick(lower)),
                _ => None,
            },
            adds_up: series.kind == SeriesKind::Bar,
        };
        Self {
            times: kept.iter().map(|row| chart.times[*row]).collect(),
            columns: chart.series.iter().map(column).collect(),
        }
    }

    /// Whether no series has a value.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.iter().all(|column| column.values.iter().all(Option::is_none))
    }

    /// The highest value of all series, zero without one.
    pub(crate) fn highest(&self) -> f64 {
        self.columns.iter().flat_map(|column| column.values.iter().flatten()).copied().fold(0.0, f64::max)
    }

    /// At most `limit` of the rows, with the highest, the lowest and a gap of each series per stretch.
    pub(crate) fn reduced(&self, limit: usize) -> Self {
        let edges: Vec<&[Option<f64>]> = self.columns.iter().flat_map(Column::edges).collect();
        let kept = select(&edges, self.times.len(), limit);
        let pick = |values: &Vec<Option<f64>>| kept.iter().map(|row| values[*row]).collect::<Vec<_>>();
        Self {
            times: kept.iter().map(|row| self.times[*row]).collect(),
            columns: self
                .columns
                .iter()
                .map(|column| Column {
                    values: pick(&column.values),
                    lower: column.lower.as_ref().map(pick),
                    adds_up: column.adds_up,
                })
                .collect(),
        }
    }

    /// The rows joined to at most `limit` buckets that begin at round local times. The first bucket, which the range cuts, is
    /// left out when there would be one more.
    pub(crate) fn buckets(&self, clock: Clock, from: u64, to: u64, limit: u64) -> Buckets {
        let apart = self
            .times
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]).div_ceil(SECOND))
            .min()
            .unwrap_or(0);
        let step_seconds = clock.step(to.saturating_sub(from) / SECOND, limit).max(apart).max(1);
        let mut times: Vec<u64> = Vec::new();
        let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
        for (row, at) in self.times.iter().enumerate() {
            let begin = clock.floor(*at, step_seconds);
            match groups.last_mut() {
                Some(group) if times.last() == Some(&begin) => group.end = row + 1,
                _ => {
                    times.push(begin);
                    groups.push(row..row + 1);
                }
            }
        }
        let more = times.len().saturating_sub(limit as usize);
        times.drain(..more);
        groups.drain(..more);
        let columns = self.columns.iter().map(|column| column.joined(&groups)).collect();
        Buckets { rows: Self { times, columns }, step_seconds }
    }
}

impl Column {
    /// The values and the lower edge, if any.
    pub(crate) fn edges(&self) -> impl Iterator<Item = &[Option<f64>]> {
        std::iter::once(self.values.as_slice()).chain(self.lower.as_deref())
    }

    fn joined(&self, groups: &[std::ops::Range<usize>]) -> Self {
        let join = |values: &Vec<Option<f64>>| {
            groups
                .iter()
                .map(|group| {
                    let values = values[group.clone()].iter().flatten().copied();
                    values.reduce(if self.adds_up { |a, b| a + b } else { f64::max })
                })
                .collect()
        };
        Self { values: join(&self.values), lower: self.lower.as_ref().map(join), adds_up: self.adds_up }
    }
}

/// At most `limit` row numbers of `count`: the first, the last, and per stretch the highest, the lowest and the first gap
/// of each column.
pub(crate) fn select(columns: &[&[Option<f64>]], count: usize, limit: usize) -> Vec<usize> {
    if count <= limit {
        return (0..count).collect();
    }
    let mut stretches = (limit / 2).max(1);
    loop {
        let kept = select_per_stretch(columns, count, stretches);
        if kept.len() <= limit || stretches == 1 {
            return kept;
        }
        stretches = (stretches * limit / kept.len()).clamp(1, stretches - 1);
    }
}

fn select_per_stretch(columns: &[&[Option<f64>]], count: usize, stretches: usize) -> Vec<usize> {
    let mut kept = vec![0, count - 1];
    for stretch in 0..stretches {
        let rows = stretch * count / stretches..(stretch + 1) * count / stretches;
        for values in columns {
            let known = || rows.clone().filter_map(|row| values[row].map(|value| (row, value)));
            kept.extend(known().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(row, _)| row));
            kept.extend(known().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(row, _)| row));
            kept.extend(rows.clone().find(|row| values[*row].is_none()));
        }
    }
    kept.sort_unstable();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::{Clock, Column, Rows, SECOND, select};

    fn noise(count: usize, seed: usize) -> Vec<Option<f64>> {
        (0..count).map(|row| Some(((row * 7_919 + seed * 104_729) % 1_009) as f64)).collect()
    }

    #[test]
    fn highest_lowest_and_gaps_survive() {
        let mut values = noise(900, 1);
        values[437] = Some(5_000.0);
        values[438] = Some(-3.0);
        values[600..650].fill(None);
        let other = noise(900, 2);
        let kept = select(&[&values, &other], 900, 300);
        assert!(kept.len() <= 300 && kept.len() > 150, "{}", kept.len());
        for row in [0, 437, 438, 899] {
            assert!(kept.contains(&row), "{row}");
        }
        assert!(kept.iter().any(|row| values[*row].is_none()));
        assert!(kept.is_sorted());
    }

    #[test]
    fn few_rows_stay_as_they_are() {
        assert_eq!(select(&[&noise(4, 1)], 4, 300), [0, 1, 2, 3]);
        assert!(select(&[], 0, 300).is_empty());
        let many: Vec<Vec<_>> = (0..40).map(|seed| noise(900, seed)).collect();
        let many: Vec<_> = many.iter().map(Vec::as_slice).collect();
        assert!(select(&many, 900, 130).len() <= 130);
    }

    #[test]
    fn buckets_begin_at_round_times_and_add_up() {
        let begin = 1_796_040_187 * SECOND;
        let times: Vec<u64> = (0..900).map(|row| begin + row * SECOND).collect();
        let column = |adds_up| Column { values: vec![Some(2.0); 900], lower: None, adds_up };
        let rows = Rows { times, columns: vec![column(true), column(false)] };
        let buckets = rows.buckets(Clock::UTC, begin, begin + 900 * SECOND, 60);
        assert_eq!(buckets.step_seconds, 15);
        assert!(
            buckets.rows.times.len() == 60
                && buckets.rows.times.iter().all(|at| at.is_multiple_of(15 * SECOND))
        );
        let total: f64 = buckets.rows.columns[0].values.iter().flatten().sum();
        assert_eq!(total, 1_800.0 - 2.0 * 8.0, "without the 8 seconds of the first bucket");
        assert_eq!(buckets.rows.columns[1].values[3], Some(2.0));
    }
}
