//! The points of a chart as JSON for the crosshair. Numbers only: names are in the key.

use std::fmt::Write as _;

use super::model::Chart;
use super::plot::{BOTTOM, LEFT, Plot, RIGHT, TOP};
use super::reduce::Rows;

/// Parts into which a range of time is divided for the times of points.
const TIME_PARTS: u64 = 10_000;

/// The JSON of `data-points`: `t` has the distances of times in units of `per` milliseconds, the first one from `from`.
pub(crate) fn json(chart: &Chart, plot: &Plot, rows: &Rows, step_seconds: Option<u64>) -> String {
    let from = chart.from / 1_000;
    let per = (chart.to.saturating_sub(chart.from) / 1_000 / TIME_PARTS).max(1);
    let edges = [LEFT, RIGHT, TOP, BOTTOM].map(|edge| edge / 10);
    let mut before = 0;
    let distances = rows.times.iter().map(|at| {
        let now = ((at / 1_000).saturating_sub(from) + per / 2) / per;
        let distance = now.saturating_sub(before);
        before = now;
        distance.to_string()
    });
    let times = list(distances);
    let series = rows.columns.iter().map(|column| {
        let values = list(column.values.iter().map(|value| number(*value)));
        match &column.lower {
            Some(lower) => {
                format!("{{\"v\":{values},\"lower\":{}}}", list(lower.iter().map(|value| number(*value))))
            }
            None => format!("{{\"v\":{values}}}"),
        }
    });
    let mut json = format!(
        "{{\"from\":{from},\"per\":{per},\"offset\":{},\"unit\":\"{}\",\"plot\":{edges:?},\"top\":{},\"log\":{}",
        chart.clock.minutes(),
        chart.unit.name(),
        number(Some(plot.scale().top)),
        plot.scale().log,
    );
    if let Some(step) = step_seconds {
        // Writing to a string cannot fail.
        let _ = write!(json, ",\"bar\":{}", step.saturating_mul(1_000));
    }
    let series = list(series);
    let _ = write!(json, ",\"t\":{times},\"series\":{series}}}");
    json.replace(", ", ",")
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// Four significant digits, in the shortest form.
fn number(value: Option<f64>) -> String {
    match value {
        None => "null".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(value) if (1_000.0..1e6).contains(&value) => format!("{value:.0}"),
        Some(value) if (0.001..1_000.0).contains(&value) => {
            let decimals = (3 - value.log10().floor() as i32).clamp(0, 6) as usize;
            format!("{value:.decimals$}").trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Some(value) => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_four_digits() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (40.1, "40.1"),
            (100.0, "100"),
            (999.96, "1000"),
            (0.123_456, "0.1235"),
            (123_456.7, "123457"),
            (63_963_136.0, "6.396e7"),
            (0.000_012_34, "1.234e-5"),
        ];
        for (value, text) in cases {
            assert_eq!(number(Some(value)), text);
        }
        assert_eq!(number(None), "null");
    }
}
