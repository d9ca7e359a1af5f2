//! Shapes: what the value of a key looks like, how it is checked, and how to show one.

use std::time::Duration;

use thalweg_core::schema::ColumnType;
use thalweg_core::time::{Day, parse_duration};

use super::{Kind, State};
use crate::kinds::{DiskBudget, Emit, is_relation};
use crate::values;

/// What the value of a key looks like.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Keys of its own.
    Table,
    /// Values of one shape.
    List(&'static Shape),
    /// Any text.
    Text,
    /// Text in which `${NAME}` stands for a variable of the environment.
    Secret,
    /// As [`Shape::Secret`], and wholly secret: it should not stand in the file itself.
    Token,
    /// A path, relative to the project folder.
    Path,
    /// Rows, each a table of values by column; or a path to a file of them.
    Rows,
    /// A path to a file with one query, relative to the project folder and inside it.
    SqlFile,
    /// A path to a file with one schema of Avro, relative to the project folder and inside it.
    AvroFile,
    /// One query.
    Sql,
    /// One SQL expression.
    Expression,
    /// A relation, `latest(relation)` or a query: what may follow FROM.
    Relation,
    /// The name of a thing of one of these kinds.
    Name(&'static [Kind]),
    /// The name of a column.
    Column,
    /// One of these words.
    Choice(&'static [Word]),
    /// `true` or `false`.
    Boolean,
    /// A whole number in a range.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A length of time above zero.
    Duration,
    /// A length of time that may be zero.
    Delay,
    /// A number of bytes above zero.
    Size,
    /// A share of the volume, or a number of bytes.
    DiskBudget,
    /// A share.
    Percent,
    /// A number of things per unit of time.
    Rate,
    /// An instant, or a day for its first instant.
    Time,
    /// `$day`, or a day.
    Day,
    /// When a stream emits.
    Emit,
    /// When a job runs.
    Schedule,
    /// A time zone.
    Timezone,
    /// A type of a column, with or without `not null`.
    ColumnType,
    /// One ASCII character.
    Character,
    /// Where to listen.
    Listen,
}

/// A word a choice knows.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The word.
    pub text: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Whether this version does it.
    pub state: State,
}

/// A word that this version builds.
pub(super) const fn word(text: &'static str, doc: &'static str) -> Word {
    Word { text, doc, state: State::Built }
}

/// A word that a later version builds.
pub(super) const fn planned_word(text: &'static str, doc: &'static str) -> Word {
    Word { text, doc, state: State::Planned(doc) }
}

/// Why a text is not a value of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not one.
    Malformed,
    /// It is none of the words.
    NoSuchWord,
    /// The word is for a later version.
    PlannedWord(&'static str),
}

impl Shape {
    /// What it is, with an article: "a length of time".
    pub fn noun(&self) -> String {
        match self {
            Self::Table => "a table",
            Self::List(inner) => return format!("a list, each item {}", inner.noun()),
            Self::Text => "text",
            Self::Secret | Self::Token => "text, where `${NAME}` is read from the environment",
            Self::Path => "a path",
            Self::Rows => "a list of rows, or a path to a file of them",
            Self::SqlFile => "a path to a file with a query",
            Self::AvroFile => "a path to a file with a schema of Avro",
            Self::Sql => "a query",
            Self::Expression => "an SQL expression",
            Self::Relation => "a relation or a query",
            Self::Name(kinds) => {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.section()).collect();
                return format!("the name of a {}", or(&kinds));
            }
            Self::Column => "the name of a column",
            Self::Choice(words) => {
                let words: Vec<String> =
                    words.iter().map(|word| format!("\"{}\"", word.text)).collect();
                return or(&words);
            }
            Self::Boolean => "`true` or `false`",
            Self::Integer { min, max } if *max == i64::MAX => {
                return format!("a whole number from {min}");
            }
            Self::Integer { min, max } => return format!("a whole number from {min} to {max}"),
            Self::Duration => "a length of time above zero",
            Self::Delay => "a length of time",
            Self::Size => "a number of bytes",
            Self::DiskBudget => "a share of the volume or a number of bytes",
            Self::Percent => "a share in percent",
            Self::Rate => "a number per unit of time",
            Self::Time => "an instant or a day",
            Self::Day => "`$day` or a day",
            Self::Emit => "`final`, `update` or `early 1s`",
            Self::Schedule => "a schedule",
            Self::Timezone => "a time zone",
            Self::ColumnType => "a column type",
            Self::Character => "one ASCII character",
            Self::Listen => "a port or an address with its port",
        }
        .to_owned()
    }

    /// A value of it, as TOML writes it.
    pub fn example(&self) -> String {
        let text = match self {
            Self::Table => return "{ … }".to_owned(),
            Self::List(inner) => return format!("[{}]", inner.example()),
            Self::Boolean => return "true".to_owned(),
            Self::Integer { min, .. } => return min.to_string(),
            Self::Text => "text",
            Self::Secret => "postgres://${USER}@localhost/db",
            Self::Token => "${TOKEN}",
            Self::Path => "data/trades",
            Self::Rows => "tests/rows.jsonl",
            Self::SqlFile => "sql/trades.sql",
            Self::AvroFile => "schemas/trade.avsc",
            Self::Sql => "SELECT * FROM trades",
            Self::Expression => "price > 0",
            Self::Relation => "trades",
            Self::Name(_) => "trades",
            Self::Column => "price",
            Self::Choice(words) => words.first().map_or("", |word| word.text),
            Self::Duration | Self::Delay => "5s",
            Self::Size => "64MB",
            Self::DiskBudget => "80%",
            Self::Percent => "1%",
            Self::Rate => "200/s",
            Self::Time => "2024-01-31T00:00:00Z",
            Self::Day => "$day",
            Self::Emit => "early 1s",
            Self::Schedule => "15 0 * * *",
            Self::Timezone => "Europe/Berlin",
            Self::ColumnType => "double not null",
            Self::Character => ",",
            Self::Listen => "127.0.0.1:7070",
        };
        self.quoted(text)
    }

    /// A default or example of this shape, as TOML writes it.
    pub fn quoted(&self, text: &str) -> String {
        match self {
            Self::Boolean | Self::Integer { .. } | Self::List(_) | Self::Table => text.to_owned(),
            _ if text.contains('"') => format!("'{text}'"),
            _ => format!("\"{text}\""),
        }
    }

    /// Whether its values are tables, or lists of them.
    pub fn holds_tables(&self) -> bool {
        match self {
            Self::Table => true,
            Self::List(inner) => inner.holds_tables(),
            _ => false,
        }
    }

    /// Whether its values are written as text.
    pub(crate) fn is_text(&self) -> bool {
        !matches!(self, Self::Table | Self::List(_) | Self::Boolean | Self::Integer { .. })
    }

    /// Whether `${NAME}` in it is replaced.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret | Self::Token)
    }

    /// Whether it holds SQL, where `${` may be a part of a text of its own.
    pub(crate) fn is_sql(&self) -> bool {
        matches!(self, Self::Sql | Self::Expression | Self::Relation)
    }

    /// A regular expression of its texts, where one helps an editor; stricter at the edges than
    /// [`Shape::check_text`], never more lenient.
    pub(crate) fn pattern(&self) -> Option<&'static str> {
        Some(match self {
            Self::Duration => "([1-9][0-9]{0,5} ?(ms|s|m|min|h|d|w) ?){1,3}",
            Self::Delay => "([0-9]{1,6} ?(ms|s|m|min|h|d|w) ?){1,3}",
            Self::Size => "[1-9][0-9]{0,5} ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)",
            Self::DiskBudget => "[1-9][0-9]?%|100%|[1-9][0-9]{0,5} ?(MB|GB|TB|MiB|GiB|TiB)",
            Self::Percent => "[0-9]{1,2}([.][0-9]{1,4})?%|100%",
            Self::Rate => "[1-9][0-9]{0,8}/([1-9][0-9]{0,5})?(ms|s|m|min|h|d|w)",
            Self::Emit => "final|update|early [1-9][0-9]{0,5}(ms|s|m|min|h|d|w)",
            Self::Character => "[ -~\t]",
            _ => return None,
        })
    }

    /// Checks a value that is written as text.
    pub(crate) fn check_text(&self, text: &str) -> Result<(), Fault> {
        let is_well_formed = match self {
            Self::Choice(words) => {
                let word = words.iter().find(|word| word.text == text).ok_or(Fault::NoSuchWord)?;
                return match word.state {
                    State::Planned(purpose) => Err(Fault::PlannedWord(purpose)),
                    State::Built | State::Accepted => Ok(()),
                };
            }
            Self::Table => false,
            Self::List(inner) => {
                let items = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
                let items = items.ok_or(Fault::Malformed)?.split(',').map(str::trim);
                for item in items.filter(|item| !item.is_empty()) {
                    inner.check_text(item.trim_matches('"'))?;
                }
                true
            }
            Self::Text | Self::Secret | Self::Token => true,
            Self::Path
            | Self::Rows
            | Self::SqlFile
            | Self::AvroFile
            | Self::Sql
            | Self::Expression
            | Self::Name(_)
            | Self::Column
            | Self::Timezone => !text.trim().is_empty(),
            Self::Relation => is_relation(text),
            Self::Boolean => matches!(text, "true" | "false"),
            Self::Integer { min, max } => {
                text.parse().is_ok_and(|number: i64| (*min..=*max).contains(&number))
            }
            Self::Duration => parse_duration(text).is_some_and(|length| length > Duration::ZERO),
            Self::Delay => parse_duration(text).is_some(),
            Self::Size => values::parse_size(text).is_some(),
            Self::DiskBudget => DiskBudget::parse(text).is_some(),
            Self::Percent => values::parse_percent(text).is_some(),
            Self::Rate => values::parse_rate(text).is_some(),
            Self::Time => thalweg_core::time::Timestamp::parse(text).is_some(),
            Self::Day => text == "$day" || Day::parse(text).is_some(),
            Self::Emit => Emit::parse(text).is_some(),
            Self::Schedule => values::is_schedule(text),
            Self::ColumnType => ColumnType::parse(values::split_not_null(text).0).is_some(),
            Self::Character => text.len() == 1,
            Self::Listen => values::parse_listen(text).is_some(),
        };
        if is_well_formed { Ok(()) } else { Err(Fault::Malformed) }
    }
}

/// "a, b or c".
pub(crate) fn or<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    #[test]
    fn words_are_joined_as_a_sentence_does() {
        assert_eq!(or(&["a"]), "a");
        assert_eq!(or(&["a", "b", "c"]), "a, b or c");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// What an editor lets pass, `check` lets pass.
        #[test]
        fn a_text_of_the_pattern_is_a_value(
            (shape, text) in prop::sample::select(vec![
                Shape::Duration, Shape::Delay, Shape::Size, Shape::DiskBudget, Shape::Percent,
                Shape::Rate, Shape::Emit, Shape::Character,
            ])
            .prop_flat_map(|shape| {
                let pattern = shape.pattern().expect("a shape with a pattern");
                (Just(shape), string_regex(pattern).expect("a valid pattern"))
            })
        ) {
            prop_assert!(shape.check_text(&text).is_ok(), "{shape:?} {text:?}");
        }
    }
}
