//! Options that select jobs, shared by the commands that list and change them.

use std::time::SystemTime;

use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};

use crate::job::{FailReason, JobId, Timestamp};
use crate::job_json::time::{TimeError, parse_duration, parse_time};
use crate::store::{Cursor, JobFilter};

/// Options that select failed jobs.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct FailedJobOptions {
    /// Only jobs with this name
    #[arg(long, value_name = "JOB", value_parser = NonEmptyStringValueParser::new())]
    job: Option<String>,
    /// Only jobs that failed for this reason
    #[arg(long, value_name = "REASON", value_parser = named(FailReason::ALL, FailReason::as_str))]
    reason: Option<FailReason>,
    /// Only jobs that failed in this time until now, such as 1h or 7d, or since a time: "2026-11-30 09:00"
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only jobs that failed longer ago than this, such as 7d, or before a time: "2026-11-30 09:00"
    #[arg(long, value_name = "TIME", value_parser = moment)]
    older_than: Option<Timestamp>,
    /// Only jobs with this text in name, payload or errors; upper and lower case count as equal
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    grep: Option<String>,
}

impl FailedJobOptions {
    /// Whether an option is given.
    pub(super) fn selects(&self) -> bool {
        let Self { job, reason, since, older_than, grep } = self;
        job.is_some() || reason.is_some() || since.is_some() || older_than.is_some() || grep.is_some()
    }

    pub(super) fn filter(self, ids: Vec<JobId>) -> JobFilter {
        JobFilter {
            ids,
            job: self.job,
            reason: self.reason,
            since: self.since,
            before: self.older_than,
            text: self.grep,
            ..JobFilter::default()
        }
    }
}

/// Parses the name of one of `values`.
pub(super) fn named<T, const N: usize>(
    values: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(values.map(name)).map(move |text| {
        let meant = values.into_iter().find(|value| name(*value) == text);
        meant.expect("the parser admits only these names")
    })
}

/// Parses a point in the past: so long ago, or at this time.
fn moment(text: &str) -> Result<Timestamp, String> {
    moment_before(text, SystemTime::now().into())
}

fn moment_before(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(length) = parse_duration(text) {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(micros)));
    }
    match parse_time(text) {
        Ok(time) => Ok(time.into()),
        Err(TimeError::Form) => {
            Err("write a time span such as 30m, 12h, 7d, or a time such as 2026-11-30 09:00".to_owned())
        }
        Err(why) => Err(why.to_string()),
    }
}

/// Parses a position that [`position_text`] wrote.
pub(super) fn position(text: &str) -> Result<Cursor, &'static str> {
    const FORM: &str = "use the position that the previous page printed";
    let (rank, id) = text.split_once('.').ok_or(FORM)?;
    let rank = rank.parse().map_err(|_| FORM)?;
    Ok(Cursor { rank, id: id.parse().map_err(|_| FORM)? })
}

pub(super) fn position_text(cursor: Cursor) -> String {
    format!("{}.{}", cursor.rank, cursor.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_is_a_time_span_or_a_time() {
        let now = Timestamp(1_796_029_200_000_000);
        assert_eq!(moment_before("90", now), Ok(Timestamp(1_796_029_110_000_000)));
        assert_eq!(moment_before("7d", now), Ok(Timestamp(1_795_424_400_000_000)));
        assert_eq!(moment_before("2026-11-30T08:00:00Z", now), Ok(Timestamp(1_796_025_600_000_000)));
        assert_eq!(moment_before("90000d", now), Ok(Timestamp(0)));
        assert!(moment_before("last week", now).unwrap_err().contains("7d"));
    }

    #[test]
    fn position_of_a_page_is_read_as_written() {
        let place = position(&position_text(Cursor { rank: 5, id: 17 })).unwrap();
        assert_eq!((place.rank, place.id), (5, 17));
        assert!(position("5").is_err());
    }
}
