//! Declared columns: names, types, and where each is found in a record.
//!
//! One table ([`ColumnType`]) says what a type is in Arrow; what it is in PostgreSQL is the
//! business of `connect::sinks::postgres`, in Delta that of `lake`.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// Columns every row of a source has beside the declared ones; hidden from `SELECT *` (S1).
pub mod meta {
    /// Partition of the record; `Int32`.
    pub const PARTITION: &str = "_partition";
    /// Offset of the record; `Int64`.
    pub const OFFSET: &str = "_offset";
    /// Number of the row within its record, from 0; `Int32`.
    pub const ROW: &str = "_row";
    /// When the record was received; `Timestamp(µs, UTC)`.
    pub const RECEIVED_AT: &str = "_received_at";
    /// Topic of the record; `Utf8`. Added behind the intake, being the same in every row.
    pub const TOPIC: &str = "_topic";
    /// What a decoder makes of each record, in the order in which they follow the declared columns.
    pub const ALL: [&str; 4] = [PARTITION, OFFSET, ROW, RECEIVED_AT];
}

/// A type of the project file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `text`: UTF-8.
    Text,
    /// `boolean`.
    Boolean,
    /// `int`: 32 bits.
    Int,
    /// `bigint`: 64 bits.
    Bigint,
    /// `real`: 32-bit float.
    Real,
    /// `double`: 64-bit float.
    Double,
    /// `decimal(p,s)`, p up to 38.
    Decimal(u8, i8),
    /// `date`: a UTC day.
    Date,
    /// `timestamp`: microseconds UTC.
    Timestamp,
    /// `json`: text that holds one JSON value.
    Json,
    /// `bytes`.
    Bytes,
}

impl ColumnType {
    /// The names a user may write, for messages.
    pub const NAMES: &'static str =
        "text, boolean, int, bigint, real, double, decimal(p,s), date, timestamp, json, bytes";

    /// Parses a type as the project file writes it, without `not null`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        Some(match text.as_str() {
            "text" => Self::Text,
            "boolean" => Self::Boolean,
            "int" => Self::Int,
            "bigint" => Self::Bigint,
            "real" => Self::Real,
            "double" => Self::Double,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "json" => Self::Json,
            "bytes" => Self::Bytes,
            _ => {
                let inner = text.strip_prefix("decimal")?.trim();
                let inner = inner.strip_prefix('(')?.strip_suffix(')')?;
                let (precision, scale) = inner.split_once(',')?;
                let precision: u8 = precision.trim().parse().ok()?;
                let scale: i8 = scale.trim().parse().ok()?;
                if !(1..=38).contains(&precision) || scale < 0 || scale.unsigned_abs() > precision {
                    return None;
                }
                Self::Decimal(precision, scale)
            }
        })
    }

    /// The Arrow type of a column of this type.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Text | Self::Json => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Bigint => DataType::Int64,
            Self::Real => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Date => DataType::Date32,
            Self::Timestamp => timestamp_type(),
            Self::Bytes => DataType::Binary,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Bigint => "bigint",
            Self::Real => "real",
            Self::Double => "double",
            Self::Decimal(precision, scale) => return write!(f, "decimal({precision},{scale})"),
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
            Self::Bytes => "bytes",
        })
    }
}

/// The Arrow type of every instant: microseconds, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Unit of a number that stands for an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EpochUnit {
    /// Seconds; fractions are kept.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds, cut to microseconds.
    Nanos,
}

/// One declared column of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in SQL.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it may be null.
    pub nullable: bool,
    /// Where a record holds it: a JSON path without `$.`, or a header. The name, when absent.
    pub select: Option<String>,
    /// For a timestamp given as a number: its unit. Default milliseconds.
    pub unit: Option<EpochUnit>,
    /// Whether a float may be NaN or infinite; else such a row is quarantined (S13).
    pub allow_nan: bool,
}

impl Column {
    /// Where a record holds the column.
    pub fn path(&self) -> &str {
        self.select.as_deref().unwrap_or(&self.name)
    }
}

/// The schema of a source's rows: declared columns, then [`meta::ALL`].
pub fn source_schema(columns: &[Column]) -> SchemaRef {
    let declared =
        columns.iter().map(|column| Field::new(&column.name, column.kind.arrow(), column.nullable));
    Arc::new(Schema::new(declared.chain(meta_fields()).collect::<Fields>()))
}

/// The schema of a source's rows behind its intake: [`meta::TOPIC`], the same in every row, comes last.
pub fn with_topic(rows: &Schema) -> SchemaRef {
    let topic = Field::new(meta::TOPIC, DataType::Utf8, false);
    let fields = rows.fields().iter().map(|field| field.as_ref().clone());
    Arc::new(Schema::new(fields.chain([topic]).collect::<Fields>()))
}

/// The fields of [`meta::ALL`].
pub fn meta_fields() -> [Field; 4] {
    [
        Field::new(meta::PARTITION, DataType::Int32, false),
        Field::new(meta::OFFSET, DataType::Int64, false),
        Field::new(meta::ROW, DataType::Int32, false),
        Field::new(meta::RECEIVED_AT, timestamp_type(), false),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_written_alike() {
        for text in ["text", "boolean", "bigint", "decimal(24,10)", "timestamp", "json"] {
            assert_eq!(ColumnType::parse(text).map(|kind| kind.to_string()).as_deref(), Some(text));
        }
        for wrong in ["varchar", "decimal", "decimal(39,1)", "decimal(4,5)", "decimal(4,-1)"] {
            assert_eq!(ColumnType::parse(wrong), None, "{wrong}");
        }
    }
}
