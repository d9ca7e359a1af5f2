//! Paths into a frame, and the conditions on them.
//!
//! ```text
//! path      = ["$"] step*            beginning with "$": from the frame; else: from the row
//! step      = ["."] key | "[" number "]" | "[*]" | "['" key "']"
//! condition = path test
//! test      = "=" value | "!=" value | ["not"] "in" "(" value, … ")" | "is" ["not"] "null"
//! value     = 'text' | number | true | false
//! ```
//!
//! A bare key ends at `.` or `[`, in a condition also at white space and at `=`, `!`, `<`. As in
//! SQL, a missing or null value makes every test but `is null` not true, `!=` too.

use std::fmt;
use std::str::FromStr;

use thalweg_core::Error;

use super::value::unquote;

/// Where something lies in a frame or row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonPath {
    pub(super) is_from_frame: bool,
    pub(super) steps: Vec<Step>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into an object.
    Key(String),
    /// Into an array, from 0.
    Item(usize),
    /// Into every element of an array.
    Each,
}

/// A test of one value of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub(super) path: JsonPath,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    IsNull { negated: bool },
    OneOf { values: Vec<Literal>, negated: bool },
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// Which frames are messages of the feed about itself, and where their text is (S14).
#[derive(Clone, Debug, PartialEq)]
pub struct NoticeRule {
    /// Frames that hold a notice, such as `$.type = 'error'`.
    pub when: Condition,
    /// The text to show, such as `$.msg`.
    pub message: JsonPath,
}

impl JsonPath {
    /// Whether a step goes into every element of an array.
    pub(super) fn has_each(&self) -> bool {
        self.steps.contains(&Step::Each)
    }

    /// What lies there in a value that is parsed already; of `[*]`, the first.
    pub(crate) fn of<'v>(&self, value: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        self.steps.iter().try_fold(value, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Item(index) => value.get(index),
            Step::Each => value.get(0),
        })
    }
}

impl FromStr for JsonPath {
    type Err = Error;

    /// # Errors
    ///
    /// `Invalid` when it does not follow the grammar above.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut rest = Cursor(text);
        let path = rest.path(|_| false);
        path.filter(|_| rest.0.is_empty()).ok_or_else(|| {
            Error::invalid(format!("`{text}` is not a path"))
                .with_hint("A path is written like `k.c`, `levels[0]` or `$.data[*]`.")
        })
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut dot = if self.is_from_frame { "$." } else { "" };
        if self.is_from_frame && !matches!(self.steps.first(), Some(Step::Key(_))) {
            f.write_str("$")?;
        }
        for step in &self.steps {
            match step {
                Step::Key(key) if key.contains(['.', '[', ' ', '=', '!', '<']) => {
                    let root = dot.trim_end_matches('.');
                    write!(f, "{root}['{key}']")?;
                }
                Step::Key(key) => write!(f, "{dot}{key}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Each => f.write_str("[*]")?,
            }
            dot = ".";
        }
        Ok(())
    }
}

impl Condition {
    /// Whether the value with this raw text, or its absence, passes.
    pub(super) fn holds(&self, raw: Option<&[u8]>) -> bool {
        let value = raw.filter(|raw| *raw != b"null");
        match &self.test {
            Test::IsNull { negated } => value.is_none() != *negated,
            Test::OneOf { values, negated } => {
                value.is_some_and(|raw| values.iter().any(|literal| literal.is(raw)) != *negated)
            }
        }
    }
}

impl Literal {
    fn is(&self, raw: &[u8]) -> bool {
        match self {
            Self::Text(text) => raw.starts_with(b"\"") && unquote(raw) == text.as_str(),
            Self::Boolean(value) => raw == if *value { &b"true"[..] } else { b"false" },
            Self::Number(value) => {
                let is_number = raw.first().is_some_and(|c| *c == b'-' || c.is_ascii_digit());
                is_number && std::str::from_utf8(raw).is_ok_and(|text| text.parse() == Ok(*value))
            }
        }
    }
}

impl FromStr for Condition {
    type Err = Error;

    /// # Errors
    ///
    /// `Invalid` when it does not follow the grammar above.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut rest = Cursor(text.trim());
        let condition = rest.condition();
        condition.filter(|_| rest.0.is_empty()).ok_or_else(|| {
            Error::invalid(format!("`{text}` is not a condition on one value of a frame"))
                .with_hint("A condition is written like `$.type = 'trade'` or `$.id is null`.")
        })
    }
}

/// What is left of a text to read.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip(&mut self, token: &str) -> bool {
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Skips a word, in any case, and the white space behind it.
    fn skip_word(&mut self, word: &str) -> bool {
        let Some((head, rest)) = self.0.split_at_checked(word.len()) else { return false };
        let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if head.eq_ignore_ascii_case(word) && ends {
            self.0 = rest.trim_start();
            true
        } else {
            false
        }
    }

    fn take(&mut self, mut until: impl FnMut(char) -> bool) -> &'a str {
        let end = self.0.find(&mut until).unwrap_or(self.0.len());
        let (head, rest) = self.0.split_at(end);
        self.0 = rest;
        head
    }

    fn path(&mut self, ends: fn(char) -> bool) -> Option<JsonPath> {
        let is_from_frame = self.skip("$");
        let mut steps = Vec::new();
        loop {
            if self.skip("['") {
                steps.push(Step::Key(self.take(|c| c == '\'').to_owned()));
                if !self.skip("']") {
                    return None;
                }
            } else if self.skip("[*]") {
                steps.push(Step::Each);
            } else if self.skip("[") {
                steps.push(Step::Item(self.take(|c| c == ']').parse().ok()?));
                self.skip("]").then_some(())?;
            } else if self.skip(".") || (steps.is_empty() && !is_from_frame) {
                let key = self.take(|c| matches!(c, '.' | '[') || ends(c));
                if key.is_empty() {
                    return None;
                }
                steps.push(Step::Key(key.to_owned()));
            } else {
                return Some(JsonPath { is_from_frame, steps });
            }
        }
    }

    fn condition(&mut self) -> Option<Condition> {
        let path = self.path(|c| c.is_whitespace() || matches!(c, '=' | '!' | '<'))?;
        self.0 = self.0.trim_start();
        let test = if self.skip("=") {
            Test::OneOf { values: vec![self.literal()?], negated: false }
        } else if self.skip("!=") || self.skip("<>") {
            Test::OneOf { values: vec![self.literal()?], negated: true }
        } else if self.skip_word("is") {
            let negated = self.skip_word("not");
            self.skip_word("null").then_some(Test::IsNull { negated })?
        } else {
            let negated = self.skip_word("not");
            self.skip_word("in").then_some(())?;
            self.skip("(").then_some(())?;
            let mut values = vec![self.literal()?];
            while self.skip(",") {
                values.push(self.literal()?);
            }
            self.skip(")").then_some(())?;
            Test::OneOf { values, negated }
        };
        self.0 = self.0.trim_start();
        Some(Condition { path, test })
    }

    /// Reads a value and the white space on both sides.
    fn literal(&mut self) -> Option<Literal> {
        self.0 = self.0.trim_start();
        let literal = if self.skip("'") {
            let mut text = String::new();
            loop {
                text += self.take(|c| c == '\'');
                self.skip("'").then_some(())?;
                if !self.skip("'") {
                    break Literal::Text(text);
                }
                text.push('\'');
            }
        } else if self.skip_word("true") {
            Literal::Boolean(true)
        } else if self.skip_word("false") {
            Literal::Boolean(false)
        } else {
            let number = self.take(|c| c.is_whitespace() || matches!(c, ',' | ')'));
            Literal::Number(number.parse().ok().filter(|number: &f64| number.is_finite())?)
        };
        self.0 = self.0.trim_start();
        Some(literal)
    }
}

#[cfg(test)]
mod tests;
