//! Codecs: frames to rows with typed columns.
//!
//! One file a format: [`json`], [`csv`] and [`html`] fill the same buffers (`rows`) and read the same
//! spellings (`text`), so a `timestamp` means the same whatever brought it. Parquet and Avro come as
//! columns, which [`columns`] makes those that were declared; messages of Avro are read by [`avro`].
//!
//! # What each column type accepts
//!
//! | type | JSON | a CSV field, or the text of a JSON string |
//! |---|---|---|
//! | `text` | string | anything |
//! | `boolean` | `true`, `false` | `true false t f 1 0`, in any case |
//! | `int`, `bigint` | number without fraction and exponent | digits with an optional sign |
//! | `real`, `double` | number | decimal or scientific; with `allow_nan` also `NaN`, `Infinity`, `Inf`, in any case and signed |
//! | `decimal(p,s)` | number, read from its text | decimal or scientific; never rounded: what does not fit is refused |
//! | `date` | – | `2023-12-22` |
//! | `timestamp` | number in the column's unit, fractions cut below a microsecond | RFC 3339; `T` may be a space, seconds and zone may be missing (UTC), a bare date is midnight; or a number as in JSON |
//! | `json` | any value, kept as it is written | one JSON value, kept as it is written |
//! | `bytes` | – | base64, standard alphabet, padded or not |
//!
//! A JSON string is accepted wherever its text is, but for `json`, which keeps it with its quotes.
//! JSON `null`, a missing value, and in CSV a null spelling, are NULL; in a `not null` column the
//! row is refused. Nothing is trimmed or guessed. A value that is refused refuses its row, with the
//! column's name, what was expected and what was found; the other rows of the frame go on (S13).
//!
//! Not here: how bytes are cut into frames (`sources`), and checks and quarantine (crate `stream`).

pub mod avro;
pub mod columns;
pub mod csv;
pub mod html;
pub mod json;
mod rows;
#[cfg(test)]
mod testing;
mod text;

use thalweg_core::schema::Column;

/// Whether a CSV field, or the text of a JSON string, is read as a value of the column's type.
pub(crate) fn fits(column: &Column, text: &str) -> bool {
    text::parse(column, text).is_ok()
}
