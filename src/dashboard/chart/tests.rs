//! Whole charts: texts of small ones, and limits of all.

use super::{
    Band, BandKind, CHART_CSS, Chart, ChartWords, Clock, Dot, Excess, Limit, Mark, MarkKind, Series,
    SeriesKind, Spark, Tone, Unit,
};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
/// 2026-11-30 12:03:07 UTC.
const NOW: u64 = 1_796_040_187 * SECOND;

const WORDS: ChartWords = ChartWords {
    time: "Time",
    no_data: "No data in this range",
    show_table: "Show as table",
    events: "Events",
    summary: "{name}: {min} to {max}, now {last}",
    bar_summary: "{name}: {total}",
    spark: "{name}, {range}: {min} to {max}, now {last}",
    spark_empty: "{name}, {range}: no data",
    highest: "Highest value in steps of {step}",
    total: "Total in steps of {step}",
    restart: "restart",
    alert: "alert",
    decision: "decision",
    pause: "paused",
    store_down: "store down",
    separator: ". ",
};

fn chart(unit: Unit, minutes: u64, times: Vec<u64>) -> Chart {
    Chart {
        title: "Backlog".to_owned(),
        question: "Is it growing?".to_owned(),
        unit,
        from: NOW - minutes * MINUTE,
        to: NOW,
        clock: Clock::UTC,
        times,
        series: Vec::new(),
        excess: None,
        marks: Vec::new(),
        dots: Vec::new(),
        bands: Vec::new(),
        limits: Vec::new(),
        log: false,
    }
}

fn series(name: &str, tone: Tone, kind: SeriesKind, values: Vec<Option<f64>>) -> Series {
    Series { name: name.to_owned(), tone, kind, values }
}

/// A chart of a quarter of an hour with a value every three minutes.
fn small(kind: SeriesKind, values: &[f64]) -> Chart {
    let times =
        (0..values.len() as u64).map(|row| NOW - (values.len() as u64 - 1 - row) * 3 * MINUTE).collect();
    let mut chart = chart(Unit::Count, 15, times);
    chart.series = vec![series("waiting", Tone::Blue, kind, values.iter().copied().map(Some).collect())];
    chart
}

fn noise(count: usize, seed: usize, scale: f64) -> Vec<Option<f64>> {
    (0..count).map(|row| Some(((row * 7_919 + seed * 104_729) % 1_009) as f64 * scale)).collect()
}

/// The elements on lines of their own, without the table.
fn drawing(chart: &Chart) -> String {
    let page = chart.render(&WORDS).into_string();
    page[..page.find("<details").unwrap()].replace("><", ">\n<")
}

#[test]
fn area_with_a_gap_marks_and_bands() {
    let mut chart = small(SeriesKind::Area, &[300.0, 420.0, 0.0, 800.0, 1_180.0]);
    chart.series[0].values[2] = None;
    chart.marks =
        vec![Mark { at: NOW - 9 * MINUTE, kind: MarkKind::Restart, text: "generation 7".to_owned() }];
    chart.bands = vec![Band {
        from: NOW - 10 * MINUTE,
        to: Some(NOW - 8 * MINUTE),
        kind: BandKind::StoreDown,
        text: "unreachable for 2 min".to_owned(),
    }];
    insta::assert_snapshot!(drawing(&chart));
}

#[test]
fn bars_are_stacked() {
    let mut chart = small(SeriesKind::Bar, &[30.0, 42.0, 10.0, 0.0, 20.0]);
    chart.series.push(series("failed", Tone::Orange, SeriesKind::Bar, noise(5, 2, 0.01)));
    insta::assert_snapshot!(drawing(&chart));
}

#[test]
fn range_line_and_thin_line() {
    let mut chart = small(SeriesKind::Line, &[0.1, 0.2, 0.1, 0.15, 0.1]);
    chart.unit = Unit::Seconds;
    let lower = chart.series[0].values.clone();
    let upper: Vec<_> = lower.iter().map(|value| value.map(|value| value * 3.0)).collect();
    chart.series.insert(0, series("p50 – p95", Tone::Blue, SeriesKind::Range { lower }, upper.clone()));
    chart.series.push(series("p99", Tone::Grey, SeriesKind::Thin, upper));
    insta::assert_snapshot!(drawing(&chart));
}

#[test]
fn steps_with_limits_and_reasons() {
    let mut chart = small(SeriesKind::Step, &[2.0, 4.0, 4.0, 8.0, 8.0]);
    chart.limits =
        vec![Limit { name: "max".to_owned(), value: 20.0 }, Limit { name: "host".to_owned(), value: 640.0 }];
    chart.dots =
        vec![Dot { at: NOW - 9 * MINUTE, value: 4.0, reason: "backlog 7, running 3 → 4".to_owned() }];
    insta::assert_snapshot!(drawing(&chart));
}

#[test]
fn excess_is_between_the_lines() {
    let mut chart = small(SeriesKind::Line, &[10.0, 30.0, 30.0, 10.0, 10.0]);
    chart.unit = Unit::PerSecond;
    chart.series.push(series("out", Tone::Orange, SeriesKind::Line, vec![Some(20.0); 5]));
    chart.excess = Some(Excess { name: "in above out".to_owned(), over: 0, under: 1 });
    insta::assert_snapshot!(drawing(&chart));
}

#[test]
fn table_has_values_and_events() {
    let mut chart = small(SeriesKind::Line, &[1.0, 2.0, 1_234.0]);
    chart.series[0].values[1] = None;
    chart.clock = Clock::offset_minutes(12 * 60);
    chart.marks =
        vec![Mark { at: NOW - 5 * MINUTE, kind: MarkKind::Alert, text: "waiting > 1000".to_owned() }];
    chart.bands = vec![Band {
        from: NOW - 20 * MINUTE,
        to: None,
        kind: BandKind::Pause,
        text: "paused by wang".to_owned(),
    }];
    let page = chart.render(&WORDS).into_string();
    insta::assert_snapshot!(page[page.find("<details").unwrap()..].replace("><", ">\n<"));
}

#[test]
fn sparkline_says_all_in_its_label() {
    let spark = |values| Spark {
        name: "waiting".to_owned(),
        range: "last hour".to_owned(),
        unit: Unit::Count,
        values,
    };
    let page = spark(vec![Some(3.0), None, Some(600.0), Some(1_180.0)]).render(&WORDS).into_string();
    insta::assert_snapshot!(page.replace("><", ">\n<"));
    let empty = spark(Vec::new()).render(&WORDS).into_string();
    assert!(empty.contains("aria-label=\"waiting, last hour: no data\""), "{empty}");
    let long = spark(noise(900, 1, 1.0)).render(&WORDS).into_string();
    assert!(long.len() < 900, "{} bytes", long.len());
}

#[test]
fn odd_values_are_never_printed() {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -5.0, 1e12, 1e300, f64::MIN_POSITIVE, 0.0];
    let kinds = [
        SeriesKind::Line,
        SeriesKind::Thin,
        SeriesKind::Area,
        SeriesKind::Step,
        SeriesKind::Range { lower: odd.iter().copied().map(Some).collect() },
        SeriesKind::Bar,
    ];
    for unit in [Unit::Count, Unit::PerSecond, Unit::Seconds, Unit::Bytes] {
        for kind in &kinds {
            for values in [&odd[..], &odd[..1], &odd[..4], &odd[4..5], &odd[7..], &[7.0; 5], &[0.0; 5], &[]] {
                for log in [false, true] {
                    let mut chart = small(kind.clone(), values);
                    chart.unit = unit;
                    chart.log = log;
                    chart.limits = vec![Limit { name: "max".to_owned(), value: f64::NAN }];
                    chart.dots = vec![Dot { at: NOW, value: f64::INFINITY, reason: "none".to_owned() }];
                    let page = chart.render(&WORDS).into_string();
                    let lower = page.to_lowercase();
                    assert!(
                        !lower.contains("nan") && !lower.contains(">inf") && !lower.contains("infinity"),
                        "{page}"
                    );
                    assert!(!page.contains(" -5") && !page.contains(">-"), "{page}");
                }
            }
        }
    }
}

#[test]
fn charts_without_values_say_so() {
    let page = drawing(&chart(Unit::Count, 15, Vec::new()));
    assert!(page.contains(">No data in this range</text>"), "{page}");
    assert!(page.contains("<desc>No data in this range</desc>"), "{page}");
    let mut late = small(SeriesKind::Line, &[5.0, 6.0]);
    (late.from, late.to) = (NOW + MINUTE, NOW + 2 * MINUTE);
    assert!(drawing(&late).contains("No data in this range"));
    let mut without_length = small(SeriesKind::Area, &[5.0]);
    without_length.from = without_length.to;
    assert!(!drawing(&without_length).contains("No data in this range"));
}

#[test]
fn hostile_texts_are_escaped_and_cut() {
    let hostile = "\"><script>alert('x')</script>&{name}]]><!-- ".repeat(40);
    let mut chart = small(SeriesKind::Line, &[5.0, 6.0]);
    (chart.title, chart.question) = (hostile.clone(), hostile.clone());
    chart.series[0].name = hostile.clone();
    chart.excess = Some(Excess { name: hostile.clone(), over: 9, under: 0 });
    chart.marks = vec![Mark { at: NOW, kind: MarkKind::Alert, text: hostile.clone() }];
    chart.dots = vec![Dot { at: NOW, value: 5.0, reason: hostile.clone() }];
    chart.bands = vec![Band { from: 0, to: None, kind: BandKind::Pause, text: hostile.clone() }];
    chart.limits = vec![Limit { name: hostile.clone(), value: 6.0 }];
    let spark = Spark { name: hostile.clone(), range: hostile, unit: Unit::Count, values: vec![Some(1.0)] };
    for page in [chart.render(&WORDS).into_string(), spark.render(&WORDS).into_string()] {
        assert!(!page.contains("<script") && !page.contains("<!--"), "{page}");
        assert!(page.len() < 20 * 1024, "{} bytes", page.len());
    }
}

/// Every kind of chart with all that a chart may have, for one range of the page.
fn full_charts(minutes: u64, step: u64) -> Vec<Chart> {
    let count = (minutes * 60 / step).min(900) as usize;
    let times: Vec<u64> = (0..count as u64).map(|row| NOW - (count as u64 - row) * step * SECOND).collect();
    let mut charts = Vec::new();
    for series_count in [1, 2, 4, 7] {
        for kind in [SeriesKind::Line, SeriesKind::Area, SeriesKind::Step, SeriesKind::Bar] {
            let mut chart = chart(Unit::Bytes, minutes, times.clone());
            chart.clock = Clock::offset_minutes(12 * 60);
            chart.series = (0..series_count)
                .map(|seed| series("all workers", Tone::Blue, kind.clone(), noise(count, seed, 1_234_567.89)))
                .collect();
            chart.excess = Some(Excess { name: "in above out".to_owned(), over: 0, under: 1 });
            for event in 0..10 {
                let at = NOW - event * minutes * MINUTE / 11;
                let text = format!("event {event} of the last day");
                chart.marks.push(Mark { at, kind: MarkKind::Restart, text: text.clone() });
                chart.dots.push(Dot { at, value: event as f64, reason: text.clone() });
                if event < 4 {
                    chart.bands.push(Band { from: at, to: Some(at + MINUTE), kind: BandKind::Pause, text });
                }
            }
            charts.push(chart);
        }
    }
    charts
}

#[test]
fn charts_of_every_range_are_bounded() {
    let mut largest = 0;
    for (minutes, step) in [(15, 1), (60, 4), (60, 10), (360, 60), (360, 24), (1_440, 60), (1_440, 96)] {
        for chart in full_charts(minutes, step) {
            let page = chart.render(&WORDS).into_string();
            largest = largest.max(page.len());
            assert!(
                page.len() <= 20 * 1024,
                "{minutes} min, {} series: {} bytes",
                chart.series.len(),
                page.len()
            );
            assert!(!page.contains("style=") && !page.contains(" id="), "{page}");
            let values = page.matches("<th scope=\"row\">").count();
            assert!((10..=60 + 30).contains(&values), "{values} rows");
        }
    }
    assert!(largest > 10 * 1024, "the charts are full: {largest} bytes");
}

#[test]
fn points_are_json_of_numbers_and_keep_extremes() {
    for minutes in [15, 1_440] {
        for mut chart in full_charts(minutes, minutes * 60 / 900) {
            chart.series[0].values[437] = Some(9e9);
            let page = chart.render(&WORDS).into_string();
            let json = page
                .split("data-points=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .replace("&quot;", "\"");
            let points: serde_json::Value = serde_json::from_str(&json).unwrap();
            let times = points["t"].as_array().unwrap();
            assert!(times.len() <= 300, "{} points", times.len());
            let series = points["series"].as_array().unwrap();
            assert_eq!(series.len(), chart.series.len());
            let values = series[0]["v"].as_array().unwrap();
            assert_eq!(values.len(), times.len());
            assert!(values.iter().any(|value| value.as_f64().unwrap_or(0.0) >= 9e9));
            let per = points["per"].as_u64().unwrap();
            let last = points["from"].as_u64().unwrap()
                + times.iter().map(|t| t.as_u64().unwrap()).sum::<u64>() * per;
            assert!(last.abs_diff(NOW / 1_000) <= minutes * 60_000 / 20, "{last}");
        }
    }
}

#[test]
fn far_limits_do_not_flatten_the_chart() {
    let mut chart = small(SeriesKind::Line, &[1.0, 2.0, 3.0]);
    chart.limits = vec![Limit { name: "limit".to_owned(), value: 4_000.0 }];
    let page = drawing(&chart);
    assert!(page.contains("↑ limit 4,000") && !page.contains("chart-limit\""), "{page}");
    chart.limits[0].value = 9.0;
    let page = drawing(&chart);
    assert!(
        page.contains(">limit 9<")
            && page.contains("chart-limit\"")
            && page.contains(">9<") | page.contains(">10<"),
        "{page}"
    );
}

#[test]
fn style_sheet_is_small_and_has_contrast() {
    assert!(CHART_CSS.len() <= 3 * 1024, "{} bytes", CHART_CSS.len());
    assert!(!CHART_CSS.contains("url(") && !CHART_CSS.contains("@import"));
    for (theme, back) in [(0, 0xff_ff_ff), (1, 0x1b_1f_26)] {
        for (name, least) in [
            ("c1", 3.0),
            ("c2", 3.0),
            ("c3", 3.0),
            ("c4", 3.0),
            ("c5", 3.0),
            ("bad", 3.0),
            ("ink", 4.5),
            ("soft", 4.5),
        ] {
            let ratio = contrast(color(name, theme), back);
            assert!(ratio >= least, "--{name} of theme {theme}: {ratio:.2}");
        }
    }
}

/// The color of a custom property in the light (0) or dark (1) theme.
fn color(name: &str, theme: usize) -> u32 {
    let pair = CHART_CSS.split(&format!("--{name}:light-dark(")).nth(1).unwrap().split(')').next().unwrap();
    u32::from_str_radix(pair.split(',').nth(theme).unwrap().trim_start_matches('#'), 16).unwrap()
}

/// The contrast of two colors by WCAG 2.
fn contrast(a: u32, b: u32) -> f64 {
    let luminance = |color: u32| {
        let channel = |shift: u32| {
            let part = f64::from(color >> shift & 0xff) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}
