//! Rows on a terminal or in a pipe.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use thalweg_core::{Error, Result};

use crate::cli::Format;

/// Prints rows to standard output.
pub(crate) fn print(rows: &[RecordBatch], format: Format) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match write(rows, format, &mut out) {
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

/// Prints text to standard output.
pub(crate) fn print_text(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()).map_err(failed) {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

/// Prints rows for people, beside the data.
pub(crate) fn print_to_stderr(rows: &[RecordBatch]) -> Result<()> {
    write(rows, Format::Table, &mut std::io::stderr().lock())
}

fn write(rows: &[RecordBatch], format: Format, out: &mut impl Write) -> Result<()> {
    match format {
        Format::Table | Format::Text => {
            let table = pretty_format_batches(rows).map_err(failed)?;
            writeln!(out, "{table}").map_err(failed)?;
        }
        Format::Csv => {
            let mut writer = arrow_csv::Writer::new(&mut *out);
            for batch in rows {
                writer.write(batch).map_err(failed)?;
            }
        }
        Format::Json => {
            let mut writer = arrow_json::ArrayWriter::new(&mut *out);
            for batch in rows {
                writer.write(batch).map_err(failed)?;
            }
            writer.finish().map_err(failed)?;
            writeln!(out).map_err(failed)?;
        }
        Format::Jsonl => {
            let mut writer = arrow_json::LineDelimitedWriter::new(&mut *out);
            for batch in rows {
                writer.write(batch).map_err(failed)?;
            }
            writer.finish().map_err(failed)?;
        }
        Format::Arrow => {
            if let Some(first) = rows.first() {
                let mut writer =
                    arrow_ipc::writer::StreamWriter::try_new(&mut *out, first.schema_ref())
                        .map_err(failed)?;
                for batch in rows {
                    writer.write(batch).map_err(failed)?;
                }
                writer.finish().map_err(failed)?;
            }
        }
        Format::Mermaid | Format::Svg => {
            return Err(Error::invalid("rows are no graph")
                .with_hint("Print them as table, csv, json, jsonl or arrow."));
        }
    }
    out.flush().map_err(failed)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unavailable("cannot print the rows").with_source(error)
}

fn is_broken_pipe(error: &Error) -> bool {
    error.chain().contains("Broken pipe")
}
