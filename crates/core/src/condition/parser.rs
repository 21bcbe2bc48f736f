//! Parses a condition and checks its units.

use std::time::Duration;

use super::expression::{Arithmetic, Comparison, Function, Logic, Numeric};
use super::fields::Field;
use super::tokens::{Token, TokenKind, tokens};
use super::units::Unit;
use super::{ConditionError, MAX_BYTES, MAX_DEPTH, MAX_PARTS, WINDOWS};
use crate::suggest::nearest;

/// An expression whose kind is known.
enum Typed {
    Logic(Logic),
    Number {
        tree: Numeric,
        unit: Unit,
        /// Made of plain numbers only, so that it takes the unit of what is beside it.
        is_literal: bool,
    },
}

/// An expression and the column where it begins.
struct Part {
    column: usize,
    typed: Typed,
}

pub(super) fn parse(text: &str) -> Result<Logic, ConditionError> {
    if text.len() > MAX_BYTES {
        let message = format!("a condition has at most {MAX_BYTES} bytes, this one {}", text.len());
        return Err(ConditionError { column: 1, message });
    }
    let tokens = tokens(text)?;
    if tokens.len() > MAX_PARTS {
        let message = format!("a condition has at most {MAX_PARTS} words and symbols");
        return Err(ConditionError { column: tokens[MAX_PARTS].column, message });
    }
    let end = text.chars().count() + 1;
    let mut parser = Parser { tokens: &tokens, next: 0, end, depth: 0 };
    let whole = parser.any_of()?;
    if let Some(token) = parser.tokens.get(parser.next) {
        let message = match token.kind {
            TokenKind::Symbol(")") => "there is no ( for this )".to_owned(),
            TokenKind::Symbol(symbol) if comparison(symbol).is_some() => {
                "comparisons cannot be chained: write a < b and b < c".to_owned()
            }
            _ => "an operator such as \"and\" or \">\" is missing here".to_owned(),
        };
        return Err(ConditionError { column: token.column, message });
    }
    logic(whole)
}

/// The expression as one that is true or false.
fn logic(part: Part) -> Result<Logic, ConditionError> {
    match part.typed {
        Typed::Logic(tree) => Ok(tree),
        Typed::Number { unit, .. } => Err(ConditionError {
            column: part.column,
            message: format!("this is {unit} where true or false is needed: compare it, as in waiting > 100"),
        }),
    }
}

/// The expression as a number, its unit, and whether it is a plain literal.
fn number(part: Part) -> Result<(Numeric, Unit, bool), ConditionError> {
    match part.typed {
        Typed::Number { tree, unit, is_literal } => Ok((tree, unit, is_literal)),
        Typed::Logic(_) => Err(ConditionError {
            column: part.column,
            message: "this is true or false where a number is needed".to_owned(),
        }),
    }
}

fn comparison(symbol: &str) -> Option<Comparison> {
    Some(match symbol {
        "<" => Comparison::Less,
        "<=" => Comparison::AtMost,
        ">" => Comparison::More,
        ">=" => Comparison::AtLeast,
        "==" => Comparison::Equal,
        "!=" => Comparison::Different,
        _ => return None,
    })
}

struct Parser<'p, 't> {
    tokens: &'p [Token<'t>],
    next: usize,
    /// The column behind the last character.
    end: usize,
    depth: usize,
}

impl<'t> Parser<'_, 't> {
    fn column(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |token| token.column)
    }

    fn peek(&self) -> Option<TokenKind<'t>> {
        self.tokens.get(self.next).map(|token| token.kind)
    }

    /// Takes the next word if it is one of these.
    fn take(&mut self, wanted: &[&str]) -> bool {
        let is_wanted = match self.peek() {
            Some(TokenKind::Word(word)) => wanted.contains(&word),
            Some(TokenKind::Symbol(symbol)) => wanted.contains(&symbol),
            _ => false,
        };
        self.next += usize::from(is_wanted);
        is_wanted
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, ConditionError> {
        Err(ConditionError { column: self.column(), message: message.into() })
    }

    fn any_of(&mut self) -> Result<Part, ConditionError> {
        let mut left = self.all_of()?;
        while self.take(&["or", "||"]) {
            let column = left.column;
            let (one, other) = (logic(left)?, logic(self.all_of()?)?);
            left = Part { column, typed: Typed::Logic(Logic::Or(Box::new(one), Box::new(other))) };
        }
        Ok(left)
    }

    fn all_of(&mut self) -> Result<Part, ConditionError> {
        let mut left = self.negation()?;
        while self.take(&["and", "&&"]) {
            let column = left.column;
            let (one, other) = (logic(left)?, logic(self.negation()?)?);
            left = Part { column, typed: Typed::Logic(Logic::And(Box::new(one), Box::new(other))) };
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Part, ConditionError> {
        let column = self.column();
        if !self.take(&["not", "!"]) {
            return self.comparison();
        }
        let inner = self.nested(Self::negation)?;
        Ok(Part { column, typed: Typed::Logic(Logic::Not(Box::new(logic(inner)?))) })
    }

    fn comparison(&mut self) -> Result<Part, ConditionError> {
        let left = self.sum()?;
        let Some(TokenKind::Symbol(symbol)) = self.peek() else { return Ok(left) };
        let Some(how) = comparison(symbol) else { return Ok(left) };
        let at = self.column();
        self.next += 1;
        let (column, right) = (left.column, self.sum()?);
        if let (Typed::Logic(_), Typed::Logic(_)) = (&left.typed, &right.typed) {
            let negated = match how {
                Comparison::Equal => false,
                Comparison::Different => true,
                _ => {
                    let message = "true and false have no order: compare them with == or !=".to_owned();
                    return Err(ConditionError { column: at, message });
                }
            };
            let (left, right) = (Box::new(logic(left)?), Box::new(logic(right)?));
            return Ok(Part { column, typed: Typed::Logic(Logic::Same { left, right, negated }) });
        }
        let ((left, unit, is_literal), right) = (number(left)?, number(right)?);
        for (number, beside) in [(&left, right.1), (&right.0, unit)] {
            if let (Numeric::Literal(percent), Unit::Share) = (number, beside)
                && *percent > 1.0
            {
                let share = percent / 100.0;
                let message = format!("a share is at most 1: write {percent} % as {percent}% or {share}");
                return Err(ConditionError { column: at, message });
            }
        }
        if Unit::beside((unit, is_literal), (right.1, right.2)).is_none() {
            let message = format!("{unit} cannot be compared with {}", right.1);
            return Err(ConditionError { column: at, message });
        }
        Ok(Part { column, typed: Typed::Logic(Logic::Compare(how, Box::new(left), Box::new(right.0))) })
    }

    fn sum(&mut self) -> Result<Part, ConditionError> {
        let mut left = self.product()?;
        loop {
            let (at, how) = match self.peek() {
                Some(TokenKind::Symbol("+")) => (self.column(), Arithmetic::Plus),
                Some(TokenKind::Symbol("-")) => (self.column(), Arithmetic::Minus),
                _ => return Ok(left),
            };
            self.next += 1;
            let right = self.product()?;
            let unit = |left: (Unit, bool), right: (Unit, bool)| Unit::beside(left, right);
            left = arithmetic(at, how, left, right, unit)?;
        }
    }

    fn product(&mut self) -> Result<Part, ConditionError> {
        let mut left = self.sign()?;
        loop {
            let (at, how) = match self.peek() {
                Some(TokenKind::Symbol("*")) => (self.column(), Arithmetic::Times),
                Some(TokenKind::Symbol("/")) => (self.column(), Arithmetic::Over),
                _ => return Ok(left),
            };
            self.next += 1;
            let right = self.sign()?;
            let unit = |(left, _): (Unit, bool), (right, _): (Unit, bool)| match how {
                Arithmetic::Over => left.over(right),
                _ => left.times(right),
            };
            left = arithmetic(at, how, left, right, unit)?;
        }
    }

    fn sign(&mut self) -> Result<Part, ConditionError> {
        let column = self.column();
        if !self.take(&["-"]) {
            return self.atom();
        }
        let (tree, unit, is_literal) = number(self.nested(Self::sign)?)?;
        let typed = Typed::Number { tree: Numeric::Negated(Box::new(tree)), unit, is_literal };
        Ok(Part { column, typed })
    }

    fn atom(&mut self) -> Result<Part, ConditionError> {
        let column = self.column();
        let Some(kind) = self.peek() else {
            return self.wrong("the condition ends here, where a value is expected");
        };
        let typed = match kind {
            TokenKind::Literal(value, unit) => {
                self.next += 1;
                Typed::Number { tree: Numeric::Literal(value), unit, is_literal: unit == Unit::Number }
            }
            TokenKind::Symbol("(") => {
                self.next += 1;
                let inner = self.nested(Self::any_of)?;
                if !self.take(&[")"]) {
                    return self.wrong("a ) is missing here");
                }
                inner.typed
            }
            TokenKind::Symbol(symbol) => {
                return self.wrong(format!("\"{symbol}\" stands where a value is expected"));
            }
            TokenKind::Word("true" | "false") => {
                self.next += 1;
                Typed::Logic(Logic::Literal(kind == TokenKind::Word("true")))
            }
            TokenKind::Word("and" | "or" | "not") => return self.wrong("a value is expected here"),
            TokenKind::Word(word) => match Function::NAMES.into_iter().find(|(name, _)| *name == word) {
                Some((_, function)) => self.window(word, function)?,
                None => {
                    let field = self.field(word)?;
                    self.next += 1;
                    match field.unit() {
                        Unit::Bool => Typed::Logic(Logic::Field(field)),
                        unit => Typed::Number { tree: Numeric::Field(field), unit, is_literal: false },
                    }
                }
            },
        };
        Ok(Part { column, typed })
    }

    /// The field of the next word.
    fn field(&self, word: &str) -> Result<Field, ConditionError> {
        if let Some(field) = Field::named(word) {
            return Ok(field);
        }
        let names = Field::ALL.iter().map(|field| field.name());
        self.wrong(match nearest(word, names) {
            Some(name) => format!("there is no value \"{word}\": did you mean \"{name}\"?"),
            None => format!("there is no value \"{word}\": docs/alerts.md lists all"),
        })
    }

    /// A function of a window: `avg(waiting, 5m)`.
    fn window(&mut self, name: &str, function: Function) -> Result<Typed, ConditionError> {
        self.next += 1;
        let form = format!("write {name}(field, time), as in {name}(waiting, 5m)");
        if !self.take(&["("]) {
            return self.wrong(form);
        }
        let Some(TokenKind::Word(word)) = self.peek() else { return self.wrong(form) };
        let field = self.field(word)?;
        if field.unit() == Unit::Bool || !field.is_in_history() {
            return self.wrong(format!("the history of a channel has no numbers of \"{word}\""));
        }
        self.next += 1;
        if !self.take(&[","]) {
            return self.wrong(form);
        }
        let time = match self.peek() {
            Some(TokenKind::Literal(seconds, Unit::Duration | Unit::Number)) => {
                Duration::try_from_secs_f64(seconds).ok().filter(|time| WINDOWS.contains(time))
            }
            _ => return self.wrong(form),
        };
        let Some(time) = time else { return self.wrong("a window is between 10s and 1h long") };
        self.next += 1;
        if !self.take(&[")"]) {
            return self.wrong("a ) is missing here");
        }
        let tree = Numeric::Window(function, field, time);
        // A change of a duration or a share per second is a plain number.
        let unit = match (function, field.unit()) {
            (Function::Rate, Unit::Duration | Unit::Share) => Unit::Number,
            (_, unit) => unit,
        };
        Ok(Typed::Number { tree, unit, is_literal: false })
    }

    /// Parses one level deeper.
    fn nested(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Part, ConditionError>,
    ) -> Result<Part, ConditionError> {
        if self.depth == MAX_DEPTH {
            return self.wrong(format!("a condition is nested at most {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let part = parse(self)?;
        self.depth -= 1;
        Ok(part)
    }
}

/// An operation on two numbers; `unit_of` is `None` for units that do not go together.
fn arithmetic(
    at: usize,
    how: Arithmetic,
    left: Part,
    right: Part,
    unit_of: impl FnOnce((Unit, bool), (Unit, bool)) -> Option<Unit>,
) -> Result<Part, ConditionError> {
    let column = left.column;
    let ((left, left_unit, left_is_literal), (right, right_unit, right_is_literal)) =
        (number(left)?, number(right)?);
    let unit = unit_of((left_unit, left_is_literal), (right_unit, right_is_literal));
    let Some(unit) = unit else {
        let does = match how {
            Arithmetic::Plus => "added to",
            Arithmetic::Minus => "subtracted from",
            Arithmetic::Times => "multiplied by",
            Arithmetic::Over => "divided by",
        };
        let (one, other) = match how {
            Arithmetic::Plus | Arithmetic::Minus => (right_unit, left_unit),
            Arithmetic::Times | Arithmetic::Over => (left_unit, right_unit),
        };
        return Err(ConditionError { column: at, message: format!("{one} cannot be {does} {other}") });
    };
    let tree = Numeric::Of(how, Box::new(left), Box::new(right));
    let is_literal = left_is_literal && right_is_literal;
    Ok(Part { column, typed: Typed::Number { tree, unit, is_literal } })
}
