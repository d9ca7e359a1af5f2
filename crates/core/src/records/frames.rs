//! Frames as records: how a live source's journal, the topic `<source>.raw`, is written and read.
//!
//! One record a frame: the value is the frame, the timestamp its time of receipt in whole
//! milliseconds, and the header [`CONNECTION_HEADER`] its connection as a big-endian `u32`. Of a
//! frame longer than [`FRAME_BYTES_MAX`] the value is the head, and the header [`LENGTH_HEADER`] its
//! whole length as a big-endian `u64`. Where the source has a position to go on from, the header
//! [`POSITION_HEADER`] holds it as the source wrote it.

use bytes::Bytes;

use super::{BATCH_HEADER_BYTES, BatchWriter, RecordRef, batches};
use crate::error::{Error, Result};
use crate::frame::{FRAME_BYTES_MAX, Frame, FrameSpan, Frames};
use crate::source::Oversized;
use crate::time::Timestamp;
use crate::topic::Offset;

/// Name of the header that holds a frame's connection.
pub const CONNECTION_HEADER: &[u8] = b"c";

/// Name of the header that holds the whole length of a frame whose value is only its head.
pub const LENGTH_HEADER: &[u8] = b"thalweg.length";

/// Name of the header that holds the source's position behind the frame.
pub const POSITION_HEADER: &[u8] = b"thalweg.position";

/// Bytes a frame's record takes beside the frame, at most: lengths and deltas, and the header.
const RECORD_OVERHEAD_BYTES: usize = 40;

/// Bytes kept of a frame that is too long to be handed over.
const HEAD_BYTES: usize = 64 << 10;

/// Encodes frames for their journal, in one allocation.
///
/// # Errors
///
/// `Invalid` when there are none, or one is longer than a batch may be.
pub fn encode_frames(frames: &[Frame]) -> Result<Bytes> {
    if frames.is_empty() {
        return Err(Error::invalid("there are no frames to encode"));
    }
    let record_bytes: usize =
        frames.iter().map(|frame| frame.bytes.len() + RECORD_OVERHEAD_BYTES).sum();
    let mut writer = BatchWriter::with_capacity(BATCH_HEADER_BYTES + record_bytes);
    for frame in frames {
        let connection = frame.connection.to_be_bytes();
        let headers = [(CONNECTION_HEADER, Some(&connection[..]))];
        writer.push(frame.received_at, None, Some(&frame.bytes), &headers)?;
    }
    Ok(writer.finish())
}

/// Encodes what is kept of a frame longer than [`FRAME_BYTES_MAX`]: its head and `length`.
///
/// # Errors
///
/// `Invalid` when even the head is longer than a batch may be.
pub fn encode_oversized(
    received_at: Timestamp,
    connection: u32,
    length: u64,
    head: &[u8],
) -> Result<Bytes> {
    let (connection, length) = (connection.to_be_bytes(), length.to_be_bytes());
    let headers = [(CONNECTION_HEADER, Some(&connection[..])), (LENGTH_HEADER, Some(&length[..]))];
    let mut writer = BatchWriter::default();
    writer.push(received_at, None, Some(head), &headers)?;
    Ok(writer.finish())
}

/// Frames read from a journal.
#[derive(Clone, Debug, Default)]
pub struct JournalFrames {
    /// The frames; their spans point into the buffer they were read from.
    pub frames: Frames,
    /// Records with a [`LENGTH_HEADER`], and those longer than [`FRAME_BYTES_MAX`], which only
    /// other writers than sources make.
    pub oversized: Vec<Oversized>,
}

/// Reads the frames with offsets in `from ..` of a buffer of whole batches; copies none. A record
/// without a value is an empty frame; control batches are skipped.
///
/// # Errors
///
/// `Data` when a batch is cut off, damaged, malformed or compressed, or the buffer has 4 GiB.
pub fn decode_frames(partition: u32, buffer: &Bytes, from: Offset) -> Result<JournalFrames> {
    if u32::try_from(buffer.len()).is_err() {
        return Err(Error::data("a buffer of 4 GiB of frames is too long"));
    }
    let mut read = JournalFrames::default();
    for batch in batches(buffer) {
        let batch = batch?;
        batch.check_crc()?;
        if batch.header.is_control() || batch.header.next_offset() <= from {
            continue;
        }
        let records = batch.records()?;
        read.frames.spans.reserve(records.size_hint().0);
        for record in records {
            let record = record?;
            if record.offset < from {
                continue;
            }
            let value = record.value.unwrap_or_default();
            let length = whole_length(&record).unwrap_or(0).max(value.len() as u64);
            if length > FRAME_BYTES_MAX as u64 {
                read.oversized.push(Oversized {
                    offset: record.offset,
                    received_at: record.timestamp,
                    length,
                    head: buffer.slice_ref(&value[..value.len().min(HEAD_BYTES)]),
                });
                continue;
            }
            let start =
                if value.is_empty() { 0 } else { value.as_ptr().addr() - buffer.as_ptr().addr() };
            read.frames.spans.push(FrameSpan {
                start: u32::try_from(start).expect("the buffer is shorter than 4 GiB"),
                len: u32::try_from(value.len()).expect("a frame is shorter than the buffer"),
                offset: record.offset,
                received_at: record.timestamp,
            });
        }
    }
    read.frames.partition = partition;
    read.frames.data = buffer.clone();
    Ok(read)
}

/// The connection a frame's record came by, if it says so.
pub fn connection(record: &RecordRef<'_>) -> Option<u32> {
    Some(u32::from_be_bytes(header(record, CONNECTION_HEADER)?.try_into().ok()?))
}

/// The position of its source behind a frame's record, if it has one.
pub fn position<'a>(record: &RecordRef<'a>) -> Option<&'a [u8]> {
    header(record, POSITION_HEADER)
}

/// The length of the frame of which the record holds only the head.
fn whole_length(record: &RecordRef<'_>) -> Option<u64> {
    Some(u64::from_be_bytes(header(record, LENGTH_HEADER)?.try_into().ok()?))
}

fn header<'a>(record: &RecordRef<'a>, wanted: &[u8]) -> Option<&'a [u8]> {
    let mut headers = record.headers;
    headers.find(|(name, _)| *name == wanted)?.1
}
