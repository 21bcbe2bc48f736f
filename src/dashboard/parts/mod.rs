//! Parts that pages share.

mod figures;
mod frame;
mod language;
mod links;
mod words;

pub(super) use figures::{
    age, bytes, clock_time, count, field_value, firing_text, lines, millis, per_second, seconds, share,
};
pub(super) use frame::{Frame, NOTICE_COOKIE, Page, base_path, is_own_path, wanted_part};
pub(super) use language::Language;
pub(super) use links::{channel_path, named};
pub(super) use words::Words;
