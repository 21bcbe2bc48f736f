//! The number of workers of a pool: the rule in `decision`, the memory between two decisions in `autoscaler`, the facts
//! of the pool in `sizer`, and the use of the result in `resize`.

pub(super) mod autoscaler;
pub(super) mod decision;
pub(super) mod resize;
pub(super) mod sizer;
