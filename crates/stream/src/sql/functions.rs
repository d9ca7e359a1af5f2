//! Scalar functions of ours that rewritten statements call.
//!
//! `__window_start(time, size)` and `__window_end(time, size)`: the tumbling window, `size`
//! microseconds long and aligned to 1970-01-01 UTC, that holds `time`. The field they return
//! carries the size in its metadata under [`WINDOW_SIZE`], so that an aggregate over it is known
//! to be windowed however far the column has travelled.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Field, FieldRef, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use thalweg_core::schema::timestamp_type;

/// Key of the field metadata that holds the size of the window in microseconds.
pub const WINDOW_SIZE: &str = "thalweg.window_size";
/// Key of the field metadata that says which edge of the window the column is.
pub const WINDOW_EDGE: &str = "thalweg.window_edge";

/// Every function of ours.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    vec![window_start(), window_edge(Edge::End)]
}

/// `__window_start(time, size)`.
pub fn window_start() -> Arc<ScalarUDF> {
    window_edge(Edge::Start)
}

fn window_edge(edge: Edge) -> Arc<ScalarUDF> {
    let signature =
        Signature::exact(vec![timestamp_type(), DataType::Int64], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Window { edge, signature }))
}

/// Which edge of a window a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    /// `window_start`.
    Start,
    /// `window_end`.
    End,
}

impl Edge {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
        }
    }
}

/// The window a column is an edge of, if it is one.
pub fn window_of(field: &Field) -> Option<(Edge, i64)> {
    let size = field.metadata().get(WINDOW_SIZE)?.parse().ok()?;
    let edge = match field.metadata().get(WINDOW_EDGE)?.as_str() {
        "start" => Edge::Start,
        _ => Edge::End,
    };
    Some((edge, size))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Window {
    edge: Edge,
    signature: Signature,
}

impl ScalarUDFImpl for Window {
    fn name(&self) -> &str {
        match self.edge {
            Edge::Start => "__window_start",
            Edge::End => "__window_end",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let Some(Some(ScalarValue::Int64(Some(size)))) = args.scalar_arguments.get(1) else {
            return plan_err!("the size of a window is not a constant");
        };
        let metadata = HashMap::from([
            (WINDOW_SIZE.to_owned(), size.to_string()),
            (WINDOW_EDGE.to_owned(), self.edge.name().to_owned()),
        ]);
        let nullable = args.arg_fields.first().is_none_or(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), timestamp_type(), nullable).with_metadata(metadata)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time, ColumnarValue::Scalar(ScalarValue::Int64(Some(size)))] = args.args.as_slice()
        else {
            return exec_err!("a window needs a time and a constant size");
        };
        let (size, shift) = (*size, if self.edge == Edge::End { *size } else { 0 });
        let time = time.to_array(args.number_rows)?;
        let time = time.as_primitive::<TimestampMicrosecondType>();
        let edge: PrimitiveArray<TimestampMicrosecondType> =
            time.unary(|t| t.saturating_sub(t.rem_euclid(size)).saturating_add(shift));
        Ok(ColumnarValue::Array(Arc::new(edge.with_data_type(time.data_type().clone()))))
    }
}
