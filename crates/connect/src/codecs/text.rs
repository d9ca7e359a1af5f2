//! Values from text: one spelling of each column type for CSV fields and JSON strings.
//!
//! Numbers are read from their decimal text, so a `decimal` and an instant are exact; floats are
//! rounded once, correctly. The accepted forms stand in the table of [`crate::codecs`].

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::NaiveDate;
use thalweg_core::schema::{Column, ColumnType, EpochUnit};
use thalweg_core::time::{MICROS_PER_DAY, MICROS_PER_SECOND};

use super::json;
use super::rows::{Mismatch, Value};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a value of the column's type from a CSV field or the text of a JSON string.
pub(super) fn parse<'a>(column: &Column, text: &'a str) -> Result<Value<'a>, Mismatch> {
    match column.kind {
        ColumnType::Text => Ok(Value::Bytes(Cow::Borrowed(text.as_bytes()))),
        ColumnType::Boolean => boolean(text),
        ColumnType::Date => date(text),
        ColumnType::Timestamp if has_date(text) => timestamp(text),
        ColumnType::Json if json::is_json(text.as_bytes()) => {
            Ok(Value::Bytes(Cow::Borrowed(text.as_bytes())))
        }
        ColumnType::Json => Err(Mismatch::Kind),
        ColumnType::Bytes => match BASE64.decode(text) {
            Ok(bytes) => Ok(Value::Bytes(Cow::Owned(bytes))),
            Err(_) => Err(Mismatch::Kind),
        },
        _ => number(column, text),
    }
}

/// Reads a value of the column's type from the text of a number.
pub(super) fn number<'a>(column: &Column, text: &str) -> Result<Value<'a>, Mismatch> {
    Ok(match column.kind {
        ColumnType::Int => Value::Int(i32::try_from(integer(text)?).map_err(|_| Mismatch::Range)?),
        ColumnType::Bigint => Value::Bigint(integer(text)?),
        ColumnType::Real => Value::Real(float(text, column.allow_nan, f32::is_infinite)?),
        ColumnType::Double => Value::Double(float(text, column.allow_nan, f64::is_infinite)?),
        ColumnType::Decimal(precision, scale) => Value::Decimal(decimal(text, precision, scale)?),
        ColumnType::Timestamp => Value::Bigint(instant(text, column.unit)?),
        _ => return Err(Mismatch::Kind),
    })
}

fn boolean<'a>(text: &str) -> Result<Value<'a>, Mismatch> {
    let is_any = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_any(["true", "t", "1"]) {
        Ok(Value::Boolean(true))
    } else if is_any(["false", "f", "0"]) {
        Ok(Value::Boolean(false))
    } else {
        Err(Mismatch::Kind)
    }
}

fn integer(text: &str) -> Result<i64, Mismatch> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Mismatch::Kind);
    }
    text.parse().map_err(|_| Mismatch::Range)
}

fn float<F: Copy + FromStr>(
    text: &str,
    allow_nan: bool,
    is_infinite: fn(F) -> bool,
) -> Result<F, Mismatch> {
    let value: F = text.parse().map_err(|_| Mismatch::Kind)?;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    // The standard library reads these words, and only these, beside digits.
    let is_word = ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
    if is_word {
        return if allow_nan { Ok(value) } else { Err(Mismatch::NotFinite) };
    }
    if is_infinite(value) { Err(Mismatch::Range) } else { Ok(value) }
}

/// A decimal number: `mantissa × 10^exponent`; the mantissa does not end in 0, unless it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exact {
    mantissa: i128,
    exponent: i32,
}

impl Exact {
    /// Exponents are cut to this; whatever lies beyond is out of every range.
    const EXPONENT_MAX: i32 = 100_000;

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (number, power) = match unsigned.split_once(['e', 'E']) {
            Some((number, power)) => (number, exponent(power)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(Mismatch::Kind);
        }
        let mut mantissa = 0_i128;
        let mut zeros = 0_i32;
        for digit in whole.bytes().chain(fraction.bytes()) {
            match digit {
                b'0' => zeros = zeros.saturating_add(1),
                b'1'..=b'9' => {
                    mantissa = if mantissa == 0 {
                        i128::from(digit - b'0')
                    } else {
                        power_of_ten(zeros.saturating_add(1))
                            .and_then(|factor| mantissa.checked_mul(factor))
                            .and_then(|shifted| shifted.checked_add(i128::from(digit - b'0')))
                            .ok_or(Mismatch::Range)?
                    };
                    zeros = 0;
                }
                _ => return Err(Mismatch::Kind),
            }
        }
        if mantissa == 0 {
            return Ok(Self { mantissa, exponent: 0 });
        }
        let fraction_digits = i32::try_from(fraction.len()).map_err(|_| Mismatch::Range)?;
        Ok(Self {
            mantissa: if is_negative { -mantissa } else { mantissa },
            exponent: power.saturating_add(zeros).saturating_sub(fraction_digits),
        })
    }
}

fn exponent(text: &str) -> Result<i32, Mismatch> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Mismatch::Kind);
    }
    let most = Exact::EXPONENT_MAX;
    let value = digits.parse().map_or(most, |value: i32| value.min(most));
    Ok(if text.starts_with('-') { -value } else { value })
}

fn power_of_ten(power: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(power).ok()?)
}

fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, Mismatch> {
    let Exact { mantissa, exponent } = Exact::parse(text)?;
    if mantissa == 0 {
        return Ok(0);
    }
    let limit = power_of_ten(i32::from(precision)).ok_or(Mismatch::Range)?;
    // A negative power would cut a digit that is not zero.
    power_of_ten(exponent.saturating_add(i32::from(scale)))
        .and_then(|factor| mantissa.checked_mul(factor))
        .filter(|value| value.abs() < limit)
        .ok_or(Mismatch::Range)
}

/// Microseconds of a number in `unit`, rounded down.
fn instant(text: &str, unit: Option<EpochUnit>) -> Result<i64, Mismatch> {
    let Exact { mantissa, exponent } = Exact::parse(text)?;
    if mantissa == 0 {
        return Ok(0);
    }
    let power = exponent.saturating_add(match unit.unwrap_or(EpochUnit::Millis) {
        EpochUnit::Seconds => 6,
        EpochUnit::Millis => 3,
        EpochUnit::Micros => 0,
        EpochUnit::Nanos => -3,
    });
    let micros = if power >= 0 {
        power_of_ten(power).and_then(|factor| mantissa.checked_mul(factor))
    } else {
        // A divisor too great for 128 bits leaves nothing before the point.
        Some(
            power_of_ten(-power)
                .map_or(-i128::from(mantissa < 0), |divisor| mantissa.div_euclid(divisor)),
        )
    };
    micros.and_then(|micros| i64::try_from(micros).ok()).ok_or(Mismatch::Range)
}

/// Whether the text begins as `2023-` does: no number does.
fn has_date(text: &str) -> bool {
    matches!(text.as_bytes(), [y0, y1, y2, y3, b'-', ..]
        if [y0, y1, y2, y3].iter().all(|byte| byte.is_ascii_digit()))
}

fn date<'a>(text: &str) -> Result<Value<'a>, Mismatch> {
    let mut rest = Fields(text.as_bytes());
    let days = rest.date()?;
    if rest.0.is_empty() { Ok(Value::Int(days)) } else { Err(Mismatch::Kind) }
}

/// Reads `2023-12-22[(T| )15:24[:04[.022]][ ][Z|±hh[[:]mm]]]`.
fn timestamp<'a>(text: &str) -> Result<Value<'a>, Mismatch> {
    let mut rest = Fields(text.as_bytes());
    let midnight = i64::from(rest.date()?) * MICROS_PER_DAY;
    if rest.0.is_empty() {
        return Ok(Value::Bigint(midnight));
    }
    if !(rest.skip(b'T') || rest.skip(b't') || rest.skip(b' ')) {
        return Err(Mismatch::Kind);
    }
    let hour = rest.two_digits(23)?;
    rest.expect(b':')?;
    let minute = rest.two_digits(59)?;
    let mut micros = 0;
    if rest.skip(b':') {
        // A leap second is the first instant of the next minute.
        micros = rest.two_digits(60)? * MICROS_PER_SECOND;
        if rest.skip(b'.') {
            micros += rest.fraction()?;
        }
    }
    micros += (hour * 60 + minute) * 60 * MICROS_PER_SECOND;
    let has_space = rest.skip(b' ');
    let zone = if rest.0.is_empty() && !has_space { 0 } else { rest.zone()? };
    if !rest.0.is_empty() {
        return Err(Mismatch::Kind);
    }
    Ok(Value::Bigint(midnight + micros - zone))
}

/// What is left of a date or time to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Mismatch> {
        if self.skip(byte) { Ok(()) } else { Err(Mismatch::Kind) }
    }

    fn digit(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        if !first.is_ascii_digit() {
            return None;
        }
        self.0 = rest;
        Some(i64::from(first - b'0'))
    }

    /// A number of exactly two digits, at most `most`.
    fn two_digits(&mut self, most: i64) -> Result<i64, Mismatch> {
        match (self.digit(), self.digit()) {
            (Some(tens), Some(ones)) if tens * 10 + ones <= most => Ok(tens * 10 + ones),
            _ => Err(Mismatch::Kind),
        }
    }

    /// Days since 1970 of `2023-12-22`.
    fn date(&mut self) -> Result<i32, Mismatch> {
        let year = self.two_digits(99)? * 100 + self.two_digits(99)?;
        self.expect(b'-')?;
        let month = self.two_digits(12)?;
        self.expect(b'-')?;
        let day = self.two_digits(31)?;
        let small = |number: i64| u32::try_from(number).unwrap_or_default();
        i32::try_from(year)
            .ok()
            .and_then(|year| NaiveDate::from_ymd_opt(year, small(month), small(day)))
            .map(|date| date.to_epoch_days())
            .ok_or(Mismatch::Kind)
    }

    /// Microseconds of the digits behind a point; what is below a microsecond is cut.
    fn fraction(&mut self) -> Result<i64, Mismatch> {
        let mut unit = MICROS_PER_SECOND / 10;
        let mut micros = self.digit().ok_or(Mismatch::Kind)? * unit;
        while let Some(digit) = self.digit() {
            unit /= 10;
            micros += digit * unit;
        }
        Ok(micros)
    }

    /// How far local time is ahead of UTC, in microseconds.
    fn zone(&mut self) -> Result<i64, Mismatch> {
        if self.skip(b'Z') || self.skip(b'z') {
            return Ok(0);
        }
        let sign = if self.skip(b'-') {
            -1
        } else {
            self.expect(b'+')?;
            1
        };
        let hours = self.two_digits(23)?;
        let minutes = if self.skip(b':') || !self.0.is_empty() { self.two_digits(59)? } else { 0 };
        Ok(sign * (hours * 60 + minutes) * 60 * MICROS_PER_SECOND)
    }
}

#[cfg(test)]
mod tests;
