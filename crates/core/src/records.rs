//! Record batches: Kafka's format v2, byte for byte.
//!
//! The unit the log stores, Kafka clients send and pipelines read. Encoded once, by whoever
//! produces; only the base offset and the leader epoch are patched at append (L4).
//!
//! ```text
//! batch    baseOffset i64 · batchLength i32 · partitionLeaderEpoch i32 · magic i8 = 2 · crc u32
//!          (CRC-32C of all that follows) · attributes i16 · lastOffsetDelta i32 ·
//!          baseTimestamp i64 · maxTimestamp i64 · producerId i64 · producerEpoch i16 ·
//!          baseSequence i32 · count i32 · records
//! record   length · attributes i8 · timestampDelta · offsetDelta · key · value · header count ·
//!          headers
//! header   name · value
//! ```
//!
//! Numbers of the batch are big-endian; lengths, deltas and counts of a record are zigzag varints;
//! keys, names and values are a length and its bytes, length -1 being null. `batchLength` counts
//! what follows it, timestamps are milliseconds. The CRC covers neither the base offset nor the
//! leader epoch: whoever patches them need not compute it again, and whoever stores them must check
//! them by other means.
//!
//! Every byte here may be foreign (S30): parsing never panics, and allocates in proportion to the
//! bytes that are there, never to a number they hold.
//!
//! Not here: compressed records, which are stored and passed on but not decoded; producers and
//! transactions, which belong to the wire protocol.

mod decode;
mod encode;
mod frames;
#[cfg(test)]
mod tests;
mod varint;

use bytes::Bytes;

pub use self::decode::{
    Batch, Batches, DecodedRecord, HeaderRefs, RecordRef, Records, batches, decode,
};
pub use self::encode::{BatchWriter, encode};
pub use self::frames::{
    CONNECTION_HEADER, JournalFrames, LENGTH_HEADER, POSITION_HEADER, connection, decode_frames,
    encode_frames, encode_oversized, position,
};
use crate::error::{Error, Result};
use crate::frame::FRAME_BYTES_MAX;
use crate::time::Timestamp;
use crate::topic::Offset;

/// Bytes of a batch before its first record.
pub const BATCH_HEADER_BYTES: usize = 61;

/// Longest batch that is written or accepted: one frame of the greatest length, and room for its
/// key and headers.
pub const BATCH_BYTES_MAX: usize = FRAME_BYTES_MAX + (1 << 20);

/// Bytes of base offset and batch length, which the batch length does not count.
const LENGTH_PREFIX_BYTES: usize = 12;
/// Where the bytes that the CRC covers begin.
const CRC_START: usize = 21;

/// One record, not yet in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its time; a batch keeps whole milliseconds, rounded down.
    pub timestamp: Timestamp,
    /// What it is about, if anything.
    pub key: Option<Bytes>,
    /// What it says; none deletes the key in a compacted topic.
    pub value: Option<Bytes>,
    /// Facts beside the value, in order; names may repeat.
    pub headers: Vec<RecordHeader>,
}

/// A named fact beside a record's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Its name; UTF-8 by agreement, which is not checked.
    pub name: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
}

/// The fixed part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Length of the whole batch in bytes, this header included.
    pub length: usize,
    /// How often leadership had changed when the batch was appended; -1 before.
    pub leader_epoch: i32,
    /// CRC-32C of the bytes from the attributes on.
    pub crc: u32,
    /// Compression, kind of timestamp, transactional, control.
    pub attributes: i16,
    /// Offset of the last record, less the base offset.
    pub last_offset_delta: i32,
    /// What timestamp deltas are added to, in milliseconds.
    pub base_timestamp_ms: i64,
    /// Greatest timestamp of a record, in milliseconds.
    pub max_timestamp_ms: i64,
    /// Who produced it, -1 if not an idempotent producer.
    pub producer_id: i64,
    /// Incarnation of that producer.
    pub producer_epoch: i16,
    /// That producer's number for the first record.
    pub base_sequence: i32,
    /// Number of records.
    pub count: i32,
}

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy in the framing of the Java library.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The name Kafka's configuration uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the records need not be there.
    ///
    /// The numbers are checked against each other, and the length against [`BATCH_BYTES_MAX`]; the
    /// CRC is not: that is [`Batch::check`].
    ///
    /// # Errors
    ///
    /// `Data`, with the reason as detail.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let Some(bytes) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(malformed("it is cut off in its header"));
        };
        let after_prefix = i32::from_be_bytes(at(bytes, 8));
        let header = Self {
            base_offset: i64::from_be_bytes(at(bytes, 0)),
            length: usize::try_from(after_prefix).unwrap_or(0).saturating_add(LENGTH_PREFIX_BYTES),
            leader_epoch: i32::from_be_bytes(at(bytes, 12)),
            crc: u32::from_be_bytes(at(bytes, 17)),
            attributes: i16::from_be_bytes(at(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(at(bytes, 23)),
            base_timestamp_ms: i64::from_be_bytes(at(bytes, 27)),
            max_timestamp_ms: i64::from_be_bytes(at(bytes, 35)),
            producer_id: i64::from_be_bytes(at(bytes, 43)),
            producer_epoch: i16::from_be_bytes(at(bytes, 51)),
            base_sequence: i32::from_be_bytes(at(bytes, 53)),
            count: i32::from_be_bytes(at(bytes, 57)),
        };
        if bytes[16] != 2 {
            return Err(malformed(format!("its magic is {}, not 2", bytes[16])));
        }
        if !(BATCH_HEADER_BYTES..=BATCH_BYTES_MAX).contains(&header.length) {
            return Err(malformed(format!("its length {after_prefix} is out of range")));
        }
        if header.base_offset < 0 || header.last_offset_delta < 0 {
            return Err(malformed("its offsets are negative"));
        }
        if header.count < 0 || i64::from(header.count) > i64::from(header.last_offset_delta) + 1 {
            return Err(malformed(format!("it cannot hold {} records", header.count)));
        }
        if header.attributes & 7 > 4 {
            return Err(malformed(format!("its compression {} is unknown", header.attributes & 7)));
        }
        Ok(header)
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta)).saturating_add(1)
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        match self.attributes & 7 {
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// Whether every record's time is that of its append, which is `max_timestamp_ms`.
    pub fn has_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether it holds a transaction's end rather than data.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Writes base offset and leader epoch into the first bytes of `batch`: all that an append may
    /// change (L4).
    ///
    /// # Panics
    ///
    /// When `batch` is shorter than a header.
    pub fn stamp(batch: &mut [u8], base_offset: Offset, leader_epoch: i32) {
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    }
}

/// The `N` bytes of a header from `start` on.
fn at<const N: usize>(bytes: &[u8; BATCH_HEADER_BYTES], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[start..start + N]);
    field
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::data("record batch is malformed").with_detail(reason)
}
