//! How many workers a pool keeps: the rule in `decision`, the state between decisions in `autoscaler`.

pub(super) mod autoscaler;
pub(super) mod decision;
