//! The macros of `tracing`, or empty ones in builds without it.

#[cfg(feature = "tracing")]
pub(crate) use tracing::{debug, error, info, warn};

#[cfg(not(feature = "tracing"))]
macro_rules! quiet {
    ($($said:tt)*) => {{}};
}
#[cfg(not(feature = "tracing"))]
pub(crate) use {quiet as debug, quiet as error, quiet as info, quiet as warn};
