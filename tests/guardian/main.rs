//! The guardian with real processes: what children get, how their ends are told, and that nothing survives.

mod children;
mod death;
mod limits;
mod support;
mod trees;
