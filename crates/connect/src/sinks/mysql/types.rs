//! What a kind of column is in MySQL and MariaDB.
//!
//! | kind | made as | also written to |
//! |---|---|---|
//! | boolean | `tinyint(1)` | any signed integer |
//! | integer | `int` | `bigint`, wide enough `decimal` |
//! | bigint | `bigint` | wide enough `decimal` |
//! | real | `float`, bit for bit but for -0, which becomes 0 | `double` |
//! | double | `double`, likewise | |
//! | numeric(p,s), s ≤ 30 | `decimal(p,s)` | wider ones |
//! | date | `date` | |
//! | timestamp | `datetime(6)`, in UTC | |
//! | text | `longtext`, in a key `varchar(n)` | every text type in `utf8mb4` |
//! | json | `json` | `longtext`, `mediumtext` in `utf8mb4` |
//! | bytes | `longblob`, in a key `varbinary(n)` | every type of bytes |
//!
//! `datetime` rather than `timestamp`, which ends in 2038. Tables are made in `utf8mb4`, so every
//! character has its place, and with a collation in which texts are equal only if they are the same:
//! in the usual ones `a` is `A` and `a `, and an upsert would take two keys for one. MariaDB keeps
//! `json` to the byte; MySQL keeps its meaning, with numbers as doubles.
//!
//! A text or number that is too long for the column it goes to is an error, as the session is
//! strict: nothing is cut. NaN, infinities, and days and instants outside the years 1000 to 9999
//! have no place at all and are refused before they are sent.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, Float32Type, Float64Type, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;

use crate::sinks::database::kind::Kind;

/// Most digits behind the point of a `decimal`.
const SCALE_MAX: i8 = 30;
/// Days that MySQL promises to hold, since 1970-01-01: 1000-01-01 to 9999-12-31.
const DAYS: std::ops::RangeInclusive<i32> = -354_285..=2_932_896;
/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;
/// Instants that MySQL promises to hold, in microseconds since 1970-01-01.
const MICROS: std::ops::Range<i64> = -354_285 * DAY_MICROS..2_932_897 * DAY_MICROS;

/// Bytes that the columns of an InnoDB index may have in all, and those of one that is no text.
const INDEX_BYTES: usize = 3072;
const INDEX_FIXED_BYTES: usize = 20;
/// Most bytes of a character.
const CHARACTER_BYTES: usize = 4;
/// Most characters of a text in a key, where there is room for more.
const KEY_CHARACTERS_MAX: usize = 255;

/// Whether columns can be of this kind.
pub(super) fn has(kind: Kind) -> bool {
    !matches!(kind, Kind::Numeric(_, scale) if scale > SCALE_MAX)
}

/// Characters, or bytes, of a text or bytes column in a key of these kinds.
pub(super) fn key_characters(key: &[Kind]) -> usize {
    let texts = key.iter().filter(|kind| matches!(kind, Kind::Text | Kind::Bytes)).count().max(1);
    let room = INDEX_BYTES.saturating_sub((key.len() - texts.min(key.len())) * INDEX_FIXED_BYTES);
    (room / CHARACTER_BYTES / texts).clamp(1, KEY_CHARACTERS_MAX)
}

/// Its name in DDL; `key_characters` for a column of the key.
pub(super) fn sql(kind: Kind, key_characters: Option<usize>) -> String {
    match (kind, key_characters) {
        (Kind::Text, Some(count)) => return format!("varchar({count})"),
        (Kind::Bytes, Some(count)) => return format!("varbinary({count})"),
        (Kind::Numeric(precision, scale), _) => return format!("decimal({precision},{scale})"),
        (Kind::Boolean, _) => "tinyint(1)",
        (Kind::Integer, _) => "int",
        (Kind::Bigint, _) => "bigint",
        (Kind::Real, _) => "float",
        (Kind::Double, _) => "double",
        (Kind::Date, _) => "date",
        (Kind::Timestamp, _) => "datetime(6)",
        (Kind::Text, None) => "longtext",
        (Kind::Json, _) => "json",
        (Kind::Bytes, None) => "longblob",
    }
    .to_owned()
}

/// Whether a column of the type `found`, as `information_schema` writes it, with its character set,
/// holds values of this kind exactly, or says that one is too long.
pub(super) fn fits(kind: Kind, found: &str, charset: Option<&str>) -> bool {
    let (name, size) = match found.split_once('(') {
        Some((name, rest)) => (name, rest.split_once(')').map(|(size, _)| size)),
        None => (found, None),
    };
    let is_unsigned = found.contains("unsigned");
    let holds_digits = |digits: i32, scale: i32| {
        name == "decimal"
            && !is_unsigned
            && size.and_then(decimal).is_some_and(|(found_precision, found_scale)| {
                found_scale >= scale && found_precision - found_scale >= digits
            })
    };
    let is_signed = |names: &[&str]| !is_unsigned && names.contains(&name);
    match kind {
        Kind::Boolean => is_signed(&["tinyint", "smallint", "mediumint", "int", "bigint"]),
        Kind::Integer => is_signed(&["int", "bigint"]) || holds_digits(10, 0),
        Kind::Bigint => is_signed(&["bigint"]) || holds_digits(19, 0),
        Kind::Real => is_signed(&["float", "double"]) && size.is_none(),
        Kind::Double => is_signed(&["double"]) && size.is_none(),
        Kind::Numeric(precision, scale) => {
            holds_digits(i32::from(precision) - i32::from(scale), scale.into())
        }
        Kind::Date => name == "date",
        Kind::Timestamp => found == "datetime(6)",
        Kind::Text => {
            charset == Some("utf8mb4")
                && matches!(name, "varchar" | "text" | "mediumtext" | "longtext")
        }
        Kind::Json => {
            name == "json"
                || charset == Some("utf8mb4") && matches!(name, "mediumtext" | "longtext")
        }
        Kind::Bytes => matches!(name, "varbinary" | "blob" | "mediumblob" | "longblob"),
    }
}

/// Reads `p,s`.
fn decimal(size: &str) -> Option<(i32, i32)> {
    let (precision, scale) = size.split_once(',')?;
    Some((precision.parse().ok()?, scale.parse().ok()?))
}

/// A clause about the first value that these servers have no place for, if there is one.
pub(super) fn without_place(kind: Kind, values: &ArrayRef) -> Option<String> {
    let found = match kind {
        Kind::Real => {
            let values = values.as_primitive::<Float32Type>();
            let row = values.iter().position(|value| value.is_some_and(|it| !it.is_finite()))?;
            values.value(row).to_string()
        }
        Kind::Double => {
            let values = values.as_primitive::<Float64Type>();
            let row = values.iter().position(|value| value.is_some_and(|it| !it.is_finite()))?;
            values.value(row).to_string()
        }
        Kind::Date => {
            let days = values.as_primitive::<Date32Type>();
            shown(values, days.iter().position(|day| day.is_some_and(|it| !DAYS.contains(&it)))?)
        }
        Kind::Timestamp => {
            let times = values.as_primitive::<TimestampMicrosecondType>();
            let row = times.iter().position(|time| time.is_some_and(|it| !MICROS.contains(&it)))?;
            shown(values, row)
        }
        _ => return None,
    };
    Some(format!("MySQL has no place for the value {found}"))
}

fn shown(values: &ArrayRef, row: usize) -> String {
    array_value_to_string(values, row).unwrap_or_else(|_| "far from our time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_written_to_only_if_it_holds_every_value() {
        check(Kind::Boolean, &["tinyint(1)", "int(11)"], &["bit(1)", "varchar(5)"]);
        check(Kind::Integer, &["int", "int(11)", "bigint(20)"], &["int(10) unsigned", "smallint"]);
        check(Kind::Bigint, &["bigint", "decimal(20,0)"], &["int(11)", "decimal(18,0)", "double"]);
        check(Kind::Double, &["double"], &["float", "double(10,2)", "decimal(65,30)"]);
        check(
            Kind::Numeric(24, 10),
            &["decimal(24,10)", "decimal(26,12)", "decimal(25,10)"],
            &["decimal(24,12)", "decimal(24,9)", "decimal(23,10)", "decimal(30,10) unsigned"],
        );
        check(Kind::Timestamp, &["datetime(6)"], &["datetime", "datetime(3)", "timestamp(6)"]);
        check(Kind::Text, &["longtext", "varchar(20)"], &["char(20)", "longblob"]);
        check(Kind::Json, &["json", "longtext"], &["varchar(20)"]);
        check(Kind::Bytes, &["longblob", "varbinary(9)"], &["binary(9)", "longtext"]);
        assert!(!fits(Kind::Text, "longtext", Some("utf8mb3")), "it has no place for 🦀");
    }

    #[track_caller]
    fn check(kind: Kind, fitting: &[&str], unfitting: &[&str]) {
        for found in fitting {
            assert!(fits(kind, found, Some("utf8mb4")), "{} into {found}", sql(kind, None));
        }
        for found in unfitting {
            assert!(!fits(kind, found, Some("utf8mb4")), "{} into {found}", sql(kind, None));
        }
    }

    #[test]
    fn a_key_has_room_in_an_index() {
        assert_eq!(key_characters(&[Kind::Text]), 255);
        assert_eq!(key_characters(&[Kind::Text, Kind::Text, Kind::Timestamp]), 255);
        assert_eq!(key_characters(&[Kind::Text, Kind::Text, Kind::Text, Kind::Text]), 192);
        assert_eq!(key_characters(&[Kind::Date]), 255);
        for texts in 1..=16 {
            let mut key = vec![Kind::Text; texts];
            key.resize(16, Kind::Timestamp);
            let bytes = key_characters(&key) * CHARACTER_BYTES * texts;
            assert!(bytes + (16 - texts) * INDEX_FIXED_BYTES <= INDEX_BYTES, "{texts} texts");
        }
    }
}
