//! A second decoder, written for clarity on `serde_json` alone, that the fuzz test believes.
//!
//! It takes a frame apart by raw values, has no reasons, and gives each value as text, floats by
//! their bits. It knows the columns that the fuzz test makes, and paths without `$` for them.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;
use thalweg_core::schema::{Column, ColumnType};

use super::super::path::Step;
use super::JsonConfig;
use crate::codecs::rows::Value as Read;
use crate::codecs::text;

/// What becomes of a frame.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Filtered,
    Refused,
    /// Each row's values, or none where it is refused.
    Rows(Vec<Option<Vec<String>>>),
}

/// What lies at the end of a path.
enum Found<'a> {
    Value(&'a str),
    Missing,
    Broken,
}

pub(super) fn decode(config: &JsonConfig, frame: &[u8]) -> Verdict {
    if frame.trim_ascii().is_empty() {
        return Verdict::Filtered;
    }
    if serde_json::from_slice::<Value>(frame).is_err() {
        return Verdict::Refused;
    }
    let frame = std::str::from_utf8(frame).expect("JSON is UTF-8").trim();
    if let Some(condition) = &config.only_if {
        let raw = match find(frame, &condition.path.steps) {
            Found::Value(raw) => Some(raw.as_bytes()),
            Found::Missing | Found::Broken => None,
        };
        if !condition.holds(raw) {
            return Verdict::Filtered;
        }
    }
    let steps = config.rows.as_ref().map(|path| &*path.steps).unwrap_or_default();
    let mut rows = Vec::new();
    if !collect(frame, steps, true, &mut rows) {
        return Verdict::Refused;
    }
    Verdict::Rows(rows.iter().map(|row| self::row(&config.columns, row)).collect())
}

/// Finds the rows; whether the way to them is there. Inside an element it may be missing.
fn collect<'a>(raw: &'a str, steps: &[Step], is_needed: bool, rows: &mut Vec<&'a str>) -> bool {
    match steps.split_first() {
        None => {
            rows.push(raw);
            true
        }
        Some((Step::Each, rest)) if raw.starts_with('[') => {
            items(raw).into_iter().all(|item| collect(item, rest, false, rows))
        }
        Some((Step::Each, _)) => false,
        Some((Step::Key(key), rest)) if raw.starts_with('{') => match keys(raw).get(key) {
            Some(value) => collect(value.get(), rest, is_needed, rows),
            None => !is_needed,
        },
        Some((Step::Key(_), _)) => false,
        Some((Step::Item(_), _)) => unreachable!("the fuzz test has no such rows"),
    }
}

fn keys(raw: &str) -> HashMap<String, &RawValue> {
    serde_json::from_str(raw).expect("an object")
}

fn items(raw: &str) -> Vec<&str> {
    let items: Vec<&RawValue> = serde_json::from_str(raw).expect("an array");
    items.into_iter().map(RawValue::get).collect()
}

fn find<'a>(raw: &'a str, steps: &[Step]) -> Found<'a> {
    let Some((step, rest)) = steps.split_first() else { return Found::Value(raw) };
    let next = match step {
        _ if raw == "null" => None,
        Step::Key(key) if raw.starts_with('{') => keys(raw).get(key).map(|value| value.get()),
        Step::Item(index) if raw.starts_with('[') => items(raw).get(*index).copied(),
        _ => return Found::Broken,
    };
    next.map_or(Found::Missing, |next| find(next, rest))
}

fn row(columns: &[Column], raw: &str) -> Option<Vec<String>> {
    if !raw.starts_with('{') {
        return None;
    }
    columns.iter().map(|column| value(column, raw)).collect()
}

fn value(column: &Column, row: &str) -> Option<String> {
    let path: super::JsonPath = column.path().parse().expect("a path");
    let raw = match find(row, &path.steps) {
        Found::Value("null") | Found::Missing => {
            return column.nullable.then(|| "null".to_owned());
        }
        Found::Broken => return None,
        Found::Value(raw) => raw,
    };
    let text = serde_json::from_str::<String>(raw).ok();
    let is_number = raw.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let number = text.as_deref().or(is_number.then_some(raw));
    match column.kind {
        ColumnType::Text => text,
        ColumnType::Json => Some(raw.to_owned()),
        ColumnType::Boolean => match text.unwrap_or_else(|| raw.to_owned()).as_str() {
            "true" => Some("true".to_owned()),
            "false" => Some("false".to_owned()),
            "1" if !is_number => Some("true".to_owned()),
            _ => None,
        },
        ColumnType::Int => whole(number?)?.parse::<i32>().ok().map(|value| value.to_string()),
        ColumnType::Bigint => whole(number?)?.parse::<i64>().ok().map(|value| value.to_string()),
        ColumnType::Double => {
            let value: f64 = number?.parse().ok()?;
            value.is_finite().then(|| format!("{:x}", value.to_bits()))
        }
        ColumnType::Real => {
            let value: f32 = number?.parse().ok()?;
            value.is_finite().then(|| format!("{:x}", value.to_bits()))
        }
        ColumnType::Decimal(precision, scale) => {
            let digits = shifted(number?, scale.into())?;
            (digits.trim_start_matches('-').len() <= precision.into()).then_some(digits)
        }
        ColumnType::Timestamp => match &text {
            Some(text) if text.parse::<f64>().is_err() => written(column, text),
            _ => floor(number?, 3)?.parse::<i64>().ok().map(|value| value.to_string()),
        },
        ColumnType::Date => written(column, &text?),
        ColumnType::Bytes => unreachable!("the fuzz test has no such column"),
    }
}

/// A date or time of the calendar. Their spellings are held against `chrono` in `text/tests`, which
/// is more lenient than we are.
fn written(column: &Column, text: &str) -> Option<String> {
    match text::parse(column, text).ok()? {
        Read::Int(days) => Some(days.to_string()),
        Read::Bigint(micros) => Some(micros.to_string()),
        _ => None,
    }
}

fn whole(text: &str) -> Option<&str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_whole.then_some(text)
}

/// The digits of `text × 10^places`, split where the point then stands; none when it is no number
/// or of absurd size.
fn digits(text: &str, places: i32) -> Option<(bool, String, String)> {
    text.parse::<f64>().ok()?;
    let is_negative = text.starts_with('-');
    let unsigned = text.trim_start_matches(['-', '+']);
    let (number, power) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let point = whole.len() as i64 + i64::from(power.parse::<i32>().ok()?) + i64::from(places);
    if point.abs() > 2_000 {
        return None;
    }
    let mut all = format!("{whole}{fraction}");
    let mut point = point;
    while point < 0 {
        all.insert(0, '0');
        point += 1;
    }
    while (all.len() as i64) < point {
        all.push('0');
    }
    let (before, after) = all.split_at(point as usize);
    let before = before.trim_start_matches('0');
    let before = if before.is_empty() { "0" } else { before };
    Some((is_negative, before.to_owned(), after.trim_end_matches('0').to_owned()))
}

fn signed(is_negative: bool, digits: &str) -> String {
    if is_negative && digits != "0" { format!("-{digits}") } else { digits.to_owned() }
}

/// `text × 10^places` as a whole number, if it is one.
fn shifted(text: &str, places: i32) -> Option<String> {
    let (is_negative, before, after) = digits(text, places)?;
    after.is_empty().then(|| signed(is_negative, &before))
}

/// `text × 10^places`, rounded down.
fn floor(text: &str, places: i32) -> Option<String> {
    let (is_negative, before, after) = digits(text, places)?;
    let whole: i128 = signed(is_negative, &before).parse().ok()?;
    Some((whole - i128::from(is_negative && !after.is_empty())).to_string())
}
