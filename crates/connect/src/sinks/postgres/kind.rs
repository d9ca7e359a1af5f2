//! What an Arrow column is in PostgreSQL.
//!
//! | Arrow | PostgreSQL |
//! |---|---|
//! | `Boolean` | `boolean` |
//! | `Int8` `Int16` `Int32` `UInt8` `UInt16` | `integer` |
//! | `Int64` `UInt32` | `bigint` |
//! | `UInt64` | `numeric(20,0)` |
//! | `Float16` `Float32` | `real`, bit for bit |
//! | `Float64` | `double precision`, bit for bit |
//! | `Decimal…(p,s)` | `numeric(p,s)` |
//! | `Date32` `Date64` | `date` |
//! | `Timestamp` | `timestamp with time zone`; finer than microseconds is cut, without zone is UTC |
//! | `Utf8` | `text`; `json` when the field is the extension `arrow.json` |
//! | `Binary` | `bytea` |
//!
//! Dictionaries are what their values are; large and view types are what the plain ones are.
//! `json` rather than `jsonb`, because it takes every JSON value and keeps it to the byte; a table
//! that already has a `jsonb` column is written to as it is.
//!
//! A few values have no place in PostgreSQL. So that no row can stop a sink for good, they become
//! the nearest that has, and are counted: NUL in text becomes U+FFFD, and an instant or day out of
//! range becomes `-infinity` or `infinity`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Field, TimeUnit, TimestampMicrosecondType};
use sqlx::postgres::types::Oid;
use thalweg_core::schema::timestamp_type;

/// A type of PostgreSQL that rows can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer,
    Bigint,
    Real,
    Double,
    /// Precision and scale, as in `numeric(p,s)`; the scale is not negative.
    Numeric(u8, i8),
    Date,
    Timestamp,
    Text,
    Json,
    Bytea,
}

/// Days and instants of PostgreSQL count from 2000-01-01: so many days after 1970-01-01.
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(super) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Days PostgreSQL can hold, since 1970-01-01: 4714-11-24 BC to 5874897-12-31.
const DAYS: std::ops::RangeInclusive<i32> = -2_440_588..=2_145_042_905;
/// The first instant PostgreSQL can hold, in microseconds since 1970-01-01. The last one lies
/// beyond `i64::MAX`.
const FIRST_MICROS: i64 = -2_440_588 * 86_400_000_000;

impl Kind {
    /// The type for a field, unless there is none.
    pub(super) fn of(field: &Field) -> Option<Self> {
        if field.extension_type_name() == Some("arrow.json") {
            return Some(Self::Json);
        }
        Self::of_type(field.data_type())
    }

    fn of_type(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::UInt8
            | DataType::UInt16 => Self::Integer,
            DataType::Int64 | DataType::UInt32 => Self::Bigint,
            DataType::UInt64 => Self::Numeric(20, 0),
            DataType::Float16 | DataType::Float32 => Self::Real,
            DataType::Float64 => Self::Double,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale)
                if *precision <= 38 && (0..=38).contains(scale) =>
            {
                Self::Numeric(*precision, *scale)
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Timestamp(..) => Self::Timestamp,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Self::Text
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytea,
            DataType::Dictionary(_, values) => return Self::of_type(values),
            _ => return None,
        })
    }

    /// Its name in DDL, as `format_type` of PostgreSQL writes it too.
    pub(super) fn sql(self) -> String {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Real => "real",
            Self::Double => "double precision",
            Self::Numeric(precision, scale) => return format!("numeric({precision},{scale})"),
            Self::Date => "date",
            Self::Timestamp => "timestamp with time zone",
            Self::Text => "text",
            Self::Json => "json",
            Self::Bytea => "bytea",
        }
        .to_owned()
    }

    /// The type of an array of it, in a cast.
    pub(super) fn sql_array(self) -> String {
        match self {
            Self::Numeric(..) => "numeric[]".to_owned(),
            kind => format!("{}[]", kind.sql()),
        }
    }

    /// Ids of the type and of an array of it, fixed in PostgreSQL's `pg_type.dat`.
    pub(super) fn oids(self) -> (Oid, Oid) {
        let (element, array) = match self {
            Self::Boolean => (16, 1000),
            Self::Integer => (23, 1007),
            Self::Bigint => (20, 1016),
            Self::Real => (700, 1021),
            Self::Double => (701, 1022),
            Self::Numeric(..) => (1700, 1231),
            Self::Date => (1082, 1182),
            Self::Timestamp => (1184, 1185),
            Self::Text => (25, 1009),
            Self::Json => (114, 199),
            Self::Bytea => (17, 1001),
        };
        (Oid(element), Oid(array))
    }

    /// Whether a column of the type `found`, as `format_type` writes it, holds every value of this
    /// type exactly.
    pub(super) fn fits(self, found: &str) -> bool {
        match self {
            Self::Integer => matches!(found, "integer" | "bigint" | "numeric"),
            Self::Bigint => matches!(found, "bigint" | "numeric"),
            Self::Real => matches!(found, "real" | "double precision"),
            Self::Text => matches!(found, "text" | "character varying"),
            Self::Json => matches!(found, "json" | "jsonb" | "text"),
            Self::Numeric(precision, scale) => {
                found == "numeric"
                    || numeric(found).is_some_and(|(found_precision, found_scale)| {
                        let whole = i32::from(precision) - i32::from(scale);
                        found_scale >= i32::from(scale) && found_precision - found_scale >= whole
                    })
            }
            kind => found == kind.sql(),
        }
    }

    /// Whether equality of values is equality of what is written, as a key needs it.
    pub(super) fn is_key(self) -> bool {
        self != Self::Json
    }

    /// The Arrow type that rows of this type are staged in.
    pub(super) fn staged(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int32,
            Self::Bigint => DataType::Int64,
            Self::Real => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Numeric(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Date => DataType::Date32,
            Self::Timestamp => timestamp_type(),
            Self::Text | Self::Json => DataType::Utf8,
            Self::Bytea => DataType::Binary,
        }
    }

    /// Brings a column into [`Kind::staged`], with only values PostgreSQL has a place for; shares
    /// the memory of a column that is so already. Also returns how many values were changed.
    pub(super) fn stage(
        self,
        column: &ArrayRef,
    ) -> Result<(ArrayRef, usize), arrow::error::ArrowError> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = |to: &DataType| cast_with_options(column, to, &options);
        Ok(match self {
            Self::Text | Self::Json => without_nul(cast(&self.staged())?),
            Self::Date => {
                let column = cast(&self.staged())?;
                let days: &Date32Array = column.as_primitive();
                match days.iter().flatten().filter(|day| !DAYS.contains(day)).count() {
                    0 => (column, 0),
                    changed => (Arc::new(days.unary::<_, Date32Type>(clamp_day)), changed),
                }
            }
            Self::Timestamp => {
                // An instant counts from 1970 in UTC whatever its zone is called. By this offset
                // the cast takes one without a zone for UTC, and looks no name of a zone up.
                let column =
                    cast(&DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())))?;
                let times: &TimestampMicrosecondArray = column.as_primitive();
                let changed = times.iter().flatten().filter(|time| *time < FIRST_MICROS).count();
                let times = match changed {
                    0 => times.clone(),
                    _ => times.unary::<_, TimestampMicrosecondType>(clamp_time),
                };
                (Arc::new(times.with_timezone("UTC")), changed)
            }
            kind => (cast(&kind.staged())?, 0),
        })
    }
}

/// Reads `numeric(p,s)`.
fn numeric(found: &str) -> Option<(i32, i32)> {
    let inner = found.strip_prefix("numeric(")?.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',')?;
    Some((precision.parse().ok()?, scale.parse().ok()?))
}

fn clamp_day(day: i32) -> i32 {
    match day {
        day if day < *DAYS.start() => i32::MIN,
        day if day > *DAYS.end() => i32::MAX,
        day => day,
    }
}

fn clamp_time(time: i64) -> i64 {
    if time < FIRST_MICROS { i64::MIN } else { time }
}

/// Replaces NUL in text by U+FFFD.
fn without_nul(column: ArrayRef) -> (ArrayRef, usize) {
    let texts = column.as_string::<i32>();
    if memchr::memchr(0, texts.value_data()).is_none() {
        return (column, 0);
    }
    let changed = texts.iter().flatten().filter(|text| text.contains('\0')).count();
    let clean = texts.iter().map(|text| text.map(|text| text.replace('\0', "\u{FFFD}")));
    (Arc::new(clean.collect::<StringArray>()), changed)
}

#[cfg(test)]
mod tests {
    use arrow::array::Array as _;

    use super::*;

    #[test]
    fn a_column_is_written_to_only_if_it_holds_every_value() {
        check(Kind::Integer, &["integer", "bigint"], &["smallint", "text", "real"]);
        check(Kind::Bigint, &["bigint", "numeric"], &["integer", "double precision"]);
        check(Kind::Double, &["double precision"], &["real", "numeric"]);
        check(Kind::Text, &["text", "character varying"], &["character varying(10)", "json"]);
        check(
            Kind::Numeric(24, 10),
            &["numeric", "numeric(24,10)", "numeric(26,12)", "numeric(25,10)"],
            &["numeric(24,12)", "numeric(24,9)", "numeric(23,10)", "double precision"],
        );
        check(
            Kind::Timestamp,
            &["timestamp with time zone"],
            &["timestamp without time zone", "timestamp(3) with time zone"],
        );
    }

    #[track_caller]
    fn check(kind: Kind, fitting: &[&str], unfitting: &[&str]) {
        for found in fitting {
            assert!(kind.fits(found), "{} into {found}", kind.sql());
        }
        for found in unfitting {
            assert!(!kind.fits(found), "{} into {found}", kind.sql());
        }
    }

    #[test]
    fn an_instant_keeps_its_value_whatever_its_zone_is_called() {
        for zone in [None, Some("UTC"), Some("+00:00"), Some("Asia/Tokyo")] {
            let times = TimestampMicrosecondArray::from(vec![Some(1_703_258_644_022_000), None]);
            let times: ArrayRef = Arc::new(times.with_timezone_opt(zone));
            let (staged, changed) = Kind::Timestamp.stage(&times).expect("it is an instant");
            assert_eq!(staged.data_type(), &timestamp_type());
            let staged = staged.as_primitive::<TimestampMicrosecondType>();
            assert_eq!((staged.value(0), staged.is_null(1)), (1_703_258_644_022_000, true));
            assert_eq!(changed, 0);
        }
    }
}
