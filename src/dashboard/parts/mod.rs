//! Parts that pages share.

mod figures;
mod frame;
mod language;
mod words;

pub(super) use figures::{age, bytes, clock_time, count, millis, per_second, seconds, share};
pub(super) use frame::{Frame, Page, base_path, is_own_path, wanted_part};
pub(super) use language::Language;
pub(super) use words::Words;
