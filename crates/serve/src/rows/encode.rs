//! Batches of rows as bytes, piece by piece.

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema};
use serde::{Deserialize, Serialize};
use thalweg_core::{Error, Result};
use utoipa::ToSchema;

use super::Format;
use super::value::{Column, json, type_name, write_csv_text};

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ColumnInfo {
    /// Its name.
    pub(crate) name: String,
    /// Its type, in the words of the project file, such as `double`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// The columns of a schema.
pub(crate) fn columns(schema: &Schema) -> Vec<ColumnInfo> {
    let info = |field: &arrow_schema::FieldRef| ColumnInfo {
        name: field.name().clone(),
        kind: type_name(field.data_type()),
    };
    schema.fields().iter().map(info).collect()
}

/// The columns of a batch, ready to be read.
pub(crate) fn readers(batch: &RecordBatch) -> Vec<Column<'_>> {
    batch.columns().iter().map(Column::new).collect()
}

/// Appends a row as a JSON array.
pub(crate) fn write_row(columns: &[Column<'_>], row: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        column.value(row).write_json(out);
    }
    out.push(b']');
}

/// Makes the bytes of an answer: once [`begin`](Self::begin), then each batch, then
/// [`end`](Self::end).
pub(crate) enum Encoder {
    Json { columns: Vec<ColumnInfo>, row_count: u64 },
    JsonLines { names: Vec<Vec<u8>> },
    Csv { columns: Vec<ColumnInfo> },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    /// An encoder for rows of that schema.
    pub(crate) fn new(format: Format, schema: &Schema) -> Result<Self> {
        Ok(match format {
            Format::Json => Self::Json { columns: columns(schema), row_count: 0 },
            Format::JsonLines => {
                let name = |field: &arrow_schema::FieldRef| {
                    let mut name = Vec::new();
                    json(&mut name, field.name());
                    name
                };
                Self::JsonLines { names: schema.fields().iter().map(name).collect() }
            }
            Format::Csv => Self::Csv { columns: columns(schema) },
            Format::Arrow => Self::Arrow(Box::new(
                StreamWriter::try_new(Vec::new(), schema).map_err(not_written)?,
            )),
        })
    }

    /// Appends what stands before the first row.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Json { columns, .. } => {
                out.extend_from_slice(b"{\"columns\":");
                json(out, columns);
                out.extend_from_slice(b",\"rows\":[");
            }
            Self::JsonLines { .. } => {}
            Self::Csv { columns } => {
                for (index, column) in columns.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_csv_text(column.name.as_bytes(), out);
                }
                out.push(b'\n');
            }
            Self::Arrow(writer) => out.append(writer.get_mut()),
        }
        Ok(())
    }

    /// Appends the rows of a batch.
    pub(crate) fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let rows = 0..batch.num_rows();
        match self {
            Self::Json { row_count, .. } => {
                let columns = readers(batch);
                for row in rows {
                    if *row_count > 0 {
                        out.push(b',');
                    }
                    write_row(&columns, row, out);
                    *row_count += 1;
                }
            }
            Self::JsonLines { names } => {
                let columns = readers(batch);
                for row in rows {
                    let mut before = b'{';
                    for (name, column) in names.iter().zip(&columns) {
                        out.push(before);
                        out.extend_from_slice(name);
                        out.push(b':');
                        column.value(row).write_json(out);
                        before = b',';
                    }
                    out.extend_from_slice(if columns.is_empty() { b"{}\n" } else { b"}\n" });
                }
            }
            Self::Csv { .. } => {
                let columns = readers(batch);
                for row in rows {
                    for (index, column) in columns.iter().enumerate() {
                        if index > 0 {
                            out.push(b',');
                        }
                        column.value(row).write_csv(out);
                    }
                    out.push(b'\n');
                }
            }
            Self::Arrow(writer) => {
                writer.write(batch).map_err(not_written)?;
                out.append(writer.get_mut());
            }
        }
        Ok(())
    }

    /// Appends what stands after the last row.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Json { row_count, .. } => {
                out.extend_from_slice(b"],\"row_count\":");
                json(out, row_count);
                out.push(b'}');
            }
            Self::JsonLines { .. } | Self::Csv { .. } => {}
            Self::Arrow(writer) => {
                writer.finish().map_err(not_written)?;
                out.append(writer.get_mut());
            }
        }
        Ok(())
    }
}

fn not_written(error: ArrowError) -> Error {
    Error::internal("rows cannot be written as an Arrow stream").with_source(error)
}
