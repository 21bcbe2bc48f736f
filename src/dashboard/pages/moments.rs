//! Times of the past, as pages show them.

use maud::{Markup, html};

use crate::dashboard::parts::age;
use crate::dashboard::picture::Picture;
use crate::job::Timestamp;

/// The time since a moment of the past, by the clock of the picture.
pub(super) fn ago(picture: &Picture, at: Timestamp) -> Markup {
    since(picture.at, at)
}

/// The time from a moment until `now`; the script shows the moment itself in the tooltip.
pub(super) fn since(now: Timestamp, at: Timestamp) -> Markup {
    let micros = i64::try_from(at.0).unwrap_or(i64::MAX);
    let moment = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
    html! { time datetime=(moment) { (age(Some(now.since(at)))) } }
}
