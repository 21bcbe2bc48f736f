//! The check of the local time zone; times are in [`crate::wording`].

use super::failure::{Exit, Failure};
use crate::job_json::time::local_zone;
pub(crate) use crate::wording::time::{local, rfc3339};

/// Fails when the variable `TZ` names an unknown zone: a command that prints local times has none to print.
pub(crate) fn check_zone() -> Result<(), Failure> {
    local_zone()
        .map(|_| ())
        .map_err(|unknown| Failure::new(Exit::Usage, "find the local time").because(unknown))
}
