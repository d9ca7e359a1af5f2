//! What a kind of column is in PostgreSQL.
//!
//! | kind | PostgreSQL |
//! |---|---|
//! | boolean | `boolean` |
//! | integer | `integer` |
//! | bigint | `bigint` |
//! | real | `real`, bit for bit |
//! | double | `double precision`, bit for bit |
//! | numeric(p,s) | `numeric(p,s)` |
//! | date | `date` |
//! | timestamp | `timestamp with time zone` |
//! | text | `text` |
//! | json | `json` |
//! | bytes | `bytea` |
//!
//! `json` rather than `jsonb`, because it takes every JSON value and keeps it to the byte; a table
//! that already has a `jsonb` column is written to as it is.
//!
//! A few values have no place in PostgreSQL. So that no row can stop a sink for good, they become
//! the nearest that has, and are counted: NUL in text becomes U+FFFD, and an instant or day out of
//! range becomes `-infinity` or `infinity`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use sqlx::postgres::types::Oid;

use crate::sinks::database::kind::Kind;

/// Days and instants of PostgreSQL count from 2000-01-01: so many days after 1970-01-01.
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(super) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Days PostgreSQL can hold, since 1970-01-01: 4714-11-24 BC to 5874897-12-31.
const DAYS: std::ops::RangeInclusive<i32> = -2_440_588..=2_145_042_905;
/// The first instant PostgreSQL can hold, in microseconds since 1970-01-01. The last one lies
/// beyond `i64::MAX`.
const FIRST_MICROS: i64 = -2_440_588 * 86_400_000_000;

/// Its name in DDL, as `format_type` of PostgreSQL writes it too.
pub(super) fn sql(kind: Kind) -> String {
    match kind {
        Kind::Boolean => "boolean",
        Kind::Integer => "integer",
        Kind::Bigint => "bigint",
        Kind::Real => "real",
        Kind::Double => "double precision",
        Kind::Numeric(precision, scale) => return format!("numeric({precision},{scale})"),
        Kind::Date => "date",
        Kind::Timestamp => "timestamp with time zone",
        Kind::Text => "text",
        Kind::Json => "json",
        Kind::Bytes => "bytea",
    }
    .to_owned()
}

/// The type of an array of it, in a cast.
pub(super) fn sql_array(kind: Kind) -> String {
    match kind {
        Kind::Numeric(..) => "numeric[]".to_owned(),
        kind => format!("{}[]", sql(kind)),
    }
}

/// Ids of the type and of an array of it, fixed in PostgreSQL's `pg_type.dat`.
pub(super) fn oids(kind: Kind) -> (Oid, Oid) {
    let (element, array) = match kind {
        Kind::Boolean => (16, 1000),
        Kind::Integer => (23, 1007),
        Kind::Bigint => (20, 1016),
        Kind::Real => (700, 1021),
        Kind::Double => (701, 1022),
        Kind::Numeric(..) => (1700, 1231),
        Kind::Date => (1082, 1182),
        Kind::Timestamp => (1184, 1185),
        Kind::Text => (25, 1009),
        Kind::Json => (114, 199),
        Kind::Bytes => (17, 1001),
    };
    (Oid(element), Oid(array))
}

/// Whether a column of the type `found`, as `format_type` writes it, holds every value of this
/// kind exactly.
pub(super) fn fits(kind: Kind, found: &str) -> bool {
    match kind {
        Kind::Integer => matches!(found, "integer" | "bigint" | "numeric"),
        Kind::Bigint => matches!(found, "bigint" | "numeric"),
        Kind::Real => matches!(found, "real" | "double precision"),
        Kind::Text => matches!(found, "text" | "character varying"),
        Kind::Json => matches!(found, "json" | "jsonb" | "text"),
        Kind::Numeric(precision, scale) => {
            found == "numeric"
                || numeric(found).is_some_and(|(found_precision, found_scale)| {
                    let whole = i32::from(precision) - i32::from(scale);
                    found_scale >= i32::from(scale) && found_precision - found_scale >= whole
                })
        }
        kind => found == sql(kind),
    }
}

/// Brings values to those PostgreSQL has a place for. Also returns how many were changed.
pub(super) fn place(kind: Kind, values: ArrayRef) -> (ArrayRef, usize) {
    match kind {
        Kind::Text | Kind::Json => without_nul(values),
        Kind::Date => {
            let days: &Date32Array = values.as_primitive();
            match days.iter().flatten().filter(|day| !DAYS.contains(day)).count() {
                0 => (values, 0),
                changed => (Arc::new(days.unary::<_, Date32Type>(clamp_day)), changed),
            }
        }
        Kind::Timestamp => {
            let times: &TimestampMicrosecondArray = values.as_primitive();
            match times.iter().flatten().filter(|time| *time < FIRST_MICROS).count() {
                0 => (values, 0),
                changed => {
                    let times = times.unary::<_, TimestampMicrosecondType>(clamp_time);
                    (Arc::new(times.with_timezone("UTC")), changed)
                }
            }
        }
        _ => (values, 0),
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
            assert!(fits(kind, found), "{} into {found}", sql(kind));
        }
        for found in unfitting {
            assert!(!fits(kind, found), "{} into {found}", sql(kind));
        }
    }
}
