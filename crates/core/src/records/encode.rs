//! Writing batches: records in, encoded batches out, in one buffer.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    BATCH_BYTES_MAX, BATCH_HEADER_BYTES, BatchHeader, CRC_START, LENGTH_PREFIX_BYTES, Record,
    varint,
};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Length at which a batch is closed and the next begun: large enough that headers do not matter,
/// small enough that a reader is not held up by one.
const BATCH_BYTES_SOFT: usize = 1 << 20;

/// Encodes records as batches: one, or several when they are many megabytes.
///
/// # Errors
///
/// `Invalid` when there are none, or one does not fit [`BATCH_BYTES_MAX`].
pub fn encode(records: &[Record]) -> Result<Bytes> {
    let mut writer = BatchWriter::default();
    let mut headers = Vec::new();
    for record in records {
        headers.clear();
        headers.extend(
            record.headers.iter().map(|header| (&header.name[..], header.value.as_deref())),
        );
        writer.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers)?;
    }
    if writer.is_empty() {
        return Err(Error::invalid("there are no records to encode"));
    }
    Ok(writer.finish())
}

/// Builds batches record by record, without an allocation a record.
///
/// Base offsets are 0 and leader epochs -1 until the log fills them in.
#[derive(Debug, Default)]
pub struct BatchWriter {
    buffer: BytesMut,
    open: Option<OpenBatch>,
}

/// The batch being written.
#[derive(Debug)]
struct OpenBatch {
    // Its first byte in the buffer.
    start: usize,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    count: i32,
}

impl BatchWriter {
    /// A writer with room for `bytes` of records and headers.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(bytes), open: None }
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Adds a record; headers are names and values.
    ///
    /// # Errors
    ///
    /// `Invalid` when the record does not fit [`BATCH_BYTES_MAX`]; nothing was added then.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<()> {
        let size = RecordSize::new(key, value, headers);
        if size.bytes_max() > BATCH_BYTES_MAX - BATCH_HEADER_BYTES {
            return Err(Error::invalid(format!(
                "a record of {} bytes is longer than a batch may be",
                size.payload
            )));
        }
        if let Some(open) = &self.open
            && self.buffer.len() - open.start + size.bytes_max() > BATCH_BYTES_SOFT
        {
            self.seal();
        }

        let millis = timestamp.millis();
        let open = self.open.get_or_insert_with(|| {
            let start = self.buffer.len();
            self.buffer.put_bytes(0, BATCH_HEADER_BYTES);
            OpenBatch { start, base_timestamp_ms: millis, max_timestamp_ms: millis, count: 0 }
        });
        // Timestamp deltas of all i64 wrap round and back.
        let timestamp_delta = millis.wrapping_sub(open.base_timestamp_ms);
        let offset_delta = i64::from(open.count);
        let buffer = &mut self.buffer;
        varint::put(buffer, length_i64(size.bytes(timestamp_delta, offset_delta)));
        buffer.put_u8(0);
        varint::put(buffer, timestamp_delta);
        varint::put(buffer, offset_delta);
        put_nullable(buffer, key);
        put_nullable(buffer, value);
        varint::put(buffer, length_i64(headers.len()));
        for (name, value) in headers {
            put_nullable(buffer, Some(name));
            put_nullable(buffer, *value);
        }
        open.count += 1;
        open.max_timestamp_ms = open.max_timestamp_ms.max(millis);
        Ok(())
    }

    /// The batches.
    pub fn finish(mut self) -> Bytes {
        self.seal();
        self.buffer.freeze()
    }

    /// Fills in the header of the batch being written.
    fn seal(&mut self) {
        let Some(open) = self.open.take() else { return };
        let batch = &mut self.buffer[open.start..];
        let after_prefix = batch.len() - LENGTH_PREFIX_BYTES;
        let mut header = &mut batch[..BATCH_HEADER_BYTES];
        header.put_i64(0);
        header.put_i32(i32::try_from(after_prefix).expect("a batch is shorter than 2 GiB"));
        header.put_i32(-1);
        header.put_i8(2);
        header.put_u32(0);
        header.put_i16(0);
        header.put_i32(open.count - 1);
        header.put_i64(open.base_timestamp_ms);
        header.put_i64(open.max_timestamp_ms);
        header.put_i64(-1);
        header.put_i16(-1);
        header.put_i32(-1);
        header.put_i32(open.count);
        let crc = crc32c::crc32c(&batch[CRC_START..]);
        batch[CRC_START - 4..CRC_START].copy_from_slice(&crc.to_be_bytes());
        debug_assert!(BatchHeader::parse(batch).is_ok());
    }
}

/// How long a record will be.
struct RecordSize {
    // Key, value and headers with their lengths.
    payload: usize,
}

impl RecordSize {
    fn new(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&[u8], Option<&[u8]>)]) -> Self {
        let headers_length: usize = headers
            .iter()
            .map(|(name, value)| nullable_length(Some(name)) + nullable_length(*value))
            .sum();
        let payload = nullable_length(key)
            + nullable_length(value)
            + varint::length(length_i64(headers.len()))
            + headers_length;
        Self { payload }
    }

    /// Bytes that the record's length counts.
    fn bytes(&self, timestamp_delta: i64, offset_delta: i64) -> usize {
        1 + varint::length(timestamp_delta) + varint::length(offset_delta) + self.payload
    }

    /// Bytes of the record whatever its deltas are, its length included.
    fn bytes_max(&self) -> usize {
        5 + 1 + 10 + 5 + self.payload
    }
}

fn nullable_length(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::length(length_i64(bytes.len())) + bytes.len())
}

fn put_nullable(buffer: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put(buffer, length_i64(bytes.len()));
            buffer.put_slice(bytes);
        }
        None => varint::put(buffer, -1),
    }
}

fn length_i64(length: usize) -> i64 {
    i64::try_from(length).expect("no buffer is longer than i64::MAX bytes")
}
