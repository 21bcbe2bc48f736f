//! The tree of a condition, whose units have been checked.

use std::time::Duration;

use super::fields::Field;

/// An expression that is true or false.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Logic {
    Literal(bool),
    Field(Field),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Same { left: Box<Self>, right: Box<Self>, negated: bool },
    Compare(Comparison, Box<Numeric>, Box<Numeric>),
}

/// An expression that is a number in its base unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numeric {
    Literal(f64),
    Field(Field),
    Negated(Box<Self>),
    /// A function of the samples of the last time.
    Window(Function, Field, Duration),
    Of(Arithmetic, Box<Self>, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Different,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Plus,
    Minus,
    Times,
    Over,
}

/// A function of the samples of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Avg,
    Min,
    Max,
    /// The last value minus the first.
    Delta,
    /// The change per second.
    Rate,
}

impl Function {
    pub(super) const NAMES: [(&'static str, Self); 5] = [
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
        ("delta", Self::Delta),
        ("rate", Self::Rate),
    ];
}

impl Logic {
    /// Calls `note` with each field of the expression.
    pub(super) fn fields(&self, note: &mut impl FnMut(Field)) {
        match self {
            Self::Literal(_) => {}
            Self::Field(field) => note(*field),
            Self::Not(inner) => inner.fields(note),
            Self::And(left, right) | Self::Or(left, right) | Self::Same { left, right, .. } => {
                left.fields(note);
                right.fields(note);
            }
            Self::Compare(_, left, right) => {
                left.fields(note);
                right.fields(note);
            }
        }
    }
}

impl Numeric {
    fn fields(&self, note: &mut impl FnMut(Field)) {
        match self {
            Self::Literal(_) => {}
            Self::Field(field) | Self::Window(_, field, _) => note(*field),
            Self::Negated(inner) => inner.fields(note),
            Self::Of(_, left, right) => {
                left.fields(note);
                right.fields(note);
            }
        }
    }
}
