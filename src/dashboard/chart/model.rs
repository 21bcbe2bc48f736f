//! The parts of a chart as pages describe them.

use super::clock::Clock;
use super::unit::Unit;

/// A chart: the answer to one question over a range of time. Times are microseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// Short name: "Backlog".
    pub(crate) title: String,
    /// The question that the chart answers: "Is the backlog growing?".
    pub(crate) question: String,
    /// Unit of all values.
    pub(crate) unit: Unit,
    /// Begin of the range.
    pub(crate) from: u64,
    /// End of the range.
    pub(crate) to: u64,
    /// Time of day on the axis and in the table.
    pub(crate) clock: Clock,
    /// Times of the values, ascending, at most 900. For bars: the begin of each bucket.
    pub(crate) times: Vec<u64>,
    /// The series, drawn in this order.
    pub(crate) series: Vec<Series>,
    /// The red area where one line is above another.
    pub(crate) excess: Option<Excess>,
    /// Vertical marks: reloads, restarts, alerts.
    pub(crate) marks: Vec<Mark>,
    /// Points with a reason, such as decisions of the autoscaler.
    pub(crate) dots: Vec<Dot>,
    /// Spans of time: pauses, outages of the store.
    pub(crate) bands: Vec<Band>,
    /// Horizontal dashed lines.
    pub(crate) limits: Vec<Limit>,
    /// Logarithmic scale. Zero has a place on it.
    pub(crate) log: bool,
}

/// Values of one kind over the times of the chart.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// Name in the key and the table.
    pub(crate) name: String,
    /// The shape that is drawn.
    pub(crate) kind: SeriesKind,
    /// The colour, and the dashes of lines.
    pub(crate) tone: Tone,
    /// A value for each time of the chart. `None` is a gap: nothing was measured.
    pub(crate) values: Vec<Option<f64>>,
}

/// Colours of series that people with colour blindness can tell apart. Lines of some are dashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The main series.
    Blue,
    /// The second series, or failures. Dashed.
    Orange,
    /// A series of less weight. Dotted.
    Grey,
}

impl Tone {
    /// Class of the tone.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Blue => "s1",
            Self::Orange => "s2",
            Self::Grey => "s3",
        }
    }
}

/// The shape of a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SeriesKind {
    /// A line through the values.
    Line,
    /// A thin line for a value of less weight, such as p99.
    Thin,
    /// A line and the area below it.
    Area,
    /// A line that keeps each value until the next one.
    Step,
    /// The area between the values and these lower ones, such as p50 to p95.
    Range {
        /// The lower edge, one value for each time.
        lower: Vec<Option<f64>>,
    },
    /// A part of a stacked bar per bucket. Buckets are added up when there are many. A chart with bars has bars only.
    Bar,
}

/// The area between two lines where the first is above the second: more comes in than goes out.
#[derive(Debug, Clone)]
pub(crate) struct Excess {
    /// Name in the key.
    pub(crate) name: String,
    /// Position of the upper series.
    pub(crate) over: usize,
    /// Position of the lower series.
    pub(crate) under: usize,
}

/// A vertical line with a sign.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// Time of the event.
    pub(crate) at: u64,
    /// Kind of event, which decides the sign.
    pub(crate) kind: MarkKind,
    /// Text at the mark and in the table of events.
    pub(crate) text: String,
}

/// Kinds of vertical marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MarkKind {
    /// A restart of the master, ◆.
    Restart,
    /// An alert that fires, ▼.
    Alert,
}

/// A point with a reason.
#[derive(Debug, Clone)]
pub(crate) struct Dot {
    /// Time of the event.
    pub(crate) at: u64,
    /// Height of the point.
    pub(crate) value: f64,
    /// Text at the point and in the table of events.
    pub(crate) reason: String,
}

/// A span of time with a cause.
#[derive(Debug, Clone)]
pub(crate) struct Band {
    /// Begin of the span.
    pub(crate) from: u64,
    /// End of the span, or the end of the chart while the span lasts.
    pub(crate) to: Option<u64>,
    /// Cause of the span.
    pub(crate) kind: BandKind,
    /// Text at the band and in the table of events.
    pub(crate) text: String,
}

/// Causes of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BandKind {
    /// The channel was paused.
    Pause,
    /// The store was unreachable.
    StoreDown,
}

/// A horizontal dashed line.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    /// Name at the line: "max".
    pub(crate) name: String,
    /// Height of the line.
    pub(crate) value: f64,
}
