//! What an Arrow column is in a database, before any server gives it a name.
//!
//! | Arrow | kind |
//! |---|---|
//! | `Boolean` | boolean |
//! | `Int8` `Int16` `Int32` `UInt8` `UInt16` | integer |
//! | `Int64` `UInt32` | bigint |
//! | `UInt64` | numeric(20,0) |
//! | `Float16` `Float32` | real |
//! | `Float64` | double |
//! | `Decimal…(p,s)` | numeric(p,s) |
//! | `Date32` `Date64` | date |
//! | `Timestamp` | timestamp: an instant; finer than microseconds is cut, without zone is UTC |
//! | `Utf8` | text; json when the field is the extension `arrow.json` |
//! | `Binary` | bytes |
//!
//! Dictionaries are what their values are; large and view types are what the plain ones are. Names
//! and limits of a server are in its own folder.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;
use thalweg_core::schema::timestamp_type;

/// A type that rows can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sinks) enum Kind {
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
    Bytes,
}

impl Kind {
    /// The kind of a field, unless there is none.
    pub(in crate::sinks) fn of(field: &Field) -> Option<Self> {
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
            | DataType::FixedSizeBinary(_) => Self::Bytes,
            DataType::Dictionary(_, values) => return Self::of_type(values),
            _ => return None,
        })
    }

    /// Whether equality of values is equality of what is written, as a key needs it.
    pub(in crate::sinks) fn is_key(self) -> bool {
        self != Self::Json
    }

    /// The Arrow type that rows of this kind are staged in.
    pub(in crate::sinks) fn staged(self) -> DataType {
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
            Self::Bytes => DataType::Binary,
        }
    }

    /// Brings a column into [`Kind::staged`]; shares the memory of a column that is so already.
    pub(in crate::sinks) fn cast(self, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = |to: &DataType| cast_with_options(column, to, &options);
        if self != Self::Timestamp {
            return cast(&self.staged());
        }
        // An instant counts from 1970 in UTC whatever its zone is called. By this offset the cast
        // takes one without a zone for UTC, and looks no name of a zone up.
        let column = cast(&DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())))?;
        let times: &TimestampMicrosecondArray = column.as_primitive();
        Ok(Arc::new(times.clone().with_timezone("UTC")))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array as _;
    use arrow::datatypes::TimestampMicrosecondType;

    use super::*;

    #[test]
    fn an_instant_keeps_its_value_whatever_its_zone_is_called() {
        for zone in [None, Some("UTC"), Some("+00:00"), Some("Asia/Tokyo")] {
            let times = TimestampMicrosecondArray::from(vec![Some(1_703_258_644_022_000), None]);
            let times: ArrayRef = Arc::new(times.with_timezone_opt(zone));
            let staged = Kind::Timestamp.cast(&times).expect("it is an instant");
            assert_eq!(staged.data_type(), &timestamp_type());
            let staged = staged.as_primitive::<TimestampMicrosecondType>();
            assert_eq!((staged.value(0), staged.is_null(1)), (1_703_258_644_022_000, true));
        }
    }
}
