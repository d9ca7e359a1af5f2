//! The four formats: rows in, bytes of a file out.
//!
//! | | Parquet | Avro | CSV | JSON lines |
//! |---|---|---|---|---|
//! | instants | microseconds, UTC | `timestamp-micros` | `2023-12-22T15:24:04.123456Z` | the same, as text |
//! | decimals | exact | exact, `decimal` | all digits | all digits, as a number |
//! | null | null | null | nothing between the delimiters | `null` |
//! | empty text | empty | empty | `""` | `""` |
//! | bytes | binary | `bytes` | refused | hexadecimal text |
//!
//! A CSV file begins with a header line; text is quoted where it must be. Parquet is written as Delta
//! tables are.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_avro::compression::CompressionCodec;
use arrow_avro::writer::{AvroWriter, WriterBuilder};
use arrow_json::LineDelimitedWriter;
use arrow_json::writer::LineDelimited;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use thalweg_core::{Error, Result};

use crate::delta::properties;
use crate::error::fold;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Parquet, Snappy.
    Parquet,
    /// Avro object container files, Deflate: the one that every reader of Avro knows.
    Avro,
    /// CSV with a header.
    Csv {
        /// What separates fields; ASCII.
        delimiter: u8,
    },
    /// A JSON object on each line.
    Json,
}

impl Format {
    /// What names of files end with.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Avro => "avro",
            Self::Csv { .. } => "csv",
            Self::Json => "json",
        }
    }

    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Avro => "Avro",
            Self::Csv { .. } => "CSV",
            Self::Json => "JSON",
        }
    }

    /// Why it cannot hold a column of this name and type; none when it can.
    pub fn refuses(self, name: &str, data_type: &DataType) -> Option<String> {
        let is_avro_name = |name: &str| {
            let mut bytes = name.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let is_nested = matches!(data_type, DataType::List(_) | DataType::Struct(_));
        let is_binary = matches!(data_type, DataType::Binary);
        match self {
            Self::Avro if !is_avro_name(name) => Some(
                "names in Avro are letters, digits and `_`, and begin with no digit".to_owned(),
            ),
            Self::Csv { .. } if is_nested => {
                Some("a CSV file holds no lists or structs".to_owned())
            }
            Self::Csv { .. } if is_binary => Some("a CSV file holds no bytes".to_owned()),
            _ => None,
        }
    }

    /// Whether files hold the columns that a source adds to its own (S1); others do not show them to
    /// the programs that read them.
    pub(crate) fn keeps_hidden(self) -> bool {
        self == Self::Parquet
    }

    /// Begins a file of rows of `schema`.
    pub(crate) fn begin(self, schema: &SchemaRef) -> Result<Encoding> {
        let bytes = Bytes::default();
        let to = bytes.clone();
        let encoder: Box<dyn Encoder> = match self {
            Self::Parquet => {
                let options = ArrowWriterOptions::new()
                    .with_properties(properties(schema))
                    .with_skip_arrow_metadata(true);
                let writer = ArrowWriter::try_new_with_options(to, schema.clone(), options);
                Box::new(writer.map_err(|error| fold("cannot begin a Parquet file", error))?)
            }
            Self::Avro => {
                let writer: AvroWriter<Bytes> = WriterBuilder::new(schema.as_ref().clone())
                    .with_compression(Some(CompressionCodec::Deflate))
                    .build(to)
                    .map_err(|error| fold("cannot begin an Avro file", error))?;
                Box::new(writer)
            }
            Self::Csv { delimiter } => Box::new(Csv::begin(to, delimiter, schema)?),
            Self::Json => {
                let builder = arrow_json::WriterBuilder::new().with_explicit_nulls(true);
                Box::new(builder.build::<_, LineDelimited>(to))
            }
        };
        Ok(Encoding { encoder, bytes })
    }
}

/// A file in the making.
pub(crate) struct Encoding {
    encoder: Box<dyn Encoder>,
    bytes: Bytes,
}

impl Encoding {
    /// Adds rows.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.encoder.write(rows)
    }

    /// Makes bytes of rows that are held for a better encoding.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.encoder.flush()
    }

    /// Ends the file.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.encoder.finish()
    }

    /// Bytes of rows that are held for a better encoding.
    pub(crate) fn held(&self) -> usize {
        self.encoder.held()
    }

    /// The bytes that are ready.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Makes bytes of rows.
trait Encoder: Send {
    fn write(&mut self, rows: &RecordBatch) -> Result<()>;
    fn finish(&mut self) -> Result<()>;
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
    fn held(&self) -> usize {
        0
    }
}

/// Where encoders write; clones are the same.
#[derive(Clone, Debug, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Encoder for ArrowWriter<Bytes> {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.write(rows).map_err(|error| fold("rows do not fit a Parquet file", error))
    }

    fn finish(&mut self) -> Result<()> {
        self.finish().map(drop).map_err(|error| fold("cannot end a Parquet file", error))
    }

    fn flush(&mut self) -> Result<()> {
        self.flush().map_err(|error| fold("rows do not fit a Parquet file", error))
    }

    fn held(&self) -> usize {
        self.in_progress_size()
    }
}

impl Encoder for AvroWriter<Bytes> {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.write(rows).map_err(|error| fold("rows do not fit an Avro file", error))
    }

    fn finish(&mut self) -> Result<()> {
        self.finish().map_err(|error| fold("cannot end an Avro file", error))
    }
}

impl Encoder for LineDelimitedWriter<Bytes> {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.write(rows).map_err(|error| fold("rows do not fit a JSON file", error))
    }

    fn finish(&mut self) -> Result<()> {
        self.finish().map_err(|error| fold("cannot end a JSON file", error))
    }
}

/// CSV by our own hand: the library's writes null and empty text alike.
struct Csv {
    to: Bytes,
    delimiter: u8,
    line: Vec<u8>,
}

impl Csv {
    fn begin(to: Bytes, delimiter: u8, schema: &SchemaRef) -> Result<Self> {
        let mut csv = Self { to, delimiter, line: Vec::new() };
        for (index, field) in schema.fields().iter().enumerate() {
            csv.field(index, field.name());
        }
        csv.end_line()?;
        Ok(csv)
    }

    fn field(&mut self, index: usize, text: &str) {
        if index > 0 {
            self.line.push(self.delimiter);
        }
        let delimiter = self.delimiter;
        let needs_quotes = |byte| matches!(byte, b'"' | b'\n' | b'\r') || byte == delimiter;
        if !text.is_empty() && !text.bytes().any(needs_quotes) {
            self.line.extend_from_slice(text.as_bytes());
            return;
        }
        self.line.push(b'"');
        self.line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        self.line.push(b'"');
    }

    fn null(&mut self, index: usize, columns: usize) {
        if index > 0 {
            self.line.push(self.delimiter);
        } else if columns == 1 {
            // An empty line is no row to most readers.
            self.line.extend_from_slice(b"\"\"");
        }
    }

    fn end_line(&mut self) -> Result<()> {
        self.line.push(b'\n');
        let written = self.to.write_all(&self.line);
        self.line.clear();
        written.map_err(|error| fold("cannot write a line", error))
    }
}

impl Encoder for Csv {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let unfit = |error| Error::internal("rows do not fit a CSV file").with_source(error);
        let options = FormatOptions::new();
        let columns = rows.columns();
        let formatters = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(unfit)?;
        let mut text = String::new();
        for row in 0..rows.num_rows() {
            for (index, formatter) in formatters.iter().enumerate() {
                if columns[index].is_null(row) {
                    self.null(index, columns.len());
                    continue;
                }
                text.clear();
                formatter.value(row).write(&mut text).map_err(unfit)?;
                self.field(index, &text);
            }
            self.end_line()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
