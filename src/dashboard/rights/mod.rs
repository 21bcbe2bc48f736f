//! Visitors and their rights.
//!
//! A visitor shows a token, as a bearer or in the form of `/login`; the form gives a signed cookie. Each handler names the right
//! that it needs as its argument [`Can`], so that none is forgotten.

mod gate;
mod session;
mod visitor;

pub(super) use gate::{Gate, SignIn, bearer};
pub(super) use visitor::{Can, Operate, Role, See, Visitor};
