//! What the log says about a data file: rows, and per column nulls and bounds, as Delta's JSON.
//!
//! ```text
//! {"numRecords":2,"minValues":{"price":1.5},"maxValues":{"price":2.5},"nullCount":{"price":0}}
//! ```
//!
//! Readers leave a file out when its bounds exclude what they look for, so a bound may be wide but
//! never too narrow: instants are rounded outwards to milliseconds (the format's resolution), text
//! longer than 64 bytes is cut by the Parquet writer with its upper bound raised. A value JSON
//! cannot say (infinite, a year beyond 9999) leaves its column without bounds.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::{DataType, Schema};
use parquet::data_type::AsBytes as _;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use serde::Serialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use thalweg_core::time::{Day, Timestamp};

/// Columns with bounds at most, as in Delta by default.
const COLUMNS_MAX: usize = 32;
const MICROS_PER_MILLI: i64 = 1_000;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct FileStatistics<'a> {
    num_records: i64,
    min_values: BTreeMap<&'a str, Box<RawValue>>,
    max_values: BTreeMap<&'a str, Box<RawValue>>,
    null_count: BTreeMap<&'a str, u64>,
}

/// The statistics of a file just written, whose columns are `schema`.
pub(crate) fn of_file(file: &ParquetMetaData, schema: &Schema) -> String {
    let described = file.file_metadata().schema_descr();
    let leaves: HashMap<&str, usize> = (0..described.num_columns())
        .filter(|leaf| described.column(*leaf).path().parts().len() == 1)
        .map(|leaf| (schema.field(described.get_column_root_idx(leaf)), leaf))
        .map(|(field, leaf)| (field.name().as_str(), leaf))
        .collect();
    let mut statistics =
        FileStatistics { num_records: file.file_metadata().num_rows(), ..Default::default() };
    for field in schema.fields().iter().take(COLUMNS_MAX) {
        let (name, Some(leaf)) = (field.name().as_str(), leaves.get(field.name().as_str())) else {
            continue;
        };
        if let Some(nulls) = null_count(file.row_groups(), *leaf) {
            statistics.null_count.insert(name, nulls);
        }
        let Some((low, high)) = bounds(file.row_groups(), *leaf) else { continue };
        let low = low.json(field.data_type(), Round::Down);
        let high = high.json(field.data_type(), Round::Up);
        if let (Some(low), Some(high)) = (low, high) {
            statistics.min_values.insert(name, low);
            statistics.max_values.insert(name, high);
        }
    }
    serde_json::to_string(&statistics).expect("a map with text keys is always JSON")
}

/// The rows of a file, if its statistics say so.
pub(crate) fn rows(statistics: Option<&str>) -> Option<u64> {
    parse(statistics)?.get("numRecords")?.as_u64()
}

/// The first and the last day that a column of dates or instants can hold in a file; none when the
/// statistics do not say, or it can be null.
pub(crate) fn days(statistics: Option<&str>, column: &str) -> Option<(Day, Day)> {
    let statistics = parse(statistics)?;
    if statistics.get("nullCount")?.get(column)?.as_u64()? > 0 {
        return None;
    }
    let day = |bounds: &str| {
        let text = statistics.get(bounds)?.get(column)?.as_str()?;
        Day::parse(text).or_else(|| Timestamp::parse(text).map(Timestamp::day))
    };
    Some((day("minValues")?, day("maxValues")?))
}

fn parse(statistics: Option<&str>) -> Option<Json> {
    serde_json::from_str(statistics?).ok()
}

fn null_count(groups: &[RowGroupMetaData], leaf: usize) -> Option<u64> {
    groups.iter().map(|group| group.column(leaf).statistics()?.null_count_opt()).sum()
}

/// The bounds of a column over all row groups; none when one of them does not say, unless it holds
/// nothing but nulls.
fn bounds(groups: &[RowGroupMetaData], leaf: usize) -> Option<(Bound, Bound)> {
    let mut bounds: Option<(Bound, Bound)> = None;
    for group in groups {
        let statistics = group.column(leaf).statistics()?;
        if statistics.null_count_opt() == u64::try_from(group.num_rows()).ok() {
            continue;
        }
        let (low, high) = Bound::both(statistics)?;
        bounds = Some(match bounds {
            None => (low, high),
            Some((lowest, highest)) => (
                if low < lowest { low } else { lowest },
                if high > highest { high } else { highest },
            ),
        });
    }
    bounds
}

#[derive(Clone, Copy)]
enum Round {
    Down,
    Up,
}

/// A bound in a form that can be compared.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Bound {
    /// Integers, dates, instants and decimals, these by their digits.
    Integer(i128),
    Float(f64),
    Bytes(Vec<u8>),
}

impl Bound {
    fn both(statistics: &Statistics) -> Option<(Self, Self)> {
        Some(match statistics {
            Statistics::Int32(of) => {
                (Self::Integer((*of.min_opt()?).into()), Self::Integer((*of.max_opt()?).into()))
            }
            Statistics::Int64(of) => {
                (Self::Integer((*of.min_opt()?).into()), Self::Integer((*of.max_opt()?).into()))
            }
            Statistics::Float(of) => {
                (Self::Float((*of.min_opt()?).into()), Self::Float((*of.max_opt()?).into()))
            }
            Statistics::Double(of) => (Self::Float(*of.min_opt()?), Self::Float(*of.max_opt()?)),
            Statistics::FixedLenByteArray(of) => {
                (big_endian(of.min_opt()?.as_bytes())?, big_endian(of.max_opt()?.as_bytes())?)
            }
            Statistics::ByteArray(of) => (
                Self::Bytes(of.min_opt()?.as_bytes().to_vec()),
                Self::Bytes(of.max_opt()?.as_bytes().to_vec()),
            ),
            Statistics::Boolean(_) | Statistics::Int96(_) => return None,
        })
    }

    fn json(&self, data_type: &DataType, round: Round) -> Option<Box<RawValue>> {
        let text = match (self, data_type) {
            (Self::Integer(days), DataType::Date32) => quoted(&date(i32::try_from(*days).ok()?)?),
            (Self::Integer(micros), DataType::Timestamp(_, _)) => {
                quoted(&instant(i64::try_from(*micros).ok()?, round)?)
            }
            (Self::Integer(digits), DataType::Decimal128(_, scale)) => decimal(*digits, *scale)?,
            (Self::Integer(number), _) => number.to_string(),
            (Self::Float(number), _) if number.is_finite() => serde_json::to_string(number).ok()?,
            (Self::Bytes(bytes), DataType::Utf8) => quoted(std::str::from_utf8(bytes).ok()?),
            _ => return None,
        };
        RawValue::from_string(text).ok()
    }
}

fn big_endian(bytes: &[u8]) -> Option<Bound> {
    let (first, count) = (*bytes.first()?, bytes.len());
    let mut wide = [if first & 0x80 == 0 { 0 } else { 0xFF }; 16];
    wide.get_mut(16usize.checked_sub(count)?..)?.copy_from_slice(bytes);
    Some(Bound::Integer(i128::from_be_bytes(wide)))
}

fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

fn date(days: i32) -> Option<String> {
    four_digit_year(Day(days).to_string())
}

/// `2023-12-22T15:24:04.022Z`, rounded to milliseconds.
fn instant(micros: i64, round: Round) -> Option<String> {
    let up = match round {
        Round::Up => MICROS_PER_MILLI - 1,
        Round::Down => 0,
    };
    let millis = micros.checked_add(up)?.div_euclid(MICROS_PER_MILLI);
    four_digit_year(Timestamp::from_millis(millis).to_string())
}

/// Leaves out what lies beyond the years 0 to 9999, which readers cannot parse.
fn four_digit_year(text: String) -> Option<String> {
    let bytes = text.as_bytes();
    (bytes.get(4) == Some(&b'-') && bytes[..4].iter().all(u8::is_ascii_digit)).then_some(text)
}

/// The digits with the point put in: exact, as a double could not be.
fn decimal(digits: i128, scale: i8) -> Option<String> {
    let scale = usize::try_from(scale).ok()?;
    if scale == 0 {
        return Some(digits.to_string());
    }
    let sign = if digits < 0 { "-" } else { "" };
    let padded = format!("{:0>width$}", digits.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    Some(format!("{sign}{whole}.{fraction}"))
}

#[cfg(test)]
mod tests;
