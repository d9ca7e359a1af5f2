//! Rows as JSON objects, as topics and webhooks have them.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use bytes::Bytes;
use std::sync::Arc;

/// Each row as a JSON object, NULLs written.
pub(super) fn json_rows(
    columns: &[(&str, ArrayRef)],
    rows: usize,
) -> Result<Vec<Bytes>, ArrowError> {
    if columns.is_empty() {
        return Ok(vec![Bytes::from_static(b"{}"); rows]);
    }
    let batch = RecordBatch::try_from_iter(columns.iter().cloned())?;
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    writer.write(&batch)?;
    writer.finish()?;
    let text = Bytes::from(writer.into_inner());
    // A line end within a text is escaped.
    let mut lines = Vec::with_capacity(rows);
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &text) {
        lines.push(text.slice(start..end));
        start = end + 1;
    }
    Ok(lines)
}

/// Labels instants with an offset, which is written `Z` and needs no table of zones.
pub(super) fn in_utc(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            cast(column, &DataType::Timestamp(*unit, Some("+00:00".into())))
        }
        _ => Ok(Arc::clone(column)),
    }
}
