//! Rows that are there against rows that are expected.
//!
//! Compared are the columns that any expected row names; a row that leaves one of them out expects
//! NULL there. Values are compared as the column's type: floats within 1e-9 of each other (S11),
//! everything else exactly.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value as Json;
use thalweg_core::{Error, Result};
use thalweg_project::{Expectation, TestRows};

use super::{Found, Row, RowPlace};

/// How far two floats may be apart, relative to the larger (S11).
const FLOAT_TOLERANCE: f64 = 1e-9;
/// Pairs of rows that are tried for the best order at most; beyond it rows are compared by place.
const PAIRS_MAX: usize = 4_000_000;

/// What came of one expectation.
pub(crate) struct Compared {
    /// The relation.
    pub relation: String,
    /// Its rows as the project file has them.
    pub expected: TestRows,
    /// Where the expectation stands.
    pub place: thalweg_core::problem::Place,
    /// The columns that were compared.
    pub columns: Vec<String>,
    /// Every row of both sides, those that are alike once.
    pub lines: Vec<Line>,
    /// What is there, as an expectation of the same columns: cells that are not NULL, as JSON.
    pub found: Vec<Vec<(String, String)>>,
}

impl Compared {
    /// Whether all is as expected.
    pub(crate) fn is_same(&self) -> bool {
        self.lines.iter().all(|line| matches!(line.side, Side::Both))
    }

    /// Rows on a side, and on both.
    pub(crate) fn count(&self, side: Side) -> usize {
        let is_on = |line: &&Line| line.side == side || line.side == Side::Both;
        self.lines.iter().filter(is_on).count()
    }
}

/// A row of the difference.
#[derive(Clone)]
pub(crate) struct Line {
    /// Where it is.
    pub side: Side,
    /// Its values, in the order of the columns.
    pub values: Vec<TypedValue>,
    /// Where it is expected.
    pub place: Option<RowPlace>,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Expected and there.
    Both,
    /// Expected and not there.
    Expected,
    /// There and not expected.
    Found,
}

/// A value, read as the type of its column.
#[derive(Clone, Debug)]
pub(crate) enum TypedValue {
    Null,
    Float(f64),
    Integer(String),
    Boolean(bool),
    Text(String),
    /// A list or structure.
    Nested(String),
}

impl TypedValue {
    /// Reads a value of a test as one of `kind`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a clause.
    pub(crate) fn of_json(json: &str, kind: &DataType) -> std::result::Result<Self, String> {
        let value: Json =
            serde_json::from_str(json).map_err(|_| format!("`{json}` is not a value"))?;
        let text = match &value {
            Json::Null => return Ok(Self::Null),
            Json::String(text) => text.clone(),
            Json::Number(_) | Json::Bool(_) => json.trim().to_owned(),
            Json::Array(_) | Json::Object(_) if kind.is_nested() => {
                return Ok(Self::Nested(value.to_string()));
            }
            // A column of JSON is text.
            Json::Array(_) | Json::Object(_) => value.to_string(),
        };
        if is_text(kind) {
            return match value {
                Json::Number(_) | Json::Bool(_) => {
                    Err(format!("the column is text, so write `\"{text}\"`"))
                }
                _ => Ok(Self::Text(text)),
            };
        }
        let wrong = || format!("`{text}` is not {}", noun(kind));
        if kind.is_floating() {
            let number: f64 = text.parse().map_err(|_| wrong())?;
            #[expect(clippy::cast_possible_truncation, reason = "as a column of 32 bits has it")]
            let narrow = f64::from(number as f32);
            return Ok(Self::Float(if *kind == DataType::Float64 { number } else { narrow }));
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = cast_with_options(&StringArray::from(vec![text.as_str()]), kind, &options);
        Self::of_array(&cast.map_err(|_| wrong())?, 0).map_err(|_| wrong())
    }

    fn of_array(array: &ArrayRef, row: usize) -> Result<Self> {
        if array.is_null(row) {
            return Ok(Self::Null);
        }
        Ok(match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean().value(row)),
            kind if kind.is_floating() => {
                let wide = cast_with_options(array, &DataType::Float64, &CastOptions::default());
                Self::Float(wide.map_err(unshown)?.as_primitive::<Float64Type>().value(row))
            }
            kind if kind.is_nested() => Self::Nested(nested(array, row)?),
            kind => {
                let options = FormatOptions::default();
                let formatter = ArrayFormatter::try_new(array, &options).map_err(unshown)?;
                let text = formatter.value(row).to_string();
                if kind.is_integer() { Self::Integer(text) } else { Self::Text(text) }
            }
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Float(a), Self::Float(b)) => {
                let apart = (a - b).abs();
                a == b
                    || (a.is_nan() && b.is_nan())
                    || (apart.is_finite() && apart <= FLOAT_TOLERANCE * a.abs().max(b.abs()))
            }
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Integer(a), Self::Integer(b))
            | (Self::Text(a), Self::Text(b))
            | (Self::Nested(a), Self::Nested(b)) => a == b,
            _ => false,
        }
    }

    /// As a test writes it; none for NULL.
    pub(crate) fn json(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Float(number) if number.is_finite() => Json::from(*number).to_string(),
            Self::Float(number) => Json::from(number.to_string()).to_string(),
            Self::Boolean(is_true) => is_true.to_string(),
            Self::Text(text) => Json::from(text.as_str()).to_string(),
            Self::Integer(text) | Self::Nested(text) => text.clone(),
        })
    }
}

impl fmt::Display for TypedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Float(number) => write!(f, "{}", Json::from(*number)),
            Self::Boolean(is_true) => write!(f, "{is_true}"),
            Self::Integer(text) | Self::Text(text) | Self::Nested(text) => f.write_str(text),
        }
    }
}

/// The columns that rows name, in the order of their first naming.
pub(super) fn named_columns(rows: &[Row]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for (column, _) in rows.iter().flat_map(|row| &row.cells) {
        if !columns.contains(column) {
            columns.push(column.clone());
        }
    }
    columns
}

/// Compares the rows of a relation with those expected.
///
/// # Errors
///
/// `Invalid` when an expected value is none of its column's type, or there is no such column.
pub(super) fn compare(expectation: &Expectation, rows: Vec<Row>, found: Found) -> Result<Compared> {
    let mut columns = named_columns(&rows);
    if columns.is_empty() {
        let all = found.rows.schema();
        let names = all.fields().iter().map(|field| field.name().clone());
        columns = names.filter(|name| !name.starts_with('_')).collect();
    }
    let relation = expectation.relation.as_str();
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .map(|name| {
            let array = found.rows.column_by_name(name).cloned();
            array.ok_or_else(|| Error::invalid(format!("no column `{name}` in `{relation}`")))
        })
        .collect::<Result<_>>()?;
    let there: Vec<Vec<TypedValue>> = (0..found.rows.num_rows())
        .map(|row| arrays.iter().map(|array| TypedValue::of_array(array, row)).collect())
        .collect::<Result<_>>()?;
    let wanted: Vec<Vec<TypedValue>> = rows
        .iter()
        .map(|row| {
            let cells: BTreeMap<&str, &str> =
                row.cells.iter().map(|(name, json)| (name.as_str(), json.as_str())).collect();
            let values = columns.iter().zip(&arrays).map(|(name, array)| {
                let Some(json) = cells.get(name.as_str()) else { return Ok(TypedValue::Null) };
                TypedValue::of_json(json, array.data_type()).map_err(|reason| {
                    Error::invalid(format!("{}: `{name}` of `{relation}`: {reason}", row.place))
                })
            });
            values.collect()
        })
        .collect::<Result<_>>()?;
    let pairs = match found.is_ordered {
        true => in_order(&wanted, &there),
        false => in_any_order(&wanted, &there),
    };
    let lines = pairs.into_iter().map(|pair| match pair {
        Pair::Both(at, _) => (Side::Both, &wanted[at], Some(at)),
        Pair::Expected(at) => (Side::Expected, &wanted[at], Some(at)),
        Pair::Found(at) => (Side::Found, &there[at], None),
    });
    let lines = lines.map(|(side, values, at)| Line {
        side,
        values: values.clone(),
        place: at.map(|at| rows[at].place.clone()),
    });
    let cells = |values: &Vec<TypedValue>| {
        let cells = columns.iter().zip(values);
        cells.filter_map(|(name, value)| Some((name.clone(), value.json()?))).collect()
    };
    Ok(Compared {
        relation: relation.to_owned(),
        expected: expectation.rows.clone(),
        place: expectation.relation.place.clone(),
        lines: lines.collect(),
        found: there.iter().map(cells).collect(),
        columns,
    })
}

/// Rows of both sides, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair {
    Both(usize, usize),
    Expected(usize),
    Found(usize),
}

fn is_same_row(a: &[TypedValue], b: &[TypedValue]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.is_same(b))
}

/// The shortest difference of two sequences (the longest common subsequence stays).
fn in_order(wanted: &[Vec<TypedValue>], there: &[Vec<TypedValue>]) -> Vec<Pair> {
    let same = |i: usize, j: usize| is_same_row(&wanted[i], &there[j]);
    let shorter = wanted.len().min(there.len());
    let head = (0..shorter).take_while(|at| same(*at, *at)).count();
    let mut pairs: Vec<Pair> = (0..head).map(|at| Pair::Both(at, at)).collect();
    let (n, m) = (wanted.len() - head, there.len() - head);
    if n.saturating_mul(m) > PAIRS_MAX {
        for at in head..wanted.len().max(there.len()) {
            match (at < wanted.len(), at < there.len()) {
                (true, true) if same(at, at) => pairs.push(Pair::Both(at, at)),
                (is_wanted, is_there) => {
                    pairs.extend(is_wanted.then_some(Pair::Expected(at)));
                    pairs.extend(is_there.then_some(Pair::Found(at)));
                }
            }
        }
        return pairs;
    }
    // lengths[i][j]: common rows of what follows i and j.
    let mut lengths = vec![vec![0_u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            lengths[i][j] = match same(head + i, head + j) {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < n || j < m {
        if i < n && j < m && same(head + i, head + j) {
            pairs.push(Pair::Both(head + i, head + j));
            (i, j) = (i + 1, j + 1);
        } else if i < n && (j == m || lengths[i + 1][j] >= lengths[i][j + 1]) {
            pairs.push(Pair::Expected(head + i));
            i += 1;
        } else {
            pairs.push(Pair::Found(head + j));
            j += 1;
        }
    }
    pairs
}

/// Rows as sets in which a row can be twice; what is missing stands beside what is most like it.
fn in_any_order(wanted: &[Vec<TypedValue>], there: &[Vec<TypedValue>]) -> Vec<Pair> {
    let mut left: Vec<usize> = (0..there.len()).collect();
    let mut partner: Vec<Option<usize>> = vec![None; wanted.len()];
    for (i, row) in wanted.iter().enumerate() {
        if let Some(at) = left.iter().position(|j| is_same_row(row, &there[*j])) {
            partner[i] = Some(left.remove(at));
        }
    }
    let mut pairs = Vec::new();
    for (i, row) in wanted.iter().enumerate() {
        if let Some(j) = partner[i] {
            pairs.push(Pair::Both(i, j));
            continue;
        }
        pairs.push(Pair::Expected(i));
        let alike = |j: usize| row.iter().zip(&there[j]).filter(|(a, b)| a.is_same(b)).count();
        let nearest = left.iter().enumerate().map(|(at, j)| (alike(*j), at));
        // Of those that are equally near, the first.
        let nearest =
            nearest.filter(|(alike, _)| *alike > 0).max_by_key(|(n, at)| (*n, usize::MAX - at));
        if let Some((_, at)) = nearest {
            pairs.push(Pair::Found(left.remove(at)));
        }
    }
    pairs.extend(left.into_iter().map(Pair::Found));
    pairs
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn noun(kind: &DataType) -> &'static str {
    match kind {
        DataType::Boolean => "true or false",
        DataType::Date32 | DataType::Date64 => "a date such as `2024-01-31`",
        DataType::Timestamp(..) => "an instant such as `2024-01-31T12:00:00Z`",
        kind if kind.is_integer() => "a whole number in range",
        kind if kind.is_numeric() => "a number",
        _ => "a value of the column's type",
    }
}

/// A list or structure as JSON, its members sorted.
fn nested(array: &ArrayRef, row: usize) -> Result<String> {
    let field = Field::new("v", array.data_type().clone(), true);
    let one = RecordBatch::try_new(Schema::new(vec![field]).into(), vec![array.slice(row, 1)]);
    let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
    writer.write(&one.map_err(unshown)?).and_then(|()| writer.finish()).map_err(unshown)?;
    let object: Json = serde_json::from_slice(&writer.into_inner())
        .map_err(|error| Error::internal("rows are not JSON").with_source(error))?;
    Ok(object.get("v").unwrap_or(&Json::Null).to_string())
}

fn unshown(error: arrow::error::ArrowError) -> Error {
    Error::internal("a value cannot be shown").with_source(error)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn rows(texts: &[&str]) -> Vec<Vec<TypedValue>> {
        texts
            .iter()
            .map(|row| row.split(' ').map(|it| TypedValue::Text(it.to_owned())).collect())
            .collect()
    }

    fn shown(pairs: &[Pair]) -> String {
        let sign = |pair: &Pair| match pair {
            Pair::Both(i, _) => format!("={i}"),
            Pair::Expected(i) => format!("-{i}"),
            Pair::Found(j) => format!("+{j}"),
        };
        pairs.iter().map(sign).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn in_order_the_common_rows_stay() {
        let check = |wanted: &[&str], there: &[&str], expected: &str| {
            assert_eq!(shown(&in_order(&rows(wanted), &rows(there))), expected);
        };
        check(&["a", "b"], &["a", "b"], "=0 =1");
        check(&["a", "b", "c"], &["a", "x", "c"], "=0 -1 +1 =2");
        check(&["a", "b"], &["b", "a"], "-0 =1 +1");
        check(&[], &["a"], "+0");
        check(&["a"], &[], "-0");
    }

    #[test]
    fn in_any_order_a_row_stands_beside_what_is_most_like_it() {
        let check = |wanted: &[&str], there: &[&str], expected: &str| {
            assert_eq!(shown(&in_any_order(&rows(wanted), &rows(there))), expected);
        };
        check(&["a 1", "b 2"], &["b 2", "a 1"], "=0 =1");
        check(&["a 1", "a 1"], &["a 1"], "=0 -1");
        check(&["a 1", "b 2"], &["b 3", "c 1"], "-0 +1 -1 +0");
        check(&["a 1"], &["b 2"], "-0 +0");
    }

    #[test]
    fn values_are_read_as_their_column_has_them() {
        let check = |json: &str, kind: &DataType, expected: Option<&str>| {
            let found = TypedValue::of_json(json, kind).ok().map(|it| it.to_string());
            assert_eq!(found.as_deref(), expected, "{json} as {kind}");
        };
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        check("\"2024-01-31T12:00:00Z\"", &instant, Some("2024-01-31T12:00:00Z"));
        check("\"2024-01-31T13:00:00+01:00\"", &instant, Some("2024-01-31T12:00:00Z"));
        check("\"soon\"", &instant, None);
        check("1.5", &DataType::Decimal128(10, 2), Some("1.50"));
        check("\"1.5\"", &DataType::Decimal128(10, 2), Some("1.50"));
        check("1.5", &DataType::Int64, None);
        check("3", &DataType::Int64, Some("3"));
        check("3", &DataType::Float64, Some("3.0"));
        check("3", &DataType::Utf8, None);
        check("\"3\"", &DataType::Utf8, Some("3"));
        check("null", &DataType::Int64, Some("NULL"));
        check("true", &DataType::Boolean, Some("true"));
        check("\"2024-01-31\"", &DataType::Date32, Some("2024-01-31"));
    }

    #[test]
    fn floats_are_the_same_within_their_last_digits() {
        let same = |a: f64, b: f64| TypedValue::Float(a).is_same(&TypedValue::Float(b));
        assert!(same(0.1 + 0.2, 0.3) && same(f64::NAN, f64::NAN) && same(0.0, -0.0));
        assert!(!same(1.0, 1.000_000_01) && !same(0.0, 1e-12) && !same(f64::INFINITY, 1.0));
    }
}
