//! The number of workers of a pool: the rule in `decision`, the memory between two decisions in `autoscaler`, and the facts
//! of the pool in `sizer`.

pub(super) mod autoscaler;
pub(super) mod decision;
pub(super) mod sizer;
