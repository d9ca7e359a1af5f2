//! Messages of Avro: a frame is a record that says which schema it was written with.
//!
//! | framing | in front of the record | what it names |
//! |---|---|---|
//! | single-object encoding | `c3 01`, then 8 bytes | the schema's CRC-64-AVRO fingerprint, little-endian |
//! | Confluent's | `00`, then 4 bytes | the schema's id in a registry, big-endian |
//!
//! The schemas are the project's; each may bring other fields, and what one lacks is NULL, as
//! [`super::columns`] says, which makes the columns that were declared.
//!
//! Foreign bytes (S30): a record is walked before `arrow-avro` sees it ([`walk`]), which refuses what
//! is cut off, left behind it, or comes to more than [`SIZE_MAX`] bytes. What the decoder refuses
//! nevertheless, such as a decimal that is too wide, costs its frame and no other.
//!
//! Sources: the Avro specification, "Single-object encoding"; Confluent, "Wire format".
//! Not here: files of Avro, which are object containers (`sources::file::rows`).

pub(crate) mod schema;
pub(crate) mod walk;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_avro::reader::{Decoder as AvroReader, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use bytes::Bytes;
use thalweg_core::decode::{Decoded, Decoder, FrameCounts, Reject};
use thalweg_core::frame::Frames;
use thalweg_core::schema::Column;
use thalweg_core::{Error, Result};

use self::schema::Schema;
use self::walk::walk;
use super::columns::{ColumnsDecoder, carried_columns};

/// Most bytes that a record may come to in columns.
const SIZE_MAX: u64 = 64 << 20;
/// After so many records, or bytes that they come to, columns are made of them.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: u64 = 16 << 20;

/// The schemas that records may have been written with, as their JSON, and how a record names its
/// own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AvroSchemas {
    /// By fingerprint: single-object encoding.
    Fingerprints(Vec<String>),
    /// By id: Confluent's framing.
    Ids(BTreeMap<u32, String>),
}

/// What one schema brings, as a file of it would.
///
/// # Errors
///
/// `Invalid` when the text is no schema of records with fields, or one that cannot be read.
pub fn record_schema(text: &str) -> Result<SchemaRef> {
    Ok(Writer::new(Fingerprint::Id(0), text)?.reader()?.schema())
}

/// The columns that records bring, as they would be declared: each as the first schema with it has
/// it, and nullable unless all have it.
///
/// # Errors
///
/// As [`record_schema`].
pub fn record_columns<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for (number, text) in texts.enumerate() {
        let carried = carried_columns(&*record_schema(text)?);
        for column in &mut columns {
            let other = carried.iter().find(|other| other.name == column.name);
            column.nullable |= other.is_none_or(|other| other.nullable);
        }
        for mut column in carried {
            if !columns.iter().any(|other| other.name == column.name) {
                column.nullable |= number > 0;
                columns.push(column);
            }
        }
    }
    Ok(columns)
}

/// Decodes messages of Avro; see the module.
pub struct AvroDecoder {
    framing: Framing,
    /// By the bytes that name them in front of a record, as a number.
    writers: BTreeMap<u64, Writer>,
    columns: ColumnsDecoder,
}

#[derive(Clone, Copy)]
enum Framing {
    SingleObject,
    Confluent,
}

impl AvroDecoder {
    /// # Errors
    ///
    /// `Invalid` when a column's name is taken, or as [`record_schema`].
    pub fn new(columns: Vec<Column>, schemas: &AvroSchemas) -> Result<Self> {
        let mut writers = BTreeMap::new();
        let framing = match schemas {
            AvroSchemas::Fingerprints(texts) => {
                for text in texts {
                    let fingerprint = fingerprint(text)?;
                    writers
                        .insert(fingerprint, Writer::new(Fingerprint::Rabin(fingerprint), text)?);
                }
                Framing::SingleObject
            }
            AvroSchemas::Ids(texts) => {
                for (id, text) in texts {
                    writers.insert(u64::from(*id), Writer::new(Fingerprint::Id(*id), text)?);
                }
                Framing::Confluent
            }
        };
        Ok(Self { framing, writers, columns: ColumnsDecoder::new(columns)? })
    }

    /// Which writer a message names, and what it comes to; else what is wrong with it.
    fn judge(&self, message: &[u8]) -> std::result::Result<(u64, u64), String> {
        let (name, record) = self.framing.split(message)?;
        let writer = self.writers.get(&name).ok_or_else(|| self.framing.unknown(name))?;
        match walk(&writer.schema, record, SIZE_MAX) {
            Ok((size, [])) => Ok((name, size)),
            Ok((_, rest)) => Err(format!("bytes left behind the record: {}", rest.len())),
            Err(wrong) => Err(wrong.told()),
        }
    }

    /// Makes columns of the records of these frames, which one writer wrote.
    fn convert(
        &mut self,
        name: u64,
        frames: &Frames,
        numbers: Vec<usize>,
        taken: &mut Taken,
    ) -> Result<()> {
        let writer = self.writers.get_mut(&name);
        let writer = writer.ok_or_else(|| Error::internal("a record of nobody"))?;
        if let Ok(rows) = writer.read(frames, &numbers) {
            return taken.take(frames, numbers, rows, &mut self.columns);
        }
        // One of them is none: which?
        for number in numbers {
            match writer.read(frames, &[number]) {
                Ok(rows) => taken.take(frames, vec![number], rows, &mut self.columns)?,
                Err(reason) => taken.refuse(frames, number, reason),
            }
        }
        Ok(())
    }
}

impl Framing {
    /// What names the schema, and the record.
    fn split(self, message: &[u8]) -> std::result::Result<(u64, &[u8]), String> {
        let (magic, what) = match self {
            Self::SingleObject => (&[0xc3, 0x01][..], "Avro's single-object encoding"),
            Self::Confluent => (&[0][..], "Confluent's framing"),
        };
        let Some(rest) = message.strip_prefix(magic) else {
            let front = hex(&message[..message.len().min(magic.len())]);
            let found = if front.is_empty() { "nothing" } else { &front };
            return Err(format!("expected {} of {what}, found {found}", hex(magic)));
        };
        let split = match self {
            Self::SingleObject => {
                rest.split_first_chunk().map(|(name, rest)| (u64::from_le_bytes(*name), rest))
            }
            Self::Confluent => rest
                .split_first_chunk()
                .map(|(name, rest)| (u64::from(u32::from_be_bytes(*name)), rest)),
        };
        split.ok_or_else(|| "cut off before the name of its schema ends".to_owned())
    }

    fn unknown(self, name: u64) -> String {
        match self {
            Self::SingleObject => {
                format!("no schema with the fingerprint {}", hex(&name.to_le_bytes()))
            }
            Self::Confluent => format!("no schema with the id {name}"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The CRC-64-AVRO of a schema's parsing canonical form.
fn fingerprint(text: &str) -> Result<u64> {
    let schema = AvroSchema::new(text.to_owned());
    match guarded(|| schema.fingerprint(FingerprintAlgorithm::Rabin)) {
        Ok(Fingerprint::Rabin(fingerprint)) => Ok(fingerprint),
        Ok(_) => Err(Error::internal("a fingerprint of another kind")),
        Err(problem) => Err(not_a_schema(problem)),
    }
}

fn not_a_schema(problem: String) -> Error {
    Error::invalid("it is no schema of Avro records").with_detail(problem)
}

/// Turns a panic into an error: bytes must not bring the process down.
fn guarded<T>(
    work: impl FnOnce() -> std::result::Result<T, ArrowError>,
) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("its reader gave up".to_owned()),
    }
}

/// One schema that records are written with.
struct Writer {
    name: Fingerprint,
    text: String,
    schema: Arc<Schema>,
    /// None after it failed, which leaves it in the middle of a record.
    reader: Option<AvroReader>,
}

impl Writer {
    fn new(name: Fingerprint, text: &str) -> Result<Self> {
        let schema = Schema::parse(text.as_bytes()).map_err(not_a_schema)?;
        if !schema.is_row() {
            return Err(not_a_schema("it is of no record with fields".to_owned()));
        }
        let mut writer = Self { name, text: text.to_owned(), schema, reader: None };
        writer.reader = Some(writer.reader()?);
        Ok(writer)
    }

    fn reader(&self) -> Result<AvroReader> {
        let kind = match self.name {
            Fingerprint::Id(_) => FingerprintAlgorithm::Id,
            _ => FingerprintAlgorithm::Rabin,
        };
        let build = || {
            let mut store = SchemaStore::new_with_type(kind);
            store.set(self.name, AvroSchema::new(self.text.clone()))?;
            let builder = ReaderBuilder::new().with_writer_schema_store(store);
            // One more than there will be: a full reader takes nothing, and says nothing of it.
            builder
                .with_batch_size(BATCH_ROWS + 1)
                .with_active_fingerprint(self.name)
                .build_decoder()
        };
        guarded(build).map_err(not_a_schema)
    }

    /// The records of these frames, or why one of them is none.
    fn read(
        &mut self,
        frames: &Frames,
        numbers: &[usize],
    ) -> std::result::Result<RecordBatch, String> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.reader().map_err(|error| error.chain())?,
        };
        let rows = guarded(|| {
            for number in numbers {
                let message = frames.bytes(*number);
                let room = reader.capacity();
                let is_one =
                    reader.decode(message)? == message.len() && reader.capacity() + 1 == room;
                if !is_one {
                    return Err(ArrowError::ParseError("it is not one record".to_owned()));
                }
            }
            let rows = reader.flush()?;
            rows.ok_or_else(|| ArrowError::ParseError("there is no record".to_owned()))
        })?;
        self.reader = Some(reader);
        Ok(rows)
    }
}

/// What has come of frames so far.
#[derive(Default)]
struct Taken {
    batches: Vec<RecordBatch>,
    /// Frame, batch and row in it of every row.
    rows: Vec<(usize, usize, usize)>,
    rejects: Vec<Reject>,
    counts: FrameCounts,
}

impl Taken {
    fn refuse(&mut self, frames: &Frames, frame: usize, reason: String) {
        let offset = frames.spans[frame].offset;
        self.rejects.push(Reject { frame, offset, row: None, reason, excerpt: None });
        self.counts.quarantined += 1;
    }

    /// Takes the records of some frames, one each.
    fn take(
        &mut self,
        frames: &Frames,
        numbers: Vec<usize>,
        rows: RecordBatch,
        columns: &mut ColumnsDecoder,
    ) -> Result<()> {
        let spans = numbers.iter().map(|number| frames.spans[*number]).collect();
        let rows =
            Frames { partition: frames.partition, data: Bytes::new(), spans, rows: Some(rows) };
        let decoded = columns.decode(&rows)?;
        let mut refused = decoded.rejects.iter().map(|reject| reject.frame).peekable();
        let valid = (0..numbers.len()).filter(|row| refused.next_if_eq(row).is_none());
        let batch = self.batches.len();
        self.rows.extend(valid.enumerate().map(|(row, at)| (numbers[at], batch, row)));
        self.batches.push(decoded.rows);
        let there = |reject: Reject| Reject { frame: numbers[reject.frame], ..reject };
        self.rejects.extend(decoded.rejects.into_iter().map(there));
        self.counts.decoded += numbers.len() as u64;
        Ok(())
    }

    fn finish(mut self, schema: &SchemaRef) -> Result<Decoded> {
        let is_in_order = self.rows.is_sorted();
        let rows = match &self.batches[..] {
            [] => RecordBatch::new_empty(Arc::clone(schema)),
            [batch] if is_in_order => batch.clone(),
            batches => {
                self.rows.sort_unstable();
                let order: Vec<_> =
                    self.rows.iter().map(|(_, batch, row)| (*batch, *row)).collect();
                let batches: Vec<&RecordBatch> = batches.iter().collect();
                interleave_record_batch(&batches, &order).map_err(|error| {
                    Error::internal("records of Avro do not make a batch").with_source(error)
                })?
            }
        };
        self.rejects.sort_by_key(|reject| reject.frame);
        Ok(Decoded { rows, rejects: self.rejects, frames: self.counts, notices: Vec::new() })
    }
}

impl Decoder for AvroDecoder {
    fn schema(&self) -> &SchemaRef {
        self.columns.schema()
    }

    fn decode(&mut self, frames: &Frames) -> Result<Decoded> {
        let mut taken = Taken::default();
        // By writer: records that wait to be read together, and what they come to.
        let mut waiting: BTreeMap<u64, (Vec<usize>, u64)> = BTreeMap::new();
        for number in 0..frames.len() {
            let (name, size) = match self.judge(frames.bytes(number)) {
                Ok(judged) => judged,
                Err(reason) => {
                    taken.refuse(frames, number, reason);
                    continue;
                }
            };
            let (numbers, bytes) = waiting.entry(name).or_default();
            numbers.push(number);
            *bytes += size;
            if numbers.len() == BATCH_ROWS || *bytes > BATCH_BYTES {
                let (numbers, _) = waiting.remove(&name).unwrap_or_default();
                self.convert(name, frames, numbers, &mut taken)?;
            }
        }
        for (name, (numbers, _)) in waiting {
            self.convert(name, frames, numbers, &mut taken)?;
        }
        taken.finish(self.columns.schema())
    }
}

#[cfg(test)]
mod tests;
