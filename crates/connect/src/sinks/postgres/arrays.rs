//! Columns as array parameters of PostgreSQL's binary protocol, so that a whole chunk of rows is
//! one statement and every value arrives bit for bit.
//!
//! Bytes, all big-endian: dimensions `1: i32`, has nulls `0|1: i32`, id of the element type `u32`,
//! length `i32`, lower bound `1: i32`; then per element its length in bytes `i32` (-1 for null) and
//! its bytes. Elements as in PostgreSQL's `…recv` functions; `numeric` is described at
//! [`write_numeric`].
//!
//! Source: `array_recv` and `numeric_recv` in <https://github.com/postgres/postgres>, files
//! `src/backend/utils/adt/arrayfuncs.c` and `numeric.c`.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Postgres, Type};

use super::types::{EPOCH_DAYS, EPOCH_MICROS, oids};
use crate::sinks::database::kind::Kind;

/// A column in the Arrow type [`Kind::staged`], not empty, to be bound as an array.
pub(super) struct ArrayParameter {
    pub(super) kind: Kind,
    pub(super) values: ArrayRef,
}

impl Type<Postgres> for ArrayParameter {
    /// Not asked: each value knows its own type, which [`Encode::produces`] tells.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(oids(Kind::Text).1)
    }
}

impl Encode<'_, Postgres> for ArrayParameter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.write(buffer)?;
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(oids(self.kind).1))
    }
}

impl ArrayParameter {
    fn write(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        let values = self.values.as_ref();
        buffer.extend_from_slice(&1_i32.to_be_bytes());
        buffer.extend_from_slice(&i32::from(values.null_count() > 0).to_be_bytes());
        buffer.extend_from_slice(&oids(self.kind).0.0.to_be_bytes());
        buffer.extend_from_slice(&i32::try_from(values.len())?.to_be_bytes());
        buffer.extend_from_slice(&1_i32.to_be_bytes());

        match self.kind {
            Kind::Boolean => {
                let values = values.as_boolean();
                write_elements(buffer, values, |buffer, row| buffer.push(values.value(row).into()))
            }
            Kind::Integer => {
                let values = values.as_primitive::<Int32Type>();
                write_elements(buffer, values, |buffer, row| {
                    buffer.extend_from_slice(&values.value(row).to_be_bytes());
                })
            }
            Kind::Bigint => {
                let values = values.as_primitive::<Int64Type>();
                write_elements(buffer, values, |buffer, row| {
                    buffer.extend_from_slice(&values.value(row).to_be_bytes());
                })
            }
            Kind::Real => {
                let values = values.as_primitive::<Float32Type>();
                write_elements(buffer, values, |buffer, row| {
                    buffer.extend_from_slice(&values.value(row).to_be_bytes());
                })
            }
            Kind::Double => {
                let values = values.as_primitive::<Float64Type>();
                write_elements(buffer, values, |buffer, row| {
                    buffer.extend_from_slice(&values.value(row).to_be_bytes());
                })
            }
            Kind::Numeric(_, scale) => {
                let values = values.as_primitive::<Decimal128Type>();
                write_elements(buffer, values, |buffer, row| {
                    write_numeric(buffer, values.value(row), scale.unsigned_abs());
                })
            }
            Kind::Date => {
                let values = values.as_primitive::<Date32Type>();
                write_elements(buffer, values, |buffer, row| {
                    let days = match values.value(row) {
                        infinite @ (i32::MIN | i32::MAX) => infinite,
                        days => days - EPOCH_DAYS,
                    };
                    buffer.extend_from_slice(&days.to_be_bytes());
                })
            }
            Kind::Timestamp => {
                let values = values.as_primitive::<TimestampMicrosecondType>();
                write_elements(buffer, values, |buffer, row| {
                    let micros = match values.value(row) {
                        i64::MIN => i64::MIN,
                        micros => micros - EPOCH_MICROS,
                    };
                    buffer.extend_from_slice(&micros.to_be_bytes());
                })
            }
            Kind::Text | Kind::Json => {
                let values = values.as_string::<i32>();
                write_elements(buffer, values, |buffer, row| {
                    buffer.extend_from_slice(values.value(row).as_bytes());
                })
            }
            Kind::Bytes => {
                let values = values.as_binary::<i32>();
                write_elements(buffer, values, |buffer, row| {
                    buffer.extend_from_slice(values.value(row));
                })
            }
        }
    }
}

/// Writes each element behind its length.
fn write_elements(
    buffer: &mut Vec<u8>,
    values: &dyn Array,
    write: impl Fn(&mut Vec<u8>, usize),
) -> Result<(), BoxDynError> {
    for row in 0..values.len() {
        let start = buffer.len();
        buffer.extend_from_slice(&(-1_i32).to_be_bytes());
        if values.is_valid(row) {
            write(buffer, row);
            let length = i32::try_from(buffer.len() - start - 4)?;
            buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

/// Decimal digits in one digit of PostgreSQL's numeric, which counts to base 10,000.
const DIGIT_WIDTH: usize = 4;
/// Sign word of a number that is not negative, and of one that is.
const SIGNS: [u16; 2] = [0x0000, 0x4000];

/// Writes `unscaled` / 10^`scale` as a `numeric`.
///
/// Bytes: number of digits `i16`, weight `i16` (power of 10,000 of the first digit), sign `u16`,
/// display scale `u16`, then the digits, `i16` each, without zeros at either end.
fn write_numeric(buffer: &mut Vec<u8>, unscaled: i128, scale: u8) {
    let scale_digits = usize::from(scale);
    // At least one digit before the point, and both sides of it filled up to whole digits.
    let text = format!("{:0width$}", unscaled.unsigned_abs(), width = scale_digits + 1);
    let (whole, fraction) = text.split_at(text.len() - scale_digits);
    let padding = (DIGIT_WIDTH - whole.len() % DIGIT_WIDTH) % DIGIT_WIDTH;
    let whole_digits = (whole.len() + padding) / DIGIT_WIDTH;
    let decimals =
        std::iter::repeat_n(b'0', padding).chain(text.bytes()).chain(std::iter::repeat(b'0'));
    let count = whole_digits + fraction.len().div_ceil(DIGIT_WIDTH);

    let mut decimals = decimals.map(|decimal| u16::from(decimal - b'0'));
    let digits: Vec<u16> = (0..count)
        .map(|_| decimals.by_ref().take(DIGIT_WIDTH).fold(0, |digit, next| digit * 10 + next))
        .collect();
    let first = digits.iter().position(|digit| *digit != 0).unwrap_or(count);
    let last = digits.iter().rposition(|digit| *digit != 0).map_or(first, |last| last + 1);
    // At most 10 + 10 digits, so nothing here is near the bounds of an i16.
    let weight = if first == count { 0 } else { whole_digits as i16 - 1 - first as i16 };

    buffer.extend_from_slice(&((last - first) as u16).to_be_bytes());
    buffer.extend_from_slice(&weight.to_be_bytes());
    buffer.extend_from_slice(&SIGNS[usize::from(unscaled < 0)].to_be_bytes());
    buffer.extend_from_slice(&u16::from(scale).to_be_bytes());
    for digit in &digits[first..last] {
        buffer.extend_from_slice(&digit.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_has_no_zeros_at_either_end() {
        check(0, 2, &[0, 0, 0, 2]);
        check(1, 0, &[1, 0, 0, 0, 1]);
        check(-12_345_678, 0, &[2, 1, 0x4000, 0, 1234, 5678]);
        check(10_000, 0, &[1, 1, 0, 0, 1]);
        check(150, 2, &[2, 0, 0, 2, 1, 5000]);
        check(1, 10, &[1, 0xFFFD, 0, 10, 100]);
        check(-1, 4, &[1, 0xFFFF, 0x4000, 4, 1]);
    }

    #[track_caller]
    fn check(unscaled: i128, scale: u8, words: &[u16]) {
        let mut buffer = Vec::new();
        write_numeric(&mut buffer, unscaled, scale);
        let expected: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(buffer, expected, "{unscaled} / 10^{scale}");
    }
}
