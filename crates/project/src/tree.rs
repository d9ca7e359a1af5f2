//! The files of a project as one tree of values, each with its place.
//!
//! TOML is parsed recoverably: whatever is wrong becomes a problem, and a value the parser could
//! not read is [`Value::Broken`], of which nothing more is said. Members keep the order of the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thalweg_core::problem::{Place, Problem};
use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use crate::codes::{self, Telling};
use crate::files::FILE_BYTES_MAX;
use crate::keys::Kind;
use crate::source_map::SourceMap;
use crate::spanned::Spanned;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    /// A number with a fraction, as it is written without `_`; only rows of tests have them.
    Float(String),
    Boolean(bool),
    /// A date, a time or both, as it is written.
    Time(String),
    List(Vec<Node>),
    Table(Vec<Member>),
    /// The parser has reported it.
    Broken,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: Spanned<String>,
    pub(crate) node: Node,
}

impl Node {
    /// The members of a table; none for anything else.
    pub(crate) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Table(members) => members,
            _ => &[],
        }
    }

    /// The member called `name`.
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members().iter().find(|member| member.key.value == name)
    }

    /// The items of a list; none for anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, with an article.
    pub(crate) fn noun(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(_) => "a boolean",
            Value::Time(_) => "a date or time",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Broken => "a value",
        }
    }
}

/// A file of a project, as far as it could be parsed.
pub(crate) struct Parsed {
    /// A table.
    pub(crate) root: Node,
    /// What the file holds from here on was taken for something else, because a bracket above was
    /// never closed; nothing of it is worth telling.
    pub(crate) lost_from: Option<usize>,
}

/// Parses one file of a project.
pub(crate) fn parse(file: &Arc<PathBuf>, text: &str, problems: &mut Vec<Problem>) -> Parsed {
    let (table, mut errors) = DeTable::parse_recoverable(text);
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    errors.sort_by_key(start);
    let mut broken: Vec<_> = errors.iter().filter_map(toml::de::Error::span).collect();
    broken.sort_by_key(|range| range.start);
    let lost = lost_from(&errors);
    errors.truncate(lost.map_or(errors.len(), |index| index + 1));
    let lost_from = lost.and_then(|index| errors.get(index)).map(start);
    for error in &errors {
        let range = error.span().unwrap_or(0..0);
        let range = floor(text, range.start)..floor(text, range.end.max(range.start));
        let place = Place { file: Arc::clone(file), range: range.clone() };
        let problem = syntax_problem(error.message(), text, place);
        let is_lost = lost_from == Some(start(error));
        let hint = "A `{` or `[` above is not closed; what follows is not looked at.";
        problems.push(if is_lost { problem.hint(hint) } else { problem });
    }
    let reader = Reader { file, broken: &broken, problems };
    Parsed { root: reader.read(table), lost_from }
}

/// Where a bracket that is never closed makes itself felt: which of the errors is the first that
/// comes of it.
fn lost_from(errors: &[toml::de::Error]) -> Option<usize> {
    // A header that is not closed ends with its line; nothing is lost.
    let is_unclosed = |error: &toml::de::Error| {
        ["unclosed inline table", "unclosed array"]
            .iter()
            .any(|start| error.message().starts_with(start))
    };
    errors.iter().any(is_unclosed).then_some(())?;
    errors.iter().position(|error| {
        is_unclosed(error)
            || error.message().starts_with("missing comma")
            || error.message().starts_with("missing key")
    })
}

fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

fn syntax_problem(message: &str, text: &str, place: Place) -> Problem {
    let name = text.get(place.range.clone()).unwrap_or_default();
    if message.starts_with("string values must be quoted") && name.is_empty() {
        return codes::problem(codes::SYNTAX, "a value is missing", place);
    }
    let is_word = name.starts_with(|c: char| c.is_alphabetic());
    if is_word && (message.starts_with("invalid") || message.starts_with("string values")) {
        return codes::problem(codes::SYNTAX, format!("`{name}` is not a value"), place)
            .label("text is written in quotes");
    }
    if message != "duplicate key" || name.is_empty() {
        return codes::problem(codes::SYNTAX, message, place);
    }
    let first = first_definition(text, &place);
    let mut problem = codes::problem(codes::SYNTAX, format!("`{name}` is defined twice"), place);
    problem.related.extend(first.map(|first| (format!("`{name}` is first defined here"), first)));
    problem
}

/// The line that defined a repeated key or table first: the nearest one above that begins as this
/// one does. The parser knows it and does not tell.
fn first_definition(text: &str, second: &Place) -> Option<Place> {
    let line_start = text[..second.range.start].rfind('\n').map_or(0, |at| at + 1);
    let head = text[line_start..second.range.end].trim_start();
    let mut end = line_start;
    while let Some(before) = end.checked_sub(1) {
        let start = text[..before].rfind('\n').map_or(0, |at| at + 1);
        let indent = text[start..before].len() - text[start..before].trim_start().len();
        let rest = text[start + indent..before].strip_prefix(head);
        if rest.is_some_and(|rest| rest.trim_start().starts_with([']', '=', '.'])) {
            let at = start + indent + head.len() - second.range.len();
            return Some(Place {
                file: Arc::clone(&second.file),
                range: at..at + second.range.len(),
            });
        }
        end = start;
    }
    None
}

struct Reader<'a> {
    file: &'a Arc<PathBuf>,
    /// Where the parser found something wrong.
    broken: &'a [std::ops::Range<usize>],
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn read(mut self, table: TomlSpanned<DeTable<'_>>) -> Node {
        let range = table.span();
        let value = self.table(table.into_inner());
        Node { value, place: self.place(range) }
    }

    fn place(&self, range: std::ops::Range<usize>) -> Place {
        Place { file: Arc::clone(self.file), range }
    }

    fn table(&mut self, table: DeTable<'_>) -> Value {
        let mut members: Vec<Member> = table
            .into_iter()
            .map(|(key, value)| Member {
                key: Spanned {
                    place: self.place(key.span()),
                    value: key.into_inner().into_owned(),
                },
                node: self.node(value),
            })
            .collect();
        members.sort_by_key(|member| member.key.place.range.start);
        Value::Table(members)
    }

    fn node(&mut self, value: TomlSpanned<DeValue<'_>>) -> Node {
        let range = value.span();
        let place = self.place(range.clone());
        let is_container = matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_));
        if !is_container && self.is_broken(&range) {
            return Node { value: Value::Broken, place };
        }
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Boolean(is_true) => Value::Boolean(is_true),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => self.too_large(&place),
                }
            }
            DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
            DeValue::Datetime(time) => Value::Time(time.to_string()),
            DeValue::Array(items) => {
                Value::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => self.table(table),
        };
        Node { value, place }
    }

    /// Whether the parser found something wrong in or at a scalar. One that is not there at all
    /// stands at 0..0, where no value can stand.
    fn is_broken(&self, range: &std::ops::Range<usize>) -> bool {
        let touches = |wrong: &std::ops::Range<usize>| {
            wrong.start <= range.end && range.start <= wrong.end.max(wrong.start)
        };
        range.end == 0 || self.broken.iter().any(touches)
    }

    fn too_large(&mut self, place: &Place) -> Value {
        let message = "the number is too large".to_owned();
        self.problems.push(codes::problem(codes::SYNTAX, message, place.clone()));
        Value::Broken
    }
}

/// Adds the kinds and keys of another file. What both define is a problem; the first stays.
pub(crate) fn merge(root: &mut Node, other: Node, problems: &mut Vec<Problem>) {
    let (Value::Table(sections), Value::Table(others)) = (&mut root.value, other.value) else {
        return;
    };
    for other in others {
        let Some(section) =
            sections.iter_mut().find(|section| section.key.value == other.key.value)
        else {
            sections.push(other);
            continue;
        };
        let kind = Kind::of_section(&section.key.value);
        if let (Value::Table(members), Value::Table(more)) =
            (&mut section.node.value, other.node.value)
        {
            for member in more {
                match members.iter().find(|first| first.key.value == member.key.value) {
                    Some(first) => problems.push(defined_twice(kind, &first.key, &member.key)),
                    None => members.push(member),
                }
            }
        }
    }
}

fn defined_twice(kind: Option<Kind>, first: &Spanned<String>, second: &Spanned<String>) -> Problem {
    let what = kind.map_or_else(|| "key".to_owned(), |kind| kind.to_string());
    let mut problem = codes::problem(
        codes::DEFINED_TWICE,
        format!("{what} `{second}` is defined twice"),
        second.place.clone(),
    );
    problem.related.push((format!("`{first}` is first defined here"), first.place.clone()));
    problem
}

/// Reads a file into the source map; what is not UTF-8, or too large, is a problem.
pub(crate) fn add_text(
    sources: &mut SourceMap,
    path: &Path,
    bytes: Vec<u8>,
    problems: &mut Vec<Problem>,
) -> Arc<PathBuf> {
    if bytes.len() > FILE_BYTES_MAX {
        let file = sources.add(path, String::new());
        let message = format!("the file has more than {} MB", FILE_BYTES_MAX / 1_000_000);
        problems.push(codes::problem(
            codes::UNREADABLE,
            message,
            Place { file: Arc::clone(&file), range: 0..0 },
        ));
        return file;
    }
    match String::from_utf8(bytes) {
        Ok(text) => sources.add(path, text),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let file = sources.add(path, String::from_utf8_lossy(error.as_bytes()).into_owned());
            let place = Place { file: Arc::clone(&file), range: at..at + '\u{fffd}'.len_utf8() };
            problems.push(codes::problem(
                codes::UNREADABLE,
                "the file is not UTF-8".to_owned(),
                place,
            ));
            file
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_table_is_shown_with_the_first() {
        check("[source.a]\nx = 1\n[source.b]\n[source.a]\n", Some(8..9));
        check("[a]\nx = 1\ny = 2\nx = 3\n", Some(4..5));
        check("a = 1\n[b]\na = 1\n", None);
    }

    #[track_caller]
    fn check(text: &str, first: Option<std::ops::Range<usize>>) {
        let mut problems = Vec::new();
        parse(&Arc::new("a.toml".into()), text, &mut problems);
        let related = problems.first().and_then(|problem| problem.related.first());
        assert_eq!(related.map(|(_, place)| place.range.clone()), first);
    }

    #[test]
    fn what_the_parser_reports_is_broken_and_the_rest_is_there() {
        let text = "a = tru\nb = 'x'\nc =\nd = 99999999999999999999\ne = 1";
        let mut problems = Vec::new();
        let root = parse(&Arc::new("a.toml".into()), text, &mut problems).root;
        let is_broken = |name| {
            root.member(name).is_none_or(|member| matches!(member.node.value, Value::Broken))
        };
        assert!(is_broken("a") && is_broken("c") && is_broken("d") && !is_broken("b"));
        assert_eq!(problems.len(), 3, "{problems:#?}");
    }
}
