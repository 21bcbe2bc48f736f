//! A visitor, and the rights that handlers ask for.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::super::Dashboard;
use crate::dashboard::refusal::Refusal;

/// The role of a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine::dashboard) enum Role {
    /// Has shown no token, and may see nothing.
    Stranger,
    /// Has shown no token, and sees counts, names and states.
    Anonymous,
    /// Sees everything.
    Viewer,
    /// Sees everything and acts.
    Operator,
}

/// The client of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine::dashboard) struct Visitor {
    pub(in crate::engine::dashboard) role: Role,
    /// The name of the token.
    pub(in crate::engine::dashboard) name: Option<Arc<str>>,
    /// Whether payloads, headers, output and errors are shown.
    pub(in crate::engine::dashboard) sees_payloads: bool,
}

impl Visitor {
    pub(in crate::engine::dashboard) fn has_signed_in(&self) -> bool {
        self.name.is_some()
    }
}

/// A right.
pub(in crate::engine::dashboard) trait Right {
    /// The least role that has the right.
    const LEAST: Role;
}

/// The right to see counts, names and states.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct See;

impl Right for See {
    const LEAST: Role = Role::Anonymous;
}

/// The right to change jobs, channels and workers.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct Operate;

impl Right for Operate {
    const LEAST: Role = Role::Operator;
}

/// A visitor who has a right.
#[derive(Debug)]
pub(in crate::engine::dashboard) struct Can<R> {
    pub(in crate::engine::dashboard) visitor: Visitor,
    right: PhantomData<R>,
}

impl<R: Right> FromRequestParts<Arc<Dashboard>> for Can<R> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Dashboard>) -> Result<Self, Refusal> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let visitor = visitor.expect("the layer `identify` is around every route");
        if visitor.role >= R::LEAST {
            return Ok(Self { visitor, right: PhantomData });
        }
        Err(match visitor {
            visitor if visitor.has_signed_in() => Refusal::NeedsOperator,
            _ => Refusal::SignIn,
        })
    }
}
