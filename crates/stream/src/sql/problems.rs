//! Problems of SQL in words, with their places.
//!
//! DataFusion reports lines and columns of characters; [`Text`] turns them into bytes. Codes:
//! `T0301` unknown relation, `T0302` unknown column, `T0303` syntax, `T0304` types and the rest,
//! `T0305` what a stream cannot do, `T0306` not one query, `T0307` ambiguous column.

use std::ops::Range;

use datafusion::common::{Column, DataFusionError, Location, SchemaError, Span};
use thalweg_core::problem::{SqlProblem, nearest};

use super::Names;

/// A statement's text and where its lines begin.
pub struct Text<'a> {
    sql: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Text<'a> {
    /// Indexes `sql` by line.
    pub fn new(sql: &'a str) -> Self {
        let breaks =
            sql.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { sql, line_starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Bytes of a span; none for an empty one.
    pub fn range(&self, span: Span) -> Option<Range<usize>> {
        let start = self.byte(span.start)?;
        let end = self.byte(span.end)?;
        (start < end).then_some(start..end)
    }

    fn byte(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(location.column).ok()?.checked_sub(1)?;
        let start = *self.line_starts.get(line)?;
        let rest = &self.sql[start..];
        Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at))
    }

    /// The word that begins at `at`, or the one character there.
    fn word_at(&self, at: usize) -> Range<usize> {
        let rest = &self.sql[at..];
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let len = if word == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { word };
        at..at + len
    }

    /// Where `word` first stands as a whole word.
    fn find(&self, word: &str) -> Option<Range<usize>> {
        let lower = self.sql.to_ascii_lowercase();
        let word = word.to_ascii_lowercase();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        lower.match_indices(&word).map(|(at, _)| at..at + word.len()).find(|range| {
            !lower[..range.start].ends_with(is_word) && !lower[range.end..].starts_with(is_word)
        })
    }
}

/// The statement is not one SELECT.
pub(super) fn not_a_query() -> SqlProblem {
    SqlProblem {
        code: "T0306",
        message: "only a single SELECT can stand here".to_owned(),
        label: None,
        hint: Some("Write one query, without a semicolon inside it.".to_owned()),
        range: None,
    }
}

/// A thing that a stream cannot do, at a place.
pub(crate) fn refused(message: impl Into<String>, range: Option<Range<usize>>) -> SqlProblem {
    SqlProblem { code: "T0305", message: message.into(), label: None, hint: None, range }
}

/// Turns DataFusion's error into problems; a collection gives each of its members.
pub(crate) fn from_datafusion(
    error: DataFusionError,
    text: &Text<'_>,
    names: &Names,
) -> Vec<SqlProblem> {
    match error {
        DataFusionError::Collection(errors) => {
            errors.into_iter().flat_map(|error| from_datafusion(error, text, names)).collect()
        }
        DataFusionError::Shared(error) => vec![one(&error, None, text, names)],
        DataFusionError::Diagnostic(diagnostic, error) => {
            let range = diagnostic.span.and_then(|span| text.range(span));
            let mut problem = one(&error, range.clone(), text, names);
            problem.range = range.or(problem.range);
            vec![problem]
        }
        DataFusionError::Context(_, error) => from_datafusion(*error, text, names),
        error => vec![one(&error, None, text, names)],
    }
}

fn one(
    error: &DataFusionError,
    range: Option<Range<usize>>,
    text: &Text<'_>,
    names: &Names,
) -> SqlProblem {
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                unknown_column(field, valid_fields, range, text)
            }
            SchemaError::AmbiguousReference { field } => SqlProblem {
                code: "T0307",
                message: format!("column `{}` could be of several relations", field.name),
                label: None,
                hint: Some("Put the relation's name before it.".to_owned()),
                range: range.or_else(|| span_of(field, text)).or_else(|| text.find(&field.name)),
            },
            other => other_problem(&other.to_string(), range),
        },
        DataFusionError::SQL(parser, _) => syntax(&parser.to_string(), text),
        DataFusionError::Plan(message) => {
            if let Some(name) = message
                .strip_prefix("table '")
                .and_then(|rest| rest.split_once("' not found"))
                .map(|(name, _)| name)
            {
                return unknown_relation(name, range, text, names);
            }
            other_problem(message, range)
        }
        other => other_problem(&other.strip_backtrace(), range),
    }
}

fn other_problem(message: &str, range: Option<Range<usize>>) -> SqlProblem {
    let first = message.lines().next().unwrap_or_default();
    let first = first.strip_prefix("Error during planning: ").unwrap_or(first);
    SqlProblem {
        code: "T0304",
        message: lower_first(first.trim_end_matches('.')),
        label: None,
        hint: None,
        range,
    }
}

fn unknown_column(
    field: &Column,
    valid: &[Column],
    range: Option<Range<usize>>,
    text: &Text<'_>,
) -> SqlProblem {
    let near = nearest(&field.name, valid.iter().map(|column| column.name.as_str()));
    let relation = field
        .relation
        .as_ref()
        .or_else(|| valid.iter().find_map(|column| column.relation.as_ref()))
        .map(|relation| format!(" in `{}`", relation.table()));
    SqlProblem {
        code: "T0302",
        message: format!("no column `{}`{}", field.name, relation.unwrap_or_default()),
        label: near.map(|near| format!("did you mean `{near}`?")),
        hint: near.is_none().then(|| {
            let names = valid.iter().map(|column| column.name.as_str());
            let mut visible: Vec<&str> = Vec::new();
            // ORDER BY may mean a column of the result, or one of its input: both are valid.
            for name in names.filter(|name| !name.starts_with('_')) {
                if !visible.contains(&name) {
                    visible.push(name);
                }
            }
            format!("The columns are: {}.", visible.join(", "))
        }),
        range: span_of(field, text).or(range).or_else(|| text.find(&field.name)),
    }
}

fn unknown_relation(
    name: &str,
    range: Option<Range<usize>>,
    text: &Text<'_>,
    names: &Names,
) -> SqlProblem {
    let near = nearest(name, names.names());
    SqlProblem {
        code: "T0301",
        message: format!("no source, stream, table or view `{name}`"),
        label: near.map(|near| format!("did you mean `{near}`?")),
        hint: near.is_none().then(|| {
            let all: Vec<&str> = names.names().filter(|name| !name.contains('.')).collect();
            format!("There are: {}.", all.join(", "))
        }),
        range: range.or_else(|| text.find(name)),
    }
}

/// sqlparser writes `…, found: X at Line: 2, Column: 15`.
fn syntax(message: &str, text: &Text<'_>) -> SqlProblem {
    let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
    let (clause, place) = message.split_once(" at Line: ").unwrap_or((message, ""));
    let mut numbers = place
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .filter_map(|digits| digits.parse::<u64>().ok());
    let range = match (numbers.next(), numbers.next()) {
        (Some(line), Some(column)) => {
            text.byte(Location { line, column }).map(|at| text.word_at(at))
        }
        // The end of the text has no place of its own: the word before it has.
        _ if message.ends_with("EOF") => {
            let end = text.sql.trim_end().len();
            let start = text.sql[..end].rfind(char::is_whitespace).map_or(0, |at| at + 1);
            (start < end).then_some(start..end)
        }
        _ => None,
    };
    let clause = clause.strip_prefix("Expected: ").map_or_else(
        || lower_first(clause),
        |rest| {
            let (expected, found) = rest.split_once(", found: ").unwrap_or((rest, ""));
            if found.is_empty() {
                format!("expected {expected}")
            } else if found == "EOF" {
                format!("expected {expected} after this")
            } else {
                format!("expected {expected}, found `{found}`")
            }
        },
    );
    SqlProblem { code: "T0303", message: clause, label: None, hint: None, range }
}

fn span_of(field: &Column, text: &Text<'_>) -> Option<Range<usize>> {
    field.spans.first().and_then(|span| {
        let range = text.range(span)?;
        // A qualified name's span may cover the relation; the column is its last part.
        let written = &text.sql[range.clone()];
        match written.rfind('.') {
            Some(dot) if written.len() > field.name.len() => Some(range.start + dot + 1..range.end),
            _ => Some(range),
        }
    })
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text.chars().nth(1).is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        Some(first) => std::iter::once(first).chain(chars).collect(),
        None => String::new(),
    }
}
