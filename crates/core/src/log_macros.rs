//! The macros of `tracing` for what is also compiled without it, where they say nothing.

#[cfg(feature = "tracing")]
pub(crate) use tracing::{debug, error, info, warn};

#[cfg(not(feature = "tracing"))]
macro_rules! quiet {
    ($($said:tt)*) => {{}};
}
#[cfg(not(feature = "tracing"))]
pub(crate) use {quiet as debug, quiet as error, quiet as info, quiet as warn};
