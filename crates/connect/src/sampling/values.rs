//! The narrowest type that all sampled values of a column fit.
//!
//! Whether a text fits is asked of the codecs' own reader, so a proposal never promises what
//! decoding would refuse. Rules where a value fits several types:
//!
//! - numbers with a fraction that come as text in JSON, or as text with the same number of digits
//!   behind the point, are decimals: someone keeps them exact; others are doubles;
//! - whole numbers that can be instants of a unit, in a column whose name says time, are timestamps;
//! - digits with a leading zero are text: they are a code.

use thalweg_core::schema::{Column, ColumnType, EpochUnit};
use thalweg_core::time::Timestamp;

use super::roles::is_time_name;
use crate::codecs::html::Clean;
use crate::codecs::{self};

/// A sampled value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Null,
    Boolean,
    Integer(i128),
    Float(f64),
    /// Text of a kind that says that it is text, as in JSON.
    Quoted(String),
    /// Text of a kind that knows nothing else, as in CSV.
    Plain(String),
    /// A list or an object.
    Nested,
}

/// What a column seems to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inferred {
    pub(super) kind: ColumnType,
    pub(super) nullable: bool,
    pub(super) unit: Option<EpochUnit>,
    pub(super) clean: Option<Clean>,
}

/// Seconds of a year.
const YEAR: i64 = 366 * 86_400;
/// Digits that a decimal has before the point beyond those of the sample.
const HEADROOM: usize = 4;
/// Fewest digits of a proposed decimal.
const PRECISION_MIN: usize = 18;

/// The type of a column called `name`.
pub(super) fn infer(name: &str, seen: &[Seen], now: Timestamp) -> Inferred {
    let values: Vec<&Seen> = seen.iter().filter(|value| **value != Seen::Null).collect();
    let nullable = values.len() < seen.len() || values.is_empty();
    let (kind, unit) = kind(name, &values, now);
    Inferred { kind, nullable, unit, clean: None }
}

fn kind(name: &str, values: &[&Seen], now: Timestamp) -> (ColumnType, Option<EpochUnit>) {
    let all = |is: fn(&Seen) -> bool| values.iter().all(|value| is(value));
    if values.is_empty() {
        return (ColumnType::Text, None);
    }
    if all(|it| matches!(it, Seen::Boolean)) {
        return (ColumnType::Boolean, None);
    }
    if all(|it| matches!(it, Seen::Integer(_))) {
        let numbers = values.iter().filter_map(|it| match it {
            Seen::Integer(number) => Some(*number),
            _ => None,
        });
        return whole(name, &numbers.collect::<Vec<_>>(), now);
    }
    if all(|it| matches!(it, Seen::Integer(_) | Seen::Float(_))) {
        return (ColumnType::Double, None);
    }
    if all(|it| matches!(it, Seen::Quoted(_) | Seen::Plain(_))) {
        let is_quoted = matches!(values[0], Seen::Quoted(_));
        let texts = values.iter().filter_map(|it| match it {
            Seen::Quoted(text) | Seen::Plain(text) => Some(text.as_str()),
            _ => None,
        });
        return of_texts(name, &texts.collect::<Vec<_>>(), is_quoted, now);
    }
    // Of several kinds: only JSON holds all of them.
    (ColumnType::Json, None)
}

fn of_texts(
    name: &str,
    texts: &[&str],
    is_quoted: bool,
    now: Timestamp,
) -> (ColumnType, Option<EpochUnit>) {
    let is_word = |text: &&str| matches!(text.to_ascii_lowercase().as_str(), "true" | "false");
    if texts.iter().all(is_word) {
        return (ColumnType::Boolean, None);
    }
    let fit = |kind| texts.iter().all(|text| fits(kind, text));
    if fit(ColumnType::Date) {
        return (ColumnType::Date, None);
    }
    // A bare number would be an instant, too.
    let have_dates = texts.iter().all(|text| text.len() >= 10 && text.as_bytes()[4] == b'-');
    if have_dates && fit(ColumnType::Timestamp) {
        return (ColumnType::Timestamp, None);
    }
    if texts.iter().any(|text| is_code(text)) {
        return (ColumnType::Text, None);
    }
    if let Some(numbers) = texts.iter().map(|text| integer(text)).collect::<Option<Vec<_>>>() {
        return whole(name, &numbers, now);
    }
    if !fit(ColumnType::Double) {
        return (ColumnType::Text, None);
    }
    let parts: Option<Vec<(usize, usize)>> = texts.iter().map(|text| digits(text)).collect();
    let Some(parts) = parts else { return (ColumnType::Double, None) };
    let scale = parts.iter().map(|(_, scale)| *scale).max().unwrap_or(0);
    let before = parts.iter().map(|(before, _)| *before).max().unwrap_or(0);
    let is_constant = parts.iter().all(|(_, of)| *of == scale);
    let precision = (before + scale + HEADROOM).clamp(PRECISION_MIN, 38);
    if (is_quoted || (is_constant && scale >= 2)) && before + scale <= 38 {
        let precision = u8::try_from(precision).unwrap_or(38);
        return (ColumnType::Decimal(precision, i8::try_from(scale).unwrap_or(0)), None);
    }
    (ColumnType::Double, None)
}

/// Whether the codecs read a text as a value of this type.
pub(super) fn fits(kind: ColumnType, text: &str) -> bool {
    codecs::fits(
        &Column {
            name: String::new(),
            kind,
            nullable: false,
            select: None,
            unit: None,
            allow_nan: false,
        },
        text,
    )
}

fn whole(name: &str, numbers: &[i128], now: Timestamp) -> (ColumnType, Option<EpochUnit>) {
    if let Some(unit) = epoch_unit(name, numbers, now) {
        return (ColumnType::Timestamp, Some(unit));
    }
    let in_range = |min: i128, max: i128| numbers.iter().all(|it| (min..=max).contains(it));
    if in_range(i32::MIN.into(), i32::MAX.into()) {
        (ColumnType::Int, None)
    } else if in_range(i64::MIN.into(), i64::MAX.into()) {
        (ColumnType::Bigint, None)
    } else {
        (ColumnType::Decimal(38, 0), None)
    }
}

/// The unit in which all numbers are instants of the last thirty years, where the name says time.
fn epoch_unit(name: &str, numbers: &[i128], now: Timestamp) -> Option<EpochUnit> {
    if !is_time_name(name) {
        return None;
    }
    let now = now.0.div_euclid(1_000_000);
    let (from, to) = (i128::from(now - 30 * YEAR), i128::from(now + YEAR));
    let units = [
        (EpochUnit::Seconds, 1),
        (EpochUnit::Millis, 1_000),
        (EpochUnit::Micros, 1_000_000),
        (EpochUnit::Nanos, 1_000_000_000),
    ];
    let is_of = |per_second: i128| {
        numbers.iter().all(|it| (from * per_second..=to * per_second).contains(it))
    };
    units.into_iter().find(|(_, per_second)| is_of(*per_second)).map(|(unit, _)| unit)
}

/// Digits that stand for something else than a number, such as `007`.
fn is_code(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|it| it.is_ascii_digit())
}

fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_one = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    if is_one { text.parse().ok() } else { None }
}

/// Digits before and behind the point; none for what is written otherwise.
fn digits(text: &str) -> Option<(usize, usize)> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let are_digits = |part: &str| part.bytes().all(|it| it.is_ascii_digit());
    (are_digits(whole) && are_digits(fraction)).then_some((whole.len(), fraction.len()))
}

/// A value as a number, for checks.
pub(super) fn as_number(seen: &Seen) -> Option<f64> {
    match seen {
        #[expect(clippy::cast_precision_loss, reason = "only compared with zero")]
        Seen::Integer(number) => Some(*number as f64),
        Seen::Float(number) => Some(*number),
        Seen::Quoted(text) | Seen::Plain(text) => text.parse().ok(),
        Seen::Null | Seen::Boolean | Seen::Nested => None,
    }
}
