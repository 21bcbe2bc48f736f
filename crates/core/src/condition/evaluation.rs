//! The value of a condition, true, false or unknown, from the values of a channel.

use std::time::Duration;

use super::expression::{Arithmetic, Comparison, Function, Logic, Numeric};
use super::fields::Field;

/// The values of a channel at a time.
pub trait Values {
    /// The value of a field in its base unit: seconds, bytes, a share; 1 for true and 0 for false. `None` while it is unknown.
    fn value(&self, field: Field) -> Option<f64>;

    /// The samples of the last `time`, the oldest first: seconds before the present, and the value.
    fn window(&self, field: Field, time: Duration) -> Vec<(f64, f64)>;
}

/// Three-valued as in Kleene's logic: an unknown part decides nothing, unless the other part decides alone.
pub(super) fn logic(expression: &Logic, values: &impl Values) -> Option<bool> {
    match expression {
        Logic::Literal(value) => Some(*value),
        Logic::Field(field) => values.value(*field).map(|value| value != 0.0),
        Logic::Not(inner) => logic(inner, values).map(|value| !value),
        Logic::And(left, right) => match (logic(left, values), logic(right, values)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Logic::Or(left, right) => match (logic(left, values), logic(right, values)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Logic::Same { left, right, negated } => {
            Some((logic(left, values)? == logic(right, values)?) != *negated)
        }
        Logic::Compare(how, left, right) => {
            let (left, right) = (number(left, values)?, number(right, values)?);
            Some(match how {
                Comparison::Less => left < right,
                Comparison::AtMost => left <= right,
                Comparison::More => left > right,
                Comparison::AtLeast => left >= right,
                Comparison::Equal => left == right,
                Comparison::Different => left != right,
            })
        }
    }
}

/// `None` for an unknown field, a window without samples, and a division by zero.
fn number(expression: &Numeric, values: &impl Values) -> Option<f64> {
    let value = match expression {
        Numeric::Literal(value) => *value,
        Numeric::Field(field) => values.value(*field)?,
        Numeric::Negated(inner) => -number(inner, values)?,
        Numeric::Window(function, field, time) => window(*function, &values.window(*field, *time))?,
        Numeric::Of(how, left, right) => {
            let (left, right) = (number(left, values)?, number(right, values)?);
            match how {
                Arithmetic::Plus => left + right,
                Arithmetic::Minus => left - right,
                Arithmetic::Times => left * right,
                Arithmetic::Over => left / right,
            }
        }
    };
    value.is_finite().then_some(value)
}

fn window(function: Function, samples: &[(f64, f64)]) -> Option<f64> {
    let all = samples.iter().map(|(_, value)| *value);
    let ((begin, first), (end, last)) = (samples.first()?, samples.last()?);
    match function {
        #[expect(clippy::cast_precision_loss, reason = "a window has a few thousand samples")]
        Function::Avg => Some(all.sum::<f64>() / samples.len() as f64),
        Function::Min => all.reduce(f64::min),
        Function::Max => all.reduce(f64::max),
        Function::Delta => (samples.len() > 1).then(|| last - first),
        // Division by zero between two samples of one instant is unknown.
        Function::Rate => Some((last - first) / (begin - end)),
    }
}
