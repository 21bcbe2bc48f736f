//! Paths of series: lines, areas, steps, ranges and stacked bars.

use super::path::PathWriter;
use super::plot::{BOTTOM, Plot};
use super::reduce::{Buckets, Column};

const SECOND: u64 = 1_000_000;
/// Half of the width of a line or an area that has one point, in tenths.
const HALF_OF_ONE_POINT: i32 = 6;
/// Space between two bars, in tenths.
const BAR_SPACE: i32 = 8;

/// A line through the values. A gap ends it; a value between gaps is a dot.
pub(crate) fn line(plot: &Plot, times: &[u64], values: &[Option<f64>]) -> String {
    let mut path = PathWriter::default();
    for run in runs(times, values) {
        let mut points = run.iter().map(|(at, value)| plot.point(*at, *value));
        if let Some(first) = points.next() {
            if run.len() == 1 {
                path.move_to((first.0 - HALF_OF_ONE_POINT, first.1));
                path.across_to(first.0 + HALF_OF_ONE_POINT);
            } else {
                path.move_to(first);
            }
            points.for_each(|point| path.line_to(point));
        }
    }
    path.finish()
}

/// A line that keeps each value until the next time.
pub(crate) fn steps(plot: &Plot, times: &[u64], values: &[Option<f64>]) -> String {
    let mut path = PathWriter::default();
    let mut height = None;
    for (at, value) in times.iter().zip(values) {
        let x = plot.x(*at);
        if height.is_some() {
            path.across_to(x);
        }
        let next = value.map(|value| plot.y(value));
        match (height, next) {
            (None, Some(y)) => path.move_to((x, y)),
            (Some(before), Some(y)) if before != y => path.up_to(y),
            _ => {}
        }
        height = next;
    }
    if let (Some(_), Some(last)) = (height, times.last()) {
        path.across_to(plot.x(*last));
    }
    path.finish()
}

/// The area between the values and the bottom.
pub(crate) fn area(plot: &Plot, times: &[u64], values: &[Option<f64>]) -> String {
    let mut path = PathWriter::default();
    for run in runs(times, values) {
        let upper: Vec<_> = run.iter().map(|(at, value)| plot.point(*at, *value)).collect();
        let lower = [upper[0].0, upper[upper.len() - 1].0].map(|x| (x, BOTTOM));
        outline(&mut path, &upper, &lower);
    }
    path.finish()
}

/// The area between the values and the lower edge of a column.
pub(crate) fn range(plot: &Plot, times: &[u64], upper: &[Option<f64>], lower: &[Option<f64>]) -> String {
    let both: Vec<Option<(f64, f64)>> = upper.iter().zip(lower).map(|(a, b)| Some(((*a)?, (*b)?))).collect();
    let mut path = PathWriter::default();
    for run in runs(times, &both) {
        let upper: Vec<_> = run.iter().map(|(at, (upper, _))| plot.point(*at, *upper)).collect();
        let lower: Vec<_> = run.iter().map(|(at, (_, lower))| plot.point(*at, *lower)).collect();
        outline(&mut path, &upper, &lower);
    }
    path.finish()
}

/// The area between two lines where the first is above the second.
pub(crate) fn excess(plot: &Plot, times: &[u64], over: &[Option<f64>], under: &[Option<f64>]) -> String {
    let both: Vec<Option<(f64, f64)>> = over.iter().zip(under).map(|(a, b)| Some(((*a)?, (*b)?))).collect();
    let mut path = PathWriter::default();
    for run in runs(times, &both) {
        let (mut upper, mut lower) = (Vec::new(), Vec::new());
        for (i, (at, (over, under))) in run.iter().enumerate() {
            let above = over - under;
            if let Some((at_before, (over_before, under_before))) = i.checked_sub(1).map(|i| &run[i]) {
                let above_before = over_before - under_before;
                if (above > 0.0) != (above_before > 0.0) {
                    let part = above_before / (above_before - above);
                    let at = at_before + ((at - at_before) as f64 * part) as u64;
                    let crossing = plot.point(at, over_before + (over - over_before) * part);
                    upper.push(crossing);
                    lower.push(crossing);
                }
            }
            if above > 0.0 {
                upper.push(plot.point(*at, *over));
                lower.push(plot.point(*at, *under));
            } else if upper.len() > 1 {
                outline(&mut path, &upper, &lower);
                upper.clear();
                lower.clear();
            } else {
                upper.clear();
                lower.clear();
            }
        }
        if upper.len() > 1 {
            outline(&mut path, &upper, &lower);
        }
    }
    path.finish()
}

/// For each column of the buckets the bars on top of those of the columns before.
pub(crate) fn bars(plot: &Plot, buckets: &Buckets) -> Vec<String> {
    let mut totals = vec![0.0; buckets.rows.times.len()];
    let mut draw = |column: &Column| {
        let mut path = PathWriter::default();
        for ((at, value), total) in buckets.rows.times.iter().zip(&column.values).zip(&mut totals) {
            let below = plot.y(*total);
            *total += value.unwrap_or(0.0);
            let above = plot.y(*total);
            let left = plot.x(*at);
            let right = plot.x(at.saturating_add(buckets.step_seconds.saturating_mul(SECOND)));
            if above == below || right <= left {
                continue;
            }
            path.move_to((left, below));
            path.up_to(above);
            path.across_to((right - BAR_SPACE).max(left + BAR_SPACE / 2));
            path.up_to(below);
            path.close();
        }
        path.finish()
    };
    buckets.rows.columns.iter().map(&mut draw).collect()
}

/// The highest stack of the buckets.
pub(crate) fn highest_stack(buckets: &Buckets) -> f64 {
    let stack = |row: usize| buckets.rows.columns.iter().filter_map(|column| column.values[row]).sum();
    (0..buckets.rows.times.len()).map(stack).fold(0.0, f64::max)
}

/// An area along the upper points and back along the lower ones.
fn outline(path: &mut PathWriter, upper: &[(i32, i32)], lower: &[(i32, i32)]) {
    match (upper, lower) {
        ([(x, top)], [(_, bottom), ..]) => {
            path.move_to((x - HALF_OF_ONE_POINT, *top));
            path.across_to(x + HALF_OF_ONE_POINT);
            path.up_to(*bottom);
            path.across_to(x - HALF_OF_ONE_POINT);
        }
        _ => {
            let mut points = upper.iter().chain(lower.iter().rev());
            points.by_ref().take(1).for_each(|first| path.move_to(*first));
            points.for_each(|point| path.line_to(*point));
        }
    }
    path.close();
}

/// Stretches without a gap.
fn runs<T: Copy>(times: &[u64], values: &[Option<T>]) -> Vec<Vec<(u64, T)>> {
    let mut runs = vec![Vec::new()];
    for (at, value) in times.iter().zip(values) {
        match (value, runs.last_mut()) {
            (Some(value), Some(run)) => run.push((*at, *value)),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

#[cfg(test)]
mod tests {
    use super::super::scale::Scale;
    use super::super::unit::Unit;
    use super::{Plot, area, excess, line, range, steps};

    /// 344 units wide, 116 high: ten microseconds are 34.4 units apart, ten values 116.
    fn plot() -> Plot {
        Plot::new(0, 100, Scale::new(Unit::Count, 10.0, false))
    }

    const TIMES: [u64; 5] = [0, 10, 20, 30, 40];

    #[test]
    fn gaps_break_every_shape() {
        let values = [Some(0.0), Some(10.0), None, Some(5.0), None];
        assert_eq!(line(&plot(), &TIMES, &values), "M52 131l34.4-116M154.6 73h1.2");
        assert_eq!(area(&plot(), &TIMES, &values), "M52 131l34.4-116 0 116-34.4 0zM154.6 73h1.2v58h-1.2z");
        let lower = [Some(0.0); 5];
        assert_eq!(range(&plot(), &TIMES, &values, &lower).matches('M').count(), 2);
        assert_eq!(steps(&plot(), &TIMES, &values), "M52 131h34.4v-116h34.4M155.2 73h34.4");
    }

    #[test]
    fn shapes_without_values_are_empty() {
        for values in [&[][..], &[None, None]] {
            assert_eq!(line(&plot(), &TIMES, values), "");
            assert_eq!(area(&plot(), &TIMES, values), "");
            assert_eq!(steps(&plot(), &TIMES, values), "");
        }
    }

    #[test]
    fn excess_begins_and_ends_at_crossings() {
        let over = [Some(0.0), Some(10.0), Some(0.0), Some(0.0), Some(0.0)];
        let under = [Some(5.0); 5];
        assert_eq!(excess(&plot(), &TIMES, &over, &under), "M69.2 73l17.2-58 17.2 58 0 0-17.2 0-17.2 0z");
        assert_eq!(excess(&plot(), &TIMES, &under, &[Some(6.0); 5]), "");
    }
}
