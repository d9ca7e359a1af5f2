//! Tests of a project: what sources are given, and what relations hold then.
//!
//! Not here: whether the columns that rows name are there (the engine knows), and running them.

use serde_json::Value as Json;
use thalweg_core::problem::Place;
use thalweg_core::time::Timestamp;

use crate::codes::{self, Telling};
use crate::entry::Entry;
use crate::keys::Kind;
use crate::spanned::Spanned;
use crate::tree::{Node, Value};

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Its name.
    pub name: Spanned<String>,
    /// When everything is received; none: as it happened.
    pub now: Option<Timestamp>,
    /// What sources receive, each once.
    pub given: Vec<Given>,
    /// What relations hold afterwards; at least one.
    pub expect: Vec<Expectation>,
}

/// What one source receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The source.
    pub source: Spanned<String>,
    /// What it receives.
    pub input: GivenInput,
}

/// What a source receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenInput {
    /// Rows by column.
    Rows(TestRows),
    /// A file of what it decodes itself, relative to the project folder.
    Frames(Spanned<String>),
}

/// What a relation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The relation, `system.late` and its like too.
    pub relation: Spanned<String>,
    /// All of its rows, of the columns that are named.
    pub rows: TestRows,
}

/// Rows of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestRows {
    /// In the project file.
    Inline {
        /// The rows.
        rows: Vec<TestRow>,
        /// The list.
        place: Place,
    },
    /// In a file, relative to the project folder.
    File(Spanned<String>),
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRow {
    /// Its values, in the order of the file.
    pub cells: Vec<Cell>,
    /// The row.
    pub place: Place,
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its column.
    pub column: Spanned<String>,
    /// The value as JSON; numbers as they are written, instants as text.
    pub json: String,
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Test> {
    let now = entry.get("now");
    let given = entry.child("given").members().into_iter();
    let given = given.filter_map(|(source, given)| lower_given(source, given)).collect();
    let expect = entry.child("expect").members().into_iter();
    let expect: Vec<Expectation> =
        expect.filter_map(|(relation, rows)| lower_expectation(relation, rows)).collect();
    if let Some(expected) = entry.child("expect").written()
        && expected.node().is_some_and(|node| node.members().is_empty())
    {
        let message = format!("test `{name}` expects nothing");
        let problem = codes::problem(codes::MALFORMED, message, expected.place());
        entry.report(problem.label("name a relation and its rows"));
        return None;
    }
    Some(Test { name: name.clone(), now, given, expect })
}

fn lower_given(source: &Spanned<String>, entry: Entry<'_>) -> Option<Given> {
    let rows = entry.child("rows").node().and_then(lower_rows);
    let frames = entry.spanned("frames");
    let lowering = entry.lowering;
    let refused =
        lowering.definitions.refuse(source, &[Kind::Source], lowering.is_whole, &source.place);
    if let Some(problem) = refused {
        let hint = "Rows are given to sources; everything else is made of them.";
        entry.report(if problem.hint.is_none() { problem.hint(hint) } else { problem });
        return None;
    }
    let input = rows.map(GivenInput::Rows).or_else(|| frames.map(GivenInput::Frames))?;
    Some(Given { source: source.clone(), input })
}

const READABLE: &[Kind] = &[Kind::Source, Kind::Stream, Kind::Table, Kind::View, Kind::Model];

fn lower_expectation(relation: &Spanned<String>, entry: Entry<'_>) -> Option<Expectation> {
    let rows = entry.node().and_then(lower_rows)?;
    let lowering = entry.lowering;
    // The tables of the system are the engine's.
    if !relation.starts_with("system.")
        && let Some(problem) =
            lowering.definitions.refuse(relation, READABLE, lowering.is_whole, &relation.place)
    {
        entry.report(problem);
        return None;
    }
    Some(Expectation { relation: relation.clone(), rows })
}

/// None for what is neither, which has been reported.
fn lower_rows(node: &Node) -> Option<TestRows> {
    match &node.value {
        Value::Text(path) => {
            Some(TestRows::File(Spanned { value: path.clone(), place: node.place.clone() }))
        }
        Value::List(rows) => {
            let rows = rows.iter().map(lower_row).collect::<Option<_>>()?;
            Some(TestRows::Inline { rows, place: node.place.clone() })
        }
        _ => None,
    }
}

fn lower_row(row: &Node) -> Option<TestRow> {
    let Value::Table(members) = &row.value else { return None };
    let cell = |member: &crate::tree::Member| {
        Some(Cell { column: member.key.clone(), json: json(&member.node)? })
    };
    let cells = members.iter().map(cell).collect::<Option<_>>()?;
    Some(TestRow { cells, place: row.place.clone() })
}

/// A value as JSON text; none for one that could not be parsed.
fn json(node: &Node) -> Option<String> {
    Some(match &node.value {
        Value::Text(text) => Json::from(text.as_str()).to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(text) => match text.trim_start_matches('+') {
            "nan" | "-nan" => "\"NaN\"".to_owned(),
            "inf" => "\"Infinity\"".to_owned(),
            "-inf" => "\"-Infinity\"".to_owned(),
            number => number.to_owned(),
        },
        Value::Boolean(is_true) => is_true.to_string(),
        Value::Time(text) => Json::from(text.as_str()).to_string(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(json).collect::<Option<_>>()?;
            format!("[{}]", items.join(","))
        }
        Value::Table(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|it| Some(format!("{}:{}", Json::from(it.key.as_str()), json(&it.node)?)))
                .collect::<Option<_>>()?;
            format!("{{{}}}", members.join(","))
        }
        Value::Broken => return None,
    })
}
